//! The items of a file as an editor lists them.

use backplan_grammar::Span;
use backplan_grammar::ast::{Decl, Entry, Item};
use lsp_types::{DocumentSymbol, SymbolKind};

use crate::files::File;

/// The items of a file, with what is nested in them.
pub(crate) fn outline(file: &File) -> Vec<DocumentSymbol> {
    let items = file.source.parsed.ast.items.iter().map(|item| match item {
        Item::Plan(plan) => {
            entry(file, &plan.name.node, "plan", SymbolKind::MODULE, plan.span, plan.name.span)
        }
        Item::Import(import) => {
            entry(file, &import.path.node, "import", SymbolKind::FILE, import.span, import.path.span)
        }
        Item::Let(item) => {
            entry(file, &item.name.node, "let", SymbolKind::CONSTANT, item.span, item.name.span)
        }
        Item::Param(item) => {
            entry(file, &item.name.node, "param", SymbolKind::VARIABLE, item.span, item.name.span)
        }
        Item::Decl(decl) => declaration(file, decl),
    });
    items.collect()
}

fn declaration(file: &File, decl: &Decl) -> DocumentSymbol {
    let (name, kind) = match &decl.name {
        Some(name) => (name, decl.kind.node.as_str()),
        None => (&decl.kind, ""),
    };
    let detail = match &decl.ty {
        Some(ty) => format!("{kind}: {}", ty.node),
        None => kind.to_owned(),
    };
    let children = decl.body.iter().map(|statement| match statement {
        Entry::Attr(attr) => {
            entry(file, &attr.name.node, "", SymbolKind::PROPERTY, attr.span, attr.name.span)
        }
        Entry::Block(inner) => declaration(file, inner),
    });
    let children = Some(children.collect());
    let symbol = entry(file, &name.node, &detail, SymbolKind::OBJECT, decl.span, name.span);
    DocumentSymbol { children, ..symbol }
}

// The field is of the protocol's past and cannot be left out.
#[allow(deprecated)]
fn entry(
    file: &File,
    name: &str,
    detail: &str,
    kind: SymbolKind,
    span: Span,
    name_span: Span,
) -> DocumentSymbol {
    // An editor refuses an empty name; an import's path may be one.
    let name = if name.is_empty() { "\"\"" } else { name };
    DocumentSymbol {
        name: name.to_owned(),
        detail: (!detail.is_empty()).then(|| detail.to_owned()),
        kind,
        tags: None,
        deprecated: None,
        range: file.lines.range(file.text(), span),
        selection_range: file.lines.range(file.text(), name_span),
        children: None,
    }
}
