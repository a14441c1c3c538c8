//! How the last runs on this host went, as their journals tell: a run that failed may have left nothing in any store.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::journal::{self, How, Line, Record};
use super::state::Folders;
use crate::catalog::host::StateError;
use crate::catalog::host::{HostState, PlanState};
use crate::catalog::ids::RunId;
use crate::catalog::owner::{Life, Owner};
use crate::machine::host_name;
use crate::places::private::make_private;

/// Where a run is told of that could not begin; the next one that can removes it.
const REFUSED: &str = "refused.json";

/// Troubles of a run that are told one by one.
const MOST: usize = 20;

/// A run on this host that a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastRun {
    /// Its id; a run that could not begin has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When it began, or was to begin.
    pub began: Timestamp,
    /// The sources it was asked for; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
    /// How it ended.
    pub end: End,
    /// Whether everything was backed up all the same: what failed came beside that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// What went wrong, in its own words.
    pub troubles: Vec<String>,
}

/// How a run ended that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It could not begin.
    Refused,
    /// A source or a store failed.
    Failed,
    /// It was made, and there were warnings.
    Warnings,
    /// A signal stopped it.
    Stopped,
    /// It never came to its end: killed, or the power was cut.
    Died,
}

/// A run that is done step by step, by processes of their own, and is between two of them: nobody does anything of it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Between {
    /// Its id.
    pub run: String,
    /// When it began.
    pub began: Timestamp,
    /// When it last did something.
    pub last: Timestamp,
}

/// The newest such run, as far as that can be read.
pub fn between(plan: &PlanState) -> Option<Between> {
    let folders = Folders::new(plan.folder());
    let journals = journal::newest_first(&folders.journals()).ok()?;
    journals.into_iter().find_map(|path| {
        let told = Told::of(&String::from_utf8_lossy(&fs::read(path).ok()?))?;
        let Told { run, began, last, .. } = &told;
        told.is_between(&folders).then(|| Between { run: run.clone(), began: *began, last: *last })
    })
}

/// The record of a run that could not begin.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    at: Timestamp,
    reason: String,
}

/// A run that goes on, in a process that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnderWay {
    /// Its id.
    pub run: String,
    /// When it began.
    pub began: Timestamp,
    /// The sources it was asked for; empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
}

/// What this machine alone knows of a plan's runs.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// Those that did not end well ([`unclean`]).
    pub unclean: Vec<PastRun>,
    /// The one that goes on.
    pub under_way: Option<UnderWay>,
}

impl Local {
    /// Looks. Reads only.
    ///
    /// # Errors
    /// When local state is there and cannot be read.
    pub fn of(state: &Path, plan: &str, file: &Path) -> Result<Local, StateError> {
        Ok(Local { unclean: unclean(state, plan, file)?, under_way: under_way(state, plan, file)? })
    }
}

/// The newest run, where it goes on. Only one of a plan does at a time.
fn under_way(state: &Path, plan: &str, file: &Path) -> Result<Option<UnderWay>, StateError> {
    let host = HostState::look(state)?;
    let folders = Folders::new(host.plan(plan, file)?.folder());
    let here = Owner::of_command(host.machine(), &host_name(), "status");
    let journals = journal::newest_first(&folders.journals()).unwrap_or_default();
    let newest =
        journals.into_iter().find_map(|path| Told::of(&String::from_utf8_lossy(&fs::read(path).ok()?)));
    let goes_on =
        |told: &Told| told.status.is_none() && !told.is_between(&folders) && told.end(&here).is_none();
    let newest = newest.filter(goes_on);
    Ok(newest.map(|Told { run, began, only, .. }| UnderWay { run, began, only }))
}

/// The runs that did not end well and that no clean one has made up for, newest first. A run of all sources makes up for
/// whatever was before it, one of some sources for nothing. Reads only.
///
/// # Errors
/// When local state is there and cannot be read.
pub fn unclean(state: &Path, plan: &str, file: &Path) -> Result<Vec<PastRun>, StateError> {
    let host = HostState::look(state)?;
    let plan = host.plan(plan, file)?;
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| StateError::Io { doing: "read", path, cause }
    };
    let mut found = Vec::from_iter(refusal(&plan).map_err(io(plan.folder()))?);
    let folders = Folders::new(plan.folder());
    let folder = folders.journals();
    let here = Owner::of_command(host.machine(), &host_name(), "status");
    for path in journal::newest_first(&folder).map_err(io(&folder))? {
        let text = fs::read(&path).map_err(io(&path))?;
        let Some(told) = Told::of(&String::from_utf8_lossy(&text)) else { continue };
        if told.is_between(&folders) {
            continue;
        }
        let is_whole = told.only.is_empty();
        match told.end(&here) {
            // It goes on, or another one kept it out: it says nothing of the backups.
            None => continue,
            Some(Ended::Well) => {}
            Some(Ended::Ill(end)) => found.push(told.past(end)),
        }
        if is_whole {
            break;
        }
    }
    Ok(found)
}

