//! The log in the artefacts of packed repositories. Each holds the log from the newest backup of the cycle before its own on, so
//! that the one of a full leads on from that backup; what is between, no artefact of its own cycle has.

use std::collections::{BTreeMap, BTreeSet};

use super::super::log::commits::{self, Tail};
use super::super::log::repository::{Packed, RepositoryLog};
use super::super::log::{self, Holder, Lead, LogStanding, hole};
use super::super::repositories::based;
use super::super::window;
use super::{Based, is_tools, stanza_of};
use crate::backups::BackupsError;
use crate::backups::shelf::Shelves;
use crate::catalog::ids::RunId;
use crate::catalog::manifest::SourceRecord;
use crate::catalog::runs::Choice;
use crate::postgres::recovery::Point;
use crate::postgres::wal::WalError;
use crate::postgres::wal::expiry;
use crate::postgres::wal::name::Segment;
use crate::postgres::wal::survey::{Missing, Survey};

/// The log in one artefact, of its run's cluster.
struct HeldLog<'a> {
    log: RepositoryLog<'a>,
    survey: Survey,
}

/// The log in all artefacts of a source.
pub(super) struct Logs<'a> {
    bases: BTreeMap<RunId, Based>,
    held: BTreeMap<RunId, HeldLog<'a>>,
    /// Why that of others cannot be told.
    pub(super) unread: Vec<String>,
    /// Why that of others cannot be told by who has no key to it.
    pub(super) shut: Vec<String>,
}

impl<'a> Logs<'a> {
    /// Looks into the indexes of these runs' artefacts.
    pub(super) fn read(
        shelves: &'a Shelves,
        source: &str,
        packed: &BTreeMap<RunId, (Based, &SourceRecord)>,
    ) -> Logs<'a> {
        let bases = packed.iter().map(|(run, (based, _))| (*run, based.clone())).collect();
        let mut logs = Logs { bases, held: BTreeMap::new(), unread: Vec::new(), shut: Vec::new() };
        let all: Vec<_> = packed.values().map(|((base, id), _)| (base, id.as_deref())).collect();
        for (run, ((base, _), record)) in packed {
            let held = shelves.held(&Choice::Id(run.to_string()), Some(source));
            let chains = held.and_then(|held| held.chains(&|name| name == source));
            if let Err(error @ BackupsError::Locked { .. }) = &chains {
                logs.shut.push(format!("the log of run {run} cannot be told: {error}"));
                continue;
            }
            let opened = || -> Result<Option<HeldLog<'a>>, String> {
                let Some(chain) = chains.map_err(|error| error.to_string())?.pop() else { return Ok(None) };
                let files = Box::new(Packed::new(chain, source, stanza_of(record, source)));
                let log = RepositoryLog::open(&run.to_string(), files, &all);
                let surveyed = log.and_then(|log| Ok((log.survey(&base.cluster)?, log)));
                let ((survey, _), log) = surveyed.map_err(|error| error.to_string())?;
                Ok(Some(HeldLog { log, survey }))
            };
            match opened() {
                Ok(held) => logs.held.extend(held.map(|held| (*run, held))),
                Err(why) => logs.unread.push(format!("the log of run {run} cannot be told: {why}")),
            }
        }
        logs
    }

    /// How far all of them together lead from each backup.
    ///
    /// # Errors
    /// When a segment does not say when it was archived.
    pub(super) fn leads(
        &self,
        wanted: impl Fn(&expiry::Base) -> Option<u32>,
    ) -> Result<BTreeMap<RunId, Lead>, WalError> {
        let all: BTreeSet<RunId> = self.held.keys().copied().collect();
        self.bases.iter().map(|(run, (base, _))| Ok((*run, self.lead(base, &all, wanted(base))?))).collect()
    }

    /// The runs whose artefacts' log leads from a backup to a point, beside that of the artefact which it is taken from: as few
    /// as there need be, as each is unpacked.
    ///
    /// # Errors
    /// When a segment does not say when it was archived.
    pub(super) fn enough(
        &self,
        base: RunId,
        taken: RunId,
        point: &Point,
        timeline: Option<u32>,
    ) -> Result<Vec<RunId>, WalError> {
        let Some((base, _)) = self.bases.get(&base) else { return Ok(Vec::new()) };
        let all: BTreeSet<RunId> = self.held.keys().copied().collect();
        let whole = self.lead(base, &all, timeline)?;
        let is_there = |lead: &Lead| match point {
            Point::Immediate => true,
            Point::Time(time) | Point::Before(time) => *time <= lead.until,
            Point::Lsn(lsn) => *lsn <= lead.end,
            Point::Latest | Point::Name(_) | Point::Xid(_) => false,
        } || lead.end >= whole.end;
        let mut chosen = BTreeSet::from([taken]);
        let mut lead = self.lead(base, &chosen, timeline)?;
        while !is_there(&lead) {
            let mut next: Option<(RunId, Lead)> = None;
            for run in all.difference(&chosen) {
                let with = chosen.iter().chain([run]).copied().collect();
                let found = self.lead(base, &with, timeline)?;
                if found.end > next.map_or(lead.end, |(_, best)| best.end) {
                    next = Some((*run, found));
                }
                if is_there(&found) {
                    break;
                }
            }
            let Some((run, further)) = next else { break };
            chosen.insert(run);
            lead = further;
        }
        chosen.remove(&taken);
        Ok(chosen.into_iter().collect())
    }

    /// The end of the log that all of them together lead to.
    pub(super) fn tail(&self, base: RunId, timeline: Option<u32>) -> Tail {
        let Some((base, _)) = self.bases.get(&base) else { return Tail::Unknown };
        let all: BTreeSet<RunId> = self.held.keys().copied().collect();
        let Some(survey) = survey(&self.of(base, &all)) else { return Tail::Unknown };
        commits::tail(&survey.reach(base.begin(), timeline).recent, |segment| {
            self.held.values().find_map(|held| held.log.bytes(&base.cluster, segment))
        })
    }

    /// The log that these runs' artefacts have of a backup's cluster.
    fn of(&self, base: &expiry::Base, runs: &BTreeSet<RunId>) -> Vec<&HeldLog<'a>> {
        let of_cluster =
            |run: &&RunId| self.bases.get(run).is_some_and(|(other, _)| other.cluster == base.cluster);
        runs.iter().filter(of_cluster).filter_map(|run| self.held.get(run)).collect()
    }

    fn lead(
        &self,
        base: &expiry::Base,
        runs: &BTreeSet<RunId>,
        timeline: Option<u32>,
    ) -> Result<Lead, WalError> {
        let held = self.of(base, runs);
        let lead = Lead::of(base, timeline, survey(&held).as_ref(), |last| {
            held.iter().try_fold(None, |newest, held| Ok(newest.max(held.log.archived(&base.cluster, last)?)))
        })?;
        let is_hole = |missing: &Missing| held.iter().any(|held| is_hole_of(&held.survey, *missing));
        Ok(Lead { missing: lead.missing.filter(is_hole), ..lead })
    }
}

