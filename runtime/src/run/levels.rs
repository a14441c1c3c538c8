//! Which level each archive of a run has, and what its sources rest on: the compiler's answer for the runs that the
//! stores really hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use backplan_compiler::cycle::{Asked, Base, Lost, Next, Past, next};
use backplan_compiler::due::is_due;
use backplan_compiler::model::{
    Archive, ArchiveId, LargeFiles, Level, Model, Separate, Source, SourceId, StoreId,
};
use backplan_compiler::retention::{Part, Run};
use jiff::Timestamp;

use super::request::Request;
use crate::artefact::{BaseIndex, CopyBase, Entry, ReadError, Shape, View};
use crate::backups::BackupsError;
use crate::backups::deciding::Deciding;
use crate::backups::resting::{Useless, common_runs, following, lacking, record, useless};
use crate::backups::shelf::Shelf;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::made::Made;
use crate::catalog::manifest::{ArchiveRecord, Content, Manifest, RepositoryRecord};
use crate::catalog::runs::told_mend;
use crate::past::cache::{Cache, Kept};
use crate::postgres::identity::Known;
use crate::store::Name;

/// The levels of a run.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Per archive.
    pub of: BTreeMap<ArchiveId, Next<RunId>>,
    /// What the sources of an archive rest on.
    grounds: BTreeMap<(ArchiveId, String), Grounds>,
    /// What the members of an archive that is whole each time are copied from.
    copies: BTreeMap<ArchiveId, Copies>,
    /// Per Postgres source: the cluster that its backups are of.
    pub clusters: BTreeMap<SourceId, Known>,
    /// Per source with a repository of its own.
    pub separate: BTreeMap<(SourceId, StoreId), SeparateNext>,
    /// The newest run of each source of an archive, and its newest full.
    newest: BTreeMap<(ArchiveId, String), BTreeSet<RunId>>,
    /// Stores that lack what an archive rests on that goes there, each with one of the runs that it lacks. They take nothing of the run,
    /// whatever becomes of that archive: a manifest with the others alone would be all that they ever have of it.
    behind: BTreeMap<StoreId, RunId>,
}

/// What the next backup in a repository of its own is to be, and those that its store's manifests know.
#[derive(Debug, Clone)]
pub struct SeparateNext {
    /// The answer of the cycle.
    pub next: Next<RunId>,
    /// By label: the run that made it, and all runs that must be there to restore it.
    pub known: BTreeMap<String, (RunId, Vec<RunId>)>,
    /// Every manifest that may know one could be read.
    pub is_whole: bool,
}

/// The newest artefact of an archive that is whole each time: members in which nothing changed are copied from it.
#[derive(Debug, Clone)]
pub struct Copies {
    /// The artefact.
    pub base: CopyBase,
    /// The store that it is read from, and its name there.
    pub held: Option<(StoreId, Name)>,
    /// The scan that each of its trees was packed from.
    scans: BTreeMap<String, Kept>,
}

/// What a source rests on.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// What the base says of the archive.
    pub record: ArchiveRecord,
    /// The scan that the base was packed from; `None` for what is no tree, or is never the same tree again.
    pub scan: Option<Kept>,
    /// What is known of the base's large files.
    pub grains: Option<PathBuf>,
    /// What the base says of the source, where a tool made it.
    pub labels: Labels,
    /// The base as one tree; `None`: it is encrypted, and a run holds no key.
    view: Option<Arc<View>>,
}

impl Grounds {
    /// The base as one tree; `None`: it is encrypted, and a run holds no key.
    pub fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }
}

impl Levels {
    /// The highest level that any archive has.
    pub fn highest(&self) -> Level {
        let separate = self.separate.values().map(|separate| separate.next.level);
        self.of.values().map(|next| next.level).chain(separate).max().unwrap_or(Level::Full)
    }

    /// The run that a source of an archive rests on; `None`: it is taken whole.
    pub fn base(&self, archive: ArchiveId, source: &str) -> Option<RunId> {
        self.of.get(&archive)?.bases.get(source)?.as_ref().map(|base| base.run)
    }

    /// The level that a source of an archive has in this run.
    pub fn level(&self, archive: ArchiveId, source: &str) -> Level {
        match (self.of.get(&archive), self.base(archive, source)) {
            (Some(next), Some(_)) => next.level,
            _ => Level::Full,
        }
    }

