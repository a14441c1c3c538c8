//! The plan that made the newest backup, as its manifest has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, SourceSet};
use backplan_runtime::catalog::details::Details;
use backplan_runtime::load::{self, Trouble};

use super::sides::{Side, compiled, moved, params};
use crate::args::Identities;
use crate::commands::identities::with_keys;
use crate::commands::plan::of_load;
use crate::commands::shelves::{failure, remembered};
use crate::console::Console;
use crate::exit::Failure;

/// The plan of the newest backup with the parameters that it was given, and the new one.
///
/// # Errors
/// When a plan does not compile, or the newest backup of the stores cannot be told or read.
pub fn sides(
    file: &Path,
    after: SourceSet,
    given: &Inputs,
    identities: &Identities,
    console: &mut Console,
) -> Result<(Side, Side), Failure> {
    let root = after.file(after.root()).path.clone();
    let shown = load::display(file);
    params(&[&after], given)?;
    // The stores are those of the new plan: where the old one had others, it is to be found there by `--rev`.
    let new = compiled(after, given, shown.clone(), console)?;
    let (run, details) = newest(&new.model, identities, console)?;
    let before = texts(&details, &root, &run)?;
    let given = Inputs { params: details.parameters, ..given.clone() };
    let old = compiled(before, &given, format!("{shown} as of run {run}"), console)?;
    Ok((old, new))
}

/// The newest run of the plan's stores, and what is private in its manifest.
fn newest(
    model: &Model,
    identities: &Identities,
    console: &mut Console,
) -> Result<(String, Details), Failure> {
    let shelves = remembered(model, None).map_err(|error| failure(&error))?;
    let shelves = with_keys(shelves, identities)?;
    for unread in &shelves.unread {
        console.remark("warning", unread);
    }
    let newest = shelves.shelves.iter().filter_map(|shelf| Some((shelf, shelf.catalog.runs().next_back()?)));
    let newest = newest.max_by_key(|(_, run)| run.run);
    let hidden = shelves.shelves.iter().filter_map(|shelf| Some((shelf, shelf.catalog.unreadable().last()?)));
    if let Some((shelf, run)) = hidden.max_by_key(|(_, run)| **run)
        && newest.is_none_or(|(_, newest)| *run > newest.run)
    {
        let name = run.to_string();
        let problems = shelf.catalog.problems().iter().map(ToString::to_string);
        let why = problems.rev().find(|text| text.contains(&name)).unwrap_or_default();
        return Err(Failure::new(format!(
            "the newest backup in store `{}` is run `{run}`, and its manifest cannot be used: {why}",
            shelf.store.label()
        ))
        .help("compare with a file or a revision: `plan diff OLD NEW`, `plan diff --rev REV FILE`"));
    }
    let Some((shelf, manifest)) = newest else {
        return Err(Failure::new(format!("the stores hold no backup of plan `{}`", model.name))
            .help("nothing is deployed yet; compare with a file or a revision"));
    };
    let details = shelf.details(manifest).map_err(|error| {
        Failure::new(format!("the plan that made run `{}` cannot be read: {error}", manifest.run))
            .help("compare with a file or a revision")
    })?;
    Ok((manifest.run.to_string(), details))
}

/// The texts of a backup's plan, as if they lay where the new one does.
fn texts(details: &Details, root: &Path, run: &str) -> Result<SourceSet, Failure> {
    let Some(first) = details.files.first() else {
        return Err(Failure::new(format!("the manifest of run `{run}` has no plan in it"))
            .help("compare with a file or a revision"));
    };
    let real = first.path.0.clone();
    let files: BTreeMap<PathBuf, &str> =
        details.files.iter().map(|file| (file.path.0.clone(), file.text.as_str())).collect();
    let read = |path: &Path| {
        let at = if path == root { real.clone() } else { moved(path, root, &real) };
        let text = files.get(&at).or_else(|| files.get(path));
        text.map(|text| (*text).to_owned()).ok_or(Trouble::Missing)
    };
    load::load_by(root, format!("plan of run {run}"), Path::new("/"), &read).map_err(|error| of_load(&error))
}
