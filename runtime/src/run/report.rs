//! What a run came to, for people, machines and the exit status.

use std::collections::BTreeMap;

use backplan_compiler::graph::{Action, Resource, Step, StepGraph, When};
use backplan_compiler::model::{ArchiveId, Model, StoreId};
use serde::Serialize;

use super::coordinator::{Execution, StopSignal};
use super::facts::Facts;
use crate::past::journal::How;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is backed up: status 0.
    Done,
    /// Everything is backed up, and a person should read the warnings: status 3.
    Warnings,
    /// A source or a store failed; what was whole is committed: status 1.
    Failed,
    /// Another run holds the lock: status 4.
    Busy,
    /// SIGINT: status 130.
    Interrupted,
    /// SIGTERM: status 143.
    Terminated,
}

impl Verdict {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Verdict::Done => 0,
            Verdict::Failed => 1,
            Verdict::Warnings => 3,
            Verdict::Busy => 4,
            Verdict::Interrupted => 130,
            Verdict::Terminated => 143,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The plan's name.
    pub plan: String,
    /// The run's id.
    pub run: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Every step, each behind what it needs.
    pub steps: Vec<StepReport>,
    /// Every artefact.
    pub archives: Vec<ArchiveReport>,
    /// Sources that an archive was made without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutReport>,
    /// The stores in which the backup exists.
    pub committed: Vec<String>,
    /// The stores in which it may exist: whether its commit was done could not be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uncertain: Vec<String>,
    /// Whether everything is backed up, whatever failed beside that: a rehearsal, the leaving of a window.
    #[serde(skip)]
    pub whole: bool,
    /// Whether everything is backed up in one store at least: the same run once more would make another such backup.
    #[serde(skip)]
    pub is_there: bool,
    /// What a person should read.
    pub warnings: Vec<String>,
}

/// A source that an archive was made without.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOutReport {
    /// The archive.
    pub archive: String,
    /// The source.
    pub source: String,
    /// Why.
    pub reason: String,
    /// The archive's place in the model.
    #[serde(skip)]
    at: ArchiveId,
    /// Whether a step of its own has failed that says so.
    #[serde(skip)]
    is_told: bool,
}

impl LeftOutReport {
    /// Whether a step of its own has failed that says so.
    pub fn is_told(&self) -> bool {
        self.is_told
    }
}

/// A step, with the effects that the dry run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Its name.
    pub step: String,
    /// What it does.
    #[serde(skip)]
    pub action: Action,
    /// How it ended.
    pub outcome: How,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds, all attempts together.
    pub took_ms: u64,
    /// Attempts made.
    pub attempts: u32,
    /// What it reads.
    pub reads: Vec<String>,
    /// What it writes.
    pub writes: Vec<String>,
    /// What it deletes.
    pub deletes: Vec<String>,
}

impl StepReport {
    /// A step's effects, with nothing said of how it ended.
    pub fn of(step: &Step, outcome: How) -> StepReport {
        StepReport {
            step: step.id.0.clone(),
            action: step.action.clone(),
            outcome,
            reason: None,
            took_ms: 0,
            attempts: 0,
            reads: step.reads.iter().map(ToString::to_string).collect(),
            writes: step.writes.iter().map(ToString::to_string).collect(),
            deletes: step.deletes.iter().map(ToString::to_string).collect(),
        }
    }
}

/// An artefact of the run.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveReport {
    /// The archive's name.
    pub archive: String,
    /// Its file name in the stores.
    pub artefact: String,
    /// Bytes; `None`: it was not packed.
    pub size: Option<u64>,
    /// Entries in it.
    pub entries: u64,
    /// Bytes read for it.
    pub bytes: u64,
    /// SHA-256 of the whole file, hex.
    pub sha256: Option<String>,
    /// Nothing changed since: the earlier run whose artefact this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
}

