//! Which declarations there are: per-kind names, duplicates, and which of several unnamed ones counts.

use std::collections::{BTreeMap, BTreeSet};

use backplan_grammar::ast::{Decl, Entry, ExprKind, Ident, Item, StrPart};

use super::Resolver;
use super::block::{head, shown};
use super::suggest::{did_you_mean, nearest};
use crate::codes;
use crate::finding::Finding;
use crate::schema::{self, Kind, Naming, Type};
use crate::sources::{FileId, Place};

/// A declaration whose first line is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared<'a> {
    pub kind: &'static Kind,
    pub ty: Option<&'static Type>,
    pub file: FileId,
    pub decl: &'a Decl,
}

impl<'a> Declared<'a> {
    /// Its name; empty for kinds without one.
    pub fn name(&self) -> &'a str {
        self.decl.name.as_ref().map_or("", |name| &name.node)
    }

    /// The words before the brace.
    pub fn head(&self) -> Place {
        head(self.decl, self.file)
    }
}

/// The names of each kind, sorted: a name's place here is its place in the model.
#[derive(Debug, Default)]
pub(crate) struct Names<'a>(BTreeMap<&'static str, Vec<&'a str>>);

impl<'a> Names<'a> {
    /// The place of `name` among those of its kind.
    pub fn index(&self, kind: &str, name: &str) -> Option<usize> {
        self.of(kind).binary_search(&name).ok()
    }

    /// All names of a kind.
    pub fn of(&self, kind: &str) -> &[&'a str] {
        self.0.get(kind).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Resolver<'a> {
    /// Finds every declaration of every file and the names they give.
    pub(super) fn declare_all(&mut self) {
        let set = self.set;
        let mut named: BTreeMap<(&str, &str), Declared<'a>> = BTreeMap::new();
        let mut names: BTreeMap<&'static str, Vec<&'a str>> = BTreeMap::new();
        for file in self.files.clone() {
            for item in &set.file(file).parsed.ast.items {
                let Item::Decl(decl) = item else { continue };
                // A name counts even where its type is wrong, lest every reference to it were told too.
                if let (Some(kind), Some(name)) = (schema::kind(&decl.kind.node), &decl.name)
                    && kind.naming == Naming::New
                {
                    names.entry(kind.name).or_default().push(&name.node);
                }
                let Some(declared) = self.first_line(decl, file) else { continue };
                if declared.kind.naming != Naming::Unnamed {
                    let key = (declared.kind.name, declared.name());
                    if let Some(first) = named.get(&key) {
                        self.duplicate(&declared, first);
                        continue;
                    }
                    named.insert(key, declared);
                }
                self.declared.push(declared);
            }
        }
        for names in names.values_mut() {
            names.sort_unstable();
            names.dedup();
        }
        self.names = Names(names);
    }

    fn duplicate(&mut self, second: &Declared<'_>, first: &Declared<'_>) {
        let message = format!("{} is declared twice", shown(second.decl));
        self.findings.push(
            Finding::new(&codes::DUPLICATE, second.head(), message)
                .with(first.head(), "first declared here")
                .help("keep one of them, or give one another name"),
        );
    }

    /// Kind, name and type of a declaration, if they go together.
    fn first_line(&mut self, decl: &'a Decl, file: FileId) -> Option<Declared<'a>> {
        let at = |ident: &Ident| Place { file, span: ident.span };
        let word = decl.kind.node.as_str();
        let Some(kind) = schema::kind(word) else {
            let help = did_you_mean(word, schema::KINDS.iter().map(|kind| kind.name)).unwrap_or_else(|| {
                let kinds: Vec<&str> = schema::KINDS.iter().map(|kind| kind.name).collect();
                format!("the kinds are {}", kinds.join(", "))
            });
            let message = format!("there is no kind of declaration `{word}`");
            let near = nearest(word, schema::KINDS.iter().map(|kind| kind.name));
            let finding = Finding::new(&codes::UNKNOWN_KIND, at(&decl.kind), message).help(help);
            self.findings.push(finding.instead(word, near));
            return None;
        };
        let named = self.check_name(decl, file, kind);
        let ty = match (&decl.ty, kind.types) {
            (None, []) => None,
            (Some(ty), []) => {
                let message = format!("`{word}` has no types");
                self.findings.push(
                    Finding::new(&codes::UNKNOWN_TYPE, at(ty), message)
                        .help(format!("leave `: {}` out", ty.node)),
                );
                return None;
            }
            (None, types) => {
                let names: Vec<&str> = types.iter().map(|ty| ty.name).collect();
                let message = format!("{} has no type", shown(decl));
                let name = decl.name.as_ref().map_or("name", |name| &name.node);
                let help = format!("write `{word} {name}: {}`; the types are {}", names[0], names.join(", "));
                self.findings.push(Finding::new(&codes::MISSING_TYPE, head(decl, file), message).help(help));
                return None;
            }
            (Some(ty), types) => Some(self.find_type(kind, ty, types, file)?),
        };
        named.then_some(Declared { kind, ty, file, decl })
    }

    fn find_type(
        &mut self,
        kind: &Kind,
        ty: &Ident,
        types: &'static [Type],
        file: FileId,
    ) -> Option<&'static Type> {
        let found = types.iter().find(|known| known.name == ty.node);
        if found.is_none() {
            let names: Vec<&str> = types.iter().map(|ty| ty.name).collect();
            let help = did_you_mean(&ty.node, names.iter().copied())
                .unwrap_or_else(|| format!("the types are {}", names.join(", ")));
            let message = format!("there is no {} of type `{}`", kind.name, ty.node);
            let place = Place { file, span: ty.span };
            let near = nearest(&ty.node, names);
            let finding = Finding::new(&codes::UNKNOWN_TYPE, place, message).help(help);
            self.findings.push(finding.instead(&ty.node, near));
        }
        found
    }

    fn check_name(&mut self, decl: &Decl, file: FileId, kind: &Kind) -> bool {
        match (&decl.name, kind.naming) {
            (Some(name), Naming::Unnamed) => {
                let message = format!("`{}` takes no name", kind.name);
                let help = format!("leave `{}` out", name.node);
                let place = Place { file, span: name.span };
                let finding = Finding::new(&codes::UNEXPECTED_NAME, place, message).help(help);
                self.findings.push(finding.instead(&name.node, Some("")));
                false
            }
            (None, Naming::New | Naming::OfSource) => {
                let help = match kind.naming {
                    Naming::OfSource => format!("write the name of its source: `{} main {{ … }}`", kind.name),
                    _ => format!("write `{} NAME`", kind.name),
                };
                let message = format!("`{}` needs a name", kind.name);
                self.findings.push(Finding::new(&codes::MISSING_NAME, head(decl, file), message).help(help));
                false
            }
            _ => true,
        }
    }

    /// Every declaration of a kind that has names or may repeat.
    pub(super) fn all_of(&self, kind: &str) -> Vec<Declared<'a>> {
        let mut all: Vec<Declared<'a>> =
            self.declared.iter().filter(|declared| declared.kind.name == kind).copied().collect();
        all.sort_by_key(|declared| declared.name());
        all
    }

