//! The runs a store holds, read from the store alone.

use backplan_compiler::count::plural;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::details::{Details, DetailsError};
use super::ids::RunId;
use super::layout::Layout;
use super::manifest::{
    ArchiveRecord, KEPT, MAX_BYTES, MAX_FIRST, Manifest, ManifestError, NEXT_DOCUMENT, Second,
};
use super::names::ArtefactName;
use crate::cipher::Keyring;
use crate::moment::shown;
use crate::store::fs::Kind;
use crate::store::{Entry, Name, ReadStore, StoreError, StoreErrorKind};
use crate::text::printable;
use crate::threads::on_several;

/// Manifests read at once: a remote store answers many as fast as one.
const READERS: usize = 8;

/// Bytes of manifests with large details that are read again to see whether those are whole.
const LARGE_LOOKED_AT: u64 = 64 << 20;

/// The runs of a plan in a store, as they were at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    runs: BTreeMap<RunId, Manifest>,
    /// The BLAKE3 of the bytes that they were read from.
    digests: BTreeMap<RunId, String>,
    problems: Vec<Problem>,
    unreadable: BTreeSet<RunId>,
    highest: u32,
    /// Which runs rest on a run.
    dependants: BTreeMap<RunId, BTreeSet<RunId>>,
    /// Which runs name an artefact.
    references: BTreeMap<ArtefactName, BTreeSet<RunId>>,
    /// Artefacts, with the sizes that manifests say, which somebody looked for and did not find.
    lost: BTreeMap<(ArtefactName, u64), String>,
    /// Runs, looked at together with the artefacts, whose manifests do not say any more what goes where.
    torn: BTreeMap<RunId, String>,
}

/// A manifest that cannot be used. The others can.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is damaged, newer, or not where it belongs.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which run somebody means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest.
    Latest,
    /// By id, by sequence number, or by the part of the id that is chance.
    Id(String),
    /// The newest that started at or before this moment.
    At(Timestamp),
}

/// Why no run was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// There is none at all.
    #[error("there is no run{}", of_source(holding.as_deref()))]
    None {
        /// The source it should hold.
        holding: Option<String>,
    },
    /// There is none of that name.
    #[error("no run is named `{0}`: `plan list` shows what is there")]
    Unknown(String),
    /// It is there, and its manifest cannot be used.
    #[error("run `{run}` is there, and cannot be used: {why}")]
    Unreadable {
        /// The run.
        run: RunId,
        /// What is wrong with its manifest, and what to do.
        why: String,
    },
    /// There are several.
    #[error("`{text}` names several runs: {}", .runs.iter().map(|run| format!("`{run}`")).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it names.
        runs: Vec<RunId>,
    },
    /// All are younger.
    #[error("no run started at or before {}; the oldest is `{oldest}`, of {}", shown(*at), shown(oldest.started()))]
    TooEarly {
        /// What was asked for.
        at: Timestamp,
        /// The oldest there is.
        oldest: RunId,
    },
}

fn of_source(source: Option<&str>) -> String {
    source.map(|source| format!(" that holds source `{source}`")).unwrap_or_default()
}

impl Catalog {
    /// Reads every manifest. Those that cannot be used are [`Catalog::problems`].
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn load(store: &dyn ReadStore, layout: &Layout) -> Result<Catalog, StoreError> {
        let listed = store.entries(&layout.manifests())?;
        let mut catalog = Catalog::default();
        let named =
            listed.iter().filter_map(|entry| Some((layout.run_of_manifest(&entry.name)?, &entry.name)));
        let named: Vec<(RunId, &Name)> = named.collect();
        let seen = named.iter().map(|(run, _)| run.sequence());
        catalog.highest = seen.chain(begun(store, layout)?).max().unwrap_or(0);
        let mut elsewhere = BTreeSet::new();
        for (run, result) in read_all(store, layout, &named) {
            match result {
                Ok(Some((manifest, digest))) => {
                    catalog.digests.insert(run, digest);
                    catalog.add(manifest);
                }
                Ok(None) => {}
                Err(problem) => {
                    if let Problem::Manifest(ManifestError::Misplaced { run, .. }) = &problem {
                        elsewhere.extend(*run);
                    }
                    catalog.unreadable.insert(run);
                    catalog.problems.push(problem);
                }
            }
        }
        for entry in &listed {
            catalog.look_at_misnamed(layout, &entry.name);
        }
        elsewhere.retain(|run| !catalog.has(run));
        catalog.unreadable.extend(elsewhere);
        Ok(catalog)
    }

