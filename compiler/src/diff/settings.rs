//! What attributes come to, in words.

use std::collections::BTreeMap;

use crate::value::{Env, EnvValue, Hidden, Secret, Text};

/// What a redacted text has where a secret was written into it: nobody knows what it was.
const REDACTED: &str = "(secret)";

/// What an attribute is set to.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The values: one, or those of a list.
    pub values: Vec<Value>,
    /// Whether it is a list.
    pub is_list: bool,
    /// Whether the list means the same in another order.
    unordered: bool,
}

/// A value in words. A secret is its reference, never itself.
#[derive(Debug, Clone)]
pub struct Value {
    /// In words.
    pub shown: String,
    secret: Option<Secret>,
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.shown == other.shown
            && match (&self.secret, &other.secret) {
                (Some(one), Some(two)) => is_same(one, two),
                (one, two) => one == two,
            }
    }
}

/// Whether two secrets are the same, as far as that can be told: what a plan of before says may have been redacted.
fn is_same(one: &Secret, two: &Secret) -> bool {
    let hides =
        |one: &Hidden, two: &Hidden| one == two || one.expose() == REDACTED || two.expose() == REDACTED;
    match (one, two) {
        (Secret::Inline(one), Secret::Inline(two)) => hides(one, two),
        (Secret::Env { name, default: Some(one) }, Secret::Env { name: other, default: Some(two) }) => {
            name == other && hides(one, two)
        }
        (Secret::Exec { words, env }, Secret::Exec { words: other, env: given }) => {
            let is_given = |((name, one), (other, two)): (&(_, _), &(_, _))| {
                name == other
                    && match (one, two) {
                        (EnvValue::Secret(one), EnvValue::Secret(two)) => is_same(one, two),
                        (one, two) => one == two,
                    }
            };
            words == other && env.len() == given.len() && env.iter().zip(given).all(is_given)
        }
        (one, two) => one == two,
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        if !self.unordered {
            return self.values == other.values;
        }
        let covers = |one: &Setting, two: &Setting| one.values.iter().all(|value| two.values.contains(value));
        covers(self, other) && covers(other, self)
    }
}

/// The attributes of one declaration.
pub type Attributes = BTreeMap<&'static str, Setting>;

/// The attributes of a declaration while they are collected. What is left at its default is left out.
#[derive(Debug, Default)]
pub struct Filling(pub(super) Attributes);

impl Filling {
    pub(crate) fn one(&mut self, name: &'static str, value: impl ToString) {
        let values = vec![Value { shown: value.to_string(), secret: None }];
        self.0.insert(name, Setting { values, ..Setting::default() });
    }

    pub(crate) fn maybe(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.one(name, value);
        }
    }

    pub(crate) fn path(&mut self, name: &'static str, path: Option<&std::path::PathBuf>) {
        self.maybe(name, path.map(|path| path.display()));
    }

    pub(crate) fn flag(&mut self, name: &'static str, value: bool) {
        if value {
            self.one(name, "true");
        }
    }

    pub(crate) fn list(&mut self, name: &'static str, values: Vec<String>, unordered: bool) {
        if !values.is_empty() {
            let values = values.into_iter().map(|shown| Value { shown, secret: None }).collect();
            self.0.insert(name, Setting { values, is_list: true, unordered });
        }
    }

    pub(crate) fn secret(&mut self, name: &'static str, secret: Option<&Secret>) {
        if let Some(secret) = secret {
            let values = vec![Value { shown: secret.to_string(), secret: Some(secret.clone()) }];
            self.0.insert(name, Setting { values, ..Setting::default() });
        }
    }

    pub(crate) fn words(&mut self, name: &'static str, words: Option<&Vec<Text>>) {
        let words = words.map(|words| words.iter().map(ToString::to_string).collect());
        self.list(name, words.unwrap_or_default(), false);
    }

    pub(crate) fn env(&mut self, env: &Env) {
        let shown = |(name, value): &(String, EnvValue)| match value {
            EnvValue::Text(text) => Value { shown: format!("{name}={text}"), secret: None },
            EnvValue::Secret(secret) => {
                Value { shown: format!("{name}={secret}"), secret: Some(secret.clone()) }
            }
        };
        if !env.is_empty() {
            let values = env.iter().map(shown).collect();
            self.0.insert("env", Setting { values, is_list: true, unordered: true });
        }
    }
}

/// Seconds in the largest unit that they are a multiple of.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// Bytes in the largest unit that they are a multiple of.
pub fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

pub(super) fn rate(bytes: u64) -> String {
    format!("{}/s", size(bytes))
}

/// Program and arguments.
pub(crate) fn words(run: &[Text]) -> String {
    run.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Names in backticks.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => "no store".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}
