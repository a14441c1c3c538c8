//! A store open for reading, and several of them as one.

use backplan_compiler::count::plural;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backplan_compiler::model::{Model, Store as Declared};
use backplan_compiler::retention::Lack;
use jiff::Timestamp;

use super::BackupsError;
use super::chain::{Chain, Other};
use super::strays::headless;
use crate::catalog::details::{Details, DetailsError};
use crate::catalog::fitness::{self, Asker};
use crate::catalog::host::HostState;
use crate::catalog::identity::{IdentityError, read_format};
use crate::catalog::ids::RunId;
use crate::catalog::layout::Layout;
use crate::catalog::made::{Made, told_gone, told_strange, told_unseen};
use crate::catalog::manifest::{ArchiveRecord, FORMAT, HostRef, Manifest, SourceRecord};
use crate::catalog::prune::{Accepted, HeldRun, held_runs};
use crate::catalog::runs::{Catalog, Choice, ChooseError, plans, read_details};
use crate::cipher::Keyring;
use crate::past::cache::Cache;
use crate::past::history::{self, Between};
use crate::programs::secrets::Secrets;
use crate::store::{self, ReadStore, address};

/// A store and the runs of one plan in it.
pub struct Shelf {
    /// The store.
    pub store: Arc<dyn ReadStore>,
    /// The plan's names in it.
    pub layout: Layout,
    /// Its runs.
    pub catalog: Catalog,
    /// As the plan has it, or as its address says.
    pub declared: Declared,
    /// Its folder, if it is one.
    pub root: Option<PathBuf>,
    /// What opens what is encrypted.
    pub keys: Arc<Keyring>,
    /// What is said of it where nothing there says whose it is any more, and backups are there.
    unclaimed: Option<String>,
}

/// How many read at once from a store that is no folder.
const FAR_READERS: usize = 16;

/// The stores that could be read, and why others could not.
#[derive(Default)]
pub struct Shelves {
    /// Those that could.
    pub shelves: Vec<Shelf>,
    /// Why others could not.
    pub unread: Vec<String>,
    /// Why runs could not use some, if somebody looked.
    pub unfit: Vec<String>,
    /// Artefacts that no manifest names, if somebody looked: a sentence each.
    pub strays: Vec<String>,
    /// The run that is between two steps of processes of their own, if somebody looked.
    pub between: Option<Between>,
    /// Of what sources lost, what was said to be right so, if somebody looked what this machine remembers.
    pub accepted: Accepted,
    /// Which runs this machine has committed, if somebody looked and it can be read.
    pub made: Option<Made>,
    /// What the trees were like at its runs, where it has made any.
    pub scans: Option<Cache>,
    /// The stores that could not be read and that no run of this machine has used, if somebody looked what it remembers: the next run
    /// is the first in them.
    pub new: BTreeSet<String>,
    /// Whether these are all stores of the plan, but for those that could not be read.
    pub are_all: bool,
}

/// A run as all stores together hold it: one may have archives that another has not.
pub struct ShelvedRun<'a> {
    /// The manifest that one of them has.
    pub manifest: &'a Manifest,
    /// Every archive of the run that some store has.
    pub pieces: Vec<Piece<'a>>,
    shelf: &'a Shelf,
}

/// An archive of a run, and where it is.
pub struct Piece<'a> {
    /// As the first store's manifest has it.
    pub archive: &'a ArchiveRecord,
    places: Vec<Place<'a>>,
    shelves: &'a Shelves,
}

/// A store that has an archive of a run, and its manifest of that.
type Place<'a> = (&'a Shelf, &'a Manifest, &'a ArchiveRecord);

