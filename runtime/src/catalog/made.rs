//! The runs that this machine has committed, by the digests of their manifests: what a run brings to other stores by itself is
//! its own. Whoever may write into one store must not reach another through this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::ids::RunId;
use super::layout::Layout;
use super::manifest::Manifest;
use super::recover::{Memory, Past};
use super::runs::Catalog;
use crate::store::{ReadStore, StoreError, StoreErrorKind};

/// A line for each manifest, in the order of commits: the run, and the BLAKE3 of the manifest's bytes; and lines behind that with a
/// [`Mark`] in its place.
const FILE: &str = "committed";
/// What stands before the digest of a manifest that somebody has said to be right.
const ACCEPTED: &str = "accepted ";
/// What stands before the name of a store that has the manifest of a run.
const DONE_IN: &str = "done ";
/// What stands before the name of a store in which a prune gives up a run.
const GONE_IN: &str = "gone ";
/// What stands before the name of a store, in the line of the run that looked at it first.
const LOOKED_AT: &str = "looked ";
/// What is told of a run that is about to make what only its manifest will name.
const BEGUN: &str = "begun";
/// What is told of a run that is about to write into stores.
const INTENDED: &str = "intended";
/// Whenever it has come to so many bytes more, what is of no use any more goes: some ten thousand lines.
const LARGE: u64 = 1 << 20;

/// What became of a run, in the order in which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A store has it.
    Done,
    /// A run found that no store has it any more, though none deleted it.
    Lost,
    /// It is there again.
    Here,
    /// Somebody has said that it is right that no store has it.
    Accepted,
}

impl Mark {
    const ALL: [Mark; 4] = [Mark::Done, Mark::Lost, Mark::Here, Mark::Accepted];

    fn word(self) -> &'static str {
        match self {
            Mark::Done => "done",
            Mark::Lost => "lost",
            Mark::Here => "here",
            Mark::Accepted => "accepted",
        }
    }
}

/// What is known of them.
#[derive(Debug, Default)]
pub struct Made {
    runs: BTreeMap<RunId, Known>,
    /// Stores of which what was there before this machine's runs is known, with the run that looked.
    looked_at: BTreeMap<String, RunId>,
}

/// What is known of a run.
#[derive(Debug, Default)]
struct Known {
    /// Of the manifests that this machine was going to commit.
    digests: BTreeSet<String>,
    /// Of manifests that it did not, and of which somebody has said that they are right.
    accepted: BTreeSet<String>,
    /// Stores that had its manifest.
    done_in: BTreeSet<String>,
    /// Stores in which a prune of this machine gave it up.
    gone_in: BTreeSet<String>,
    /// Stores of these to which it was brought again since.
    back_in: BTreeSet<String>,
    is_begun: bool,
    is_intended: bool,
    is_done: bool,
    is_lost: bool,
    /// Somebody has said that it is right that no store has it.
    is_accepted: bool,
}

impl Known {
    fn take(&mut self, told: &str) {
        match Mark::ALL.into_iter().find(|mark| mark.word() == told) {
            Some(Mark::Done) => self.is_done = true,
            Some(Mark::Lost) => self.is_lost = true,
            Some(Mark::Here) => self.is_lost = false,
            Some(Mark::Accepted) => {
                (self.is_done, self.is_lost, self.is_accepted) = (false, false, true);
            }
            None if told == BEGUN => self.is_begun = true,
            None if told == INTENDED => self.is_intended = true,
            None => {
                let kinds = [
                    (ACCEPTED, &mut self.accepted),
                    (DONE_IN, &mut self.done_in),
                    (GONE_IN, &mut self.gone_in),
                ];
                let named = kinds.into_iter().find_map(|(word, all)| Some((all, told.strip_prefix(word)?)));
                let (all, what) = named.unwrap_or((&mut self.digests, told));
                all.insert(what.to_owned());
                if let Some(store) = told.strip_prefix(DONE_IN).filter(|store| self.gone_in.contains(*store))
                {
                    self.back_in.insert(store.to_owned());
                } else if let Some(store) = told.strip_prefix(GONE_IN) {
                    self.back_in.remove(store);
                }
            }
        }
    }

