//! pg_probackup with its catalogue in the source's `staging`: kept between runs while the plan has incrementals, removed
//! with its folder after each run while it has none.
//!
//! Arguments and the JSON of `show` are those of pg_probackup 2.5. The tool ends with 0 or 1 only; what went wrong is in its
//! last words.

use std::fs;
use std::io;

use backplan_compiler::model::Level;
use backplan_compiler::model::Worded;
use serde::Deserialize;

use super::{Abilities, Backup, Driver, DriverError, Job, names, text, tools};
use crate::catalog::labels::Labels;
use crate::places::folder::Folder;
use crate::programs::process::{self, Tell};

/// What a catalogue has directly in it. Anything else was put there by somebody.
const CATALOGUE: [&str; 2] = ["backups", "wal"];

/// The driver.
pub struct Probackup;

impl Driver for Probackup {
    fn abilities(&self) -> Abilities {
        Abilities { levels: true, repository: true }
    }

    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        // Of a catalogue that is new in each run the tool knows no other cluster.
        let mut labels = job.server_if_told()?;
        job.same_cluster(&labels)?;
        job.hand_over(job.folder)?;
        let tool = Tool::new(job)?;
        let mut warnings = tool.prepare()?;
        let mode = match job.level {
            Level::Full => "FULL".to_owned(),
            Level::Differential | Level::Incremental => job.postgres.backup_mode.word().to_uppercase(),
        };
        let ends_cycle = job.level == Level::Full && job.has_cycle;
        let before = if ends_cycle { tool.show()? } else { Vec::new() };
        tool.run("backup", &tool.backup_options(&mode))?;
        let listed = tool.show()?;
        let made = listed.iter().filter(|backup| backup.status == "OK").max_by_key(|backup| &backup.id);
        let made = made.ok_or_else(|| {
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
        Ok(Backup { labels, warnings, ..Backup::default() })
    }

    fn expire(&self, job: &Job<'_>, labels: &Labels) -> Result<(), DriverError> {
        if !job.has_cycle {
            return remove_catalogue(job);
        }
        if labels.kind.as_deref() != Some("FULL") {
            return Ok(());
        }
        Tool::new(job)?.drop_earlier()
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

    /// Sees that catalogue and instance are there, and removes what failed attempts left. Gives what a person should read.
    fn prepare(&self) -> Result<Vec<String>, DriverError> {
        if !self.job.folder.join("backups").is_dir() {
            self.job.run(self.argv("init", false, &[]))?;
        }
        if !self.job.folder.join("backups").join(self.instance).is_dir() {
            let data = self.job.data_directory()?;
            self.run("add-instance", &[format!("--pgdata={data}")])?;
        }
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

    /// Removes what was before the newest full.
    fn drop_earlier(&self) -> Result<(), DriverError> {
        let options = ["--delete-expired", "--delete-wal", "--retention-redundancy=1"].map(str::to_owned);
        self.run("delete", &options)
    }

    /// The same before the full is packed, so that its artefact holds no other cycle: where the newest of `before` is whole in
    /// every store, and with it all.
    fn drop_settled(&self, before: &[Listed]) -> Result<Option<String>, DriverError> {
        let newest = before.iter().filter(|backup| backup.status == "OK").max_by_key(|backup| &backup.id);
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

    fn show(&self) -> Result<Vec<Listed>, DriverError> {
        let silent: Tell = std::sync::Arc::new(|_| {});
        let program = self.job.program(self.argv("show", false, &["--format=json".to_owned()]));
        let out = process::run(&program, self.job.control, &silent)?;
        parse(&out, self.instance).map_err(|error| {
            DriverError::Lasting(format!(
                "pg_probackup's `show` cannot be understood: {error}; is it older than 2.5?"
            ))
        })
    }
}

fn parse(json: &[u8], instance: &str) -> Result<Vec<Listed>, serde_json::Error> {
    let all: Vec<Instance> = serde_json::from_slice(json)?;
    Ok(all
        .into_iter()
        .find(|listed| listed.instance == instance)
        .map(|listed| listed.backups)
        .unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Instance {
    instance: String,
    #[serde(default)]
    backups: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    /// Six characters that grow with time.
    id: String,
    parent_backup_id: Option<String>,
    #[serde(rename = "backup-mode")]
    mode: String,
    status: String,
    start_lsn: Option<String>,
    stop_lsn: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    /// Bytes of the data directory, however little of it was copied.
    pgdata_bytes: Option<u64>,
    current_tli: Option<u32>,
    server_version: Option<String>,
}

impl Listed {
    /// What a killed or failed attempt leaves: nothing rests on it, and later backups go on beside it.
    fn has_failed(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "ERROR")
    }

    fn labels(&self) -> Labels {
        Labels {
            label: Some(self.id.clone()),
            kind: Some(self.mode.clone()),
            prior: self.parent_backup_id.clone(),
            lsn_start: self.start_lsn.clone(),
            lsn_stop: self.stop_lsn.clone(),
            started: self.start_time.clone(),
            stopped: self.end_time.clone(),
            database_bytes: self.pgdata_bytes,
            timeline: self.current_tli.map(|timeline| timeline.to_string()),
            server_version: self.server_version.clone(),
            ..Labels::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_show_says_becomes_labels() {
        let json = br#"[{"instance":"other","backups":[]},{"instance":"rosemeta","backups":[
            {"id":"SUP3RD","parent-backup-id":"SUP3QA","backup-mode":"DELTA","wal":"STREAM","status":"OK",
             "start-lsn":"0/C000028","stop-lsn":"0/C000160","start-time":"2026-11-20 02:30:00+00",
             "end-time":"2026-11-20 02:30:09+00","data-bytes":1200,"pgdata-bytes":34000,"wal-bytes":16777216,"current-tli":1},
            {"id":"SUP3QA","backup-mode":"FULL","wal":"STREAM","status":"ERROR"}]}]"#;
        let listed = parse(json, "rosemeta").unwrap();
        let labels = listed[0].labels();
        assert_eq!((labels.label.as_deref(), labels.prior.as_deref()), (Some("SUP3RD"), Some("SUP3QA")));
        assert_eq!((labels.kind.as_deref(), labels.lsn_stop.as_deref()), (Some("DELTA"), Some("0/C000160")));
        assert_eq!(labels.database_bytes, Some(34_000));
        // The second that it ended in is over then.
        assert_eq!(labels.ended(), "2026-11-20T02:30:10Z".parse().ok());
        assert!(listed[1].has_failed() && !listed[0].has_failed());
        assert!(parse(json, "absent").unwrap().is_empty());
        assert!(parse(b"ERROR: no catalogue", "x").is_err());
    }
}
