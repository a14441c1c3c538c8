//! Clusters that nothing was done with yet. `initdb` takes longer than most of what is tested with its cluster, so it is run once for all
//! tests, and what it made is copied.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::scenario::shell;

static COPIED: AtomicBool = AtomicBool::new(false);

/// A data directory made by the `initdb` of a folder of programs: by `make`, where no test did so before, and copied then. A second one
/// of one test is always made, as two copies would be one cluster by their system identifier.
pub fn data_directory(programs: &Path, data: &Path, make: impl FnOnce()) {
    if COPIED.swap(true, Ordering::Relaxed) {
        return make();
    }
    let kept = kept(programs);
    if kept.is_dir() {
        copy(&kept, data);
        return;
    }
    make();
    let own = kept.with_extension(std::process::id().to_string());
    copy(data, &own);
    // Another test may have been quicker.
    if fs::rename(&own, &kept).is_err() {
        fs::remove_dir_all(&own).unwrap();
    }
}

/// Where the cluster lies that is copied, by who asks and for which programs.
fn kept(programs: &Path) -> PathBuf {
    let programs: String =
        programs.to_str().unwrap().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let who = shell(Path::new("/"), "id -u");
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{}{programs}", who.trim()))
}

fn copy(from: &Path, to: &Path) {
    shell(Path::new("/"), &format!("cp -a '{}' '{}'", from.display(), to.display()));
}
