//! Repositories that are kept apart from every archive: what of one is this plan's, what of it is nobody's, and what it lacks.
//!
//! A backup in one bears a mark, the plan and the run that made it. What bears none, or that of another plan, is somebody else's
//! and stays.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backplan_compiler::count::plural;

use super::repository::Repository;
use crate::catalog::ids::RunId;
use crate::catalog::made::Made;

/// What the mark of a backup begins with, where its tool has nothing but a text for it; the name of it, where it has one.
pub const MARK: &str = "backplan";
/// Backups that are named where some are lost.
const SHOWN: usize = 3;

/// A repository that is kept apart from every archive.
pub struct Apart {
    /// The folder of the generated settings.
    pub home: PathBuf,
    /// The store that it is in.
    pub store: String,
    /// Where it is.
    pub repository: Repository,
    /// All repositories of the source, in the order of their numbers (that of their stores' names), this one among them; or why one of them cannot be
    /// described.
    pub all: Result<Vec<Repository>, String>,
    /// The number of this one among them, from 1.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// The plan and this run, as the backup is to say.
    pub mark: String,
    /// Labels that some manifest names.
    pub known: BTreeSet<String>,
    /// What this machine knows of its runs: which of them left a backup that no manifest names, as against those whose manifest is
    /// lost. Empty where nothing of it may go.
    pub made: Made,
    /// Only what a prune gave up may go: it knows the age.
    pub is_immutable: bool,
}

/// The plan and the run that a mark names.
pub fn made_by(mark: &str) -> Option<(&str, RunId)> {
    let (plan, run) = mark.split_once('/')?;
    Some((plan, run.parse().ok()?))
}

impl Apart {
    /// Whether a backup is nobody's: a run of this plan made it, no manifest names it, and this machine knows that the run gave
    /// it up, or never came to its end.
    pub fn is_forgotten(&self, label: &str, made_by: Option<(&str, RunId)>) -> bool {
        let (Some((by, run)), Some((plan, _))) = (made_by, self.mark.split_once('/')) else { return false };
        by == plan && !self.known.contains(label) && self.is_nobodys(&run)
    }

    /// Whether the backup of a run that no manifest names is nobody's.
    fn is_nobodys(&self, run: &RunId) -> bool {
        self.made.is_given_up(run, &self.store)
            || !self.is_immutable && self.made.is_uncommitted(run, &self.store)
    }

    /// Backups that manifests name and that are in the repository no more. What is in a folder is there as long as the
    /// manifests beside it are.
    pub fn lost(&self, is_there: impl Fn(&str) -> bool) -> Option<String> {
        if self.repository.is_remote() {
            return None;
        }
        let gone: Vec<&str> =
            self.known.iter().map(String::as_str).filter(|label| !is_there(label)).collect();
        (!gone.is_empty()).then(|| {
            format!(
                "the repository `{}` has no longer {} that earlier runs made: they restore nothing of it ({})",
                self.repository.location(),
                plural(gone.len(), "backup"),
                gone.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ")
            )
        })
    }
}
