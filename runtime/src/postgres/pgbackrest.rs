//! pgBackRest with its repository in the source's `staging`: it is packed like a tree of files, so that an artefact, with what
//! it rests on, holds the whole repository of its cycle. `archive_command` pushes WAL into it between runs.
//!
//! Exit statuses and the JSON of `info` are those of pgBackRest 2.45 and newer.

pub(super) mod info;
pub mod settings;
mod stanza;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backplan_compiler::model::Level;
use info::{Listed, Stanza};

use super::apart::{Apart, MARK};
use super::recovery::{command_word, quote};
use jiff::Timestamp;

use super::rehearse::{Needs, cluster};
use super::repository::{KEY_FILE, Repository};
use super::restore::cluster::{ClusterError, ClusterWish};
use super::restore::{self, PutBack};
use super::{Backup, Driver, DriverError, Job, text, tools};
use crate::backups::shelf::Shelves;
use crate::catalog::labels::Labels;
use crate::postgres::wal::name::WalName;
use crate::programs::process::{self, ProcessError, Program};
use crate::rehearse::{RehearseError, Stage};

/// The file that `archive_command` names.
pub const CONFIG: &str = "pgbackrest.conf";

/// Another of its commands holds the stanza's lock.
const LOCKED: i32 = 50;

/// Statuses that another attempt does not change: bad options, missing settings, another cluster's stanza, a full disk.
const LASTING: [i32; 7] = [28, 31, 32, 37, 51, 64, 68];

/// How errors begin that tell of the repository, not of the way to it.
const SPOILT: [&str; 5] =
    ["[FileMissingError]", "[ChecksumError]", "[FormatError]", "[CryptoError]", "[FileInvalidError]"];

/// The first version whose options and answers are those that are used here.
const OLDEST: (u32, u32) = (2, 45);

/// What to do about a repository of another cluster. One that is packed is there once more in the artefacts.
pub fn mend_of_another(source: &str, is_apart: bool) -> String {
    let take_over = match is_apart {
        true => "give the source another name, and with it a repository of its own: the old backups stay where they are".to_owned(),
        false => format!(
            "move what is in the repository's folder away (its backups are in the stores), and say so once: \
             `plan run --new-cluster {source}`"
        ),
    };
    format!(
        "mend `host`, `port` or the server; after a major upgrade run `pgbackrest stanza-upgrade`; if this one is to take the \
         place of the other, {take_over}"
    )
}

/// What to do about a [`spoiling_name`].
pub const MEND_OF_NAME: &str = "rename it: `alter database … rename to …`";

/// The name of a database that makes the tool write a list of its backup that it cannot read itself: one with a line break,
/// which becomes two lines of the list.
pub(super) fn spoiling_name(job: &Job<'_>) -> Result<Option<String>, DriverError> {
    const ASK: &str =
        "select datname from pg_database where position(chr(10) in datname) > 0 order by 1 limit 1";
    let database = job.postgres.database.as_deref().unwrap_or("postgres");
    Ok(job.query::<1>(database, ASK)?.into_iter().next().map(|[name]| name))
}

/// What a [`spoiling_name`] does.
pub fn spoilt(name: &str) -> String {
    format!(
        "database `{}` has a line break in its name, and of a backup with it pgBackRest restores nothing",
        name.escape_debug()
    )
}

/// The driver.
pub struct Pgbackrest;

