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

/// A change of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty: where text is put in.
    pub place: Place,
    /// What must stand there for the edit to make sense, quotes of a string left out: a finding may point at a name
    /// whose value, written elsewhere, is what is wrong.
    pub old: String,
    /// What stands there afterwards.
    pub new: String,
}

/// A mend that a program can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// What it does, in a few words: lower case, names in backticks.
    pub title: String,
    /// The changes, which do not overlap.
    pub edits: Vec<Edit>,
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
    /// The mend, in words.
    pub help: Option<String>,
    /// Mends that a program can make, the likeliest first.
    pub mends: Vec<Mend>,
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
            mends: Vec::new(),
        }
    }

    /// As a note, where this one of its kind does no harm.
    #[must_use]
    pub(crate) fn only_a_note(mut self) -> Finding {
        self.severity = Severity::Note;
        self
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

    /// With a mend that replaces `old`, at the place of the finding, by `new`, where there is one.
    #[must_use]
    pub(crate) fn instead(self, old: &str, new: Option<&str>) -> Finding {
        let Some(new) = new else { return self };
        let place = self.primary.place;
        let title = match new {
            "" => format!("take out `{old}`"),
            new => format!("write `{new}`"),
        };
        self.mend(title, Edit { place, old: old.into(), new: new.into() })
    }

    /// With a mend of one change.
    #[must_use]
    pub(crate) fn mend(mut self, title: String, edit: Edit) -> Finding {
        self.mends.push(Mend { title, edits: vec![edit] });
        self
    }
}