    /// How many runs of its cycle come before a source of an archive in this run.
    pub fn place(&self, archive: ArchiveId, source: &str) -> u32 {
        match (self.of.get(&archive), self.level(archive, source)) {
            (_, Level::Full) | (None, _) => 0,
            (Some(next), _) => next.before(),
        }
    }

    /// The names that the archives had in the runs that this one rests on.
    pub fn archives_rested_on(&self) -> impl Iterator<Item = &str> {
        let bases = self.of.values().flat_map(|next| next.bases.values().flatten());
        bases.map(|base| base.archive.as_str())
    }

    /// The runs that must be there to restore a source of an archive, oldest first.
    pub fn rests_on(&self, archive: ArchiveId, source: &str) -> Vec<RunId> {
        let base = self.of.get(&archive).and_then(|next| next.bases.get(source)?.as_ref());
        base.map(|base| base.rests_on.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether a store lacks what an archive rests on that goes there.
    pub fn is_behind(&self, store: StoreId) -> bool {
        self.behind.contains_key(&store)
    }

    /// Why a store cannot take what this run makes: it does not have all that the run rests on.
    pub fn untakable(&self, model: &Model, store: StoreId) -> Option<String> {
        let base = self.behind.get(&store)?;
        Some(format!(
            "store `{}` does not have run {base}, on which this one rests: what it lacks is brought there first, by this run or a \
             later one, or by `plan sync`",
            model.store(store).name
        ))
    }

    /// What a source of an archive rests on.
    pub fn grounds(&self, archive: ArchiveId, source: &str) -> Option<&Grounds> {
        self.grounds.get(&(archive, source.to_owned()))
    }

    /// What the base says of an archive, where these sources rest on one and the same artefact, and nothing else is in it.
    pub fn sole_ground(&self, archive: ArchiveId, sources: &[&str]) -> Option<&ArchiveRecord> {
        let record = &self.grounds(archive, sources.first()?)?.record;
        let same = |source: &&str| {
            self.grounds(archive, source).is_some_and(|grounds| grounds.record.artefact == record.artefact)
        };
        let held = |source: &str| sources.contains(&source);
        let is_sole = sources.iter().all(same) && record.contents.iter().all(|content| held(&content.source));
        is_sole.then_some(record)
    }

    /// What the members of an archive are copied from; `None`: everything is packed anew.
    pub fn copies(&self, archive: ArchiveId) -> Option<&Copies> {
        self.copies.get(&archive)
    }

    /// The scan that a tree is compared with, whatever the archive rests on.
    pub fn scan(&self, archive: ArchiveId, source: &str) -> Option<&Kept> {
        match self.copies.get(&archive) {
            Some(copies) => copies.scans.get(source),
            None => self.grounds(archive, source)?.scan.as_ref(),
        }
    }

    /// What is known of a source's large files as the base has them.
    pub fn grains(&self, archive: ArchiveId, source: &str) -> Option<PathBuf> {
        self.grounds(archive, source)?.grains.clone()
    }

    /// The runs, but for the one that has `made` these sources of the archive at these levels, whose scans later runs may
    /// still be compared with.
    pub fn needed(&self, archive: ArchiveId, made: &BTreeMap<&str, Level>) -> BTreeSet<RunId> {
        let own = self.newest.iter().filter(|((id, _), _)| *id == archive);
        let is_replaced = |source: &str| made.get(source) == Some(&Level::Full);
        own.filter(|((_, source), _)| !is_replaced(source)).flat_map(|(_, runs)| runs).copied().collect()
    }

    /// Without what an archive rests on or copies from: it cannot be used after all. Sources in `but` rest on it all the
    /// same: their tool's backup is made already.
    #[must_use]
    pub fn without_base(&self, archive: ArchiveId, but: &BTreeSet<String>) -> Levels {
        let mut levels = self.clone();
        levels.copies.remove(&archive);
        levels.grounds.retain(|(id, source), _| *id != archive || but.contains(source.as_str()));
        if let Some(next) = levels.of.get_mut(&archive) {
            let given_up = next.bases.iter_mut().filter(|(source, _)| !but.contains(source.as_str()));
            given_up.for_each(|(_, base)| *base = None);
        }
        levels
    }

    /// Without what a source rests on, in any archive: its tool made a backup that has all.
    #[must_use]
    pub fn without_base_of(&self, source: &str) -> Levels {
        let mut levels = self.clone();
        levels.grounds.retain(|(_, other), _| other != source);
        for next in levels.of.values_mut() {
            if let Some(base) = next.bases.get_mut(source) {
                *base = None;
            }
        }
        levels
    }

    /// What an artefact is to hold. Where what it rests on is encrypted, there is no index of it to compare with.
    pub fn shape(&self, archive: ArchiveId) -> Shape {
        let own: Vec<_> = self.grounds.iter().filter(|((id, _), _)| *id == archive).collect();
        if own.is_empty() {
            return Shape::Whole { copy_from: self.copies(archive).map(|copies| copies.base.clone()) };
        }
        let views: BTreeMap<String, Arc<View>> = own
            .into_iter()
            .filter_map(|((_, source), grounds)| Some((source.clone(), Arc::clone(grounds.view.as_ref()?))))
            .collect();
        Shape::Difference { base: (!views.is_empty()).then(|| Arc::new(Views(views)) as Arc<dyn BaseIndex>) }
    }

    /// What a person should read: bases that are lost.
    pub fn warnings<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = String> + 'a {
        self.of
            .iter()
            .flat_map(move |(id, next)| {
                let archive = &model.archive(*id).name;
                next.warnings.iter().map(move |warning| format!("archive `{archive}`: {warning}"))
            })
            .chain(self.separate.iter().flat_map(move |((id, store), separate)| {
                let source = &model.source(*id).name;
                let is_one = model.separate(*id).is_none_or(|own| own.to.len() == 1);
                let place =
                    if is_one { String::new() } else { format!(" in `{}`", model.store(*store).name) };
                let warnings = separate.next.warnings.iter();
                warnings.map(move |warning| format!("source `{source}`, separate{place}: {warning}"))
            }))
    }
}

/// The stores of a run, as they are before it.
#[derive(Default)]
pub struct Stores {
    /// Those that can be read.
    pub shelves: BTreeMap<StoreId, Shelf>,
    /// Those that this run is the first to use: nothing is there.
    pub new: BTreeSet<StoreId>,
    /// Those that are not there now, or do not answer, and why.
    pub away: BTreeMap<StoreId, String>,
    /// The runs that this machine has made.
    pub made: Made,
}

impl Stores {
    /// The stores that say what each of these archives may rest on.
    fn deciding(&self, meant: &[&Archive]) -> Deciding<'_> {
        Deciding::new(self.by_id(), &self.new, meant, &self.made)
    }

