//! From `FILE`, `--store` and `--run` to stores that are open for reading and a run in them.

use std::path::{Path, PathBuf};

use backplan_compiler::model::{Model, Store};
use backplan_runtime::backups::BackupsError;
use backplan_runtime::backups::shelf::{Shelf, Shelves};
use backplan_runtime::catalog::runs::{Choice, ChooseError};
use backplan_runtime::past::state;
use jiff::tz::TimeZone;

use super::identities::with_keys;
use super::moment;
use super::plan::{Ready, current_folder, ready, sole};
use crate::args::{Global, PlanFile, StoreChoice};
use crate::console::Console;
use crate::exit::{Failure, Status};

/// The stores that are meant, with the keys that are named. What keeps some of them from being read is said; the rest are used.
///
/// # Errors
/// When none can be read, or a key.
pub fn open(
    plan: &PlanFile,
    choice: &StoreChoice,
    global: &Global,
    console: &mut Console,
) -> Result<Shelves, Failure> {
    with_keys(open_closed(plan, choice, global, console)?, &choice.identities)
}

/// As [`open`], with no key: for who looks at what is in clear.
///
/// # Errors
/// When none can be read.
pub fn open_closed(
    plan: &PlanFile,
    choice: &StoreChoice,
    global: &Global,
    console: &mut Console,
) -> Result<Shelves, Failure> {
    let shelves = match (&choice.store, &plan.file) {
        (Some(folder), _) if is_alone(plan, choice) => {
            let shelf = Shelf::open(folder, choice.plan_name.as_deref()).map_err(|error| failure(&error))?;
            Shelves::one(shelf)
        }
        (Some(folder), _) => {
            if plan.file.is_none() {
                sole(&current_folder()?).map_err(|failure| no_folder(folder, &failure))?;
            }
            let Ready { model, .. } = ready(plan, global, console)?;
            let meant = model.stores.iter().find(|store| is_meant(store, folder));
            let Some(name) = meant.map(|store| store.name.clone()) else {
                return Err(unknown_store(folder, &model));
            };
            remembered(&model, Some(&name)).map_err(|error| failure(&error))?
        }
        (None, _) => {
            let Ready { model, .. } = ready(plan, global, console).map_err(without_plan)?;
            remembered(&model, None).map_err(|error| failure(&error))?
        }
    };
    for warning in shelves.warnings() {
        console.remark("warning", &warning);
    }
    Ok(shelves)
}

/// The stores of a plan, or one of them, with what this machine remembers of it, if that can be read.
///
/// # Errors
/// When none of them can be read.
pub fn remembered(model: &Model, only: Option<&str>) -> Result<Shelves, BackupsError> {
    let shelves = Shelves::of_plan(model, only)?;
    match state::root() {
        Ok(state) => shelves.remembering(model, &state),
        Err(_) => Ok(shelves),
    }
}

/// Whether a store is read with no plan at hand.
pub fn is_alone(plan: &PlanFile, choice: &StoreChoice) -> bool {
    let is_folder = |store: &PathBuf| store.is_dir() || store.components().count() > 1;
    plan.file.is_none() && choice.store.as_ref().is_some_and(is_folder)
}

/// A backup must not be out of reach because its plan is.
fn without_plan(failure: Failure) -> Failure {
    let help = failure.help.clone().map(|help| format!("{help}; ")).unwrap_or_default();
    failure.help(format!("{help}a store can be read with no plan at all: `--store FOLDER`"))
}

/// Whether a store of a plan is meant, be it by its name, its folder or its address.
fn is_meant(store: &Store, said: &Path) -> bool {
    let is_its_folder = |folder: &Path| match (folder.canonicalize(), said.canonicalize()) {
        (Ok(own), Ok(said)) => own == said,
        _ => folder == said,
    };
    let text = said.to_string_lossy();
    store.name == text
        || store.location().to_string() == text.trim_end_matches('/')
        || store.folder().is_some_and(is_its_folder)
}

