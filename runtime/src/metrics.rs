//! How plans stand, as numbers that Prometheus reads: the text file of node_exporter's collector, and OpenMetrics.
//!
//! [`FAMILIES`] is all that is ever printed, each with what it says. Ages are not printed but moments, so that a file that nobody
//! writes any more tells by itself that time passes.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;

use crate::status::last::RunOutcome;
use crate::status::{Status, Verdict};

/// A family of metrics, all of them gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn family(name: &'static str, help: &'static str) -> Family {
    Family { name, help }
}

/// Every family, in the order in which they are printed.
pub const FAMILIES: &[Family] = &[
    family("backplan_build_info", "The program that wrote this, by its version."),
    family("backplan_up", "Whether it could be told how the plan stands: else nothing else is known of it."),
    family("backplan_status_timestamp_seconds", "When it was looked how the plan stands."),
    family(
        "backplan_status_code",
        "What `plan status` ends with: 0 all is well, 3 somebody should look, 1 there is no backup.",
    ),
    family("backplan_problems", "What is wrong with stores, catalogs and the last runs, counted."),
    family("backplan_last_run_timestamp_seconds", "When the last run began."),
    family(
        "backplan_last_run_outcome",
        "How the last run ended: 1 for the outcome that it had, 0 for the others.",
    ),
    family("backplan_last_run_duration_seconds", "How long the last run that is in a store took."),
    family("backplan_last_run_stored_bytes", "Bytes of the artefacts that it made."),
    family("backplan_last_run_source_bytes", "Bytes of its sources."),
    family("backplan_last_run_entries", "Entries of its sources: files, folders, links."),
    family(
        "backplan_last_run_files",
        "Those of them that are no folders; not there where a source does not tell, such as a dump.",
    ),
    family("backplan_last_run_warnings", "Its warnings."),
    family(
        "backplan_compression_ratio",
        "Bytes of sources for each byte that was stored, in the newest run that stored sources whole.",
    ),
    family("backplan_next_due_timestamp_seconds", "When the next run is due by the schedule."),
    family(
        "backplan_overdue_since_timestamp_seconds",
        "When the run was due that is missing; 0 where none is.",
    ),
    family(
        "backplan_newest_backup_timestamp_seconds",
        "When the newest run began from which the source can be restored; 0 where there is none.",
    ),
    family("backplan_newest_backup_copies", "Stores that have that run."),
    family("backplan_newest_backup_offsite_copies", "Of these, the ones that are elsewhere."),
    family("backplan_objective_met", "Whether a promise of the plan is kept: 1 yes, 0 no, -1 not known."),
    family("backplan_objective_rpo_seconds", "How much work of the source may be lost at the most."),
    family("backplan_objective_rto_seconds", "How long it may take until the source is back."),
    family(
        "backplan_rehearsal_timestamp_seconds",
        "When the last rehearsal of the source began; 0 where there is none.",
    ),
    family("backplan_rehearsal_passed", "Whether it passed."),
    family("backplan_rehearsal_usable_seconds", "How long it took until the data could be used."),
    family("backplan_rehearsal_interval_seconds", "How often a rehearsal is promised."),
    family(
        "backplan_log_first_timestamp_seconds",
        "The first moment that the source can be recovered to by its archived log.",
    ),
    family("backplan_log_last_timestamp_seconds", "The last one."),
    family("backplan_log_gaps", "Stretches between these two to which it cannot be recovered."),
    family("backplan_log_segments", "Segments in the archives, each counted once."),
    family("backplan_log_bytes", "Bytes that they take."),
    family(
        "backplan_log_waiting_segments",
        "Segments that the server keeps until they are archived, where its data directory can be looked at.",
    ),
    family("backplan_log_waiting_bytes", "Bytes that they take."),
    family(
        "backplan_log_waiting_since_timestamp_seconds",
        "When the server marked the first of them; 0 where none waits.",
    ),
    family("backplan_log_problems", "What keeps recovery from going further, counted."),
    family("backplan_store_runs", "Runs that the store holds."),
    family("backplan_store_bytes", "Bytes of the artefacts of all of them."),
    family(
        "backplan_store_newest_timestamp_seconds",
        "When the newest of them began; 0 where there is none.",
    ),
];

/// Who reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' text format 0.0.4, which node_exporter's collector reads.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// How one plan stands; `None`: that could not be told.
#[derive(Debug, Clone, Copy)]
pub struct Stand<'a> {
    /// The plan's name, or where that is not known its file's.
    pub plan: &'a str,
    /// Its file.
    pub file: &'a str,
    /// How it stands.
    pub status: Option<&'a Status>,
}

/// The samples of all plans, by family.
struct Samples<'a> {
    lines: Vec<(&'static str, String)>,
    labels: Vec<(&'static str, &'a str)>,
}

