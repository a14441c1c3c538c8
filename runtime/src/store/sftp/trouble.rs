//! What a file server's answers mean.

use std::io;

use russh_sftp::protocol::{Status, StatusCode};
use rustix::io::Errno;

/// How long a server's own words may be.
const WORDS: usize = 200;

/// What a server says that knows no better: no room, a quota, something of that name, a fault of its disk.
#[derive(Debug, thiserror::Error)]
#[error("the server says no more than `Failure`: {0}")]
pub struct Vague(&'static str);

/// There is no more.
#[derive(Debug, thiserror::Error)]
#[error("the server says that there is no more")]
struct End;

/// What an answer that is no success means.
pub fn of(status: &Status) -> io::Error {
    let said: String = status.error_message.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    let new = |kind: io::ErrorKind| io::Error::new(kind, format!("the server says: {}", said.trim()));
    match status.status_code {
        StatusCode::Eof => io::Error::other(End),
        StatusCode::NoSuchFile => new(io::ErrorKind::NotFound),
        StatusCode::PermissionDenied => new(io::ErrorKind::PermissionDenied),
        StatusCode::OpUnsupported => unsupported(),
        StatusCode::NoConnection | StatusCode::ConnectionLost => new(io::ErrorKind::NotConnected),
        StatusCode::Failure => {
            io::Error::other(Vague("no room, a quota, a limit of its own, or a fault of its disk"))
        }
        StatusCode::Ok | StatusCode::BadMessage => new(io::ErrorKind::Other),
    }
}

/// What a server does not offer, as a file system says it.
pub fn unsupported() -> io::Error {
    Errno::NOSYS.into()
}

/// Whether a server did not say why.
pub fn is_vague(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Vague>())
}

/// Whether a file or folder has no more.
pub fn is_end(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<End>())
}

/// Whether a server closed before anybody logged in: so do those that many come to at once.
pub fn is_crowded(error: &io::Error) -> bool {
    let text = error.to_string();
    error.kind() == io::ErrorKind::NotConnected
        && ["kex_exchange_identification", "Connection closed by", "Connection reset by"]
            .iter()
            .any(|words| text.contains(words))
}