    /// What is named after a run without being its manifest may be all that is left of that.
    fn look_at_misnamed(&mut self, layout: &Layout, name: &Name) {
        if layout.run_of_manifest(name).is_some() {
            return;
        }
        if let Some(run) = layout.run_named_in(name).filter(|run| !self.has(run)) {
            self.unreadable.insert(run);
            self.problems
                .push(ManifestError::Misnamed { object: printable(name.as_str().as_bytes()), run }.into());
        }
    }

    /// Whether a run is there, be it readable or not.
    pub fn has(&self, run: &RunId) -> bool {
        self.runs.contains_key(run) || self.unreadable.contains(run)
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Manifest> + ExactSizeIterator {
        self.runs.values()
    }

    /// The BLAKE3 of a run's manifest, as it was read.
    pub fn digest(&self, run: &RunId) -> Option<&str> {
        self.digests.get(run).map(String::as_str)
    }

    /// The BLAKE3 of each manifest.
    pub fn digests(&self) -> impl Iterator<Item = (RunId, &str)> {
        self.digests.iter().map(|(run, digest)| (*run, digest.as_str()))
    }

    /// A run by its id.
    pub fn get(&self, run: &RunId) -> Option<&Manifest> {
        self.runs.get(run)
    }

    /// Manifests that cannot be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The runs whose manifests are there and cannot be used: nobody knows what they rest on or point to, but that all of
    /// it was there before them.
    pub fn unreadable(&self) -> &BTreeSet<RunId> {
        &self.unreadable
    }

    /// A run whose manifest cannot be used and that may need something of `run`, or of its artefacts.
    pub fn may_be_needed_by(&self, run: &RunId) -> Option<&RunId> {
        self.unreadable.last().filter(|unreadable| *unreadable >= run)
    }

    /// The highest sequence seen, also of runs that were only begun, are being deleted, or cannot be read; 0: none.
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// The run that is meant, among those that hold `source` if one is given.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn choose(&self, choice: &Choice, source: Option<&str>) -> Result<&Manifest, ChooseError> {
        let fits = |manifest: &&Manifest| source.is_none_or(|source| manifest.holds(source));
        let mut runs = self.runs().filter(fits);
        let Some(oldest) = runs.next() else {
            return Err(ChooseError::None { holding: source.map(str::to_owned) });
        };
        match choice {
            Choice::Latest => Ok(runs.next_back().unwrap_or(oldest)),
            Choice::At(at) => {
                let newest = self.runs().rev().filter(fits).find(|manifest| has_begun(manifest, *at));
                newest.ok_or(ChooseError::TooEarly { at: *at, oldest: oldest.run })
            }
            Choice::Id(text) => self.named(text),
        }
    }

    fn named(&self, text: &str) -> Result<&Manifest, ChooseError> {
        if let Some(manifest) = text.parse().ok().and_then(|run| self.runs.get(&run)) {
            return Ok(manifest);
        }
        let sequence: Option<u32> = text.parse().ok();
        let means = |run: &RunId| run.short() == text || Some(run.sequence()) == sequence;
        let found: Vec<&Manifest> = self.runs().filter(|manifest| means(&manifest.run)).collect();
        match found.as_slice() {
            [] => Err(self
                .unreadable
                .iter()
                .find(|run| run.to_string() == text || means(run))
                .map_or_else(|| ChooseError::Unknown(text.to_owned()), |run| self.why_not(*run))),
            [manifest] => Ok(manifest),
            several => Err(ChooseError::Ambiguous {
                text: text.to_owned(),
                runs: several.iter().map(|manifest| manifest.run).collect(),
            }),
        }
    }

    /// Why a run cannot be used whose manifest is there.
    fn why_not(&self, run: RunId) -> ChooseError {
        let mut told = self.problems.iter().map(ToString::to_string);
        let why = told.find(|problem| problem.contains(&run.to_string()));
        ChooseError::Unreadable { run, why: why.unwrap_or_else(|| "its manifest cannot be read".to_owned()) }
    }

