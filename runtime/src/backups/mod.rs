//! Getting data back: which backups there are, what is in them, and putting files back. Everything here reads stores and
//! nothing else of a plan: a store is enough.
//!
//! | module | holds |
//! |---|---|
//! | [`shelf`] | a store open for reading, and several of them as one |
//! | `ahead` | reading ahead in what is far away |
//! | `copies` | an artefact that several stores have, read as one |
//! | [`chain`] | what a run's archive rests on, opened as one tree |
//! | [`deciding`] | which stores of an archive say what its next run may rest on |
//! | [`paths`] | what somebody means by a path |
//! | [`outlook`] | what a change of the plan does to the backups that exist |
//! | [`restore`] | a restore as a value: made, shown, carried out |
//! | `silence` | what keeps the copy of a server from archiving |
//! | `strays` | artefacts that no manifest names |
//! | [`check`] | verifying artefacts where they lie |
//! | [`compare`] | which files changed between two runs |
//! | [`why`] | whether a path is backed up, and by which rule |

mod ahead;
pub mod chain;
pub mod check;
pub mod compare;
mod copies;
pub mod deciding;
mod opened;
pub mod outlook;
pub mod paths;
pub mod rehearsed;
pub mod resting;
pub mod restore;
mod sealed;
pub mod shelf;
pub(crate) mod silence;
mod strays;
pub mod unfinished;
pub mod why;

use std::path::PathBuf;

use backplan_compiler::count::plural;

use crate::artefact::ReadError;
use crate::catalog::details::DetailsError;
use crate::catalog::identity::IdentityError;
use crate::catalog::runs::ChooseError;
use crate::extract::ExtractError;
use crate::store::address::BadAddress;
use crate::store::{BadName, StoreError};