/// The newest run that this host began of a plan, but for one: where a store is away, or lost, its clock was seen all the same.
pub fn newest(plan: &PlanState, but: Option<&RunId>) -> Option<RunId> {
    // Where they cannot be read, the stores are all there is.
    let journals = journal::newest_first(&Folders::new(plan.folder()).journals()).unwrap_or_default();
    let runs = journals.iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    runs.filter(|run| Some(run) != but).max()
}

/// Keeps that a run could not begin.
///
/// # Errors
/// When it cannot be written.
pub fn refused(plan: &PlanState, at: Timestamp, reason: &str) -> io::Result<()> {
    make_private(plan.folder())?;
    let text = serde_json::to_vec(&Refusal { at, reason: reason.to_owned() })?;
    fs::write(plan.folder().join(REFUSED), text)
}

/// Forgets it: a run has begun.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn begun(plan: &PlanState) -> io::Result<()> {
    match fs::remove_file(plan.folder().join(REFUSED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn refusal(plan: &PlanState) -> io::Result<Option<PastRun>> {
    let path = plan.folder().join(REFUSED);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Half a record, as a full disk leaves it, still tells that there was one, and when.
    let (at, reason) = match serde_json::from_slice::<Refusal>(&text) {
        Ok(refusal) => (refusal.at, refusal.reason),
        Err(_) => {
            let written = Timestamp::try_from(fs::metadata(&path)?.modified()?).unwrap_or_default();
            (written, "why was not kept".to_owned())
        }
    };
    Ok(Some(PastRun {
        run: None,
        began: at,
        only: BTreeSet::new(),
        end: End::Refused,
        whole: false,
        troubles: vec![reason],
    }))
}

enum Ended {
    Well,
    Ill(End),
}

/// What a journal tells of its run.
struct Told {
    run: String,
    began: Timestamp,
    /// When it last wrote something.
    last: Timestamp,
    only: BTreeSet<String>,
    owner: Option<Owner>,
    status: Option<u8>,
    whole: bool,
    recovered: bool,
    troubles: Vec<String>,
}

impl Told {
    /// `None` where not even its beginning can be read.
    fn of(text: &str) -> Option<Told> {
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let (began, run, only, owner) = lines.find_map(|line| match line.record {
            Record::Begin { run, only, owner, .. } => Some((line.at, run, only, owner)),
            _ => None,
        })?;
        let (status, whole, recovered, troubles) = (None, false, false, Vec::new());
        let mut told = Told { run, began, last: began, only, owner, status, whole, recovered, troubles };
        for line in lines {
            told.last = told.last.max(line.at);
            match line.record {
                Record::Step { step, outcome: How::Failed, reason: Some(reason), .. } => {
                    told.troubles.push(format!("`{step}`: {reason}"));
                }
                Record::End { status, whole, warnings } => {
                    (told.status, told.whole) = (Some(status), whole);
                    // Trouble behind the last commit is among the warnings, too.
                    let new = warnings.into_iter().filter(|warning| !told.troubles.contains(warning));
                    let new: Vec<String> = new.collect();
                    told.troubles.extend(new);
                }
                Record::Recovered { .. } => told.recovered = true,
                _ => {}
            }
        }
        Some(told)
    }

    /// Whether steps of it can go on that are done by processes of their own.
    fn is_between(&self, folders: &Folders) -> bool {
        self.status.is_none() && !self.recovered && folders.goes_on_alone(&self.run)
    }

    /// `None` where it goes on, or was kept out by another.
    fn end(&self, here: &Owner) -> Option<Ended> {
        let lives = || self.owner.as_ref().is_some_and(|owner| here.life_here(owner) != Life::Dead);
        match self.status {
            Some(0) => Some(Ended::Well),
            Some(3) => Some(Ended::Ill(End::Warnings)),
            Some(4) => None,
            Some(130 | 143) => Some(Ended::Ill(End::Stopped)),
            Some(_) => Some(Ended::Ill(End::Failed)),
            None if !self.recovered && lives() => None,
            None => Some(Ended::Ill(End::Died)),
        }
    }

    fn past(mut self, end: End) -> PastRun {
        if let Some(more @ 1..) = self.troubles.len().checked_sub(MOST) {
            self.troubles.truncate(MOST);
            self.troubles.push(format!("and {more} more"));
        }
        let Told { run, began, only, whole, troubles, .. } = self;
        PastRun { run: Some(run), began, only, end, whole, troubles }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::past::journal::Journal;

    const FILE: &str = "/p.plan";

    struct Past {
        scratch: tempfile::TempDir,
        runs: u32,
    }

    impl Past {
        fn new() -> Past {
            Past { scratch: tempfile::tempdir().unwrap(), runs: 0 }
        }

        fn plan(&self) -> PlanState {
            HostState::open(self.scratch.path()).unwrap().plan("p", Path::new(FILE)).unwrap()
        }

        /// A run that failed a step, of all sources or of one, with this status or without an end.
        fn run(&mut self, only: &[&str], status: Option<u8>) -> &mut Past {
            self.runs += 1;
            let (run, now) = (format!("{:08}", self.runs), Timestamp::UNIX_EPOCH);
            let folder = Folders::new(self.plan().folder()).journals();
            make_private(&folder).unwrap();
            let only = only.iter().map(|name| (*name).to_owned()).collect();
            let begin = Record::Begin { run: run.clone(), pid: 1, only, owner: None };
            let journal = Journal::begin(&folder, &run, &begin, now).unwrap();
            let reason = Some("no".to_owned());
            let failed = Record::Step {
                step: format!("scan/{run}"),
                outcome: How::Failed,
                took_ms: Some(5),
                reason,
                output: None,
            };
            journal.write(now, &failed).unwrap();
            if let Some(status) = status {
                let warnings = vec![format!("warned in {run}")];
                journal.write(now, &Record::End { status, whole: false, warnings }).unwrap();
            }
            self
        }

        fn told(&self) -> Vec<(Option<String>, End)> {
            let past = unclean(self.scratch.path(), "p", Path::new(FILE)).unwrap();
            past.into_iter().map(|past| (past.run, past.end)).collect()
        }
    }

    fn told(run: u32, end: End) -> (Option<String>, End) {
        (Some(format!("{run:08}")), end)
    }

    #[test]
    fn only_a_clean_run_of_all_sources_makes_up_for_what_was_before() {
        let mut past = Past::new();
        assert_eq!(past.told(), []);
        assert_eq!(past.run(&[], Some(1)).told(), [told(1, End::Failed)]);
        assert_eq!(past.run(&[], Some(3)).told(), [told(2, End::Warnings)]);
        assert_eq!(past.run(&["a"], Some(0)).told(), [told(2, End::Warnings)]);
        assert_eq!(past.run(&["a"], Some(143)).told(), [told(4, End::Stopped), told(2, End::Warnings)]);
        assert_eq!(past.run(&[], Some(0)).told(), []);
        assert_eq!(past.run(&[], None).told(), [told(6, End::Died)]);
        // Who was kept out says nothing of the one before.
        assert_eq!(past.run(&[], Some(4)).told(), [told(6, End::Died)]);
    }

    #[test]
    fn what_went_wrong_is_told_in_its_own_words_and_not_without_end() {
        let mut past = Past::new();
        past.run(&[], Some(3));
        let found = unclean(past.scratch.path(), "p", Path::new(FILE)).unwrap();
        assert_eq!(found[0].troubles, ["`scan/00000001`: no", "warned in 00000001"]);
    }

    #[test]
    fn a_run_that_could_not_begin_is_told_until_one_begins() {
        let past = Past::new();
        refused(&past.plan(), Timestamp::UNIX_EPOCH, "no room").unwrap();
        assert_eq!(past.told(), [(None, End::Refused)]);
        begun(&past.plan()).unwrap();
        begun(&past.plan()).unwrap();
        assert_eq!(past.told(), []);
    }

    #[test]
    fn a_run_that_lives_is_no_dead_one() {
        let past = Past::new();
        let host = HostState::open(past.scratch.path()).unwrap();
        let folder = Folders::new(past.plan().folder()).journals();
        make_private(&folder).unwrap();
        let owner = Owner::of_command(host.machine(), "here", "run");
        for (run, owner) in [("1", Owner { pid_start: owner.pid_start + 1, ..owner.clone() }), ("2", owner)] {
            let begin =
                Record::Begin { run: run.to_owned(), pid: 1, only: BTreeSet::new(), owner: Some(owner) };
            Journal::begin(&folder, run, &begin, Timestamp::UNIX_EPOCH).unwrap();
        }
        assert_eq!(past.told(), [(Some("1".to_owned()), End::Died)]);
    }
}
