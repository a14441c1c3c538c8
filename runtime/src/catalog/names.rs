//! What a manifest says of names and places, as types that can hold nothing else.
//!
//! A store is input: whoever can write to it writes what becomes a folder, a file name, an argument of a tool. So nothing
//! of a manifest is a plain text where it is used as one of these, and a manifest that says something else is damaged.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::details::RawPath;
use super::ids::BadId;
use super::layout::artefact_name;
use crate::store::Name;

/// Bytes of a name at the most: it becomes a part of a file's.
const LONGEST: usize = 255;
/// Where repositories of tools are in a store.
const REPOSITORIES: &str = ".backplan-repo/";

/// A name that a plan gives, of a source or an archive: `[a-z][a-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanName(String);

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

pub(super) fn bad(text: &str, wanted: &'static str) -> BadId {
    BadId { text: text.escape_debug().to_string(), wanted }
}

impl TryFrom<String> for PlanName {
    type Error = BadId;

    fn try_from(text: String) -> Result<PlanName, BadId> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        match first && text.len() <= LONGEST && text.bytes().all(letters) {
            true => Ok(PlanName(text)),
            false => Err(bad(&text, "a name that a plan can give")),
        }
    }
}

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

macro_rules! reads_as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// One that is known to be one: a plan that compiled has it, or the tool made it. What is written is read
            /// once more before it counts.
            pub fn known(text: &str) -> $name {
                $name(text.to_owned())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, other: &String) -> bool {
                self.0 == *other
            }
        }
    )*};
}

reads_as_text!(PlanName, ArtefactName, ToolName, Digest);

/// The path of a tree below its source's folder: no `..`, not absolute; empty for the folder itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawPath", into = "RawPath")]
pub struct InnerPath(PathBuf);

/// Where something was on its host: absolute, without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawPath", into = "RawPath")]
pub struct HostPath(PathBuf);

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_))) && !holds_nul(path)
}

fn holds_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}

impl TryFrom<RawPath> for InnerPath {
    type Error = BadId;

    fn try_from(RawPath(path): RawPath) -> Result<InnerPath, BadId> {
        match is_plain(&path) {
            true => Ok(InnerPath(path)),
            false => Err(bad(&path.to_string_lossy(), "a path below a source's folder")),
        }
    }
}

impl TryFrom<RawPath> for HostPath {
    type Error = BadId;

    fn try_from(RawPath(path): RawPath) -> Result<HostPath, BadId> {
        match path.strip_prefix("/").is_ok_and(is_plain) {
            true => Ok(HostPath(path)),
            false => Err(bad(&path.to_string_lossy(), "an absolute path")),
        }
    }
}

macro_rules! reads_as_path {
    ($($name:ident),*) => {$(
        impl $name {
            /// One that is known to be one: from a plan that compiled.
            pub fn known(path: &Path) -> $name {
                $name(path.to_path_buf())
            }
        }

        impl Deref for $name {
            type Target = Path;

            fn deref(&self) -> &Path {
                &self.0
            }
        }

        impl From<$name> for RawPath {
            fn from(path: $name) -> RawPath {
                RawPath(path.0)
            }
        }
    )*};
}

reads_as_path!(InnerPath, HostPath);

/// Bytes, entries or members of one artefact or source: no more than any can have, so that sums of them stay numbers.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const MOST: u64 = 1 << 52;
    let amount = u64::deserialize(from)?;
    match amount <= MOST {
        true => Ok(amount),
        false => Err(serde::de::Error::custom(format!("{amount} is more than any backup has"))),
    }
}

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

    use std::path::PathBuf;

    use super::{ArtefactName, Digest, HostPath, InnerPath, PlanName, RawPath, ToolName, setting};

    #[test]
    fn a_name_is_what_a_plan_can_give() {
        for good in ["a", "site", "db_2", &"a".repeat(255)] {
            assert!(PlanName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "/etc", "..", "../x", "a/b", "A", "-x", "2a", "a b", "a\n", "ä", &"a".repeat(256)]
        {
            assert!(PlanName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
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

    #[test]
    fn a_place_leads_nowhere_else() {
        let inner = |text: &str| InnerPath::try_from(RawPath(PathBuf::from(text))).is_ok();
        let host = |text: &str| HostPath::try_from(RawPath(PathBuf::from(text))).is_ok();
        assert!(inner("") && inner("site") && inner("srv/www"));
        assert!(!inner("/srv") && !inner("..") && !inner("a/../..") && !inner("a\0b"));
        assert!(host("/") && host("/srv/www"));
        assert!(!host("") && !host("srv") && !host("/srv/../etc") && !host("/a\0"));
    }
}
