//! `plan status`

use std::path::{Path, PathBuf};

use backplan_compiler::Laid;
use backplan_compiler::model::Model;
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::shelf::Shelves;
use backplan_runtime::load::display;
use backplan_runtime::machine::host_name;
use backplan_runtime::metrics::{self, Dialect, Stand};
use backplan_runtime::past::history::Local;
use backplan_runtime::past::state;
use backplan_runtime::postgres::restore::log::waiting;
use backplan_runtime::postgres::restore::repositories::Access;
use backplan_runtime::scratch::{self, Places};
use backplan_runtime::status::{Status as Standing, Verdict, status};
use jiff::Timestamp;

use super::fleet::{each, files_of, jobs, name_of, worst};
use super::plan::{Ready, ready, silently_laid};
use super::run::clock;
use super::shelves::failure;
use crate::args::{Global, PlanFiles, StatusArgs, StatusFormat};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{json, keeping, standings};

/// Shows how plans stand.
///
/// # Errors
/// When no store of a plan that is asked for alone can be read.
pub fn execute(args: &StatusArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    if args.plans.is_several() || args.due || args.format.dialect().is_some() || args.out.is_some() {
        return several(args, global, console);
    }
    let Ready { model, laid, .. } = ready(&args.plans.alone(), global, console)?;
    let now = clock()?.now();
    let (local, told) = local(&model)?;
    let standing = of_model((&model, &laid), local.clone(), &told, now)?.map_err(|error| {
        for text in told.iter().chain(&waiting(&model)) {
            console.remark("warning", text);
        }
        // Where no store can be read, how the last run went may say why.
        console.complain(&keeping::unclean(&local.unclean, now, console.errors()));
        unreadable(&error)
    })?;
    match args.format {
        StatusFormat::Json => console.answer(&json::document(&standing)),
        _ => console.answer(&keeping::status(&standing, console.answers())),
    }
    Ok(ends_with(&standing))
}

/// How one of several plans stands.
#[derive(Debug)]
pub struct Seen {
    /// Its file.
    pub file: PathBuf,
    /// Its name, or its file's.
    pub plan: String,
    /// How it stands, or why that cannot be told.
    pub standing: Result<Standing, Failure>,
    /// What a person should know beside that.
    pub told: Vec<String>,
}

impl Seen {
    /// The exit status of `plan status` for it.
    pub fn status(&self) -> Status {
        self.standing.as_ref().map_or_else(|failure| failure.status, ends_with)
    }
}

/// How each of these plans stands.
pub fn look(files: &[PathBuf], count: usize, global: &Global, now: Timestamp) -> Vec<Seen> {
    each(files, count, |file| {
        let looked = std::panic::catch_unwind(|| look_at(file, global, now));
        looked.unwrap_or_else(|_| Seen {
            file: file.to_owned(),
            plan: name_of(file),
            standing: Err(Failure::new(
                "a defect in this program; the message above says where: please report it",
            )),
            told: Vec::new(),
        })
    })
}

fn look_at(file: &Path, global: &Global, now: Timestamp) -> Seen {
    let mut seen = Seen {
        file: file.to_owned(),
        plan: name_of(file),
        standing: Err(Failure::new("")),
        told: Vec::new(),
    };
    let (model, laid) = match silently_laid(file, global) {
        Ok(plan) => plan,
        Err(failure) => return Seen { standing: Err(failure), ..seen },
    };
    seen.plan.clone_from(&model.name);
    let standing = local(&model).and_then(|(local, told)| {
        let standing = of_model((&model, &laid), local, &told, now)?.map_err(|error| unreadable(&error));
        // Else it is one of the problems.
        seen.told =
            if standing.is_err() { told.into_iter().chain(waiting(&model)).collect() } else { Vec::new() };
        standing
    });
    Seen { standing, ..seen }
}

