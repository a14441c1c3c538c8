//! What a manifest says of names and places, as types that can hold nothing else.
//!
//! A store is input: whoever can write to it writes what becomes a folder, a file name, an argument of a tool. So nothing
//! of a manifest is a plain text where it is used as one of these, and a manifest that says something else is damaged.

use std::collections::BTreeMap;

use backplan_host::names::LONGEST;
use backplan_host::reads_as_text;
use serde::{Deserialize, Deserializer, Serialize};

use super::ids::BadId;
use super::layout::artefact_name;
use crate::store::Name;

pub use backplan_host::names::{HostPath, InnerPath, PlanName};
pub(super) use backplan_host::names::{amount, bad};

/// Where repositories of tools are in a store.
const REPOSITORIES: &str = ".backplan-repo/";

/// The file name of an artefact: one component, and none of the store's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtefactName(String);

/// What a database's tool calls a backup or a stanza: it is a folder in a repository and stands behind an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolName(String);

/// A digest, of 32 bytes, in hex. Nothing has one of zeros alone: that is what somebody leaves who writes over it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl TryFrom<String> for ArtefactName {
    type Error = BadId;

    fn try_from(text: String) -> Result<ArtefactName, BadId> {
        match artefact_name(&text) {
            Ok(_) => Ok(ArtefactName(text)),
            Err(_) => Err(bad(&text, "the file name of an artefact")),
        }
    }
}

impl ArtefactName {
    /// The object of a store that it names.
    pub fn object(&self) -> Name {
        Name::known(self.0.clone())
    }
}

impl TryFrom<String> for ToolName {
    type Error = BadId;

    fn try_from(text: String) -> Result<ToolName, BadId> {
        let odd = |c: char| c == '/' || c.is_control();
        let leads = text.starts_with(['-', '.']);
        match !text.is_empty() && text.len() <= LONGEST && !leads && !text.contains(odd) {
            true => Ok(ToolName(text)),
            false => Err(bad(&text, "a name of a database's tool")),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = BadId;

    fn try_from(text: String) -> Result<Digest, BadId> {
        let is_hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match is_hex && text.bytes().any(|byte| byte != b'0') {
            true => Ok(Digest(text)),
            false => Err(bad(&text, "a digest")),
        }
    }
}

reads_as_text!(ArtefactName, ToolName, Digest);

/// Reads how a repository is reached: it ends up in arguments and settings of its tool.
pub(super) fn settings<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let settings = BTreeMap::<String, String>::deserialize(from)?;
    let is_remote = settings.contains_key("type");
    for (name, value) in &settings {
        setting(name, value, is_remote).map_err(serde::de::Error::custom)?;
    }
    Ok(settings)
}

fn setting(name: &str, value: &str, is_remote: bool) -> Result<(), BadId> {
    if value.contains(char::is_control) {
        return Err(bad(value, "a setting of a repository"));
    }
    match name {
        "stanza" => ToolName::try_from(value.to_owned()).map(drop),
        "path" if !is_remote => match Name::new(value) {
            Ok(path) if path.as_str().starts_with(REPOSITORIES) => Ok(()),
            _ => Err(bad(value, "the place of a repository in its store")),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{ArtefactName, Digest, ToolName, setting};

    #[test]
    fn an_artefact_is_one_file_of_a_store() {
        assert!(ArtefactName::try_from("p_main_2026.tar.gz".to_owned()).is_ok());
        for bad in ["", "..", "a/b", "/a", ".backplan", "a\0"] {
            assert!(ArtefactName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_one() {
        for good in ["0".repeat(63) + "1", "f".repeat(64), "0123456789abcdef".repeat(4)] {
            assert!(Digest::try_from(good.clone()).is_ok(), "{good}");
        }
        let line = "a".repeat(63) + "\n";
        for bad in ["", "00", &"0".repeat(64), &"a".repeat(63), &"a".repeat(65), &"A".repeat(64), &line] {
            assert!(Digest::try_from((*bad).to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_reaches_a_tool_is_one_name() {
        for good in ["20261120-021500F_20261121-021500I", "main", "my stanza", "SUP3RD", "ä"] {
            assert!(ToolName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "-x", "--repo1-path=/", "..", "../x", "a/b", "a\nb", ".x"] {
            assert!(ToolName::try_from(bad.to_owned()).is_err(), "{bad:?}");
            assert!(setting("stanza", bad, true).is_err(), "{bad:?}");
        }
        assert!(setting("path", ".backplan-repo/p/db", false).is_ok());
        for bad in ["/etc", "..", ".backplan-repo/../..", "other", ".backplan-repo/p\nrepo1-host-cmd=x"] {
            assert!(setting("path", bad, false).is_err(), "{bad}");
        }
        assert!(setting("path", "/prefix/p", true).is_ok());
        assert!(setting("s3-bucket", "b\nrepo1-host=x", true).is_err());
    }
}
