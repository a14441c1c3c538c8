//! The graph of steps. Effects are data: one graph serves the dry run (print them), the check (do they collide), the
//! diff (do they change), the picture and the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};

use crate::model::{ArchiveId, Level, Retry, SourceId, StoreId};

/// A step's name, readable and stable: `pack/alation`, `publish/alation/local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a step does. Ids point into the model the graph was lowered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take the locks of this host: the plan's and its staging's.
    LockHost,
    /// Take the lease of a store, and see that it is the store it should be.
    LockStore(StoreId),
    /// Undo what a dead run left, here and in every store.
    Recover,
    /// Clear the contents of the staging.
    ClearStaging(When),
    /// Open a window, by its place in the model.
    Enter(usize),
    /// Close a window.
    Leave(usize),
    /// List a source's files with what is known of them.
    Scan(SourceId),
    /// Copy a source that is not plain files into the staging.
    Dump(SourceId),
    /// Have a source's tool make a backup in the repository that the source has of its own in a store.
    DumpApart(SourceId, StoreId),
    /// Build an artefact, in the staging or straight into the stores.
    Pack(ArchiveId),
    /// Bring a staged artefact into a store.
    Publish(ArchiveId, StoreId),
    /// Write the manifest: from here on the backup exists in this store.
    Commit(StoreId),
    /// Delete what retention no longer keeps.
    Prune(StoreId),
    /// Bring to a store the runs that it lacks and others of the run's stores have.
    Sync(StoreId),
    /// Delete, from the repository of a source's tool, what was before the cycle that now has begun.
    Expire(SourceId),
    /// Delete, from a source's own repository in a store, what no manifest names there any more.
    ExpireApart(SourceId, StoreId),
    /// See that a store has the archive of a source's log, by the place of its `wal` in the model.
    OpenWal(usize, StoreId),
    /// Delete, from the archive of a source's log, what no kept backup needs.
    ExpireWal(usize, StoreId),
    /// Restore a source into a scratch folder, look at it, and throw it away.
    Rehearse(SourceId),
    /// Release the locks.
    Unlock,
    /// Tell somebody, by the notification's place in the model, that the run begins or how it ended.
    Notify(usize, When),
}

/// Before or after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the first source is read.
    Before,
    /// After the last commit.
    After,
}

/// What a step touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A file or a whole tree of this host.
    Path(PathBuf),
    /// Everything inside a folder, not the folder.
    Contents(PathBuf),
    /// An object of a store, by the store's name.
    Object {
        /// The store.
        store: String,
        /// Its name below the store's root.
        name: String,
    },
    /// Backplan's own state on this host: journal, scans, locks.
    State(String),
    /// The state of the world that a program changes.
    World(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Path(path) => write!(f, "{}", path.display()),
            Resource::Contents(path) => write!(f, "{}/*", path.display()),
            Resource::Object { store, name } => write!(f, "{store}:{name}"),
            Resource::State(name) => write!(f, "state:{name}"),
            Resource::World(what) => write!(f, "world:{what}"),
        }
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How the effects of a step that began are taken back. Idempotent: it assumes the effect may have happened. A run notes by it,
/// before the step is carried out, what the next one needs for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Nothing to take back, or what only its tool can: its repository is no run's own.
    None,
    /// Release what was locked.
    Release,
    /// Run the window's `leave`.
    LeaveWindow,
    /// Delete what the step wrote on this host.
    DeleteFiles,
    /// Delete what the step wrote in a store, once the manifest is proven absent.
    DeleteObjects,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// Steps that end before it starts.
    pub needs: BTreeSet<StepId>,
    /// The sources that it reads side by side, each with those of its needs that are for that source.
    pub parts: Vec<(SourceId, BTreeSet<StepId>)>,
    /// What it reads.
    pub reads: BTreeSet<Resource>,
    /// What it writes.
    pub writes: BTreeSet<Resource>,
    /// What it deletes.
    pub deletes: BTreeSet<Resource>,
    /// How it is repeated; `None`: a failure is final.
    pub retry: Option<Retry>,
    /// Seconds after which it is stopped.
    pub timeout: Option<u64>,
    /// How it is taken back.
    pub undo: Undo,
}

/// What a lowering is told of the run; what is missing stays a placeholder, as `plan compile` prints it.
#[derive(Debug, Clone, Default)]
pub struct Occasion {
    /// The run's id.
    pub run: Option<String>,
    /// The run's start.
    pub now: Option<jiff::Timestamp>,
    /// This machine's name.
    pub host: Option<String>,
    /// First lines of the files that `read` names.
    pub reads: BTreeMap<PathBuf, String>,
    /// The level that the run has.
    pub level: Option<Level>,
    /// `--only`: these sources, by name; empty: all.
    pub only: BTreeSet<String>,
    /// Sources with a schedule of their own that are not due: the run leaves them to a later one.
    pub not_due: BTreeSet<SourceId>,
    /// The sources whose rehearsal is due; `None`: all that the plan has rehearsed by itself.
    pub rehearse: Option<BTreeSet<SourceId>>,
}

