//! What may be written: every kind of declaration, its types, attributes and nested blocks, as data. Resolution checks
//! against it, hover and the reference page are printed from it.

mod plan;
mod source;
mod store;

use Presence::{Default, Optional, Required};

use crate::model::{Event, NotifyKind, SourceKind, StoreKind};
use crate::resolve::Block;

/// A kind of declaration.
#[derive(Debug)]
pub struct Kind {
    /// The first word.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// What its second word is.
    pub naming: Naming,
    /// Whether it may stand more than once without a name.
    pub repeats: bool,
    /// The types that may stand behind the colon; where there are any, one must.
    pub types: &'static [Type],
    /// Attributes that every type of it has.
    pub attrs: &'static [Attr],
    /// Kinds of blocks that may be nested in it.
    pub blocks: &'static [&'static str],
}

/// What the second word of a declaration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// There is none.
    Unnamed,
    /// A new name.
    New,
    /// The name of a source declared elsewhere.
    OfSource,
}

/// A type of a kind, written behind the colon.
#[derive(Debug)]
pub struct Type {
    /// The word.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its own attributes.
    pub attrs: &'static [Attr],
    /// What of the model it becomes.
    pub(crate) make: Make,
}

/// How a declaration of a type becomes a part of the model, from its attributes; `None` where one of them is missing or wrong,
/// which was told. The word and what it means stand in one table, so that no word can mean what it does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Make {
    /// A store.
    Store(fn(&mut Block<'_>) -> Option<StoreKind>),
    /// A source.
    Source(fn(&mut Block<'_>) -> Option<SourceKind>),
    /// A notification, and the events that it tells where nothing is said.
    Notify(fn(&mut Block<'_>) -> Option<NotifyKind>, &'static [Event]),
}

/// An attribute.
#[derive(Debug)]
pub struct Attr {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub ty: Ty,
    /// Whether it must be written.
    pub presence: Presence,
    /// One sentence.
    pub doc: &'static str,
}

/// Whether an attribute must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
    /// Left out, it has this value (as one would write it, or in words).
    Default(&'static str),
}

/// Which parts of a run a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunParts {
    /// `time`, `host`, `level`, `read`.
    All,
    /// `host` only.
    HostOnly,
}

/// What an attribute takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    /// A string known when the plan is read.
    Str,
    /// A string that may hold parts of the run.
    Text(RunParts),
    /// A file name of one component that may hold parts of the run.
    FileName,
    /// A file name of one component.
    Component,
    /// A path of this machine.
    Path,
    /// An account of this machine.
    Account,
    /// The name of a stanza or instance in a tool's repository: one word of its settings and one folder.
    Stanza,
    /// A name of the time zone database.
    Zone,
    /// A secret.
    Secret,
    /// A whole number in these bounds.
    Int(i64, i64),
    /// `true` or `false`.
    Bool,
    /// A duration above zero.
    Duration,
    /// A size.
    Size,
    /// Bytes a second.
    Rate,
    /// Two durations.
    DurationRange,
    /// Moments that repeat.
    Schedule,
    /// One of these words.
    Keyword(&'static [&'static str]),
    /// A list of these words.
    Keywords(&'static [&'static str]),
    /// A declaration of this kind.
    Ref(&'static str),
    /// A list of declarations of this kind.
    Refs(&'static str),
    /// Such a list, or `all`.
    RefsOrAll(&'static str),
    /// A program and its arguments.
    Args,
    /// A list of `NAME=value`.
    Env,
    /// An e-mail address.
    Address,
    /// A list of e-mail addresses.
    Addresses,
    /// A server's name, and a port.
    Server,
    /// JSON in whose texts parts of a message have their places.
    Template,
    /// A list of age or SSH public keys.
    Recipients,
    /// A list of paths to read.
    Paths,
    /// A list of exclusion patterns.
    Patterns,
    /// A list of names that a server gives.
    Names,
}

impl Ty {
    /// What it is, in words: "a duration".
    pub fn describe(self) -> String {
        match self {
            Ty::Str => "a string".into(),
            Ty::Text(_) => "a string".into(),
            Ty::FileName | Ty::Component => "a file name (a string)".into(),
            Ty::Path => "a path (a string)".into(),
            Ty::Account => "the name of an account (a string)".into(),
            Ty::Stanza => "the name of a stanza (a string)".into(),
            Ty::Zone => "the name of a time zone (a string)".into(),
            Ty::Secret => "a secret".into(),
            Ty::Int(..) => "a whole number".into(),
            Ty::Bool => "`true` or `false`".into(),
            Ty::Duration => "a duration".into(),
            Ty::Size => "a size".into(),
            Ty::Rate => "a rate".into(),
            Ty::DurationRange => "a range of durations".into(),
            Ty::Schedule => "a schedule".into(),
            Ty::Keyword(words) => format!("one of {}", quoted(words)),
            Ty::Keywords(words) => format!("a list of {}", quoted(words)),
            Ty::Ref(kind) => format!("the name of a {kind}"),
            Ty::Refs(kind) => format!("a list of {kind}s"),
            Ty::RefsOrAll(kind) => format!("a list of {kind}s, or `all`"),
            Ty::Args => "a program and its arguments (a list of strings)".into(),
            Ty::Env => "a list of `NAME=value` strings".into(),
            Ty::Address => "an e-mail address (a string)".into(),
            Ty::Addresses => "a list of e-mail addresses".into(),
            Ty::Server => "the name of a server (a string)".into(),
            Ty::Template => "JSON (a string)".into(),
            Ty::Recipients => "a list of age or SSH public keys".into(),
            Ty::Paths => "a list of paths".into(),
            Ty::Patterns => "a list of patterns".into(),
            Ty::Names => "a list of names (strings)".into(),
        }
    }

    /// A value as one would write it.
    pub fn example(self) -> String {
        match self {
            Ty::Str | Ty::Text(_) => "\"text\"".into(),
            Ty::FileName => "\"${time(\"%Y%m%d%H%M\")}_site.tar.gz\"".into(),
            Ty::Component => "\"dump.sql\"".into(),
            Ty::Path => "\"/srv/data\"".into(),
            Ty::Account => "\"postgres\"".into(),
            Ty::Stanza => "\"main\"".into(),
            Ty::Zone => "\"Europe/Berlin\"".into(),
            Ty::Secret => "env(\"NAME\")".into(),
            Ty::Int(least, _) => least.max(3).to_string(),
            Ty::Bool => "true".into(),
            Ty::Duration => "24h".into(),
            Ty::Size => "64MiB".into(),
            Ty::Rate => "50MiB/s".into(),
            Ty::DurationRange => "10s..10m".into(),
            Ty::Schedule => "daily at 02:30".into(),
            Ty::Keyword(words) => words.first().copied().unwrap_or_default().into(),
            Ty::Keywords(words) => format!("[{}]", words.first().copied().unwrap_or_default()),
            Ty::Ref("store") => "local".into(),
            Ty::Ref(_) => "site".into(),
            Ty::Refs("store") => "[local]".into(),
            Ty::Refs(_) | Ty::RefsOrAll(_) => "[site]".into(),
            Ty::Args => "[\"systemctl\", \"stop\", \"app\"]".into(),
            Ty::Env => "[\"TOKEN=${env(\"TOKEN\")}\"]".into(),
            Ty::Address => "\"backup@example.org\"".into(),
            Ty::Addresses => "[\"ops@example.org\"]".into(),
            Ty::Server => "\"mail.example.org\"".into(),
            Ty::Template => "'{\"summary\": \"{title}\"}'".into(),
            Ty::Recipients => "[\"age1…\"]".into(),
            Ty::Paths => "[\"/srv/data\"]".into(),
            Ty::Patterns => "[\"*.tmp\", \"cache/\"]".into(),
            Ty::Names => "[\"shop\"]".into(),
        }
    }
}

/// Words in backticks with commas between them.
fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Every kind, in the order of the reference page.
pub static KINDS: &[Kind] = &[
    store::STORE,
    plan::STAGING,
    source::SOURCE,
    plan::ARCHIVE,
    plan::SEPARATE,
    plan::WAL,
    plan::CYCLE,
    plan::SCHEDULE,
    plan::KEEP,
    plan::RETRY,
    plan::LIMITS,
    plan::WINDOW,
    plan::NOTIFY,
    plan::OBJECTIVE,
    plan::VERIFY,
    plan::POLICY,
];

/// The types that a `param` may have.
pub const PARAM_TYPES: &[&str] = &["string", "int", "bool", "duration", "size", "rate", "time", "secret"];

/// Functions: name, how it is called, one sentence.
pub const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("env", "env(\"NAME\"[, \"default\"])", "A secret: an environment variable of the run."),
    ("file", "file(\"/run/secrets/x\")", "A secret: the content of a file, without its last end of line."),
    (
        "exec",
        "exec([\"pass\", \"show\", \"x\"][, [\"NAME=value\"]])",
        "A secret: what a program prints, without its last end of line; the second list is its environment.",
    ),
    ("time", "time(\"%Y%m%d\")", "The start of the run, in the zone of the schedule."),
    ("host", "host()", "The name of the machine that runs."),
    ("level", "level()", "The level of the run: `full`, `differential` or `incremental`."),
    ("read", "read(\"/etc/version\")", "The first line of a file, read by each run; not a secret."),
];

/// The kind with this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Kind {
    /// The type with this name.
    pub fn find_type(&self, name: &str) -> Option<&'static Type> {
        self.types.iter().find(|ty| ty.name == name)
    }

    /// The attributes of this kind with this type, its own first.
    pub fn attributes(&self, ty: Option<&'static Type>) -> impl Iterator<Item = &'static Attr> + use<> {
        ty.map(|ty| ty.attrs).unwrap_or_default().iter().chain(self.attrs)
    }
}

const fn req(name: &'static str, ty: Ty, doc: &'static str) -> Attr {
    Attr { name, ty, presence: Required, doc }
}

const fn opt(name: &'static str, ty: Ty, doc: &'static str) -> Attr {
    Attr { name, ty, presence: Optional, doc }
}

const fn def(name: &'static str, ty: Ty, default: &'static str, doc: &'static str) -> Attr {
    Attr { name, ty, presence: Default(default), doc }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{KINDS, kind};

    #[test]
    fn kinds_types_and_attributes_are_named_once() {
        let mut kinds = BTreeSet::new();
        for kind in KINDS {
            assert!(kinds.insert(kind.name), "{} twice", kind.name);
            let types: Vec<_> =
                if kind.types.is_empty() { vec![None] } else { kind.types.iter().map(Some).collect() };
            for ty in types {
                let mut names = BTreeSet::new();
                for attr in kind.attributes(ty) {
                    assert!(names.insert(attr.name), "{}.{} twice", kind.name, attr.name);
                    assert!(attr.doc.ends_with('.'), "{}.{}: {}", kind.name, attr.name, attr.doc);
                }
            }
        }
    }

    #[test]
    fn the_grammar_knows_the_words_of_types() {
        let types: BTreeSet<&str> = KINDS.iter().flat_map(|kind| kind.types).map(|ty| ty.name).collect();
        assert_eq!(types, backplan_grammar::TYPES.iter().copied().collect());
    }

    #[test]
    fn nested_blocks_are_kinds() {
        for block in KINDS.iter().flat_map(|kind| kind.blocks) {
            assert!(kind(block).is_some(), "{block}");
        }
    }
}
