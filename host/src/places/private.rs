//! Folders that nobody else may look into.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Mode, fchmod};

use super::folder::Folder;
use crate::lasting;

/// Makes a folder and its parents, readable by this account only.
///
/// # Errors
/// The system's, with the path.
pub fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|cause| cannot(folder, &cause))
}

/// The same in a folder that is there: where that was moved away meanwhile, it is not made anew.
///
/// # Errors
/// The system's, with the path; one that is there already is none.
pub fn make_private_within(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.map_err(|cause| cannot(folder, &cause)),
    }
}

fn cannot(folder: &Path, cause: &io::Error) -> io::Error {
    let mend = lasting::mend(cause);
    io::Error::new(cause.kind(), format!("cannot make `{}`: {cause}{mend}", folder.display()))
}

/// Makes a folder and its parents, through which other accounts may pass without looking into them. What is there stays as it is.
///
/// # Errors
/// The system's, with the path.
pub fn make_passable(folder: &Path) -> io::Result<()> {
    let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        make_private(folder)?;
        // Whatever the mask of this process takes away.
        fchmod(Folder::open(folder)?.fd(), Mode::from_raw_mode(0o711))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_is_made_is_made_passable() {
        let scratch = tempfile::tempdir().unwrap();
        let mode = |path: &str| fs::metadata(scratch.path().join(path)).unwrap().permissions().mode() & 0o777;
        make_private(&scratch.path().join("a")).unwrap();
        make_passable(&scratch.path().join("a/b/c")).unwrap();
        assert_eq!([mode("a"), mode("a/b"), mode("a/b/c")], [0o700, 0o711, 0o711]);
        make_passable(&scratch.path().join("a")).unwrap();
        assert_eq!(mode("a"), 0o700);
    }
}
