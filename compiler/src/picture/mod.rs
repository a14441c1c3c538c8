//! The graph of steps as a picture: a column for each phase of a run, a band for the run itself, for each archive with its
//! sources, and for each store. Everything that a colour says is also said by a shape, a word or a number.

mod layout;
mod page;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use crate::diff::changes::{Fate, steps};
use crate::graph::{Action, Step, StepGraph, StepId, When};
use crate::model::{Model, SourceId, StoreId, StoreKind};

pub use page::html;
pub use svg::svg;

/// A plan as it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawn<'a> {
    /// Its steps.
    pub graph: &'a StepGraph,
    /// The plan.
    pub model: &'a Model,
}

/// What is drawn: steps and what waits for what.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The plan's name.
    pub title: String,
    /// Whether steps are marked by what became of them.
    pub is_diff: bool,
    nodes: Vec<Node>,
    /// From what is needed to what needs it, without what follows from others.
    edges: Vec<(usize, usize)>,
    bands: BTreeMap<Band, String>,
}

#[derive(Debug, Clone)]
struct Node {
    id: StepId,
    phase: Phase,
    band: Band,
    shape: Shape,
    /// A second line.
    about: String,
    /// The number of its store.
    store: Option<usize>,
    mark: Option<Fate>,
    effects: String,
}

/// The columns, in the order of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Lock,
    Start,
    Recover,
    Clear,
    Enter,
    Read,
    Pack,
    Leave,
    Publish,
    Commit,
    Prune,
    Rehearse,
    Tidy,
    Unlock,
    End,
}

impl Phase {
    fn title(self) -> &'static str {
        match self {
            Phase::Lock => "lock",
            Phase::Start => "tell",
            Phase::Recover => "recover",
            Phase::Clear => "clear",
            Phase::Enter => "enter windows",
            Phase::Read => "read sources",
            Phase::Pack => "pack",
            Phase::Leave => "leave windows",
            Phase::Publish => "publish",
            Phase::Commit => "commit",
            Phase::Prune => "delete what is not kept",
            Phase::Rehearse => "rehearse",
            Phase::Tidy => "clear",
            Phase::Unlock => "unlock",
            Phase::End => "tell",
        }
    }
}

/// The rows, from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Band {
    Run,
    Archive(String),
    Separate,
    Store(usize, String),
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Locks.
    Cut,
    /// What deletes.
    Hexagon,
    /// Sources.
    Stadium,
    /// An archive that is made.
    Double,
    /// What brings or writes something somewhere.
    Box,
    /// The moment from which a backup exists.
    Seal,
    /// Windows.
    Slant,
    /// Telling somebody.
    Note,
}

/// The picture of a plan.
pub fn picture(new: Drawn<'_>) -> Picture {
    build(new, None)
}

/// The picture of a plan with what has changed since `old`: steps that are gone are drawn as well.
pub fn picture_of_change(old: Drawn<'_>, new: Drawn<'_>) -> Picture {
    build(new, Some(old))
}

fn build(new: Drawn<'_>, old: Option<Drawn<'_>>) -> Picture {
    let marks: BTreeMap<StepId, Fate> = old
        .map(|old| {
            steps(old.graph, new.graph).into_iter().map(|change| (change.step, change.change)).collect()
        })
        .unwrap_or_default();
    let stores = numbers(new.model, old.map(|old| old.model));
    let mut nodes = Vec::new();
    let mut needs: BTreeSet<(StepId, StepId)> = BTreeSet::new();
    let mut bands: BTreeMap<Band, String> = BTreeMap::new();
    for (drawn, is_old) in [Some((new, false)), old.map(|old| (old, true))].into_iter().flatten() {
        for step in drawn.graph.iter() {
            if is_old && new.graph.get(&step.id).is_some() {
                continue;
            }
            let node = node(step, drawn.model, &stores, marks.get(&step.id).copied());
            bands.entry(node.band.clone()).or_insert_with(|| band_title(&node.band, drawn.model));
            nodes.push(node);
            needs.extend(step.needs.iter().map(|need| (need.clone(), step.id.clone())));
        }
    }
    let at: BTreeMap<&StepId, usize> = nodes.iter().enumerate().map(|(at, node)| (&node.id, at)).collect();
    let edges = needs.iter().filter_map(|(from, to)| Some((*at.get(from)?, *at.get(to)?))).collect();
    let edges = reduced(nodes.len(), edges);
    Picture { title: new.model.name.clone(), is_diff: old.is_some(), nodes, edges, bands }
}

/// Stores by name, each with a number that both plans share.
fn numbers(new: &Model, old: Option<&Model>) -> BTreeMap<String, usize> {
    let names: BTreeSet<&String> = new
        .stores
        .iter()
        .chain(old.into_iter().flat_map(|old| &old.stores))
        .map(|store| &store.name)
        .collect();
    names.into_iter().enumerate().map(|(at, name)| (name.clone(), at + 1)).collect()
}