    /// The lines that say the same.
    fn lines(&self) -> Vec<String> {
        let word = |is: bool, word: &str| is.then(|| word.to_owned());
        let named = |word: &str, all: &BTreeSet<String>| -> Vec<String> {
            all.iter().map(|what| format!("{word}{what}")).collect()
        };
        let first = [word(self.is_intended, INTENDED), word(self.is_begun, BEGUN)];
        let marks = [
            word(self.is_accepted, Mark::Accepted.word()),
            word(self.is_done, Mark::Done.word()),
            word(self.is_lost, Mark::Lost.word()),
        ];
        let stores =
            [named(DONE_IN, &self.done_in), named(GONE_IN, &self.gone_in), named(DONE_IN, &self.back_in)];
        let digests = self.digests.iter().cloned().chain(named(ACCEPTED, &self.accepted));
        let all = first.into_iter().flatten().chain(digests).chain(marks.into_iter().flatten());
        all.chain(stores.into_iter().flatten()).collect()
    }

    /// Whether nobody asks of it any more: it is in no store of those that it came to, or came to none.
    fn is_over(&self) -> bool {
        let is_there = |store: &String| !self.gone_in.contains(store) || self.back_in.contains(store);
        let has_come = !self.digests.is_empty() || !self.accepted.is_empty() || !self.done_in.is_empty();
        let is_kept = self.is_lost || self.is_accepted || self.done_in.iter().any(is_there);
        !is_kept && (!has_come || !self.done_in.is_empty())
    }
}

