//! What a step hands to those behind it. The steps behind read it from the facts of the run, which are made of nothing else; the
//! journal names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_compiler::graph::{Action, Step};
use backplan_compiler::model::{ArchiveId, Model, SourceId, StoreId};
use serde_json::{Value, json};

use super::coordinator::{Failure, Performed};
use super::event::Outcome;
use super::facts::{ApartFact, ArchiveFact, Facts, SourceFact};
use super::steps::pack::Estimate;
use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::catalog::manifest::ArchiveRecord;
use crate::catalog::prune::Current;
use crate::scan::Difference;

/// What a step hands on.
#[derive(Debug, Clone, Default)]
pub enum Output {
    /// Nothing that another step needs.
    #[default]
    Nothing,
    /// Of a scan or a copy.
    Source(Box<SourceOutput>),
    /// Of a copy in a repository of the source's own; what its tool says of it is not known in a dry run.
    Apart(Box<SourceOutput>, Option<Box<ApartFact>>),
    /// Of a packing.
    Archive(Box<ArchiveOutput>),
    /// Objects that it wrote and only itself could name, each with its store in front: what tells whose a store is, artefacts of
    /// earlier runs that it lacked, room that it keeps.
    Wrote(Vec<String>),
    /// Of a store that failed: nothing of the run makes sense without it.
    Hopeless,
    /// Stores that the run goes on without, as what a dead run left there could not be taken back.
    GivenUp(BTreeSet<StoreId>),
    /// The runs that a store does not have any more, or would not.
    Pruned(BTreeSet<RunId>),
    /// In a dry run: a staging that would be taken into use, with what tells it from another.
    TakesStaging(PathBuf, u64),
    /// In a dry run: this run, as a store would have it.
    Coming(Box<Current>),
}

/// What became of a source.
#[derive(Debug, Clone)]
pub struct SourceOutput {
    /// The scan, or the copy.
    pub fact: SourceFact,
    /// What its tool says of the backup.
    pub labels: Labels,
    /// Some of it could not be had: the step fails with this, and what is there is packed.
    pub in_part: Option<Failure>,
    /// Its tool took all of it, though it was to rest on an earlier backup.
    pub is_whole: bool,
    /// In a dry run: what changed of it since what archives would rest on.
    pub differences: BTreeMap<ArchiveId, Difference>,
}

impl From<SourceFact> for SourceOutput {
    fn from(fact: SourceFact) -> SourceOutput {
        let (labels, differences) = (Labels::default(), BTreeMap::new());
        SourceOutput { fact, labels, in_part: None, is_whole: false, differences }
    }
}

impl From<Output> for Performed {
    fn from(output: Output) -> Performed {
        let failure = match &output {
            Output::Source(source) => source.in_part.clone(),
            _ => None,
        };
        match failure {
            None => Performed::Done(output),
            Some(failure) => Performed::InPart(output, failure),
        }
    }
}

impl From<SourceOutput> for Output {
    fn from(output: SourceOutput) -> Output {
        Output::Source(Box::new(output))
    }
}

impl From<SourceFact> for Output {
    fn from(fact: SourceFact) -> Output {
        SourceOutput::from(fact).into()
    }
}

/// What became of an archive.
#[derive(Debug, Clone, Default)]
pub struct ArchiveOutput {
    /// What was packed; `None`, in a dry run: that is known once it is.
    pub fact: Option<ArchiveFact>,
    /// Nothing changed: what its base says of it.
    pub unchanged: Option<ArchiveRecord>,
    /// The stores that have its artefact by that.
    pub reached: Vec<StoreId>,
    /// Stores that took none though others did, and why.
    pub lost: Vec<(StoreId, String)>,
    /// What is known of sources since they were packed.
    pub labels: BTreeMap<SourceId, Labels>,
    /// In a dry run: how much would be in it.
    pub estimate: Option<Estimate>,
}

impl From<ArchiveOutput> for Output {
    fn from(output: ArchiveOutput) -> Output {
        Output::Archive(Box::new(output))
    }
}

impl Output {
    /// The same of a copy that was made in a repository of the source's own.
    pub(super) fn kept_apart(self, fact: Option<ApartFact>) -> Output {
        match self {
            Output::Source(source) => Output::Apart(source, fact.map(Box::new)),
            other => other,
        }
    }