    /// Whether a run other than `run` names this artefact.
    pub fn references(&self, artefact: &str, run: &RunId) -> bool {
        self.references.get(artefact).is_some_and(|runs| runs.iter().any(|other| other != run))
    }

    /// The runs that rest on this one, oldest first.
    pub fn resting_on(&self, run: &RunId) -> impl Iterator<Item = &RunId> {
        self.dependants.get(run).into_iter().flatten()
    }

    /// Looks whether the artefacts that runs name are there, with their sizes: who deletes, or says that all is well, must not
    /// count on runs of which the manifest alone is left.
    ///
    /// # Errors
    /// When the store cannot tell of one.
    pub fn look_for_artefacts(&mut self, store: &dyn ReadStore, layout: &Layout) -> Result<(), StoreError> {
        let archives = self.runs.values().flat_map(|manifest| &manifest.archives);
        let named: BTreeSet<(&ArtefactName, u64)> =
            archives.map(|archive| (&archive.artefact, archive.size)).collect();
        let named: Vec<(&ArtefactName, u64)> = named.into_iter().collect();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::with_capacity(named.len()));
        on_several(READERS.min(named.len()), || {
            while let Some((artefact, size)) = named.get(next.fetch_add(1, Ordering::Relaxed)) {
                let loss = loss(store, artefact, *size);
                let key = ((*artefact).clone(), *size);
                found.lock().unwrap_or_else(PoisonError::into_inner).push((key, loss));
            }
        });
        let mut lost = BTreeMap::new();
        for (key, loss) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            lost.extend(loss?.map(|why| (key, why)));
        }
        self.lost = lost;
        self.torn = self.torn_ones(store, layout);
        Ok(())
    }

    /// Those whose details are damaged. Large ones are read again for that, the newest first, as far as that takes little time.
    fn torn_ones(&self, store: &dyn ReadStore, layout: &Layout) -> BTreeMap<RunId, String> {
        let (mut torn, mut left) = (BTreeMap::new(), LARGE_LOOKED_AT);
        for manifest in self.runs.values().rev() {
            let details = if manifest.second == Second::Left && left > 0 {
                let size = store.size(&layout.manifest(&manifest.run)).ok().flatten().unwrap_or_default();
                left = left.saturating_sub(size);
                read_details(store, layout, manifest, &Keyring::default())
            } else {
                manifest.details()
            };
            if let Err(DetailsError::Damaged(cause)) = details {
                torn.insert(manifest.run, told_torn(&cause));
            }
        }
        torn
    }

    /// Why a run cannot be put back though its artefacts are there, if somebody looked and it cannot: of its manifest the part is
    /// damaged that says what goes where. Of what is sealed only that shows which needs no key.
    pub fn torn(&self, run: &RunId) -> Option<&str> {
        self.torn.get(run).map(String::as_str)
    }

    /// Why an archive cannot be had from its artefact, if somebody looked and it cannot.
    pub fn loss_of(&self, archive: &ArchiveRecord) -> Option<&str> {
        self.lost.get(&(archive.artefact.clone(), archive.size)).map(String::as_str)
    }

    /// Whether an artefact that a run here names cannot be had.
    pub fn has_losses(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Says of each artefact that is lost here how it comes back, where one of these other stores was looked at and has it whole.
    pub fn name_mends(&mut self, others: &[(&str, &Catalog)]) {
        let lost = self.runs.values().flat_map(|run| &run.archives).filter_map(|archive| {
            let why = self.loss_of(archive)?;
            let (store, _) = others.iter().find(|(_, other)| other.has_whole(archive))?;
            let key = (archive.artefact.clone(), archive.size);
            Some((key, format!("{why}; {}", told_mend(why.ends_with(GONE), store))))
        });
        let lost: Vec<_> = lost.collect();
        self.lost.extend(lost);
    }

    /// Whether an artefact is named here, and was looked for and found.
    pub fn has_whole(&self, archive: &ArchiveRecord) -> bool {
        let is_named = |run: &RunId| {
            let archives = self.runs.get(run).into_iter().flat_map(|run| &run.archives);
            let mut same = archives.filter(|own| own.artefact == archive.artefact);
            same.any(|own| own.sha256.is_some() && own.sha256 == archive.sha256)
        };
        let named = self.references.get(&archive.artefact);
        self.loss_of(archive).is_none() && named.into_iter().flatten().any(is_named)
    }

    /// Counts a run in.
    pub(crate) fn add(&mut self, manifest: Manifest) {
        for archive in &manifest.archives {
            self.references.entry(archive.artefact.clone()).or_default().insert(manifest.run);
        }
        for base in manifest.rests_on() {
            self.dependants.entry(base).or_default().insert(manifest.run);
        }
        self.highest = self.highest.max(manifest.run.sequence());
        self.runs.insert(manifest.run, manifest);
    }

    /// Counts a run out.
    pub(crate) fn remove(&mut self, run: &RunId) {
        self.digests.remove(run);
        if let Some(manifest) = self.runs.remove(run) {
            for archive in &manifest.archives {
                if let Some(runs) = self.references.get_mut(&archive.artefact) {
                    runs.remove(run);
                }
            }
            for base in manifest.rests_on() {
                if let Some(runs) = self.dependants.get_mut(&base) {
                    runs.remove(run);
                }
            }
        }
    }
}