/// The report of an execution.
pub fn report(model: &Model, run: &str, graph: &StepGraph, execution: &Execution, facts: &Facts) -> Report {
    let steps: Vec<StepReport> =
        graph.in_order().into_iter().map(|step| step_report(step, model, execution, facts)).collect();
    let archives = graph.artefact_names.iter().map(|(id, name)| {
        let fact = facts.archives.get(id);
        let sources = fact.map(|fact| fact.sources.as_slice()).unwrap_or_default();
        let holder = fact.map(|fact| fact.record.holder.to_string()).filter(|holder| holder != run);
        ArchiveReport {
            archive: model.archive(*id).name.clone(),
            artefact: fact.map_or_else(|| name.clone(), |fact| fact.record.artefact.to_string()),
            size: fact.map(|fact| fact.record.size),
            entries: sources.iter().map(|source| source.entries).sum(),
            bytes: sources.iter().map(|source| source.bytes).sum(),
            sha256: fact.and_then(|fact| fact.record.sha256.clone().map(String::from)),
            unchanged_since: holder,
        }
    });
    let of_commit = |step: &StepReport| match step.action {
        Action::Commit(store) => Some(model.store(store).name.clone()),
        _ => None,
    };
    let committed = steps.iter().filter(|step| step.outcome == How::Done).filter_map(of_commit);
    let doubted = |step: &&StepReport| execution.uncertain.iter().any(|id| id.0 == step.step);
    let uncertain = steps.iter().filter(doubted).filter_map(of_commit);
    let mut warnings = facts.warnings.clone();
    warnings.extend(late_trouble(&steps));
    let left_out = facts.left_out.iter().map(|((archive, source), left)| LeftOutReport {
        archive: model.archive(*archive).name.clone(),
        source: model.source(*source).name.clone(),
        reason: left.reason.clone(),
        at: *archive,
        is_told: left.is_told,
    });
    Report {
        left_out: left_out.collect(),
        plan: model.name.clone(),
        run: run.to_owned(),
        verdict: verdict(&steps, execution, facts, &warnings),
        whole: is_whole(&steps, facts),
        is_there: is_there(&steps, facts),
        archives: archives.collect(),
        committed: committed.collect(),
        uncertain: uncertain.collect(),
        warnings,
        steps,
    }
}

fn step_report(step: &Step, model: &Model, execution: &Execution, facts: &Facts) -> StepReport {
    let nothing =
        |outcome| StepReport { writes: Vec::new(), deletes: Vec::new(), ..StepReport::of(step, outcome) };
    let Some(ended) = execution.steps.get(&step.id) else { return nothing(How::NotRun) };
    let (outcome, reason) = ended.outcome.told();
    StepReport {
        reason: reason.map(str::to_owned),
        took_ms: ended.took.as_millis().try_into().unwrap_or(u64::MAX),
        attempts: ended.attempts,
        ..match outcome {
            How::Done => StepReport { writes: written(step, model, facts), ..StepReport::of(step, outcome) },
            // It may have begun, but nothing of it is there for anybody.
            _ => nothing(outcome),
        }
    }
}

/// What a step wrote: artefacts only where they arrived, and none where the backup points to an earlier one.
fn written(step: &Step, model: &Model, facts: &Facts) -> Vec<String> {
    let is_there = |resource: &&Resource| match (&step.action, resource) {
        (Action::Pack(id) | Action::Publish(id, _), _) if facts.is_unchanged(*id) => false,
        (Action::Pack(id) | Action::Publish(id, _), Resource::Object { store, .. }) => {
            let mut reached = facts.reached.iter();
            reached.any(|(archive, at)| archive == id && model.store(*at).name == *store)
        }
        _ => true,
    };
    let named = facts.wrote.get(&step.id).into_iter().flatten().cloned();
    step.writes.iter().filter(is_there).map(ToString::to_string).chain(named).collect()
}

/// Trouble behind the last commit is a warning: the backup exists.
fn is_late(step: &StepReport) -> bool {
    is_late_action(&step.action)
}

/// Whether a step is behind the last commit.
pub(super) fn is_late_action(action: &Action) -> bool {
    matches!(
        action,
        Action::Prune(_)
            | Action::Sync(_)
            | Action::Expire(_)
            | Action::ExpireApart(..)
            | Action::ExpireWal(..)
            | Action::ClearStaging(When::After)
            | Action::Unlock
            | Action::Notify(..)
    )
}

fn late_trouble(steps: &[StepReport]) -> Vec<String> {
    let failed = steps.iter().filter(|step| step.outcome == How::Failed && is_late(step));
    failed.map(|step| format!("`{}`: {}", step.step, step.reason.as_deref().unwrap_or_default())).collect()
}

/// Whether all that the run was to back up is in a store, and in each that did not drop out.
fn is_whole(steps: &[StepReport], facts: &Facts) -> bool {
    let mut commits = steps.iter().filter(|step| matches!(step.action, Action::Commit(_)));
    let is_beside =
        |step: &StepReport| is_late(step) || matches!(step.action, Action::Rehearse(_) | Action::Leave(_));
    commits.any(|step| step.outcome == How::Done)
        && steps.iter().all(|step| step.outcome != How::Failed || is_beside(step))
        && !lacks(steps, facts)
}

