//! What comes back as files.

use backplan_compiler::count::plural;
use std::path::Path;
use std::time::Instant;

use super::{RehearseError, Stage, private};
use crate::backups::BackupsError;
use crate::backups::rehearsed::CheckVerdict;
use crate::backups::restore::{RestoreWish, plan};
use crate::catalog::runs::Choice;

/// Restores the source, has it looked at, and runs the plan's own programs.
pub(crate) fn play(
    stage: &mut Stage<'_>,
    look: fn(&mut Stage<'_>, &Path) -> Result<(), RehearseError>,
) -> Result<(), RehearseError> {
    let data = stage.folder.join("data");
    private(&data)?;
    if !restore(stage, &data)? {
        return Ok(());
    }
    stage.is_usable();
    look(stage, &data)?;
    stage.commands(&data, &[])
}

/// Restores into `data`; whether all came back.
pub(crate) fn restore(stage: &mut Stage<'_>, data: &Path) -> Result<bool, RehearseError> {
    let begun = Instant::now();
    let wish = RestoreWish::of(&stage.wish.source, data);
    let held = stage.shelves.held(&Choice::Id(stage.run.to_string()), None)?;
    let restored = plan(&held, &wish).and_then(|restore| {
        let needed = restore.preview()?.bytes;
        Ok((restore, needed))
    });
    let restored = match restored {
        Ok((restore, needed)) => {
            stage.has_room(needed)?;
            restore.carry_out(stage.control)
        }
        Err(error) => Err(error),
    };
    stage.control.check()?;
    match restored {
        Ok(outcome) if outcome.problem_count == 0 => {
            let detail = format!("{}, {}", plural(outcome.entries, "entry"), plural(outcome.bytes, "byte"));
            stage.note("restore", begun, CheckVerdict::Passed, Some(detail));
            Ok(true)
        }
        Ok(outcome) => {
            let first = outcome.problems.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
            let detail = format!("{} of its files did not come back whole: {first}", outcome.problem_count);
            stage.note("restore", begun, CheckVerdict::Failed, Some(detail));
            Ok(false)
        }
        Err(error @ (BackupsError::Target { .. } | BackupsError::CutShort { .. })) => Err(error.into()),
        Err(error) => {
            stage.note("restore", begun, CheckVerdict::Failed, Some(error.to_string()));
            Ok(false)
        }
    }
}