impl<'a> Piece<'a> {
    /// Opens the artefacts that the wanted sources of the archive rest on, in the first store where that can be done; what cannot
    /// be read there later comes from the others.
    ///
    /// # Errors
    /// Why the first store's cannot be read, where none can.
    pub fn chain(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Chain<'a>, BackupsError> {
        let mut why = None;
        for (shelf, manifest, archive) in &self.places {
            let others = self.shelves.beside(shelf);
            match shelf.view_beside(&others, manifest, archive, wanted) {
                Ok(chain) => return Ok(chain),
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or(BackupsError::NoStore { reasons: Vec::new() }))
    }
}

impl<'a> ShelvedRun<'a> {
    /// How many read of it at once. Who reads from far away waits most of the time: there are more of them than processors.
    pub fn readers(&self) -> Option<usize> {
        let first = self.pieces.iter().filter_map(|piece| piece.places.first());
        first.map(|(shelf, ..)| shelf).any(|shelf| shelf.root.is_none()).then_some(FAR_READERS)
    }

    /// Opens the artefacts that the wanted sources rest on. A source that is in several archives comes once, from the first
    /// that can be read.
    ///
    /// # Errors
    /// Why one of them can be read nowhere.
    pub fn chains(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Chain<'a>>, BackupsError> {
        let (mut chains, mut taken, mut failed) = (Vec::new(), BTreeSet::new(), Vec::new());
        for piece in &self.pieces {
            let contents = piece.archive.contents.iter().map(|content| content.source.as_str());
            let sources: BTreeSet<&str> =
                contents.filter(|source| wanted(source) && !taken.contains(source)).collect();
            if sources.is_empty() {
                continue;
            }
            match piece.chain(&|source| sources.contains(&source)) {
                Ok(chain) => {
                    taken.extend(sources);
                    chains.push(chain);
                }
                Err(error) => failed.push((sources, error)),
            }
        }
        let lost =
            failed.into_iter().find(|(sources, _)| sources.iter().any(|source| !taken.contains(source)));
        match lost {
            Some((_, error)) => Err(error),
            None => Ok(chains),
        }
    }
}

impl ShelvedRun<'_> {
    /// What is private in its manifest; where that is damaged, as another store has it.
    ///
    /// # Errors
    /// When it is sealed, or damaged or unreadable in all of them.
    pub fn details(&self) -> Result<Details, DetailsError> {
        let others = self.pieces.iter().flat_map(|piece| &piece.places);
        let mut whole = others.filter_map(|(shelf, manifest, _)| shelf.details(manifest).ok());
        self.shelf.details(self.manifest).or_else(|why| match why {
            DetailsError::Sealed => Err(why),
            DetailsError::Left | DetailsError::Damaged(_) => whole.next().ok_or(why),
        })
    }

    /// What keeps its private parts from being read, where none of the keys opens them; `None`: no archive of it is encrypted.
    pub fn locked(&self) -> Option<BackupsError> {
        let sealed = self.manifest.archives.iter().find(|archive| !archive.recipients.is_empty());
        sealed.map(|archive| self.shelf.locked(archive))
    }

    /// What a person should know who lays down files of these sources: base backups that are the difference to another one.
    pub fn differences(&self, sources: &[String]) -> Vec<String> {
        let run = self.manifest.run;
        let wanted = |name: &str| sources.is_empty() || sources.iter().any(|source| source == name);
        let records = self.manifest.sources.iter().filter(|record| wanted(&record.name));
        let records = records.filter(|record| self.manifest.cluster(&record.name).is_some());
        let is_based = |record: &&SourceRecord| {
            record.facts().is_some_and(|facts| facts.is_data_directory) && record.labels().prior.is_some()
        };
        records
            .filter(is_based)
            .map(|record| {
                let name = &record.name;
                format!(
                    "source `{name}` of run {run} is what changed since an earlier run, and no server starts on it: \
                     restore it by itself, with `--source {name}`"
                )
            })
            .collect()
    }

    /// The sources that are in it.
    pub fn sources(&self) -> BTreeSet<&str> {
        let contents = self.pieces.iter().flat_map(|piece| &piece.archive.contents);
        contents.map(|content| content.source.as_str()).collect()
    }
}

