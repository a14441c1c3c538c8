//! What a run finds wrong beside its own work: runs that the stores have no more, or that nobody knows of; and sources that lost most
//! of what they had, in stores where nothing is ever deleted: a prune tells of them elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backplan_compiler::model::{Model, Source, SourceId, SourceKind, StoreId};
use backplan_compiler::retention::{Lack, Policy};
use jiff::Timestamp;

use super::levels::Stores;
use crate::catalog::details::DetailsError;
use crate::catalog::host::{PlanState, StateError};
use crate::catalog::ids::RunId;
use crate::catalog::made::{Made, Mark, told_gone};
use crate::catalog::manifest::{Manifest, SourceRecord, SourceStatus};
use crate::catalog::mounted::Expected;
use crate::catalog::prune::{Accepted, Before, Current};
use crate::postgres::names;

/// What a run holds against what it finds.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Earlier runs.
    pub runs: Runs,
    /// What stores in which nothing is deleted had of each source before the run.
    pub(super) before: BTreeMap<StoreId, Before>,
    /// Sources that were on file systems that this run was told to be given up.
    pub(super) given_up: BTreeSet<String>,
    /// The databases of each source whose dumps say which they have, in the newest run that holds it.
    pub(super) databases: BTreeMap<String, (RunId, BTreeSet<String>)>,
}

/// The databases that a dump has, by its label.
fn databases(record: &SourceRecord) -> Option<BTreeSet<String>> {
    let listed = record.labels().databases.as_ref()?;
    Some(listed.split_whitespace().map(str::to_owned).collect())
}

/// The databases that the plan wants of a source and that the newest run of any store has that holds it: one in part has not all that there were, and
/// comes behind all that are whole.
fn databases_of(stores: &Stores, source: &Source) -> Option<(RunId, BTreeSet<String>)> {
    let runs = stores.shelves.values().flat_map(|shelf| shelf.catalog.runs());
    let holding = runs.filter(|run| run.holds(&source.name));
    let newest = holding.max_by_key(|run| (run.holds_all_of(&source.name), run.run))?;
    let record = newest.source(&source.name)?;
    let mut databases = databases(record)?;
    databases.retain(|name| is_wanted(source, name));
    Some((newest.run, databases))
}

/// Whether a run says of a database, by its name in the label, that it could not be read; or may say so, where that is sealed.
fn is_told_as_lost(record: &SourceRecord, name: &str) -> bool {
    let told = format!("database `{}` ", name.replace("%20", " "));
    record.missing > 0 && record.reason.as_ref().is_none_or(|reason| reason.contains(&told))
}

/// Whether the plan wants a database, by its name in the label.
fn is_wanted(source: &Source, name: &str) -> bool {
    let is = |own: &String| names::listed([own.as_bytes()]) == name;
    match &source.kind {
        SourceKind::Mariadb(own) => {
            (own.databases.is_empty() || own.databases.iter().any(is)) && !own.exclude.iter().any(is)
        }
        SourceKind::Postgres(own) => own.database.as_ref().is_none_or(is),
        SourceKind::Files(_) | SourceKind::Sqlite(_) | SourceKind::Command(_) => true,
    }
}

/// Earlier runs that are not as this machine has left them.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// What is told of them.
    pub told: Vec<String>,
    /// What is kept of them, so that the next run tells the same.
    marks: Vec<(RunId, Mark)>,
    /// Stores that this machine looks at for the first time, with the runs from before it had the plan.
    looks: Vec<(String, Vec<(RunId, String)>)>,
    /// Stores that it makes.
    new: BTreeSet<StoreId>,
}

