//! Which cluster a file of the log belongs to.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::WalError;
use super::lsn::Lsn;
use super::name::Segment;

/// A cluster's own number and its major version: logs of two clusters, or of two versions of one, are never mixed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId {
    /// The system identifier, which `initdb` made.
    pub system: u64,
    /// As in `PG_VERSION`.
    pub major: String,
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.system, self.major)
    }
}

impl FromStr for ClusterId {
    type Err = ();

    fn from_str(text: &str) -> Result<ClusterId, ()> {
        let (system, major) = text.split_once('-').ok_or(())?;
        let is_major = !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match system.parse() {
            Ok(system) if is_major => Ok(ClusterId { system, major: major.to_owned() }),
            _ => Err(()),
        }
    }
}

impl ClusterId {
    /// The cluster in a data directory. The server starts archive and restore commands in it.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_data(data: &Path) -> Result<ClusterId, WalError> {
        let no_cluster = |path: PathBuf| move |cause| WalError::NoCluster { path, cause };
        let version = data.join("PG_VERSION");
        let major = crate::regular::read_text(&version).map_err(no_cluster(version))?.trim().to_owned();
        let control = data.join("global/pg_control");
        let mut system = [0; 8];
        let read = crate::regular::open(&control).and_then(|mut file| file.read_exact(&mut system));
        read.map_err(no_cluster(control))?;
        // The first field of `ControlFileData`, in every version, in the machine's own order of bytes.
        Ok(ClusterId { system: u64::from_ne_bytes(system), major })
    }
}

/// What the first page of a segment says: whose log it is, and from where.
///
/// Source: `XLogLongPageHeaderData` of PostgreSQL's `access/xlog_internal.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// The system identifier.
    pub system: u64,
    /// Where the segment begins.
    pub begin: Lsn,
    /// Bytes of a segment.
    pub bytes: u64,
}

impl PageHead {
    /// Bytes of it.
    pub const BYTES: usize = 40;

    /// Reads it; `None`: there is no long header.
    pub fn of(head: &[u8; PageHead::BYTES]) -> Option<PageHead> {
        const LONG_HEADER: u16 = 0x0002;
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        let info = u16::from_ne_bytes([head[2], head[3]]);
        let bytes = u32::from_ne_bytes([head[32], head[33], head[34], head[35]]).into();
        (info & LONG_HEADER != 0).then(|| PageHead { system: long(24), begin: Lsn(long(8)), bytes })
    }

    /// That of a file; `None`: it has no long header.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(segment: &Path) -> io::Result<Option<PageHead>> {
        let mut head = [0; PageHead::BYTES];
        match crate::regular::open(segment)?.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| PageHead::of(&head)),
        }
    }

    /// Whether it is that of this segment of a cluster.
    pub fn is_of(self, cluster: &ClusterId, segment: Segment) -> bool {
        self.system == cluster.system && self.begin == segment.begin(self.bytes)
    }
}
