//! `plan list`

use std::collections::BTreeMap;

use backplan_runtime::catalog::ids::RunId;

use super::run::clock;
use super::shelves::open_closed;
use crate::args::{Format, Global, ListArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::backups::{RunRow, table};
use crate::render::json;

/// Lists the backups that exist, one row a run, however many stores hold it.
///
/// # Errors
/// When no store can be read.
pub fn execute(args: &ListArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let shelves = open_closed(&args.place.plan, &args.place.store, global, console)?;
    let mut rows: BTreeMap<RunId, RunRow> = BTreeMap::new();
    for shelf in &shelves.shelves {
        for manifest in shelf.catalog.runs() {
            let row = rows.entry(manifest.run).or_insert_with(|| RunRow::new(manifest));
            row.add(manifest, shelf.store.label());
        }
    }
    let held = shelves.held_back(clock()?.now(), |shelf| !shelf.declared.append_only);
    for (_, held) in held {
        if let Some(row) = rows.get_mut(&held.run) {
            row.hold(held);
        }
    }
    let rows: Vec<RunRow> = rows.into_values().collect();
    match args.format {
        Format::Human if rows.is_empty() && !shelves.unread.is_empty() => {
            console.answer("no backups in the stores that can be read; what others hold is not known\n");
        }
        Format::Human => console.answer(&table(&rows, console.answers())),
        Format::Json => console.answer(&json::document(&serde_json::json!({ "format": 1, "runs": rows }))),
    }
    Ok(if shelves.warnings().is_empty() { Status::Done } else { Status::Warnings })
}
