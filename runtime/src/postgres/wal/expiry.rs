//! What of an archive no kept backup needs.

use jiff::{SignedDuration, Timestamp};

use super::WalError;
use super::archive::Archive;
use super::cluster::ClusterId;
use super::held::HeldFile;
use super::lsn::Lsn;
use super::name::{Segment, WalName};
use super::survey::{Begin, Start, Survey, oldest_needed};
use crate::catalog::manifest::Manifest;

/// A base backup of a run, as its labels tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The cluster.
    pub cluster: ClusterId,
    /// When it was whole, by the server's clock.
    pub ended: Timestamp,
    /// The timeline it was made on.
    pub timeline: u32,
    /// The first segment that it needs.
    pub first: Segment,
    /// The place in it where it began, where that is known.
    pub start: Option<Lsn>,
    /// Where it was whole.
    pub stop: Lsn,
    /// Whether it has the log up to there itself.
    pub has_own: bool,
}

impl Base {
    /// The base backup that a run has of a source; `None` where it has none, or does not say all of this.
    pub fn of(run: &Manifest, source: &str) -> Option<Base> {
        let record = run.cluster(source)?;
        let (labels, apart) = (record.labels(), record.facts().and_then(|facts| facts.apart));
        let major = labels.server_version.as_ref()?.split(|c: char| !c.is_ascii_digit()).next()?.to_owned();
        let WalName::Segment(first) = labels.wal_start.as_ref()?.parse().ok()? else { return None };
        Some(Base {
            cluster: ClusterId { system: labels.system_id.as_ref()?.parse().ok()?, major },
            ended: labels.ended().unwrap_or(run.finished),
            timeline: first.timeline,
            first,
            start: labels.lsn_start.as_ref().and_then(|text| text.parse().ok()),
            stop: labels.lsn_stop.as_ref()?.parse().ok()?,
            has_own: apart.is_none_or(|apart| !apart.wants_log),
        })
    }

    /// Where recovery goes on behind it.
    pub fn begin(&self) -> Begin {
        Begin { timeline: self.timeline, stop: self.stop, has_own: self.has_own }
    }
}

/// What of a cluster's log nobody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The cluster.
    pub cluster: ClusterId,
    /// The first segment that stays.
    pub kept_from: Segment,
    /// The files that go, in the order in which they do: the oldest first, so that a deletion that is cut short leaves no hole.
    pub files: Vec<(WalName, HeldFile)>,
}

/// What of an archive may go. `bases` are all that are kept, anywhere; a cluster with none loses nothing, as its first may be
/// under way.
///
/// # Errors
/// When the archive cannot be read.
pub fn expired(
    archive: &Archive,
    bases: &[Base],
    keep: u64,
    immutable: Option<u64>,
    now: Timestamp,
) -> Result<Vec<Expired>, WalError> {
    let mut gone = Vec::new();
    for cluster in archive.clusters()? {
        let own: Vec<&Base> = bases.iter().filter(|base| base.cluster == cluster).collect();
        let Some(newest) = own.iter().max_by_key(|base| base.ended) else { continue };
        let survey = Survey::of(archive, &cluster)?;
        let is_way = |base: &Base| survey.leads(base.begin(), newest.timeline);
        let start = |base: &&Base| Start { ended: base.ended, segment: base.first, is_way: is_way(base) };
        let starts: Vec<Start> = own.iter().map(start).collect();
        let Some(oldest) = oldest_needed(&starts, keep) else { continue };
        let listed = archive.list(&cluster)?;
        let mut files = Vec::new();
        for segment in survey.unneeded(oldest) {
            let name = WalName::Segment(segment);
            let Some(held) = listed.get(&name).copied() else { continue };
            if let Some(seconds) = immutable {
                let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                let archived = archive.closing(&cluster, name, held)?.archived;
                // What is behind a young one stays too, or there would be a hole.
                if archived.checked_add(span).map_or(true, |until| until > now) {
                    break;
                }
            }
            files.push((name, held));
        }
        files.extend(listed.iter().map(|(name, held)| (*name, *held)).filter(|(name, _)| match name {
            WalName::Partial(segment) | WalName::Backup(segment, _) => {
                immutable.is_none() && segment.place() < oldest.place()
            }
            WalName::Segment(_) | WalName::History(_) => false,
        }));
        gone.push(Expired { cluster, kept_from: oldest, files });
    }
    Ok(gone)
}