impl<'a> Samples<'a> {
    fn add(&mut self, name: &'static str, further: &[(&'static str, &str)], value: impl fmt::Display) {
        debug_assert!(FAMILIES.iter().any(|family| family.name == name), "{name}");
        let all = self.labels.iter().copied().chain(further.iter().copied());
        let labels: Vec<String> =
            all.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        self.lines.push((name, format!("{name}{{{}}} {value}", labels.join(","))));
    }

    fn moment(&mut self, name: &'static str, further: &[(&'static str, &str)], at: Option<Timestamp>) {
        // Three digits are as much as a double keeps for certain.
        let shown = |at: Timestamp| format!("{:.3}", at.as_millisecond() as f64 / 1000.0);
        self.add(name, further, at.map_or_else(|| "0".to_owned(), shown));
    }
}

/// The numbers of all these plans as one text.
pub fn text(stands: &[Stand<'_>], dialect: Dialect) -> String {
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    lines.push(("backplan_build_info", format!("backplan_build_info{{version=\"{version}\"}} 1")));
    for stand in stands {
        let mut labels = vec![("plan", stand.plan)];
        // Two plans of one name would be one series.
        if stands.iter().filter(|other| other.plan == stand.plan).count() > 1 {
            labels.push(("file", stand.file));
        }
        let mut samples = Samples { lines: Vec::new(), labels };
        samples.add("backplan_up", &[], u8::from(stand.status.is_some()));
        if let Some(status) = stand.status {
            of_plan(&mut samples, status);
            of_sources(&mut samples, status);
            of_logs(&mut samples, status);
            of_stores(&mut samples, status);
        }
        lines.append(&mut samples.lines);
    }
    let mut out = String::new();
    for Family { name, help } in FAMILIES {
        let mut own = lines.iter().filter(|(family, _)| family == name).peekable();
        if own.peek().is_none() {
            continue;
        }
        // Writing into a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}");
        let _ = writeln!(out, "# TYPE {name} gauge");
        let unit = ["seconds", "bytes", "ratio"].into_iter().find(|unit| name.ends_with(unit));
        if let (Dialect::OpenMetrics, Some(unit)) = (dialect, unit) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        own.for_each(|(_, line)| {
            let _ = writeln!(out, "{line}");
        });
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn of_plan(samples: &mut Samples<'_>, status: &Status) {
    samples.moment("backplan_status_timestamp_seconds", &[], Some(status.now));
    let code = match status.verdict {
        Verdict::Fine => 0,
        Verdict::Attention => 3,
        Verdict::NoBackup => 1,
    };
    samples.add("backplan_status_code", &[], code);
    samples.add("backplan_problems", &[], status.problems.len() + status.unclean.len());
    if let Some(last) = &status.last_run {
        samples.moment("backplan_last_run_timestamp_seconds", &[], Some(last.started));
        for outcome in RunOutcome::ALL {
            let is_it = u8::from(outcome == last.outcome);
            samples.add("backplan_last_run_outcome", &[("outcome", outcome.word())], is_it);
        }
        if let Some(made) = last.made {
            samples.add("backplan_last_run_duration_seconds", &[], seconds(made.took_ms));
            samples.add("backplan_last_run_stored_bytes", &[], made.stored_bytes);
            samples.add("backplan_last_run_source_bytes", &[], made.source_bytes);
            samples.add("backplan_last_run_entries", &[], made.entries);
            if let Some(files) = made.files {
                samples.add("backplan_last_run_files", &[], files);
            }
            samples.add("backplan_last_run_warnings", &[], made.warnings);
        }
    }
    if let Some(told) = status.compression {
        let ratio = told.source_bytes as f64 / told.stored_bytes as f64;
        samples.add("backplan_compression_ratio", &[], format_args!("{ratio:.3}"));
    }
    if let Some(due) = status.next_due {
        samples.moment("backplan_next_due_timestamp_seconds", &[], Some(due));
        samples.moment("backplan_overdue_since_timestamp_seconds", &[], status.overdue_since);
    }
}

fn of_sources(samples: &mut Samples<'_>, status: &Status) {
    for source in &status.sources {
        let of = [("source", source.source.as_str())];
        samples.moment("backplan_newest_backup_timestamp_seconds", &of, source.started);
        samples.add("backplan_newest_backup_copies", &of, source.stores.len());
        samples.add("backplan_newest_backup_offsite_copies", &of, source.offsite.len());
    }
    for promise in &status.objectives {
        let met = match promise.met {
            Some(true) => 1,
            Some(false) => 0,
            None => -1,
        };
        let number = match promise.objective {
            "rpo" => Some("backplan_objective_rpo_seconds"),
            "rto" => Some("backplan_objective_rto_seconds"),
            _ => None,
        };
        let of = promise.of.join(",");
        let labels = [("objective", promise.objective), ("promised", &promise.promised), ("sources", &of)];
        samples.add("backplan_objective_met", &labels, met);
        if let (Some(number), Some(seconds)) = (number, promise.seconds) {
            for source in &promise.of {
                samples.add(number, &[("source", source)], seconds);
            }
        }
    }
    for standing in &status.rehearsals {
        let of = [("source", standing.source.as_str())];
        samples.moment(
            "backplan_rehearsal_timestamp_seconds",
            &of,
            standing.last.as_ref().map(|last| last.started),
        );
        if let Some(last) = &standing.last {
            samples.add("backplan_rehearsal_passed", &of, u8::from(last.passed));
            if let Some(usable) = last.usable_ms {
                samples.add("backplan_rehearsal_usable_seconds", &of, seconds(usable));
            }
        }
        if let Some(every) = standing.every {
            samples.add("backplan_rehearsal_interval_seconds", &of, every);
        }
    }
}

fn of_logs(samples: &mut Samples<'_>, status: &Status) {
    for log in &status.logs {
        let of = [("source", log.source.as_str())];
        if let (Some(first), Some(last)) = (log.windows.first(), log.windows.last()) {
            samples.moment("backplan_log_first_timestamp_seconds", &of, Some(first.from));
            samples.moment("backplan_log_last_timestamp_seconds", &of, Some(last.until));
            samples.add("backplan_log_gaps", &of, log.windows.len() - 1);
        }
        samples.add("backplan_log_segments", &of, log.segments);
        samples.add("backplan_log_bytes", &of, log.size);
        if let Some(waiting) = &log.waiting {
            samples.add("backplan_log_waiting_segments", &of, waiting.segments);
            samples.add("backplan_log_waiting_bytes", &of, waiting.bytes);
            samples.moment("backplan_log_waiting_since_timestamp_seconds", &of, waiting.since);
        }
        samples.add("backplan_log_problems", &of, log.problems.len());
    }
}

fn of_stores(samples: &mut Samples<'_>, status: &Status) {
    for store in &status.stores {
        let of = [("store", store.store.as_str())];
        samples.add("backplan_store_runs", &of, store.runs);
        samples.add("backplan_store_bytes", &of, store.size);
        samples.moment("backplan_store_newest_timestamp_seconds", &of, store.newest.map(|run| run.started()));
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// A label's value: what a plan is called is its author's affair, and a path may be anything.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes the text beside `path` and gives it that name: whoever reads finds all of the old one, or all of the new one.
///
/// # Errors
/// When it is not in place; what stood there is as it was.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    // A device or a pipe is written into, as by everything else that writes to a path: it is not to be replaced. A pipe that
    // nobody reads is an error, and no wait.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        let mut into = OpenOptions::new().write(true).custom_flags(nonblocking).open(path)?;
        return into.write_all(text.as_bytes());
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Readers look for `*.prom`.
    let mut own = std::ffi::OsString::from(".");
    own.push(name);
    own.push(format!(".{}.tmp", std::process::id()));
    let own: PathBuf = folder.join(own);
    // One that a killed program of this number left.
    let _ = std::fs::remove_file(&own);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&own)?;
    let written = file
        .set_permissions(Permissions::from_mode(0o644))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&own, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&own);
        return Err(error);
    }
    // It has its name; that this outlives a power cut is not worth a failure.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_no_file_is_written_into_and_stays_what_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(write(&pipe, "numbers").is_err(), "nobody reads");
        let reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        write(&pipe, "numbers").unwrap();
        let mut read = [0; 7];
        io::Read::read_exact(&mut &reader, &mut read).unwrap();
        assert_eq!(&read, b"numbers");
        assert!(!std::fs::symlink_metadata(&pipe).unwrap().is_file());
        // A link to a device: the device is written into, and both stay.
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write(&link, "numbers").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let names: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn what_cannot_be_told_is_a_number_too_and_names_are_escaped() {
        let stands = [
            Stand { plan: "a\"b\\c\nd", file: "/x", status: None },
            Stand { plan: "two", file: "/1", status: None },
            Stand { plan: "two", file: "/2", status: None },
        ];
        let told = text(&stands, Dialect::Prometheus);
        assert!(told.contains("backplan_up{plan=\"a\\\"b\\\\c\\nd\"} 0\n"), "{told}");
        assert!(
            told.contains(
                "backplan_up{plan=\"two\",file=\"/1\"} 0\nbackplan_up{plan=\"two\",file=\"/2\"} 0\n"
            )
        );
        assert!(!told.contains("EOF") && text(&stands, Dialect::OpenMetrics).ends_with("# EOF\n"));
    }

    #[test]
    fn a_file_is_the_old_one_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backplan.prom");
        write(&path, "old\n").unwrap();
        write(&path, "new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert!(write(&folder.path().join("none/x.prom"), "x").is_err());
        // A folder of that name stays, and nothing is left beside it.
        std::fs::create_dir(folder.path().join("d.prom")).unwrap();
        assert!(write(&folder.path().join("d.prom"), "x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