impl Runs {
    /// As the stores have them; what they lack nobody can tell while one of them is away. Who adopts stores that have no run has said
    /// that the earlier ones are given up.
    pub fn of(model: &Model, plan: &PlanState, stores: &Stores, adopt: bool) -> Runs {
        let (made, catalogs) = (&stores.made, || stores.shelves.values().map(|shelf| &shelf.catalog));
        let are_all_read = stores.shelves.len() + stores.new.len() == model.each_store().count();
        let gone = if are_all_read { made.gone(catalogs()) } else { Vec::new() };
        let is_given_up = adopt && catalogs().all(|catalog| catalog.runs().next().is_none());
        let (gone, given_up) = if is_given_up { (Vec::new(), gone) } else { (gone, Vec::new()) };
        let strange = stores.shelves.values().filter_map(|shelf| shelf.strange(made));
        let told =
            told_gone(&gone).into_iter().chain(strange).chain(forgotten(model, plan, stores)).collect();
        let new = gone.into_iter().filter(|run| !made.has_lost(run)).map(|run| (run, Mark::Lost));
        let back = made.back(catalogs()).into_iter().map(|run| (run, Mark::Here));
        let given_up = given_up.into_iter().map(|run| (run, Mark::Accepted));
        let looks = stores.shelves.values().filter_map(|shelf| {
            let store = shelf.store.label();
            Some((store.to_owned(), made.found(&shelf.catalog, store)?))
        });
        let marks = new.chain(back).chain(given_up).collect();
        Runs { told, marks, looks: looks.collect(), new: stores.new.clone() }
    }

    /// Keeps what is told, so that the next run tells it too, what is found, and that `run` is under way; why that cannot be.
    pub fn keep(&self, folder: &Path, run: RunId) -> Vec<String> {
        let marks = self.marks.iter().map(|(run, mark)| Made::mark(folder, *run, *mark));
        let looks = self.looks.iter().map(|(store, found)| Made::keep_look(folder, run, store, found));
        let kept = marks.chain(looks).chain([Made::keep_intended(folder, run)]);
        kept.filter_map(Result::err).collect()
    }

    /// Whether this run makes a store: there was nothing in it before.
    pub fn makes(&self, store: StoreId) -> bool {
        self.new.contains(&store)
    }
}

/// Sources of which nobody knows here any more on which file systems they were: this machine has forgotten it, and what the
/// manifests say of it is sealed.
fn forgotten(model: &Model, plan: &PlanState, stores: &Stores) -> Option<String> {
    let is_sealed = |name: &str| {
        let newest = stores.shelves.values().filter_map(|shelf| {
            let mut runs = shelf.catalog.runs().rev();
            runs.find(|run| run.holds(name))
        });
        let mut newest = newest.peekable();
        newest.peek().is_some() && newest.all(|run| matches!(run.details(), Err(DetailsError::Sealed)))
    };
    let files = model.sources.iter().filter(|source| source.files().is_some());
    let unknown = files.filter(|source| plan.mounts(&source.name).is_none() && is_sealed(&source.name));
    let names: Vec<String> = unknown.map(|source| format!("`{}`", source.name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "on which file systems these sources were in earlier runs is not known: {}; this machine has lost its state, and the manifests \
             tell it to the keys alone. See that all is mounted that belongs to them: from this run on it is known again",
            names.join(", ")
        )
    })
}

impl Watch {
    /// Of the stores as they are before the run.
    pub fn of(model: &Model, plan: &PlanState, stores: &Stores, adopt: bool, now: Timestamp) -> Watch {
        let names: BTreeSet<String> = model.sources.iter().map(|source| source.name.clone()).collect();
        let watched =
            stores.shelves.iter().filter(|(id, _)| !Policy::of(model, model.store(**id), now).prunes());
        let before = watched.map(|(id, shelf)| (*id, Before::of(&shelf.catalog, &names))).collect();
        let listed = model.sources.iter();
        let listed = listed.filter_map(|source| Some((source.name.clone(), databases_of(stores, source)?)));
        let databases = listed.collect();
        Watch { runs: Runs::of(model, plan, stores, adopt), before, given_up: BTreeSet::new(), databases }
    }

