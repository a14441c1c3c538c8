//! Tools that work on what a store gave: what they write is told beforehand, and they are held to that.
//!
//! Unlike a server such a tool is told where to write, and it is the only way to the data. So where the system permits no
//! confinement it runs all the same, and that is told.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ConfineError, Confinement, HeldBy, NAME, inside, over, start};
use backplan_host::ids::Nonce;

use crate::aide;
use crate::control::Control;
use crate::places::folder;

/// What a tool may write, and how it is held to it.
#[derive(Debug)]
pub struct Bounds {
    way: Result<HeldBy, String>,
    wanted: Confinement,
    scratch: Scratch,
}

/// A folder that is gone when this is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing to be done about one that does not go; it holds no data.
        let _ = folder::remove(&self.0);
    }
}

impl Bounds {
    /// Bounds to these folders, which are there, and a scratch folder: in `near`, where whoever cleans up behind a kill finds it, or
    /// where that cannot be, or is nowhere, among temporary files.
    ///
    /// # Errors
    /// When no scratch folder can be made, or it is to stop; not where the system permits no confinement.
    pub fn find(own: &[PathBuf], near: Option<&Path>, control: &Control) -> Result<Bounds, ConfineError> {
        let name = format!("backplan-{}", Nonce::random());
        // Made, never found: what somebody else made there is not to be trusted.
        let make = |path: PathBuf| DirBuilder::new().mode(0o700).create(&path).map(|()| Scratch(path));
        let scratch = match near.map(|near| make(near.join(&name))) {
            Some(Ok(scratch)) => scratch,
            Some(Err(_)) | None => make(std::env::temp_dir().join(&name))?,
        };
        let place = scratch.0.join("root");
        DirBuilder::new().mode(0o700).create(&place)?;
        let own = own.iter().chain([&scratch.0]).cloned().collect();
        let wanted = Confinement { own, place, ..Confinement::default() };
        let way = match aide::is_offered() {
            true => tried(&wanted, control)?,
            false => Err("no program of Backplan's own is at hand".to_owned()),
        };
        Ok(Bounds { way, wanted, scratch })
    }

    /// A folder that the tool may write, gone when this is.
    pub fn scratch(&self) -> &Path {
        &self.scratch.0
    }

    /// Why it is held to nothing, where it is not.
    pub fn refusal(&self) -> Option<&str> {
        self.way.as_ref().err().map(String::as_str)
    }

    /// What starts a program within them, in a folder; `None`: it is started as it is.
    pub(crate) fn command(&self, argv: &[&str], folder: &Path) -> std::io::Result<Option<Command>> {
        let Ok(way) = self.way else { return Ok(None) };
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let mut command = aide::command(NAME)?;
        command.arg(OsStr::new(inside::SILENT)).args(inside::words(way, &self.wanted, folder, &argv));
        Ok(Some(command))
    }
}

/// The way that the system permits, or why it permits none.
fn tried(wanted: &Confinement, control: &Control) -> Result<Result<HeldBy, String>, ConfineError> {
    let nowhere = File::options().write(true).open("/dev/null")?;
    match start(wanted, &["true".into()], Path::new("/"), &nowhere, control) {
        Ok(mut confined) => {
            over(&mut confined.child)?;
            Ok(Ok(confined.held))
        }
        Err(ConfineError::Refused(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}
