//! What a step hands to those behind it. The steps behind read it from the facts of the run, which are made of nothing else; the
//! journal names it.

use std::collections::BTreeMap;

use backplan_compiler::graph::{Action, Step};
use backplan_compiler::model::{Model, SourceId, StoreId};
use serde_json::{Value, json};

use super::event::Outcome;
use super::facts::{ApartFact, ArchiveFact, Facts, SourceFact};
use crate::catalog::manifest::ArchiveRecord;

/// What a step hands on.
#[derive(Debug, Clone, Default)]
pub enum Output {
    /// Nothing that another step needs.
    #[default]
    Nothing,
    /// Of a scan or a copy.
    Source(Box<SourceOutput>),
    /// Of a copy in a repository of the source's own; what its tool says of it is not known in a dry run.
    Apart(Box<SourceOutput>, Option<ApartFact>),
    /// Of a packing.
    Archive(Box<ArchiveOutput>),
    /// Objects that it wrote and only itself could name, each with its store in front: what tells whose a store is, artefacts of
    /// earlier runs that it lacked, room that it keeps.
    Wrote(Vec<String>),
}

/// What became of a source.
#[derive(Debug, Clone)]
pub struct SourceOutput {
    /// The scan, or the copy.
    pub fact: SourceFact,
    /// What its tool says of the backup.
    pub labels: BTreeMap<String, String>,
    /// Some of it could not be had: the step fails, and what is there is packed.
    pub in_part: bool,
    /// Its tool took all of it, though it was to rest on an earlier backup.
    pub is_whole: bool,
}

impl From<SourceFact> for SourceOutput {
    fn from(fact: SourceFact) -> SourceOutput {
        SourceOutput { fact, labels: BTreeMap::new(), in_part: false, is_whole: false }
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
    pub labels: BTreeMap<SourceId, BTreeMap<String, String>>,
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
            Output::Source(source) => Output::Apart(source, fact),
            other => other,
        }
    }

    /// As the journal tells of it.
    pub fn told(&self) -> Option<Value> {
        match self {
            Output::Nothing => None,
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
        }
    }
}

impl Facts {
    /// Takes what a step came to: the only way by which those behind it, the manifests and the report learn of it.
    pub(super) fn take(&mut self, model: &Model, step: &Step, outcome: &Outcome, output: Output) {
        match (&step.action, output) {
            (Action::Scan(id) | Action::Dump(id), Output::Source(source)) => {
                if source.in_part {
                    self.partly.insert(step.id.clone());
                }
                self.take_source(model, *id, *source);
            }
            (Action::DumpApart(id, store), Output::Apart(source, fact)) => {
                self.made_apart.insert((*id, *store));
                self.apart.extend(fact.map(|fact| ((*id, *store), fact)));
                self.take_source(model, *id, *source);
            }
            (Action::Pack(id), Output::Archive(archive)) => {
                let ArchiveOutput { fact, unchanged, reached, lost, labels } = *archive;
                self.archives.extend(fact.map(|fact| (*id, fact)));
                self.unchanged.extend(unchanged.map(|record| (*id, record)));
                self.reached.extend(reached.into_iter().map(|store| (*id, store)));
                self.lost.extend(lost.into_iter().map(|(store, why)| ((*id, store), why)));
                for (source, labels) in labels {
                    self.labels.entry(source).or_default().extend(labels);
                }
            }
            (_, Output::Wrote(names)) => {
                self.wrote.insert(step.id.clone(), names);
            }
            _ => {}
        }
        self.not_done(step, outcome);
        match outcome {
            Outcome::Done => {
                if let Action::Publish(archive, store) = step.action {
                    self.reached.insert((archive, store));
                }
            }
            Outcome::Failed(reason) | Outcome::NotRun(reason) | Outcome::Dropped(reason) => {
                self.take_failure(model, step, outcome, reason);
            }
        }
    }

    /// Takes what became of a source.
    pub(super) fn take_source(&mut self, model: &Model, id: SourceId, source: SourceOutput) {
        let SourceOutput { fact, labels, is_whole, .. } = source;
        if is_whole {
            self.whole.insert(model.source(id).name.clone());
        }
        if !labels.is_empty() {
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