impl Made {
    /// What a plan's folder of this machine's state has. Lines that cannot be read count for nothing.
    ///
    /// # Errors
    /// In words, why it cannot be read.
    pub fn load(folder: &Path) -> Result<Made, String> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Made::default()),
            Err(error) => return Err(told(folder, &error)),
        };
        Ok(Made::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Made {
        let mut made = Made::default();
        for line in text.lines() {
            if let Some((run, told)) = line.split_once(' ')
                && let Ok(run) = run.parse()
            {
                match told.strip_prefix(LOOKED_AT) {
                    Some(store) => drop(made.looked_at.insert(store.to_owned(), run)),
                    None => made.runs.entry(run).or_default().take(told),
                }
            }
        }
        made
    }

    /// What is known of the runs in a store.
    pub fn in_store<'a>(&'a self, store: &'a str) -> InStore<'a> {
        InStore { made: self, store }
    }

    /// Whether this machine knows of no run.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether this machine was going to commit a run.
    pub fn knows(&self, run: &RunId) -> bool {
        self.runs.get(run).is_some_and(|known| !known.digests.is_empty())
    }

    /// Whether a run has found that no store has this one any more, and none that it is there again.
    pub fn has_lost(&self, run: &RunId) -> bool {
        self.runs.get(run).is_some_and(|known| known.is_lost)
    }

    /// Whether a prune of this machine gave up a run in a store: what its manifest named there is nobody's any more.
    pub fn is_given_up(&self, run: &RunId, store: &str) -> bool {
        self.runs.get(run).is_some_and(|known| known.gone_in.contains(store))
    }

    /// Whether a run of this machine began and never came to its commit in a store. Where nothing is known of it, its manifest may
    /// have been there, and be lost.
    pub fn is_uncommitted(&self, run: &RunId, store: &str) -> bool {
        self.runs.get(run).is_some_and(|known| known.is_begun && !known.done_in.contains(store))
    }

    /// Keeps, durably, that a run is about to write into stores: by that the next one knows that what it left there is this plan's.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep_intended(folder: &Path, run: RunId) -> Result<(), String> {
        Made::append(folder, run, &[INTENDED]).map_err(|error| told(folder, &error))
    }

    /// Keeps, durably, that `run` is the first to look at a store, and what it has `found` there: runs with the digests of their
    /// manifests, from before this machine had the plan. What comes to be there later under older numbers is somebody else's.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep_look(
        folder: &Path,
        run: RunId,
        store: &str,
        found: &[(RunId, String)],
    ) -> Result<(), String> {
        let there = found.iter().flat_map(|(run, digest)| {
            [format!("{run} {ACCEPTED}{digest}"), format!("{run} {DONE_IN}{store}")]
        });
        let lines: Vec<String> = there.chain([format!("{run} {LOOKED_AT}{store}")]).collect();
        Made::append_lines(folder, &lines).map_err(|error| told(folder, &error))
    }

    /// Keeps, durably, that a run is about to make what only its manifest will name.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep_begun(folder: &Path, run: RunId) -> Result<(), String> {
        Made::append(folder, run, &[BEGUN]).map_err(|error| told(folder, &error))
    }

    /// Keeps, durably, that a prune is about to give up a run in a store.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep_gone(folder: &Path, run: RunId, store: &str) -> Result<(), String> {
        Made::append(folder, run, &[&format!("{GONE_IN}{store}")]).map_err(|error| told(folder, &error))
    }

    /// Keeps, durably, that a store has the manifest of a run.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep_done(folder: &Path, run: RunId, store: &str) -> Result<(), String> {
        let told_in = format!("{DONE_IN}{store}");
        Made::append(folder, run, &[Mark::Done.word(), &told_in]).map_err(|error| told(folder, &error))
    }

    /// Keeps that a manifest is going to be committed, durably: before it is, so that none is committed and not known.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn keep(folder: &Path, run: RunId, manifest: &[u8]) -> Result<(), String> {
        Made::write(folder, run, manifest).map_err(|error| told(folder, &error))
    }

    /// Keeps what became of a run, durably.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn mark(folder: &Path, run: RunId, mark: Mark) -> Result<(), String> {
        Made::append(folder, run, &[mark.word()]).map_err(|error| told(folder, &error))
    }

    /// Keeps that somebody has said that a manifest with this digest is right, durably.
    ///
    /// # Errors
    /// In words, why that cannot be written.
    pub fn accept(folder: &Path, run: RunId, digest: &str) -> Result<(), String> {
        Made::append(folder, run, &[&format!("{ACCEPTED}{digest}")]).map_err(|error| told(folder, &error))
    }

    fn write(folder: &Path, run: RunId, manifest: &[u8]) -> io::Result<()> {
        Made::append(folder, run, &[&digest(manifest)])
    }

    fn append(folder: &Path, run: RunId, lines: &[&str]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|what| format!("{run} {what}")).collect();
        Made::append_lines(folder, &lines)
    }

    fn append_lines(folder: &Path, lines: &[String]) -> io::Result<()> {
        let path = folder.join(FILE);
        // A line that was cut by a crash must not spoil these.
        let text = format!("\n{}\n", lines.join("\n"));
        let is_crossed = |seen: fs::Metadata| seen.len() / LARGE < (seen.len() + text.len() as u64) / LARGE;
        if fs::metadata(&path).is_ok_and(is_crossed) {
            shorten(&path)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }

    /// Whether this machine has committed a run, with a manifest of these bytes.
    pub fn is_own(&self, run: RunId, manifest: &[u8]) -> bool {
        self.runs.get(&run).is_some_and(|known| known.digests.contains(&digest(manifest)))
    }

    /// The runs that a store had and none of these has any more, though no prune deletes the newest run of a store: those behind all
    /// that is there, and those that a run has found so; where none has any run, the newest.
    pub fn gone<'a>(&self, catalogs: impl Iterator<Item = &'a Catalog>) -> Vec<RunId> {
        let catalogs: Vec<&Catalog> = catalogs.collect();
        let newest = |catalog: &&Catalog| {
            let readable = catalog.runs().next_back().map(|manifest| manifest.run);
            readable.max(catalog.unreadable().last().copied())
        };
        let Some(newest) = catalogs.iter().filter_map(newest).max() else {
            // Who says of that one that it is right says it of those before it.
            let was = |known: &Known| known.is_done || known.is_lost || known.is_accepted;
            let newest = self.runs.iter().rev().find(|(_, known)| was(known));
            return newest.filter(|(_, known)| !known.is_accepted).map(|(run, _)| *run).into_iter().collect();
        };
        let is_there = |run: &RunId| catalogs.iter().any(|catalog| catalog.has(run));
        let all = self.runs.iter();
        let gone = all.filter(|(run, known)| known.is_lost || (known.is_done && **run > newest));
        gone.map(|(run, _)| *run).filter(|run| !is_there(run)).collect()
    }

    /// The runs that were lost and that one of these has again.
    pub fn back<'a>(&self, catalogs: impl Iterator<Item = &'a Catalog>) -> Vec<RunId> {
        let catalogs: Vec<&Catalog> = catalogs.collect();
        let lost = self.runs.iter().filter(|(_, known)| known.is_lost).map(|(run, _)| *run);
        lost.filter(|run| catalogs.iter().any(|catalog| catalog.has(run))).collect()
    }

    /// The runs of a store that this machine has not committed as they are there, though it has made earlier ones, each with the
    /// digest of its manifest; without those of which somebody has said that they are right. What is older than all that it has made
    /// may be from before it had the plan, where it has not yet looked what was there then.
    pub fn strange<'a>(&self, catalog: &'a Catalog, store: &str) -> Vec<(RunId, &'a str)> {
        let may_be_older = self.may_be_older(store);
        let is_told = |run: &RunId, digest: &str| !may_be_older(run) && !self.vouches(run, digest);
        catalog.digests().filter(|(run, digest)| is_told(run, digest)).collect()
    }

    /// The runs of a store that may be from before this machine had the plan, each with the digest of its manifest; `None`: it has
    /// looked before.
    pub fn found(&self, catalog: &Catalog, store: &str) -> Option<Vec<(RunId, String)>> {
        if self.looked_at.contains_key(store) {
            return None;
        }
        let may_be_older = self.may_be_older(store);
        let is_found = |run: &RunId, digest: &str| may_be_older(run) && !self.vouches(run, digest);
        let found = catalog.digests().filter(|(run, digest)| is_found(run, digest));
        Some(found.map(|(run, digest)| (run, digest.to_owned())).collect())
    }

    /// Whether this machine made a run, or somebody said that it is right, with this digest.
    fn vouches(&self, run: &RunId, digest: &str) -> bool {
        let known = self.runs.get(run);
        known.is_some_and(|it| it.digests.contains(digest) || it.accepted.contains(digest))
    }

    /// Tells of runs of a store whether they may be from before this machine had the plan.
    fn may_be_older(&self, store: &str) -> impl Fn(&RunId) -> bool + use<> {
        let mut own = self.runs.iter().filter(|(_, known)| !known.digests.is_empty());
        let first = own.next().map(|(first, _)| *first);
        // Before the first run of a plan there was none, whatever somebody lays there under an earlier number.
        let may_be = !self.looked_at.contains_key(store) && first.is_none_or(|first| first.sequence() != 1);
        move |run| may_be && first.is_none_or(|first| *run < first)
    }

    /// Takes the runs away from a store's catalogue that are `wanted` elsewhere and that this machine did not commit there as
    /// they are now; gives their ids. What stays is read anew: as it was looked at, it is brought.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub fn only_own(
        &self,
        catalog: &mut Catalog,
        store: &dyn ReadStore,
        layout: &Layout,
        wanted: impl Fn(RunId) -> bool,
    ) -> Result<BTreeSet<RunId>, StoreError> {
        let asked: Vec<RunId> = catalog.runs().map(|run| run.run).filter(|run| wanted(*run)).collect();
        let mut strange = BTreeSet::new();
        for run in asked {
            let name = layout.manifest(&run);
            let bytes = match store.read(&name) {
                Ok(bytes) => bytes,
                Err(error) if error.kind == StoreErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            catalog.remove(&run);
            let is_own = self.is_own(run, &bytes);
            match Manifest::parse(name.as_str(), &bytes).ok().filter(|_| is_own) {
                Some(manifest) => catalog.add(manifest),
                None => drop(strange.insert(run)),
            }
        }
        Ok(strange)
    }
}