    fn by_id(&self) -> BTreeMap<StoreId, &Shelf> {
        self.shelves.iter().map(|(id, shelf)| (*id, shelf)).collect()
    }

    /// The stores of an archive that lack something of what this answer rests on, each with the first run that it lacks.
    fn lacking(&self, archive: &Archive, answer: &Next<RunId>) -> Vec<(StoreId, RunId)> {
        let needed: BTreeSet<RunId> =
            answer.bases.values().flatten().flat_map(|base| base.rests_on.iter().copied()).collect();
        let first = |id: &StoreId| match self.shelves.get(id) {
            Some(shelf) => needed.iter().find(|run| shelf.catalog.get(run).is_none()).copied(),
            None => needed.first().copied().filter(|_| self.new.contains(id)),
        };
        archive.to.iter().filter_map(|id| Some((*id, first(id)?))).collect()
    }
}

/// The levels of the next run. A base must be in each store that the archive goes to and that can be used, whole as far as
/// its index tells.
pub fn levels(
    request: &Request,
    stores: &Stores,
    cache: &Cache,
    not_due: &BTreeSet<SourceId>,
    now: Timestamp,
) -> Levels {
    let model = &request.model;
    let mut levels = Levels {
        separate: separates(request, stores, not_due, now),
        clusters: clusters(model, stores),
        ..Levels::default()
    };
    let wanted = |name: &&str| request.only.is_empty() || request.only.contains(*name);
    let sources_of = |archive: &Archive| -> BTreeSet<&str> {
        archive.from.iter().map(|id| model.source(*id).name.as_str()).filter(wanted).collect()
    };
    let is_meant = |archive: &&Archive| !sources_of(archive).is_empty();
    let deciding = stores.deciding(&model.archives.iter().filter(is_meant).collect::<Vec<_>>());
    for (index, archive) in model.archives.iter().enumerate() {
        let sources = sources_of(archive);
        if sources.is_empty() {
            continue;
        }
        let asked = Asked { sources, level: request.level, now };
        let targets = deciding.of(archive);
        let runs = common_runs(&targets);
        let (mut answer, grounds) = usable(model, archive, &asked, &targets, &runs, cache);
        let own = grounds.into_iter().map(|(source, ground)| ((ArchiveId(index), source), ground));
        levels.grounds.extend(own);
        let lacking = lacking(model, archive, &asked, (&stores.by_id(), &stores.new), &answer);
        answer.warnings.extend(lacking);
        if archive.self_contained {
            let copies = copies(model, archive, &targets, cache);
            levels.copies.extend(copies.map(|copies| (ArchiveId(index), copies)));
        }
        if !archive.self_contained {
            levels.behind.extend(stores.lacking(archive, &answer));
        }
        levels.of.insert(ArchiveId(index), answer);
        for source in archive.from.iter().map(|id| &model.source(*id).name) {
            levels.newest.insert((ArchiveId(index), source.clone()), newest(&runs, &archive.name, source));
        }
    }
    levels
}