/// Of a store that is no folder here, where there is no plan of which it could be one.
fn no_folder(said: &Path, why: &Failure) -> Failure {
    let said = said.display();
    Failure { message: format!("no folder `{said}` is here, and {}", why.message), ..Failure::usage("") }.help(format!(
        "mount the disk that it is on, or name it by its path; a store of a plan is named beside that: `plan COMMAND FILE --store {said}`"
    ))
}

fn unknown_store(said: &Path, model: &Model) -> Failure {
    let known: Vec<String> = model.stores.iter().map(|store| format!("`{}`", store.name)).collect();
    let known = format!("the plan's stores are {}", known.join(", "));
    let name = said.display();
    match said.is_dir() {
        true => Failure::usage(format!("`{name}` is a folder, and none of plan `{}`'s stores", model.name))
            .help(format!(
                "{known}; to read another by itself, leave the plan's file away: `--store {name}` alone"
            )),
        false => Failure::usage(format!("`{name}` is neither a folder nor a store of plan `{}`", model.name))
            .help(known),
    }
}

/// The run that is meant.
///
/// # Errors
/// [`Status::Usage`] for a time that is none.
pub fn choice(run: &str, at: Option<&str>) -> Result<Choice, Failure> {
    match (at, run) {
        (Some(at), _) => Ok(Choice::At(moment::parse(at, &TimeZone::system())?)),
        (None, "latest") => Ok(Choice::Latest),
        (None, run) => Ok(Choice::Id(run.to_owned())),
    }
}

/// A failure to read backups.
pub fn failure(error: &BackupsError) -> Failure {
    let status = match error {
        BackupsError::SeveralPlans { .. } | BackupsError::OtherPlans { .. } | BackupsError::Address(_) => {
            Status::Usage
        }
        BackupsError::AtWork(_) => Status::Locked,
        _ => Status::Failed,
    };
    Failure { status, message: error.to_string(), help: help(error).map(str::to_owned) }
}

/// What to do about it.
fn help(error: &BackupsError) -> Option<&'static str> {
    Some(match error {
        BackupsError::NoPlan(place) if is_whole_bucket(place) => {
            "a store may have a prefix in its bucket, which belongs to the address: `--store s3://BUCKET/PREFIX`"
        }
        BackupsError::Headless { .. } => {
            "copy `.backplan` along from where these came from (names with a dot are left out by `cp *` and by file managers); where it is \
             lost, tar unpacks them, one that is no full behind those that it rests on: docs/artefact.md"
        }
        BackupsError::AtWork(_) => "wait until it has ended, or restore into another folder",
        BackupsError::CutShort { .. } => {
            "what was complete stays, nothing half-written; mend that and restore again, with `--resume`; where that was in \
             place or over what was there, with `--overwrite`"
        }
        BackupsError::Choose(ChooseError::Unreadable { .. }) => {
            "another store may have it whole; its artefacts can be unpacked by tar; `plan list` shows the other runs"
        }
        BackupsError::NotInOthers { .. } => {
            "have them back, for they may have it; `plan list` shows which runs there are"
        }
        BackupsError::Choose(_) => "`plan list` shows which runs there are",
        BackupsError::Artefact { .. } => {
            "`plan verify` says what is damaged; another store, or an earlier run (`--run`), may be whole"
        }
        BackupsError::Base(_) => {
            "another store may have that run whole; `plan verify --all` shows which runs are"
        }
        BackupsError::NoStore { .. } | BackupsError::Store(_) => {
            "see that it is there, or name a store that can be read: `--store PATH`"
        }
        BackupsError::Locked { .. } => {
            "name the file of a private key: `--identity FILE`, or in `BACKPLAN_IDENTITY`"
        }
        _ => return None,
    })
}

/// Whether an address is one of a bucket without a prefix.
fn is_whole_bucket(place: &str) -> bool {
    place.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches('/').contains('/'))
}

/// Says which artefacts no manifest names, as far as somebody looked.
pub fn say_strays(shelves: &Shelves, console: &mut Console) {
    for text in &shelves.strays {
        console.remark("warning", text);
    }
}
