//! Which cluster a file of the log belongs to.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::WalError;

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

/// The system identifier in the first page of a segment; `None` where it has no long header.
///
/// Source: `XLogLongPageHeaderData` of PostgreSQL's `access/xlog_internal.h`.
pub fn system_of_segment(segment: &Path) -> io::Result<Option<u64>> {
    const LONG_HEADER: u16 = 0x0002;
    let mut head = [0; 32];
    match crate::regular::open(segment)?.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let info = u16::from_ne_bytes([head[2], head[3]]);
    let mut system = [0; 8];
    system.copy_from_slice(&head[24..]);
    Ok((info & LONG_HEADER != 0).then(|| u64::from_ne_bytes(system)))
}
