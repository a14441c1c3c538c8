//! `plan check`

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backplan_compiler::count::plural;
use backplan_compiler::finding::{Finding, Severity};
use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, SourceSet};
use backplan_compiler::together::{Beside, Meeting, together};
use backplan_compiler::{Compiled, Laid, compile};
use backplan_grammar::ast::Item;
use backplan_runtime::control::Control;
use backplan_runtime::load::{self, LoadError};
use backplan_runtime::past::state;
use backplan_runtime::preflight::{self, Asked};
use backplan_runtime::threads::on_several;
use jiff::Timestamp;

use super::plan::{current_folder, inputs, sole};
use super::run::clock;
use super::stop::until_signal;
use crate::args::{CheckArgs, Denied, Global, Report};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human::{self, Tally};
use crate::render::{github, json, sarif};

/// Findings shown to a person for one plan: nobody reads further before mending these.
pub const MOST_SHOWN: usize = 50;

/// What became of one file.
#[derive(Debug)]
enum Checked {
    /// A plan, or a library that cannot be parsed.
    Read {
        sources: Box<SourceSet>,
        findings: Vec<Finding>,
        /// Allowances of libraries that this plan does not need.
        idle: Vec<Finding>,
        /// What the plan means, if anything.
        model: Option<Box<Model>>,
    },
    /// A library that can be parsed: checked through the plans that import it.
    Library(PathBuf),
    /// No text.
    Unreadable(LoadError),
}

/// Checks plans and prints what was found.
///
/// # Errors
/// For wrong usage; what is wrong with plans is an answer.
pub fn execute(args: &CheckArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let current = current_folder()?;
    let inputs = inputs(global)?;
    let (files, mut checked) = files_of(args, &current)?;
    let live = args.live.then(Live::here).transpose()?;
    let check = || check_all(&files, &|file| check_one(file, &current, &inputs, live.as_ref()));
    match &live {
        None => checked.extend(check()),
        // Servers and programs may take their time: what was started for them ends with this.
        Some(live) => match until_signal(&live.control, check)? {
            (_, Some(signal)) => return Ok(signal),
            (looked, None) => checked.extend(looked),
        },
    }
    if checked.iter().all(|one| matches!(one, Checked::Library(_))) {
        // A misspelt folder must not look like a good one.
        return Err(Failure::usage("there is no plan below the folders that were named")
            .help("a plan is a `*.plan` file that begins with `plan NAME`"));
    }
    tell_idle(&mut checked);
    tell_together(&mut checked);
    let mut seen = BTreeSet::new();
    let mut tally = Tally::default();
    let plans: Vec<(&Checked, Vec<&Finding>)> =
        checked.iter().map(|one| (one, fresh_findings(one, &mut seen, &mut tally))).collect();
    let of_host = || answer_programs(&plans, tally).below(top(&current), &current);
    match args.format {
        Report::Human => answer_people(&plans, tally, console),
        Report::Json => console.answer(&json::document(&answer_programs(&plans, tally))),
        Report::Sarif => console.answer(&json::document(&sarif::log(&of_host()))),
        Report::Github => console.answer(&github::commands(&of_host())),
    }
    Ok(status(tally, args.deny))
}

/// The top of the git repository around a folder, or else the folder: code hosts show findings beside files by their paths
/// from there.
fn top(current: &Path) -> &Path {
    let is_top = |folder: &&Path| folder.join(".git").symlink_metadata().is_ok();
    current.ancestors().find(is_top).unwrap_or(current)
}

fn status(tally: Tally, deny: Option<Denied>) -> Status {
    // Warnings alone end with 0: a new version that warns of more must not break what calls it.
    let is_denied = deny == Some(Denied::Warnings) && tally.warnings > 0;
    if tally.errors > 0 || is_denied { Status::Failed } else { Status::Done }
}

/// A file to check.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Named by the user, not found below a folder: then it is meant to be a plan.
    named: bool,
}