/// Whether all that the run was to back up is in a store, whatever became of the others and of what came behind.
fn is_there(steps: &[StepReport], facts: &Facts) -> bool {
    let committed = |store: &StoreId| {
        steps.iter().any(|step| step.action == Action::Commit(*store) && step.outcome == How::Done)
    };
    let has_come =
        |id: &ArchiveId| facts.reached.iter().any(|(archive, store)| archive == id && committed(store));
    let is_beside = |step: &StepReport| {
        let of_one_store =
            matches!(step.action, Action::LockStore(_) | Action::Publish(..) | Action::Commit(_));
        of_one_store || is_late(step) || matches!(step.action, Action::Rehearse(_) | Action::Leave(_))
    };
    let is_made = |step: &StepReport| match &step.action {
        Action::Pack(archive) => has_come(archive),
        _ => step.outcome != How::Failed || is_beside(step),
    };
    let commits = |step: &StepReport| matches!(step.action, Action::Commit(_)) && step.outcome == How::Done;
    steps.iter().any(commits)
        && steps.iter().all(is_made)
        && facts.missing.is_empty()
        && facts.left_out.is_empty()
}

/// Whether something that was to be read was not, or to be brought. That a store went away costs nothing where another has what
/// was to come to it: the next run brings it.
fn lacks(steps: &[StepReport], facts: &Facts) -> bool {
    let has = |store: &StoreId| {
        steps.iter().any(|step| step.action == Action::Commit(*store) && step.outcome == How::Done)
    };
    let is_made_up_for = |archive: ArchiveId, store: StoreId| {
        let is_there = |(id, at): &(ArchiveId, StoreId)| *id == archive && has(at);
        facts.away.contains(&store) && !has(&store) && facts.reached.iter().any(is_there)
    };
    let unbrought = steps.iter().filter_map(|step| match step.action {
        Action::Publish(archive, store) if step.outcome == How::Dropped => Some((archive, store)),
        _ => None,
    });
    let unbrought = unbrought.filter(|(_, store)| facts.away.contains(store));
    let mut lost = facts.lost.keys().copied().chain(unbrought);
    !facts.missing.is_empty()
        || lost.any(|(archive, store)| !is_made_up_for(archive, store))
        || !facts.left_out.is_empty()
}

fn verdict(steps: &[StepReport], execution: &Execution, facts: &Facts, warnings: &[String]) -> Verdict {
    match execution.signal {
        Some(StopSignal::Interrupt) => return Verdict::Interrupted,
        Some(StopSignal::Terminate) => return Verdict::Terminated,
        None => {}
    }
    if execution.busy {
        return Verdict::Busy;
    }
    let failed = steps.iter().any(|step| step.outcome == How::Failed && !is_late(step));
    let nowhere =
        !steps.iter().any(|step| matches!(step.action, Action::Commit(_)) && step.outcome == How::Done);
    // What other nights left to be brought may wait for the next.
    let cut = execution.timed_out
        && steps.iter().any(|step| step.outcome != How::Done && !matches!(step.action, Action::Sync(_)));
    let incomplete = cut || lacks(steps, facts);
    if failed || nowhere || incomplete {
        Verdict::Failed
    } else if warnings.is_empty() {
        Verdict::Done
    } else {
        Verdict::Warnings
    }
}

/// Failed steps with their reasons, by name: what a message to a person is about. Trouble behind the last commit is
/// among the warnings.
pub fn failures(report: &Report) -> BTreeMap<String, String> {
    let failed = report.steps.iter().filter(|step| step.outcome == How::Failed && !is_late(step));
    let mut found: BTreeMap<String, String> =
        failed.map(|step| (step.step.clone(), step.reason.clone().unwrap_or_default())).collect();
    for left in report.left_out.iter().filter(|left| !left.is_told) {
        let text = format!("made without source `{}`: {}", left.source, left.reason);
        let mut packs = report.steps.iter().filter(|step| step.action == Action::Pack(left.at));
        let Some(pack) = packs.next() else { continue };
        let told = found.entry(pack.step.clone()).or_default();
        *told = if told.is_empty() { text } else { format!("{told}; {text}") };
    }
    found
}
