//! Folders that nobody else may look into.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::lasting;

/// Makes a folder and its parents, readable by this account only.
///
/// # Errors
/// The system's, with the path.
pub fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|cause| {
        let mend = lasting::mend(&cause);
        io::Error::new(cause.kind(), format!("cannot make `{}`: {cause}{mend}", folder.display()))
    })
}
