//! Whether a server of PostgreSQL works in a data directory. What clears away after killed rehearsals asks it, as the restores do.

use std::fs;
use std::io;
use std::path::Path;

/// The process that runs in a data directory; `None` where none does.
///
/// # Errors
/// When `postmaster.pid` is there and cannot be read.
pub fn running(data: &Path) -> io::Result<Option<u32>> {
    let text = match crate::regular::read_text(&data.join("postmaster.pid")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let pid: Option<u32> = text.lines().next().and_then(|line| line.trim().parse().ok());
    // A zombie, or another program that got the number of a server that died long ago, runs nothing.
    let is_server = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after).trim_start();
        let name = stat.split_once('(').map_or("", |(_, name)| name);
        (name.starts_with("postgres") || name.starts_with("postmaster")) && !after.starts_with('Z')
    };
    Ok(pid.filter(is_server))
}
