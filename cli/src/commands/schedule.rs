//! `plan schedule`

use std::path::{Path, PathBuf};

use backplan_compiler::model::Model;
use backplan_compiler::timer::{Inexpressible, Starter, Unit, crontab, units};
use backplan_runtime::load::{self, display};
use backplan_runtime::stamped::{Standing, stamped, standing, write};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::plan::{current_folder, ready, sole};
use super::run::clock;
use crate::args::{Global, PlanFile, ScheduleArgs, Timers};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human;

/// Prints or writes what starts the plans' runs.
///
/// # Errors
/// For wrong usage; a plan whose schedule cannot be followed is told of, and the others go on.
pub fn execute(args: &ScheduleArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let current = current_folder()?;
    let mut worst = Status::Done;
    for file in files_of(args, &current)? {
        let done = of_plan(&file, args, global, console).and_then(|files| put(&files, args, console));
        let status = done.unwrap_or_else(|failure| {
            let text = human::failure(&failure, console.errors());
            console.complain(&text);
            failure.status
        });
        worst = worst.max(status);
    }
    Ok(worst)
}

fn files_of(args: &ScheduleArgs, current: &Path) -> Result<Vec<PathBuf>, Failure> {
    if args.paths.is_empty() {
        return Ok(vec![sole(current)?]);
    }
    let mut files = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            files.extend(load::plans_in(path).map_err(|error| super::plan::of_load(&error))?);
        } else {
            files.push(path.clone());
        }
    }
    files.dedup();
    Ok(files)
}

fn of_plan(
    file: &Path,
    args: &ScheduleArgs,
    global: &Global,
    console: &mut Console,
) -> Result<Vec<Unit>, Failure> {
    let ready = ready(&PlanFile { file: Some(file.to_owned()) }, global, console)?;
    if let Some(secret) = global.params.iter().find(|param| ready.secret_params.contains(&param.name)) {
        return Err(Failure::usage(format!(
            "the parameter `{}` is a secret, and would stand where everybody reads it",
            secret.name
        ))
        .help("let the plan take it from a file: `file(\"/etc/backplan/…\")`"));
    }
    let cannot =
        |what: &str| Failure::new(what.to_owned()).help("give the program and the plan names of plain text");
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("this program's place cannot be told: {error}")))?;
    let program = program.to_str().ok_or_else(|| cannot("this program's place is no text"))?.to_owned();
    let starter = Starter {
        program,
        file: ready.model.file.to_str().ok_or_else(|| cannot("the plan's place is no text"))?.to_owned(),
        params: global.params.iter().map(|param| format!("{}={}", param.name, param.value)).collect(),
        is_user: args.user,
    };
    let now = clock()?.now();
    made(&ready.model, &starter, args, now)
        .map_err(|error| Failure::new(format!("{}: {}", display(file), error.what)).help(error.help))
}

fn made(
    model: &Model,
    starter: &Starter,
    args: &ScheduleArgs,
    now: Timestamp,
) -> Result<Vec<Unit>, Inexpressible> {
    match args.starter {
        Timers::Systemd => units(model, starter, now),
        Timers::Cron => {
            let zone = TimeZone::system();
            let zone = zone.iana_name().unwrap_or("UTC");
            let text = crontab(model, starter, (!args.user).then_some("root"), zone, now)?;
            // A file of crontabs with a dot in its name is not read.
            Ok(vec![Unit { name: format!("backplan-{}", model.name.replace('.', "-")), text }])
        }
    }
}

/// Prints the files, or brings them into the folder.
fn put(files: &[Unit], args: &ScheduleArgs, console: &mut Console) -> Result<Status, Failure> {
    let Some(folder) = &args.out else {
        for file in files {
            console.answer(&format!("# {}\n{}\n", file.name, file.text));
        }
        return Ok(Status::Done);
    };
    let mut seen = Vec::new();
    for file in files {
        let (path, text) = (folder.join(&file.name), stamped(&file.text));
        let found = standing(&path, &text)
            .map_err(|error| Failure::new(format!("`{}` cannot be read: {error}", display(&path))))?;
        // Before the first is written all are looked at: no half of a pair.
        if let Standing::Foreign(_) = found {
            return Err(Failure::new(format!("`{}` was written, or changed, by somebody", display(&path)))
                .help("move it away, or take over what was changed into the plan; nothing was written"));
        }
        seen.push((path, text, found));
    }
    for (path, text, found) in &seen {
        write(path, text, found)
            .map_err(|error| Failure::new(format!("`{}` cannot be written: {error}", display(path))))?;
        let word = match found {
            Standing::Same => "unchanged",
            Standing::Nothing => "written",
            Standing::Ours(_) | Standing::Foreign(_) => "replaced",
        };
        console.say(&format!("{}: {word}\n", display(path)));
    }
    if args.starter == Timers::Systemd && seen.iter().any(|(.., found)| *found != Standing::Same) {
        let timers: Vec<&str> =
            files.iter().map(|file| file.name.as_str()).filter(|name| name.ends_with(".timer")).collect();
        let user = if args.user { "--user " } else { "" };
        console.say(&format!(
            "then: systemctl {user}daemon-reload && systemctl {user}enable --now {}\n",
            timers.join(" ")
        ));
    }
    Ok(Status::Done)
}
