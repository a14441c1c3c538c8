//! Looks into a catalogue in a store's folder, by the tool: is it of this cluster, are its backups whole.
//!
//! `validate` notes in the catalogue what it finds damaged: it runs as the account that the catalogue belongs to, whoever asks, so
//! that no file in it becomes somebody else's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::listed::{self, Listed};
use crate::control::Control;
use crate::places::account;
use crate::postgres::inspect::{Contents, Fault, Standing};
use crate::postgres::{DriverError, text, tools};
use crate::programs::process::{self, ProcessError, Program, Tell};

/// An instance of a catalogue.
#[derive(Clone, Copy)]
pub struct Inspection<'a> {
    /// The catalogue.
    pub folder: &'a Path,
    /// What the tool calls the cluster.
    pub instance: &'a str,
}

impl Inspection<'_> {
    /// Whether there is anything of it.
    pub fn is_there(&self) -> bool {
        self.folder.join("backups").join(self.instance).is_dir()
    }

    /// Of which cluster it is.
    ///
    /// # Errors
    /// When the tool is not here, or was asked to stop.
    pub fn standing(&self, control: &Control) -> Result<Standing, DriverError> {
        if !self.is_there() {
            return Ok(Standing::Missing);
        }
        match self.ask("show-config", &["--format=json".to_owned()], control) {
            Ok(said) => Ok(match listed::config(&said).system_id {
                Some(system_id) => Standing::Of { system_id, earlier: Vec::new() },
                None => Standing::Unreadable("`show-config` names no cluster".to_owned()),
            }),
            Err(DriverError::Tool(error @ ProcessError::Status { .. })) => {
                Ok(Standing::Unreadable(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Has the tool read every file of these backups, and of what they rest on.
    ///
    /// # Errors
    /// When the tool is not here, or does not answer: this says nothing of the catalogue.
    pub fn look(&self, wanted: &BTreeSet<String>, control: &Control) -> Result<Contents, DriverError> {
        let known = self.known(control)?;
        let mut contents = Contents::default();
        for label in wanted {
            match self.fault(label, &known, control)? {
                None => contents.backups += 1,
                Some(what) => contents.faults.push(Fault { what, ..Fault::default() }),
            }
        }
        Ok(contents)
    }

    fn fault(&self, label: &str, known: &[Listed], control: &Control) -> Result<Option<String>, DriverError> {
        match known.iter().find(|backup| backup.id == *label) {
            None => return Ok(Some(format!("backup `{label}` is not there"))),
            Some(backup) if !backup.is_whole() => {
                return Ok(Some(format!("backup `{label}` is {}, by the tool's own word", backup.status)));
            }
            Some(_) => {}
        }
        let error = match self.validate(label, control) {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        let DriverError::Tool(ProcessError::Status { words, .. }) = &error else { return Err(error) };
        // It notes what it finds damaged. Where it could not look, for want of a right or of its lock, it ends alike.
        let still = self.known(control)?;
        match still.iter().any(|backup| backup.id == *label && backup.is_whole()) {
            true => Err(error),
            false => Ok(Some(format!("backup `{label}` is damaged: {}", words.join(" ")))),
        }
    }

    /// Its backups, as the tool lists them.
    fn known(&self, control: &Control) -> Result<Vec<Listed>, DriverError> {
        let said = self.ask("show", &["--format=json".to_owned()], control)?;
        listed::parse(&said, self.instance).map_err(|error| {
            DriverError::Lasting(format!("pg_probackup's `show` cannot be understood: {error}"))
        })
    }

    /// Has the tool read every file of a backup, and of what it rests on.
    ///
    /// # Errors
    /// In its words, when something of it is damaged.
    pub fn validate(&self, label: &str, control: &Control) -> Result<(), DriverError> {
        self.ask("validate", &[format!("--backup-id={label}")], control).map(drop)
    }

    fn ask(&self, command: &str, options: &[String], control: &Control) -> Result<Vec<u8>, DriverError> {
        let mut argv = vec![tools::find("pg_probackup")?, command.to_owned()];
        argv.push(format!("--backup-path={}", text(self.folder)));
        argv.push(format!("--instance={}", self.instance));
        argv.extend(options.iter().cloned());
        let silent: Tell = Arc::new(|_| {});
        let program = Program {
            env: vec![("LC_ALL".to_owned(), "C".to_owned())],
            run_as: self.owner(),
            folder: Some("/".into()),
            ..Program::new(argv)
        };
        Ok(process::run(&program, control, &silent)?)
    }

    /// The account that the catalogue belongs to, where this process may act as it.
    fn owner(&self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let owner = fs::symlink_metadata(self.folder.join("backups")).ok()?.uid();
        account::name_of(owner).filter(|_| owner != 0)
    }
}
