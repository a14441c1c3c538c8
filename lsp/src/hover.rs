//! What a word means, for a person who points at it.

use std::fmt::Write;
use std::path::Path;

use backplan_compiler::codes;
use backplan_compiler::schema::{Attr, Kind, Naming, Presence, Type};
use backplan_grammar::Span;
use backplan_grammar::ast::Item;
use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};

use crate::files::{File, Files};
use crate::mentions::{Meaning, Name};
use crate::{names, uri};

/// Lines of a declaration that are shown: enough to know it again.
const MOST_LINES: usize = 12;

/// What stands at a place.
pub(crate) fn hover(files: &mut Files, path: &Path, offset: usize) -> Option<Hover> {
    let file = files.get(path).ok()?;
    let (text, span) = match names::mention_at(files, path, offset) {
        Some(mention) => (describe(files, path, &mention.meaning)?, mention.span),
        None => item_word(&file, offset).or_else(|| allowance(&file, offset))?,
    };
    Some(Hover {
        contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value: text }),
        range: Some(file.lines.range(file.text(), span)),
    })
}

fn describe(files: &mut Files, path: &Path, meaning: &Meaning) -> Option<String> {
    Some(match meaning {
        Meaning::Kind(kind) => about_kind(kind),
        Meaning::Type(ty) => about_type(ty),
        Meaning::Attribute(attr) | Meaning::Keyword(attr) => about_attribute(attr),
        Meaning::Function((_, usage, doc)) => format!("```plan\n{usage}\n```\n\n{doc}"),
        Meaning::Import(path) => match files.get(path) {
            Ok(_) => format!("`{}`", path.display()),
            Err(why) if uri::is_of_no_file(path) => why,
            Err(why) => format!("`{}` {why}", path.display()),
        },
        Meaning::Name(name) => about_name(files, path, name)?,
    })
}

/// A kind of declaration: how it is written, and what it says.
pub(crate) fn about_kind(kind: &Kind) -> String {
    let name = match kind.naming {
        Naming::Unnamed => "",
        Naming::New => " NAME",
        Naming::OfSource => " SOURCE",
    };
    let ty = if kind.types.is_empty() { "" } else { ": TYPE" };
    let mut text = format!("```plan\n{}{name}{ty} {{ … }}\n```\n\n{}\n", kind.name, kind.doc);
    for ty in kind.types {
        let _ = write!(text, "\n- `{}`: {}", ty.name, ty.doc);
    }
    text
}

/// A type of a kind: what it says, and what it must be told.
pub(crate) fn about_type(ty: &Type) -> String {
    let required: Vec<String> = ty
        .attrs
        .iter()
        .filter(|attr| attr.presence == Presence::Required)
        .map(|attr| format!("`{}`", attr.name))
        .collect();
    let needs = match required.as_slice() {
        [] => String::new(),
        required => format!("\n\nIt must have {}.", required.join(", ")),
    };
    format!("`{}`\n\n{}{needs}", ty.name, ty.doc)
}

/// An attribute: its meaning, its type, its default.
pub(crate) fn about_attribute(attr: &Attr) -> String {
    let presence = match attr.presence {
        Presence::Required => "\n\nIt must be written.".to_owned(),
        Presence::Optional => String::new(),
        // Where backticks are in it, its words are prose that quotes values itself.
        Presence::Default(value) if value.contains('`') => format!("\n\nDefault: {value}"),
        Presence::Default(value) => format!("\n\nDefault: `{value}`"),
    };
    format!(
        "```plan\n{} = {}\n```\n\n{}\n\nTakes {}.{presence}",
        attr.name,
        attr.ty.example(),
        attr.doc,
        attr.ty.describe()
    )
}

/// A name: what is declared under it.
fn about_name(files: &mut Files, path: &Path, name: &Name) -> Option<String> {
    let place = names::all_of(files, path, name).into_iter().find(|found| found.defines)?;
    let item = item_around(&place.file, place.span)?;
    let shown = place.file.text().get(item.start..item.end)?;
    let mut lines: Vec<&str> = shown.lines().collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines.push("  …");
    }
    let from = match place.file.path() == path {
        true => String::new(),
        false => format!("\n\nin `{}`", place.file.path().display()),
    };
    Some(format!("```plan\n{}\n```{from}", lines.join("\n")))
}

fn item_around(file: &File, span: Span) -> Option<Span> {
    let spans = file.source.parsed.ast.items.iter().map(|item| match item {
        Item::Plan(item) => item.span,
        Item::Import(item) => item.span,
        Item::Let(item) => item.span,
        Item::Param(item) => item.span,
        Item::Decl(item) => item.span,
    });
    spans.into_iter().find(|item| item.start <= span.start && span.end <= item.end)
}

/// The word that begins an item which is no declaration: how it is written, and what it says.
fn item_word(file: &File, offset: usize) -> Option<(String, Span)> {
    file.source.parsed.ast.items.iter().find_map(|item| {
        let (span, word, usage, doc) = match item {
            Item::Plan(item) => (item.span, "plan", "plan NAME", "The plan's name, first in the file."),
            Item::Import(item) => (
                item.span,
                "import",
                "import \"path\" { param = value }",
                "Takes in a library, its parameters bound; the path is relative to the importing file.",
            ),
            Item::Let(item) => (item.span, "let", "let NAME = VALUE", "A name for a value."),
            Item::Param(item) => (
                item.span,
                "param",
                "param NAME: TYPE = VALUE",
                "A value from outside: from the import that binds it, from `-p NAME=VALUE`, from `PLAN_PARAM_NAME` \
                 in the environment, or the default. Type and default may be left out.",
            ),
            Item::Decl(_) => return None,
        };
        let span = Span::new(span.start, span.start + word.len());
        let is_there = (span.start..=span.end).contains(&offset);
        is_there.then(|| (format!("```plan\n{usage}\n```\n\n{doc}"), span))
    })
}

/// `# allow: NAME`: what is allowed.
fn allowance(file: &File, offset: usize) -> Option<(String, Span)> {
    let comments = &file.source.parsed.ast.comments;
    let comment =
        comments.iter().find(|comment| (comment.span.start..=comment.span.end).contains(&offset))?;
    let words = comment.node.trim_start_matches('#').trim_start().strip_prefix("allow:")?;
    let code = codes::code(words.split_whitespace().next()?)?;
    Some((
        format!("`{}`: {}\n\n`plan explain {}` has a page on it.", code.name, code.meaning, code.name),
        comment.span,
    ))
}