/// What this machine knows of the runs in a store.
#[derive(Debug, Clone, Copy)]
pub struct InStore<'a> {
    made: &'a Made,
    store: &'a str,
}

impl Memory for InStore<'_> {
    fn past(&self, run: &RunId) -> Past {
        let Some(known) = self.made.runs.get(run) else { return Past::Unknown };
        match () {
            () if known.back_in.contains(self.store) => Past::Back,
            () if known.gone_in.contains(self.store) => Past::GivenUp,
            () if known.done_in.contains(self.store) => Past::Committed,
            () => Past::Own,
        }
    }

    fn has_made(&self, run: &RunId, digest: &str) -> bool {
        self.made.runs.get(run).is_some_and(|known| known.digests.contains(digest))
    }

    fn trusts(&self, run: &RunId, digest: &str) -> bool {
        self.made.vouches(run, digest) || self.made.may_be_older(self.store)(run)
    }
}

/// What is said of runs that no store has any more.
pub fn told_gone(gone: &[RunId]) -> Option<String> {
    let run = gone.last()?;
    let more = more(gone.len(), " before it");
    Some(format!(
        "run `{run}`{more}, which this machine committed, is in none of the plan's stores any more, and no prune of it deletes the newest: a \
         store was put back to an earlier state, is another one than it was, or somebody deleted in it. See which, and put back what is left of it; the next run \
         takes whole what rested on it. It is told until it is back, or somebody says that it is right so: `plan prune FILE --accept {run}`"
    ))
}

