//! Reading an archived log file by file.

use serde::Serialize;

use super::{hole, without_history};
use crate::control::{Control, Stopped};
use crate::postgres::wal::archive::Archive;
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::expiry::Base;
use crate::postgres::wal::name::WalName;
use crate::postgres::wal::survey::{Missing, Survey};

/// What a check of the log in one store found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckedLog {
    /// The store.
    pub store: String,
    /// The source.
    pub source: String,
    /// Files that were read to their last byte, or were only seen to be there.
    pub files: usize,
    /// Those of them that are encrypted and that no key opened: they are what was brought there.
    pub unopened: usize,
    /// None was read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// What is wrong, by file.
    pub damage: Vec<String>,
    /// What is not there any more, as nobody was promised it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
}

/// What of an archived log is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// All of it, and not only what recovery from the chosen backups needs.
    pub is_all: bool,
    /// Each file is read, and not only seen to be there.
    pub is_read: bool,
}

/// Reads the files of an archived log, all of them or those that recovery from these backups needs, and sees that each decodes
/// to what was archived, and that none is missing that recovery from one of the backups needs.
///
/// # Errors
/// Only when asked to stop.
pub fn check(
    archive: &Archive,
    source: &str,
    bases: &[Base],
    extent: Extent,
    control: &Control,
) -> Result<CheckedLog, Stopped> {
    let (store, source, unread) = (archive.label.clone(), source.to_owned(), !extent.is_read);
    let mut checked =
        CheckedLog { store, source, files: 0, unopened: 0, unread, damage: Vec::new(), given_up: Vec::new() };
    let clusters = match archive.clusters() {
        Ok(clusters) => clusters,
        Err(error) => {
            checked.damage.push(error.to_string());
            return Ok(checked);
        }
    };
    for cluster in clusters {
        let bases: Vec<&Base> = bases.iter().filter(|base| base.cluster == cluster).collect();
        if !extent.is_all && bases.is_empty() {
            continue;
        }
        files(&mut checked, archive, &cluster, &bases, extent, control)?;
        match Survey::of_what_can_be_read(archive, &cluster) {
            Ok((survey, troubles)) => {
                checked.damage.extend(troubles.iter().map(ToString::to_string));
                missing(&mut checked, &survey, &bases);
            }
            Err(error) => checked.damage.push(error.to_string()),
        }
    }
    checked.damage.extend(archive.strange().unwrap_or_else(|error| vec![error.to_string()]));
    checked.damage.dedup();
    Ok(checked)
}

/// Reads files to their last byte, where they are to be read.
fn files(
    checked: &mut CheckedLog,
    archive: &Archive,
    cluster: &ClusterId,
    bases: &[&Base],
    extent: Extent,
    control: &Control,
) -> Result<(), Stopped> {
    let first = bases.iter().map(|base| base.first.place()).min();
    let is_needed = |name: &WalName| match name {
        WalName::Segment(segment) => extent.is_all || first.is_some_and(|first| segment.place() >= first),
        _ => true,
    };
    match archive.list(cluster) {
        Ok(files) => {
            for (name, held) in files.into_iter().filter(|(name, _)| is_needed(name)) {
                control.check()?;
                checked.files += 1;
                if !extent.is_read {
                    continue;
                }
                match archive.check(cluster, name, held) {
                    Ok(is_opened) => checked.unopened += usize::from(!is_opened),
                    Err(error) => checked.damage.push(error.to_string()),
                }
            }
        }
        Err(error) => checked.damage.push(error.to_string()),
    }
    Ok(())
}

/// What recovery from these backups lacks.
fn missing(checked: &mut CheckedLog, survey: &Survey, bases: &[&Base]) {
    let (mut holes, mut given_up) = (Vec::new(), 0_usize);
    for base in bases {
        match survey.reach(base.begin(), None).missing {
            Some(Missing::Hole(segment)) => holes.push(segment),
            Some(Missing::GivenUp(_)) => given_up += 1,
            None => {}
        }
    }
    holes.sort();
    holes.dedup();
    checked.damage.extend(holes.into_iter().map(hole));
    checked.damage.extend(survey.without_history().into_iter().map(without_history));
    if let (1.., Some(kept)) = (given_up, survey.kept_from) {
        checked.given_up.push(format!(
            "the log before `{kept}` was given up by `keep`: {given_up} of the backups recover to their own end alone"
        ));
    }
}
