//! Which cluster a file of the log belongs to.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use backplan_compiler::count::plural;

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

    /// Reads it; `None`: it is none.
    pub fn of(head: &[u8; PageHead::BYTES]) -> Option<PageHead> {
        const LONG_HEADER: u16 = 0x0002;
        let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        let bytes = u32::from_ne_bytes([head[32], head[33], head[34], head[35]]).into();
        // Each version has a number of its own, and all have these upper bits.
        let is_head = short(0) & 0xF000 == 0xD000 && short(2) & LONG_HEADER != 0;
        is_head.then(|| PageHead { system: long(24), begin: Lsn(long(8)), bytes })
    }

    /// That of a file, at its begin; `None`: it has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(segment: &mut impl Read) -> io::Result<Option<PageHead>> {
        let mut head = [0; PageHead::BYTES];
        match segment.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| PageHead::of(&head)),
        }
    }

    /// Whether a file that begins so, and has so many bytes, is this segment of a cluster. To Postgres any other is the end of
    /// the log.
    ///
    /// # Errors
    /// Why it is not.
    pub fn see(
        head: Option<PageHead>,
        bytes: u64,
        cluster: &ClusterId,
        segment: Segment,
    ) -> Result<(), NoSegment> {
        let head = head.ok_or(NoSegment::Headless)?;
        if head.system != cluster.system {
            return Err(NoSegment::OtherCluster(head.system));
        }
        if head.begin != segment.begin(head.bytes) {
            return Err(NoSegment::Elsewhere(head.begin));
        }
        if head.bytes != bytes {
            return Err(NoSegment::Length { bytes, wanted: head.bytes });
        }
        Ok(())
    }
}

/// Why a file is not the segment that it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSegment {
    /// Zeros, or anything.
    #[error("its first page is none of a log")]
    Headless,
    /// It has this system identifier.
    #[error("it is of cluster {0}")]
    OtherCluster(u64),
    /// It begins there.
    #[error("it is another segment than it is called: it holds the log from {0} on")]
    Elsewhere(Lsn),
    /// It was cut, or grew.
    #[error("it has {}, and not the {wanted} of a segment", plural(*bytes, "byte"))]
    Length {
        /// What it has.
        bytes: u64,
        /// What it is to have.
        wanted: u64,
    },
}