/// What an archive is to be that rests on nothing which cannot serve, and what its sources rest on then.
fn usable(
    model: &Model,
    archive: &Archive,
    asked: &Asked<'_>,
    targets: &[&Shelf],
    runs: &[Run<RunId>],
    cache: &Cache,
) -> (Next<RunId>, BTreeMap<String, Grounds>) {
    let mut lost = Lost::new();
    // Every turn finds more that cannot serve, until nothing is found.
    loop {
        let answer = following(model, archive, asked, &Past { runs, lost: &lost });
        let mut found = unusable(&answer, targets, &lost);
        // A whole archive each time needs nothing of its base.
        let grounds = match found.is_empty() && !archive.self_contained {
            true => grounds(model, archive, &answer, targets, cache),
            false => Ok(BTreeMap::new()),
        };
        match grounds {
            Ok(grounds) if found.is_empty() => return (answer, grounds),
            Ok(_) => {}
            Err(useless) => found.extend(useless),
        }
        lost.extend(found);
    }
}

/// The cluster that the backups of each Postgres source are of, in whatever store.
fn clusters(model: &Model, stores: &Stores) -> BTreeMap<SourceId, Known> {
    let runs = || stores.shelves.values().flat_map(|shelf| shelf.catalog.runs());
    let sources = model.sources.iter().enumerate();
    let sources = sources.filter(|(_, source)| source.postgres().is_some());
    sources.filter_map(|(at, source)| Some((SourceId(at), Known::of(runs(), &source.name)?))).collect()
}

/// Sources with a schedule of their own that no run need take now: those whose newest backup is younger than the moment at which
/// they came due. Where the run would else have nothing, all are taken.
pub fn not_due(
    model: &Model,
    only: &BTreeSet<String>,
    stores: &Stores,
    now: Timestamp,
) -> BTreeSet<SourceId> {
    let newest = |separate: &Separate| {
        let name = &model.source(separate.source).name;
        let in_store = |id: &StoreId| {
            let runs = stores.shelves.get(id)?.catalog.runs().rev();
            let mut held = runs.filter(|run| run.repositories.iter().any(|own| own.source == *name));
            held.next().map(|run| run.started)
        };
        // The store that has least: what is lacking in one is lacking.
        separate.to.iter().map(in_store).min().flatten()
    };
    let own = model.separates.iter().filter(|separate| separate.schedule.is_some());
    let later = own.filter(|separate| !is_due(model, separate.source, newest(separate), now));
    let later: BTreeSet<SourceId> = later.map(|separate| separate.source).collect();
    let has_others = !model.archives.is_empty() || later.len() < model.separates.len();
    if only.is_empty() && has_others { later } else { BTreeSet::new() }
}

