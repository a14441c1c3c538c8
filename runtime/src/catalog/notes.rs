//! The leases that this host has taken, noted in its own state folder. A virtual machine that was copied while it ran has the id,
//! the boot and the namespaces of the one that it was copied from: that a process is not seen here proves of a lease that was
//! taken there nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ids::Nonce;
use crate::places::private::make_private;

/// Notes that are older are of leases that were taken over elsewhere, or given up for good.
const OLDEST: Duration = Duration::from_secs(31 * 24 * 3600);

/// A folder with an empty folder for each lease that was taken here and not given back, named by its nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes(PathBuf);

impl Notes {
    /// Those in the state folder of this host.
    pub fn of(state: &Path) -> Notes {
        Notes(state.join("leases"))
    }

    /// Notes that a lease is taken. Where that cannot be written, its death is seen by its silence alone.
    pub(super) fn add(&self, lease: &Nonce) {
        if make_private(&self.0).is_err() {
            return;
        }
        self.sweep();
        // A folder, as making one takes no descriptor: where the system gives none, the run after this one need not wait.
        let _ = fs::create_dir(self.place(lease));
    }

    /// Forgets a lease.
    pub(super) fn drop(&self, lease: &Nonce) {
        let _ = fs::remove_dir(self.place(lease));
    }

    /// Whether it was taken here.
    pub(super) fn have(&self, lease: &Nonce) -> bool {
        self.place(lease).symlink_metadata().is_ok()
    }

    fn place(&self, lease: &Nonce) -> PathBuf {
        self.0.join(lease.to_string())
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let is_lease = entry.file_name().to_str().is_some_and(|name| name.parse::<Nonce>().is_ok());
            let written =
                entry.metadata().ok().filter(|meta| meta.is_dir()).and_then(|meta| meta.modified().ok());
            let age = written.and_then(|written| written.elapsed().ok());
            if is_lease && age.is_some_and(|age| age > OLDEST) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}
