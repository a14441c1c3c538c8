//! Values that a run fills in, and values that must not be seen.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// Text with parts that belong to the run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub Vec<TextPart>);

/// A part of a [`Text`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextPart {
    /// Fixed text.
    Literal(String),
    /// `time("%Y%m%d")`: a strftime format, filled with the run's start in the schedule's zone.
    Time(String),
    /// `host()`: this machine's name.
    Host,
    /// `level()`: `full`, `differential` or `incremental`.
    Level,
    /// `read("path")`: the first line of a file, read by each run.
    Read(PathBuf),
}

impl Text {
    /// Text without a part that belongs to the run.
    pub fn literal(text: impl Into<String>) -> Self {
        Text(vec![TextPart::Literal(text.into())])
    }

    /// The text, if no part of it belongs to the run.
    pub fn as_literal(&self) -> Option<String> {
        self.0
            .iter()
            .map(|part| match part {
                TextPart::Literal(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// As written in a plan: parts of the run as `${time("…")}`.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                TextPart::Literal(text) => f.write_str(text)?,
                TextPart::Time(format) => write!(f, "${{time(\"{format}\")}}")?,
                TextPart::Host => f.write_str("${host()}")?,
                TextPart::Level => f.write_str("${level()}")?,
                TextPart::Read(path) => write!(f, "${{read(\"{}\")}}", path.display())?,
            }
        }
        Ok(())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a secret comes from. Its value is fetched when a step needs it and lives no longer than that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Secret {
    /// `env("X"[, "default"])`
    Env {
        /// The variable.
        name: String,
        /// Used where the variable is not set.
        default: Option<Hidden>,
    },
    /// `file("/run/secrets/x")`: the content, without one final end of line.
    File(PathBuf),
    /// `exec(["pass", "show", "x"][, ["NAME=value"]])`: what the program prints, without one final end of line.
    Exec {
        /// Program and arguments.
        words: Vec<String>,
        /// What it is given.
        env: Vec<(String, EnvValue<String>)>,
    },
    /// A literal written into the plan; `check` tells of it.
    Inline(Hidden),
}

impl Secret {
    /// Whether `text` is a part of it, where it was written down.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Secret::Inline(hidden) => hidden.expose().contains(text),
            Secret::Exec { env, .. } => {
                env.iter().any(|(_, set)| matches!(set, EnvValue::Secret(secret) if secret.holds(text)))
            }
            Secret::Env { .. } | Secret::File(_) => false,
        }
    }
}

/// The reference, never the value.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env { name, .. } => write!(f, "env(\"{name}\")"),
            Secret::File(path) => write!(f, "file(\"{}\")", path.display()),
            Secret::Exec { words, env } if env.is_empty() => write!(f, "exec({words:?})"),
            Secret::Exec { words, env } => {
                let entry = |(name, value): &(String, EnvValue<String>)| match value {
                    EnvValue::Text(text) => format!("{:?}", format!("{name}={text}")),
                    EnvValue::Secret(secret) => format!("\"{name}=${{{secret}}}\""),
                };
                write!(f, "exec({words:?}, [{}])", env.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            Secret::Inline(_) => f.write_str("(inline secret)"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The value of an environment variable for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue<T = Text> {
    /// Plain text.
    Text(T),
    /// A secret.
    Secret(Secret),
}

/// Variables that a program is given, as they were written.
pub type Env = Vec<(String, EnvValue)>;

/// A string that cannot be printed: no `Display`, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Hidden(value.into())
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
