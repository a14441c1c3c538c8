//! Timelines that both grow: two clusters archive to one place, and recovery follows one of them.

use std::collections::BTreeMap;

use super::{Holder, Lead, Log};
use crate::catalog::ids::RunId;
use crate::moment::shown;
use crate::postgres::wal::WalError;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::expiry::Base;
use crate::postgres::wal::survey::Beside;

impl<H: Holder> Log<H> {
    /// Of a timeline that was archived further after one had left it, where both were behind the newest backup: of whichever
    /// that was made, the other may have ended before.
    fn both_grow(
        &self,
        cluster: &ClusterId,
        beside: &Beside,
        newest: Option<jiff::Timestamp>,
    ) -> Result<bool, WalError> {
        let (left, grown) = (self.archived(cluster, beside.first)?, self.archived(cluster, beside.last)?);
        let other = self.archived(cluster, beside.end)?;
        Ok(grown > left && grown > newest && other > newest)
    }

    /// The timelines that both grow, with what a person should do.
    ///
    /// # Errors
    /// When a segment does not say when it was archived.
    pub fn growing(&self, leads: &[(&Base, Lead)]) -> Result<Vec<String>, WalError> {
        let mut told = Vec::new();
        for (cluster, survey) in &self.surveys {
            let own = leads.iter().filter(|(base, _)| base.cluster == *cluster);
            let newest = own.max_by_key(|(base, _)| base.ended);
            let followed = newest.map(|(_, lead)| lead.timeline);
            let newest = newest.map(|(base, _)| base.ended);
            for beside in survey.beside() {
                if self.both_grow(cluster, &beside, newest)? {
                    let (one, other) = (beside.last.timeline, beside.first.timeline);
                    let followed = followed.filter(|followed| *followed == one).unwrap_or(other);
                    told.push(format!(
                        "timelines {one} and {other} both grow: two clusters archive to one place, and recovery follows \
                         timeline {followed}; find out which of them goes on, turn archiving off in the other, and make a backup"
                    ));
                }
            }
        }
        Ok(told)
    }

    /// What a person should know who recovers from one of these backups along `followed`, and asked for no timeline: others that
    /// grow as well, and how to choose them.
    ///
    /// # Errors
    /// As [`Log::growing`]'s.
    pub fn apart(
        &self,
        bases: &BTreeMap<RunId, Base>,
        from: RunId,
        followed: u32,
    ) -> Result<Vec<String>, WalError> {
        let Some(base) = bases.get(&from) else { return Ok(Vec::new()) };
        let cluster = &base.cluster;
        let Some(survey) = self.surveys.get(cluster) else { return Ok(Vec::new()) };
        let own = || bases.values().filter(|other| other.cluster == *cluster);
        let newest = own().map(|base| base.ended).max();
        let mut told = Vec::new();
        for beside in survey.beside() {
            let (first, last) = (beside.first.timeline, beside.last.timeline);
            if ![first, last].contains(&followed) || !self.both_grow(cluster, &beside, newest)? {
                continue;
            }
            let other = if followed == first { last } else { first };
            let end = survey.ends().get(&other).copied();
            let until = end.map_or(Ok(None), |end| self.archived(cluster, end))?;
            let until = until.map(|until| format!(", archived until {}", shown(until))).unwrap_or_default();
            let how = match own().any(|base| survey.leads(base.begin(), other)) {
                true => format!("`--target-timeline {other}` recovers to that"),
                false => "no backup leads to that: a run of it makes one".to_owned(),
            };
            told.push(format!(
                "timeline {followed} is followed, and timeline {other} goes on beside it{until}: two clusters archive to one \
                 place; {how}, if that is the one which is meant"
            ));
        }
        Ok(told)
    }
}