impl Driver for Pgbackrest {
    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        job.hand_over(job.folder)?;
        if let Some(apart) = job.separate.as_ref().filter(|apart| apart.home != job.folder) {
            job.hand_over(&apart.home)?;
        }
        let tool = Tool::new(job)?;
        let version = tool.version()?;
        refuse_old(&version)?;
        tool.write_key()?;
        tool.write_derived()?;
        let known = tool.info()?;
        // Before anything else is written: the settings of another cluster's repository must stay as they are.
        tool.refuse_another(known.as_ref())?;
        let unwritten = tool.write_configs()?;
        tool.refuse_names()?;
        let is_separate = job.separate.is_some();
        let mut warnings: Vec<String> = tool.lost(known.as_ref()).into_iter().collect();
        warnings.extend(unwritten);
        if known.is_none() {
            warnings.extend(tool.make_stanza()?);
        }
        warnings.extend(tool.drop_orphans(known.as_ref())?);
        let notes = tool.push_histories()?;
        let wanted = match job.level {
            Level::Full => "full",
            Level::Differential => "diff",
            Level::Incremental => "incr",
        };
        let kind = format!("--type={wanted}");
        let mark = job.separate.as_ref().map(|apart| format!("--annotation={MARK}={}", apart.mark));
        let mut options = vec![kind.as_str(), "--start-fast", "--no-expire-auto"];
        options.extend(mark.as_deref());
        tool.run("backup", &options)?;
        let (made, stanza) = tool.newest()?;
        tool.refuse_unreadable(&made.label)?;
        if made.kind != wanted {
            warnings.push(format!(
                "pgBackRest made a {} backup, not a {wanted}: its repository has nothing that it could rest on",
                made.kind
            ));
        }
        if made.kind == "full" && !is_separate {
            warnings.extend(tool.drop_settled(known.as_ref())?);
        }
        let mut labels = made.labels();
        labels.archive_id = stanza.archive_id(&made);
        labels.system_id = stanza.system_id();
        labels.server_version = stanza.server_version();
        labels.stanza = Some(tool.stanza.to_owned());
        labels.tool_version = Some(version);
        Ok(Backup { labels, warnings, notes, ..Backup::default() })
    }

    fn expire(&self, job: &Job<'_>, labels: &Labels) -> Result<Vec<String>, DriverError> {
        if let Some(apart) = &job.separate {
            let tool = Tool::new(job)?;
            tool.write_key()?;
            tool.write_configs()?;
            return tool.expire_forgotten(apart).map(|()| Vec::new());
        }
        // Only the full that the manifest names may end what was before it.
        if labels.kind.as_deref() != Some("full") {
            return Ok(Vec::new());
        }
        let tool = Tool::new(job)?;
        let newest = tool.info()?;
        let newest = newest.iter().flat_map(|stanza| &stanza.backup).rfind(|backup| backup.kind == "full");
        if newest.map(|backup| &backup.label) != labels.label.as_ref() {
            return Ok(Vec::new());
        }
        tool.run("expire", &["--repo1-retention-full=1"]).map(|()| Vec::new())
    }

    fn put_back<'s>(
        &self,
        shelves: &'s Shelves,
        wish: ClusterWish,
        now: Timestamp,
    ) -> Result<Box<dyn PutBack + 's>, ClusterError> {
        Ok(Box::new(restore::tool::plan(shelves, wish.into(), now)?))
    }

    fn rehearse(&self, stage: &mut Stage<'_>, needs: Needs) -> Result<(), RehearseError> {
        cluster::play(stage, needs, |stage, needs| cluster::have_put_back(stage, needs, self, "pgbackrest"))
    }
}

struct Tool<'a> {
    job: &'a Job<'a>,
    program: String,
    /// The settings of its own calls: of this repository alone, which is the first in them.
    config: PathBuf,
    /// Those that the server's `archive_command` names: of all repositories.
    shared: PathBuf,
    stanza: &'a str,
    repository: Repository,
}

