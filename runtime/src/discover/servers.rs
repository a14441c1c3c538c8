//! Postgres servers that run here, found by their sockets. A server is greeted and left at once; nothing is asked of it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where servers put their sockets: Debian's and its kin, and PostgreSQL's own default.
const FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// What a socket's name begins with; its port is the rest.
const SOCKET: &str = ".s.PGSQL.";

/// A server that runs here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Its port.
    pub port: u16,
    /// The folder of its socket.
    pub socket: PathBuf,
    /// The account that it runs as.
    pub owner: String,
    /// Its data directory, where this account may know it.
    pub data: Option<PathBuf>,
}

/// The servers that answer at their sockets: where servers put them, and where `PGHOST` says.
pub fn servers() -> Vec<Server> {
    let named = env::var_os("PGHOST").map(PathBuf::from).filter(|folder| folder.is_absolute());
    servers_in(FOLDERS.iter().map(PathBuf::from).chain(named))
}

fn servers_in(folders: impl Iterator<Item = PathBuf>) -> Vec<Server> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        // One folder may have two names.
        if !seen.insert(fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone())) {
            continue;
        }
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        found.extend(names.filter_map(|name| server(&folder, name.strip_prefix(SOCKET)?.parse().ok()?)));
    }
    found.sort();
    found
}

fn server(folder: &Path, port: u16) -> Option<Server> {
    let socket = folder.join(format!("{SOCKET}{port}"));
    let meta = socket.symlink_metadata().ok().filter(|meta| meta.file_type().is_socket())?;
    // What a dead server left answers nobody.
    UnixStream::connect(&socket).ok()?;
    Some(Server {
        port,
        socket: folder.to_path_buf(),
        owner: owner(meta.uid())?,
        data: data_of(&folder.join(format!("{SOCKET}{port}.lock"))),
    })
}

/// The data directory that a server wrote into the second line of its socket's lock file.
fn data_of(lock: &Path) -> Option<PathBuf> {
    let text = crate::regular::read_text(lock).ok()?;
    text.lines().nth(1).map(PathBuf::from).filter(|data| data.is_absolute())
}

/// The name of an account.
fn owner(uid: u32) -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut of = fields.filter(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid));
    of.next().and_then(|fields| fields.first().map(|name| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::servers_in;

    #[test]
    fn only_sockets_that_answer_are_servers_and_each_is_one() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let listener = UnixListener::bind(at(".s.PGSQL.5433")).unwrap();
        fs::write(at(".s.PGSQL.5433.lock"), "77\n/srv/pg\n1\n5433\n").unwrap();
        drop(UnixListener::bind(at(".s.PGSQL.5434")).unwrap());
        fs::write(at(".s.PGSQL.5435"), "").unwrap();
        std::os::unix::fs::symlink(scratch.path(), at("same")).unwrap();
        let found = servers_in([scratch.path().to_path_buf(), at("same"), at("none")].into_iter());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].port, found[0].data.as_deref()), (5433, Some("/srv/pg".as_ref())));
        assert!(!found[0].owner.is_empty());
        drop(listener);
    }
}
