//! `plan explain`

use std::fmt::Write;

use backplan_compiler::codes::{self, CODES, Code, LIVE, TOGETHER};
use backplan_compiler::explain::{self as pages, Given, Page};
use backplan_compiler::finding::Severity;
use backplan_compiler::schema::{self, Attr, FUNCTIONS, KINDS, Kind, Naming, Presence, Type};
use backplan_runtime::load::FINDINGS;

use crate::args::ExplainArgs;
use crate::console::Console;
use crate::exit::{Failure, Status};
use crate::render::human::weight;

/// Prints a page, or the list of pages.
///
/// # Errors
/// [`Status::Usage`] where nothing has that name.
pub fn execute(args: &ExplainArgs, console: &mut Console) -> Result<Status, Failure> {
    let page = match &args.name {
        None => contents(),
        Some(name) => page(name).ok_or_else(|| unknown(name))?,
    };
    console.answer(&page);
    Ok(Status::Done)
}

fn page(name: &str) -> Option<String> {
    if let Some(code) = codes::code(name) {
        return Some(finding_page(code));
    }
    if let Some((name, meaning, text)) = FINDINGS.iter().find(|(known, ..)| *known == name) {
        return Some(format!("{name} (error)\n\n{meaning}.\n\n{text}\n"));
    }
    if let Some((_, call, doc)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) {
        return Some(format!("{call}\n\n{doc}\n"));
    }
    schema::kind(name).map(kind_page)
}

fn unknown(name: &str) -> Failure {
    let names = CODES
        .iter()
        .chain(LIVE)
        .chain(TOGETHER)
        .map(|code| code.name)
        .chain(KINDS.iter().map(|kind| kind.name));
    let near = names.filter(|known| known.contains(name) || name.contains(known)).take(3);
    let near: Vec<String> = near.map(|name| format!("`{name}`")).collect();
    let help = match near.as_slice() {
        [] => "`plan explain` lists all names".to_owned(),
        near => format!("did you mean {}? `plan explain` lists all names", near.join(" or ")),
    };
    Failure::usage(format!("no finding and no kind of declaration is called `{name}`")).help(help)
}

fn contents() -> String {
    let mut text = String::from("Kinds of declarations\n\n");
    for kind in KINDS {
        let _ = writeln!(text, "  {:<14} {}", kind.name, kind.doc);
    }
    text.push_str("\nFunctions\n\n");
    for (name, _, doc) in FUNCTIONS {
        let _ = writeln!(text, "  {name:<14} {doc}");
    }
    text.push_str("\nFindings of `plan check`\n\n");
    for code in CODES {
        let _ = writeln!(text, "  {:<28} {:<8} {}", code.name, weight(code.severity), code.meaning);
    }
    for (name, meaning, _) in FINDINGS {
        let _ = writeln!(text, "  {name:<28} {:<8} {meaning}", weight(Severity::Error));
    }
    for (title, codes) in
        [("Findings of `plan check` of several plans", TOGETHER), ("Findings of `plan check --live`", LIVE)]
    {
        let _ = writeln!(text, "\n{title}\n");
        for code in codes {
            let _ = writeln!(text, "  {:<28} {:<8} {}", code.name, weight(code.severity), code.meaning);
        }
    }
    text.push_str("\n`plan explain NAME` prints a page on each.\n");
    text
}

fn finding_page(code: &Code) -> String {
    let mut text = format!("{} ({})\n\n{}.\n", code.name, weight(code.severity), code.meaning);
    let Some(page) = pages::page(code.name) else { return text };
    let _ = write!(text, "\n{}\n", page.text.trim());
    if !page.failing.is_empty() {
        example(
            &format!("A plan that has it{}:", given(page, |given| given.failing)),
            page.failing,
            &mut text,
        );
    }
    if let Some(library) = page.library {
        example("company.plan, which it imports:", library, &mut text);
    }
    if !page.mended.is_empty() {
        let title = match page.failing {
            "" => "A plan of the sort that is looked at:".to_owned(),
            _ => format!("Mended{}:", given(page, |given| given.mended)),
        };
        example(&title, page.mended, &mut text);
    }
    text
}

/// What parameters are given with an example.
fn given(page: &Page, value: impl Fn(&Given) -> &str) -> String {
    let params: Vec<String> =
        page.params.iter().map(|given| format!("-p {}={}", given.name, value(given))).collect();
    if params.is_empty() { String::new() } else { format!(", with `{}`", params.join(" ")) }
}

fn example(title: &str, plan: &str, text: &mut String) {
    let _ = write!(text, "\n{title}\n\n");
    for line in plan.trim().lines() {
        let _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
}

fn kind_page(kind: &'static Kind) -> String {
    let head = match kind.naming {
        Naming::Unnamed => kind.name.to_owned(),
        Naming::New => format!("{} NAME", kind.name),
        Naming::OfSource => format!("{} SOURCE", kind.name),
    };
    let mut text = format!("{head}\n\n{}\n", kind.doc);
    for ty in kind.types {
        let _ = write!(text, "\n{head}: {}\n\n  {}\n\n", ty.name, ty.doc);
        attributes(ty, &mut text);
    }
    if !kind.attrs.is_empty() {
        let title =
            if kind.types.is_empty() { "Attributes".to_owned() } else { format!("Every {}", kind.name) };
        let _ = write!(text, "\n{title}\n\n");
        kind.attrs.iter().for_each(|attr| attribute(attr, &mut text));
    }
    if !kind.blocks.is_empty() {
        let _ = writeln!(text, "\nMay hold the blocks {}.", kind.blocks.join(", "));
    }
    text
}

fn attributes(ty: &Type, text: &mut String) {
    ty.attrs.iter().for_each(|attr| attribute(attr, text));
}

fn attribute(attr: &Attr, text: &mut String) {
    let presence = match attr.presence {
        Presence::Required => ", required".to_owned(),
        Presence::Optional => String::new(),
        Presence::Default(value) => format!(", left out: {value}"),
    };
    let _ = writeln!(text, "  {:<16} {}{presence}", attr.name, attr.ty.describe());
    let _ = writeln!(text, "  {:<16} {}", "", attr.doc);
}