/// What the backups in repositories of their own are to be.
fn separates(
    request: &Request,
    stores: &Stores,
    not_due: &BTreeSet<SourceId>,
    now: Timestamp,
) -> BTreeMap<(SourceId, StoreId), SeparateNext> {
    let model = &request.model;
    let named = |separate: &Separate| request.only.contains(&model.source(separate.source).name);
    let wanted = |separate: &&Separate| match request.only.is_empty() {
        true => !not_due.contains(&separate.source),
        false => named(separate),
    };
    // Each repository has a cycle of its own: one that was away goes on where it was.
    let meant = model.separates.iter().filter(wanted);
    let meant = meant.flat_map(|separate| separate.to.iter().map(move |store| (separate, *store)));
    let answer = |(separate, store): (&Separate, StoreId)| {
        let name = model.source(separate.source).name.as_str();
        let targets: Vec<&Shelf> = stores.shelves.get(&store).into_iter().collect();
        let is_whole = targets.first().is_some_and(|shelf| shelf.catalog.unreadable().is_empty());
        let runs = common_runs(&targets);
        // The level of the others says nothing of one that goes by a schedule of its own.
        let level = request.level.filter(|_| separate.schedule.is_none() || named(separate));
        let asked = Asked { sources: BTreeSet::from([name]), level, now };
        let past = Past { runs: &runs, lost: &BTreeMap::new() };
        let next = next(model, &separate.chain(name), &asked, &past);
        let manifests = targets.iter().flat_map(|shelf| shelf.catalog.runs());
        let known = manifests.flat_map(|run| run.repositories.iter().map(move |record| (run.run, record)));
        // What is in a stanza of another name is whole there, and nothing of this one rests on it.
        let stanza =
            model.source(separate.source).postgres().and_then(|own| own.stanza.as_deref()).unwrap_or(name);
        let is_in = |record: &RepositoryRecord| {
            let said = ["stanza", "instance"].iter().find_map(|word| record.settings.get(*word));
            record.source == name && said.is_none_or(|said| said == stanza)
        };
        let known = known.filter(|(_, record)| is_in(record)).map(|(run, record)| {
            let chain = record.rests_on.iter().copied().chain([run]).collect();
            (record.label.to_string(), (run, chain))
        });
        ((separate.source, store), SeparateNext { next, known: known.collect(), is_whole })
    };
    meant.map(answer).collect()
}

/// The newest run of a source in an archive, and its newest full.
fn newest(runs: &[Run<RunId>], archive: &str, source: &str) -> BTreeSet<RunId> {
    let is_own = |part: &&Part<RunId>| part.archive == archive && part.source == source;
    let mut held: Vec<(RunId, Level)> =
        runs.iter().filter_map(|run| Some((run.id, run.parts.iter().find(is_own)?.level))).collect();
    held.sort_unstable();
    let full = held.iter().rfind(|(_, level)| *level == Level::Full);
    full.into_iter().chain(held.last()).map(|(run, _)| *run).collect()
}

/// Artefacts that `answer` rests on and that cannot be read in one of the stores, with the reason.
fn unusable(answer: &Next<RunId>, targets: &[&Shelf], known: &Lost<RunId>) -> Lost<RunId> {
    let mut found = Lost::new();
    for base in answer.bases.values().flatten() {
        for run in &base.rests_on {
            let key = (*run, base.archive.clone(), None);
            if known.contains_key(&key) || found.contains_key(&key) {
                continue;
            }
            let trouble = targets.iter().find_map(|shelf| {
                let manifest = shelf.catalog.get(run)?;
                let record = record(manifest, &base.archive)?;
                shelf.look(record).err().map(|error| told_useless(shelf, record, &error, targets))
            });
            if let Some(trouble) = trouble {
                found.insert(key, trouble);
            }
        }
    }
    found
}

/// What is said of an artefact of a store that cannot be read there: how it comes back, where another one has it.
fn told_useless(shelf: &Shelf, record: &ArchiveRecord, error: &BackupsError, targets: &[&Shelf]) -> String {
    let mut others = targets.iter().filter(|other| other.store.label() != shelf.store.label());
    let Some(other) = others.find(|other| other.look(record).is_ok()) else { return error.to_string() };
    let is_gone = matches!(shelf.store.size(&record.artefact.object()), Ok(None));
    format!("{error}; {}", told_mend(is_gone, other.store.label()))
}

