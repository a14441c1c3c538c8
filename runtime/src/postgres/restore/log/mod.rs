//! How far the archived log leads beyond base backups: for `status`, and for whoever chooses a base to recover from.

pub mod apart;
pub mod backlog;
pub mod check;
pub mod commits;
pub mod near;
pub mod repository;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use backplan_compiler::model::{Model, Postgres, Wal};
use jiff::Timestamp;
use serde::Serialize;

use self::backlog::Backlog;
use self::check::CheckedLog;
use self::commits::Tail;
use super::window::{self, Span};
use crate::backups::shelf::{Shelf, Shelves};
use crate::catalog::ids::RunId;
use crate::catalog::manifest::Manifest;
use crate::moment::shown;
use crate::postgres::wal::WalError;
use crate::postgres::wal::archive::{self, Access, Archive};
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::expiry::Base;
use crate::postgres::wal::lsn::Lsn;
use crate::postgres::wal::name::{Segment, WalName};
use crate::postgres::wal::survey::{Missing, Reach, Survey};
use crate::store::Patience;

/// A place that has a log.
pub trait Holder {
    /// How messages call it.
    fn label(&self) -> &str;

    /// The clusters whose log it has.
    ///
    /// # Errors
    /// When that cannot be told.
    fn clusters(&self) -> Result<Vec<ClusterId>, WalError>;

    /// What it has of a cluster's log, and what of that cannot be read.
    ///
    /// # Errors
    /// When that cannot be told.
    fn survey(&self, cluster: &ClusterId) -> Result<(Survey, Vec<WalError>), WalError>;

    /// What stands in it that is no part of a log and may stand for one, in words.
    ///
    /// # Errors
    /// When that cannot be told.
    fn strange(&self) -> Result<Vec<String>, WalError> {
        Ok(Vec::new())
    }

    /// Whether it is to have all that others have.
    fn is_copy(&self) -> bool;

    /// When a segment was archived; `None`: it is not there.
    ///
    /// # Errors
    /// When that cannot be told.
    fn archived(&self, cluster: &ClusterId, segment: Segment) -> Result<Option<Timestamp>, WalError>;

    /// A segment as the server wrote it; `None`: it is not there, or cannot be read.
    fn bytes(&self, cluster: &ClusterId, segment: Segment) -> Option<Vec<u8>>;
}

impl Holder for Archive {
    fn label(&self) -> &str {
        &self.label
    }

    fn clusters(&self) -> Result<Vec<ClusterId>, WalError> {
        Archive::clusters(self)
    }

    fn survey(&self, cluster: &ClusterId) -> Result<(Survey, Vec<WalError>), WalError> {
        Survey::of_what_can_be_read(self, cluster)
    }

    fn strange(&self) -> Result<Vec<String>, WalError> {
        Archive::strange(self)
    }

    fn is_copy(&self) -> bool {
        true
    }

    fn archived(&self, cluster: &ClusterId, segment: Segment) -> Result<Option<Timestamp>, WalError> {
        let name = WalName::Segment(segment);
        match self.find(cluster, name)? {
            Some(held) => Ok(Some(self.closing(cluster, name, held)?.archived)),
            None => Ok(None),
        }
    }

    fn bytes(&self, cluster: &ClusterId, segment: Segment) -> Option<Vec<u8>> {
        let name = WalName::Segment(segment);
        let mut whole = Vec::new();
        let read = self.fetch(cluster, name, |bytes| {
            whole.extend_from_slice(bytes);
            Ok(())
        });
        read.ok().flatten().map(|_| whole)
    }
}

/// All places that have one source's log, taken together: what one misses, another may have.
pub struct Log<H = Archive> {
    holders: Vec<(H, BTreeMap<ClusterId, Survey>)>,
    surveys: BTreeMap<ClusterId, Survey>,
    /// What of it could not be read, in words.
    unread: Vec<String>,
}

/// How far recovery from a base leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// The last moment: that of the archiving of the last segment, or the end of the base itself.
    pub until: Timestamp,
    /// The last segment; `None`: none but the base's own.
    pub last: Option<Segment>,
    /// Where that ends.
    pub end: Lsn,
    /// What keeps recovery from going on.
    pub missing: Option<Missing>,
    /// The timeline that it follows.
    pub timeline: u32,
    /// Whether there is a way to that.
    pub is_way: bool,
}