/// Whether a run had begun at a moment. One of whole seconds is what is shown of all that began in that second.
fn has_begun(manifest: &Manifest, at: Timestamp) -> bool {
    match at.subsec_nanosecond() {
        0 => manifest.started.as_second() <= at.as_second(),
        _ => manifest.started <= at,
    }
}

fn told_torn(cause: &str) -> String {
    format!(
        "the details in its manifest are damaged ({cause}); its artefacts can be read by `plan cat` and unpacked by tar"
    )
}

/// What is said of an artefact that is not there.
const GONE: &str = "is not there";

/// How an artefact comes back that a store has whole and another has not, or not as it was.
pub fn told_mend(is_gone: bool, store: &str) -> String {
    let first = if is_gone { "" } else { "take away what is there, and " };
    format!("{first}`plan sync` brings it from store `{store}`")
}

/// What is wrong with an artefact as far as a look at it tells.
fn loss(store: &dyn ReadStore, artefact: &ArtefactName, size: u64) -> Result<Option<String>, StoreError> {
    let Ok(name) = Name::new(artefact.as_str()) else { return Ok(None) };
    let why = match store.size(&name) {
        Ok(Some(found)) if found == size => return Ok(None),
        Ok(Some(found)) => format!("has {}, not {size}", plural(found, "byte")),
        Ok(None) => GONE.to_owned(),
        Err(error) if error.kind == StoreErrorKind::Foreign => "is no file".to_owned(),
        Err(error) => return Err(error),
    };
    Ok(Some(format!("its artefact `{artefact}` {why}")))
}

/// Sequences of runs that were begun or are being deleted.
fn begun(store: &dyn ReadStore, layout: &Layout) -> Result<Vec<u32>, StoreError> {
    let intents = store.entries(&layout.intents())?;
    let tombstones = store.entries(&layout.tombstones())?;
    let runs = intents.iter().filter_map(|entry| layout.run_of_intent(&entry.name));
    let runs = runs.chain(tombstones.iter().filter_map(|entry| layout.run_of_tombstone(&entry.name)));
    Ok(runs.map(|run| run.sequence()).collect())
}

