//! What the last run of a plan came to, in numbers: from the newest manifest, and from what this host knows of runs that left
//! none.

use backplan_compiler::model::Level;
use jiff::Timestamp;
use serde::Serialize;

use crate::backups::shelf::Shelves;
use crate::catalog::manifest::{Manifest, SourceRecord};
use crate::past::history::{End, PastRun};

/// The last run that anybody knows of.
#[derive(Debug, Clone, Serialize)]
pub struct LastRun {
    /// Its id; one that could not begin has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it left in the stores; `None`: nothing.
    #[serde(flatten)]
    pub made: Option<Made>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Everything is backed up.
    Done,
    /// It is, and there were warnings.
    Warnings,
    /// A source or a store failed.
    Failed,
    /// A signal stopped it.
    Stopped,
    /// It never came to its end.
    Died,
    /// It could not begin.
    Refused,
}

impl RunOutcome {
    /// All of them.
    pub const ALL: [RunOutcome; 6] = [
        RunOutcome::Done,
        RunOutcome::Warnings,
        RunOutcome::Failed,
        RunOutcome::Stopped,
        RunOutcome::Died,
        RunOutcome::Refused,
    ];

    /// As programs are told.
    pub fn word(self) -> &'static str {
        match self {
            RunOutcome::Done => "done",
            RunOutcome::Warnings => "warnings",
            RunOutcome::Failed => "failed",
            RunOutcome::Stopped => "stopped",
            RunOutcome::Died => "died",
            RunOutcome::Refused => "refused",
        }
    }

    fn of(end: End) -> RunOutcome {
        match end {
            End::Refused => RunOutcome::Refused,
            End::Failed => RunOutcome::Failed,
            End::Warnings => RunOutcome::Warnings,
            End::Stopped => RunOutcome::Stopped,
            End::Died => RunOutcome::Died,
        }
    }
}

/// What a run left in the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Milliseconds until it was ready to commit.
    pub took_ms: u64,
    /// Bytes of the artefacts that it made.
    pub stored_bytes: u64,
    /// Bytes of its sources.
    pub source_bytes: u64,
    /// Entries of its sources.
    pub entries: u64,
    /// Those that are no folders; `None`: not every source tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// What a person should have read.
    pub warnings: u64,
}

impl Made {
    /// Of a run, as its manifest tells it.
    pub fn of(manifest: &Manifest) -> Made {
        let own = manifest.archives.iter().filter(|archive| archive.holder == manifest.run);
        let sum = |each: &mut dyn Iterator<Item = u64>| each.fold(0_u64, u64::saturating_add);
        let took = manifest.finished.as_millisecond() - manifest.started.as_millisecond();
        let told = manifest.warnings.or_else(|| Some(manifest.details().ok()?.warnings.total));
        Made {
            took_ms: u64::try_from(took).unwrap_or(0),
            stored_bytes: sum(&mut own.map(|archive| archive.size)),
            source_bytes: sum(&mut manifest.sources.iter().map(|source| source.bytes)),
            entries: sum(&mut manifest.sources.iter().map(|source| source.entries)),
            files: manifest
                .sources
                .iter()
                .map(|source| source.leaves)
                .try_fold(0, |sum: u64, own| Some(sum.saturating_add(own?))),
            warnings: told.unwrap_or(0),
        }
    }
}

/// How a run ended, as its manifest tells it: for machines that only look.
pub fn outcome(manifest: &Manifest) -> RunOutcome {
    use crate::catalog::manifest::SourceStatus::Failed;
    let lacks = manifest.sources.iter().any(|source| source.status == Failed || source.missing > 0);
    match Made::of(manifest).warnings {
        _ if lacks => RunOutcome::Failed,
        0 => RunOutcome::Done,
        _ => RunOutcome::Warnings,
    }
}

/// What packing saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Compression {
    /// Bytes of sources.
    pub source_bytes: u64,
    /// Bytes of the artefacts that hold them, and nothing else; never 0.
    pub stored_bytes: u64,
}

/// What packing saved in the newest run that stored sources whole: an artefact of what changed tells nothing of it.
pub fn compression(shelves: &Shelves) -> Option<Compression> {
    let told = |run: &Manifest| {
        let mut sum = Compression { source_bytes: 0, stored_bytes: 0 };
        let own = run.archives.iter().filter(|archive| archive.holder == run.run);
        for archive in own.filter(|archive| archive.contents.iter().all(|one| one.level == Level::Full)) {
            let of = |source: &&SourceRecord| archive.contents.iter().any(|one| one.source == source.name);
            let bytes = run.sources.iter().filter(of).map(|source| source.bytes);
            sum.source_bytes = bytes.fold(sum.source_bytes, u64::saturating_add);
            sum.stored_bytes = sum.stored_bytes.saturating_add(archive.size);
        }
        (sum.source_bytes > 0 && sum.stored_bytes > 0).then_some((run.run, sum))
    };
    let newest = shelves.shelves.iter().filter_map(|shelf| shelf.catalog.runs().rev().find_map(told));
    newest.max_by_key(|(run, _)| *run).map(|(_, sum)| sum)
}

/// The last run; `unclean` is what this host knows of runs that did not end well, newest first.
pub fn last_run(shelves: &Shelves, unclean: &[PastRun]) -> Option<LastRun> {
    let newest =
        shelves.shelves.iter().filter_map(|shelf| shelf.catalog.runs().next_back()).max_by_key(|run| run.run);
    let own = unclean.iter().max_by_key(|past| past.began);
    match (newest, own) {
        (Some(manifest), own) if own.is_none_or(|own| own.began <= manifest.started) => {
            let run = manifest.run.to_string();
            let told = own.filter(|own| own.run.as_ref() == Some(&run));
            let outcome = told.map_or_else(|| outcome(manifest), |own| RunOutcome::of(own.end));
            let made = Some(Made::of(manifest));
            Some(LastRun { run: Some(run), started: manifest.started, outcome, made })
        }
        (_, Some(own)) => {
            let (run, started, outcome) = (own.run.clone(), own.began, RunOutcome::of(own.end));
            let manifests = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
            let mut manifests = manifests.filter(|manifest| Some(manifest.run.to_string()) == run);
            Some(LastRun { made: manifests.next().map(Made::of), run, started, outcome })
        }
        (_, None) => None,
    }
}