    /// As the journal tells of it.
    pub fn told(&self) -> Option<Value> {
        match self {
            Output::Source(source) | Output::Apart(source, _) => match &source.fact {
                SourceFact::Scanned(summary) => {
                    Some(json!({ "entries": summary.entries, "bytes": summary.bytes }))
                }
                SourceFact::Dumped(path, bytes) => {
                    Some(json!({ "copy": path.to_string_lossy(), "bytes": bytes }))
                }
                _ => None,
            },
            Output::Archive(archive) => {
                let record = &archive.fact.as_ref()?.record;
                Some(json!({ "artefact": record.artefact, "size": record.size, "root": record.root }))
            }
            Output::Wrote(names) => (!names.is_empty()).then(|| json!({ "wrote": names })),
            Output::Nothing
            | Output::Hopeless
            | Output::GivenUp(_)
            | Output::Pruned(_)
            | Output::TakesStaging(..)
            | Output::Coming(_) => None,
        }
    }
}

impl Facts {
    /// Takes what a step came to: the only way by which those behind it, the manifests and the report learn of it.
    pub(super) fn take(&mut self, model: &Model, step: &Step, outcome: &Outcome, output: Output) {
        match (&step.action, output) {
            (Action::Scan(id) | Action::Dump(id), Output::Source(source)) => {
                if source.in_part.is_some() {
                    self.partly.insert(step.id.clone());
                }
                self.take_source(model, *id, *source);
            }
            (Action::DumpApart(id, store), Output::Apart(source, fact)) => {
                self.made_apart.insert((*id, *store));
                self.apart.extend(fact.map(|fact| ((*id, *store), *fact)));
                self.take_source(model, *id, *source);
            }
            (Action::Pack(id), Output::Archive(archive)) => {
                let ArchiveOutput { fact, unchanged, reached, lost, labels, estimate } = *archive;
                self.ahead.estimates.extend(estimate.map(|estimate| (*id, estimate)));
                self.archives.extend(fact.map(|fact| (*id, fact)));
                self.unchanged.extend(unchanged.map(|record| (*id, record)));
                self.reached.extend(reached.into_iter().map(|store| (*id, store)));
                self.lost.extend(lost.into_iter().map(|(store, why)| ((*id, store), why)));
                for (source, labels) in labels {
                    self.labels.entry(source).or_default().extend(labels);
                }
            }
            (Action::Prune(id), Output::Pruned(runs)) => {
                self.pruned.insert(*id, runs);
            }
            (Action::Commit(id), Output::Coming(run)) => {
                self.ahead.coming.insert(*id, *run);
            }
            (_, Output::Wrote(names)) => {
                self.wrote.insert(step.id.clone(), names);
            }
            (_, Output::Hopeless) => self.is_hopeless = true,
            (_, Output::GivenUp(stores)) => self.given_up.extend(stores),
            (_, Output::TakesStaging(path, inode)) => self.ahead.staging = Some((path, inode)),
            _ => {}
        }
        self.not_done(step, outcome);
        match outcome {
            Outcome::Done => match step.action {
                Action::Publish(archive, store) => {
                    self.reached.insert((archive, store));
                }
                Action::Commit(store) => {
                    self.committed.insert(store);
                }
                _ => {}
            },
            Outcome::Failed(reason) | Outcome::NotRun(reason) | Outcome::Dropped(reason) => {
                self.take_failure(model, step, outcome, reason);
            }
        }
    }

    /// Takes what became of a source.
    pub(super) fn take_source(&mut self, model: &Model, id: SourceId, source: SourceOutput) {
        let SourceOutput { fact, labels, is_whole, differences, .. } = source;
        let differences = differences.into_iter();
        self.ahead.differences.extend(differences.map(|(archive, found)| ((archive, id), found)));
        if is_whole {
            self.whole.insert(model.source(id).name.clone());
        }
        if labels != Labels::default() {
            self.labels.insert(id, labels);
        }
        self.sources.insert(id, fact);
    }

    fn take_failure(&mut self, model: &Model, step: &Step, outcome: &Outcome, reason: &str) {
        match step.action {
            Action::Scan(source) | Action::Dump(source) if !self.is_partly_done(&step.id) => {
                self.sources.insert(source, SourceFact::Failed(reason.to_owned()));
            }
            Action::DumpApart(source, store) => {
                self.not_apart.insert((source, store), reason.to_owned());
                if !self.is_copied(source) {
                    self.sources.insert(source, SourceFact::Failed(reason.to_owned()));
                }
            }
            Action::Pack(archive) => {
                for source in &model.archive(archive).from {
                    // A program's source fails with the pack that reads it.
                    if matches!(self.sources.get(source), Some(SourceFact::Read | SourceFact::Streamed(_))) {
                        self.sources.insert(*source, SourceFact::Failed(reason.to_owned()));
                    }
                }
                self.missing.insert(archive, reason.to_owned());
            }
            // What was not run suffers from something that is told elsewhere, or from a store that may be left out.
            Action::Publish(archive, store) if matches!(outcome, Outcome::Failed(_)) => {
                self.lost.insert((archive, store), reason.to_owned());
            }
            _ => {}
        }
    }
}
