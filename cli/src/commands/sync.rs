//! `plan sync`

use backplan_runtime::past::state;
use backplan_runtime::run::prune::StoresRequest;
use backplan_runtime::run::sync::{StoreSync, carry_out, preview};

use super::plan::ready;
use super::prune::{known_store, shown_or_done};
use super::run::clock;
use crate::args::{Format, Global, SyncArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::{json, syncing};

/// Fills stores with what they lack and others have, or shows what would be copied.
///
/// # Errors
/// Where nothing could be looked at, or a run of the plan goes on.
pub fn execute(args: &SyncArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let model = ready(&args.plan, global, console)?.told(console).model;
    known_store(args.store.as_deref(), &model)?;
    let state = state::root().map_err(|error| Failure::new(error.to_string()).help("set HOME"))?;
    let now = clock()?.now();
    let request = StoresRequest {
        model,
        store: args.store.clone(),
        state,
        now,
        is_supposed: false,
        accept: Vec::new(),
    };
    let (stores, signal) = shown_or_done(&request, args.dry_run, preview, carry_out)?;
    match args.format {
        Format::Human => console.answer(&syncing::sync(&stores, args.dry_run, console.answers())),
        Format::Json => {
            let answer = serde_json::json!({ "format": 1, "dry_run": args.dry_run, "stores": stores });
            console.answer(&json::document(&answer));
        }
    }
    Ok(signal.unwrap_or_else(|| conclude(&stores)))
}

fn conclude(stores: &[StoreSync]) -> Status {
    if stores.iter().any(|store| store.busy) {
        Status::Locked
    } else if stores.iter().any(|store| store.error.is_some()) {
        Status::Failed
    } else if stores.iter().any(|store| !store.warnings.is_empty()) {
        Status::Warnings
    } else {
        Status::Done
    }
}