/// Why data could not be had back.
#[derive(Debug, thiserror::Error)]
pub enum BackupsError {
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer program writes to a store.
    #[error(transparent)]
    Newer(#[from] IdentityError),
    /// No store that can be read has the run.
    #[error("in the stores that can be read {why}; {}", .reasons.join("; "))]
    NotInOthers {
        /// Why none of them has it.
        why: ChooseError,
        /// Why others could not be read.
        reasons: Vec<String>,
    },
    /// No store of the plan could be read.
    #[error("none of the plan's stores can be read:\n  {}", reasons.join("\n  "))]
    NoStore {
        /// Why not, each.
        reasons: Vec<String>,
    },
    /// The store holds nothing of Backplan.
    #[error("`{0}` holds no backups: there is no `.backplan` folder with a plan in it")]
    NoPlan(String),
    /// Artefacts are there, and nothing that says of which plan and run.
    #[error("`{store}` has no `.backplan` folder, which says what its backups are; artefacts of {} are there: {}", plural(*runs, "run"), names.join(", "))]
    Headless {
        /// The store.
        store: String,
        /// Of how many runs.
        runs: usize,
        /// The names of some, quoted.
        names: Vec<String>,
    },
    /// The store holds several plans.
    #[error("`{store}` holds backups of several plans: {}; say which with `--plan-name`", plans.join(", "))]
    SeveralPlans {
        /// The store.
        store: String,
        /// Their names.
        plans: Vec<String>,
    },
    /// The store does not hold this plan.
    #[error("`{store}` holds no backups of plan `{plan}`, only of {}", plans.join(", "))]
    OtherPlans {
        /// The store.
        store: String,
        /// The plan that was asked for.
        plan: String,
        /// Their names.
        plans: Vec<String>,
    },
    /// What was given is no store's address.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The run.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// A source that the run does not hold.
    #[error("run {run} does not hold source `{source_name}`; it holds {}", held.join(", "))]
    NoSource {
        /// The run.
        run: String,
        /// The source.
        source_name: String,
        /// The sources it holds.
        held: Vec<String>,
    },
    /// An artefact cannot be read.
    #[error("artefact `{artefact}` in store `{store}`: {cause}")]
    Artefact {
        /// The store.
        store: String,
        /// The artefact.
        artefact: String,
        /// What is wrong.
        #[source]
        cause: ReadError,
    },
    /// An earlier run that this one rests on is not as it should be.
    #[error(transparent)]
    Base(#[from] Box<BaseTrouble>),
    /// An artefact is of a kind that cannot be read.
    #[error("artefact `{artefact}`: {why}")]
    Unreadable {
        /// The artefact.
        artefact: String,
        /// Why.
        why: String,
    },
    /// An artefact is encrypted, and none of the keys opens it.
    #[error("artefact `{artefact}` is encrypted, and {}", locked(recipients, tried))]
    Locked {
        /// The artefact.
        artefact: String,
        /// Whom it is encrypted for.
        recipients: Vec<String>,
        /// The public halves of the keys that were tried.
        tried: Vec<String>,
    },
    /// Nothing of this name, and nothing that it matches as a pattern.
    #[error(
        "run {run} has no `{path}`: {}",
        near.clone().unwrap_or_else(|| format!("`plan ls {run}` shows what it has, each path with its source's name in front"))
    )]
    NoEntry {
        /// The run.
        run: String,
        /// The path.
        path: String,
        /// What may be meant.
        near: Option<String>,
    },
    /// It is no file.
    #[error("`{path}` is {what}, not a file")]
    NotFile {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A manifest's second part.
    #[error("the manifest of run {run}: {cause}")]
    Details {
        /// The run.
        run: String,
        /// What is wrong.
        #[source]
        cause: DetailsError,
    },
    /// The target is in use.
    #[error("`{}` is not empty; restore into a new folder, or say `--overwrite`", .0.display())]
    NotEmpty(PathBuf),
    /// The target is what a restore left that did not end.
    #[error(
        "`{}` holds what a restore of run {run} left that did not end; `--resume` goes on with it, or restore into a new folder",
        folder.display()
    )]
    Unfinished {
        /// The folder.
        folder: PathBuf,
        /// The run.
        run: String,
    },
    /// Another restore puts files there now.
    #[error("another restore is at work in `{}`, and goes on; nothing was changed there", .0.display())]
    AtWork(PathBuf),
    /// The target cannot be used.
    #[error("cannot restore into `{}`: {cause}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: std::io::Error,
    },
    /// A live database is where one is to be restored.
    #[error(
        "`{}` is a part of the database `{}`, and would ruin the restored one: stop what uses the database and move both \
         away, or restore it elsewhere with `--to`, or other sources alone with `--source`",
        side.display(), database.display()
    )]
    SideFile {
        /// The database that would be replaced.
        database: PathBuf,
        /// Its write-ahead log or journal.
        side: PathBuf,
    },
    /// Nothing of the run can be put back in place.
    #[error("nothing of run {run} is put back in place{}", left.iter().map(|left| format!("; {left}")).collect::<String>())]
    NoPlace {
        /// The run.
        run: String,
        /// What is left, and why.
        left: Vec<String>,
    },
    /// Putting files back could not go on.
    #[error("into `{to}`: {cause}")]
    CutShort {
        /// Its targets.
        to: String,
        /// Why.
        #[source]
        cause: Box<ExtractError>,
    },
    /// What is to be put back cannot be told.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A name in a manifest that no store can hold.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl BackupsError {
    /// What is wrong with an artefact, for a sentence that names it already.
    pub(crate) fn of_artefact(&self) -> String {
        match self {
            BackupsError::Artefact { cause, .. } => cause.to_string(),
            BackupsError::Unreadable { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }
}

/// Why something that is encrypted does not open.
fn locked(recipients: &[String], tried: &[String]) -> String {
    let quoted = |keys: &[String]| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match tried {
        [] => format!("no private key was given; it opens with that of {}", quoted(recipients)),
        tried => {
            format!(
                "none of the keys given opens it ({}): it opens with that of {}",
                quoted(tried),
                quoted(recipients)
            )
        }
    }
}

/// An earlier run that is not as it should be, and what that means for the one that rests on it.
#[derive(Debug, thiserror::Error)]
#[error(
    "run {run} rests on run {base}, and in store `{store}` {}: {what}; {}",
    artefact.as_ref().map_or("that run cannot be read".to_owned(), |artefact| format!("its artefact `{artefact}` cannot be read")),
    left(lost, kept, other.as_deref())
)]
pub struct BaseTrouble {
    /// The store.
    pub store: String,
    /// The run that was asked for.
    pub run: String,
    /// The earlier run.
    pub base: String,
    /// The earlier run's artefact, as far as it is known.
    pub artefact: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// The sources of the run that cannot be restored without it, quoted.
    pub lost: Vec<String>,
    /// The sources of the run that can, quoted.
    pub kept: Vec<String>,
    /// The newest other run that does not rest on it.
    pub other: Option<String>,
}

/// What a broken base leaves.
fn left(lost: &[String], kept: &[String], other: Option<&str>) -> String {
    let mut text = format!("without it {} of this run cannot be restored", lost.join(", "));
    if !kept.is_empty() {
        text += &format!("; {} can be (`--source`)", kept.join(", "));
    }
    match other {
        Some(other) => text += &format!("; run {other} does not rest on it"),
        None => text += "; every other run in this store rests on it too",
    }
    text
}
