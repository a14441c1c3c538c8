//! What the tool of a database, or its server, says of a backup.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ids::BadId;
use super::names::{ToolName, bad};

/// Before the number of a tablespace in a manifest; the value is where it was.
const TABLESPACE: &str = "tablespace.";

macro_rules! labels {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ty = $word:literal,)+) => {
        /// What a manifest says of a backup that a tool or a server made. On disk a map of texts.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
        pub struct Labels {
            $($(#[doc = $doc])+ pub $field: Option<$kind>,)+
            /// Tablespaces beside the data directory: number, and where they were.
            pub tablespaces: BTreeMap<String, String>,
            /// What this program knows nothing of, as it stands there.
            pub other: BTreeMap<String, String>,
        }

        impl Labels {
            /// One that nothing says.
            pub const NONE: &Labels =
                &Labels { $($field: None,)+ tablespaces: BTreeMap::new(), other: BTreeMap::new() };

            /// Takes one as a manifest has it. What cannot be what it should be is none that this program knows.
            fn set(&mut self, name: String, value: String) {
                match name.as_str() {
                    $($word => match value.parse::<$kind>() {
                        Ok(known) if is_written(&known, &value) => self.$field = Some(known),
                        _ => drop(self.other.insert(name, value)),
                    },)+
                    _ => match name.strip_prefix(TABLESPACE) {
                        Some(number) => drop(self.tablespaces.insert(number.to_owned(), value)),
                        None => drop(self.other.insert(name, value)),
                    },
                }
            }

            /// Takes what others say, which goes before what was said.
            pub fn extend(&mut self, newer: Labels) {
                $(if newer.$field.is_some() { self.$field = newer.$field; })+
                self.tablespaces.extend(newer.tablespaces);
                self.other.extend(newer.other);
            }
        }

        impl From<Labels> for BTreeMap<String, String> {
            fn from(labels: Labels) -> BTreeMap<String, String> {
                let mut map = labels.other;
                $(map.extend(labels.$field.map(|value| ($word.to_owned(), value.to_string())));)+
                map.extend(labels.tablespaces.into_iter().map(|(number, was)| (format!("{TABLESPACE}{number}"), was)));
                map
            }
        }
    };
}

labels! {
    /// In the repository of pgBackRest: which cluster's log goes with it.
    archive_id: String = "archive_id",
    /// Bytes of the cluster, however few had to be copied.
    database_bytes: u64 = "database_bytes",
    /// The databases of a dump, parted by spaces.
    databases: String = "databases",
    /// What made it, as plans name it.
    driver: String = "driver",
    /// What its tool calls it.
    label: String = "label",
    /// Where what it rests on begins in the log.
    lsn_from: String = "lsn_from",
    /// Where it begins in the log.
    lsn_start: String = "lsn_start",
    /// Where it is whole.
    lsn_stop: String = "lsn_stop",
    /// The first transaction that had not begun when it was whole.
    next_xid: String = "next_xid",
    /// The libraries of a server's plugins, parted by spaces.
    plugins: String = "plugins",
    /// What it rests on: its tool's name for that, or the run that made it.
    prior: String = "prior",
    /// Bytes that it takes in its tool's repository, beside those that it rests on.
    repository_bytes: u64 = "repository_bytes",
    /// The server's version, in its own words.
    server_version: String = "server_version",
    /// What its tool calls the cluster.
    stanza: String = "stanza",
    /// When it began, as its tool writes that.
    started: String = "started",
    /// When it ended, as its tool writes that.
    stopped: String = "stopped",
    /// What tells a cluster from all others.
    system_id: String = "system_id",
    /// When it was whole, by the server's clock.
    time_stop: String = "time_stop",
    /// The timeline that it was made on.
    timeline: String = "timeline",
    /// The version of its tool.
    tool_version: String = "tool_version",
    /// How much of the cluster it is, in its tool's words.
    kind: String = "type",
    /// The first file of the log that it needs.
    wal_start: String = "wal_start",
    /// The last one.
    wal_stop: String = "wal_stop",
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Whether it is written as it stands there.
fn is_written(known: &impl Display, value: &str) -> bool {
    known.to_string() == value
}

impl Labels {
    /// When the backup was whole. A tool tells of whole seconds: within the one that it tells the backup may not have been whole yet.
    pub fn ended(&self) -> Option<Timestamp> {
        if let Some(by_server) = &self.time_stop {
            return by_server.parse().ok();
        }
        let told: Timestamp = self.stopped.as_ref()?.parse().ok()?;
        let is_whole_second = told.subsec_nanosecond() == 0;
        Some(if is_whole_second { told.checked_add(SECOND).unwrap_or(told) } else { told })
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = BadId;

    /// Who passes on a label, a stanza or a number of a tablespace may rely on it to be one; what is only shown may be any text.
    fn try_from(map: BTreeMap<String, String>) -> Result<Labels, BadId> {
        let mut labels = Labels::default();
        map.into_iter().for_each(|(name, value)| labels.set(name, value));
        let Labels { archive_id, driver, label, prior, stanza, .. } = &labels;
        for name in [archive_id, driver, label, prior, stanza].into_iter().flatten() {
            ToolName::try_from(name.clone())?;
        }
        let is_number = |text: &&String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match labels.tablespaces.keys().find(|number| !is_number(number)) {
            Some(number) => Err(bad(number, "the number of a tablespace")),
            None => Ok(labels),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatever_is_written_down_comes_back() {
        let pairs = [
            ("database_bytes", "34000"),
            ("repository_bytes", "many"),
            ("tablespace.16384", "/fast"),
            ("type", "diff"),
            ("of_another_program", "x"),
        ];
        let map: BTreeMap<_, _> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let labels = Labels::try_from(map.clone()).unwrap();
        assert_eq!((labels.database_bytes, labels.repository_bytes), (Some(34_000), None));
        assert_eq!((labels.kind.as_deref(), labels.tablespaces["16384"].as_str()), (Some("diff"), "/fast"));
        assert_eq!(BTreeMap::from(labels), map);
    }

    #[test]
    fn what_ends_up_in_arguments_is_a_name() {
        let places = ["tablespace.", "tablespace.../x", "tablespace./etc", "tablespace.1a"];
        let names = [("label", "--all"), ("stanza", "a/b"), ("prior", "")];
        for (name, value) in names.into_iter().chain(places.map(|name| (name, "/fast"))) {
            let map = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert!(Labels::try_from(map).is_err(), "{name}: {value}");
        }
    }
}
