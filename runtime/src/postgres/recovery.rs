//! How far a restored cluster recovers, and the settings that tell Postgres so. Pure but for [`Recovery::write`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};
use rustix::io::Errno;

use crate::backups::silence::{SETTINGS, append, silence};
use crate::openat;
use crate::postgres::wal::lsn::Lsn;

/// Bytes of a restore point's name at the most (`MAXFNAMELEN` of Postgres, with its closing zero).
const NAME_BYTES: usize = 63;

/// What a server does once when its recovery is over. The history of the timeline that it begins is marked as one to be
/// archived: where it archives nothing Postgres itself does not, and without it nobody can follow the timeline later. And
/// what it was recovered to must not wait for the next one who recovers it, or makes a standby of it. No byte of it needs
/// quoting, and it ends well whatever is there.
pub const END_COMMAND: &str = "for h in pg_wal/*.history; do s=pg_wal/archive_status/${h#pg_wal/}; test -e $h -a ! -e $s.done && \
                               : > $s.ready; done; sed -i -e /^recovery_target/d -e /^recovery_end_command/d postgresql.auto.conf";
/// What the last part of that does, of a file's text.
pub fn without_target(text: &str) -> String {
    let is_over =
        |line: &&str| line.starts_with("recovery_target") || line.starts_with("recovery_end_command");
    text.split_inclusive('\n').filter(|line| !is_over(line)).collect()
}
const SIGNAL: &str = "recovery.signal";
const STANDBY: &str = "standby.signal";

/// Up to where a cluster recovers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Point {
    /// To the end of the write-ahead log that there is.
    #[default]
    Latest,
    /// As soon as the base backup is consistent.
    Immediate,
    /// Up to and with this moment.
    Time(Timestamp),
    /// Up to this moment, without what was committed in it.
    Before(Timestamp),
    /// Up to and with this place.
    Lsn(Lsn),
    /// Up to a point made with `pg_create_restore_point`.
    Name(String),
    /// Up to and with the end of this transaction.
    Xid(u64),
}

impl Point {
    /// Whether what happened right there is wanted too.
    pub fn is_inclusive(&self) -> bool {
        !matches!(self, Point::Before(_))
    }

    /// Whether it is told by a clock.
    pub fn is_moment(&self) -> bool {
        matches!(self, Point::Time(_) | Point::Before(_))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Latest => f.write_str("the end of the write-ahead log"),
            Point::Immediate => f.write_str("the end of the base backup"),
            Point::Time(time) => write!(f, "time {}", crate::moment::exactly(*time)),
            Point::Before(time) => write!(f, "what was before {}", crate::moment::exactly(*time)),
            Point::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Point::Name(name) => write!(f, "restore point `{name}`"),
            Point::Xid(xid) => write!(f, "transaction {xid}"),
        }
    }
}

/// Which history of the cluster is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeline {
    /// The newest that the archive knows.
    #[default]
    Latest,
    /// The one that the base backup was made on.
    Current,
    /// This one.
    Number(u32),
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timeline::Latest => f.write_str("latest"),
            Timeline::Current => f.write_str("current"),
            Timeline::Number(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Timeline {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Timeline, TargetError> {
        match (text, text.parse::<u32>()) {
            ("latest", _) => Ok(Timeline::Latest),
            ("current", _) => Ok(Timeline::Current),
            (_, Ok(number @ 1..)) => Ok(Timeline::Number(number)),
            _ => Err(TargetError::Timeline(text.to_owned())),
        }
    }
}

/// What a server does at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Becomes a server that is written to, on a timeline of its own.
    #[default]
    Promote,
    /// Stays in recovery; it can be read.
    Pause,
    /// Stops.
    Shutdown,
}

impl Action {
    /// As Postgres writes it.
    pub fn word(self) -> &'static str {
        match self {
            Action::Promote => "promote",
            Action::Pause => "pause",
            Action::Shutdown => "shutdown",
        }
    }
}

/// How far a cluster recovers, where it gets its write-ahead log, and what it does then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Up to where.
    pub point: Point,
    /// On which history.
    pub timeline: Timeline,
    /// What then.
    pub action: Action,
    /// The shell command that fetches a file of the write-ahead log; `None` where all that is needed lies in `pg_wal`.
    pub restore_command: Option<String>,
    /// Whether the cluster archives its log afterwards, where the original did. A copy that does so takes the original's
    /// archive over.
    pub archives: bool,
}

/// A target that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a timeline.
    #[error("`{0}` is not a timeline: write `latest`, `current` or a number from 1")]
    Timeline(String),
    /// Not the name of a restore point.
    #[error(
        "`{0}` cannot be the name of a restore point: it has 1 to {NAME_BYTES} bytes, and no control character"
    )]
    Name(String),
    /// Not a transaction.
    #[error("transaction {0} is none that recovery can end at: they begin at 3")]
    Xid(u64),
    /// There is nothing to pause at.
    #[error("`{}` needs a target to stop at: a time, an LSN, a restore point, a transaction", .0.word())]
    NoTarget(Action),
    /// A value that a line of configuration cannot hold.
    #[error("`{0}` cannot be written as a setting: it holds a line break or a zero byte")]
    Value(String),
}