fn node(step: &Step, model: &Model, stores: &BTreeMap<String, usize>, mark: Option<Fate>) -> Node {
    let number = |id: &StoreId| stores.get(&model.store(*id).name).copied();
    let in_store = |id: &StoreId| Band::Store(number(id).unwrap_or(0), model.store(*id).name.clone());
    let in_archive = |at: &crate::model::ArchiveId| Band::Archive(model.archive(*at).name.clone());
    let (phase, band, shape, about, store) = match &step.action {
        Action::LockHost => (Phase::Lock, Band::Run, Shape::Cut, String::new(), None),
        Action::LockStore(id) => (Phase::Lock, in_store(id), Shape::Cut, String::new(), number(id)),
        Action::Recover => {
            (Phase::Recover, Band::Run, Shape::Hexagon, "undo what a dead run left".into(), None)
        }
        Action::ClearStaging(when) => {
            let phase = if *when == When::Before { Phase::Clear } else { Phase::Tidy };
            (phase, Band::Run, Shape::Hexagon, "the staging".into(), None)
        }
        Action::Enter(_) => (Phase::Enter, Band::Run, Shape::Slant, String::new(), None),
        Action::Leave(_) => (Phase::Leave, Band::Run, Shape::Slant, String::new(), None),
        Action::Scan(id) | Action::Dump(id) | Action::DumpApart(id, _) => (
            Phase::Read,
            band_of(model, *id),
            Shape::Stadium,
            model.source(*id).kind.facts().shown.into(),
            None,
        ),
        Action::Pack(id) => (Phase::Pack, in_archive(id), Shape::Double, levels(model), None),
        Action::Publish(id, to) => (Phase::Publish, in_archive(id), Shape::Box, String::new(), number(to)),
        Action::Commit(id) => {
            (Phase::Commit, in_store(id), Shape::Seal, "the backup exists".into(), number(id))
        }
        Action::Prune(id) => (Phase::Prune, in_store(id), Shape::Hexagon, String::new(), number(id)),
        Action::Sync(id) => (Phase::Rehearse, in_store(id), Shape::Box, "what it lacks".into(), number(id)),
        Action::Expire(id) | Action::ExpireApart(id, _) => {
            (Phase::Prune, band_of(model, *id), Shape::Hexagon, "the tool's own".into(), None)
        }
        Action::Rehearse(id) => {
            (Phase::Rehearse, band_of(model, *id), Shape::Stadium, "a restore, tried".into(), None)
        }
        Action::OpenWal(_, to) => {
            (Phase::Commit, in_store(to), Shape::Box, "archive of a log".into(), number(to))
        }
        Action::ExpireWal(_, of) => {
            (Phase::Prune, in_store(of), Shape::Hexagon, "of a log".into(), number(of))
        }
        Action::Unlock => (Phase::Unlock, Band::Run, Shape::Cut, String::new(), None),
        Action::Notify(_, when) => {
            let phase = if *when == When::Before { Phase::Start } else { Phase::End };
            (phase, Band::Run, Shape::Note, String::new(), None)
        }
    };
    Node { id: step.id.clone(), phase, band, shape, about, store, mark, effects: effects(step) }
}

/// What a step touches, as text that is shown where the pointer is.
fn effects(step: &Step) -> String {
    let part = |what: &str, resources: &BTreeSet<crate::graph::Resource>| {
        resources.iter().map(|one| format!("\n{what} {one}")).collect::<String>()
    };
    format!(
        "{}{}{}",
        part("reads", &step.reads),
        part("writes", &step.writes),
        part("deletes", &step.deletes)
    )
}

/// The band of the first archive that has a source.
fn band_of(model: &Model, source: SourceId) -> Band {
    let archive = model.archives.iter().find(|archive| archive.from.contains(&source));
    archive.map_or(Band::Separate, |archive| Band::Archive(archive.name.clone()))
}

/// Which levels an archive has over time.
pub(crate) fn levels(model: &Model) -> String {
    match &model.cycle {
        Some(cycle) if cycle.incrementals > 0 => {
            let follow = crate::lower::level_word(cycle.follow);
            format!("full, then {} {follow}", cycle.incrementals)
        }
        _ if model.has_cycle() => "level by the schedule".to_owned(),
        _ => "always full".to_owned(),
    }
}

fn band_title(band: &Band, model: &Model) -> String {
    match band {
        Band::Run => "the run".to_owned(),
        Band::Archive(name) => format!("archive {name}"),
        Band::Separate => "separate".to_owned(),
        Band::Store(_, name) => {
            let store = model.stores.iter().find(|store| store.name == *name);
            let kind = store.map_or("", |store| match &store.kind {
                StoreKind::Dir { .. } => "dir",
                StoreKind::S3 { .. } => "s3",
                StoreKind::Azblob { .. } => "azblob",
                StoreKind::Gcs { .. } => "gcs",
                StoreKind::Sftp { .. } => "sftp",
            });
            let offsite = if store.is_some_and(|store| store.offsite) { ", offsite" } else { "" };
            format!("store {name} ({kind}{offsite})")
        }
    }
}

/// Edges without those that follow from others: what waits for a step waits for all that the step waits for.
pub(crate) fn reduced(count: usize, edges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, to) in &edges {
        after[*from].push(*to);
    }
    let reach = |start: usize, without: usize| {
        let mut seen = vec![false; count];
        let mut open: Vec<usize> = after[start].iter().copied().filter(|next| *next != without).collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&after[at]);
            }
        }
        seen[without]
    };
    // Past this it would take long, and nobody could look at it anyway.
    if edges.len() > 20_000 {
        return edges;
    }
    edges.iter().copied().filter(|(from, to)| !reach(*from, *to)).collect()
}
