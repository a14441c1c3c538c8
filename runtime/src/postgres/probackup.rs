//! pg_probackup with its catalogue in the source's `staging`: kept between runs while the plan has incrementals, removed
//! with its folder after each run while it has none. That of a `separate` source is in its store, and holds what the manifests
//! beside it name ([`apart`]).
//!
//! Arguments and the JSON of `show` are those of pg_probackup 2.5. The tool ends with 0 or 1 only; what went wrong is in its
//! last words.

mod apart;
pub mod inspect;
mod listed;

use std::fs;
use std::io;

use backplan_compiler::model::Level;
use backplan_compiler::model::Worded;
use listed::{Listed, parse};

use jiff::Timestamp;

use super::rehearse::{Needs, cluster};
use super::restore::cluster::{ClusterError, ClusterWish};
use super::restore::{self, PutBack};
use super::{Backup, Driver, DriverError, Job, names, text, tools};
use crate::backups::shelf::Shelves;
use crate::catalog::labels::Labels;
use crate::places::folder::Folder;
use crate::programs::process::{self, ProcessError, Tell};
use crate::rehearse::{RehearseError, Stage};

/// What a catalogue has directly in it. Anything else was put there by somebody.
const CATALOGUE: [&str; 2] = ["backups", "wal"];

/// What the tool calls a whole backup.
const FULL: &str = "FULL";
/// What it says where there is nothing that another could rest on.
const NO_FULL: &str = "new full backup before an incremental one";

/// What to do about a catalogue of another cluster.
pub fn mend_of_another() -> &'static str {
    "mend `host`, `port` or the server; if this one is to take the place of the other, as after a major upgrade, give the source \
     another name, and with it a catalogue of its own: the old backups stay where they are"
}

/// The driver.
pub struct Probackup;

impl Driver for Probackup {
    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        if job.separate.is_some() {
            // Before it knew the run, the tool would leave a failed backup that nobody can tell from others.
            job.answers()?;
        }
        // Of a catalogue that is new in each run the tool knows no other cluster.
        let mut labels = job.server_if_told()?;
        job.same_cluster(&labels)?;
        job.hand_over(job.folder)?;
        let tool = Tool::new(job)?;
        let mut warnings = match &job.separate {
            Some(apart) => tool.prepare_apart(apart, &labels)?,
            None => tool.prepare()?,
        };
        let mode = match job.level {
            Level::Full => FULL.to_owned(),
            Level::Differential | Level::Incremental => job.postgres.backup_mode.word().to_uppercase(),
        };
        let ends_cycle = job.level == Level::Full && job.has_cycle && job.separate.is_none();
        let before = if ends_cycle { tool.show()? } else { Vec::new() };
        warnings.extend(tool.make(&mode)?);
        let listed = tool.show()?;
        let made = listed.iter().filter(|backup| backup.is_whole() && tool.is_of_this_run(backup));
        let made = made.max_by_key(|backup| &backup.id).ok_or_else(|| {
            DriverError::Passing("pg_probackup made a backup and does not list it".to_owned())
        })?;
        // By its id: of an instance that holds any failed backup it says that all is bad.
        tool.run("validate", &[format!("--backup-id={}", made.id)])?;
        if made.mode != mode {
            warnings.push(format!("pg_probackup made a {} backup, not a {mode}", made.mode));
        }
        if ends_cycle {
            warnings.extend(tool.drop_settled(&before)?);
        }
        labels.extend(made.labels());
        if let Some(apart) = &job.separate {
            warnings.extend(tool.drop_failed(&listed)?);
            tool.label_apart(apart, made, &listed, &mut labels)?;
        }
        Ok(Backup { labels, warnings, ..Backup::default() })
    }

    fn expire(&self, job: &Job<'_>, labels: &Labels) -> Result<Vec<String>, DriverError> {
        if let Some(apart) = &job.separate {
            return Tool::new(job)?.expire_forgotten(apart);
        }
        if !job.has_cycle {
            return remove_catalogue(job).map(|()| Vec::new());
        }
        if labels.kind.as_deref() == Some(FULL) {
            Tool::new(job)?.drop_earlier()?;
        }
        Ok(Vec::new())
    }

    fn put_back<'s>(
        &self,
        shelves: &'s Shelves,
        wish: ClusterWish,
        now: Timestamp,
    ) -> Result<Box<dyn PutBack + 's>, ClusterError> {
        Ok(Box::new(restore::probackup::plan(shelves, wish.into(), now)?))
    }

    fn rehearse(&self, stage: &mut Stage<'_>, needs: Needs) -> Result<(), RehearseError> {
        cluster::play(stage, needs, |stage, needs| cluster::have_put_back(stage, needs, self, "pg_probackup"))
    }
}

/// Removes the catalogue with its folder, if nothing else is in it.
fn remove_catalogue(job: &Job<'_>) -> Result<(), DriverError> {
    let failed = |cause| DriverError::File { path: job.folder.to_path_buf(), cause };
    match fs::symlink_metadata(job.folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(meta) if !meta.is_dir() => {
            return Err(DriverError::Lasting(format!(
                "`{}` is not a folder; it stays",
                job.folder.display()
            )));
        }
        other => other.map_err(failed)?,
    };
    let foreign = job.as_account(job.folder, || {
        let folder = Folder::open(job.folder)?;
        let names = folder.names()?;
        let foreign = names.into_iter().find(|name| !CATALOGUE.iter().any(|own| name == own));
        if foreign.is_none() {
            folder.empty(&|_| true, job.control)?;
        }
        Ok(foreign)
    })?;
    match foreign {
        // Of a folder that somebody has put something into meanwhile nothing goes.
        None => fs::remove_dir(job.folder).map_err(failed),
        Some(name) => Err(DriverError::Lasting(format!(
            "`{}` holds `{}`, which is not pg_probackup's: it stays; move that elsewhere",
            job.folder.display(),
            name.to_string_lossy()
        ))),
    }
}

