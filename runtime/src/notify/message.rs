//! What is told of a run.

use std::fmt::Write;

use backplan_compiler::model::{Event, Worded};
use backplan_compiler::template::Part;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::moment;

/// Bytes of a text that a person reads; what is longer is cut, for there are services that take no more.
const LONGEST: usize = 3500;
/// Warnings that a text names.
const WARNINGS: usize = 10;

/// What is told of a run: as JSON for machines, as a text for people. Nothing in it is a secret any more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// What happened.
    pub event: Occurrence,
    /// In one line.
    pub title: String,
    /// The plan's name.
    pub plan: String,
    /// The run's id; none where it could not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The machine's name.
    pub host: String,
    /// When the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When this was written.
    pub at: Timestamp,
    /// The stores in which the run's backup exists.
    pub stores: Vec<String>,
    /// What went wrong, each with what to do about it.
    pub problems: Vec<Trouble>,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// Where something went wrong: what can be restored all the same.
    pub newest: Vec<Newest>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The step; none where the run could not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Cause and mend.
    pub cause: String,
}

impl Trouble {
    fn told(&self) -> String {
        match &self.step {
            Some(step) => format!("{step}: {}", self.cause),
            None => self.cause.clone(),
        }
    }
}

/// The newest backup of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    /// The source's name.
    pub source: String,
    /// The run, and when it began; `None`: there is none in the stores that the run had.
    pub backup: Option<(String, Timestamp)>,
}

impl Newest {
    /// `SOURCE=RUN`; nothing where there is none.
    fn told(&self) -> Option<String> {
        self.backup.as_ref().map(|(run, _)| format!("{}={run}", self.source))
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// Something happened to a run.
    Of(Event),
    /// Nothing: somebody looks whether messages arrive.
    Test,
}

impl Occurrence {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Occurrence::Of(event) => event.word(),
            Occurrence::Test => "test",
        }
    }
}

impl Serialize for Occurrence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Message {
    /// A message of nothing but that `plan` is there.
    pub fn new(event: Occurrence, plan: &str, host: String, at: Timestamp) -> Message {
        let came_to = match event {
            Occurrence::Of(Event::Start) => "the run begins",
            Occurrence::Of(Event::Success) => "the backup is done",
            Occurrence::Of(Event::Warning) => "the backup is done, with warnings",
            Occurrence::Of(Event::Failure) => "the run FAILED",
            Occurrence::Test => "a test, nothing happened",
        };
        Message {
            event,
            title: format!("{plan} on {host}: {came_to}"),
            plan: plan.to_owned(),
            run: None,
            host,
            started: None,
            at,
            stores: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            newest: Vec::new(),
        }
    }

    /// What a person reads below the title.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for trouble in &self.problems {
            line(&mut text, format_args!("{}", trouble.told()));
        }
        for warning in self.warnings.iter().take(WARNINGS) {
            line(&mut text, format_args!("warning: {warning}"));
        }
        if let Some(more) = self.warnings.len().checked_sub(WARNINGS).filter(|more| *more > 0) {
            line(&mut text, format_args!("and {more} more: `plan status` has them"));
        }
        if !self.stores.is_empty() {
            line(&mut text, format_args!("the backup is in {}", self.stores.join(", ")));
        }
        for newest in &self.newest {
            match &newest.backup {
                Some((run, at)) => line(
                    &mut text,
                    format_args!("newest backup of {}: run {run}, of {}", newest.source, moment::shown(*at)),
                ),
                None => line(
                    &mut text,
                    format_args!("no backup of {} in the stores that could be read", newest.source),
                ),
            }
        }
        let began = self.started.map(|at| format!(", begun {}", moment::shown(at))).unwrap_or_default();
        match &self.run {
            Some(run) => line(&mut text, format_args!("run {run}{began}")),
            None => line(&mut text, format_args!("at {}", moment::shown(self.at))),
        }
        cut(text.trim_end(), LONGEST)
    }

    /// A part as a template has it: what [`Message::json`] calls so, or the webhook's own token.
    pub fn part(&self, name: &str, token: Option<&str>) -> Part {
        let value = match name {
            "text" => self.text().into(),
            "token" => token.into(),
            name => serde_json::to_value(self).unwrap_or_default()[name].take(),
        };
        let lines = |lines: Vec<String>| lines.join("\n");
        let text = match (name, &value) {
            ("problems", _) => lines(self.problems.iter().map(Trouble::told).collect()),
            ("warnings", _) => self.warnings.join("\n"),
            ("stores", _) => self.stores.join(", "),
            ("newest", _) => lines(self.newest.iter().filter_map(Newest::told).collect()),
            (_, Value::String(text)) => text.clone(),
            (_, Value::Null) => String::new(),
            (_, other) => other.to_string(),
        };
        Part { value, text }
    }

    /// The variables that a program is given.
    pub fn variables(&self) -> Vec<(String, String)> {
        let lines = |lines: Vec<String>| cut(&lines.join("\n"), LONGEST);
        let variables = [
            ("BACKPLAN_EVENT", self.event.word().to_owned()),
            ("BACKPLAN_PLAN", self.plan.clone()),
            ("BACKPLAN_RUN", self.run.clone().unwrap_or_default()),
            ("BACKPLAN_HOST", self.host.clone()),
            ("BACKPLAN_TITLE", self.title.clone()),
            ("BACKPLAN_WARNINGS", self.warnings.len().to_string()),
            ("BACKPLAN_ERROR", lines(self.problems.iter().map(Trouble::told).collect())),
            ("BACKPLAN_STORES", self.stores.join(" ")),
            ("BACKPLAN_NEWEST", lines(self.newest.iter().filter_map(Newest::told).collect())),
        ];
        // A variable ends at its first zero byte; names of files may reach a message, they hold none.
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.replace('\0', "?"))).collect()
    }

    /// Everything, for machines.
    pub fn json(&self) -> Vec<u8> {
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            all.insert("text".to_owned(), self.text().into());
        }
        all.to_string().into_bytes()
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{what}");
}

/// `text`, and not more bytes of it than `most`.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= most).last() {
        Some((at, letter)) if at + letter.len_utf8() < text.len() => {
            format!("{}…", &text[..at + letter.len_utf8()])
        }
        _ => text.to_owned(),
    }
}
