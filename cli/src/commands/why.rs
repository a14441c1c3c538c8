//! `plan why`

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backplan_compiler::count::plural;
use backplan_runtime::backups::why::{Known, Reader, of_path};
use backplan_runtime::load;
use backplan_runtime::moment::shown;
use backplan_runtime::text::{printable, unescaped};

use super::identities::with_keys;
use super::plan::{Ready, current_folder, ready};
use super::shelves::remembered;
use crate::args::{Format, Global, PlanFile, WhyArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::json;
use crate::render::text::harmless;

/// Says whether a path is backed up, and why.
///
/// # Errors
/// When the plan does not compile.
pub fn execute(args: &WhyArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let Ready { model, sources, .. } = ready(&PlanFile { file: Some(args.file.clone()) }, global, console)?;
    let stores = match remembered(&model, None) {
        Ok(shelves) => Ok(with_keys(shelves, &args.identities)?),
        Err(error) => Err(error.to_string()),
    };
    let folder = current_folder()?;
    let answer = |asked: &Path| of_path(&model, &sources, &stores, &load::normalize(&folder.join(asked)));
    let mut known = answer(&args.path);
    // What is called so is meant, else what is shown so.
    if let Some(bytes) = unescaped(args.path.as_os_str().as_bytes())
        && !known.exists
        && known.backups.is_empty()
    {
        known = answer(Path::new(OsStr::from_bytes(&bytes)));
    }
    match args.format {
        Format::Human => console.answer(&human(&known)),
        Format::Json => console.answer(&json::document(&known)),
    }
    let is_clear = known.backed_up && known.unknown.is_empty();
    Ok(if is_clear { Status::Done } else { Status::Warnings })
}

/// What a person wants to know first: what backups hold, and what the plan would do, each by its own word.
fn verdict(known: &Known) -> String {
    let held = &known.backups;
    let has_runs = known.newest.iter().any(|newest| newest.run.is_some()) || !held.is_empty();
    match (known.backed_up, known.planned) {
        (true, true) => "is backed up".to_owned(),
        (true, false) => "is backed up, and the next run does not take it in".to_owned(),
        (false, true) if held.is_empty() && has_runs && known.unknown.is_empty() => {
            "is NOT backed up: the next run takes it in, and no run has it yet".to_owned()
        }
        (false, true) if !held.is_empty() => {
            "is NOT backed up as the plan has it: the next run takes it in, and the newest lacks it"
                .to_owned()
        }
        (false, true) => "is NOT backed up, as far as is known: the next run takes it in".to_owned(),
        (false, false) if held.is_empty() => "is NOT backed up".to_owned(),
        (false, false) => "is NOT backed up any more".to_owned(),
    }
}

fn human(known: &Known) -> String {
    let state = match (&known.unreadable, known.exists) {
        (Some(why), _) => format!(" (cannot be read now: {why})"),
        (None, true) => String::new(),
        (None, false) => " (not there now)".to_owned(),
    };
    let mut out = format!("{}{state} {}\n", known.path, verdict(known));
    if known.sources.is_empty() {
        out.push_str("  no source of the plan reads it\n");
    }
    for reader in &known.sources {
        of_reader(&mut out, reader);
    }
    for newest in &known.newest {
        let word = match newest.holds {
            Some(true) => "holds it",
            Some(false) => "does not hold it",
            None => "cannot be looked into",
        };
        let _ = match (&newest.run, newest.at) {
            (Some(run), Some(at)) => {
                writeln!(out, "  newest run in store `{}`: {run}, of {}, {word}", newest.store, shown(at))
            }
            _ => writeln!(out, "  store `{}` has no run yet", newest.store),
        };
    }
    of_backups(&mut out, known);
    for text in &known.unknown {
        let _ = writeln!(out, "  ? {text}");
    }
    harmless(&out)
}

fn of_reader(out: &mut String, reader: &Reader) {
    let sign = if reader.taken { "+" } else { "-" };
    let _ = writeln!(out, "  {sign} source `{}`: {}", reader.source, reader.why);
    if !reader.taken {
        return;
    }
    if let Some(inside) = &reader.inside {
        let _ = writeln!(out, "      recorded as {}", printable(inside));
    }
    for reached in &reader.reaches {
        let stores: Vec<String> = reached.stores.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "      archive `{}` -> {}", reached.archive, stores.join(", "));
    }
    if reader.reaches.is_empty() {
        out.push_str("      it reaches no store\n");
    }
}

fn of_backups(out: &mut String, known: &Known) {
    if !known.backups.is_empty() {
        let _ = writeln!(out, "held by {}, the newest first:", plural(known.backups.len(), "backup"));
    } else if known.unknown.is_empty() && !known.backed_up {
        out.push_str("no backup holds it\n");
    }
    let is_now = |name: &&String| known.sources.iter().any(|reader| reader.source == **name);
    for backup in &known.backups {
        let stores: Vec<&str> = backup.stores.iter().map(String::as_str).collect();
        let _ = write!(out, "  {}  {}  in {}", shown(backup.at), backup.run, stores.join(", "));
        let then: Vec<String> =
            backup.sources.iter().filter(|name| !is_now(name)).map(|name| format!("`{name}`")).collect();
        if !then.is_empty() {
            let _ = write!(out, ", by source {}", then.join(", "));
        }
        out.push('\n');
    }
}
