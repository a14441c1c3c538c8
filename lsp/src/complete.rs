//! What may be typed at a place.

use std::collections::BTreeSet;
use std::path::Path;

use backplan_compiler::codes::Code;
use backplan_compiler::finding::Severity;
use backplan_compiler::schema::{self, Attr, FUNCTIONS, Kind, Naming, PARAM_TYPES, Presence, Ty, Type};
use backplan_compiler::{codes, due};
use backplan_grammar::ast::Item;
use backplan_grammar::parse;
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Documentation, InsertTextFormat, MarkupContent,
    MarkupKind, TextEdit,
};

use crate::context::{Context, Head, context, word_start};
use crate::files::{File, Files};
use crate::hover::{about_attribute, about_kind, about_type};
use crate::mentions::{self, Declared, referred};
use crate::names;

/// Schedules in words, with places to fill in.
const SCHEDULES: [(&str, &str); 5] = [
    ("daily at", "daily at ${1:02:30}"),
    ("weekly on", "weekly on ${1|sun,mon,tue,wed,thu,fri,sat|} at ${2:03:00}"),
    ("monthly on", "monthly on ${1:1} at ${2:04:00}"),
    ("every", "every ${1:30m}"),
    ("hourly", "hourly"),
];

/// What may stand at a place.
pub(crate) fn complete(files: &mut Files, path: &Path, offset: usize) -> Vec<CompletionItem> {
    let Ok(file) = files.get(path) else { return Vec::new() };
    let start = word_start(file.text(), offset);
    let mut offers = Offers { file: &file, from: start, to: offset, items: Vec::new() };
    match context(file.text(), start) {
        Context::Item => offers.items(),
        Context::Name(kind) => {
            if schema::kind(kind).is_some_and(|kind| kind.naming == Naming::OfSource) {
                offers.references(&declared(files, path), "source", false);
            }
        }
        Context::Type("param") => {
            PARAM_TYPES.iter().for_each(|name| offers.add(name, CompletionItemKind::TYPE_PARAMETER));
        }
        Context::Type(kind) => {
            schema::kind(kind).map_or(&[] as &[Type], |kind| kind.types).iter().for_each(|ty| offers.ty(ty));
        }
        Context::Statement(blocks) => offers.statements(&blocks),
        Context::Value { blocks, attr, in_list } => {
            if let Some(attr) = attribute(&blocks, attr) {
                offers.values(attr, in_list, &declared(files, path));
            }
            offers.expressions();
        }
        Context::Expression => offers.expressions(),
        Context::Text { blocks, attr } => {
            if attribute(&blocks, attr).is_some_and(|attr| attr.ty == Ty::Zone) {
                offers.zones();
            }
        }
        Context::ImportPath(written) => offers.imports(written),
        Context::Binding { path: library, start: open } => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            if let Ok(library) = files.get(&folder.join(library)) {
                offers.params(&library, &written(file.text(), open, start, &['\n', ',']));
            }
        }
        Context::Allowance => {
            // An error is mended, never allowed; nor is what is wrong with an allowance.
            let of_allowances = [codes::UNUSED_ALLOW.name, codes::ALLOW_WITHOUT_REASON.name];
            let can_be =
                |code: &Code| code.severity != Severity::Error && !of_allowances.contains(&code.name);
            for code in codes::CODES.iter().filter(|code| can_be(code)) {
                offers.documented(code.name, CompletionItemKind::CONSTANT, code.meaning.into());
            }
        }
        Context::Nothing => {}
    }
    offers.items
}

/// The names that can be referred to: of the plans that the file is a part of, and of the file as far as it can be read.
fn declared(files: &mut Files, path: &Path) -> Declared {
    names::declared(&files.plans_of(path))
}

fn kind_of(head: &Head<'_>) -> Option<(&'static Kind, Option<&'static Type>)> {
    let kind = schema::kind(head.kind)?;
    Some((kind, head.ty.and_then(|ty| kind.find_type(ty))))
}

