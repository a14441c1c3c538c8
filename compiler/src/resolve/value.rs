//! Values as expressions give them, before an attribute says which type it wants.

use std::rc::Rc;

use crate::model::When;
use crate::sources::Place;
use crate::value::{Secret, Text, TextPart};

/// A value, where it is used and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// What it is; shared, so that a name used a thousand times is not copied.
    pub kind: Rc<ValueKind>,
    /// The expression that gave it.
    pub place: Place,
    /// The literal it comes from; relative paths start from that file.
    pub written: Place,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueKind {
    Text(Text),
    Int(i64),
    Bool(bool),
    Duration(u64),
    Size(u64),
    Rate(u64),
    Time(u8, u8),
    Range(Value, Value),
    List(Vec<Value>),
    /// A bare word that no `let` or `param` binds: a reference or a keyword.
    Word(String),
    Secret(Secret),
    /// A secret inside a string: good for one place only, an `env` list.
    SecretText(Text, Secret),
    Schedule(When),
    /// An entry of an attribute's list that failed, and that was told: the other entries are looked at all the same.
    Failed,
}

/// Places do not make values differ.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.kind == other.kind
    }
}

impl Value {
    pub fn new(kind: ValueKind, place: Place) -> Value {
        Value { kind: Rc::new(kind), place, written: place }
    }

    /// What it is, in words: "a duration".
    pub fn describe(&self) -> String {
        match &*self.kind {
            ValueKind::Text(text) if text.as_literal().is_none() => "a string that only a run knows".into(),
            ValueKind::Text(_) => "a string".into(),
            ValueKind::Int(_) => "a whole number".into(),
            ValueKind::Bool(_) => "`true` or `false`".into(),
            ValueKind::Duration(_) => "a duration".into(),
            ValueKind::Size(_) => "a size".into(),
            ValueKind::Rate(_) => "a rate".into(),
            ValueKind::Time(..) => "a time of day".into(),
            ValueKind::Range(..) => "a range".into(),
            ValueKind::List(_) => "a list".into(),
            ValueKind::Word(word) => format!("the word `{word}`"),
            ValueKind::Secret(_) => "a secret".into(),
            ValueKind::SecretText(..) => "a string that holds a secret".into(),
            ValueKind::Schedule(_) => "a schedule".into(),
            ValueKind::Failed => "nothing".into(),
        }
    }

    /// The value as part of a string; `None` where it cannot be one.
    pub fn to_text(&self) -> Option<Vec<TextPart>> {
        let text = match &*self.kind {
            ValueKind::Text(text) => return Some(text.0.clone()),
            ValueKind::Int(number) => number.to_string(),
            ValueKind::Bool(truth) => truth.to_string(),
            ValueKind::Duration(seconds) => duration(*seconds),
            ValueKind::Size(bytes) => size(*bytes),
            ValueKind::Rate(bytes) => format!("{}/s", size(*bytes)),
            ValueKind::Time(hour, minute) => format!("{hour:02}:{minute:02}"),
            _ => return None,
        };
        Some(vec![TextPart::Literal(text)])
    }
}

/// Seconds in the largest unit that divides them: `90s`, `15m`, `2w`.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [(604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m")];
    match units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Bytes in the largest binary unit that divides them: `64KiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}
