//! What went differently from what was asked, without being a failure.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use backplan_host::text::printable;

/// How many warnings are kept word for word; further ones are only counted.
pub const KEPT: usize = 200;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// It, or its contents, could not be read: left out.
    Unreadable,
    /// It was there when the tree was walked, and gone when it was to be read: left out.
    Vanished,
    /// It grew while it was read: cut to the size it had when it was opened.
    Grew,
    /// It shrank while it was read: padded with zeros.
    Shrank,
    /// Reading failed in the middle: the rest is zeros.
    Damaged,
    /// It became another kind of file between the walk and the reading: left out.
    Changed,
    /// A socket: left out, as it means nothing in a backup.
    Socket,
    /// An entry of `paths` that is not there.
    Missing,
    /// An entry of `paths` that is a symbolic link to a folder: the link is recorded, not the folder.
    LinkToFolder,
    /// An entry of `paths` that is a symbolic link to a file: the link is recorded, not the file.
    LinkToFile,
    /// Larger than `max_file_size`: left out.
    TooLarge,
    /// It was on a file system that is not mounted, and may be missing: so does what was in it count.
    NotMounted,
    /// Its extended attributes could not be read, or are too large: they are left out.
    Attributes,
}

impl WarningKind {
    /// Whether the backup lacks something for it that was there, or may have been.
    fn leaves_out(self) -> bool {
        matches!(self, WarningKind::Unreadable | WarningKind::Damaged | WarningKind::NotMounted)
    }
}

/// A warning about one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What happened.
    pub kind: WarningKind,
    /// To what: a path of this host.
    #[serde(with = "backplan_host::names::raw")]
    pub path: PathBuf,
    /// The system's own words, where it had some.
    pub cause: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            WarningKind::Unreadable => "cannot be read; left out",
            WarningKind::Vanished => "vanished before it was read; left out",
            WarningKind::Grew => "grew while it was read; cut to the size it had at first",
            WarningKind::Shrank => "shrank while it was read; padded with zeros",
            WarningKind::Damaged => "could not be read to its end; the rest is zeros",
            WarningKind::Changed => "became another kind of file before it was read; left out",
            WarningKind::Socket => "is a socket; left out",
            WarningKind::Missing => "is not there",
            WarningKind::LinkToFolder => {
                "is a symbolic link to a folder: the link is recorded, not the folder; name the folder itself"
            }
            WarningKind::LinkToFile => {
                "is a symbolic link to a file: the link is recorded, not the file; name the file itself"
            }
            WarningKind::TooLarge => "is larger than `max_file_size`; left out",
            WarningKind::NotMounted => "is not all there",
            WarningKind::Attributes => "has extended attributes that cannot be recorded; they are left out",
        };
        write!(f, "`{}` {what}", printable(self.path.as_os_str().as_bytes()))?;
        if let Some(cause) = &self.cause {
            write!(f, " ({cause})")?;
        }
        Ok(())
    }
}

/// Warnings: the first [`KEPT`] word for word, all of them counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warnings {
    kept: Vec<Warning>,
    total: u64,
    unread: u64,
}

impl Warnings {
    /// Adds one.
    pub fn add(&mut self, kind: WarningKind, path: &Path, cause: Option<&dyn fmt::Display>) {
        self.push(Warning { kind, path: path.to_path_buf(), cause: cause.map(ToString::to_string) });
    }

    /// Adds one that was made elsewhere.
    pub fn push(&mut self, warning: Warning) {
        self.total += 1;
        self.unread += u64::from(warning.kind.leaves_out());
        if self.kept.len() < KEPT {
            self.kept.push(warning);
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Warnings) {
        self.total += other.total;
        self.unread += other.unread;
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// The first ones, word for word.
    pub fn kept(&self) -> &[Warning] {
        &self.kept
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many are about what could not be read, or not to its end.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
