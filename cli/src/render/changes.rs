//! What changed between two backups, for people and for programs.

use backplan_runtime::artefact::Entry;
use backplan_runtime::backups::compare::{Change, How};
use serde::Serialize;

use super::backups::{EntryRow, printable};
use super::paint::Paint;
use crate::console::Style;

/// How many changes there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Only in the later one.
    pub added: u64,
    /// Only in the earlier one.
    pub removed: u64,
    /// In both, and different.
    pub changed: u64,
}

impl Tally {
    /// One more.
    pub fn count(&mut self, change: &Change) {
        match change {
            Change::Added(_) => self.added += 1,
            Change::Removed(_) => self.removed += 1,
            Change::Changed { .. } => self.changed += 1,
        }
    }

    /// Whether there were none.
    pub fn is_empty(self) -> bool {
        self == Tally::default()
    }
}

/// A change, for programs.
#[derive(Debug, Serialize)]
pub struct ChangeRow {
    change: &'static str,
    /// In what it differs, where both have it.
    #[serde(skip_serializing_if = "<[How]>::is_empty")]
    how: Vec<How>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<EntryRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<EntryRow>,
}

impl ChangeRow {
    /// The row of a change.
    pub fn new(change: &Change) -> ChangeRow {
        let row = |entry: &Entry| Some(EntryRow::new(entry));
        let (change, before, after, how) = match change {
            Change::Added(after) => ("added", None, row(after), Vec::new()),
            Change::Removed(before) => ("removed", row(before), None, Vec::new()),
            Change::Changed { before, after, how } => ("changed", row(before), row(after), how.clone()),
        };
        ChangeRow { change, how, before, after }
    }
}

/// A change as a line.
pub fn change_line(change: &Change, style: Style) -> String {
    let paint = Paint::new(style);
    match change {
        Change::Added(entry) => format!("{} {}\n", paint.green("+"), printable(&entry.path)),
        Change::Removed(entry) => format!("{} {}\n", paint.red("-"), printable(&entry.path)),
        Change::Changed { after, how, .. } => {
            let how: Vec<&str> = how.iter().map(|how| how.word()).collect();
            format!("{} {} ({})\n", paint.yellow("~"), printable(&after.path), how.join(", "))
        }
    }
}

/// The last line.
pub fn summary(tally: Tally, before: &str, after: &str) -> String {
    if tally.is_empty() {
        return format!("nothing changed from run {before} to run {after}\n");
    }
    let Tally { added, removed, changed } = tally;
    format!("{added} added, {removed} removed, {changed} changed from run {before} to run {after}\n")
}
