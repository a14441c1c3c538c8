//! What each word of a file means: a name that is declared or used, an attribute, a kind, a function.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use backplan_compiler::import_paths;
use backplan_compiler::schema::{self, Attr, FUNCTIONS, Kind, Naming, Ty, Type};
use backplan_compiler::sources::SourceFile;
use backplan_grammar::Span;
use backplan_grammar::ast::{self, Decl, Entry, Expr, ExprKind, Import, Item, StrPart};

/// What a word means.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// A name; what it is the name of.
    Name(Name),
    /// The path of an import.
    Import(PathBuf),
    /// A kind of declaration.
    Kind(&'static Kind),
    /// A type of a kind.
    Type(&'static Type),
    /// An attribute.
    Attribute(&'static Attr),
    /// A word that an attribute knows.
    Keyword(&'static Attr),
    /// A function: its name, how it is called, what it gives.
    Function(&'static (&'static str, &'static str, &'static str)),
}

/// A name that can be looked up and changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// A declaration, by its kind; known in every file of a plan.
    Declared { kind: &'static str, name: String },
    /// A `let` or `param` of one file.
    Bound { file: PathBuf, name: String },
}

/// A word and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    pub span: Span,
    pub meaning: Meaning,
    /// Whether the name is given here.
    pub defines: bool,
}

/// The names of declarations that some files give, by kind.
#[derive(Debug, Default)]
pub(crate) struct Declared(BTreeSet<(&'static str, String)>);

impl Declared {
    /// Those of these files.
    pub fn of<'f>(files: impl IntoIterator<Item = &'f SourceFile>) -> Declared {
        let mut names = BTreeSet::new();
        for file in files {
            for decl in declarations(file) {
                if let (Some(kind), Some(name)) = (schema::kind(&decl.kind.node), &decl.name)
                    && kind.naming == Naming::New
                {
                    names.insert((kind.name, name.node.clone()));
                }
            }
        }
        Declared(names)
    }

    /// Whether there is a declaration of this kind and name.
    pub fn has(&self, kind: &'static str, name: &str) -> bool {
        self.0.contains(&(kind, name.to_owned()))
    }

    /// The names of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }
}

fn declarations(file: &SourceFile) -> impl Iterator<Item = &Decl> {
    file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Decl(decl) => Some(decl),
        _ => None,
    })
}

/// The `let`s and `param`s of a file: their names and places.
pub(crate) fn bound(file: &SourceFile) -> BTreeMap<&str, Span> {
    let names = file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Let(item) => Some(&item.name),
        Item::Param(item) => Some(&item.name),
        _ => None,
    });
    let mut bound = BTreeMap::new();
    for name in names {
        // The first of two counts, as for the compiler.
        bound.entry(name.node.as_str()).or_insert(name.span);
    }
    bound
}

/// Every word of a file that means something, in no order. `declared` are the names of the plan that it is a part of.
pub(crate) fn mentions(file: &SourceFile, declared: &Declared) -> Vec<Mention> {
    let mut walk = Walk {
        path: &file.path,
        bound: bound(file),
        values: values(file),
        declared,
        followed: BTreeSet::new(),
        found: Vec::new(),
    };
    let imported: BTreeMap<Span, PathBuf> =
        import_paths(file).into_iter().map(|(path, span)| (span, path)).collect();
    for item in &file.parsed.ast.items {
        match item {
            Item::Plan(_) => {}
            Item::Import(import) => walk.import(import, imported.get(&import.path.span)),
            Item::Let(item) => {
                walk.bound(&item.name, true);
                walk.value(&item.value, None);
            }
            Item::Param(item) => {
                walk.bound(&item.name, true);
                if let Some(default) = &item.default {
                    walk.value(default, None);
                }
            }
            Item::Decl(decl) => walk.decl(decl),
        }
    }
    walk.found
}

/// What the `let`s and `param`s of a file stand for.
fn values(file: &SourceFile) -> BTreeMap<&str, &Expr> {
    let values = file.parsed.ast.items.iter().filter_map(|item| match item {
        Item::Let(item) => Some((item.name.node.as_str(), &item.value)),
        Item::Param(item) => Some((item.name.node.as_str(), item.default.as_ref()?)),
        _ => None,
    });
    values.collect()
}

struct Walk<'a> {
    path: &'a Path,
    bound: BTreeMap<&'a str, Span>,
    values: BTreeMap<&'a str, &'a Expr>,
    declared: &'a Declared,
    /// Names whose values were read as references of a kind.
    followed: BTreeSet<(&'a str, &'static str)>,
    found: Vec<Mention>,
}

impl<'a> Walk<'a> {
    fn add(&mut self, span: Span, meaning: Meaning) {
        self.found.push(Mention { span, meaning, defines: false });
    }

