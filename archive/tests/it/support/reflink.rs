//! A file system that can share blocks between files, in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// It is unmounted when this is dropped.
pub struct Disk {
    folder: tempfile::TempDir,
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `tests/run --install`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Disk {
    /// `None` without the right to mount: only root has it, and for root there is no excuse.
    pub fn new() -> Option<Disk> {
        if !super::is_root() {
            eprintln!("not tried: only root may mount a file system that shares blocks");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let place = folder.path().join("mounted");
        std::fs::create_dir(&place).unwrap();
        run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place));
        Some(Disk { folder })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Writes everything out, so that what is used can be counted.
    pub fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.path()));
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        let seen = rustix::fs::statvfs(self.path().as_path()).unwrap();
        (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let place: &Path = &self.path();
        let _ = Command::new("umount").arg(place).output();
    }
}