    /// With the sources of which something is given up: of which less is expected than before.
    #[must_use]
    pub fn giving_up(self, model: &Model, before: &Expected, now: &Expected) -> Watch {
        let is_less = |id: &&SourceId| now.get(id).map(Vec::len) < before.get(id).map(Vec::len);
        let given_up = before.keys().filter(is_less).map(|id| model.source(*id).name.clone());
        Watch { given_up: given_up.collect(), ..self }
    }

    /// Of which of these sources, as a run has them, it is right that they lost something: who gives up a file system has said so. Not
    /// where the run lacks something else beside.
    fn accepted<'a>(&self, run: RunId, held: impl Iterator<Item = &'a SourceRecord>) -> Accepted {
        let is_right = |record: &&SourceRecord| {
            record.status == SourceStatus::Ok
                && record.lacks() == Lack::Nothing
                && self.given_up.contains(record.name.as_str())
        };
        held.filter(is_right).map(|record| (record.name.to_string(), run)).collect()
    }

    /// What will be accepted by then of a run to come.
    pub fn foreseen_accepted(&self, plan: &PlanState, come: &Current) -> Accepted {
        let mut accepted = plan.accepted().clone();
        accepted.extend(self.accepted(come.run.id, come.sources.iter()));
        accepted
    }

    /// Takes what sources lost with file systems that are given up for right, now that a backup without it is there.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub fn accept(&self, plan: &mut PlanState, made: &Manifest) -> Result<(), StateError> {
        let accepted = self.accepted(made.run, made.sources.iter().filter(|record| made.holds(&record.name)));
        if accepted.is_empty() { Ok(()) } else { plan.accept(accepted) }
    }

    /// What is told of sources of which a store has less than half, now that it has this run.
    pub fn made(&self, store: StoreId, made: &Manifest, accepted: &Accepted) -> Vec<String> {
        let is_held = |record: &&SourceRecord| record.status == SourceStatus::Ok && made.holds(&record.name);
        let held: Vec<&SourceRecord> = made.sources.iter().filter(is_held).collect();
        self.told(store, made.run, &held, accepted)
    }

    /// What is told of whole databases that the run before had and this one has not: once, as the next run holds itself against this.
    pub fn dropped(&self, made: &Manifest) -> Vec<String> {
        let told = made.sources.iter().filter(|record| made.holds(&record.name)).filter_map(|record| {
            let (run, before) = self.databases.get(record.name.as_str())?;
            let now = databases(record)?;
            let gone = before.difference(&now).filter(|name| !is_told_as_lost(record, name));
            let gone: Vec<String> = gone.map(|name| format!("`{name}`")).collect();
            let (what, has) = if gone.len() == 1 { ("database", "it") } else { ("databases", "them") };
            (!gone.is_empty()).then(|| {
                format!(
                    "source `{}`: {what} {} of run {run} did not come with this run: dropped, or hidden from the account that \
                     dumps; run {run} is the last that has {has}, for as long as it is kept",
                    record.name,
                    gone.join(", ")
                )
            })
        });
        told.collect()
    }

    /// What is told of sources once the run has brought these to a store.
    fn told(&self, store: StoreId, run: RunId, held: &[&SourceRecord], accepted: &Accepted) -> Vec<String> {
        let before = self.before.get(&store);
        let shrunk = before.map(|before| before.shrunk(run, held, accepted)).unwrap_or_default();
        shrunk.iter().filter_map(|refusal| refusal.loss()).collect()
    }

    /// The same of a run to come.
    pub fn foreseen(&self, store: StoreId, come: &Current, accepted: &Accepted) -> Vec<String> {
        let is_held = |record: &&SourceRecord| come.run.parts.iter().any(|part| *record.name == *part.source);
        let held: Vec<&SourceRecord> = come.sources.iter().filter(is_held).collect();
        self.told(store, come.run.id, &held, accepted)
    }
}
