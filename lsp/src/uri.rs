//! Paths as the protocol writes them.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use lsp_types::Uri;

/// Folders that no file is in, around a text that is no file: `..` does not lead out of so many.
const NO_FOLDERS: usize = 64;

/// The normalised path that a `file:` URI names; one of another scheme (a text that was never saved) gets a path that no
/// file has, so that nothing on the disk is taken for it.
pub(crate) fn to_path(uri: &Uri) -> PathBuf {
    let text = uri.as_str();
    let Some(path) = text.strip_prefix("file://") else {
        return Path::new(&"/\0".repeat(NO_FOLDERS)).join(text.replace(['/', '\\'], "_"));
    };
    // What stands before the first slash is a host, which is this one.
    let path = path.find('/').map_or("/", |at| &path[at..]);
    let decoded = PathBuf::from(OsString::from_vec(decode(path.as_bytes())));
    normalise(&decoded)
}

/// Whether a path is that of a text that is no file, or was found from there.
pub(crate) fn is_of_no_file(path: &Path) -> bool {
    path.starts_with("/\0")
}

/// The `file:` URI of an absolute path.
pub(crate) fn of_path(path: &Path) -> Option<Uri> {
    let mut text = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(*byte));
            }
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    Uri::from_str(&text).ok()
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            (byte, ..) => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// A path without `.` and `..`, by its words alone: as the compiler reads imports.
fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;
    use std::str::FromStr;

    use lsp_types::Uri;

    use super::{is_of_no_file, of_path, to_path};

    #[test]
    fn paths_come_back() {
        for path in ["/etc/backplan/a b.plan", "/tmp/é%41#?.plan", "/"] {
            assert_eq!(to_path(&of_path(Path::new(path)).unwrap()), Path::new(path));
        }
    }

    #[test]
    fn what_editors_write_is_read() {
        let path = |text: &str| to_path(&Uri::from_str(text).unwrap());
        assert_eq!(path("file:///srv/a%20b/../c.plan"), Path::new("/srv/c.plan"));
        assert_eq!(path("file://localhost/srv/c.plan"), Path::new("/srv/c.plan"));
        assert!(is_of_no_file(&path("untitled:Untitled-1")));
        assert!(
            is_of_no_file(&path("git:/srv/c.plan?ref=HEAD")) && !is_of_no_file(&path("file:///srv/c.plan"))
        );
    }
}
