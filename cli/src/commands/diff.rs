//! `plan diff`

mod deployed;
pub(super) mod sides;

use std::path::{Path, PathBuf};

use backplan_compiler::diff::diff;
use backplan_compiler::sources::SourceSet;
use backplan_runtime::backups::outlook::{Memory, outlook};
use backplan_runtime::load;
use backplan_runtime::load::revision::{RevisionError, load_revision};
use backplan_runtime::past::state;

use self::sides::{Side, compiled, moved};
use super::plan::{current_folder, inputs, of_load, sole};
use super::run::clock;
use crate::args::{DiffArgs, DiffFormat, Global};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::diff::{Answer, human, markdown};
use crate::render::json;

/// Shows what a change of a plan does.
///
/// # Errors
/// [`Status::Failed`] when the comparison cannot be made, whatever the reason: 2 says that something changed.
pub fn execute(args: &DiffArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    compare(args, global, console).map_err(|failure| Failure { status: Status::Failed, ..failure })
}

fn compare(args: &DiffArgs, global: &Global, console: &mut Console) -> Result<Status, Failure> {
    let (old, new) = sides(args, global, console)?;
    let mut found = diff(&old.model, &new.model)
        .map_err(|error| Failure::new(format!("a plan has no order of steps: {error:?}")))?;
    let mut unknown = Vec::new();
    if !found.declarations.is_empty() {
        // The comparison itself needs none.
        let state = state::root().ok();
        let memory = Memory { state: state.as_deref(), files: [&new.model.file, &old.model.file] };
        let outlook = outlook(&old.model, &new.model, memory, clock()?.now());
        found.add(outlook.consequences);
        unknown = outlook.unknown;
    }
    let status = if found.is_empty() { Status::Done } else { Status::Changes };
    let answer = Answer {
        format: 1,
        plan: new.model.name.clone(),
        old: old.shown,
        new: new.shown,
        changed: !found.is_empty(),
        diff: found,
        unknown,
    };
    match args.format {
        DiffFormat::Human => console.answer(&human(&answer, console.answers())),
        DiffFormat::Json => console.answer(&json::document(&answer)),
        DiffFormat::Markdown => console.answer(&markdown(&answer)),
    }
    Ok(status)
}

/// Both plans, compiled.
fn sides(args: &DiffArgs, global: &Global, console: &mut Console) -> Result<(Side, Side), Failure> {
    let current = current_folder()?;
    let given = inputs(global)?;
    if let (None, false) = (&args.rev, args.deployed) {
        let [old, new] = args.files.as_slice() else {
            return Err(Failure::usage("two plans are compared, and two are not named")
                .help("`plan diff OLD NEW`, or one plan with `--rev REV` or `--deployed`"));
        };
        let after = load::load(new, &current).map_err(|error| of_load(&error))?;
        let before = beside(old, new, &current)?;
        let known = sides::params(&[&before, &after], &given)?;
        let old = compiled(before, &known, load::display(old), console)?;
        return Ok((old, compiled(after, &known, load::display(new), console)?));
    }
    let file = match args.files.as_slice() {
        [] => sole(&current)?,
        [file] => file.clone(),
        _ => {
            return Err(Failure::usage("two plans are named, and one of them is to come from elsewhere")
                .help("name the new plan alone"));
        }
    };
    let after = load::load(&file, &current).map_err(|error| of_load(&error))?;
    let shown = load::display(&file);
    let Some(rev) = &args.rev else {
        return deployed::sides(&file, after, &given, &args.identities, console);
    };
    let before = load_revision(&file, &current, rev).map_err(|error| of_revision(&error))?;
    let known = sides::params(&[&before, &after], &given)?;
    let old = compiled(before, &known, format!("{shown} at {rev}"), console)?;
    Ok((old, compiled(after, &known, shown, console)?))
}

/// The old plan, read as if it lay where the new one does: its relative paths mean the same then.
pub(super) fn beside(old: &Path, new: &Path, current: &Path) -> Result<SourceSet, Failure> {
    let real: PathBuf = load::normalize(&current.join(old));
    let place = load::normalize(&current.join(new));
    let root = place.clone();
    let read = move |path: &Path| {
        if path == root {
            return load::read_text(&real);
        }
        match load::read_text(&moved(path, &root, &real)) {
            // It was named by its whole path.
            Err(load::Trouble::Missing) => load::read_text(path),
            read => read,
        }
    };
    load::load_by(&place, load::display(old), current, &read).map_err(|error| of_load(&error))
}

fn of_revision(error: &RevisionError) -> Failure {
    let help = match error {
        RevisionError::NoGit(_) => "install git, or compare two files: `plan diff OLD NEW`",
        RevisionError::NoRepository { .. } => {
            "`--rev` needs a plan in a git repository; two files are compared by `plan diff OLD NEW`"
        }
        RevisionError::NoRevision { .. } => {
            "`git log --oneline` shows which there are; a shallow clone lacks older ones"
        }
        RevisionError::NotInRevision { .. } => "`git log -- FILE` shows the revisions that have it",
        RevisionError::Load(error) => error.trouble.help(),
    };
    Failure::new(error.to_string()).help(help)
}