/// What each source that has a base rests on; or what of these bases cannot serve.
///
/// What is wrong with one source is said of that one: the others go on.
fn grounds(
    model: &Model,
    archive: &Archive,
    answer: &Next<RunId>,
    targets: &[&Shelf],
    cache: &Cache,
) -> Result<BTreeMap<String, Grounds>, Lost<RunId>> {
    let (mut found, mut lost) = (BTreeMap::new(), Lost::new());
    for (source, base) in &answer.bases {
        let Some(base) = base else { continue };
        let laid = useless(model, archive, (source, base), targets)
            .and_then(|held| ground(model, archive, (source, base), held, cache));
        match laid {
            Ok(ground) => drop(found.insert(source.clone(), ground)),
            Err(useless) => {
                let (of, why) = useless.of(source);
                lost.insert((base.run, base.archive.clone(), of), why);
            }
        }
    }
    if lost.is_empty() { Ok(found) } else { Err(lost) }
}

/// What a source rests on, as this machine knows it.
fn ground(
    model: &Model,
    archive: &Archive,
    (source, base): (&str, &Base<RunId>),
    (shelf, manifest, record): (&Shelf, &Manifest, &ArchiveRecord),
    cache: &Cache,
) -> Result<Grounds, Useless> {
    let useless = |why: String| Useless { why, is_whole: false };
    let view = match shelf.view(manifest, record, &|other| other == source) {
        Ok(chain) => Some(Arc::new(chain.view)),
        Err(BackupsError::Locked { .. }) => None,
        Err(error) => return Err(useless(error.to_string())),
    };
    let is_compared = |declared: &Source| declared.name == source && declared.is_compared();
    let scan = match model.sources.iter().any(is_compared) {
        true => Some(
            cache
                .load(&base.archive, base.run, &record.root, source)
                .map_err(|lost| useless(lost.to_string()))?,
        ),
        false => None,
    };
    let labels = manifest.source(source).map(|told| told.labels().clone()).unwrap_or_default();
    let grains = match archive.large_files {
        LargeFiles::Blocks => cache.grains(&base.archive, base.run, &record.root, source),
        LargeFiles::Whole => None,
    };
    Ok(Grounds { record: record.clone(), scan, grains, labels, view })
}

/// The newest artefact of an archive in the first of its stores, with the scans it was packed from. `None`: there is
/// none, or it cannot be read, or nothing is known of what it was packed from; then everything is packed anew.
fn copies(model: &Model, archive: &Archive, targets: &[&Shelf], cache: &Cache) -> Option<Copies> {
    // What is encrypted cannot be copied from, nor into.
    let shelf = targets.first().filter(|_| archive.encrypt.is_empty())?;
    let mut held = shelf
        .catalog
        .runs()
        .rev()
        .filter_map(|manifest| Some((manifest.run, record(manifest, &archive.name)?)));
    let (run, record) = held.next()?;
    let is_whole = record.holder == run && record.contents.iter().all(|content| content.rests_on.is_empty());
    let artefact = Arc::new(is_whole.then(|| shelf.artefact(record).ok())??);
    let store = model.stores.iter().position(|store| store.name == shelf.store.label()).map(StoreId);
    let held = store.map(|store| (store, record.artefact.object()));
    let file = store
        .and_then(|store| model.store(store).folder())
        .and_then(|folder| crate::regular::open(&folder.join(record.artefact.as_str())).ok())
        .map(Arc::new);
    let kept = |content: &Content| {
        let kept = cache.load(&archive.name, run, &record.root, &content.source).ok()?;
        Some((content.source.to_string(), kept))
    };
    let scans: BTreeMap<String, Kept> = record.contents.iter().filter_map(kept).collect();
    (!scans.is_empty()).then_some(Copies { base: CopyBase { artefact, file }, held, scans })
}

/// What the sources of an archive rest on, each with a tree of its own.
#[derive(Debug)]
struct Views(BTreeMap<String, Arc<View>>);

impl Views {
    fn of(&self, path: &[u8]) -> Option<&View> {
        let source =
            path.split(|byte| *byte == b'/').next().and_then(|source| std::str::from_utf8(source).ok())?;
        self.0.get(source).map(Arc::as_ref)
    }
}

impl BaseIndex for Views {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        let Some(view) = self.of(path) else { return Ok(None) };
        view.find(path).map(|live| live.map(|live| live.entry)).map_err(|error| error.cause)
    }

    fn below<'a>(&'a self, path: &[u8]) -> Box<dyn Iterator<Item = Result<Entry, ReadError>> + 'a> {
        match self.of(path) {
            Some(view) => Box::new(
                view.below(path).map(|live| live.map(|live| live.entry).map_err(|error| error.cause)),
            ),
            None => Box::new(std::iter::empty()),
        }
    }
}
