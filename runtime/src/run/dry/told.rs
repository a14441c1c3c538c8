//! What a dry run tells, as values and in words.

use serde::Serialize;

use crate::run::report::{StepReport, Verdict};
use crate::run::steps::Sight;

/// What a run would do now.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The plan's name.
    pub plan: String,
    /// The id the run would have, but for its last part, which is chance.
    pub run: String,
    /// How the run would end.
    pub verdict: Verdict,
    /// Every step, each behind what it needs.
    pub steps: Vec<StepForecast>,
    /// Every artefact that would be made, and reach a store.
    pub archives: Vec<ArchiveForecast>,
    /// What a person should read.
    pub warnings: Vec<String>,
    /// What would make the run fail.
    pub errors: Vec<String>,
}

/// A step of the run, with what it would come to.
#[derive(Debug, Clone, Serialize)]
pub struct StepForecast {
    /// The step, its effects, and how it would end.
    #[serde(flatten)]
    pub step: StepReport,
    /// What it would see.
    #[serde(flatten)]
    pub sight: Sight,
}

/// An artefact that would be made.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveForecast {
    /// The archive's name.
    pub archive: String,
    /// Its file name in the stores.
    pub artefact: String,
    /// Nothing changed since: the earlier run whose artefact this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// The stores it would go to.
    pub stores: Vec<String>,
    /// Entries that would be in it at the most, of sources that can be counted beforehand; of a difference, what changed.
    pub entries: u64,
    /// Bytes that would be read for it at the most, of sources that can be measured beforehand.
    pub bytes: u64,
    /// Sources whose size nobody knows before they are read.
    pub unmeasured: Vec<String>,
}
