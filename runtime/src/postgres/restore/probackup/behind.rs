//! The log behind the backups in a catalogue that is kept apart: how far it leads from each, and where its last commit is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::cluster::ClusterError;
use super::super::log;
use super::super::log::commits::Tail;
use super::super::log::repository::{self, RepositoryLog};
use super::super::repositories::based;
use super::super::tool::{ToolWish, wanted};
use super::super::window::Base;
use super::{Found, Made};
use crate::catalog::ids::RunId;
use crate::postgres::recovery::Timeline;
use crate::postgres::wal::expiry;

/// The log of each catalogue that backups are in.
pub(super) struct Behind {
    logs: Vec<log::Log<RepositoryLog<'static>>>,
    bases: BTreeMap<RunId, expiry::Base>,
}

impl Behind {
    /// Reads it, and tells the backups how far it leads from them. One that cannot be read says nothing here: its tool will say why.
    pub(super) fn read(wish: &ToolWish, found: &mut Found<'_>) -> Result<Behind, ClusterError> {
        let mut catalogues: BTreeMap<PathBuf, Vec<(RunId, expiry::Base, Option<String>)>> = BTreeMap::new();
        for (run, made) in found.iter() {
            let of_run = made.kept.as_ref().zip(based(made.manifest, &wish.source));
            if let Some((kept, (base, id))) = of_run {
                catalogues.entry(kept.clone()).or_default().push((*run, base, id));
            }
        }
        let mut behind = Behind { logs: Vec::new(), bases: BTreeMap::new() };
        for (kept, all) in catalogues {
            let ids: Vec<repository::Based<'_>> =
                all.iter().map(|(_, base, id)| (base, id.as_deref())).collect();
            let opened = RepositoryLog::open(&kept.display().to_string(), repository::catalogue(&kept), &ids);
            let Ok(log) = opened.and_then(|log| log::Log::read(vec![log])) else { continue };
            if log.size().0 == 0 {
                continue;
            }
            for (run, base, _) in &all {
                let lead = log.lead(base, wanted(wish.recovery.timeline, base))?;
                if let Some(made) = found.get_mut(run) {
                    made.base.reach = Some(lead);
                }
            }
            behind.bases.extend(all.into_iter().map(|(run, base, _)| (run, base)));
            behind.logs.push(log);
        }
        Ok(behind)
    }

    /// The end of the log that recovery from a backup comes to.
    pub(super) fn tail(&self, wish: &ToolWish, chosen: &Base, made: &Made<'_>) -> Tail {
        let is_asked = wish.recovery.point.is_moment() && made.kept.is_some();
        let base = self.bases.get(&chosen.run).filter(|_| is_asked);
        let (Some(base), Some(log)) = (base, self.logs.first()) else { return Tail::Unknown };
        log.tail(base, chosen.reach.map(|reach| reach.timeline))
    }

    /// Timelines that go on beside the one that is followed, where none was asked for.
    pub(super) fn apart(&self, wish: &ToolWish, chosen: &Base) -> Result<Vec<String>, ClusterError> {
        let reach = chosen.reach.filter(|_| wish.recovery.timeline == Timeline::Latest);
        let (Some(reach), Some(log)) = (reach, self.logs.first()) else { return Ok(Vec::new()) };
        Ok(log.apart(&self.bases, chosen.run, reach.timeline)?)
    }
}
