//! Walking a tree, and what changed of it since what archives rest on.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use backplan_compiler::model::{ArchiveId, Compare, SourceId};

use super::{Ahead, Doing, Failure, Performed, Scene, Sight, StepPlan, done, measured};
use crate::past::cache::Kept;
use crate::run::parts;
use crate::scan::{self, Beside, Difference, ScanError, ScanReader, Scanned, Trees};

/// A source that is walked.
pub(crate) struct ScanPlan {
    id: SourceId,
    /// What the walk is told; `None`: it is none of files.
    trees: Option<Trees>,
    /// Where the scan is kept.
    out: PathBuf,
}

impl ScanPlan {
    /// Names what is walked.
    pub fn make(scene: Scene<'_>, id: SourceId) -> ScanPlan {
        let (context, source) = (scene.context, scene.model().source(id));
        ScanPlan { id, trees: context.trees(id), out: context.files.tree(source) }
    }
}

impl StepPlan for ScanPlan {
    fn foreseen(self: Box<Self>, ahead: &Ahead<'_>) -> (Sight, Result<Performed, Failure>) {
        let Some(trees) = &self.trees else { return (Sight::default(), done()) };
        let kept = kept(ahead.scene, self.id, trees);
        let mut besides = Besides::of(&kept);
        let summary = match scan::look(trees, &mut |entry| besides.see(entry), ahead.control) {
            Ok(summary) => summary,
            Err(ScanError::Stopped(_)) => return (Sight::default(), Err(Failure::stopped())),
            Err(error) => return (Sight::default(), Err(Failure::lasting(error))),
        };
        let mut sight = Sight::found(measured(summary.entries, summary.bytes));
        sight.warnings.extend(summary.warnings.kept().iter().map(ToString::to_string));
        (sight, Ok(parts::scanned(summary, besides.end())))
    }

    fn carry_out(self: Box<Self>, doing: &Doing<'_>) -> Result<Performed, Failure> {
        let Some(trees) = &self.trees else { return done() };
        let summary = scan::scan(trees, &self.out, doing.control).map_err(|error| match error {
            ScanError::Stopped(_) => Failure::stopped(),
            ScanError::Unreadable { .. }
            | ScanError::Missing { .. }
            | ScanError::Dangling { .. }
            | ScanError::NotMounted { .. }
            | ScanError::Lacking { .. } => Failure::passing(error),
            error => Failure::lasting(error),
        })?;
        for warning in summary.warnings.kept() {
            doing.warn(warning.to_string());
        }
        Ok(parts::scanned(summary, BTreeMap::new()))
    }
}

/// The earlier scans that the archives of a tree would be made against.
fn kept(scene: Scene<'_>, id: SourceId, trees: &Trees) -> Vec<(ArchiveId, Kept)> {
    let (model, levels) = (scene.model(), scene.levels());
    let archives = (0..model.archives.len()).map(ArchiveId);
    let archives = archives.filter(|archive| model.archive(*archive).from.contains(&id));
    // Where contents decide, a look tells nothing.
    let archives = archives.filter(|_| trees.files.compare == Compare::Mtime);
    archives.filter_map(|at| Some((at, levels.scan(at, &trees.source)?.clone()))).collect()
}

/// Earlier scans beside the one walk that measures a tree: one for each archive.
struct Besides<'a>(Vec<(ArchiveId, io::Result<Beside<'a>>)>);

impl<'a> Besides<'a> {
    /// Those that can be read.
    fn of(kept: &'a [(ArchiveId, Kept)]) -> Besides<'a> {
        let open = |kept: &'a Kept| Beside::of(ScanReader::open(&kept.scan)?, &kept.doubts);
        Besides(kept.iter().map(|(archive, kept)| (*archive, open(kept))).collect())
    }

    /// The next entry of the walk.
    fn see(&mut self, entry: &Scanned) {
        for (_, beside) in &mut self.0 {
            if let Ok(open) = beside
                && let Err(error) = open.see(entry)
            {
                *beside = Err(error);
            }
        }
    }

    /// What was found; of a scan that cannot be read nothing is known.
    fn end(self) -> BTreeMap<ArchiveId, Difference> {
        let ended = |(archive, beside): (ArchiveId, io::Result<Beside<'_>>)| {
            Some((archive, beside.and_then(Beside::end).ok()?))
        };
        self.0.into_iter().filter_map(ended).collect()
    }
}