struct Tool<'a> {
    job: &'a Job<'a>,
    program: String,
    instance: &'a str,
}

impl<'a> Tool<'a> {
    fn new(job: &'a Job<'a>) -> Result<Tool<'a>, DriverError> {
        let instance = job.postgres.stanza.as_deref().unwrap_or(job.source);
        Ok(Tool { job, program: tools::find("pg_probackup")?, instance })
    }

    /// Sees that catalogue and instance are there.
    fn have_instance(&self) -> Result<(), DriverError> {
        if !self.job.folder.join("backups").is_dir() {
            self.job.run(self.argv("init", false, &[]))?;
        }
        if !self.job.folder.join("backups").join(self.instance).is_dir() {
            let data = self.job.data_directory()?;
            self.run("add-instance", &[format!("--pgdata={data}")])?;
        }
        Ok(())
    }

    /// The same, and removes what failed attempts left. Gives what a person should read.
    fn prepare(&self) -> Result<Vec<String>, DriverError> {
        self.have_instance()?;
        let mut warnings = Vec::new();
        for left in self.show()?.iter().filter(|backup| backup.has_failed()) {
            let id = &left.id;
            match self.run("delete", &[format!("--backup-id={id}")]) {
                Ok(()) => warnings.push(format!("the failed backup `{id}` ({}) was removed", left.status)),
                Err(error) if error.is_stopped() => return Err(error),
                Err(error) => warnings.push(format!("the failed backup `{id}` stays: {error}")),
            }
        }
        Ok(warnings)
    }

    /// Makes a backup; a full where there is none that it could rest on. Says so then.
    fn make(&self, mode: &str) -> Result<Option<String>, DriverError> {
        match self.run("backup", &self.backup_options(mode)) {
            Err(DriverError::Tool(ProcessError::Status { words, .. }))
                if mode != FULL && words.iter().any(|line| line.to_lowercase().contains(NO_FULL)) =>
            {
                self.run("backup", &self.backup_options(FULL))?;
                Ok(Some("its catalogue has nothing that a backup could rest on".to_owned()))
            }
            made => made.map(|()| None),
        }
    }

    /// Removes what was before the newest full.
    fn drop_earlier(&self) -> Result<(), DriverError> {
        let options = ["--delete-expired", "--delete-wal", "--retention-redundancy=1"].map(str::to_owned);
        self.run("delete", &options)
    }

    /// The same before the full is packed, so that its artefact holds no other cycle: where the newest of `before` is whole in
    /// every store, and with it all.
    fn drop_settled(&self, before: &[Listed]) -> Result<Option<String>, DriverError> {
        let newest = before.iter().filter(|backup| backup.is_whole()).max_by_key(|backup| &backup.id);
        let is_settled =
            |backup: &Listed| self.job.is_settled.is_some_and(|is_settled| is_settled(&backup.id));
        if !newest.is_some_and(is_settled) {
            return Ok(None);
        }
        match self.drop_earlier() {
            Ok(()) => Ok(None),
            Err(error) if error.is_stopped() => Err(error),
            Err(error) => Ok(Some(format!("the backups before this full are in its artefact too: {error}"))),
        }
    }

    fn backup_options(&self, mode: &str) -> Vec<String> {
        let postgres = self.job.postgres;
        let mut options = vec![format!("--backup-mode={mode}")];
        options.extend(
            ["--stream", "--temp-slot", "--compress-algorithm=zlib", "--no-password"].map(str::to_owned),
        );
        options.extend(postgres.jobs.map(|jobs| format!("--threads={jobs}")));
        options.extend(postgres.host.as_ref().map(|host| format!("--pghost={host}")));
        options.extend(postgres.port.map(|port| format!("--pgport={port}")));
        options.extend(postgres.user.as_ref().map(|user| format!("--pguser={user}")));
        let database = postgres.database.as_deref().map(names::connection_to);
        options.extend(database.map(|database| format!("--pgdatabase={database}")));
        options.extend(self.note().map(|note| format!("--note={note}")));
        options
    }

    fn argv(&self, command: &str, of_instance: bool, options: &[String]) -> Vec<String> {
        let mut argv = vec![self.program.clone(), command.to_owned()];
        argv.push(format!("--backup-path={}", text(self.job.folder)));
        argv.extend(of_instance.then(|| format!("--instance={}", self.instance)));
        argv.extend(options.iter().cloned());
        argv
    }

    fn run(&self, command: &str, options: &[String]) -> Result<(), DriverError> {
        self.job.run(self.argv(command, true, options)).map(drop)
    }

    /// What a command says, which is for this program, and not for the log.
    fn told(&self, command: &str, of_instance: bool) -> Result<Vec<u8>, DriverError> {
        let silent: Tell = std::sync::Arc::new(|_| {});
        let program = self.job.program(self.argv(command, of_instance, &["--format=json".to_owned()]));
        Ok(process::run(&program, self.job.control, &silent)?)
    }

    fn show(&self) -> Result<Vec<Listed>, DriverError> {
        parse(&self.told("show", false)?, self.instance).map_err(|error| {
            DriverError::Lasting(format!(
                "pg_probackup's `show` cannot be understood: {error}; is it older than 2.5?"
            ))
        })
    }
}
