//! Backups, what is in them, and what became of them, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use backplan_compiler::retention::Lack;
use backplan_runtime::artefact::{Entry, Flags, Kind};
use backplan_runtime::backups::check::{Checked, Damage};
use backplan_runtime::backups::restore::RestoreOutcome;
use backplan_runtime::catalog::manifest::{Manifest, SourceRecord, SourceStatus};
use backplan_runtime::catalog::prune::HeldRun;
use backplan_runtime::moment::shown;
use backplan_runtime::postgres::restore::cluster::ClusterOutcome as Cluster;
use backplan_runtime::postgres::restore::log::check::CheckedLog;
use backplan_runtime::postgres::restore::repositories::CheckedRepository;
pub use backplan_runtime::text::printable;
use jiff::Timestamp;
use serde::Serialize;

use super::paint::Paint;
use super::text::{harmless, within_a_line};
use crate::console::Style;
use crate::progress::bytes;
use backplan_compiler::count::plural;

/// Problems and files that are listed one by one.
const MOST: usize = 20;

/// A run, as a listing shows it.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// The name of the machine that made it.
    pub host: String,
    /// Whether that is another one than this.
    #[serde(skip)]
    pub is_anothers: bool,
    /// `full`, `differential`, `incremental`.
    pub level: &'static str,
    /// The runs it rests on.
    pub rests_on: Vec<String>,
    /// Bytes of its artefacts.
    pub size: u64,
    /// Files of its artefacts.
    pub artefacts: Vec<String>,
    /// Sources that are in it.
    pub sources: Vec<String>,
    /// Sources that failed.
    pub failed: Vec<String>,
    /// Sources of which something was not there or could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_part: Vec<String>,
    /// Warnings that it ended with; `None`: they cannot be read.
    pub warnings: Option<u64>,
    /// Stores that hold it, or something of it.
    pub stores: Vec<String>,
    /// The stores of each of its sources: archives of one run may go to different ones.
    pub places: BTreeMap<String, Vec<String>>,
    /// What of it cannot be had, and where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// For which sources it stays longer than `keep` says, as they lost most of what they had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldRun>,
}

/// What of a run cannot be had from a store.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    /// The store.
    pub store: String,
    /// Why.
    pub why: String,
}

impl RunRow {
    /// The row of a run, with no store yet.
    pub fn new(manifest: &Manifest) -> RunRow {
        let with = |is_meant: &dyn Fn(&SourceRecord) -> bool| {
            let sources = manifest.sources.iter().filter(|source| is_meant(source));
            sources.map(|source| source.name.to_string()).collect::<Vec<_>>()
        };
        let has_failed = |source: &SourceRecord| source.status == SourceStatus::Failed;
        let is_in_part = |source: &SourceRecord| !has_failed(source) && source.lacks() != Lack::Nothing;
        RunRow {
            run: manifest.run.to_string(),
            rests_on: manifest.rests_on().iter().map(ToString::to_string).collect(),
            started: manifest.started,
            host: manifest.host.name.clone(),
            is_anothers: false,
            level: backplan_compiler::lower::level_word(manifest.level),
            size: 0,
            artefacts: Vec::new(),
            sources: Vec::new(),
            failed: with(&has_failed),
            in_part: with(&is_in_part),
            warnings: manifest.warnings.or_else(|| Some(manifest.details().ok()?.warnings.total)),
            stores: Vec::new(),
            places: BTreeMap::new(),
            lost: Vec::new(),
            held: Vec::new(),
        }
    }

    /// With what it stays for; once, where several stores have it.
    pub fn hold(&mut self, held: HeldRun) {
        if !self.held.iter().any(|known| known.source == held.source) {
            self.held.push(held);
        }
    }

    /// With what a store has of it: not every archive need go to every store.
    pub fn add(&mut self, manifest: &Manifest, store: &str) {
        self.stores.push(store.to_owned());
        for archive in &manifest.archives {
            if !self.artefacts.iter().any(|known| archive.artefact == *known) {
                self.artefacts.push(archive.artefact.to_string());
                self.size += archive.size;
            }
        }
        for source in manifest.sources.iter().filter(|source| manifest.holds(&source.name)) {
            self.places.entry(source.name.to_string()).or_default().push(store.to_owned());
        }
        self.sources = self.places.keys().cloned().collect();
    }

