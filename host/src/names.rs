//! Names and paths as records say them, as types that can hold nothing else.
//!
//! A record, a manifest above all, is input: whoever can write to where it lies writes what becomes a folder, a file name, an
//! argument. So none of it is a plain text where it is used as one of these.

use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::BadId;
use crate::text::{hex, unhex};

/// Bytes of a name at the most: it becomes a part of a file's.
pub const LONGEST: usize = 255;

/// A name that a plan gives, of a source or an archive: `[a-z][a-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanName(String);

/// Why a text is no such name.
pub fn bad(text: &str, wanted: &'static str) -> BadId {
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

/// What is a text and nothing else to whoever has one: reading, comparing, showing. For types of one `String` that are read by
/// `TryFrom<String>`.
#[macro_export]
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

        impl ::std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl ::std::borrow::Borrow<str> for $name {
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

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
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

reads_as_text!(PlanName);

/// A path of any bytes. Text where it is UTF-8, else a map `{hex: …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathForm", into = "PathForm")]
pub struct RawPath(pub PathBuf);

/// A path as [`RawPath`] writes it, for `#[serde(with = "…")]`.
pub mod raw {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::RawPath;

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        RawPath::from(path).serialize(to)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        RawPath::deserialize(from).map(|path| path.0)
    }
}

/// Paths with a word on each, as [`raw`] has them.
pub mod raw_with_words {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::RawPath;

    /// Writes them.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(paths: &[(PathBuf, String)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|(path, word)| (RawPath::from(path.as_path()), word)))
    }

    /// Reads them.
    ///
    /// # Errors
    /// Where one is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(PathBuf, String)>, D::Error> {
        let paths = Vec::<(RawPath, String)>::deserialize(from)?;
        Ok(paths.into_iter().map(|(path, word)| (path.0, word)).collect())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes { hex: String },
}

impl From<RawPath> for PathForm {
    fn from(path: RawPath) -> PathForm {
        match path.0.into_os_string().into_string() {
            Ok(text) => PathForm::Text(text),
            Err(bytes) => PathForm::Bytes { hex: hex(bytes.as_bytes()) },
        }
    }
}

impl TryFrom<PathForm> for RawPath {
    type Error = &'static str;

    fn try_from(form: PathForm) -> Result<RawPath, &'static str> {
        match form {
            PathForm::Text(text) => Ok(RawPath(PathBuf::from(text))),
            PathForm::Bytes { hex } => {
                let bytes = unhex(&hex).ok_or("a path in hex that is none")?;
                Ok(RawPath(PathBuf::from(OsString::from_vec(bytes))))
            }
        }
    }
}

impl From<&Path> for RawPath {
    fn from(path: &Path) -> RawPath {
        RawPath(path.to_path_buf())
    }
}

impl AsRef<OsStr> for RawPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

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
///
/// # Errors
/// Where it is more, or no number.
pub fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const MOST: u64 = 1 << 52;
    let amount = u64::deserialize(from)?;
    match amount <= MOST {
        true => Ok(amount),
        false => Err(serde::de::Error::custom(format!("{amount} is more than any backup has"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use super::{HostPath, InnerPath, PlanName, RawPath};

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