/// What waits for one another, of things with what each of them waits for: loop by loop, each in order. One that waits for itself
/// is a loop.
pub(crate) fn loops<T: Ord + Copy>(waits: impl Iterator<Item = (T, Vec<T>)>) -> Vec<Vec<T>> {
    let (mut graph, mut nodes) = (DiGraph::<T, ()>::new(), BTreeMap::new());
    let mut node_of =
        |graph: &mut DiGraph<T, ()>, one: T| *nodes.entry(one).or_insert_with(|| graph.add_node(one));
    for (one, others) in waits {
        let node = node_of(&mut graph, one);
        for other in others {
            let other = node_of(&mut graph, other);
            graph.update_edge(node, other, ());
        }
    }
    // Not Tarjan's: it recurses, and a plan may be one long chain.
    let parts = petgraph::algo::kosaraju_scc(&graph).into_iter();
    let is_loop = |part: &Vec<NodeIndex>| part.len() > 1 || graph.contains_edge(part[0], part[0]);
    let found = parts.filter(is_loop).map(|part| {
        let mut members: Vec<T> = part.into_iter().map(|node| graph[node]).collect();
        members.sort_unstable();
        members
    });
    found.collect()
}

/// The steps of a run.
#[derive(Debug, Clone, Default)]
pub struct StepGraph {
    steps: BTreeMap<StepId, Step>,
    /// File name of each archive's artefact in this run.
    pub artefact_names: BTreeMap<ArchiveId, String>,
}

impl StepGraph {
    /// A graph of these steps.
    ///
    /// # Errors
    /// The ids of a loop, or of a step that needs one that is not there.
    pub fn new(
        steps: Vec<Step>,
        artefact_names: BTreeMap<ArchiveId, String>,
    ) -> Result<StepGraph, Vec<StepId>> {
        let steps: BTreeMap<StepId, Step> = steps.into_iter().map(|step| (step.id.clone(), step)).collect();
        let missing: Vec<StepId> = steps
            .values()
            .flat_map(|step| step.needs.iter())
            .filter(|id| !steps.contains_key(*id))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        match loops(steps.values().map(|step| (&step.id, step.needs.iter().collect()))).into_iter().next() {
            Some(ids) => Err(ids.into_iter().cloned().collect()),
            None => Ok(StepGraph { steps, artefact_names }),
        }
    }

    /// The step with this name.
    pub fn get(&self, id: &StepId) -> Option<&Step> {
        self.steps.get(id)
    }

    /// The step that does this, where one does.
    pub fn doing(&self, action: &Action) -> Option<&Step> {
        self.steps.values().find(|step| step.action == *action)
    }

    /// All steps by name.
    pub fn iter(&self) -> impl Iterator<Item = &Step> {
        self.steps.values()
    }

    /// All steps, each behind what it needs, ties broken by name.
    pub fn in_order(&self) -> Vec<&Step> {
        let mut done: BTreeSet<&StepId> = BTreeSet::new();
        let mut order = Vec::with_capacity(self.steps.len());
        let mut waiting: BTreeMap<&StepId, usize> =
            self.steps.values().map(|step| (&step.id, step.needs.len())).collect();
        let mut dependents: BTreeMap<&StepId, Vec<&StepId>> = BTreeMap::new();
        for step in self.steps.values() {
            for need in &step.needs {
                dependents.entry(need).or_default().push(&step.id);
            }
        }
        let mut ready: BTreeSet<&StepId> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
        while let Some(id) = ready.pop_first() {
            done.insert(id);
            order.push(&self.steps[id]);
            for dependent in dependents.get(id).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(dependent);
                    }
                }
            }
        }
        order
    }

    /// The graph for algorithms; node weights are the steps in the order of [`StepGraph::iter`], edges go from what is
    /// needed to what needs it.
    pub fn to_petgraph(&self) -> (DiGraph<&Step, ()>, BTreeMap<&StepId, NodeIndex>) {
        let mut graph = DiGraph::new();
        let mut nodes = BTreeMap::new();
        for step in self.steps.values() {
            nodes.insert(&step.id, graph.add_node(step));
        }
        for step in self.steps.values() {
            for need in &step.needs {
                if let (Some(from), Some(to)) = (nodes.get(need), nodes.get(&step.id)) {
                    graph.add_edge(*from, *to, ());
                }
            }
        }
        (graph, nodes)
    }
}