    /// The one declaration of an unnamed kind that counts: the importing file's replaces a library's.
    pub(super) fn the_one(&mut self, kind: &'static str) -> Option<Declared<'a>> {
        let all = self.all_of(kind);
        let mut seen = BTreeSet::new();
        let found = self.nearest(self.set.root(), &all, &mut seen);
        if let [first, rest @ ..] = found.as_slice() {
            for second in rest {
                self.duplicate(second, first);
            }
        }
        let counts = |declared: &Declared<'_>| found.iter().any(|one| one.head() == declared.head());
        for replaced in all.iter().filter(|declared| !counts(declared)) {
            self.use_names(&replaced.decl.body, replaced.file);
        }
        found.first().copied()
    }

    /// Takes the names in these statements for used: what is replaced in one plan counts in others of the library.
    fn use_names(&mut self, body: &[Entry], file: FileId) {
        let mut exprs = Vec::new();
        let mut blocks = vec![body];
        while let Some(body) = blocks.pop() {
            for entry in body {
                match entry {
                    Entry::Attr(attr) => exprs.push(&attr.value),
                    Entry::Block(block) => blocks.push(&block.body),
                }
            }
        }
        while let Some(expr) = exprs.pop() {
            match &expr.node {
                ExprKind::Word(name) => self.mark_used(file, name),
                ExprKind::Str(parts) => exprs.extend(parts.iter().filter_map(|part| match part {
                    StrPart::Expr(expr) => Some(expr),
                    StrPart::Text(_) => None,
                })),
                ExprKind::Range(from, to) => exprs.extend([&**from, &**to]),
                ExprKind::List(items) => exprs.extend(items),
                ExprKind::Call { args, .. } => exprs.extend(args),
                _ => {}
            }
        }
    }

    /// Declarations of `file`, or else of what it imports; those that `file`'s own replaces are told.
    fn nearest(
        &mut self,
        file: FileId,
        all: &[Declared<'a>],
        seen: &mut BTreeSet<FileId>,
    ) -> Vec<Declared<'a>> {
        if !seen.insert(file) {
            return Vec::new();
        }
        let children = self.children.get(&file).cloned().unwrap_or_default();
        let mut below = Vec::new();
        for child in children {
            below.extend(self.nearest(child, all, seen));
        }
        let own: Vec<Declared<'a>> = all.iter().filter(|declared| declared.file == file).copied().collect();
        let Some(first) = own.first() else { return below };
        for replaced in below {
            let message =
                format!("`{}` replaces the one of `{}`", first.kind.name, self.set.file(replaced.file).shown);
            self.findings.push(
                Finding::new(&codes::REPLACED, first.head(), message)
                    .with(replaced.head(), "this one does not count"),
            );
        }
        own
    }
}
