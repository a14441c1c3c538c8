//! One declaration against the schema: which attributes are there, each of its type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backplan_grammar::Span;
use backplan_grammar::ast::{Attr, Decl, Entry};

use super::Resolver;
use super::coerce::{Typed, Wanted};
use super::suggest::{did_you_mean, nearest};
use crate::codes;
use crate::finding::{Edit, Finding};
use crate::model::{FilesPath, When, Worded};
use crate::schema::{self, Kind, Presence, Ty, Type};
use crate::sources::{FileId, Place};
use crate::value::{Env, Secret, Text};

/// The attributes of one declaration.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub file: FileId,
    /// The words before the brace.
    pub head: Place,
    values: BTreeMap<&'static str, Typed>,
    /// Where attributes are written, those with a wrong value too.
    pub places: BTreeMap<&'static str, Place>,
    pub nested: Vec<(&'static str, &'a Decl)>,
}

/// The words before the brace of a declaration.
pub(crate) fn head(decl: &Decl, file: FileId) -> Place {
    let span = decl.kind.span;
    let span = decl.name.iter().chain(&decl.ty).fold(span, |span, word| span.to(word.span));
    Place { file, span }
}

impl<'a> Resolver<'a> {
    /// Checks the attributes of `decl` and reads them.
    pub(super) fn block(
        &mut self,
        decl: &'a Decl,
        file: FileId,
        kind: &'static Kind,
        ty: Option<&'static Type>,
    ) -> Block<'a> {
        let mut block = Block {
            file,
            head: head(decl, file),
            values: BTreeMap::new(),
            places: BTreeMap::new(),
            nested: Vec::new(),
        };
        let mut blocks = BTreeSet::new();
        for entry in &decl.body {
            match entry {
                Entry::Attr(attr) => self.attribute(&mut block, attr, kind, ty),
                Entry::Block(inner) => self.nested(&mut block, inner, kind, &mut blocks),
            }
        }
        for attr in kind.attributes(ty).filter(|attr| attr.presence == Presence::Required) {
            if !block.places.contains_key(attr.name) {
                let message = format!("{} has no `{}`", shown(decl), attr.name);
                let finding = Finding::new(&codes::MISSING_ATTRIBUTE, block.head, message);
                self.findings.push(match self.only_value(attr.ty) {
                    Some(value) => {
                        let line = format!("{} = {value}", attr.name);
                        let title = format!("add `{line}`");
                        finding.help(title.clone()).mend(title, addition(decl, file, &line))
                    }
                    None => {
                        let example = attr.ty.example();
                        finding.help(format!("say it, as in `{} = {example}`", attr.name))
                    }
                });
            }
        }
        block
    }

    /// The value that an attribute can only have. None is made up: what an editor put in at a key press would be backed up,
    /// cleared or run.
    fn only_value(&self, ty: Ty) -> Option<String> {
        match ty {
            Ty::RefsOrAll(_) => Some("all".into()),
            Ty::Ref(kind) | Ty::Refs(kind) => match self.names.of(kind)[..] {
                [only] if matches!(ty, Ty::Ref(_)) => Some(only.to_owned()),
                [only] => Some(format!("[{only}]")),
                _ => None,
            },
            _ => None,
        }
    }

    fn attribute(
        &mut self,
        block: &mut Block<'a>,
        attr: &'a Attr,
        kind: &'static Kind,
        ty: Option<&'static Type>,
    ) {
        let place = Place { file: block.file, span: attr.name.span };
        let Some(known) = kind.attributes(ty).find(|known| known.name == attr.name.node) else {
            return self.unknown_attribute(attr, place, kind, ty);
        };
        if let Some(first) = block.places.get(known.name) {
            let message = format!("`{}` is written twice", known.name);
            self.findings.push(
                Finding::new(&codes::DUPLICATE, place, message)
                    .with(*first, "first written here")
                    .help("keep one of them"),
            );
            return;
        }
        block.places.insert(known.name, Place { file: block.file, span: attr.span });
        let Some(value) = self.eval_for(&attr.value, block.file, Some(known.ty)) else { return };
        let wanted = Wanted { name: known.name, ty: known.ty };
        if let Some(typed) = self.coerce(&value, wanted) {
            block.values.insert(known.name, typed);
        }
    }

    fn unknown_attribute(
        &mut self,
        attr: &Attr,
        place: Place,
        kind: &'static Kind,
        ty: Option<&'static Type>,
    ) {
        let name = attr.name.node.as_str();
        let what = match ty {
            Some(ty) => format!("{}: {}", kind.name, ty.name),
            None => kind.name.to_owned(),
        };
        let names: Vec<&str> = kind.attributes(ty).map(|attr| attr.name).collect();
        let elsewhere = kind.types.iter().find(|ty| ty.attrs.iter().any(|attr| attr.name == name));
        let help = if kind.blocks.contains(&name) {
            format!("`{name}` is a block here: `{name} {{ … }}`")
        } else if let Some(help) = did_you_mean(name, names.iter().copied()) {
            help
        } else if let Some(ty) = elsewhere {
            format!("`{name}` belongs to `{}: {}`", kind.name, ty.name)
        } else {
            format!("its attributes are {}", names.join(", "))
        };
        let message = format!("`{what}` has no attribute `{name}`");
        self.findings.push(
            Finding::new(&codes::UNKNOWN_ATTRIBUTE, place, message)
                .help(help)
                .instead(name, nearest(name, names)),
        );
    }

    fn nested(
        &mut self,
        block: &mut Block<'a>,
        inner: &'a Decl,
        kind: &'static Kind,
        seen: &mut BTreeSet<&'static str>,
    ) {
        let name = inner.kind.node.as_str();
        let place = head(inner, block.file);
        let Some(known) = kind.blocks.iter().find(|known| **known == name) else {
            let help = if kind.attributes(None).any(|attr| attr.name == name) {
                format!("`{name}` is an attribute here: `{name} = …`")
            } else if schema::kind(name).is_some() {
                format!("write `{name}` at the top of the file")
            } else {
                did_you_mean(name, kind.blocks.iter().copied())
                    .unwrap_or_else(|| "write attributes as `name = value`".into())
            };
            let message = format!("`{}` holds no block `{name}`", kind.name);
            let near = nearest(name, kind.blocks.iter().copied());
            let finding = Finding::new(&codes::UNKNOWN_BLOCK, place, message).help(help);
            self.findings.push(finding.instead(name, near));
            return;
        };
        if !seen.insert(known) {
            let message = format!("`{name}` is written twice");
            self.findings.push(Finding::new(&codes::DUPLICATE, place, message).help("keep one of them"));
            return;
        }
        if inner.name.is_some() || inner.ty.is_some() {
            let message = format!("a nested `{name}` takes no name and no type");
            self.findings.push(
                Finding::new(&codes::UNEXPECTED_NAME, place, message).help(format!("write `{name} {{ … }}`")),
            );
        }
        block.nested.push((known, inner));
    }
}