/// How the log in the artefacts of a source stands; `None`: none has a repository of it.
pub fn standing(shelves: &Shelves, source: &str) -> Option<LogStanding> {
    let runs = shelves.shelves.iter().flat_map(|shelf| shelf.catalog.runs());
    let packed: BTreeMap<RunId, (Based, &SourceRecord)> = runs
        .filter(|run| run.repositories.iter().all(|own| own.source != *source))
        .filter_map(|run| {
            let record = run.cluster(source).filter(|record| is_tools(record))?;
            Some((run.run, (based(run, source)?, record)))
        })
        .collect();
    (!packed.is_empty()).then(|| Logs::read(shelves, source, &packed).standing(source))
}

impl Logs<'_> {
    fn standing(mut self, source: &str) -> LogStanding {
        let mut standing = LogStanding::new(source, std::mem::take(&mut self.unread));
        standing.encrypted = self.shut.len();
        let read = self.leads(|_| None).and_then(|leads| {
            let spans =
                leads.iter().filter_map(|(run, lead)| Some((self.bases.get(run)?.0.ended, lead.until)));
            standing.windows = window::spans(spans);
            let holes: BTreeSet<Segment> = leads
                .values()
                .filter_map(|lead| match lead.missing? {
                    Missing::Hole(segment) => Some(segment),
                    Missing::GivenUp(_) => None,
                })
                .collect();
            standing.problems.extend(holes.into_iter().map(hole));
            let furthest = leads.iter().filter(|(_, lead)| lead.last.is_some());
            let furthest = furthest.max_by_key(|(_, lead)| lead.until).map(|(run, _)| *run);
            standing.last_commit = furthest.and_then(|run| self.tail(run, None).moment());
            let holders = std::mem::take(&mut self.held).into_values().map(|held| held.log).collect();
            (standing.segments, standing.size) = log::Log::read(holders)?.size();
            Ok(())
        });
        standing.problems.extend(read.err().map(|error| error.to_string()));
        standing
    }
}

/// All of it as one.
fn survey(held: &[&HeldLog<'_>]) -> Option<Survey> {
    let mut all = Survey::new(held.first()?.survey.bytes);
    held.iter().for_each(|held| all.add(&held.survey));
    Some(all)
}

/// Whether a segment lacks in the midst of the log of one artefact. What lacks between two of them was in artefacts that were
/// given up, or in none.
fn is_hole_of(survey: &Survey, missing: Missing) -> bool {
    let (Missing::Hole(segment) | Missing::GivenUp(segment)) = missing;
    let mut of_timeline = survey.segments.iter().filter(|other| other.timeline == segment.timeline);
    let first = of_timeline.next();
    first.is_some_and(|first| *first < segment)
        && survey.segments.iter().any(|other| other.place() > segment.place())
}
