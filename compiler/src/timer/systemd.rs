//! Units of systemd: a service and a timer for each level that the schedule names.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use jiff::Timestamp;

use super::times::{Times, times};
use super::{Inexpressible, Links, STATE, Start, Starter, starts, strays, unit_name, variables};
use crate::model::{Model, SourceKind, StoreKind};
use crate::value::Secret;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The units of a plan.
///
/// # Errors
/// Where the plan has no schedule, or one that a timer cannot follow.
pub fn units(model: &Model, starter: &Starter, now: Timestamp) -> Result<Vec<Unit>, Inexpressible> {
    let mut units = Vec::new();
    let starts = starts(model)?;
    for start in &starts {
        let schedule = start.schedule;
        let name = unit_name(model, &start.ending());
        let mut timer = String::new();
        let of = start.of(model);
        let mut line = |text: String| push(&mut timer, &text);
        line(format!("[Unit]\nDescription=When the {of} is due\n\n[Timer]"));
        let moments = times(start.when)?;
        if let Some(note) = strays(schedule, start.when, &moments, now) {
            line(note);
        }
        for times in moments {
            line(format!("OnCalendar={} {}", calendar(&times), schedule.zone));
        }
        // Half a minute late is late for no backup, but moments that are a minute apart are not one.
        line("AccuracySec=1s".to_owned());
        if let Some(jitter) = schedule.jitter {
            line(format!("RandomizedDelaySec={jitter}s"));
        }
        line(format!("Persistent={}", schedule.catch_up));
        line("\n[Install]\nWantedBy=timers.target".to_owned());
        units.push(Unit { name: format!("{name}.timer"), text: timer });
        let service = service(model, starter, start, starts.len() > 1)?;
        units.push(Unit { name: format!("{name}.service"), text: service });
    }
    Ok(units)
}

