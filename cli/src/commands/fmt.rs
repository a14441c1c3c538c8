//! `plan fmt`

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use backplan_compiler::finding::{Finding, Label, Severity};
use backplan_compiler::sources::{Place, SourceFile, SourceSet};
use backplan_grammar::ParseError;
use backplan_runtime::load::{self, LARGEST_FILE, display};
use similar::TextDiff;

use super::plan::{current_folder, sole};
use crate::args::FmtArgs;
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human;

/// Formats files, or says which would change.
///
/// # Errors
/// For wrong usage; a file that cannot be formatted is told of, and the others go on.
pub fn execute(args: &FmtArgs, console: &mut Console) -> Result<Status, Failure> {
    if args.paths.iter().any(|path| path == Path::new("-")) {
        return format_stream(args, console);
    }
    let current = current_folder()?;
    let mut worst = Status::Done;
    for file in files_of(args, &current)? {
        let status = match format_file(&file, args.check, console) {
            Ok(status) => status,
            Err(failure) => {
                let text = human::failure(&failure, console.errors());
                console.complain(&text);
                Status::Failed
            }
        };
        worst = worst.max(status);
    }
    Ok(worst)
}

fn files_of(args: &FmtArgs, current: &Path) -> Result<Vec<PathBuf>, Failure> {
    if args.paths.is_empty() {
        return Ok(vec![sole(current)?]);
    }
    let mut files = Vec::new();
    for path in &args.paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (below, errors) = load::plan_files(path);
        files.extend(below);
        if let Some(error) = errors.first() {
            return Err(Failure::new(error.to_string()).help(error.trouble.help()));
        }
    }
    files.dedup();
    Ok(files)
}

/// The standard input to the standard output.
fn format_stream(args: &FmtArgs, console: &mut Console) -> Result<Status, Failure> {
    if args.paths.len() > 1 {
        return Err(
            Failure::usage("`-` stands beside other files").help("format the standard input by itself")
        );
    }
    let mut text = String::new();
    io::stdin()
        .take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("the standard input cannot be read: {error}")))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(Failure::new("the standard input is larger than 1 MiB, the most a plan file may have"));
    }
    let Some(formatted) = formatted(&text, "(standard input)", console) else { return Ok(Status::Failed) };
    if !args.check {
        console.answer(&formatted);
        return Ok(Status::Done);
    }
    Ok(compare(&text, &formatted, "(standard input)", console))
}

fn format_file(file: &Path, check: bool, console: &mut Console) -> Result<Status, Failure> {
    let text = load::read_plan_text(file)
        .map_err(|error| Failure::new(error.to_string()).help(error.trouble.help()))?;
    let shown = display(file);
    let Some(formatted) = formatted(&text, &shown, console) else { return Ok(Status::Failed) };
    if check {
        return Ok(compare(&text, &formatted, &shown, console));
    }
    if formatted != text {
        load::rewrite(file, &formatted).map_err(|error| {
            Failure::new(format!("`{shown}` cannot be rewritten: {error}")).help("the file is as it was")
        })?;
        console.say(&format!("{shown}: formatted\n"));
    }
    Ok(Status::Done)
}

/// The text in the house style; where it cannot be read, what is wrong with it is told.
fn formatted(text: &str, shown: &str, console: &mut Console) -> Option<String> {
    match backplan_grammar::format(text) {
        Ok(formatted) => Some(formatted),
        Err(errors) => {
            tell_syntax_errors(text, shown, &errors, console);
            None
        }
    }
}

fn tell_syntax_errors(text: &str, shown: &str, errors: &[ParseError], console: &mut Console) {
    let mut sources = SourceSet::default();
    let file = sources.add(SourceFile {
        path: PathBuf::from(shown),
        shown: shown.to_owned(),
        text: text.to_owned(),
        parsed: backplan_grammar::Parsed::default(),
    });
    for error in errors.iter().take(super::check::MOST_SHOWN) {
        let finding = Finding {
            name: error.name,
            severity: Severity::Error,
            message: error.message.clone(),
            primary: Label { place: Place { file, span: error.span }, text: String::new() },
            others: Vec::new(),
            help: error.help.clone(),
            mends: Vec::new(),
        };
        let text = human::finding(&finding, &sources, console.errors());
        console.complain(&format!("{text}\n"));
    }
}

/// Shows the difference, if there is one.
fn compare(text: &str, formatted: &str, shown: &str, console: &mut Console) -> Status {
    if text == formatted {
        return Status::Done;
    }
    let difference = TextDiff::from_lines(text, formatted);
    let unified = difference.unified_diff().header(shown, &format!("{shown} (formatted)")).to_string();
    console.answer(&unified);
    Status::Failed
}
