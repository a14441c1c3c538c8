//! The second document of a manifest: what may be private.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::RunId;
use super::manifest::{MAX_BYTES, Second};
use super::mounted::Mounted;
use super::names::{Digest, HostPath, InnerPath, PlanName};
use crate::cipher::{Keyring, message};
use crate::text::hex;

pub use backplan_host::names::RawPath;

/// Warnings that are kept word by word; the others are counted.
pub const MAX_WARNINGS: usize = 50;
/// Bytes of one warning at the most.
const MAX_WARNING_BYTES: usize = 1000;

/// What may be private. Secrets are redacted before they get here, always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// The plan and all that it imports, as text, the plan first.
    #[serde(default)]
    pub files: Vec<PlanFile>,
    /// Parameters the run was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Where trees inside the artefacts came from.
    #[serde(default)]
    pub roots: Vec<Root>,
    /// The file systems that trees were read from, and those that were missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mounted>,
    /// What a person should read.
    #[serde(default)]
    pub warnings: Warnings,
    /// Where they are encrypted: why a source is not there, by its name; the clear part does not say it then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// Where they are encrypted: the run whose they are, so that nobody passes one run's for another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A file of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFile {
    /// Where it was, absolute.
    pub path: RawPath,
    /// Its text, redacted.
    pub text: String,
}

/// Where a tree inside an artefact came from: what an in-place restore needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The source's name.
    pub source: PlanName,
    /// The prefix inside the source's folder; empty: the folder itself.
    pub inside: InnerPath,
    /// The absolute path it had.
    pub original: HostPath,
}

/// Warnings, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Warnings {
    /// How many there were.
    pub total: u64,
    /// The first of them, [`MAX_WARNINGS`] at the most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
}

impl Warnings {
    /// Counts a warning, and keeps it while there is room.
    pub fn add(&mut self, warning: impl Into<String>) {
        self.total += 1;
        if self.first.len() < MAX_WARNINGS {
            let mut warning = warning.into();
            warning.truncate(warning.floor_char_boundary(MAX_WARNING_BYTES));
            self.first.push(warning);
        }
    }
}

/// Why there are no details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// They are encrypted, and no key opens them.
    #[error(
        "its details (the plan, paths, warnings) are encrypted, and no private key that opens them was given, as by \
         `--identity FILE` or in `BACKPLAN_IDENTITY`"
    )]
    Sealed,
    /// They are large, and were not kept with the rest.
    #[error("the manifest's details are large, and were not read")]
    Left,
    /// They are not what they should be.
    #[error("the manifest's details are damaged: {0}")]
    Damaged(String),
}

/// The form of the second document.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    /// An armoured age file whose contents are the YAML of [`Details`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// What the first document says of details that are encrypted.
#[derive(Debug)]
pub(super) struct Seal<'a> {
    /// Whose they are.
    pub(super) run: RunId,
    /// For how many keys they are encrypted, at the least.
    pub(super) readers: usize,
    /// The digest of what is encrypted; manifests of older programs have none.
    pub(super) sha256: Option<&'a Digest>,
}

impl Seal<'_> {
    /// Looks at what is encrypted without a key.
    fn look(&self, sealed: &str) -> Result<(), String> {
        message::look(sealed, self.readers)?;
        match self.sha256.is_some_and(|sha256| *sha256 != digest(sealed)) {
            true => Err("what is encrypted in it is not what was written".to_owned()),
            false => Ok(()),
        }
    }
}

fn digest(text: &str) -> Digest {
    Digest::known(&hex(&Sha256::digest(text)))
}

impl Details {
    /// The second document that holds them in clear.
    ///
    /// # Errors
    /// When they cannot be written as YAML.
    pub fn to_second(&self) -> Result<Second, DetailsError> {
        let document = Document { details: Some(self.clone()), sealed: None };
        yaml_serde::to_string(&document)
            .map(Second::Text)
            .map_err(|error| DetailsError::Damaged(error.to_string()))
    }

    /// The second document that holds them for these recipients alone, and the digest of what is encrypted in it.
    pub(super) fn into_sealed(
        mut self,
        recipients: &[String],
        run: RunId,
    ) -> Result<(Second, Digest), DetailsError> {
        let damaged = |error: &dyn std::fmt::Display| DetailsError::Damaged(error.to_string());
        self.run = Some(run);
        let text = yaml_serde::to_string(&self).map_err(|error| damaged(&error))?;
        let sealed = message::seal(text.as_bytes(), recipients).map_err(|error| damaged(&error))?;
        let sha256 = digest(&sealed);
        let document = Document { details: None, sealed: Some(sealed) };
        let second = yaml_serde::to_string(&document).map_err(|error| damaged(&error))?;
        Ok((Second::Text(second), sha256))
    }

    fn unseal(sealed: &str, seal: &Seal<'_>, keys: &Keyring) -> Result<Details, DetailsError> {
        let text = match message::unseal(sealed, MAX_BYTES, keys) {
            Ok(text) => text,
            // Not read, but looked at: what is cut or written over shows without a key.
            Err(message::Unopened::NoKey) => {
                return Err(seal.look(sealed).map_or_else(DetailsError::Damaged, |()| DetailsError::Sealed));
            }
            Err(message::Unopened::Damaged(what)) => return Err(DetailsError::Damaged(what)),
        };
        let text = String::from_utf8(text).map_err(|error| DetailsError::Damaged(error.to_string()))?;
        let details: Details = crate::yaml::from_large(&text, MAX_BYTES)
            .map_err(|error| DetailsError::Damaged(error.to_string()))?;
        match details.run {
            Some(own) if own == seal.run => Ok(details),
            Some(other) => Err(DetailsError::Damaged(format!("they are those of run {other}"))),
            None => Err(DetailsError::Damaged("they do not say which run's they are".to_owned())),
        }
    }

    pub(super) fn parse(second: &Second, seal: &Seal<'_>, keys: &Keyring) -> Result<Details, DetailsError> {
        let Some(text) = second.text() else { return Err(DetailsError::Left) };
        if text.is_empty() {
            return Ok(Details::default());
        }
        let document: Document = crate::yaml::from_large(&text, MAX_BYTES)
            .map_err(|error| DetailsError::Damaged(error.to_string()))?;
        match (document.details, document.sealed) {
            (Some(details), _) => Ok(details),
            (None, Some(sealed)) => Details::unseal(&sealed, seal, keys),
            (None, None) => Err(DetailsError::Damaged("neither `details` nor `sealed`".to_owned())),
        }
    }
}
