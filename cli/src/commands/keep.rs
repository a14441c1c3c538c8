//! `plan keep`

mod stores;

use std::collections::BTreeMap;

use backplan_compiler::due;
use backplan_compiler::model::{Model, Store, StoreId};
use backplan_compiler::retention::Reason;
use backplan_compiler::simulate::{Horizon, Simulation, simulate};
use jiff::tz::TimeZone;

use super::plan::ready;
use super::report::put;
use super::{moment, run};
use crate::args::{Calendar, Global, KeepArgs};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::calendar::{Basis, Kept, Shelf, Window, days_later, drawing, sheet, text};
use crate::render::json;

/// Days of a calendar, where nothing else is said.
const DAYS: u16 = 31;

/// Shows what a plan keeps.
///
/// # Errors
/// [`Status::Usage`] where the plan does not compile, has no schedule, or a date cannot be read; [`Status::Failed`] where the
/// answer cannot be written.
pub fn execute(args: &KeepArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let ready = ready(&args.plan, global, console)?.told(console);
    let model = &ready.model;
    let Some((_, schedule)) = model.schedules().next() else {
        return Err(Failure::usage(format!(
            "plan `{}` has no schedule: nothing says when backups come",
            model.name
        ))
        .help("add `schedule { run = daily at 02:30 }`, say"));
    };
    let zone = due::zone(&schedule.zone).unwrap_or(TimeZone::UTC);
    let window = window(args, zone)?;
    known_store(args, model)?;
    let really = match args.settled {
        true => Err("as `--settled` asks".to_owned()),
        false => stores::play(model, schedule, &window, run::clock()?.now()),
    };
    let (basis, mut stores) = match really {
        Ok((shelves, until)) => (Basis::Stores { until }, shelves),
        Err(why) => {
            let simulation = simulate(model, Horizon::around(model, window.from, window.until));
            let shelf =
                |(index, store): (usize, &Store)| shelf(&store.name, StoreId(index), &simulation, &window);
            let shelves = model.stores.iter().enumerate().map(shelf).collect();
            (Basis::Plan { since: simulation.horizon().from, why }, shelves)
        }
    };
    stores.retain(|shelf| args.store.as_ref().is_none_or(|wanted| *wanted == shelf.store));
    let kept = Kept { plan: model.name.clone(), basis, stores, window };
    let answer = match args.format {
        Calendar::Text => text::calendar(&kept),
        Calendar::Json => json::document(&kept),
        Calendar::Svg => drawing::calendar(&kept),
        Calendar::Html => sheet::page(&kept),
    };
    match &args.output {
        None => console.answer(&answer),
        Some(path) => put(path, &answer)?,
    }
    Ok(Status::Done)
}

fn window(args: &KeepArgs, zone: TimeZone) -> Result<Window, Failure> {
    let now = || run::clock().map(|clock| clock.now());
    let wants_days =
        args.from.is_some() || args.days.is_some() || matches!(args.format, Calendar::Svg | Calendar::Html);
    if !wants_days {
        let at = match &args.on {
            Some(day) => moment::parse(day, &zone)?,
            None => now()?,
        };
        return Ok(Window { from: at, until: at, zone });
    }
    let first = match args.from.as_ref().or(args.on.as_ref()) {
        Some(day) => moment::parse(day, &zone)?,
        None => now()?,
    };
    let begin = first.to_zoned(zone.clone()).start_of_day().map_err(|error| far(&error))?;
    let end = days_later(&begin, i64::from(args.days.unwrap_or(DAYS))).map_err(|error| far(&error))?;
    Ok(Window { from: begin.timestamp(), until: end.timestamp(), zone })
}

fn far(error: &jiff::Error) -> Failure {
    Failure::usage(format!("the days cannot be counted: {error}")).help("take a day of this century")
}

fn known_store(args: &KeepArgs, model: &Model) -> Result<(), Failure> {
    let Some(name) = &args.store else { return Ok(()) };
    if model.stores.iter().any(|store| store.name == *name) {
        return Ok(());
    }
    let names: Vec<String> = model.stores.iter().map(|store| format!("`{}`", store.name)).collect();
    Err(Failure::usage(format!("the plan has no store `{name}`"))
        .help(format!("its stores are {}", names.join(", "))))
}

fn shelf(name: &str, id: StoreId, simulation: &Simulation<'_>, window: &Window) -> Shelf {
    let lives = simulation.lives(id);
    // Reasons are those of the last run at or before the beginning: it is then that retention decides.
    let last = lives.iter().map(|life| life.started()).take_while(|started| *started <= window.from).last();
    let decision = last.map(|at| simulation.decision(id, at));
    let called = |id: &usize| window.shown(lives[*id].started());
    let explained: BTreeMap<usize, &[Reason<usize>]> =
        decision.iter().flat_map(|decision| decision.iter()).map(|(id, reasons)| (*id, reasons)).collect();
    let reasons = |index: usize| -> Vec<String> {
        let own = explained.get(&index).into_iter().copied().flatten();
        own.map(|reason| reason.words(called)).collect()
    };
    let runs = lives.iter().enumerate().filter(|(_, life)| window.sees(life.started(), life.gone()));
    Shelf {
        store: name.to_owned(),
        runs: runs
            .map(|(index, life)| crate::render::calendar::Run {
                started: life.started(),
                level: life.level(),
                until: life.gone(),
                reasons: reasons(index),
            })
            .collect(),
    }
}