    /// A source as the table shows it: with its stores, where others have something of the run and not this.
    fn shown(&self, source: &String) -> String {
        let is_in_part = if self.in_part.contains(source) { " (in part)" } else { "" };
        let held = self.places.get(source).map(Vec::as_slice).unwrap_or_default();
        match held.len() == self.stores.len() {
            true => format!("{source}{is_in_part}"),
            false => format!("{source}{is_in_part} (only in {})", held.join(", ")),
        }
    }
}

/// Runs as a table, oldest first.
pub fn table(rows: &[RunRow], style: Style) -> String {
    let paint = Paint::new(style);
    if rows.is_empty() {
        return "no backups yet\n".to_owned();
    }
    // Of one machine's own, all say the same.
    let has_hosts = rows.iter().any(|row| row.is_anothers || row.host != rows[0].host);
    let line = |run: &str, host: &str, more: [String; 5]| {
        let host = has_hosts.then(|| printable(host.as_bytes()));
        [run.to_owned()].into_iter().chain(host).chain(more).collect::<Vec<String>>()
    };
    let heads = ["STARTED", "LEVEL", "SIZE", "STORES", "SOURCES"].map(str::to_owned);
    let mut lines = vec![line("RUN", "HOST", heads)];
    for row in rows {
        let started = shown(row.started);
        let mut sources = row.sources.iter().map(|name| row.shown(name)).collect::<Vec<_>>().join(", ");
        for failed in &row.failed {
            let _ = write!(sources, " {failed}: FAILED");
        }
        if let Some(count @ 1..) = row.warnings {
            let _ = write!(sources, " ({})", plural(count, "warning"));
        }
        for lost in row.lost.iter().take(1) {
            let _ = write!(sources, " (LOST in {})", lost.store);
        }
        for held in &row.held {
            let _ = write!(sources, " (held for {} until {})", held.source, shown(held.until));
        }
        let more = [started, chain(row), bytes(row.size), row.stores.join(", "), sources];
        lines.push(line(&row.run, &row.host, more));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let text = harmless(cells.join("  ").trim_end());
        let _ = writeln!(out, "{}", if number == 0 { paint.bold(&text) } else { text });
    }
    for (row, Lost { store, why }) in rows.iter().flat_map(|row| row.lost.iter().map(move |lost| (row, lost)))
    {
        let text = format!("store `{store}`: run `{}` cannot be restored from here: {why}", row.run);
        let _ = writeln!(out, "{} {}", paint.yellow("problem:"), within_a_line(&text));
    }
    for held in rows.iter().flat_map(|row| &row.held) {
        let _ = writeln!(out, "{} {}", paint.yellow("held:"), harmless(&held.to_string()));
    }
    out
}

/// A run's level, and what it rests on by number: `incremental on 41`, `incremental on 38 to 41`.
fn chain(row: &RunRow) -> String {
    let number = |run: &String| {
        let digits = run.split('-').next().unwrap_or_default().trim_start_matches('0');
        digits.to_owned()
    };
    match (row.rests_on.first(), row.rests_on.last()) {
        (Some(first), Some(last)) if first != last => {
            format!("{} on {} to {}", row.level, number(first), number(last))
        }
        (Some(only), _) => format!("{} on {}", row.level, number(only)),
        _ => row.level.to_owned(),
    }
}

