//! The file system that a source lies on which is no tree of files. What is made anew in its mount point, while it is not
//! mounted, is another database.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backplan_compiler::model::{Model, SourceId};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::catalog::mounted::Mounted;
use crate::catalog::names::{HostPath, PlanName};
use crate::places::mounts::Mounts;
use crate::text::printable;

/// What a source lies on whose database is at `path`, held against what it lay on before; `None`: what everything is on.
///
/// # Errors
/// In words, what is not mounted any more.
pub(super) fn see(
    model: &Model,
    id: SourceId,
    expected: &[Mounted],
    path: &Path,
) -> Result<Option<Mounted>, String> {
    let now = look(&model.source(id).name, path);
    // What a window mounts may be another one each night, as a snapshot is.
    let is_in_window = model.windows.iter().any(|window| window.around.contains(&id));
    let is_there = |wanted: &Mounted| {
        now.as_ref().is_some_and(|now| {
            let is_same = wanted.is_same(&now.kind, now.identity.as_deref(), &now.mount);
            is_same || is_in_window && *now.mount == *wanted.mount
        })
    };
    let own = || expected.iter().filter(|wanted| *wanted.path == *path);
    match own().find(|wanted| !is_there(wanted)) {
        Some(wanted) if !own().any(is_there) => Err(told(wanted, now.as_ref())),
        _ => Ok(now.filter(|_| path.exists())),
    }
}

fn look(source: &str, path: &Path) -> Option<Mounted> {
    let open = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    // Where it is not there, what it would be on.
    let fd: OwnedFd = path.ancestors().find_map(|path| open(path).ok())?;
    let mounts = Mounts::now();
    let mount = mounts.of(&fd).filter(|mount| mount.point != Path::new("/") && mount.is_lasting())?;
    Some(Mounted {
        source: PlanName::known(source),
        path: HostPath::known(path),
        mount: HostPath::known(&mount.point),
        kind: mount.kind.clone(),
        identity: mount.identity(&fd),
        leaves: 1,
        bytes: 0,
        run: None,
    })
}

fn told(wanted: &Mounted, now: Option<&Mounted>) -> String {
    let shown = |path: &Path| printable(path.as_os_str().as_bytes());
    let (path, mount, kind) = (shown(&wanted.path), shown(&wanted.mount), printable(wanted.kind.as_bytes()));
    let run = wanted.run.map(|run| format!(" in run {run}")).unwrap_or_default();
    let is = match now {
        Some(now) if *now.mount == *wanted.mount => {
            format!("is another one ({})", printable(now.kind.as_bytes()))
        }
        _ => "is not mounted".to_owned(),
    };
    format!(
        "`{path}` was on a file system ({kind}) that was mounted at `{mount}`{run}, and that {is}: mount it; if it is given up for \
         good, say once: `plan run FILE --unmounted {mount}`"
    )
}