fn push(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn service(
    model: &Model,
    starter: &Starter,
    start: &Start<'_>,
    has_others: bool,
) -> Result<String, Inexpressible> {
    let of = start.of(model);
    let mut text = String::new();
    let mut line = |line: &str| push(&mut text, line);
    line(&format!("[Unit]\nDescription={}{}", of[..1].to_uppercase(), &of[1..]));
    line(
        "Wants=network-online.target\nAfter=network-online.target\nStartLimitIntervalSec=0\n\n[Service]\nType=exec",
    );
    let words: Vec<String> = starter.words(start).iter().map(|word| quoted(word)).collect();
    line(&format!("ExecStart={}", words.join(" ")));
    line("# 3: the backup is there, and `plan status` has something to read. 4: another run is at work.");
    line("SuccessExitStatus=3 4");
    if start.level.is_some() || has_others {
        // Of two that come together one waits: neither is lost.
        line("RestartForceExitStatus=4\nRestartSec=5min");
    }
    line("# The run itself ends what it started, leaves windows and releases locks.");
    line("KillMode=mixed\nTimeoutStopSec=15min");
    let variables = variables(model)?;
    if !variables.is_empty() {
        let folder = if starter.is_user { "%h/.config/backplan" } else { "/etc/backplan" };
        line(&format!(
            "# The plan takes secrets from {}: lines NAME=VALUE, for nobody else to read.",
            variables.join(", ")
        ));
        line(&format!("EnvironmentFile={folder}/{}.env", model.name));
    }
    if let Some(nice) = model.limits.nice {
        line(&format!("Nice={nice}"));
    }
    if !starter.is_user {
        match &starter.links.state {
            None => line("StateDirectory=backplan\nStateDirectoryMode=0700"),
            Some(_) => {
                line(&format!("# No StateDirectory: `{STATE}` is a link, which systemd refuses there."))
            }
        }
        for setting in sandbox(model, &starter.links) {
            line(&setting);
        }
    }
    Ok(text)
}

/// The folders of stores that a unit of the system could write to and not make: where it runs in a sandbox.
pub fn confined_stores(model: &Model) -> Vec<&Path> {
    if starts_programs(model) {
        return Vec::new();
    }
    let folders = model.stores.iter().filter_map(|store| match &store.kind {
        StoreKind::Dir { path } => Some(path.as_path()),
        _ => None,
    });
    folders.collect()
}

/// What the run need not do is forbidden, where the plan starts no programs: what those do, only they know.
fn sandbox(model: &Model, links: &Links) -> Vec<String> {
    if starts_programs(model) {
        return vec!["# No sandbox: the plan starts programs, and what those need is not known.".to_owned()];
    }
    let fixed = [
        "ProtectSystem=strict",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "NoNewPrivileges=yes",
        "RestrictRealtime=yes",
        "LockPersonality=yes",
    ];
    let mut settings: Vec<String> = fixed.map(str::to_owned).to_vec();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for store in &model.stores {
        if let StoreKind::Dir { path } = &store.kind {
            paths.insert(path.display().to_string());
        }
    }
    // Whoever reads a database of SQLite takes part in its locks, in files beside it.
    for source in &model.sources {
        if let SourceKind::Sqlite(sqlite) = &source.kind
            && let Some(folder) = sqlite.path.parent()
        {
            paths.insert(folder.display().to_string());
            paths.extend(links.databases.get(&sqlite.path).map(|real| real.display().to_string()));
        }
    }
    paths.extend(links.state.iter().map(|real| real.display().to_string()));
    paths.extend(model.staging.iter().map(|staging| staging.path.display().to_string()));
    for path in paths {
        // A disk that is away is for the run to tell of, not a reason for the unit to fail.
        settings.push(format!("ReadWritePaths=-{}", quoted(&path).replace("$$", "$")));
    }
    settings
}

fn starts_programs(model: &Model) -> bool {
    let is_program = |secret: &Secret| matches!(secret, Secret::Exec { .. });
    let by_notify = |notify: &crate::model::Notify| {
        use crate::model::NotifyKind as Kind;
        match &notify.kind {
            Kind::Command { .. } => true,
            Kind::Webhook { url, token, .. } => is_program(url) || token.as_ref().is_some_and(is_program),
            Kind::Healthcheck { url, .. } => is_program(url),
            Kind::Email(email) => email.password.as_ref().is_some_and(is_program),
        }
    };
    let plain = |kind: &SourceKind| matches!(kind, SourceKind::Files(_) | SourceKind::Sqlite { .. });
    !model.windows.is_empty()
        || !model.verifies.is_empty()
        || model.sources.iter().any(|source| !plain(&source.kind))
        || model.stores.iter().any(|store| !matches!(store.kind, StoreKind::Dir { .. }))
        || model.notifies.iter().any(by_notify)
}

/// A word as a line of a unit takes it: `%` begins a specifier there, `$` a variable.
fn quoted(word: &str) -> String {
    let mut out = String::new();
    for letter in word.chars() {
        match letter {
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=+:,@%$".contains(letter);
    if !out.is_empty() && out.chars().all(is_plain) { out } else { format!("\"{out}\"") }
}

/// As `OnCalendar` takes it, without the zone.
fn calendar(times: &Times) -> String {
    let days = match &times.weekdays {
        None => String::new(),
        Some(days) => {
            let names: Vec<&str> =
                days.iter().filter_map(|day| WEEKDAYS.get(usize::from(*day)).copied()).collect();
            format!("{} ", names.join(","))
        }
    };
    let some = |set: &Option<BTreeSet<u8>>| set.as_ref().map_or("*".to_owned(), |set| list(set, 0));
    format!(
        "{days}*-{}-{} {}:{}:{}",
        some(&times.months),
        some(&times.days),
        list(&times.hours, 24),
        list(&times.minutes, 60),
        list(&times.seconds, 60)
    )
}

/// Numbers with commas between them; `*` where they are all of `all`.
fn list(set: &BTreeSet<u8>, all: usize) -> String {
    if set.len() == all {
        return "*".to_owned();
    }
    set.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(",")
}