/// What is said of runs that no store has that could be read, while others could not.
pub fn told_unseen(gone: &[RunId]) -> Option<String> {
    let run = gone.last()?;
    let more = more(gone.len(), " before it");
    Some(format!(
        "run `{run}`{more}, which this machine committed, is newer than all in the stores that could be read: where it is cannot be read now"
    ))
}

/// What is said of the runs of a store that this machine has not committed as they are there.
pub fn told_strange(
    store: &str,
    layout: &Layout,
    catalog: &Catalog,
    strange: &[(RunId, &str)],
) -> Option<String> {
    let (run, _) = strange.last()?;
    let more = more(strange.len(), " before it");
    let host = catalog.get(run).map(|manifest| format!(", of machine `{}` as it says,", manifest.host.name));
    let (host, object) = (host.unwrap_or_default(), layout.manifest(run));
    Some(format!(
        "store `{store}`: run `{run}`{more}{host} is none that this machine has made, as it is there. If another machine of yours had the store \
         in between (`plan run --adopt`), say once `plan prune FILE --accept {run}`, and the next run tells of it no more; else somebody has \
         laid it there, or changed it: look at it (`plan ls {run}`), and move `{object}` out of the store"
    ))
}

fn more(all: usize, which: &str) -> String {
    if all > 1 { format!(", and {} more{which}", all - 1) } else { String::new() }
}

fn told(folder: &Path, cause: &io::Error) -> String {
    format!(
        "which runs this machine has made is in `{}`, which cannot be used: {cause}; mend that, or delete it: until then `plan sync` \
         alone brings to a store what it lacks of others",
        folder.join(FILE).display()
    )
}

/// What a manifest's bytes are known by.
pub(super) fn digest(manifest: &[u8]) -> String {
    blake3::hash(manifest).to_hex().to_string()
}

