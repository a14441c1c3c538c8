//! What the next run of an archive rests on, as far as the manifests in its stores tell. A run asks this, and looks then whether the
//! artefacts can be read and what this machine knows of them; who only foretells a run goes by it.

use std::collections::{BTreeMap, BTreeSet};

use backplan_compiler::cycle::{Asked, Base, Lost, Next, Past, next};
use backplan_compiler::model::{Archive, Level, Model, Source, StoreId};
use backplan_compiler::retention::Run;
use jiff::Timestamp;

use super::deciding::Deciding;
use super::shelf::{Shelf, Shelves};
use crate::catalog::ids::RunId;
use crate::catalog::made::Made;
use crate::catalog::manifest::{ArchiveRecord, Manifest, SourceRecord};
use crate::catalog::prune::fact;
use crate::catalog::runs::Catalog;
use crate::cipher::keyring::bare;
use crate::past::cache::Cache;
use crate::text::printable;

/// The next run of each archive of a plan, in the plan's order.
pub fn coming(model: &Model, shelves: &Shelves, now: Timestamp) -> Vec<Next<RunId>> {
    let nothing = Made::default();
    let made = shelves.made.as_ref().unwrap_or(&nothing);
    let readable = model.each_store().filter_map(|(id, store)| {
        Some((id, shelves.shelves.iter().find(|shelf| shelf.store.label() == store.name)?))
    });
    let held: BTreeMap<StoreId, &Shelf> = readable.collect();
    let is_new = |name: &str| shelves.new.contains(name);
    let new: BTreeSet<StoreId> =
        model.each_store().filter(|(_, store)| is_new(&store.name)).map(|(id, _)| id).collect();
    let all: Vec<&Archive> = model.archives.iter().collect();
    let deciding = Deciding::new(held.clone(), &new, &all, made);
    let of = |archive: &Archive| {
        let sources = archive.from.iter().map(|id| model.source(*id).name.as_str()).collect();
        let asked = Asked { sources, level: None, now };
        let mut answer = foretold(model, archive, &asked, &deciding.of(archive), shelves.scans.as_ref());
        answer.warnings.extend(lacking(model, archive, &asked, (&held, &new), &answer));
        answer
    };
    all.into_iter().map(of).collect()
}

/// What the next run of an archive is to be that rests on nothing of which these stores' manifests say that it cannot serve, nor on
/// what this machine knows no more of.
fn foretold(
    model: &Model,
    archive: &Archive,
    asked: &Asked<'_>,
    targets: &[&Shelf],
    scans: Option<&Cache>,
) -> Next<RunId> {
    let (runs, mut lost) = (common_runs(targets), Lost::new());
    loop {
        let answer = following(model, archive, asked, &Past { runs: &runs, lost: &lost });
        let known = lost.len();
        // A whole archive each time needs nothing of its base.
        let bases = answer.bases.iter().filter(|_| !archive.self_contained);
        for (source, base) in bases.filter_map(|(source, base)| Some((source, base.as_ref()?))) {
            let useless = useless(model, archive, (source, base), targets)
                .and_then(|(_, _, record)| remembered(model, (source, base), record, scans));
            if let Err(useless) = useless {
                let (of, why) = useless.of(source);
                lost.insert((base.run, base.archive.clone(), of), why);
            }
        }
        if lost.len() == known {
            return answer;
        }
    }
}

/// Sees that this machine knows what the files of a base were like.
fn remembered(
    model: &Model,
    (source, base): (&str, &Base<RunId>),
    record: &ArchiveRecord,
    scans: Option<&Cache>,
) -> Result<(), Useless> {
    let is_compared = |declared: &Source| declared.name == source && declared.is_compared();
    match scans.filter(|_| model.sources.iter().any(is_compared)) {
        Some(scans) => scans
            .has(&base.archive, base.run, &record.root, source)
            .map_err(|lost| Useless { why: lost.to_string(), is_whole: false }),
        None => Ok(()),
    }
}