impl Recovery {
    /// Looks whether this can be meant.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn check(&self) -> Result<(), TargetError> {
        match &self.point {
            Point::Name(name)
                if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) =>
            {
                Err(TargetError::Name(name.clone()))
            }
            Point::Xid(xid @ 0..3) => Err(TargetError::Xid(*xid)),
            Point::Latest if self.action != Action::Promote => Err(TargetError::NoTarget(self.action)),
            _ => self.settings().map(drop),
        }
    }

    /// The settings, in the order they are written; values quoted as a configuration file wants them.
    ///
    /// # Errors
    /// [`TargetError::Value`].
    pub fn settings(&self) -> Result<Vec<(&'static str, String)>, TargetError> {
        // All targets are written, the others empty: an older `postgresql.auto.conf` may hold one, and two are refused.
        let mut targets = [
            ("recovery_target", String::new()),
            ("recovery_target_time", String::new()),
            ("recovery_target_lsn", String::new()),
            ("recovery_target_name", String::new()),
            ("recovery_target_xid", String::new()),
        ];
        match &self.point {
            Point::Latest => {}
            Point::Immediate => targets[0].1 = "immediate".to_owned(),
            Point::Time(time) | Point::Before(time) => targets[1].1 = timestamp(*time),
            Point::Lsn(lsn) => targets[2].1 = lsn.to_string(),
            Point::Name(name) => targets[3].1.clone_from(name),
            Point::Xid(xid) => targets[4].1 = xid.to_string(),
        }
        // Behind the empty ones: Postgres looks at one setting after the other, and an empty one after the target offends it.
        targets.sort_by_key(|(_, value)| !value.is_empty());
        let restore_command = self.restore_command.clone().unwrap_or_default();
        let mut settings = vec![("restore_command", restore_command)];
        settings.extend(targets);
        settings.extend([
            ("recovery_target_inclusive", self.point.is_inclusive().to_string()),
            ("recovery_target_timeline", self.timeline.to_string()),
            ("recovery_target_action", self.action.word().to_owned()),
            ("recovery_end_command", END_COMMAND.to_owned()),
            ("archive_cleanup_command", String::new()),
            ("primary_conninfo", String::new()),
            ("primary_slot_name", String::new()),
        ]);
        settings.into_iter().map(|(name, value)| Ok((name, quote(&value)?))).collect()
    }

    /// Whether the server must be told to recover from an archive: without a command and a target, what lies in the data
    /// directory is all that it is to apply.
    pub fn is_archive(&self) -> bool {
        self.restore_command.is_some() || self.point != Point::Latest
    }

    /// Writes the settings behind those that `postgresql.auto.conf` of the data directory has, and the signal file; a
    /// signal file that makes a standby goes. No link in the data directory is followed.
    ///
    /// # Errors
    /// When the target cannot be meant or a file cannot be written; then the signal file is not there, and a started server
    /// would recover from `backup_label` alone.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let settings = self.settings().map_err(io::Error::other)?;
        let folder = File::open(data)?;
        remove(&folder, STANDBY)?;
        remove(&folder, SIGNAL)?;
        if !self.archives {
            silence(&folder)?;
        }
        if !self.is_archive() {
            return Ok(());
        }
        let lines = settings.into_iter().map(|(name, value)| format!("{name} = {value}\n"));
        let lines: String = lines.collect();
        append(&folder, SETTINGS, &format!("\n# written by plan restore\n{lines}{}", not_ahead(&folder)))?;
        append(&folder, SIGNAL, "")?;
        folder.sync_all()
    }
}

/// Has a cluster that a tool has put back fetch its log by this shell command, and stop where that cannot read what there is: Postgres
/// takes every status up to 125 for the end of the log, and would open without its last transactions.
///
/// # Errors
/// When the command cannot be a setting, or that cannot be written.
pub fn fetch_strictly(data: &File, command: &str) -> io::Result<()> {
    let strict = format!("{command}; status=$?; [ $status -lt 2 ] || exit 126; exit $status");
    let line = quote(&strict).map_err(io::Error::other)?;
    // Before version 12 what is to be recovered is told there.
    let old = openat::open(data, b"recovery.conf", OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
    let (name, ahead) = if old.is_ok() { ("recovery.conf", "") } else { (SETTINGS, not_ahead(data)) };
    append(data, name, &format!("\n# written by plan restore\nrestore_command = {line}\n{ahead}"))
}

/// The setting by which a server asks for no more of the log than it comes to. From version 15 on it reads half a megabyte ahead, and a
/// segment behind the target that nobody can read would end a recovery that needs none of it.
fn not_ahead(data: &File) -> &'static str {
    let mut version = String::new();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat::open(data, b"PG_VERSION", flags, Mode::empty()).map_err(io::Error::from);
    let read = file.and_then(|file| File::from(file).take(100).read_to_string(&mut version));
    let major = read.ok().and_then(|_| version.trim().split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 15) { "recovery_prefetch = off\n" } else { "" }
}