/// Leaves away what is of no use any more in the older half. What a store still has of this machine's is not forgotten: it would be
/// a stranger's then.
fn shorten(path: &Path) -> io::Result<()> {
    let made = Made::parse(&String::from_utf8_lossy(&fs::read(path)?));
    let lines = |run: &RunId, lines: &[String]| -> String {
        lines.iter().map(|line| format!("{run} {line}\n")).collect()
    };
    let runs = made.runs.iter().map(|(run, known)| (known.is_over(), lines(run, &known.lines())));
    let runs: Vec<(bool, String)> = runs.collect();
    let total: usize = runs.iter().map(|(_, text)| text.len()).sum();
    let mut kept: String =
        made.looked_at.iter().map(|(store, run)| lines(run, &[format!("{LOOKED_AT}{store}")])).collect();
    let mut read = 0;
    for (is_over, text) in &runs {
        read += text.len();
        if !is_over || read > total / 2 {
            kept.push_str(text);
        }
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(kept.as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn run(number: u32) -> RunId {
        format!("{number:08}-20261120T023000Z-k7f3qa").parse().unwrap()
    }

    fn digest_of(number: u32) -> String {
        digest(&number.to_le_bytes())
    }

    /// Runs of which all but `there` are given up again, in a file that is as long as it may be.
    fn filled(folder: &Path, there: &[u32]) {
        Made::keep_look(folder, run(3), "a", &[(run(2), digest_of(2))]).unwrap();
        let path = folder.join(FILE);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("00000009-20261120T0230\n");
        for number in 3..3_900 {
            let run = run(number);
            text.push_str(&format!(
                "{run} intended\n{run} {}\n{run} done\n{run} done a\n",
                digest_of(number)
            ));
            text.push_str(&if there.contains(&number) { String::new() } else { format!("{run} gone a\n") });
        }
        let left = usize::try_from(LARGE).unwrap() - 10 - text.len();
        text.push_str(&"#".repeat(left));
        fs::write(&path, text).unwrap();
    }

    #[test]
    fn what_was_kept_is_known_whatever_was_cut_and_what_is_in_a_store_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), &[7, 3_000]);
        let made = Made::load(folder.path()).unwrap();
        assert!(made.in_store("a").has_made(&run(3), &digest_of(3)));
        Made::keep(folder.path(), run(5_000), b"last").unwrap();
        let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
        assert!(size < LARGE * 2 / 3, "{size}");
        let made = Made::load(folder.path()).unwrap();
        assert!(!made.runs.contains_key(&run(3)) && made.runs.contains_key(&run(3_899)));
        assert!(made.is_own(run(5_000), b"last"));
        // An earlier one that comes again, as a sync brings it, makes no strangers of those behind it.
        Made::keep(folder.path(), run(1), b"one").unwrap();
        Made::keep_done(folder.path(), run(1), "c").unwrap();
        let made = Made::load(folder.path()).unwrap();
        for number in [2, 7, 3_000] {
            assert!(made.in_store("a").trusts(&run(number), &digest_of(number)), "{number}");
        }
        assert!(!made.in_store("a").trusts(&run(8), &digest_of(8)));
        assert_eq!(made.in_store("a").past(&run(7)), Past::Committed);
        assert_eq!(made.in_store("b").past(&run(7)), Past::Own);
        assert_eq!(made.in_store("a").past(&run(8)), Past::Unknown);
        assert!(Made::load(&folder.path().join("none")).unwrap().runs.is_empty());
    }

    #[test]
    fn what_is_written_anew_says_the_same() {
        let told = [
            "begun",
            "intended",
            "aa",
            "bb",
            "accepted cc",
            "done",
            "done a",
            "done b",
            "gone a",
            "done a",
            "gone b",
            "lost",
        ];
        let mut known = Known::default();
        told.iter().for_each(|told| known.take(told));
        let mut again = Known::default();
        known.lines().iter().for_each(|told| again.take(told));
        assert_eq!(format!("{known:?}"), format!("{again:?}"));
        assert!(known.back_in.contains("a") && !known.back_in.contains("b") && !known.is_over());
        known.take("here");
        known.take("gone a");
        assert!(known.is_over());
        known.take("accepted");
        assert!(!known.is_over());
    }

    #[test]
    fn what_is_older_than_all_that_is_known_is_strange_once_somebody_has_looked() {
        let folder = tempfile::tempdir().unwrap();
        Made::keep(folder.path(), run(5), b"five").unwrap();
        let made = Made::load(folder.path()).unwrap();
        let trusts =
            |made: &Made, store: &str, number| made.in_store(store).trusts(&run(number), &digest_of(number));
        assert!(trusts(&made, "a", 2) && !trusts(&made, "a", 6));
        Made::keep_look(folder.path(), run(5), "a", &[(run(2), digest_of(2))]).unwrap();
        let made = Made::load(folder.path()).unwrap();
        assert!(trusts(&made, "a", 2) && !trusts(&made, "a", 3) && trusts(&made, "b", 3));
        // Before the first of all there was none.
        Made::keep(folder.path(), run(1), b"one").unwrap();
        assert!(!trusts(&Made::load(folder.path()).unwrap(), "b", 0));
    }

    #[test]
    fn what_a_run_made_in_a_store_is_nobodys_once_it_is_known_that_no_manifest_there_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for number in 1..=3 {
            Made::keep_begun(folder.path(), run(number)).unwrap();
        }
        for number in [2, 3] {
            Made::keep(folder.path(), run(number), b"two").unwrap();
            Made::keep_done(folder.path(), run(number), "far").unwrap();
        }
        Made::keep_gone(folder.path(), run(3), "far").unwrap();
        let made = Made::load(folder.path()).unwrap();
        let of = |number| {
            let (run, far, near) = (run(number), "far", "near");
            let (gone, there) = (made.is_given_up(&run, far), made.is_uncommitted(&run, far));
            (made.knows(&run), gone, there, made.is_given_up(&run, near), made.is_uncommitted(&run, near))
        };
        assert_eq!(of(1), (false, false, true, false, true));
        assert_eq!(of(2), (true, false, false, false, true));
        assert_eq!(of(3), (true, true, false, false, true));
        // Of a run of which nothing is known the manifest may be lost.
        assert_eq!(of(4), (false, false, false, false, false));
    }
}
