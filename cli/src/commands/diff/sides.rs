//! One side of a comparison: a plan that compiles.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use backplan_compiler::compile;
use backplan_compiler::count::plural;
use backplan_compiler::finding::Severity;
use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, SourceSet};
use backplan_grammar::ast::Item;

use crate::console::Console;
use crate::exit::Failure;
use crate::render::human;

/// A plan that is compared.
pub struct Side {
    /// The plan.
    pub model: Model,
    /// Where it comes from, in words.
    pub shown: String,
}

/// Compiles one side. Errors are shown; what is not an error belongs to `plan check`.
///
/// # Errors
/// When it does not compile.
pub fn compiled(
    mut set: SourceSet,
    inputs: &Inputs,
    shown: String,
    console: &mut Console,
) -> Result<Side, Failure> {
    let own = Inputs { params: of_set(&set, &inputs.params), ..inputs.clone() };
    let compiled = compile(&set, &own);
    let is_sound = compiled.is_sound();
    set.hide(&compiled.inline_secrets);
    if let Some(model) = compiled.model.filter(|_| is_sound) {
        return Ok(Side { model, shown });
    }
    let errors: Vec<_> =
        compiled.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    for finding in errors.iter().take(super::super::check::MOST_SHOWN) {
        let text = human::finding(finding, &set, console.errors());
        console.say(&format!("{text}\n"));
    }
    Err(Failure::new(format!("`{shown}` does not compile: {}", plural(errors.len().max(1), "error")))
        .help("plans are compared by what they mean: mend it, or compare with another one"))
}

/// What a set's parameters are given.
fn of_set(set: &SourceSet, params: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let has = |name: &String| set.iter().any(|(_, file)| declares(&file.parsed.ast.items, name));
    params.iter().filter(|(name, _)| has(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn declares(items: &[Item], name: &str) -> bool {
    items.iter().any(|item| matches!(item, Item::Param(param) if param.name.node == name))
}

/// The inputs, if one side at least has every parameter that is given.
///
/// # Errors
/// When neither has it.
pub fn params(sets: &[&SourceSet], given: &Inputs) -> Result<Inputs, Failure> {
    let unknown = given.params.keys().find(|name| {
        !sets.iter().any(|set| set.iter().any(|(_, file)| declares(&file.parsed.ast.items, name)))
    });
    match unknown {
        Some(name) => Err(Failure::usage(format!("neither plan has a parameter `{name}`"))
            .help("take it out, or check its spelling")),
        None => Ok(given.clone()),
    }
}

/// Where `path` would be if what lies around `place` lay around `real` instead.
pub fn moved(path: &Path, place: &Path, real: &Path) -> PathBuf {
    let (from, to) = (place.parent().unwrap_or(Path::new("/")), real.parent().unwrap_or(Path::new("/")));
    let shared = from.components().zip(path.components()).take_while(|(one, two)| one == two).count();
    let up = from.components().count() - shared;
    let mut moved = to.to_path_buf();
    for _ in 0..up {
        moved.pop();
    }
    moved.extend(path.components().skip(shared).filter(|part| matches!(part, Component::Normal(_))));
    moved
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::moved;

    #[test]
    fn imports_are_looked_for_where_the_old_plan_lies() {
        let at = |path: &str| moved(Path::new(path), Path::new("/new/here/a.plan"), Path::new("/old/b.plan"));
        assert_eq!(at("/new/here/lib/x.plan"), PathBuf::from("/old/lib/x.plan"));
        assert_eq!(at("/new/x.plan"), PathBuf::from("/x.plan"));
        assert_eq!(at("/etc/x.plan"), PathBuf::from("/etc/x.plan"));
    }
}