/// What the next run of `archive` is to be, but that sources which have all in each run rest on nothing. What a tool may
/// rest on an earlier backup cannot be in an archive that is to be whole by itself.
pub fn following(model: &Model, archive: &Archive, asked: &Asked<'_>, past: &Past<'_, RunId>) -> Next<RunId> {
    let mut answer = next(model, archive, asked, past);
    // A tool needs to read the backup that its next one rests on.
    let follows = !archive.self_contained && archive.encrypt.is_empty();
    let is_whole = |source: &Source| source.is_whole_each_time() && !(follows && source.may_follow());
    for id in archive.from.iter().filter(|id| is_whole(model.source(**id))) {
        if let Some(base) = answer.bases.get_mut(&model.source(*id).name) {
            *base = None;
        }
    }
    if answer.bases.values().all(Option::is_none) {
        answer.level = Level::Full;
    }
    answer
}

/// The runs that every one of these stores holds, each as that store has it that has most of it: what another lacks of it is told
/// where it would be rested on.
pub fn common_runs(targets: &[&Shelf]) -> Vec<Run<RunId>> {
    let Some((first, others)) = targets.split_first() else { return Vec::new() };
    let fullest = |manifest: &Manifest| {
        let held: Option<Vec<&Manifest>> =
            others.iter().map(|shelf| shelf.catalog.get(&manifest.run)).collect();
        let all = held?.into_iter().chain(first.catalog.get(&manifest.run));
        all.max_by_key(|manifest| manifest.archives.len()).map(fact)
    };
    first.catalog.runs().filter_map(fullest).collect()
}

/// Why sources are taken whole that could rest on something if every store had what some have.
pub fn lacking(
    model: &Model,
    archive: &Archive,
    asked: &Asked<'_>,
    (held, new): (&BTreeMap<StoreId, &Shelf>, &BTreeSet<StoreId>),
    answer: &Next<RunId>,
) -> Option<String> {
    // What is whole each time rests on nothing, whatever a store has.
    if archive.self_contained || !answer.warnings.is_empty() || answer.bases.values().all(Option::is_some) {
        return None;
    }
    let shelves = || archive.to.iter().filter_map(|id| held.get(id));
    let all: BTreeMap<RunId, Run<RunId>> = shelves()
        .flat_map(|shelf| shelf.catalog.runs())
        .map(|manifest| (manifest.run, fact(manifest)))
        .collect();
    let runs: Vec<Run<RunId>> = all.into_values().collect();
    let elsewhere = following(model, archive, asked, &Past { runs: &runs, lost: &Lost::new() });
    let is_whole_here = |source: &&String| answer.bases.get(*source).is_some_and(Option::is_none);
    let mut bases = elsewhere.bases.iter().filter(|(source, _)| is_whole_here(source));
    let base = bases.find_map(|(_, base)| base.as_ref())?;
    let lacks = |id: &&StoreId| {
        let catalog = held.get(id).map(|shelf| &shelf.catalog);
        let is_short = |catalog: &Catalog| base.rests_on.iter().any(|run| catalog.get(run).is_none());
        new.contains(id) || catalog.is_some_and(is_short)
    };
    let store = &model.store(*archive.to.iter().find(lacks)?).name;
    Some(format!("it is taken whole: store `{store}` does not hold run {}, which it would rest on", base.run))
}

/// Why a base cannot serve.
pub struct Useless {
    /// In words.
    pub why: String,
    /// Whether that holds for all that is in its artefact.
    pub is_whole: bool,
}

impl Useless {
    /// The source that it is of, where it is not of all, and why.
    pub fn of(self, source: &str) -> (Option<String>, String) {
        ((!self.is_whole).then(|| source.to_owned()), self.why)
    }
}

