//! This account's crontab.

use backplan_runtime::stamped::Standing;
use backplan_runtime::starter::StarterError;
use backplan_runtime::starter::crontab::{Crontab, block, is_of, plan_of};

use super::{Deed, Planned, say_refused, shown_difference};
use crate::console::Console;
use crate::exit::{Failure, Status};

const PLACE: &str = "crontab";

/// All plans in one reading and one writing: `crontab` knows no smaller thing than the whole.
pub(super) fn execute(plans: &[Planned], deed: Deed, console: &mut Console) -> Result<Status, Failure> {
    let before = Crontab::read().map_err(|error| failed(&error))?;
    let (mut now, mut words, mut status) = (before.clone(), Vec::new(), Status::Done);
    for plan in plans {
        let wanted =
            plan.units.first().map(|unit| block(&plan.name, &plan.file, &unit.text)).unwrap_or_default();
        let found = before.standing(&plan.name, &wanted).map_err(|error| failed(&error))?;
        let is_same = found == Standing::Same || (found == Standing::Nothing && wanted.is_empty());
        if deed == Deed::Compare {
            if !is_same {
                let there = (found != Standing::Nothing).then(|| found.text());
                shown_difference(console, PLACE, there, Some(&wanted));
                if let Err(refused) = refuse(plan, &found) {
                    say_refused(&refused, console);
                }
                status = Status::Warnings;
            }
            continue;
        }
        refuse(plan, &found)?;
        now = now.with(&plan.name, &wanted).map_err(|error| failed(&error))?;
        let word = match found {
            _ if is_same => "unchanged",
            Standing::Nothing => "written",
            _ if wanted.is_empty() => "removed",
            _ => "replaced",
        };
        words.push(format!("{PLACE}, plan {}: {word}\n", plan.name));
    }
    if now != before {
        now.write().map_err(|error| failed(&error))?;
    }
    words.iter().for_each(|line| console.say(line));
    Ok(status)
}

fn refuse(plan: &Planned, found: &Standing) -> Result<(), Failure> {
    let name = &plan.name;
    match found {
        Standing::Foreign(_) => Err(Failure::new(format!(
            "somebody changed the block of plan `{name}` in the crontab"
        ))
        .help(
            "delete it with `crontab -e`, or take over what was changed into the plan; nothing was written",
        )),
        Standing::Ours(text) if !is_of(text, &plan.file) => Err(Failure::new(format!(
            "the crontab has a block of another plan `{name}`, {}",
            plan_of(text).unwrap_or("which it does not name")
        ))
        .help("give one of the two another name; nothing was written")),
        _ => Ok(()),
    }
}

fn failed(error: &StarterError) -> Failure {
    Failure::new(error.to_string()).help("the crontab is as it was")
}
