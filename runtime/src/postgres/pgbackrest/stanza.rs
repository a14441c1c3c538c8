//! Making a stanza, also where an earlier attempt was cut short.
//!
//! `stanza-create` writes `archive.info` and its copy, then `backup.info` and its copy. Cut short in between it refuses to go
//! on (55, or 40 for half a file), and says that this may be corruption. It is none as long as there is no backup: the log
//! that the server has pushed since stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{LOCKED, Tool, process};
use crate::places::folder;
use crate::postgres::{DriverError, text};
use crate::programs::process::ProcessError;

/// Files of the archive and of the backups that tell what the stanza is of.
const ARCHIVE: [&str; 2] = ["archive.info", "archive.info.copy"];
const BACKUP: [&str; 2] = ["backup.info.copy", "backup.info"];
/// What a file is called until it is whole.
const HALF: &str = ".pgbackrest.tmp";
/// How long a lock is waited for that comes free again and again, and between two looks.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(300);
/// A folder of this name is made and removed beside the settings.
const ASIDE: &str = "backplan-stanza";

impl Tool<'_> {
    /// Makes the stanza, and sees that the server's log arrives; says what it mended.
    pub(super) fn make_stanza(&self) -> Result<Option<String>, DriverError> {
        let mended = self.mend_stanza()?;
        self.create_stanza()?;
        self.run("check", &[])?;
        Ok(mended)
    }

    /// Makes it between two pushes of the server's: where the log goes to several repositories and this one has no stanza yet, a push
    /// that is not waited for fails and begins again, and holds the lock that is wanted most of the time.
    fn create_stanza(&self) -> Result<(), DriverError> {
        let program = self.command("stanza-create", &[]);
        let begun = Instant::now();
        loop {
            match process::run(&program, self.job.control, self.job.tell) {
                Err(ProcessError::Status { status, .. })
                    if status.code() == Some(LOCKED) && begun.elapsed() < PATIENCE =>
                {
                    thread::sleep(PAUSE);
                }
                made => return made.map(drop).map_err(|error| self.explain(error)),
            }
        }
    }

    fn mend_stanza(&self) -> Result<Option<String>, DriverError> {
        let (archive, backup) = (self.names("archive")?, self.names("backup")?);
        let has =
            |names: &BTreeSet<String>, wanted: [&str; 2]| wanted.iter().any(|name| names.contains(*name));
        let is_backup = |name: &String| name.starts_with(|first: char| first.is_ascii_digit());
        // With backups it is no stanza that was never made: what the tool says of it is right.
        if has(&backup, BACKUP) || backup.iter().any(is_backup) {
            return Ok(None);
        }
        let halves = [("archive", ARCHIVE, &archive), ("backup", BACKUP, &backup)];
        let halves = halves.iter().flat_map(|(part, whole, there)| {
            let half = |name: &&&str| there.contains(&format!("{name}{HALF}"));
            whole.iter().filter(half).map(move |name| format!("{part}/{}/{name}{HALF}", self.stanza))
        });
        let halves: Vec<String> = halves.collect();
        for half in &halves {
            self.remove(half)?;
        }
        let is_half = has(&archive, ARCHIVE);
        if is_half {
            self.refuse_other_archive(&archive)?;
            self.lend_backup_info()?;
        }
        let told = "the stanza was made only in part by a run that was cut short; the rest was made now";
        Ok((is_half || !halves.is_empty()).then(|| told.to_owned()))
    }

    /// What is in the stanza's folder of `archive` or `backup`.
    pub(super) fn names(&self, part: &str) -> Result<BTreeSet<String>, DriverError> {
        self.names_below(&format!("{part}/{}", self.stanza))
    }

    /// What is in a folder of the repository.
    pub(super) fn names_below(&self, folder: &str) -> Result<BTreeSet<String>, DriverError> {
        let listed = self.silently("repo-ls", &[folder])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// The archive may be that of another cluster, whatever its stanza is called.
    fn refuse_other_archive(&self, there: &BTreeSet<String>) -> Result<(), DriverError> {
        let name = ARCHIVE.into_iter().find(|name| there.contains(*name)).unwrap_or(ARCHIVE[0]);
        let told = self.silently("repo-get", &[&format!("archive/{}/{name}", self.stanza)])?;
        let theirs = told.lines().find_map(|line| line.strip_prefix("db-system-id=")).unwrap_or_default();
        match self.job.server()?.system_id {
            Some(ours) if ours == theirs => Ok(()),
            _ => Err(DriverError::Lasting(format!(
                "the repository `{}` belongs to another cluster: its archive is of system identifier `{theirs}`; {}",
                self.repository.location(),
                self.mend_of_another(),
            ))),
        }
    }

    /// Has the tool make the stanza elsewhere, and takes what is missing from there.
    fn lend_backup_info(&self) -> Result<(), DriverError> {
        let aside = self.job.folder.join(ASIDE);
        self.clear(&aside)?;
        self.job.hand_over(&aside)?;
        let place = format!("--repo1-path={}", text(&aside));
        let made = self.run("stanza-create", &["--repo1-type=posix", &place]);
        let lent = made.and_then(|()| {
            // The copy first: what has both is whole.
            BACKUP.iter().try_for_each(|name| {
                self.put(
                    &aside.join("backup").join(self.stanza).join(name),
                    &format!("backup/{}/{name}", self.stanza),
                )
            })
        });
        self.clear(&aside)?;
        lent
    }

    fn clear(&self, folder: &Path) -> Result<(), DriverError> {
        self.job.as_account(folder, || Ok(folder::remove(folder)?))
    }

    /// Puts a file into the repository as it is.
    fn put(&self, from: &Path, to: &str) -> Result<(), DriverError> {
        let folder = match self.repository.is_remote() {
            true => None,
            false => self.repository.settings().get("path").map(Path::new),
        };
        let Some(folder) = folder else {
            let mut program = self.command("repo-put", &["--raw"]);
            program.argv.push(to.to_owned());
            // It reads what it is to put from its standard input.
            let shell = ["sh", "-c", "exec \"$@\" < \"$0\""].map(str::to_owned);
            program.argv = shell.into_iter().chain([text(from)]).chain(program.argv).collect();
            return process::run(&program, self.job.control, self.job.tell)
                .map(drop)
                .map_err(|error| self.explain(error));
        };
        let to = folder.join(to);
        if let Some(above) = to.parent() {
            self.job.run(vec!["mkdir".to_owned(), "-p".to_owned(), text(above)])?;
        }
        let bytes = self.job.as_account(from, || fs::read(from))?;
        self.replace(&to, &bytes, 0o640)
    }

    fn remove(&self, name: &str) -> Result<(), DriverError> {
        let folder = self.repository.settings().get("path").filter(|_| !self.repository.is_remote());
        // Where files are put whole there are no halves.
        let Some(folder) = folder else { return Ok(()) };
        let path = Path::new(folder).join(name);
        self.job.as_account(&path, || fs::remove_file(&path))
    }

    /// What a command says, which is not for the log.
    pub(super) fn silently(&self, command: &str, operands: &[&str]) -> Result<String, DriverError> {
        let mut program = self.command(command, &[]);
        program.argv.extend(operands.iter().map(|operand| (*operand).to_owned()));
        let silent: process::Tell = std::sync::Arc::new(|_| {});
        let out = process::run(&program, self.job.control, &silent).map_err(|error| self.explain(error))?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
