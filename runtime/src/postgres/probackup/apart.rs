//! A catalogue that is kept apart from every archive, in a store's folder.
//!
//! What a run made bears its mark in its note. Only that goes, by the tool's `delete` and by its id, once no manifest names it;
//! and only while nothing rests on it, for the tool deletes what does with it.

use super::{Listed, Tool, listed, mend_of_another};
use crate::catalog::labels::Labels;
use crate::postgres::DriverError;
use crate::postgres::apart::{Apart, MARK};
use crate::postgres::wal::name::Segment;

impl Tool<'_> {
    /// What the backup of this run is to bear.
    pub(super) fn note(&self) -> Option<String> {
        self.job.separate.as_ref().map(|apart| format!("{MARK}={}", apart.mark))
    }

    /// Whether this run made it. In a `staging` nobody else makes any.
    pub(super) fn is_of_this_run(&self, backup: &Listed) -> bool {
        let Some(apart) = &self.job.separate else { return true };
        backup.made_by().is_some_and(|(plan, run)| format!("{plan}/{run}") == apart.mark)
    }

    /// Sees that catalogue and instance are there and of this cluster, and removes what runs left that were never committed. Gives
    /// what a person should read.
    pub(super) fn prepare_apart(&self, apart: &Apart, server: &Labels) -> Result<Vec<String>, DriverError> {
        if apart.repository.is_remote() {
            return Err(DriverError::Lasting(format!(
                "store `{}` is no folder, and pg_probackup keeps its catalogue in one alone",
                apart.store
            )));
        }
        let is_there = self.job.folder.join("backups").join(self.instance).is_dir();
        let known = if is_there { self.show()? } else { Vec::new() };
        let is_kept = |label: &str| known.iter().any(|backup| backup.id == label);
        let mut warnings: Vec<String> = apart.lost(is_kept).into_iter().collect();
        self.have_instance()?;
        self.refuse_another(server)?;
        let (gone, held) = self.delete_forgotten(apart, &known)?;
        let told =
            |label| format!("backup `{label}` of a run that was given up, or never committed, is deleted");
        warnings.extend(gone.into_iter().map(told));
        warnings.extend(held);
        Ok(warnings)
    }

    /// The instance says which cluster it is of: the tool refuses another one, too, and leaves a failed backup each time.
    fn refuse_another(&self, server: &Labels) -> Result<(), DriverError> {
        let theirs = self.config()?.system_id;
        match server.system_id.as_ref().zip(theirs) {
            Some((ours, theirs)) if *ours != theirs => Err(DriverError::Lasting(format!(
                "the catalogue `{}` belongs to another cluster: its instance `{}` has system identifier {theirs}, this cluster \
                 {ours}; {}",
                self.job.folder.display(),
                self.instance,
                mend_of_another(),
            ))),
            _ => Ok(()),
        }
    }

    /// Removes what attempts of this run left that failed: no later run tells them from the one that it committed. Gives what a
    /// person should read.
    pub(super) fn drop_failed(&self, listed: &[Listed]) -> Result<Vec<String>, DriverError> {
        let mut warnings = Vec::new();
        for left in listed.iter().filter(|backup| backup.has_failed() && self.is_of_this_run(backup)) {
            match self.run("delete", &[format!("--backup-id={}", left.id)]) {
                Err(error) if error.is_stopped() => return Err(error),
                Err(error) => warnings.push(format!("the failed backup `{}` stays: {error}", left.id)),
                Ok(()) => {}
            }
        }
        Ok(warnings)
    }

    fn config(&self) -> Result<listed::Config, DriverError> {
        Ok(listed::config(&self.told("show-config", true)?))
    }

    /// Deletes this plan's backups that are nobody's, newest first. Gives their ids, and what a person should know of those on which
    /// others rest.
    fn delete_forgotten(
        &self,
        apart: &Apart,
        listed: &[Listed],
    ) -> Result<(Vec<String>, Vec<String>), DriverError> {
        let mut left: Vec<&Listed> = listed.iter().collect();
        left.sort_by(|a, b| b.id.cmp(&a.id));
        let going: Vec<&Listed> = (left.iter().copied())
            .filter(|backup| apart.is_forgotten(&backup.id, backup.made_by()))
            .collect();
        let (mut gone, mut held) = (Vec::new(), Vec::new());
        for backup in going {
            let id = &backup.id;
            if let Some(upon) = left.iter().find(|other| other.parent_backup_id.as_ref() == Some(id)) {
                held.push(format!(
                    "backup `{id}`, which no manifest names any more, stays in the catalogue: `{}` rests on it",
                    upon.id
                ));
                continue;
            }
            self.run("delete", &[format!("--backup-id={id}")])?;
            left.retain(|other| other.id != *id);
            gone.push(id.clone());
        }
        Ok((gone, held))
    }

    /// Deletes this plan's backups that no manifest names any more, and the log that only they needed.
    pub(super) fn expire_forgotten(&self, apart: &Apart) -> Result<Vec<String>, DriverError> {
        if !self.job.folder.join("backups").join(self.instance).is_dir() {
            return Ok(Vec::new());
        }
        let listed = self.show()?;
        let (gone, held) = self.delete_forgotten(apart, &listed)?;
        // Of a catalogue without backups all of the log would go.
        let has_others = listed.iter().any(|backup| backup.is_whole() && !gone.contains(&backup.id));
        if !gone.is_empty() && has_others {
            self.run("delete", &["--delete-wal".to_owned()])?;
        }
        Ok(held)
    }

    /// What the manifest says of a backup beside what `show` does: with that it is found in the catalogue, and the log behind it.
    pub(super) fn label_apart(
        &self,
        apart: &Apart,
        made: &Listed,
        listed: &[Listed],
        labels: &mut Labels,
    ) -> Result<(), DriverError> {
        labels.stanza = Some(self.instance.to_owned());
        labels.archive_id = Some(self.instance.to_owned());
        labels.repository_bytes = made.kept();
        labels.prior = nearest(made, listed, apart).or(labels.prior.take());
        let start = labels.lsn_start.as_ref().and_then(|text| text.parse().ok());
        let timeline = labels.timeline.as_ref().and_then(|text| text.parse().ok());
        let bytes = self.config()?.segment_bytes;
        if let (Some(start), Some(timeline), Some(bytes)) = (start, timeline, bytes) {
            labels.wal_start = Some(Segment::of(timeline, start, bytes).to_string());
        }
        Ok(())
    }
}

/// The nearest of those that a backup rests on which a manifest names: between them may be somebody else's.
fn nearest(made: &Listed, listed: &[Listed], apart: &Apart) -> Option<String> {
    let mut at = made;
    // No chain is longer than the list.
    for _ in listed {
        let parent = at.parent_backup_id.as_ref()?;
        if apart.known.contains(parent) {
            return Some(parent.clone());
        }
        at = listed.iter().find(|backup| backup.id == *parent)?;
    }
    None
}