    fn bound(&mut self, name: &ast::Ident, defines: bool) {
        let meaning = Meaning::Name(Name::Bound { file: self.path.into(), name: name.node.clone() });
        self.found.push(Mention { span: name.span, meaning, defines });
    }

    fn import(&mut self, import: &'a Import, path: Option<&PathBuf>) {
        let Some(path) = path else { return };
        self.add(import.path.span, Meaning::Import(path.clone()));
        for binding in &import.bindings {
            let name = Name::Bound { file: path.clone(), name: binding.name.node.clone() };
            self.add(binding.name.span, Meaning::Name(name));
            self.value(&binding.value, None);
        }
    }

    fn decl(&mut self, decl: &'a Decl) {
        let Some(kind) = schema::kind(&decl.kind.node) else { return };
        self.add(decl.kind.span, Meaning::Kind(kind));
        if let Some(name) = &decl.name {
            let of = match kind.naming {
                Naming::New => Some((kind.name, true)),
                Naming::OfSource => Some(("source", false)),
                Naming::Unnamed => None,
            };
            if let Some((kind, defines)) = of {
                let meaning = Meaning::Name(Name::Declared { kind, name: name.node.clone() });
                self.found.push(Mention { span: name.span, meaning, defines });
            }
        }
        let ty = decl.ty.as_ref().and_then(|ty| {
            let known = kind.find_type(&ty.node)?;
            self.add(ty.span, Meaning::Type(known));
            Some(known)
        });
        for entry in &decl.body {
            match entry {
                Entry::Attr(attr) => {
                    let known = kind.attributes(ty).find(|known| known.name == attr.name.node);
                    if let Some(known) = known {
                        self.add(attr.name.span, Meaning::Attribute(known));
                    }
                    self.value(&attr.value, known);
                }
                Entry::Block(inner) => self.decl(inner),
            }
        }
    }

    fn value(&mut self, value: &'a Expr, attr: Option<&'static Attr>) {
        match &value.node {
            ExprKind::Word(word) => self.word(word, value.span, attr),
            ExprKind::List(items) => items.iter().for_each(|item| self.value(item, attr)),
            ExprKind::Range(from, to) => {
                self.value(from, None);
                self.value(to, None);
            }
            ExprKind::Str(parts) => {
                for part in parts {
                    if let StrPart::Expr(inner) = part {
                        self.value(inner, None);
                    }
                }
            }
            ExprKind::Call { name, args } => {
                if let Some(function) = FUNCTIONS.iter().find(|(function, ..)| *function == name.node) {
                    self.add(name.span, Meaning::Function(function));
                }
                args.iter().for_each(|arg| self.value(arg, None));
            }
            _ => {}
        }
    }

    /// As the compiler reads it: a keyword or a declaration where the attribute knows it, else a `let` or `param`.
    fn word(&mut self, word: &'a str, span: Span, attr: Option<&'static Attr>) {
        let wanted = attr.and_then(|attr| referred(attr.ty));
        if let Some(attr) = attr
            && let Ty::Keyword(words) | Ty::Keywords(words) = attr.ty
            && words.contains(&word)
        {
            return self.add(span, Meaning::Keyword(attr));
        }
        if let (Some(attr), "all") = (attr, word)
            && matches!(attr.ty, Ty::RefsOrAll(_))
        {
            return self.add(span, Meaning::Keyword(attr));
        }
        let is_bound = self.bound.contains_key(word);
        if let Some(kind) = wanted
            && (self.declared.has(kind, word) || !is_bound)
        {
            return self.add(span, Meaning::Name(Name::Declared { kind, name: word.into() }));
        }
        if !is_bound {
            return;
        }
        self.add(span, Meaning::Name(Name::Bound { file: self.path.into(), name: word.into() }));
        // The words of its value are references of the same kind.
        if let (Some(kind), Some(value)) = (wanted, self.values.get(word).copied())
            && self.followed.insert((word, kind))
        {
            self.value(value, attr);
        }
    }
}

/// The kind of declaration that an attribute of this type names.
pub(crate) fn referred(ty: Ty) -> Option<&'static str> {
    match ty {
        Ty::Ref(kind) | Ty::Refs(kind) | Ty::RefsOrAll(kind) => Some(kind),
        _ => None,
    }
}

/// The mention at a place, the nearest around it.
pub(crate) fn at(mentions: &[Mention], offset: usize) -> Option<&Mention> {
    let around = mentions.iter().filter(|mention| (mention.span.start..=mention.span.end).contains(&offset));
    // Of two that touch, the one that begins here; of two that overlap, the shorter.
    around.min_by_key(|mention| (mention.span.end == offset, mention.span.end - mention.span.start))
}