fn read_all(
    store: &dyn ReadStore,
    layout: &Layout,
    named: &[(RunId, &Name)],
) -> Vec<(RunId, Result<Option<Read>, Problem>)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::with_capacity(named.len()), Arc::from("")));
    on_several(READERS.min(named.len()), || {
        while let Some((run, name)) = named.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut result = read_one(store, layout, run, name);
            let (results, like) = &mut *results.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Some((manifest, _))) = &mut result {
                manifest.second.thin(like);
            }
            results.push((*run, result));
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

/// A manifest, and the digest of its bytes.
type Read = (Manifest, String);

fn read_one(
    store: &dyn ReadStore,
    layout: &Layout,
    run: &RunId,
    name: &Name,
) -> Result<Option<Read>, Problem> {
    // One byte more than the largest, so that a larger one is told from it.
    let bytes = match store.read_range(name, 0, MAX_FIRST + 1) {
        // Deleted since it was listed.
        Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind == StoreErrorKind::Foreign => {
            return Err(ManifestError::NoFile { object: name.to_string() }.into());
        }
        bytes => bytes?,
    };
    let digest = digest_of_all(store, name, &bytes)?;
    let manifest = parse_lean(name.as_str(), bytes)?;
    if manifest.run != *run || manifest.plan.name != layout.plan() {
        let found = format!("run `{}` of plan `{}`", manifest.run, manifest.plan.name);
        let run = (manifest.plan.name == layout.plan()).then_some(manifest.run);
        return Err(ManifestError::Misplaced { object: name.to_string(), found, run }.into());
    }
    Ok(Some((manifest, digest)))
}

/// The digest of a manifest that begins with these bytes: of all of it, however large its details are, or it would be nobody's
/// that it is forged.
fn digest_of_all(store: &dyn ReadStore, name: &Name, first: &[u8]) -> Result<String, StoreError> {
    let mut hash = blake3::Hasher::new();
    hash.update(first);
    let mut at = first.len();
    while at > MAX_FIRST && at <= MAX_BYTES {
        let more = store.read_range(name, at as u64, MAX_FIRST)?;
        if more.is_empty() {
            break;
        }
        hash.update(&more);
        at += more.len();
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// A manifest of whose details no more is kept than every run may have in memory.
fn parse_lean(object: &str, mut bytes: Vec<u8>) -> Result<Manifest, ManifestError> {
    if bytes.len() <= KEPT {
        return Manifest::parse(object, &bytes);
    }
    let is_next = |window: &[u8]| window == NEXT_DOCUMENT.as_bytes();
    let first = bytes.windows(NEXT_DOCUMENT.len()).position(is_next).unwrap_or(bytes.len());
    let is_large = bytes.len() > MAX_FIRST || bytes.len() - first > KEPT;
    if is_large {
        bytes.truncate(first);
    }
    let mut manifest = Manifest::parse(object, &bytes)?;
    if is_large {
        manifest.second = Second::Left;
    }
    Ok(manifest)
}

/// The details of a run, read again where they were too large to be kept.
///
/// # Errors
/// When they are sealed, damaged, or cannot be read.
pub fn read_details(
    store: &dyn ReadStore,
    layout: &Layout,
    manifest: &Manifest,
    keys: &Keyring,
) -> Result<Details, DetailsError> {
    if manifest.second != Second::Left {
        return manifest.details_with(keys);
    }
    let damaged = |cause: String| DetailsError::Damaged(cause);
    let name = layout.manifest(&manifest.run);
    let bytes = store.read_range(&name, 0, MAX_BYTES + 1).map_err(|error| damaged(error.to_string()))?;
    Manifest::parse(name.as_str(), &bytes).map_err(|error| damaged(error.to_string()))?.details_with(keys)
}

/// Reads one run's manifest; `None` if it is not there.
///
/// # Errors
/// When it cannot be read or used.
pub fn read_manifest(
    store: &dyn ReadStore,
    layout: &Layout,
    run: &RunId,
) -> Result<Option<Manifest>, Problem> {
    Ok(read_one(store, layout, run, &layout.manifest(run))?.map(|(manifest, _)| manifest))
}

/// The plans that have something in a store, sorted by name.
///
/// # Errors
/// When the store cannot be listed.
pub fn plans(store: &dyn ReadStore) -> Result<Vec<String>, StoreError> {
    let mut plans = Vec::new();
    for entry in store.entries(&Layout::home_of_all())?.iter().filter(|entry| entry.kind == Kind::Folder) {
        let Ok(layout) = Layout::new(entry.name.last()) else { continue };
        let (format, manifests) = (layout.format(), layout.manifests());
        let inside = store.entries(layout.home())?;
        let is_there = |name: &Name| inside.iter().any(|entry: &Entry| entry.name == *name);
        if is_there(&format) || (is_there(&manifests) && !store.entries(&manifests)?.is_empty()) {
            plans.push(layout.plan().to_owned());
        }
    }
    Ok(plans)
}

/// The sequence of the next run: one more than the highest seen in any store, or remembered by this host.
pub fn next_sequence<'a>(catalogs: impl IntoIterator<Item = &'a Catalog>, remembered: u32) -> u32 {
    catalogs.into_iter().map(Catalog::highest).chain([remembered]).max().unwrap_or(0) + 1
}
