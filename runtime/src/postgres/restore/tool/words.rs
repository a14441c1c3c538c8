//! The words and settings that the tool is called with.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::cluster::ClusterError;
use super::{Repository, ToolRestore, file, stanza_of};
use crate::postgres::recovery::{END_COMMAND, Point, timestamp};
use crate::postgres::repository::{KEY_FILE, Repository as Remote, RepositoryError};
use crate::postgres::restore::PutBack;
use crate::postgres::tools;

/// The first version of Postgres whose `archive_mode` pgBackRest can set itself.
const ARCHIVE_MODE: u32 = 12;

impl ToolRestore<'_> {
    /// The settings that may stand on no command line: the cluster needs them as long as it recovers.
    pub(super) fn settings(&self) -> Result<Option<PathBuf>, ClusterError> {
        let refused = |error: RepositoryError| ClusterError::Tool(error.to_string());
        let (bare, own) = match &self.repository {
            Repository::Kept(_, own) => (Remote::folder(&self.from().unwrap_or_default()), own),
            Repository::Remote(remote, own) => (remote.clone(), own),
            Repository::Packed => return Ok(None),
        };
        let whole = match (own.settings.contains_key("cipher"), &self.wish.passphrase) {
            (false, _) if !bare.is_remote() => return Ok(None),
            (false, _) => bare,
            (true, Some(passphrase)) => bare.encrypted(passphrase.clone()).map_err(refused)?,
            (true, None) => {
                return Err(ClusterError::Tool(format!(
                    "the repository is encrypted: name a plan that has its `passphrase` in `separate {}` (the one of then, where the \
                     source has another name by now)",
                    self.wish.source
                )));
            }
        };
        let absolute = |path: PathBuf| std::path::absolute(&path).map_err(file(&path));
        let (path, key_file) = (absolute(self.beside("pgbackrest.conf"))?, absolute(self.beside(KEY_FILE))?);
        if let Some(key) = whole.key() {
            write_private(&key_file, key.expose())?;
        }
        write_private(&path, &format!("[global]\n{}\n", whole.lines(1, &key_file).join("\n")))?;
        Ok(Some(path))
    }

    /// What every call of the tool begins with: where the repository is, and the cluster.
    pub(super) fn base(&self, program: &str, config: Option<&Path>) -> Result<Vec<String>, ClusterError> {
        let to = std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?;
        let stanza = stanza_of(self.record, &self.wish.source);
        let mut argv = vec![program.to_owned()];
        argv.push(match config {
            Some(config) => format!("--config={}", config.display()),
            None => "--no-config".to_owned(),
        });
        argv.extend([format!("--stanza={stanza}"), format!("--pg1-path={}", to.display())]);
        argv.extend(self.from().map(|from| format!("--repo1-path={}", from.display())));
        argv.extend(
            ["--log-level-file=off", "--log-level-console=off", "--log-level-stderr=warn"].map(str::to_owned),
        );
        Ok(argv)
    }

    pub(super) fn arguments(
        &self,
        program: &str,
        config: Option<&Path>,
    ) -> Result<Vec<String>, ClusterError> {
        let to = std::path::absolute(&self.wish.to).map_err(file(&self.wish.to))?;
        let recovery = &self.wish.recovery;
        let mut argv = self.base(program, config)?;
        argv.extend([
            format!("--set={}", self.label()),
            format!("--tablespace-map-all={}.tablespaces", to.display()),
        ]);
        // By path they are called that the log makes.
        let maps = self.wish.tablespaces.iter().filter(|(name, _)| !name.is_absolute());
        argv.extend(maps.map(|(name, to)| format!("--tablespace-map={}={}", name.display(), to.display())));
        let target = match &recovery.point {
            Point::Latest => None,
            Point::Immediate => Some(("immediate", None)),
            Point::Time(time) | Point::Before(time) => Some(("time", Some(timestamp(*time)))),
            Point::Lsn(lsn) => Some(("lsn", Some(lsn.to_string()))),
            Point::Name(name) => Some(("name", Some(name.clone()))),
            Point::Xid(xid) => Some(("xid", Some(xid.to_string()))),
        };
        if let Some((kind, target)) = target {
            argv.push(format!("--type={kind}"));
            argv.extend(target.map(|target| format!("--target={target}")));
            argv.push(format!("--target-action={}", recovery.action.word()));
            argv.extend((!recovery.point.is_inclusive()).then(|| "--target-exclusive".to_owned()));
        }
        if recovery.point != Point::Immediate {
            argv.push(format!("--target-timeline={}", recovery.timeline));
        }
        argv.push(format!("--recovery-option=recovery_end_command={END_COMMAND}"));
        if !recovery.archives && tools::major(self.server_version()).is_none_or(|major| major >= ARCHIVE_MODE)
        {
            argv.push("--archive-mode=off".to_owned());
        }
        argv.push("restore".to_owned());
        Ok(argv)
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), ClusterError> {
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    made.and_then(|mut made| made.write_all(text.as_bytes())).map_err(file(path))
}
