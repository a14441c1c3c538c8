//! What a check says.

use serde::Serialize;

use crate::codes::Code;
use crate::sources::Place;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; changes no exit status.
    Note,
    /// A person should read it: status 3.
    Warning,
    /// The plan is wrong: nothing runs.
    Error,
}

/// A range of text and what it has to do with the finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// A few words shown beside it; may be empty.
    pub text: String,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name, `[a-z_]+`, known to `plan explain`.
    pub name: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong: lower case, names in backticks, no final stop.
    pub message: String,
    /// The text that causes it.
    pub primary: Label,
    /// The text it conflicts with.
    pub others: Vec<Label>,
    /// The mend.
    pub help: Option<String>,
}

impl Finding {
    /// A finding of this kind at `place`.
    pub fn new(code: &Code, place: Place, message: impl Into<String>) -> Finding {
        Finding {
            name: code.name,
            severity: code.severity,
            message: message.into(),
            primary: Label { place, text: String::new() },
            others: Vec::new(),
            help: None,
        }
    }

    /// With these words beside the cause.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Finding {
        self.primary.text = text.into();
        self
    }

    /// With a place that it conflicts with.
    #[must_use]
    pub fn with(mut self, place: Place, text: impl Into<String>) -> Finding {
        self.others.push(Label { place, text: text.into() });
        self
    }

    /// With a mend.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Finding {
        self.help = Some(help.into());
        self
    }
}