/// The files meant by the arguments, and the folders that could not be looked into.
fn files_of(args: &CheckArgs, current: &Path) -> Result<(Vec<File>, Vec<Checked>), Failure> {
    if args.paths.is_empty() {
        return Ok((vec![File { path: sole(current)?, named: true }], Vec::new()));
    }
    let mut files: Vec<File> = Vec::new();
    let mut troubles = Vec::new();
    for path in &args.paths {
        if !current.join(path).is_dir() {
            files.push(File { path: path.clone(), named: true });
            continue;
        }
        let (below, errors) = load::plan_files(path);
        let shown = |path: PathBuf| path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path);
        files.extend(below.into_iter().map(|path| File { path: shown(path), named: false }));
        troubles.extend(errors.into_iter().map(Checked::Unreadable));
    }
    // A library that is named is meant to be a plan, also below a folder that is named too.
    let place = |file: &File| load::normalize(&current.join(&file.path));
    let named: BTreeSet<PathBuf> = files.iter().filter(|file| file.named).map(place).collect();
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(place(file)));
    files.iter_mut().for_each(|file| file.named = named.contains(&place(file)));
    Ok((files, troubles))
}

/// Checks every file, on as many threads as there are cores; answers come in the order of the files.
fn check_all(files: &[File], check: &(dyn Fn(&File) -> Checked + Sync)) -> Vec<Checked> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len());
    if threads <= 1 {
        return files.iter().map(check).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Checked)>> = Mutex::new(Vec::with_capacity(files.len()));
    on_several(threads, || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { break };
            let checked = check(file);
            if let Ok(mut done) = done.lock() {
                done.push((index, checked));
            }
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, checked)| checked).collect()
}

/// What a look at the world needs.
struct Live {
    state: PathBuf,
    home: Option<PathBuf>,
    now: Timestamp,
    control: Control,
}

impl Live {
    fn here() -> Result<Live, Failure> {
        let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
        Ok(Live { state, home: std::env::home_dir(), now: clock()?.now(), control: Control::default() })
    }

    /// A plan that is wrong is mended before anybody looks at the world for it.
    fn look(&self, model: Option<&Model>, laid: &Laid, findings: &mut Vec<Finding>) {
        let is_wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
        if let Some(model) = model.filter(|_| !is_wrong) {
            let (state, home, now) = (self.state.as_path(), self.home.as_deref(), self.now);
            findings.extend(preflight::look(Asked { model, laid, state, home, now }, &self.control));
        }
    }
}

fn check_one(file: &File, current: &Path, inputs: &Inputs, live: Option<&Live>) -> Checked {
    let mut sources = match load::load(&file.path, current) {
        Ok(sources) => sources,
        Err(error) => return Checked::Unreadable(error),
    };
    let root = sources.file(sources.root());
    let is_library = !file.named && !load::has_header(root);
    if is_library && root.parsed.errors.is_empty() {
        return Checked::Library(root.path.clone());
    }
    let Compiled { mut findings, idle, inline_secrets, model, laid, .. } = compile(&sources, inputs);
    let root = sources.file(sources.root());
    if is_library {
        // What a library lacks to be a plan is not its fault.
        findings.retain(|finding| root.parsed.errors.iter().any(|error| error.name == finding.name));
    }
    if let Some(live) = live {
        live.look(model.as_ref(), &laid, &mut findings);
    }
    sources.hide(&inline_secrets);
    Checked::Read { sources: Box::new(sources), findings, idle, model: model.map(Box::new) }
}

/// Adds the allowances of libraries that no plan needs. Only of libraries below a folder that was named, as those have
/// their importers there.
fn tell_idle(checked: &mut [Checked]) {
    let mut open: BTreeMap<PathBuf, Option<BTreeSet<usize>>> = BTreeMap::new();
    for one in checked.iter() {
        if let Checked::Library(path) = one {
            open.insert(path.clone(), None);
        }
    }
    if open.is_empty() {
        return;
    }
    for one in checked.iter() {
        let Checked::Read { sources, idle, .. } = one else { continue };
        for (file, source) in sources.iter() {
            let Some(common) = open.get_mut(&source.path) else { continue };
            let here = idle.iter().map(|finding| finding.primary.place).filter(|place| place.file == file);
            let here: BTreeSet<usize> = here.map(|place| place.span.start).collect();
            *common = Some(common.take().map_or(here.clone(), |common| &common & &here));
        }
    }
    for one in checked {
        let Checked::Read { sources, idle, findings, .. } = one else { continue };
        let is_common = |finding: &Finding| {
            let place = finding.primary.place;
            let common = open.get(&sources.file(place.file).path).and_then(Option::as_ref);
            common.is_some_and(|common| common.contains(&place.span.start))
        };
        findings.extend(idle.extract_if(.., |finding| is_common(finding)));
        findings.sort_by_key(|finding| (finding.primary.place, finding.name));
    }
}