impl Lead {
    /// Along the log of a base's cluster, to the newest timeline or the one that is wanted; without one the base leads to its own end.
    /// `archived` says when a segment was.
    ///
    /// # Errors
    /// Those of `archived`.
    pub fn of(
        base: &Base,
        timeline: Option<u32>,
        survey: Option<&Survey>,
        archived: impl FnOnce(Segment) -> Result<Option<Timestamp>, WalError>,
    ) -> Result<Lead, WalError> {
        let own = Lead {
            until: base.ended,
            last: None,
            end: base.stop,
            missing: None,
            timeline: timeline.unwrap_or(base.timeline),
            is_way: timeline.is_none_or(|timeline| timeline == base.timeline),
        };
        let Some(survey) = survey else { return Ok(own) };
        let Reach { last, missing, timeline, is_way, .. } = survey.reach(base.begin(), timeline);
        let Some(last) = last else { return Ok(Lead { missing, timeline, is_way, ..own }) };
        let until = archived(last)?.unwrap_or(base.ended).max(base.ended);
        Ok(Lead { until, last: Some(last), end: last.end(survey.bytes), missing, timeline, is_way })
    }
}

impl<H: Holder> Log<H> {
    /// Reads what there is. What cannot be read in one of them keeps nothing from being read in the others.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn read(holders: Vec<H>) -> Result<Log<H>, WalError> {
        let mut log = Log { holders: Vec::new(), surveys: BTreeMap::new(), unread: Vec::new() };
        let mut failed = None;
        for holder in holders {
            match log.survey(&holder) {
                Ok(own) => log.holders.push((holder, own)),
                Err(error) => {
                    log.unread.push(error.to_string());
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            Some(error) if log.holders.is_empty() => Err(error),
            _ => Ok(log),
        }
    }

    fn survey(&mut self, holder: &H) -> Result<BTreeMap<ClusterId, Survey>, WalError> {
        let mut own = BTreeMap::new();
        for cluster in holder.clusters()? {
            let (found, troubles) = holder.survey(&cluster)?;
            self.unread.extend(troubles.iter().map(ToString::to_string));
            own.insert(cluster, found);
        }
        self.unread.extend(holder.strange()?);
        for (cluster, found) in &own {
            match self.surveys.get_mut(cluster) {
                Some(survey) => survey.add(found),
                None => drop(self.surveys.insert(cluster.clone(), found.clone())),
            }
        }
        Ok(own)
    }

    /// What of it could not be read, in words.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// What was read.
    pub(super) fn into_holders(self) -> Vec<H> {
        self.holders.into_iter().map(|(holder, _)| holder).collect()
    }

    /// How far recovery from a base leads, to the newest timeline or the one that is wanted.
    ///
    /// # Errors
    /// When the last segment does not say when it was archived.
    pub fn lead(&self, base: &Base, timeline: Option<u32>) -> Result<Lead, WalError> {
        let survey = self.surveys.get(&base.cluster);
        Lead::of(base, timeline, survey, |last| self.archived(&base.cluster, last))
    }

    /// When a segment was archived, in the place where it was last.
    fn archived(&self, cluster: &ClusterId, segment: Segment) -> Result<Option<Timestamp>, WalError> {
        let (mut archived, mut failed) = (None, None);
        for (holder, _) in &self.holders {
            match holder.archived(cluster, segment) {
                Ok(found) => archived = archived.max(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            // One that cannot say it is told of elsewhere.
            Some(error) if archived.is_none() => Err(error),
            _ => Ok(archived),
        }
    }

    /// Segments of all clusters, and the bytes they take.
    pub fn size(&self) -> (usize, u64) {
        self.surveys.values().fold((0, 0), |all, one| (all.0 + one.segments.len(), all.1 + one.size))
    }

    /// The end of the log that recovery from a base comes to.
    pub fn tail(&self, base: &Base, timeline: Option<u32>) -> Tail {
        let Some(survey) = self.surveys.get(&base.cluster) else { return Tail::Nothing };
        commits::tail(&survey.reach(base.begin(), timeline).recent, |segment| {
            self.holders.iter().find_map(|(holder, _)| holder.bytes(&base.cluster, segment))
        })
    }

    /// What recovery from these backups misses.
    pub fn missing<'b>(&self, bases: impl IntoIterator<Item = &'b Base>) -> Vec<String> {
        let mut holes: Vec<Segment> = bases
            .into_iter()
            .filter_map(|base| match self.surveys.get(&base.cluster)?.reach(base.begin(), None).missing? {
                Missing::Hole(segment) => Some(segment),
                Missing::GivenUp(_) => None,
            })
            .collect();
        holes.sort();
        holes.dedup();
        let orphans = self.surveys.values().flat_map(Survey::without_history);
        holes.into_iter().map(hole).chain(orphans.map(without_history)).collect()
    }

    /// What keeps recovery from going on, or makes it go where nobody wants it to; and what single places lack.
    ///
    /// # Errors
    /// When a segment does not say when it was archived.
    pub fn troubles(&self, leads: &[(&Base, Lead)]) -> Result<Vec<String>, WalError> {
        let mut told = self.missing(leads.iter().map(|(base, _)| *base));
        told.extend(self.growing(leads)?);
        told.extend(self.beyond(leads)?);
        told.extend(self.surveys.keys().filter_map(|cluster| left_behind(cluster, leads)));
        told.extend(self.lacking());
        Ok(told)
    }

    /// Segments that were archived behind all that recovery leads to.
    fn beyond(&self, leads: &[(&Base, Lead)]) -> Result<Option<String>, WalError> {
        let mut newest: Option<(Timestamp, Segment)> = None;
        for (cluster, survey) in &self.surveys {
            for segment in survey.ends().into_values() {
                newest = newest.max(self.archived(cluster, segment)?.map(|archived| (archived, segment)));
            }
        }
        let until = leads.iter().map(|(_, lead)| lead.until).max();
        let (Some((archived, segment)), Some(until)) = (newest, until) else { return Ok(None) };
        let is_led_to = leads.iter().any(|(_, lead)| lead.last == Some(segment));
        Ok((!is_led_to && archived > until).then(|| {
            format!(
                "segments arrive that no backup leads to, the last of them `{segment}` at {}: what can be recovered \
                 ends at {}; a run makes a backup to go on from",
                shown(archived),
                shown(until)
            )
        }))
    }

    /// What single places lack of what others have.
    fn lacking(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (holder, own) in self.holders.iter().filter(|(holder, _)| holder.is_copy()) {
            let mut lacks: Vec<Segment> = Vec::new();
            for (cluster, all) in &self.surveys {
                let none = Survey::new(all.bytes);
                lacks.extend(own.get(cluster).unwrap_or(&none).lacks(all));
            }
            if let Some(first) = lacks.iter().min() {
                told.push(format!(
                    "store `{}` lacks {} of the segments that another has, the first `{first}`: the next run brings them there",
                    holder.label(),
                    lacks.len()
                ));
            }
        }
        told
    }
}

/// Of a newest backup that is of a past which was left: the cluster was recovered to a moment before it, and goes on from there.
fn left_behind(cluster: &ClusterId, leads: &[(&Base, Lead)]) -> Option<String> {
    let own = || leads.iter().filter(|(base, _)| base.cluster == *cluster);
    let (newest, lead) = own().max_by_key(|(base, _)| base.ended)?;
    let (from, further) = own().max_by_key(|(_, lead)| lead.until)?;
    (further.until > lead.until && further.timeline != lead.timeline).then(|| {
        format!(
            "the newest backup is of timeline {}, behind the place where timeline {} left it, which goes on: what is there \
             now is recovered from the backup of {}; a run makes one to go on from",
            newest.timeline,
            further.timeline,
            shown(from.ended)
        )
    })
}

/// What a segment that is missing means.
pub(super) fn hole(segment: Segment) -> String {
    format!("segment `{segment}` is missing: recovery from a backup before it stops there")
}

/// What a timeline without a history means.
fn without_history(timeline: u32) -> String {
    let name = WalName::History(timeline);
    format!(
        "timeline {timeline} was archived, and its `{name}` was not: recovery never goes over to it; the next run archives that, \
         where it finds the cluster's `pg_wal`, or `archive_command` does by hand"
    )
}

/// How a source's archived log stands.
#[derive(Debug, Clone, Serialize)]
pub struct LogStanding {
    /// The source.
    pub source: String,
    /// From when to when it can be recovered to any moment.
    pub windows: Vec<Span>,
    /// The last commit in its archives, where that is known: a little older than the end of the last window.
    pub last_commit: Option<Timestamp>,
    /// Segments in its archives, each counted once.
    pub segments: usize,
    /// Bytes that they take.
    pub size: u64,
    /// What its server keeps until it is archived, where this account can look at its data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Backlog>,
    /// Backups with a log that is encrypted: how far that leads is not known here.
    #[serde(skip_serializing_if = "is_zero")]
    pub encrypted: usize,
    /// What keeps recovery from going further, or from being told.
    pub problems: Vec<String>,
    /// Of those: timelines that both grow.
    #[serde(skip)]
    pub growing: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl LogStanding {
    /// One of which nothing is known yet but what cannot be.
    pub(super) fn new(source: &str, problems: Vec<String>) -> LogStanding {
        let source = source.to_owned();
        LogStanding {
            windows: Vec::new(),
            last_commit: None,
            segments: 0,
            size: 0,
            waiting: None,
            encrypted: 0,
            problems,
            growing: Vec::new(),
            source,
        }
    }

    /// Looks at what the source's server keeps.
    pub(crate) fn waits(&mut self, own: Option<&Postgres>) {
        let Some(data) = own.and_then(|own| own.data_dir.as_deref()) else { return };
        self.waiting = backlog::of(data);
        let told = self.waiting.as_ref();
        self.problems.extend(told.and_then(|waiting| backlog::told(waiting, data, SystemTime::now())));
    }

    /// How the log stands that these places have; why others cannot be read.
    pub fn of<H: Holder>(
        source: &str,
        holders: Vec<H>,
        unread: Vec<String>,
        bases: &BTreeMap<RunId, Base>,
    ) -> LogStanding {
        let mut standing = LogStanding::new(source, unread);
        let read = Log::read(holders).and_then(|log| {
            (standing.segments, standing.size) = log.size();
            standing.problems.extend(log.unread().iter().cloned());
            let lead = |base| Ok((base, log.lead(base, None)?));
            let leads = bases.values().map(lead).collect::<Result<Vec<_>, WalError>>()?;
            standing.windows = window::spans(leads.iter().map(|(base, lead)| (base.ended, lead.until)));
            let furthest =
                leads.iter().filter(|(_, lead)| lead.last.is_some()).max_by_key(|(_, lead)| lead.until);
            standing.last_commit = furthest.and_then(|(base, _)| log.tail(base, None).moment());
            standing.growing = log.growing(&leads)?;
            log.troubles(&leads)
        });
        match read {
            Ok(troubles) => standing.problems.extend(troubles),
            Err(error) => standing.problems.push(error.to_string()),
        }
        standing
    }
}

/// The archives of a `wal` block, and why others cannot be opened.
pub fn archives(model: &Model, wal: &Wal, access: &Access) -> (Vec<Archive>, Vec<String>) {
    let source = &model.source(wal.source).name;
    let (mut open, mut unread) = (Vec::new(), Vec::new());
    for id in &wal.to {
        let store = model.store(*id);
        match Archive::open(store, &model.name, source, access) {
            Ok(archive) => open.push(archive),
            Err(error) => unread.push(error.to_string()),
        }
    }
    (open, unread)
}

/// The archives of logs that a store has beside a plan's backups, by source; of one that cannot be opened, why.
pub fn archives_in(shelf: &Shelf) -> Vec<Result<(String, Archive), CheckedLog>> {
    let plan = shelf.layout.plan();
    let access = Access { keys: Arc::clone(&shelf.keys), ..Access::default() };
    let failed = |source: String, error: &WalError| CheckedLog {
        store: shelf.store.label().to_owned(),
        source,
        files: 0,
        unopened: 0,
        unread: false,
        damage: vec![error.to_string()],
        given_up: Vec::new(),
    };
    let names = match archive::names(&shelf.declared, Some(plan), &access) {
        Ok(names) => names,
        Err(error) => return vec![Err(failed("its log".to_owned(), &error))],
    };
    let open = |source: String| match Archive::open(&shelf.declared, plan, &source, &access) {
        Ok(archive) => Ok((source, archive)),
        Err(error) => Err(failed(source, &error)),
    };
    names.into_iter().map(open).collect()
}

/// The base backups of a source, of all stores.
pub fn bases(shelves: &Shelves, source: &str) -> BTreeMap<RunId, Base> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    runs.filter_map(|run: &Manifest| Some((run.run, Base::of(run, source)?))).collect()
}

/// How the log of a `wal` block stands.
pub fn standing(model: &Model, shelves: &Shelves, wal: &Wal) -> LogStanding {
    let source = &model.source(wal.source).name;
    let access = Access { patience: Patience::Short, ..Access::default() };
    let (open, unread) = archives(model, wal, &access);
    let mut standing = LogStanding::of(source, open, unread, &bases(shelves, source));
    standing.waits(model.source(wal.source).postgres());
    standing
}

/// What waits of the logs of a plan, whose stores may all be away: a sentence for each.
pub fn waiting(model: &Model) -> Vec<String> {
    let of = |wal: &Wal| {
        let source = model.source(wal.source);
        let data = source.postgres()?.data_dir.as_deref()?;
        let told = backlog::told(&backlog::of(data)?, data, SystemTime::now())?;
        Some(format!("log of `{}`: {told}", source.name))
    };
    model.wals.iter().filter_map(of).collect()
}