impl Shelf {
    /// Whether this and another are one folder, by whatever names.
    pub fn is_same_folder(&self, other: &Shelf) -> bool {
        let place = |shelf: &Shelf| {
            let seen = std::fs::metadata(shelf.root.as_ref()?).ok()?;
            Some((seen.dev(), seen.ino()))
        };
        place(self).is_some_and(|place_of_it| place(other) == Some(place_of_it))
    }

    /// Opens a store, by its folder or its address, with no plan at hand.
    ///
    /// # Errors
    /// When it is no store, or the plan is not clear.
    pub fn open(place: &Path, plan: Option<&str>) -> Result<Shelf, BackupsError> {
        let declared = address::parse(place)?;
        let label = declared.name.clone();
        let store = store::open(&declared, &Secrets::default())?;
        let found = plans(store.as_ref())?;
        let quoted = || found.iter().map(|plan| format!("`{plan}`")).collect();
        let plan = match (plan, found.as_slice()) {
            (_, []) => return Err(headless(store.as_ref())?),
            (Some(plan), found) if found.iter().any(|other| other == plan) => plan.to_owned(),
            (Some(plan), _) => {
                return Err(BackupsError::OtherPlans {
                    store: label,
                    plan: plan.to_owned(),
                    plans: quoted(),
                });
            }
            (None, [only]) => only.clone(),
            (None, _) => return Err(BackupsError::SeveralPlans { store: label, plans: quoted() }),
        };
        Shelf::of(store, &plan, declared)
    }

    /// Opens a store as a plan declares it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn declared(declared: &Declared, plan: &str) -> Result<Shelf, BackupsError> {
        Shelf::of(store::open(declared, &Secrets::default())?, plan, declared.clone())
    }

    /// Whether it has nothing of its plan.
    fn is_bare(&self) -> bool {
        let is_empty = self.catalog.runs().next().is_none() && self.catalog.problems().is_empty();
        is_empty && matches!(read_format(self.store.as_ref(), &self.layout), Ok(None))
    }

    fn of(store: Arc<dyn ReadStore>, plan: &str, declared: Declared) -> Result<Shelf, BackupsError> {
        let layout = Layout::new(plan)?;
        let format = match read_format(store.as_ref(), &layout) {
            // A `format.yaml` that is gone or damaged keeps no one from backups that are there; one that says that this program
            // cannot read them does.
            Err(error @ IdentityError::Newer { min_reader, .. }) if min_reader > FORMAT => {
                return Err(error.into());
            }
            format => format,
        };
        let catalog = Catalog::load(store.as_ref(), &layout)?;
        let unclaimed = match format {
            Ok(None) if catalog.runs().len() > 0 => {
                Some(IdentityError::format_missing(store.as_ref(), &layout, catalog.runs().len()))
            }
            Err(error @ IdentityError::Damaged { .. }) => Some(error),
            _ => None,
        };
        let unclaimed = unclaimed.map(|error| error.to_string());
        let keys = Arc::default();
        let root = declared.folder().map(Path::to_path_buf);
        Ok(Shelf { store, layout, catalog, declared, root, keys, unclaimed })
    }

    /// What is said of its runs that this machine has not committed as they are there.
    pub fn strange(&self, made: &Made) -> Option<String> {
        told_strange(
            self.store.label(),
            &self.layout,
            &self.catalog,
            &made.strange(&self.catalog, self.store.label()),
        )
    }

    /// What is private in the manifest of one of its runs.
    ///
    /// # Errors
    /// When it is sealed, damaged, or cannot be read.
    pub fn details(&self, manifest: &Manifest) -> Result<Details, DetailsError> {
        read_details(self.store.as_ref(), &self.layout, manifest, &self.keys)
    }
}