/// Adds what these plans would do to one another.
fn tell_together(checked: &mut [Checked]) {
    let plans: Vec<(usize, Beside<'_>)> = (checked.iter().enumerate())
        .filter_map(|(at, one)| match one {
            Checked::Read { sources: set, model: Some(model), .. } => Some((at, Beside { set, model })),
            _ => None,
        })
        .collect();
    let beside: Vec<Beside<'_>> = plans.iter().map(|(_, plan)| *plan).collect();
    let met: Vec<(usize, Meeting, SourceSet)> = (together(&beside).into_iter())
        .map(|meeting| {
            let other = beside[meeting.with].set.clone();
            (plans[meeting.plan].0, meeting, other)
        })
        .collect();
    for (at, meeting, other) in met {
        if let Checked::Read { sources, findings, .. } = &mut checked[at] {
            findings.push(meeting.told(sources, &other));
            findings.sort_by_key(|finding| (finding.primary.place, finding.name));
        }
    }
}

/// The findings that no plan before has told: a library's are the same in each plan that imports it.
fn fresh_findings<'a>(
    checked: &'a Checked,
    seen: &mut BTreeSet<(PathBuf, usize, &'a str, &'a str)>,
    tally: &mut Tally,
) -> Vec<&'a Finding> {
    let (sources, findings) = match checked {
        Checked::Read { sources, findings, .. } => (sources, findings),
        Checked::Library(_) => return Vec::new(),
        Checked::Unreadable(_) => {
            tally.add(Severity::Error);
            return Vec::new();
        }
    };
    let mut fresh = Vec::new();
    for finding in findings {
        let place = finding.primary.place;
        let key =
            (sources.file(place.file).path.clone(), place.span.start, finding.name, finding.message.as_str());
        if seen.insert(key) {
            tally.add(finding.severity);
            fresh.push(finding);
        }
    }
    fresh
}

fn answer_people(plans: &[(&Checked, Vec<&Finding>)], tally: Tally, console: &mut Console) {
    let style = console.answers();
    for (checked, findings) in plans {
        match checked {
            Checked::Read { sources, .. } => {
                for finding in findings.iter().take(MOST_SHOWN) {
                    console.answer(&format!("{}\n", human::finding(finding, sources, style)));
                }
                if let Some(more @ 1..) = findings.len().checked_sub(MOST_SHOWN) {
                    let file = &sources.file(sources.root()).shown;
                    console.answer(&format!("{file}: and {more} more; `--format json` has all of them\n\n"));
                }
            }
            Checked::Unreadable(error) => console.answer(&format!("{}\n", human::unreadable(error, style))),
            Checked::Library(_) => {}
        }
    }
    let count = plans.iter().filter(|(checked, _)| !matches!(checked, Checked::Library(_))).count();
    let found = match tally.words() {
        words if words.is_empty() => "nothing to report".to_owned(),
        words => words,
    };
    console.answer(&format!("{} checked: {found}\n", plural(count, "plan")));
}

fn answer_programs(plans: &[(&Checked, Vec<&Finding>)], tally: Tally) -> json::Answer {
    let plans = plans.iter().filter_map(|(checked, findings)| match checked {
        Checked::Read { sources, .. } => {
            let root = sources.file(sources.root());
            Some(json::Plan::read(&root.shown, name_of(sources), findings, sources))
        }
        Checked::Unreadable(error) => Some(json::Plan::unreadable(error)),
        Checked::Library(_) => None,
    });
    json::Answer::new(plans.collect(), tally)
}

fn name_of(sources: &SourceSet) -> Option<String> {
    let items = &sources.file(sources.root()).parsed.ast.items;
    items.iter().find_map(|item| match item {
        Item::Plan(header) => Some(header.name.node.clone()),
        _ => None,
    })
}