fn attribute(blocks: &[Head<'_>], name: &str) -> Option<&'static Attr> {
    let (kind, ty) = kind_of(blocks.last()?)?;
    kind.attributes(ty).find(|attr| attr.name == name)
}

struct Offers<'f> {
    file: &'f File,
    /// The word that is replaced.
    from: usize,
    to: usize,
    items: Vec<CompletionItem>,
}

impl Offers<'_> {
    /// A text with places to fill in.
    fn snippet(&mut self, label: &str, kind: CompletionItemKind, new: &str) -> &mut CompletionItem {
        let item = self.push(label, kind, new);
        item.insert_text_format = Some(InsertTextFormat::SNIPPET);
        item
    }

    /// A text that is put in as it stands.
    fn push(&mut self, label: &str, kind: CompletionItemKind, new: &str) -> &mut CompletionItem {
        let lines = &self.file.lines;
        let text = self.file.text();
        let range =
            lsp_types::Range { start: lines.position(text, self.from), end: lines.position(text, self.to) };
        self.items.push(CompletionItem {
            label: label.to_owned(),
            kind: Some(kind),
            insert_text_format: Some(InsertTextFormat::PLAIN_TEXT),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: new.to_owned() })),
            ..CompletionItem::default()
        });
        let last = self.items.len() - 1;
        &mut self.items[last]
    }

    fn add(&mut self, label: &str, kind: CompletionItemKind) {
        self.push(label, kind, label);
    }

    fn documented(&mut self, label: &str, kind: CompletionItemKind, doc: String) {
        self.push(label, kind, label).documentation = Some(markdown(doc));
    }

    fn items(&mut self) {
        for kind in schema::KINDS {
            let name = match kind.naming {
                Naming::Unnamed => "",
                Naming::New => " ${1:name}",
                Naming::OfSource => " ${1:source}",
            };
            let types: Vec<&str> = kind.types.iter().map(|ty| ty.name).collect();
            let ty = match types.as_slice() {
                [] => String::new(),
                types => format!(": ${{2|{}|}}", types.join(",")),
            };
            let new = format!("{}{name}{ty} {{\n  $0\n}}", kind.name);
            let item = self.snippet(kind.name, CompletionItemKind::CLASS, &new);
            item.documentation = Some(markdown(about_kind(kind)));
        }
        let words = [
            ("plan", "plan ${1:name}"),
            ("let", "let ${1:name} = $0"),
            ("param", "param ${1:name}: $0"),
            ("import", "import \"$0\""),
        ];
        for (word, new) in words {
            self.snippet(word, CompletionItemKind::KEYWORD, new);
        }
    }

    fn ty(&mut self, ty: &Type) {
        self.documented(ty.name, CompletionItemKind::TYPE_PARAMETER, about_type(ty));
    }

    /// Attributes and blocks that are not written yet; those that must be come first.
    fn statements(&mut self, blocks: &[Head<'_>]) {
        let Some((head, (kind, ty))) = blocks.last().and_then(|head| Some((head, kind_of(head)?))) else {
            return;
        };
        let written = written(self.file.text(), head.start, self.from, &['\n']);
        for attr in kind.attributes(ty).filter(|attr| !written.contains(attr.name)) {
            let is_required = attr.presence == Presence::Required;
            let new = format!("{} = ", attr.name);
            let item = self.push(attr.name, CompletionItemKind::PROPERTY, &new);
            item.detail = Some(attr.ty.describe());
            item.documentation = Some(markdown(about_attribute(attr)));
            item.sort_text = Some(format!("{}{}", if is_required { '0' } else { '1' }, attr.name));
        }
        for block in kind.blocks.iter().filter_map(|block| schema::kind(block)) {
            let new = format!("{} {{\n  $0\n}}", block.name);
            let item = self.snippet(block.name, CompletionItemKind::CLASS, &new);
            item.documentation = Some(markdown(about_kind(block)));
            item.sort_text = Some(format!("2{}", block.name));
        }
    }

    fn values(&mut self, attr: &'static Attr, in_list: bool, declared: &Declared) {
        let is_of_list = matches!(attr.ty, Ty::Keywords(_) | Ty::Refs(_) | Ty::RefsOrAll(_));
        let needs_list = is_of_list && !in_list;
        match attr.ty {
            Ty::Keyword(words) | Ty::Keywords(words) => {
                for word in words {
                    self.element(word, CompletionItemKind::ENUM_MEMBER, needs_list);
                }
            }
            Ty::Bool => ["true", "false"].iter().for_each(|word| self.add(word, CompletionItemKind::VALUE)),
            Ty::Schedule => {
                for (label, new) in SCHEDULES {
                    self.snippet(label, CompletionItemKind::SNIPPET, new);
                }
            }
            Ty::RefsOrAll(_) if !in_list => self.add("all", CompletionItemKind::KEYWORD),
            _ => {}
        }
        if let Some(kind) = referred(attr.ty) {
            self.references(declared, kind, needs_list);
        }
    }

    fn references(&mut self, declared: &Declared, kind: &str, needs_list: bool) {
        for name in declared.of_kind(kind) {
            self.element(name, CompletionItemKind::REFERENCE, needs_list).detail = Some(kind.to_owned());
        }
    }

    /// A word; where a list is wanted and none is open, in a list of its own, found by the word all the same.
    fn element(&mut self, word: &str, kind: CompletionItemKind, needs_list: bool) -> &mut CompletionItem {
        if !needs_list {
            return self.push(word, kind, word);
        }
        let list = format!("[{word}]");
        let item = self.push(&list, kind, &list);
        item.filter_text = Some(word.to_owned());
        item
    }

    /// What any value may be made of.
    fn expressions(&mut self) {
        let file = self.file;
        for name in mentions::bound(&file.source).keys() {
            self.add(name, CompletionItemKind::VARIABLE);
        }
        for (name, usage, doc) in FUNCTIONS {
            let new = if usage.ends_with("()") { format!("{name}()") } else { format!("{name}($0)") };
            let item = self.snippet(name, CompletionItemKind::FUNCTION, &new);
            item.detail = Some((*usage).to_owned());
            item.documentation = Some(markdown((*doc).to_owned()));
        }
    }

    fn zones(&mut self) {
        // A zone is more than one word: all that is written of it is replaced.
        let before = self.file.text().get(..self.from).unwrap_or_default();
        self.from = before.rfind('"').map_or(self.from, |quote| quote + 1);
        for zone in due::zone_names() {
            self.add(&zone, CompletionItemKind::VALUE);
        }
    }

    /// Plan files beside this one, and folders.
    fn imports(&mut self, written: &str) {
        let typed = self.file.text().get(self.from..self.to).unwrap_or_default();
        let written = format!("{written}{typed}");
        // With its slash: what is below `/` is not what is below this folder.
        let (below, name) = written.split_at(written.rfind('/').map_or(0, |slash| slash + 1));
        let Some(folder) = self.file.path().parent() else { return };
        // The word that is replaced begins behind the last slash.
        self.from = self.to.saturating_sub(name.len());
        let Ok(entries) = std::fs::read_dir(folder.join(below)) else { return };
        let mut found = BTreeSet::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_folder = entry.file_type().is_ok_and(|ty| ty.is_dir());
            let is_plan = path.extension().is_some_and(|ending| ending == "plan");
            // In a string these would say something else.
            let is_plain = !name.contains(['"', '\'', '\\', '\n', '\r']) && !name.contains("${");
            if is_plain && !name.starts_with('.') && (is_folder || is_plan && path != self.file.path()) {
                found.insert((is_folder, name.to_owned()));
            }
        }
        for (is_folder, name) in found {
            match is_folder {
                true => self.add(&format!("{name}/"), CompletionItemKind::FOLDER),
                false => self.add(&name, CompletionItemKind::FILE),
            }
        }
    }

    fn params(&mut self, library: &File, written: &BTreeSet<String>) {
        for item in &library.source.parsed.ast.items {
            let Item::Param(param) = item else { continue };
            let name = &param.name.node;
            if written.contains(name) {
                continue;
            }
            let shown = library.text().get(param.span.start..param.span.end).unwrap_or_default();
            let item = self.push(name, CompletionItemKind::PROPERTY, &format!("{name} = "));
            item.documentation = Some(markdown(format!("```plan\n{shown}\n```")));
        }
    }
}

/// The attributes that a block, or the parameters that an import has already, before and behind the place. What stands at the
/// place ends with one of `ends`.
fn written(text: &str, start: usize, place: usize, ends: &[char]) -> BTreeSet<String> {
    // What stands at the place is not finished: a text without that line can be parsed more often.
    let before = &text[start..place];
    let before = before.rfind(['\n', ',']).map_or("", |end| &before[..end]);
    let end = text[place..].find(ends).map_or(text.len(), |length| place + length);
    let after = text[end..].trim_start_matches(',');
    let body = format!("{before}\n{after}");
    let parsed = parse(&format!("keep {{\n{body}"));
    let block = parsed.ast.items.iter().find_map(|item| match item {
        Item::Decl(decl) => Some(decl),
        _ => None,
    });
    let entries = block.map(|block| block.body.as_slice()).unwrap_or_default();
    let names = entries.iter().filter_map(|entry| match entry {
        backplan_grammar::ast::Entry::Attr(attr) => Some(attr.name.node.clone()),
        backplan_grammar::ast::Entry::Block(_) => None,
    });
    names.collect()
}

fn markdown(value: String) -> Documentation {
    Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
}