/// What a source's base is in the first of these stores, where it can serve as far as manifests tell.
///
/// # Errors
/// Why it cannot.
pub fn useless<'s>(
    model: &Model,
    archive: &Archive,
    (source, base): (&str, &Base<RunId>),
    targets: &[&'s Shelf],
) -> Result<(&'s Shelf, &'s Manifest, &'s ArchiveRecord), Useless> {
    let of_source = |why: String| Useless { why, is_whole: false };
    let of_all = |why: &str| Useless { why: why.to_owned(), is_whole: true };
    let gone = || of_all("it is not there");
    let shelf = *targets.first().ok_or_else(gone)?;
    let manifest = shelf.catalog.get(&base.run).ok_or_else(gone)?;
    if is_ambiguous(manifest, archive, &base.archive, source) {
        let then = &base.archive;
        return Err(of_source(format!(
            "its archive `{then}` has another name now, and others hold the source too"
        )));
    }
    let lacks = || of_all(&format!("store `{}` does not hold it", shelf.store.label()));
    let record = record(manifest, &base.archive).ok_or_else(lacks)?;
    if let Some(why) = other_keys(&archive.encrypt, &record.recipients) {
        return Err(of_all(&why));
    }
    let now = model.sources.iter().find(|declared| declared.name == source);
    if let Some(why) = now.and_then(|now| read_otherwise(now, manifest.source(source)?)) {
        return Err(of_source(why));
    }
    match unresolved(archive, source, base.run, record, targets) {
        Some(why) => Err(of_source(why)),
        None => Ok((shelf, manifest, record)),
    }
}

/// Why a source rests on nothing that was read otherwise; `None`: it is read as it was then.
fn read_otherwise(now: &Source, then: &SourceRecord) -> Option<String> {
    let facts = now.kind.facts();
    let shown = |word: &str| printable(word.as_bytes());
    if facts.word != then.kind {
        return Some(format!("there it is of kind `{}`, and no longer", shown(&then.kind)));
    }
    let (now, then) = (facts.driver?, then.labels().driver.as_deref()?);
    (now != then)
        .then(|| format!("there it was read by driver `{}`, and by now it is by `{now}`", shown(then)))
}

/// Why a restore from any of these stores would not find what the source rests on: the archive may have had another name in any
/// run of the chain, and in each store others may hold the source too.
fn unresolved(
    archive: &Archive,
    source: &str,
    base: RunId,
    record: &ArchiveRecord,
    targets: &[&Shelf],
) -> Option<String> {
    let own = record.content(source);
    let chain: Vec<RunId> =
        own.into_iter().flat_map(|content| &content.rests_on).copied().chain([base]).collect();
    let lost = |shelf: &&Shelf| {
        let trouble = chain.iter().find_map(|run| shelf.lacks_base(run, &archive.name, source, &chain))?;
        Some(format!("in store `{}` {trouble}", shelf.store.label()))
    };
    targets.iter().find_map(lost)
}

/// Why what is encrypted for these keys `now` rests on nothing that was for those `then`: whoever opens the one opens the other, and
/// what is to be in clear rests on what is. `None`: it may.
fn other_keys(now: &[String], then: &[String]) -> Option<String> {
    let why = match (now.is_empty(), then.is_empty()) {
        (false, true) => "it is not encrypted, and the plan encrypts what is new",
        (true, false) => "it is encrypted, and the plan encrypts no longer",
        _ => {
            let then: BTreeSet<String> = then.iter().map(|key| bare(key)).collect();
            let opens_all = now.iter().all(|key| then.contains(&bare(key)));
            (!opens_all).then_some("it is encrypted for other keys than the plan names now")?
        }
    };
    Some(why.to_owned())
}

/// Whether a restore could not tell which archive of the base is meant: the one it rests on had another name then, and is not
/// the only one with the source.
fn is_ambiguous(manifest: &Manifest, archive: &Archive, then: &str, source: &str) -> bool {
    let holds = |record: &&ArchiveRecord| record.contents.iter().any(|content| content.source == source);
    archive.name != then && manifest.archives.iter().filter(holds).count() > 1
}

/// What a run says of an archive.
pub fn record<'a>(manifest: &'a Manifest, archive: &str) -> Option<&'a ArchiveRecord> {
    manifest.archives.iter().find(|record| record.name == archive)
}
