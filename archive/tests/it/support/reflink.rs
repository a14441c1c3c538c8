//! A file system that can share blocks between files, in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// It is unmounted when this is dropped.
pub struct Disk {
    folder: tempfile::TempDir,
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Disk {
    /// `None` where one cannot be had: without the right to mount, or without `mkfs.xfs`.
    pub fn new() -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let place = folder.path().join("mounted");
        std::fs::create_dir(&place).unwrap();
        let made = succeeds(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image));
        let mounted = made && succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place));
        if !mounted {
            eprintln!("no file system with shared blocks can be made here");
        }
        mounted.then_some(Disk { folder })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Writes everything out, so that what is used can be counted.
    pub fn sync(&self) {
        assert!(succeeds(Command::new("sync").arg("-f").arg(self.path())));
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
        succeeds(Command::new("umount").arg(place));
    }
}