impl Shelves {
    /// All stores of a plan, or the one called `only`.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn of_plan(model: &Model, only: Option<&str>) -> Result<Shelves, BackupsError> {
        let mut shelves = Shelves { are_all: only.is_none(), ..Shelves::default() };
        let meant = model.each_store().map(|(_, store)| store);
        for declared in meant.filter(|store| only.is_none_or(|only| store.name == only)) {
            match Shelf::declared(declared, &model.name) {
                Ok(shelf) => shelves.shelves.push(shelf),
                Err(error) => shelves.unread.push(error.to_string()),
            }
        }
        if shelves.shelves.is_empty() {
            return Err(BackupsError::NoStore { reasons: shelves.unread });
        }
        Ok(shelves)
    }

    /// Looks in each store whether the artefacts that its runs name are there. A store that cannot tell is told of.
    pub fn look_for_artefacts(&mut self) {
        self.look_for_artefacts_in(|_| true);
    }

    fn look_for_artefacts_in(&mut self, is_meant: impl Fn(&Shelf) -> bool) {
        for shelf in self.shelves.iter_mut().filter(|shelf| is_meant(shelf)) {
            if let Err(error) = shelf.catalog.look_for_artefacts(shelf.store.as_ref(), &shelf.layout) {
                self.unread.push(format!("store `{}`: {error}", shelf.store.label()));
            }
        }
        for at in 0..self.shelves.len() {
            let (before, from) = self.shelves.split_at_mut(at);
            let Some((shelf, behind)) = from.split_first_mut() else { continue };
            let others = before.iter().chain(behind.iter()).filter(|other| is_meant(other));
            let others: Vec<(&str, &Catalog)> =
                others.map(|other| (other.store.label(), &other.catalog)).collect();
            shelf.catalog.name_mends(&others);
        }
    }

    /// The same in those alone that are folders, where a look costs no more than the listing does.
    pub fn look_for_artefacts_at_hand(&mut self) {
        self.look_for_artefacts_in(|shelf| shelf.root.is_some());
    }

    /// Looks for artefacts that no manifest names: in stores that are folders, or in all.
    pub fn look_for_strays(&mut self, is_all: bool) {
        for shelf in self.shelves.iter().filter(|shelf| is_all || shelf.root.is_some()) {
            match shelf.strays() {
                Ok(strays) => self.strays.extend(strays),
                Err(error) => self.unread.push(error.to_string()),
            }
        }
    }

    /// Which other machine a run is of; `None`: it is this one's, by what this machine remembers and each store says.
    pub fn anothers(&self, run: RunId, state: Option<&Path>) -> Option<HostRef> {
        let of = |shelf: &Shelf| {
            let manifest = shelf.catalog.runs().find(|manifest| manifest.run == run)?;
            Some(fitness::anothers(state, shelf.store.as_ref(), &shelf.layout, &manifest.host))
        };
        self.shelves.iter().filter_map(of).collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// Looks whether runs of this machine could begin, and use the stores.
    pub fn look_for_fitness(&mut self, model: &Model, state: &Path) {
        // Who reads how the last runs went says so.
        let Ok(asker) = Asker::of(model, state) else { return };
        self.unfit.extend(asker.barred().map(|error| format!("no run can begin: {}", error.with_mend())));
        for shelf in &self.shelves {
            let declared = model.stores.iter().find(|declared| declared.name == shelf.store.label());
            let unfit = declared.map(|declared| asker.unfit(model, declared, shelf.store.as_ref()));
            self.unfit.extend(unfit.unwrap_or_default());
        }
    }

    /// With what this machine remembers of the plan, without stores in whose place something else is: what earlier runs brought there is
    /// not gone because a disk is not mounted.
    ///
    /// # Errors
    /// Where there is none but such.
    pub fn remembering(mut self, model: &Model, state: &Path) -> Result<Shelves, BackupsError> {
        self.look_for_memory(model, state);
        let Ok(plan) = HostState::look(state).and_then(|host| host.plan(&model.name, &model.file)) else {
            return Ok(self);
        };
        let is_known = |shelf: &Shelf| {
            let declared = model.each_store().map(|(_, store)| store);
            let mut declared = declared.filter(|store| store.name == shelf.store.label());
            declared.any(|store| plan.known(&store.name, &store.location()).is_some())
        };
        let (there, elsewhere): (Vec<Shelf>, Vec<Shelf>) =
            self.shelves.into_iter().partition(|shelf| !shelf.is_bare() || !is_known(shelf));
        self.shelves = there;
        self.unread.extend(elsewhere.iter().map(|shelf| {
            let (store, plan) = (shelf.store.label().to_owned(), model.name.clone());
            IdentityError::WrongDisk { store, plan }.to_string()
        }));
        match self.shelves.is_empty() {
            true => Err(BackupsError::NoStore { reasons: self.unread }),
            false => Ok(self),
        }
    }

    /// Looks what this machine remembers of the plan. Where that cannot be read nothing is remembered, which who reads how the last
    /// runs went tells of.
    pub fn look_for_memory(&mut self, model: &Model, state: &Path) {
        let Ok(plan) = HostState::look(state).and_then(|host| host.plan(&model.name, &model.file)) else {
            return;
        };
        let is_read = |store: &Declared| self.shelves.iter().any(|shelf| shelf.store.label() == store.name);
        let is_new = |store: &&Declared| {
            self.are_all && !is_read(store) && plan.known(&store.name, &store.location()).is_none()
        };
        let stores = model.each_store().map(|(_, store)| store);
        self.new = stores.filter(is_new).map(|store| store.name.clone()).collect();
        self.accepted = plan.accepted().clone();
        self.made = Made::load(plan.folder()).ok();
        let has_run = self.made.as_ref().is_some_and(|made| !made.is_empty());
        self.scans = has_run.then(|| Cache::new(plan.folder()));
        self.between = history::between(&plan);
    }

    /// The runs that stay longer than `keep` says, as a source has lost most of what it had, each with the stores where that is so.
    pub fn held_back(&self, now: Timestamp, deletes: impl Fn(&Shelf) -> bool) -> Vec<(Vec<String>, HeldRun)> {
        let mut found: Vec<(Vec<String>, HeldRun)> = Vec::new();
        for shelf in self.shelves.iter().filter(|shelf| deletes(shelf)) {
            for held in held_runs(&shelf.catalog, &self.accepted, now) {
                let store = shelf.store.label().to_owned();
                match found.iter_mut().find(|(_, known)| *known == held) {
                    Some((stores, _)) => stores.push(store),
                    None => found.push((vec![store], held)),
                }
            }
        }
        found
    }

    /// Whether a run that stores have is this machine's own, as far as it looked what it remembers.
    pub fn is_own(&self, run: RunId) -> bool {
        let Some(made) = &self.made else { return true };
        let mut holding = self.shelves.iter().filter(|shelf| shelf.catalog.get(&run).is_some());
        holding.all(|shelf| {
            let bytes = shelf.store.read(&shelf.layout.manifest(&run));
            bytes.is_ok_and(|bytes| made.is_own(run, &bytes))
        })
    }

    /// What opens what is encrypted.
    pub fn keys(&self) -> Arc<Keyring> {
        self.shelves.first().map(|shelf| Arc::clone(&shelf.keys)).unwrap_or_default()
    }

    /// The same, with keys for what is encrypted.
    #[must_use]
    pub fn with_keys(mut self, keys: &Arc<Keyring>) -> Shelves {
        self.shelves.iter_mut().for_each(|shelf| shelf.keys = Arc::clone(keys));
        self
    }

    /// One store.
    pub fn one(shelf: Shelf) -> Shelves {
        Shelves { shelves: vec![shelf], ..Shelves::default() }
    }

    /// The run that is meant, in the first store that has it; the newest of all stores where a time or the latest is
    /// asked for.
    ///
    /// # Errors
    /// When no store has such a run.
    pub fn choose(&self, choice: &Choice, source: Option<&str>) -> Result<(&Shelf, &Manifest), BackupsError> {
        let mut best: Option<(&Shelf, &Manifest)> = None;
        let mut why: Option<ChooseError> = None;
        for shelf in &self.shelves {
            match shelf.catalog.choose(choice, source) {
                Ok(found) if best.is_none_or(|(_, other)| found.run > other.run) => {
                    best = Some((shelf, found))
                }
                Ok(_) => {}
                Err(ChooseError::Unreadable { run, why: cause }) => {
                    // That it is there is more than that another store has never seen it.
                    let cause = format!("store `{}`: {cause}", shelf.store.label());
                    why = Some(ChooseError::Unreadable { run, why: cause });
                }
                Err(error) => why = why.or(Some(error)),
            }
        }
        match (best, why) {
            (Some(found), _) => Ok(found),
            // One that cannot be read may have it.
            (
                None,
                Some(
                    why @ (ChooseError::None { .. } | ChooseError::Unknown(_) | ChooseError::TooEarly { .. }),
                ),
            ) if !self.unread.is_empty() => {
                Err(BackupsError::NotInOthers { why, reasons: self.unread.clone() })
            }
            (None, Some(why)) => Err(why.into()),
            (None, None) => Err(BackupsError::NoStore { reasons: self.unread.clone() }),
        }
    }

    /// The run that is meant, with all that any store has of it.
    ///
    /// # Errors
    /// As [`Shelves::choose`].
    pub fn held(&self, choice: &Choice, source: Option<&str>) -> Result<ShelvedRun<'_>, BackupsError> {
        // Who names a run means it, whatever it holds.
        let source = source.filter(|_| !matches!(choice, Choice::Id(_)));
        let (shelf, manifest) = self.choose(choice, source)?;
        // Where one store has it as this machine made it, nobody else's is believed.
        let known = self.shelves.iter().filter(|shelf| self.is_known(shelf, manifest.run));
        let known = known.filter_map(|shelf| Some((shelf, shelf.catalog.get(&manifest.run)?))).next();
        let (shelf, manifest) = known.unwrap_or((shelf, manifest));
        let mut pieces: BTreeMap<&str, Piece<'_>> = BTreeMap::new();
        for shelf in &self.shelves {
            let Some(there) = shelf.catalog.get(&manifest.run) else { continue };
            for archive in &there.archives {
                let piece = pieces.entry(&archive.name).or_insert(Piece {
                    archive,
                    places: Vec::new(),
                    shelves: self,
                });
                piece.places.push((shelf, there, archive));
            }
        }
        // What is at hand is read first; before that, what is with all that it rests on as this machine made it.
        for piece in pieces.values_mut() {
            piece.places.sort_by_key(|place| (!self.strange_below(place).is_empty(), place.0.root.is_none()));
        }
        Ok(ShelvedRun { manifest, pieces: pieces.into_values().collect(), shelf })
    }

    /// Whether nothing is said against a run of a store: this machine made it, or remembers none of that time.
    fn is_known(&self, shelf: &Shelf, run: RunId) -> bool {
        !self.strange_in(shelf).any(|other| other == run)
    }

    /// The runs of a store against which something is said.
    fn strange_in<'a>(&self, shelf: &'a Shelf) -> impl Iterator<Item = RunId> + use<'a> {
        let strange = self.made.as_ref().map(|made| made.strange(&shelf.catalog, shelf.store.label()));
        strange.unwrap_or_default().into_iter().map(|(run, _)| run)
    }

    /// The other stores, those at hand first.
    fn beside<'a>(&'a self, own: &Shelf) -> Vec<Other<'a>> {
        let strange = |shelf: &'a Shelf| -> BTreeSet<RunId> { self.strange_in(shelf).collect() };
        let others = self.shelves.iter().filter(|shelf| !std::ptr::eq(*shelf, own));
        let mut others: Vec<Other<'a>> =
            others.map(|shelf| Other { shelf, strange: strange(shelf) }).collect();
        others.sort_by_key(|other| other.shelf.root.is_none());
        others
    }

    /// The runs that a place of an archive rests on, and its own, that this machine has not made as they are there.
    fn strange_below(&self, (shelf, manifest, archive): &Place<'_>) -> BTreeSet<RunId> {
        let mut runs: BTreeSet<RunId> = archive.contents.iter().flat_map(|it| it.rests_on.clone()).collect();
        runs.insert(manifest.run);
        self.strange_in(shelf).filter(|run| runs.contains(run)).collect()
    }

    /// What is said of runs that this machine has not made as they are there, if it remembers those that it has: a sentence for
    /// each store.
    pub fn strange(&self) -> Vec<String> {
        let Some(made) = &self.made else { return Vec::new() };
        self.shelves.iter().filter_map(|shelf| shelf.strange(made)).collect()
    }

    /// What a person should know who wants a run that no store has, with what it rests on, as this machine made it.
    pub fn stranger(&self, run: RunId) -> Option<String> {
        let mut with = self.shelves.iter().filter(|shelf| shelf.catalog.get(&run).is_some());
        let is_known = with.clone().any(|shelf| self.is_known(shelf, run));
        if let Some(shelf) = with.next().filter(|_| !is_known) {
            return told_strange(shelf.store.label(), &shelf.layout, &shelf.catalog, &[(run, "")]);
        }
        let held = self.held(&Choice::Id(run.to_string()), None).ok()?;
        held.pieces.iter().filter_map(|piece| piece.places.first()).find_map(|place| {
            let strange: Vec<(RunId, &str)> =
                self.strange_below(place).into_iter().map(|run| (run, "")).collect();
            let shelf = place.0;
            told_strange(shelf.store.label(), &shelf.layout, &shelf.catalog, &strange)
        })
    }

    /// What a person should know of stores that have backups, and nothing that says whose they are: no run can use them.
    pub fn unclaimed(&self) -> Vec<String> {
        self.shelves.iter().filter_map(|shelf| shelf.unclaimed.clone()).collect()
    }

    /// What this machine committed and no store that could be read has: behind all that is there, so that the newest of them is
    /// not the newest.
    pub fn gone(&self) -> Option<String> {
        let made = self.made.as_ref().filter(|_| self.are_all)?;
        let gone = made.gone(self.shelves.iter().map(|shelf| &shelf.catalog));
        if self.unread.is_empty() { told_gone(&gone) } else { told_unseen(&gone) }
    }

    /// What a person should know who gets this run for what was asked for.
    pub fn doubts(&self, choice: &Choice, run: RunId) -> Vec<String> {
        let newer = match choice {
            Choice::Id(_) => [None, None],
            Choice::Latest => [self.gone(), self.unusable(run, Timestamp::MAX)],
            Choice::At(at) => [self.gone(), self.unusable(run, *at)],
        };
        self.stranger(run).into_iter().chain(newer.into_iter().flatten()).collect()
    }

    /// What is said of runs behind this one that began up to a moment, and that no store has a usable manifest of.
    fn unusable(&self, run: RunId, until: Timestamp) -> Option<String> {
        let is_readable = |run: &RunId| self.shelves.iter().any(|shelf| shelf.catalog.get(run).is_some());
        let unreadable = self.shelves.iter().flat_map(|shelf| shelf.catalog.unreadable());
        let newer = unreadable.filter(|other| **other > run && other.started() <= until);
        let newest = newer.filter(|other| !is_readable(other)).max()?;
        Some(format!(
            "run `{newest}` is newer than run `{run}`, and its manifest cannot be used: `plan status` says why"
        ))
    }

    /// Whether some run of some store holds a source.
    pub fn has(&self, source: &str) -> bool {
        self.shelves.iter().flat_map(|shelf| shelf.catalog.runs()).any(|run| run.holds(source))
    }

    /// The sources that the newest run has.
    pub fn sources(&self) -> BTreeSet<&str> {
        let newest = self.shelves.iter().flat_map(|shelf| shelf.catalog.runs()).max_by_key(|run| run.run);
        let sources =
            newest.into_iter().flat_map(|run| run.sources.iter().filter(|source| run.holds(&source.name)));
        sources.map(|source| source.name.as_str()).collect()
    }

    /// What a person should know who wants all of a run: each source that it does not hold, why, and which earlier run
    /// does.
    pub fn lacking(&self, held: &ShelvedRun<'_>) -> Vec<String> {
        let (run, there) = (held.manifest.run, held.sources());
        let sources = held.manifest.sources.iter().filter(|source| !there.contains(source.name.as_str()));
        let sealed = held.details().ok();
        sources
            .map(|source| {
                let name = &source.name;
                if let Some(own) = held.manifest.repositories.iter().find(|own| own.source == *name) {
                    return format!(
                        "not restored: source `{name}` is in a repository of {}; `--source {name} --to DIR` restores it",
                        own.tool
                    );
                }
                let told = sealed.as_ref().and_then(|details| details.reasons.get(name.as_str()));
                let why = source.reason.as_deref().or(told.map(String::as_str));
                let why = why.unwrap_or("no store that was read has its archive");
                let runs = self.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
                let earlier =
                    runs.filter(|other| other.run < run && other.holds(name)).map(|other| other.run);
                let earlier = earlier.max().map_or_else(
                    || "no earlier run does".to_owned(),
                    |earlier| format!("run {earlier} is the last that does"),
                );
                format!("run {run} does not hold source `{name}`: {why}; {earlier}")
            })
            .collect()
    }

    /// What a person should know who wants these sources of a run wholly: each of which it lacks paths that the plan named,
    /// which, and which earlier run has them.
    pub fn in_part(&self, held: &ShelvedRun<'_>, asked: &[String]) -> Vec<String> {
        let (run, sealed) = (held.manifest.run, held.details().ok());
        let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
        let sources = held
            .manifest
            .sources
            .iter()
            .filter(|source| source.lacks() != Lack::Nothing && is_asked(&source.name));
        let told = |source: &SourceRecord| {
            let name = &source.name;
            let sealed = sealed.as_ref().and_then(|details| details.reasons.get(name.as_str()));
            let why = source.reason.as_deref().or(sealed.map(String::as_str));
            let why = why.unwrap_or("which of its paths were missing is not known");
            let runs = self.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
            let has_all = |other: &&Manifest| other.holds(name) && other.lacks(name) == Lack::Nothing;
            let whole = runs.filter(|other| other.run < run).filter(has_all).map(|other| other.run);
            let whole = whole.max().map_or_else(
                || "no earlier run has all of it".to_owned(),
                |whole| format!("run {whole} is the last before it that has all"),
            );
            if source.missing == 0 && !source.lost.is_empty() {
                let lost = plural(source.lost.len() as u64, "path");
                return format!("run {run} lacks {lost} of source `{name}`, which is optional; {whole}");
            }
            if source.missing == 0 {
                let unread = plural(source.unread, "entry");
                return format!(
                    "run {run} lacks {unread} of source `{name}` that could not be read; {whole}"
                );
            }
            format!("run {run} has only a part of source `{name}`: {why}; {whole}")
        };
        sources.map(told).collect()
    }

    /// What a person should know who wants these sources of a run: each in which the run found nothing, though an earlier one has
    /// something of it.
    pub fn empty(&self, held: &ShelvedRun<'_>, asked: &[String]) -> Vec<String> {
        let run = held.manifest.run;
        let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
        let own = held.manifest.sources.iter().filter(|source| {
            held.manifest.holds(&source.name) && !source.has_something() && is_asked(&source.name)
        });
        let told = own.filter_map(|source| {
            let name = &source.name;
            let runs = self.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
            let has_something = |other: &&Manifest| {
                let mut records = other.sources.iter();
                other.holds(name) && records.any(|record| record.name == *name && record.has_something())
            };
            let filled = runs.filter(|other| other.run < run).filter(has_something).map(|other| other.run);
            let filled = filled.max()?;
            Some(format!(
                "run {run} has nothing in source `{name}`; run {filled} is the last before it that has something"
            ))
        });
        told.collect()
    }

    /// What a person should know of the stores: those not read, and manifests that cannot be used.
    pub fn warnings(&self) -> Vec<String> {
        let unread = self.unread.iter().cloned();
        let problems = self.shelves.iter().flat_map(|shelf| {
            let label = shelf.store.label();
            shelf.catalog.problems().iter().map(move |problem| format!("store `{label}`: {problem}"))
        });
        unread.chain(problems).collect()
    }
}