/// A further statement in a block: behind the last one, or where it has none before the closing brace.
fn addition(decl: &Decl, file: FileId, line: &str) -> Edit {
    let last = decl.body.last().map(|entry| match entry {
        Entry::Attr(attr) => attr.span.end,
        Entry::Block(inner) => inner.span.end,
    });
    let (at, new) = match last {
        Some(end) => (end, format!("\n  {line}")),
        None => (decl.span.end.saturating_sub(1), format!("\n  {line}\n")),
    };
    Edit { place: Place { file, span: Span::new(at, at) }, old: String::new(), new }
}

/// A declaration as messages name it: "source `site`", "staging".
pub(crate) fn shown(decl: &Decl) -> String {
    match &decl.name {
        Some(name) => format!("{} `{}`", decl.kind.node, name.node),
        None => format!("`{}`", decl.kind.node),
    }
}

/// Reads attributes of one type: `None` where it is not written or is wrong.
macro_rules! readers {
    ($($name:ident: $variant:ident -> $ty:ty;)*) => {
        $(pub fn $name(&mut self, name: &str) -> Option<$ty> {
            match self.values.remove(name)? {
                Typed::$variant(value) => Some(value),
                _ => None,
            }
        })*
    };
}

impl Block<'_> {
    readers! {
        str: Str -> String;
        text: Text -> Text;
        path: Path -> PathBuf;
        secret: Secret -> Secret;
        bool: Bool -> bool;
        amount: Amount -> u64;
        when: When -> When;
        keyword: Keyword -> &'static str;
        keywords: Keywords -> Vec<(&'static str, Place)>;
        refs: Refs -> Vec<(usize, Place)>;
        texts: Texts -> Vec<Text>;
        env: Env -> Env;
        strings: Strings -> Vec<(String, Place)>;
        paths: Paths -> Vec<FilesPath>;
    }

    /// One of the words of a choice.
    pub fn choice<T: Worded>(&mut self, name: &str) -> Option<T> {
        T::of(self.keyword(name)?)
    }

    /// A whole number that its bounds in the schema let fit.
    pub fn int<N: TryFrom<i64>>(&mut self, name: &str) -> Option<N> {
        match self.values.remove(name)? {
            Typed::Int(number) => N::try_from(number).ok(),
            _ => None,
        }
    }

    /// The ends of a range.
    pub fn range(&mut self, name: &str) -> Option<(u64, u64)> {
        match self.values.remove(name)? {
            Typed::Range(from, to) => Some((from, to)),
            _ => None,
        }
    }

    /// References, where `all` stands for `everything`.
    pub fn refs_or_all(
        &mut self,
        name: &str,
        everything: impl IntoIterator<Item = usize>,
    ) -> Option<Vec<usize>> {
        match self.values.remove(name)? {
            Typed::All => Some(everything.into_iter().collect()),
            Typed::Refs(refs) => Some(sorted(refs)),
            _ => None,
        }
    }

    /// Whether an attribute is written, with a right value or a wrong one.
    pub fn wrote(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Where an attribute is written, or else the declaration.
    pub fn place(&self, name: &str) -> Place {
        self.places.get(name).copied().unwrap_or(self.head)
    }
}

/// References without their places, each once, in order.
pub(crate) fn sorted(refs: Vec<(usize, Place)>) -> Vec<usize> {
    let mut indices: Vec<usize> = refs.into_iter().map(|(index, _)| index).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}