impl<'a> Tool<'a> {
    fn new(job: &'a Job<'a>) -> Result<Tool<'a>, DriverError> {
        let program = tools::find("pgbackrest")?;
        let stanza = job.postgres.stanza.as_deref().unwrap_or(job.source);
        let home = job.separate.as_ref().map_or(job.folder, |apart| &apart.home);
        let shared = job.postgres.config.clone().unwrap_or_else(|| home.join(CONFIG));
        let config = match job.separate.as_ref().filter(|apart| apart.count > 1) {
            Some(apart) => home.join(format!("pgbackrest.{}.conf", apart.store)),
            None => shared.clone(),
        };
        let repository = match &job.separate {
            Some(apart) => apart.repository.clone(),
            None => Repository::folder(job.folder),
        };
        let tool = Tool { job, program, config, shared, stanza, repository };
        tool.agree()?;
        Ok(tool)
    }

    /// A file of the operator's must not keep the repository elsewhere than the plan says, nor decide what goes.
    fn agree(&self) -> Result<(), DriverError> {
        let Some(config) = &self.job.postgres.config else { return Ok(()) };
        let text = crate::regular::read_text(config)
            .map_err(|cause| DriverError::File { path: config.clone(), cause })?;
        let apart = self.job.separate.as_ref();
        let wanted = settings::Wanted {
            stanza: self.stanza,
            postgres: self.job.postgres,
            repository: &self.repository,
            is_encrypted: apart.map(|apart| apart.repository.settings().contains_key("cipher-type")),
            number: apart.map_or(1, |apart| apart.number),
            count: apart.map_or(1, |apart| apart.count),
        };
        match wanted.conflicts(&text).as_slice() {
            [] => Ok(()),
            told => Err(DriverError::Lasting(format!("`{}` {}", config.display(), told.join("; it ")))),
        }
    }

    /// The backup that was made just now.
    fn newest(&self) -> Result<(Listed, Stanza), DriverError> {
        let mut stanza = self.info()?;
        let made = stanza.as_mut().and_then(|stanza| stanza.backup.pop());
        let (Some(made), Some(stanza)) = (made, stanza) else {
            return Err(DriverError::Passing("pgBackRest made a backup and does not list it".into()));
        };
        if made.error == Some(true) {
            return Err(DriverError::Lasting(format!(
                "pgBackRest found damaged pages while it made `{}`: run `pg_amcheck`, look at its log",
                made.label
            )));
        }
        Ok((made, stanza))
    }

    pub(super) fn mend_of_another(&self) -> String {
        mend_of_another(self.job.source, self.job.separate.is_some())
    }

    fn refuse_another(&self, known: Option<&Stanza>) -> Result<(), DriverError> {
        let server = self.job.server()?;
        let theirs = known.and_then(Stanza::system_id);
        match server.system_id.as_ref().zip(theirs) {
            Some((system, theirs)) if *system != theirs => {
                return Err(DriverError::Lasting(format!(
                    "the repository `{}` belongs to another cluster: its stanza `{}` has system identifier {theirs}, this \
                     cluster {system}; {}",
                    self.repository.location(),
                    self.stanza,
                    self.mend_of_another(),
                )));
            }
            _ => {}
        }
        // An upgrade of the stanza says that it is meant.
        let earlier = known.map(Stanza::earlier_system_ids).unwrap_or_default();
        let is_meant = self.job.known.as_ref().is_some_and(|known| earlier.contains(&known.system_id));
        if is_meant { Ok(()) } else { self.job.same_cluster(&server) }
    }

    /// The settings of its own calls and those that `archive_command` names; with one repository these are the same. What
    /// keeps another repository from being described keeps nothing from this one, where the server has settings already.
    fn write_configs(&self) -> Result<Option<String>, DriverError> {
        let (own, apart) = (self.job.postgres.config.as_ref(), self.job.separate.as_ref());
        let Some(apart) = apart.filter(|apart| apart.count > 1) else {
            if own.is_none() {
                self.write(&self.config, &[(1, &self.repository)])?;
            }
            return Ok(None);
        };
        if own.is_some() {
            return self.write_derived().map(|()| None);
        }
        self.write(&self.config, &[(1, &self.repository)])?;
        match &apart.all {
            Ok(all) => {
                let numbered: Vec<(usize, &Repository)> =
                    all.iter().enumerate().map(|(at, repository)| (at + 1, repository)).collect();
                self.write(&self.shared, &numbered).map(|()| None)
            }
            Err(why) if self.shared.exists() => {
                Ok(Some(format!("`{}` stays as it is: {why}", self.shared.display())))
            }
            Err(why) => Err(DriverError::Lasting(why.clone())),
        }
    }

    /// Of a file of the operator's that names several repositories, the settings of this one: every call reads them.
    fn write_derived(&self) -> Result<(), DriverError> {
        let apart = self.job.separate.as_ref().filter(|apart| apart.count > 1);
        let Some((own, apart)) = self.job.postgres.config.as_ref().zip(apart) else { return Ok(()) };
        let text =
            crate::regular::read_text(own).map_err(|cause| DriverError::File { path: own.clone(), cause })?;
        self.replace(&self.config, settings::of_one(&text, apart.number).as_bytes(), 0o600)
    }

    fn write(&self, path: &Path, repositories: &[(usize, &Repository)]) -> Result<(), DriverError> {
        let is_secret = repositories.iter().any(|(_, repository)| repository.has_secret());
        let mode = if is_secret { 0o600 } else { 0o640 };
        self.replace(path, self.settings(repositories)?.as_bytes(), mode)
    }

    /// The keys that the settings name, where stores want them in files.
    fn write_key(&self) -> Result<(), DriverError> {
        let own = (self.number(), &self.repository);
        let all = self.job.separate.iter().flat_map(|apart| apart.all.iter().flatten());
        let others = all.enumerate().map(|(at, repository)| (at + 1, repository));
        let keys = others.chain([own]).filter_map(|(number, repository)| Some((number, repository.key()?)));
        for (number, key) in keys {
            self.replace(&self.key_file(number), key.expose().as_bytes(), 0o600)?;
        }
        Ok(())
    }

    /// The number of the repository in the settings that the server reads.
    fn number(&self) -> usize {
        self.job.separate.as_ref().map_or(1, |apart| apart.number)
    }

    fn key_file(&self, number: usize) -> PathBuf {
        let home = self.job.separate.as_ref().map_or(self.job.folder, |apart| &apart.home);
        match number {
            1 => home.join(KEY_FILE),
            other => home.join(format!("gcs-key-{other}.json")),
        }
    }

    /// Replaces a file as a whole: a server may read it meanwhile.
    fn replace(&self, path: &Path, wanted: &[u8], mode: u32) -> Result<(), DriverError> {
        self.job.as_account(path, || {
            if fs::read(path).is_ok_and(|bytes| bytes == wanted) {
                return Ok(());
            }
            let mut temporary = path.as_os_str().to_owned();
            temporary.push(".new");
            let temporary = PathBuf::from(temporary);
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(wanted)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })
    }

    fn settings(&self, repositories: &[(usize, &Repository)]) -> Result<String, DriverError> {
        let (job, postgres) = (self.job, self.job.postgres);
        let data = job.data_directory()?;
        let mut lines = vec![
            "# Written by `plan run`: what is changed here is lost. Name a file of your own with `config`."
                .to_owned(),
            "[global]".to_owned(),
        ];
        for (number, repository) in repositories {
            // Alone it is the first, and its key is still its own.
            let key = if repositories.len() == 1 { self.number() } else { *number };
            lines.extend(repository.lines(*number, &self.key_file(key)));
        }
        lines.push("log-level-file=off".to_owned());
        if repositories.len() > 1 {
            // One that is away holds up what waits behind the segment that it lacks, but for this.
            let home = self.shared.parent().unwrap_or(self.job.folder);
            let spool = format!("spool-path={}", text(&home.join("spool")));
            lines.extend(["[global:archive-push]".to_owned(), "archive-async=y".to_owned(), spool]);
        }
        lines.extend([format!("[{}]", self.stanza), format!("pg1-path={data}")]);
        lines.extend(postgres.port.map(|port| format!("pg1-port={port}")));
        match postgres.host.as_deref() {
            Some(host) if host.starts_with('/') => lines.push(format!("pg1-socket-path={host}")),
            Some(host) => lines.push(format!("pg1-host={host}")),
            None => {}
        }
        lines.extend(postgres.user.as_ref().map(|user| format!("pg1-user={user}")));
        // A value with a line break is a setting more, and one with a space at its end is another value.
        let is_other = |(_, value): &(&str, &str)| value.contains(['\n', '\r']) || value.trim() != *value;
        match lines.iter().filter_map(|line| line.split_once('=')).find(is_other) {
            Some((option, value)) => Err(DriverError::Lasting(format!(
                "pgBackRest's settings cannot hold `{option}={}`: a line break, or a space at an end",
                value.escape_debug()
            ))),
            None => Ok(lines.join("\n") + "\n"),
        }
    }

    fn command(&self, command: &str, options: &[&str]) -> Program {
        let mut argv = vec![self.program.clone()];
        if command == "info" && self.job.postgres.config.is_none() {
            argv.push("--no-config".to_owned());
        } else {
            argv.push(format!("--config={}", text(&self.config)));
        }
        argv.push(format!("--stanza={}", self.stanza));
        if let Some(jobs) = self.job.postgres.jobs.filter(|_| command == "backup") {
            argv.push(format!("--process-max={jobs}"));
        }
        // Everything on one stream: the last words are then the error's own.
        argv.extend(["--log-level-console=off", "--log-level-stderr=info"].map(str::to_owned));
        argv.extend(options.iter().map(|option| (*option).to_owned()));
        argv.push(command.to_owned());
        let mut program = self.job.program(argv);
        if self.job.postgres.config.is_none() || self.job.separate.is_some() {
            program.env.extend(self.repository.environment(&self.key_file(self.number())));
        }
        program
    }

    fn version(&self) -> Result<String, DriverError> {
        let silent: process::Tell = std::sync::Arc::new(|_| {});
        let program = self.job.program(vec![self.program.clone(), "version".to_owned()]);
        let out = process::run(&program, self.job.control, &silent)?;
        Ok(String::from_utf8_lossy(&out).trim().trim_start_matches("pgBackRest ").to_owned())
    }

    /// Backups that manifests name and that are in the repository no more.
    fn lost(&self, known: Option<&Stanza>) -> Option<String> {
        let is_there = |label: &str| {
            known.is_some_and(|stanza| stanza.backup.iter().any(|backup| backup.label == label))
        };
        self.job.separate.as_ref()?.lost(is_there)
    }

    fn refuse_names(&self) -> Result<(), DriverError> {
        match spoiling_name(self.job)? {
            Some(name) => Err(DriverError::Lasting(format!("{}; {}", spoilt(&name), MEND_OF_NAME))),
            None => Ok(()),
        }
    }

    /// Looks whether the tool can read what it has just made; it says that all is well whatever is in its list, such as a file with
    /// a line break in its name. What it cannot read goes: the next backup would rest on it.
    fn refuse_unreadable(&self, label: &str) -> Result<(), DriverError> {
        let set = format!("--set={label}");
        let why = match self.told(&["--output=json", &set]) {
            Err(DriverError::Lasting(why)) => why,
            told => return told.map(drop),
        };
        let gone = match self.run("expire", &[&set]) {
            Ok(()) => "it is removed".to_owned(),
            Err(error) if error.is_stopped() => return Err(error),
            // The only full there is.
            Err(_) => "it stays until there is another full".to_owned(),
        };
        Err(DriverError::Lasting(format!(
            "pgBackRest made `{label}` and cannot read it, nothing could be restored of it; {gone}\n  {why}"
        )))
    }

    /// Removes what was before the full that was made just now, so that its artefact holds no other cycle: where the newest of it
    /// is whole in every store, and with it all. The log since that newest stays until the full is committed, and is in its artefact.
    fn drop_settled(&self, before: Option<&Stanza>) -> Result<Option<String>, DriverError> {
        let earlier = before.map_or(&[][..], |stanza| &stanza.backup);
        let Some(newest) = earlier.last() else { return Ok(None) };
        if !self.job.is_settled.is_some_and(|is_settled| is_settled(&newest.label)) {
            return Ok(None);
        }
        // As a backup's log is kept from the last but one on, that is the newest of the cycle before, no log goes by the second.
        let keeps = ["--repo1-retention-archive-type=incr", "--repo1-retention-archive=2"];
        let fulls = earlier.iter().filter(|backup| backup.kind == "full");
        let done = self.run("expire", &keeps).and_then(|()| {
            fulls.rev().try_for_each(|full| self.run("expire", &[&format!("--set={}", full.label)]))
        });
        match done {
            Ok(()) => Ok(None),
            Err(error) if error.is_stopped() => Err(error),
            Err(error) => Ok(Some(format!("the backups before this full are in its artefact too: {error}"))),
        }
    }

    /// Has histories archived that the repository lacks: a server that did not archive when it was promoted never archives its
    /// own, and recovery cannot follow its timeline then.
    fn push_histories(&self) -> Result<Vec<String>, DriverError> {
        let log = PathBuf::from(self.job.data_directory()?).join("pg_wal");
        let names = fs::read_dir(&log).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let histories: Vec<String> =
            names.filter(|name| matches!(name.parse(), Ok(WalName::History(_)))).collect();
        if histories.is_empty() {
            return Ok(Vec::new());
        }
        let number =
            |folder: &String| folder.split_once('-').and_then(|(_, number)| number.parse::<u32>().ok());
        let newest = self.names("archive")?.into_iter().max_by_key(number);
        let Some(newest) = newest.filter(|folder| number(folder).is_some()) else { return Ok(Vec::new()) };
        let there = self.names_below(&format!("archive/{}/{newest}", self.stanza))?;
        let mut told = Vec::new();
        for name in histories.into_iter().filter(|name| !there.contains(name)) {
            self.silently("archive-push", &[&text(&log.join(&name))])?;
            told.push(format!("`{name}` was never archived, and is now"));
        }
        Ok(told)
    }

    /// Deletes backups that runs of this plan made and never committed: they were killed in between.
    fn drop_orphans(&self, known: Option<&Stanza>) -> Result<Vec<String>, DriverError> {
        let Some(apart) = &self.job.separate else { return Ok(Vec::new()) };
        let mut told = Vec::new();
        let forgotten = self.forgotten(known, apart);
        let mut fulls = known.iter().flat_map(|stanza| &stanza.backup).filter(|made| made.kind == "full");
        if fulls.all(|full| forgotten.contains(&full.label.as_str())) {
            // The tool keeps the last full until there is another, which is made now.
            return Ok(told);
        }
        for label in forgotten {
            told.push(format!("backup `{label}` of a run that was never committed is deleted"));
            self.run("expire", &[&format!("--set={label}")])?;
        }
        Ok(told)
    }

    /// Backups that this plan made and that are nobody's, newest first.
    fn forgotten<'s>(&self, stanza: Option<&'s Stanza>, apart: &Apart) -> Vec<&'s str> {
        let backups = stanza.into_iter().flat_map(|stanza| stanza.backup.iter().rev());
        let ours = backups.filter(|backup| apart.is_forgotten(&backup.label, backup.made_by()));
        ours.map(|backup| backup.label.as_str()).collect()
    }

    /// Deletes this plan's backups that no manifest names any more, and the WAL that only they needed.
    fn expire_forgotten(&self, apart: &Apart) -> Result<(), DriverError> {
        let Some(stanza) = self.info()? else { return Ok(()) };
        let gone = self.forgotten(Some(&stanza), apart);
        for label in &gone {
            self.run("expire", &[&format!("--set={label}")])?;
        }
        let fulls = self
            .info()?
            .map_or(0, |stanza| stanza.backup.iter().filter(|backup| backup.kind == "full").count());
        // As many as there are: no backup goes, and the WAL before the oldest does.
        if gone.is_empty() || fulls == 0 {
            return Ok(());
        }
        self.run("expire", &[&format!("--repo1-retention-full={fulls}")])
    }

    fn run(&self, command: &str, options: &[&str]) -> Result<(), DriverError> {
        let program = self.command(command, options);
        process::run(&program, self.job.control, self.job.tell).map(drop).map_err(|error| self.explain(error))
    }

    /// What the repository says of the stanza; `None`: it has none of this name, or nothing of it.
    fn info(&self) -> Result<Option<Stanza>, DriverError> {
        self.told(&["--output=json"])
    }

    fn told(&self, options: &[&str]) -> Result<Option<Stanza>, DriverError> {
        let program = self.command("info", options);
        let silent: process::Tell = std::sync::Arc::new(|_| {});
        let out = process::run(&program, self.job.control, &silent).map_err(|error| self.explain(error))?;
        let found = info::parse(&out).map_err(|error| {
            DriverError::Lasting(format!(
                "pgBackRest's `info` cannot be understood: {error}; is it older than 2.45?"
            ))
        })?;
        let Some(stanza) = found.into_iter().find(|stanza| stanza.name == self.stanza) else {
            return Ok(None);
        };
        match stanza.trouble() {
            Some(said) => Err(self.unreadable(&said)),
            None => Ok(Some(stanza).filter(|stanza| !stanza.is_missing())),
        }
    }

    fn unreadable(&self, said: &str) -> DriverError {
        let words = format!("the repository `{}` cannot be read: {said}", self.repository.location());
        if SPOILT.iter().any(|kind| said.starts_with(kind)) {
            let mend = "`plan verify` says what of it is whole; where it is encrypted, see that the `passphrase` is that with which it was made: \
                        pgBackRest cannot change it, and under another one it takes a source of another name";
            return DriverError::Lasting(format!("{words}\n  {mend}"));
        }
        DriverError::Passing(words)
    }

    /// What to do about the statuses that everyone meets once.
    fn explain(&self, error: ProcessError) -> DriverError {
        let code = match &error {
            ProcessError::Status { status, .. } => status.code(),
            _ => None,
        };
        let line = || archive_line(&self.shared, self.stanza);
        let hint = match code {
            Some(28 | 51) => self.mend_of_another(),
            Some(LOCKED) => "another backup, expire or push of the log of this stanza runs".to_owned(),
            Some(64) => "the disk of the repository is full".to_owned(),
            Some(68) => format!("set in `postgresql.conf`, and reload the server:\n  {}", line()),
            Some(82) => format!(
                "no WAL arrived: see that `archive_mode` is on, and in the server's log why `archive_command` fails; it should be\n  {}",
                line()
            ),
            Some(87) => format!(
                "set in `postgresql.conf`, and restart the server:\n  archive_mode = on\n  {}",
                line()
            ),
            _ => return DriverError::Tool(error),
        };
        let words = format!("{error}\n  {hint}");
        match code {
            Some(code) if LASTING.contains(&code) => DriverError::Lasting(words),
            _ => DriverError::Passing(words),
        }
    }
}

/// Whether a version (`2.45`) is one that this driver does not know.
pub fn is_old(version: &str) -> bool {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) < OLDEST
}

/// The first version that is known.
pub fn oldest() -> String {
    format!("{}.{}", OLDEST.0, OLDEST.1)
}

fn refuse_old(version: &str) -> Result<(), DriverError> {
    if !is_old(version) {
        return Ok(());
    }
    Err(DriverError::Lasting(format!(
        "pgBackRest {version} is older than {}, the first that is known here: install a newer package",
        oldest()
    )))
}

/// The line of `postgresql.conf` by which a server archives into a repository with these settings.
pub fn archive_line(config: &Path, stanza: &str) -> String {
    let program = tools::find("pgbackrest").unwrap_or_else(|_| "pgbackrest".to_owned());
    let words = [
        program,
        format!("--config={}", text(config)),
        format!("--stanza={stanza}"),
        "archive-push".to_owned(),
    ];
    let words: Vec<String> = words.iter().map(|word| command_word(word)).collect();
    let command = format!("{} %p", words.join(" "));
    // A path with a line break is in no settings file.
    format!("archive_command = {}", quote(&command).unwrap_or(command))
}