fn remove(folder: &File, name: &str) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A moment as Postgres reads it whatever its zone is, to the microsecond.
pub fn timestamp(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

/// A value as a configuration file wants it.
///
/// # Errors
/// [`TargetError::Value`] for a line break or a zero byte.
pub fn quote(value: &str) -> Result<String, TargetError> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(TargetError::Value(value.to_owned()));
    }
    Ok(format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")))
}

/// A word of a `restore_command`: quoted for the shell, and with no `%` that Postgres would take for its own.
pub fn command_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@,".contains(&byte);
    let word = word.replace('%', "%%");
    if !word.is_empty() && word.bytes().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Action, Point, Recovery, Timeline, command_word, quote};

    fn setting(recovery: &Recovery, name: &str) -> String {
        let settings = recovery.settings().unwrap();
        settings.into_iter().find(|(other, _)| *other == name).unwrap().1
    }

    #[test]
    fn one_target_is_set_and_the_others_are_emptied() {
        let time = "2026-11-20T21:44:36.5+01:00".parse().unwrap();
        let recovery = Recovery { point: Point::Time(time), ..Recovery::default() };
        assert_eq!(setting(&recovery, "recovery_target_time"), "'2026-11-20 20:44:36.500000+00'");
        assert_eq!(setting(&recovery, "recovery_target_lsn"), "''");
        assert_eq!(setting(&recovery, "recovery_target"), "''");
        assert_eq!(setting(&recovery, "recovery_target_timeline"), "'latest'");
        assert_eq!(setting(&recovery, "primary_conninfo"), "''");
        assert!(recovery.is_archive());
        assert!(!Recovery::default().is_archive());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let with = |point: Point, action| Recovery { point, action, ..Recovery::default() }.check();
        assert!(with(Point::Name("before the move".into()), Action::Pause).is_ok());
        assert!(with(Point::Name(String::new()), Action::Promote).is_err());
        assert!(with(Point::Name("x".repeat(64)), Action::Promote).is_err());
        assert!(with(Point::Xid(2), Action::Promote).is_err());
        assert!(with(Point::Latest, Action::Pause).is_err());
        assert!("0".parse::<Timeline>().is_err());
        assert_eq!("3".parse(), Ok(Timeline::Number(3)));
    }

    #[test]
    fn values_survive_both_quotings() {
        assert_eq!(quote(r"it's C:\x").unwrap(), r"'it''s C:\\x'");
        assert!(quote("a\nrestore_command = 'rm'").is_err());
        assert_eq!(command_word("/srv/a.plan"), "/srv/a.plan");
        assert_eq!(command_word("/srv/50% of it's"), r"'/srv/50%% of it'\''s'");
    }

    #[test]
    fn settings_are_written_behind_the_old_ones_and_a_standby_is_none_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("postgresql.auto.conf"), "restore_command = 'old'").unwrap();
        std::fs::write(at("standby.signal"), "").unwrap();
        let command = Some("cp /a/%f %p".to_owned());
        Recovery { restore_command: command, ..Recovery::default() }.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(at("postgresql.auto.conf")).unwrap();
        let place = |text: &str, what: &str| text.find(what).unwrap();
        assert!(place(&text, "'old'\n") < place(&text, "restore_command = 'cp /a/%f %p'\n"), "{text}");
        assert!(at("recovery.signal").exists() && !at("standby.signal").exists());
        Recovery::default().write(folder.path()).unwrap();
        assert!(!at("recovery.signal").exists());
    }

    #[test]
    fn a_copy_archives_nothing_unless_that_is_asked_for_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let archives = Recovery { archives: true, ..Recovery::default() };
        archives.write(folder.path()).unwrap();
        assert!(!at("postgresql.auto.conf").exists());
        std::fs::write(at("postgresql.auto.conf"), "archive_mode = 'off'\narchive_mode = 'on'\n").unwrap();
        for _ in 0..2 {
            Recovery::default().write(folder.path()).unwrap();
            let text = std::fs::read_to_string(at("postgresql.auto.conf")).unwrap();
            assert!(text.ends_with("\narchive_mode = off\n") && text.matches("off").count() == 2, "{text}");
        }
        std::fs::rename(at("postgresql.auto.conf"), at("victim")).unwrap();
        let before = std::fs::read(at("victim")).unwrap();
        std::os::unix::fs::symlink(at("victim"), at("postgresql.auto.conf")).unwrap();
        assert!(Recovery::default().write(folder.path()).is_err());
        assert_eq!(std::fs::read(at("victim")).unwrap(), before);
    }
}