fn several(args: &StatusArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let found = files_of(&args.plans)?;
    let now = clock()?.now();
    let seen = look(&found.files, jobs(args.jobs), global, now);
    for one in &seen {
        for text in &one.told {
            console.remark("warning", &format!("{}: {text}", display(&one.file)));
        }
    }
    let text = match (args.format.dialect(), args.due) {
        (Some(dialect), _) => numbers(&seen, dialect),
        (None, due) => match args.format {
            StatusFormat::Json => standings::json(&seen, due),
            _ => standings::human(&seen, due, now, console.answers()),
        },
    };
    match &args.out {
        Some(path) => {
            put(path, &text)?;
            // Whoever started this reads no file that it names.
            for (one, failure) in seen.iter().filter_map(|one| Some((one, one.standing.as_ref().err()?))) {
                console.remark("error", &format!("{}: {}", display(&one.file), failure.message));
            }
        }
        None => console.answer(&text),
    }
    // A program that reads numbers wants them whatever they say.
    if args.format.dialect().is_some() {
        let is_known = |one: &Seen| one.standing.is_ok();
        let status = if seen.iter().all(is_known) { Status::Done } else { Status::Warnings };
        return Ok(found.told(status, console));
    }
    let status = match args.due {
        true => worst(seen.iter().map(|one| match &one.standing {
            Ok(standing) if standings::due(standing).is_empty() => Status::Done.code(),
            Ok(_) => Status::Warnings.code(),
            Err(failure) => failure.status.code(),
        })),
        false => worst(seen.iter().map(|one| one.status().code())),
    };
    Ok(found.told(status, console))
}

/// Writes the numbers of these plans, for a run that was asked to.
///
/// # Errors
/// When the file could not be written; the old one is as it was.
pub fn write_numbers(plans: &PlanFiles, path: &Path, global: &Global) -> Result<(), Failure> {
    let seen = look(&files_of(plans)?.files, jobs(None), global, clock()?.now());
    put(path, &numbers(&seen, Dialect::Prometheus))
}

fn numbers(seen: &[Seen], dialect: Dialect) -> String {
    let files: Vec<String> = seen.iter().map(|one| display(&one.file)).collect();
    let stands = seen.iter().zip(&files);
    let stands =
        stands.map(|(one, file)| Stand { plan: &one.plan, file, status: one.standing.as_ref().ok() });
    metrics::text(&stands.collect::<Vec<_>>(), dialect)
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    metrics::write(path, text).map_err(|error| {
        Failure::new(format!("`{}` could not be written: {error}", display(path))).help(
            "what stood there is as it was; its folder must be there, have room, and let this account write",
        )
    })
}

/// No store can be read. A plan stands by its own stores alone.
fn unreadable(error: &BackupsError) -> Failure {
    let help =
        "see that one of them is there; one that is elsewhere by now is read by `plan list --store PATH`";
    failure(error).help(help)
}

/// How a plan stands; `told` is what keeps this machine's last runs from being known. The inner error: no store can be read.
fn of_model(
    (model, laid): (&Model, &Laid),
    local: Local,
    told: &[String],
    now: Timestamp,
) -> Result<Result<Standing, BackupsError>, Failure> {
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    let mut shelves = match Shelves::of_plan(model, None) {
        Ok(shelves) => shelves,
        Err(error) => return Ok(Err(error)),
    };
    shelves.unfit.extend_from_slice(told);
    shelves.unfit.extend(
        backplan_runtime::run::prepare::misplaced(laid).iter().map(|why| format!("no run can begin: {why}")),
    );
    shelves.look_for_artefacts();
    shelves.look_for_strays(true);
    shelves.look_for_fitness(model, &state);
    shelves.look_for_memory(model, &state);
    let places = Places { place: scratch::usual_place(), state };
    let access = Access::of_plan(model, &shelves, &host_name(), places);
    Ok(Ok(status(model, &shelves, local, &access, now)))
}

fn ends_with(standing: &Standing) -> Status {
    match standing.verdict {
        Verdict::Fine => Status::Done,
        Verdict::Attention => Status::Warnings,
        Verdict::NoBackup => Status::Failed,
    }
}

/// What this machine knows of the plan's runs; one that never ran it knows of none. Also what keeps it from being known.
fn local(model: &Model) -> Result<(Local, Vec<String>), Failure> {
    let state = state::root().map_err(|error| Failure::new(error.to_string()))?;
    Ok(match Local::of(&state, &model.name, &model.file) {
        Ok(local) => (local, Vec::new()),
        Err(error) => {
            let told = format!("how the last runs on this machine went is not known: {}", error.with_mend());
            (Local::default(), vec![told])
        }
    })
}
