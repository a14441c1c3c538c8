//! Files that this program writes for others, such as units of systemd, and that people may change afterwards. A stamp in the
//! first line says what was written: what differs from it is somebody's work, and is not overwritten.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::load;
use crate::regular;

/// Bytes of the largest file that is looked at.
const LARGEST: u64 = 1 << 20;
const MARK: &str = "# Written by `plan schedule`, sum ";

/// What stands where a file is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// That file.
    Same,
    /// Another one, as this program wrote it.
    Ours(String),
    /// Another one, which somebody wrote or changed.
    Foreign(String),
}

/// The text with its stamp before it.
pub fn stamped(text: &str) -> String {
    format!("{MARK}{}; changed by hand, it is not overwritten.\n{text}", sum(text))
}

fn sum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// What stands at `path`, where the stamped `text` is to be. A link is followed to no file: what is behind it is foreign.
///
/// # Errors
/// When it cannot be read.
pub fn standing(path: &Path, text: &str) -> io::Result<Standing> {
    let bytes = match regular::read(path, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Nothing),
        read => read?,
    };
    let found = String::from_utf8_lossy(&bytes).into_owned();
    let is_link = path.symlink_metadata()?.is_symlink();
    if found == text && !is_link {
        return Ok(Standing::Same);
    }
    let is_ours = found
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('\n'))
        .is_some_and(|(stamp, rest)| stamp.split(';').next() == Some(sum(rest).as_str()));
    Ok(if is_ours && !is_link { Standing::Ours(found) } else { Standing::Foreign(found) })
}

/// Writes the file, where nothing stands or an older one of this program.
///
/// # Errors
/// When it is not in place; what stood there is as it was.
pub fn write(path: &Path, text: &str, over: &Standing) -> io::Result<()> {
    match over {
        Standing::Same => Ok(()),
        Standing::Ours(_) => load::rewrite(path, text),
        Standing::Nothing => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            if written.is_err() {
                // A half of it could be started.
                let _ = std::fs::remove_file(path);
            }
            written?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        }
        Standing::Foreign(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_somebody_changed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.timer");
        let (old, new) = (stamped("[Timer]\nold\n"), stamped("[Timer]\nnew\n"));
        assert_eq!(standing(&path, &old).unwrap(), Standing::Nothing);
        write(&path, &old, &Standing::Nothing).unwrap();
        assert_eq!(standing(&path, &old).unwrap(), Standing::Same);
        let ours = standing(&path, &new).unwrap();
        assert_eq!(ours, Standing::Ours(old.clone()));
        write(&path, &new, &ours).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), new);
        let changed = new.replace("new", "mine");
        std::fs::write(&path, &changed).unwrap();
        let foreign = standing(&path, &old).unwrap();
        assert_eq!(foreign, Standing::Foreign(changed.clone()));
        assert!(write(&path, &old, &foreign).is_err());
        assert!(write(&path, &old, &Standing::Nothing).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
        // What is ours behind a link is whoever's who made the link.
        std::fs::write(&path, &old).unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(matches!(standing(&folder.path().join("link"), &old).unwrap(), Standing::Foreign(_)));
    }
}
