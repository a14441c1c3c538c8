//! `plan prune`

use backplan_compiler::model::Model;
use backplan_runtime::control::Control;
use backplan_runtime::past::state;
use backplan_runtime::run::prepare::PrepareError;
use backplan_runtime::run::prune::{StorePrune, StoresRequest, carry_out, preview};
use jiff::tz::TimeZone;

use super::moment;
use super::plan::ready;
use super::run::{clock, refused};
use super::stop::until_signal;
use crate::args::{Format, Global, PruneArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{json, keeping};

/// Deletes what `keep` gives up, or shows what would be deleted.
///
/// # Errors
/// Where nothing could be looked at, or a run of the plan goes on.
pub fn execute(args: &PruneArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = ready(&args.plan, global, console)?.told(console).model;
    known_store(args.store.as_deref(), &model)?;
    let state = state::root().map_err(|error| Failure::new(error.to_string()).help("set HOME"))?;
    let now = match &args.at {
        Some(at) => moment::parse(at, &TimeZone::system())?,
        None => clock()?.now(),
    };
    let (store, accept) = (args.store.clone(), args.accept.clone());
    let request = StoresRequest { model, store, state, now, is_supposed: args.at.is_some(), accept };
    let (stores, signal) = shown_or_done(&request, args.dry_run, preview, carry_out)?;
    match args.format {
        Format::Human => console.answer(&keeping::prune(&stores, args.dry_run, console.answers())),
        Format::Json => {
            let answer =
                serde_json::json!({ "format": 1, "dry_run": args.dry_run, "now": now, "stores": stores });
            console.answer(&json::document(&answer));
        }
    }
    Ok(signal.unwrap_or_else(|| conclude(&stores)))
}

/// What would be done in each store, or what was, and the signal that ended it.
///
/// # Errors
/// As [`execute`]'s.
pub(super) fn shown_or_done<S>(
    request: &StoresRequest,
    dry_run: bool,
    preview: fn(&StoresRequest) -> Result<Vec<S>, PrepareError>,
    carry_out: fn(&StoresRequest, &Control) -> Result<Vec<S>, PrepareError>,
) -> Result<(Vec<S>, Option<Status>), Failure> {
    if dry_run {
        return Ok((preview(request).map_err(refused)?, None));
    }
    let control = Control::default();
    let (stores, signal) = until_signal(&control, || carry_out(request, &control))?;
    Ok((stores.map_err(refused)?, signal))
}

/// Sees that a store that was named is one of the plan's.
///
/// # Errors
/// [`Status::Usage`] where it is none.
pub fn known_store(name: Option<&str>, model: &Model) -> Result<(), Failure> {
    let Some(name) = name.filter(|name| !model.stores.iter().any(|store| store.name == *name)) else {
        return Ok(());
    };
    let known: Vec<String> = model.stores.iter().map(|store| format!("`{}`", store.name)).collect();
    Err(Failure::usage(format!("there is no store `{name}` in plan `{}`", model.name))
        .help(format!("the plan's stores are {}", known.join(", "))))
}

fn conclude(stores: &[StorePrune]) -> Status {
    let looks = |store: &StorePrune| {
        let plan = store.plan.as_ref();
        !store.left.is_empty()
            || plan.is_some_and(|plan| !plan.refused.is_empty() || !plan.warnings.is_empty())
    };
    if stores.iter().any(|store| store.busy) {
        Status::Locked
    } else if stores.iter().any(|store| store.error.is_some()) {
        Status::Failed
    } else if stores.iter().any(looks) {
        Status::Warnings
    } else {
        Status::Done
    }
}