/// An entry of a backup, for programs.
#[derive(Debug, Serialize)]
pub struct EntryRow {
    path: String,
    /// The path's bytes in hex, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

impl EntryRow {
    /// The row of an entry.
    pub fn new(entry: &Entry) -> EntryRow {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let is_text = std::str::from_utf8(&entry.path).is_ok();
        EntryRow {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
            path_hex: (!is_text).then(|| hex(&entry.path)),
            kind: kind(entry.kind).1,
            mode: format!("{:04o}", entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: time(entry).map_or_else(|| entry.mtime.to_string(), |at| at.to_string()),
            link: String::from_utf8_lossy(&entry.link).into_owned(),
            blake3: (entry.kind == Kind::File && !entry.flags.has(Flags::SPARSE)).then(|| hex(&entry.hash)),
        }
    }
}

/// An entry of a backup, as `ls -l` shows it.
pub fn entry_line(entry: &Entry) -> String {
    let when = time(entry).map_or_else(|| format!("@{}", entry.mtime), shown);
    let path = printable(&entry.path);
    let link = match entry.kind {
        Kind::Symlink => format!(" -> {}", printable(&entry.link)),
        Kind::HardLink => format!(" = {}", printable(&entry.link)),
        _ => String::new(),
    };
    let size = match entry.kind {
        Kind::CharDevice | Kind::BlockDevice => format!("{},{}", entry.device.0, entry.device.1),
        _ => entry.size.to_string(),
    };
    let owner = format!("{}:{}", entry.uid, entry.gid);
    format!("{}{} {owner:<11} {size:>12} {when} {path}{link}\n", kind(entry.kind).0, permissions(entry.mode))
}

fn time(entry: &Entry) -> Option<Timestamp> {
    Timestamp::new(entry.mtime, entry.nanos.try_into().ok()?).ok()
}

fn kind(kind: Kind) -> (char, &'static str) {
    match kind {
        Kind::File => ('-', "file"),
        Kind::Directory => ('d', "directory"),
        Kind::Symlink => ('l', "symlink"),
        Kind::HardLink => ('h', "hardlink"),
        Kind::Fifo => ('p', "fifo"),
        Kind::CharDevice => ('c', "char_device"),
        Kind::BlockDevice => ('b', "block_device"),
    }
}

fn permissions(mode: u32) -> String {
    let special = [(0o4000, 's'), (0o2000, 's'), (0o1000, 't')];
    let mut out = String::with_capacity(9);
    for (at, (bit, letter)) in special.into_iter().enumerate() {
        let three = mode >> (6 - 3 * at) & 7;
        out.push(if three & 4 != 0 { 'r' } else { '-' });
        out.push(if three & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & bit != 0, three & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

fn entries(count: u64) -> String {
    plural(count.try_into().unwrap_or(usize::MAX), "entry")
}

/// What a restore did, or would do.
pub fn restored(outcome: &RestoreOutcome, dry_run: bool, style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for (inside, to) in &outcome.targets {
        let inside = if inside.is_empty() { "everything" } else { inside };
        let _ = writeln!(out, "{} -> {}", harmless(inside), harmless(&to.display().to_string()));
    }
    for problem in outcome.problems.iter().take(MOST) {
        let _ = writeln!(out, "{} {}", paint.red("problem:"), within_a_line(problem));
    }
    if outcome.problem_count > outcome.problems.len().min(MOST) as u64 {
        let _ = writeln!(out, "{} in all", plural(outcome.problem_count, "problem"));
    }
    let mut amount = format!("{}, {}", entries(outcome.entries), bytes(outcome.bytes));
    if outcome.there > 0 {
        let _ = write!(amount, "; {} of them there already", plural(outcome.there, "file"));
    }
    let _ = match (dry_run, outcome.problem_count) {
        (true, _) => writeln!(out, "run {} would restore {amount}; nothing was written", outcome.run),
        (false, 0) => writeln!(out, "{} from run {}: {amount}", paint.green("restored"), outcome.run),
        (false, _) => writeln!(out, "{} from run {}: {amount}", paint.red("restored in part"), outcome.run),
    };
    out
}

/// What became of a cluster.
pub fn cluster(outcome: &Cluster, dry_run: bool, style: Style) -> String {
    let paint = Paint::new(style);
    let shown = |path: &std::path::Path| harmless(&path.display().to_string());
    let mut out = String::new();
    let _ = writeln!(out, "run {} -> {}", outcome.run, shown(&outcome.data));
    for (was, to) in &outcome.tablespaces {
        let _ = writeln!(out, "tablespace {} -> {}", shown(was), shown(to));
    }
    let _ = writeln!(out, "recovers to {}; {}", harmless(&outcome.target), outcome.window);
    for (name, value) in &outcome.settings {
        let _ = writeln!(out, "  {name} = {}", harmless(value));
    }
    // What a tool puts back is counted in bytes alone.
    let amount = match outcome.entries {
        0 => bytes(outcome.bytes),
        count => format!("{}, {}", entries(count), bytes(outcome.bytes)),
    };
    let _ = match dry_run {
        true => writeln!(out, "would restore {amount}; nothing was written"),
        false => writeln!(out, "{}: {amount}", paint.green("restored")),
    };
    if !outcome.archives {
        out.push_str("a copy: it archives nothing until `ALTER SYSTEM RESET archive_mode` and a restart, or restored with `--archive`\n");
    }
    if let Some((sockets, port)) = &outcome.server {
        let alone = if outcome.is_alone { ", in a network of its own" } else { "" };
        let _ = writeln!(out, "{}{alone}: psql -h {} -p {port}", paint.green("running"), shown(sockets));
    }
    if let Some(why) = &outcome.unbound {
        let unheld = paint.yellow("not held to its folders");
        let _ = writeln!(
            out,
            "{unheld}: the tool that put it together could write elsewhere, if the backup told it to ({})",
            harmless(why)
        );
    }
    for at in &outcome.held {
        let held = paint.yellow("held back");
        let _ = writeln!(
            out,
            "{held}: its log makes a tablespace at {}, and a server that is started by hand would write into what lies \
             there: restore it with `--start`, or see postgresql.auto.conf",
            shown(at)
        );
    }
    out
}

/// What a check of archived logs found.
pub fn checked_logs(logs: &[CheckedLog], style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for log in logs {
        let place = format!("log of `{}` in `{}`", harmless(&log.source), log.store);
        let files = plural(log.files, "file");
        let _ = match log.damage.is_empty() {
            true if log.unread => writeln!(out, "{place}: {}, {files}; none was read", paint.green("there")),
            true => writeln!(out, "{place}: {}, {files}", paint.green("whole")),
            false => writeln!(out, "{place}: {}", paint.red("DAMAGED")),
        };
        if log.unopened > 0 {
            let files = plural(log.unopened, "file");
            let _ = writeln!(
                out,
                "  {files} encrypted, as brought there; no key that was given opens them: what is in them was not looked at"
            );
        }
        for text in log.damage.iter().chain(&log.given_up) {
            let _ = writeln!(out, "  {}", harmless(text));
        }
    }
    out
}

/// What a check of repositories found.
pub fn checked_repositories(repositories: &[CheckedRepository], style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for checked in repositories {
        let place =
            format!("repository of `{}` in `{}`", harmless(&checked.source), harmless(&checked.repository));
        let _ = match (&checked.unchecked, checked.damage.is_empty()) {
            (Some(why), _) => writeln!(out, "{place}: {}: {}", paint.red("NOT CHECKED"), harmless(why)),
            (None, true) => writeln!(
                out,
                "{place}: {}, {}, {}",
                paint.green("whole"),
                plural(checked.backups, "backup"),
                plural(checked.segments, "segment")
            ),
            (None, false) => writeln!(out, "{place}: {}", paint.red("DAMAGED")),
        };
        for damage in &checked.damage {
            let _ = writeln!(out, "  {}", harmless(&damage.what));
            out.push_str(&files(damage));
        }
    }
    out
}

/// The files of a damage, the first of them by name.
fn files(damage: &Damage) -> String {
    let mut out = String::new();
    for file in damage.files.iter().take(MOST) {
        let _ = writeln!(out, "    {}", printable(file.as_bytes()));
    }
    let shown = damage.files.len().min(MOST) as u64;
    if damage.file_count > shown {
        let _ = writeln!(out, "    and {}", plural(damage.file_count - shown, "more file"));
    }
    out
}

/// What a check of backups found.
pub fn checked(runs: &[Checked], style: Style) -> String {
    let paint = Paint::new(style);
    let mut out = String::new();
    for run in runs {
        for artefact in &run.artefacts {
            let place = format!("run {} in `{}`: {}", run.run, run.store, harmless(&artefact.artefact));
            if let (Some(why), true) = (&artefact.unopened, artefact.damage.is_empty()) {
                let _ = writeln!(
                    out,
                    "{place}: {}; what is in it was not looked at",
                    paint.green("as it was written")
                );
                let _ = writeln!(out, "  {}", harmless(why));
                continue;
            }
            if artefact.unread && artefact.damage.is_empty() {
                let _ = writeln!(
                    out,
                    "{place}: {}, with its size and its ends; the rest was not read",
                    paint.green("there")
                );
                continue;
            }
            if artefact.damage.is_empty() {
                let _ = writeln!(out, "{place}: {}, {}", paint.green("whole"), entries(artefact.entries));
                continue;
            }
            let _ = writeln!(out, "{place}: {}", paint.red("DAMAGED"));
            for damage in &artefact.damage {
                let place = match (damage.member, damage.offset, damage.length) {
                    (Some(member), Some(offset), Some(length)) => {
                        format!("member {member}, bytes {offset} to {}: ", offset + length)
                    }
                    (None, Some(offset), Some(length)) => format!("bytes {offset} to {}: ", offset + length),
                    _ => String::new(),
                };
                let _ = writeln!(out, "  {place}{}", harmless(&damage.what));
                out.push_str(&files(damage));
            }
        }
    }
    out
}
