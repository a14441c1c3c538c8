//! A log that is brought to where a server is that reaches no store, and has no key.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use crate::backups::shelf::Shelves;
use crate::control::Control;
use crate::postgres::recovery::command_word;
use crate::postgres::restore::cluster::{ClusterError, ClusterRestore};
use crate::postgres::wal::WalError;
use crate::postgres::wal::archive::{self, Archive};
use crate::postgres::wal::cluster::ClusterId;
use crate::postgres::wal::held::HeldFile;
use crate::postgres::wal::name::WalName;
use crate::postgres::wal::survey::{Missing, Survey};

/// The command by which a server takes its log from a folder. What stands for the file's name is the server's, and no part of a word
/// that is shielded from it.
pub fn command(folder: &Path) -> String {
    format!("cp {}/%f %p", command_word(&folder.display().to_string()))
}

/// What a restored cluster needs of its log, and where that is.
#[derive(Default)]
pub struct Near<'a> {
    cluster: Option<ClusterId>,
    /// Each file, with the archives that have it.
    files: Vec<(WalName, Vec<(&'a Archive, HeldFile)>)>,
    bytes: u64,
}

impl<'a> Near<'a> {
    /// What recovery of the chosen backup asks for: the log from where that begins, and all histories.
    ///
    /// # Errors
    /// When a log cannot be listed, or has a hole.
    pub fn of(restore: &'a ClusterRestore<'_>, shelves: &Shelves) -> Result<Near<'a>, ClusterError> {
        let bases = super::bases(shelves, &restore.wish.source);
        let Some(base) = bases.get(&restore.chosen) else { return Ok(Near::default()) };
        let mut found: BTreeMap<WalName, Vec<(&Archive, HeldFile)>> = BTreeMap::new();
        let mut all: Option<Survey> = None;
        for archive in &restore.log {
            let survey = Survey::of(archive, &base.cluster)?;
            match &mut all {
                Some(all) => all.add(&survey),
                None => all = Some(survey),
            }
            for (name, held) in archive.list(&base.cluster)? {
                let is_asked_for = match name {
                    WalName::Segment(segment) => segment.place() >= base.first.place(),
                    WalName::History(_) => true,
                    WalName::Partial(_) | WalName::Backup(..) => false,
                };
                if is_asked_for {
                    found.entry(name).or_default().push((archive, held));
                }
            }
        }
        let Some(all) = all else { return Ok(Near::default()) };
        if let Some(Missing::Hole(segment)) = all.reach(base.begin(), None).missing {
            let next = all.segments.range(segment..).next().unwrap_or(&segment);
            return Err(WalError::Hole { name: segment.to_string(), next: next.to_string() }.into());
        }
        let segments = found.keys().filter(|name| matches!(name, WalName::Segment(_))).count() as u64;
        let bytes = segments * all.bytes;
        Ok(Near { cluster: Some(base.cluster.clone()), files: found.into_iter().collect(), bytes })
    }

    /// Bytes that it takes where it is brought.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Brings it to a folder, for the account that a data directory belongs to.
    ///
    /// # Errors
    /// When a file is not what was archived, or cannot be written.
    pub fn bring(&mut self, folder: &Path, data: &Path, control: &Control) -> Result<(), ClusterError> {
        let Some(cluster) = self.cluster.take().filter(|_| !self.files.is_empty()) else { return Ok(()) };
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| ClusterError::File { path, cause }
        };
        let (user, group) = archive::owner_of(data).map_err(failed(data))?;
        let give = |path: &Path| chown(path, Some(user), Some(group)).map_err(failed(path));
        DirBuilder::new().mode(0o700).create(folder).map_err(failed(folder))?;
        for (name, places) in self.files.drain(..) {
            let path = folder.join(name.to_string());
            let mut read = Ok(());
            for (archive, held) in places {
                control.check().map_err(ClusterError::Stopped)?;
                let mut file = File::create(&path).map_err(failed(&path))?;
                read = archive.read(&cluster, name, held, |bytes| file.write_all(bytes)).map(drop);
                // One that is damaged may be whole in another store, as a restore finds it.
                if read.is_ok() {
                    break;
                }
            }
            read?;
            give(&path)?;
        }
        give(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, command};

    #[test]
    fn the_server_puts_in_names_of_files_and_nothing_else() {
        assert_eq!(command(Path::new("/a/log")), "cp /a/log/%f %p");
        assert_eq!(command(Path::new("/a b/50%")), "cp '/a b/50%%'/%f %p");
    }
}
