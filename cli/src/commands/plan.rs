//! From the argument FILE to a compiled plan.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use backplan_compiler::count::plural;
use backplan_compiler::finding::Severity;
use backplan_compiler::model::Model;
use backplan_compiler::sources::{Inputs, Place, SourceSet};
use backplan_compiler::{Compiled, Laid, compile};
use backplan_runtime::load::{self, LoadError, display};

use crate::args::{Global, PlanFile};
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human;

/// The folder that relative paths start from.
///
/// # Errors
/// Where it was deleted under the program.
pub fn current_folder() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(|error| {
        Failure::new(format!("the current folder cannot be told: {error}"))
            .help("change into a folder that exists")
    })
}

/// The plan that was named, or the only one in the current folder.
///
/// # Errors
/// [`Status::Usage`] where none was named and there is none, or more than one.
pub fn chosen(file: &PlanFile, current: &Path) -> Result<PathBuf, Failure> {
    match &file.file {
        Some(file) => Ok(file.clone()),
        None => sole(current),
    }
}

/// The only plan in the current folder.
///
/// # Errors
/// As [`chosen`].
pub fn sole(current: &Path) -> Result<PathBuf, Failure> {
    let plans = load::plans_in(current).map_err(|error| of_load(&error))?;
    let names: Vec<PathBuf> = plans.iter().filter_map(|plan| plan.file_name()).map(PathBuf::from).collect();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::usage(
            "no plan is named, and the current folder has no `*.plan` file that begins with `plan NAME`",
        )
        .help("name the plan: `plan COMMAND FILE` (`ls`, `cat` and `diff-run`: `--file FILE`)")),
        several => {
            let several: Vec<String> = several.iter().map(|name| format!("`{}`", display(name))).collect();
            Err(Failure::usage(format!(
                "no plan is named, and the current folder has several: {}",
                several.join(", ")
            ))
            .help("name the one you mean: `plan COMMAND FILE` (`ls`, `cat` and `diff-run`: `--file FILE`)"))
        }
    }
}

/// What a compilation is told by the command line and the environment.
///
/// # Errors
/// [`Status::Usage`] for a parameter given twice, or an environment variable that is not text.
pub fn inputs(global: &Global) -> Result<Inputs, Failure> {
    let mut params = BTreeMap::new();
    for binding in &global.params {
        if params.insert(binding.name.clone(), binding.value.clone()).is_some() {
            return Err(Failure::usage(format!("the parameter `{}` is given twice", binding.name))
                .help("give each parameter once"));
        }
    }
    load::inputs(params, env::vars_os())
        .map_err(|error| Failure::usage(error.to_string()).help("unset it, or set it to text"))
}

/// A failure to read, for commands that have no other answer.
pub fn of_load(error: &LoadError) -> Failure {
    Failure::usage(error.to_string()).help(error.trouble.help())
}

/// A plan that compiles.
#[derive(Debug)]
pub struct Ready {
    /// The plan.
    pub model: Model,
    /// Its texts.
    pub sources: SourceSet,
    /// The paths of this machine that it names.
    pub laid: Laid,
    /// Where secrets are written into the texts.
    pub inline_secrets: Vec<Place>,
    /// Parameters whose values from outside are secrets.
    pub secret_params: BTreeSet<String>,
    /// How many warnings the check has.
    warnings: usize,
}

impl Ready {
    /// With one line that the check has warnings, where it has: for commands that do or show what the plan says. Those that
    /// are asked for backups on a bad day say nothing of it.
    #[must_use]
    pub fn told(self, console: &mut Console) -> Ready {
        if self.warnings > 0 {
            let file = &self.sources.file(self.sources.root()).shown;
            let what = plural(self.warnings, "warning");
            console.say(&format!("{file}: {what}; `plan check {file}` shows them\n"));
        }
        self
    }
}

/// As [`ready`], without a word of what is wrong either: for commands that are called every few seconds.
///
/// # Errors
/// As [`ready`]'s.
pub fn silently(path: &Path, global: &Global) -> Result<Model, Failure> {
    silently_laid(path, global).map(|(model, _)| model)
}

/// The same, with the paths of this machine that the plan names.
///
/// # Errors
/// As [`ready`]'s.
pub fn silently_laid(path: &Path, global: &Global) -> Result<(Model, Laid), Failure> {
    let sources = load::load(path, &current_folder()?).map_err(|error| of_load(&error))?;
    let compiled = compile(&sources, &inputs(global)?);
    let is_sound = compiled.is_sound();
    let laid = compiled.laid;
    compiled.model.filter(|_| is_sound).map(|model| (model, laid)).ok_or_else(|| Failure {
        status: Status::Usage,
        message: format!("`{}` does not compile", display(path)),
        help: Some(format!("`plan check {}` shows what is wrong", display(path))),
    })
}

/// Reads and compiles the plan that a command works on. Errors are shown and end the command; warnings are for the check.
///
/// # Errors
/// [`Status::Usage`] where the plan cannot be read or does not compile.
pub fn ready(file: &PlanFile, global: &Global, console: &mut Console) -> Result<Ready, Failure> {
    let current = current_folder()?;
    let path = chosen(file, &current)?;
    let mut sources = load::load(&path, &current).map_err(|error| of_load(&error))?;
    let compiled = compile(&sources, &inputs(global)?);
    let is_sound = compiled.is_sound();
    let Compiled { model, findings, inline_secrets, secret_params, laid, .. } = compiled;
    sources.hide(&inline_secrets);
    let of_weight = |weight: Severity| findings.iter().filter(move |finding| finding.severity == weight);
    if let Some(model) = model.filter(|_| is_sound) {
        let warnings = of_weight(Severity::Warning).count();
        return Ok(Ready { model, sources, laid, inline_secrets, secret_params, warnings });
    }
    for finding in of_weight(Severity::Error).take(super::check::MOST_SHOWN) {
        let text = human::finding(finding, &sources, console.errors());
        console.say(&format!("{text}\n"));
    }
    let what = plural(of_weight(Severity::Error).count().max(1), "error");
    Err(Failure {
        status: Status::Usage,
        message: format!("`{}` does not compile: {what}", display(&path)),
        help: Some(format!("`plan check {}` shows all that is wrong", display(&path))),
    })
}
