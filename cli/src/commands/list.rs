//! `plan list`

use std::collections::BTreeMap;

use backplan_runtime::catalog::ids::RunId;
use backplan_runtime::past::state;

use super::run::clock;
use super::shelves::{open_closed, say_strays};
use crate::args::{Format, Global, ListArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::backups::{Lost, RunRow, table};
use crate::render::json;

/// Lists the backups that exist, one row a run, however many stores hold it.
///
/// # Errors
/// When no store can be read.
pub fn execute(args: &ListArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let mut shelves = open_closed(&args.place.plan, &args.place.store, global, console)?;
    let told = !shelves.warnings().is_empty();
    // Elsewhere each would have to be asked for.
    shelves.look_for_artefacts_at_hand();
    shelves.look_for_strays(false);
    say_strays(&shelves, console);
    let strange = shelves.strange().into_iter().chain(shelves.gone()).chain(shelves.unclaimed());
    let strange: Vec<String> = strange.collect();
    strange.iter().for_each(|text| console.remark("warning", text));
    let state = state::root().ok();
    let mut rows: BTreeMap<RunId, RunRow> = BTreeMap::new();
    for shelf in &shelves.shelves {
        for manifest in shelf.catalog.runs() {
            let row = rows.entry(manifest.run).or_insert_with(|| {
                let is_anothers = shelves.anothers(manifest.run, state.as_deref()).is_some();
                RunRow { is_anothers, ..RunRow::new(manifest) }
            });
            row.add(manifest, shelf.store.label());
            let own = manifest.archives.iter().filter_map(|archive| shelf.catalog.loss_of(archive));
            let own = own.chain(shelf.catalog.torn(&manifest.run));
            row.lost
                .extend(own.map(|why| Lost { store: shelf.store.label().to_owned(), why: why.to_owned() }));
        }
    }
    let held = shelves.held_back(clock()?.now(), |shelf| !shelf.declared.append_only);
    for (_, held) in held {
        if let Some(row) = rows.get_mut(&held.run) {
            row.hold(held);
        }
    }
    let rows: Vec<RunRow> = rows.into_values().collect();
    let has_lost = rows.iter().any(|row| !row.lost.is_empty());
    match args.format {
        Format::Human if rows.is_empty() && !shelves.unread.is_empty() => {
            console.answer("no backups in the stores that can be read; what others hold is not known\n");
        }
        Format::Human => console.answer(&table(&rows, console.answers())),
        Format::Json => console.answer(&json::document(&serde_json::json!({ "format": 1, "runs": rows }))),
    }
    let is_whole = !told
        && shelves.warnings().is_empty()
        && shelves.strays.is_empty()
        && strange.is_empty()
        && !has_lost;
    Ok(if is_whole { Status::Done } else { Status::Warnings })
}
