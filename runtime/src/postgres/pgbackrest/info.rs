//! What `pgbackrest info --output=json` says. It ends with 0 whatever it found.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::postgres::apart::{MARK, made_by};

/// What `info` says of a stanza in its status: there is no folder of it, none of its files, or nothing that can be read.
const NO_PATH: i64 = 1;
const NO_DATA: i64 = 3;
const OTHER: i64 = 99;

/// Its answer: each stanza that the repository has, or was asked for.
///
/// # Errors
/// When it is none.
pub fn parse(json: &[u8]) -> Result<Vec<Stanza>, serde_json::Error> {
    serde_json::from_str(&text(json))
}

/// What `info` says, as JSON is. Where it cannot decrypt what it reads, it tells of that with the bytes that came out, as they are.
pub fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// What `info` says of a stanza.
#[derive(Debug, Deserialize)]
pub struct Stanza {
    /// Its name.
    pub name: String,
    status: Status,
    /// Its backups, oldest first.
    #[serde(default)]
    pub backup: Vec<Listed>,
    #[serde(default)]
    archive: Vec<Archived>,
    #[serde(default)]
    db: Vec<Db>,
    #[serde(default)]
    repo: Vec<Repo>,
}

impl Stanza {
    /// Whether there is nothing of it. `info` ends with 0 whatever it found.
    pub fn is_missing(&self) -> bool {
        matches!(self.status.code, NO_PATH | NO_DATA)
    }

    /// Why nothing can be told of it.
    pub fn trouble(&self) -> Option<String> {
        (self.status.code == OTHER).then(|| {
            let said = self.repo.iter().find_map(|repo| repo.status.as_ref()?.message.as_deref());
            said.unwrap_or("it does not say why").lines().take(2).collect::<Vec<_>>().join("\n  ")
        })
    }

    /// The cluster that it is of now.
    pub fn system_id(&self) -> Option<String> {
        self.db.last().map(|db| db.system_id.to_string())
    }

    /// The clusters that it was of before: those of which an upgrade of the stanza made it go on.
    pub fn earlier_system_ids(&self) -> Vec<String> {
        let earlier = self.db.split_last().map_or(&[][..], |(_, earlier)| earlier);
        earlier.iter().map(|db| db.system_id.to_string()).collect()
    }

    /// The folder of the log that a backup goes on with.
    pub fn archive_id(&self, backup: &Listed) -> Option<String> {
        let of_it = |archived: &&Archived| archived.database.id == backup.database.id;
        self.archive.iter().find(of_it).map(|archived| archived.id.clone())
    }

    /// That cluster's version.
    pub fn server_version(&self) -> Option<String> {
        self.db.last().map(|db| db.version.clone())
    }
}

#[derive(Debug, Deserialize)]
struct Status {
    code: i64,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Archived {
    id: String,
    database: Database,
}

/// Which of the clusters that a stanza has had.
#[derive(Debug, Deserialize)]
struct Database {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct Repo {
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
struct Db {
    #[serde(rename = "system-id")]
    system_id: u64,
    version: String,
}

/// A backup.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// What the tool calls it.
    pub label: String,
    /// `full`, `diff` or `incr`.
    #[serde(rename = "type")]
    pub kind: String,
    prior: Option<String>,
    /// Whether damaged pages were met.
    pub error: Option<bool>,
    #[serde(default)]
    annotation: BTreeMap<String, String>,
    archive: Option<Range>,
    database: Database,
    lsn: Option<Range>,
    timestamp: Option<Times>,
    info: Option<Sizes>,
}

#[derive(Debug, Deserialize)]
struct Range {
    start: Option<String>,
    stop: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Times {
    start: i64,
    stop: i64,
}

#[derive(Debug, Deserialize)]
struct Sizes {
    size: u64,
    repository: Option<Kept>,
}

/// What a backup takes in the repository beside those that it rests on.
#[derive(Debug, Deserialize)]
struct Kept {
    delta: u64,
}

impl Listed {
    /// The plan, and its run, that say they made it.
    pub fn made_by(&self) -> Option<(&str, RunId)> {
        made_by(self.annotation.get(MARK)?)
    }

    /// Bytes that it takes in the repository, beside those that it rests on.
    fn kept(&self) -> Option<u64> {
        Some(self.info.as_ref()?.repository.as_ref()?.delta)
    }

    /// What a manifest says of it.
    pub fn labels(&self) -> Labels {
        let range = |range: &Option<Range>| {
            range.as_ref().map_or((None, None), |range| (range.start.clone(), range.stop.clone()))
        };
        let ((lsn_start, lsn_stop), (wal_start, wal_stop)) = (range(&self.lsn), range(&self.archive));
        let time = |at: i64| jiff::Timestamp::from_second(at).ok().map(|at| at.to_string());
        let timeline = wal_start.as_ref().and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
        Labels {
            label: Some(self.label.clone()),
            kind: Some(self.kind.clone()),
            prior: self.prior.clone(),
            lsn_start,
            lsn_stop,
            timeline: timeline.map(|timeline| timeline.to_string()),
            wal_start,
            wal_stop,
            started: self.timestamp.as_ref().and_then(|times| time(times.start)),
            stopped: self.timestamp.as_ref().and_then(|times| time(times.stop)),
            database_bytes: self.info.as_ref().map(|info| info.size),
            repository_bytes: self.kept(),
            ..Labels::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_it_says_of_a_wrong_key_is_heard() {
        let json = b"[{\"name\":\"db\",\"repo\":[{\"status\":{\"code\":99,\"message\":\"[FormatError] no = in \x00\x1f\xff\x9b\"}}],\n\
            \"status\":{\"code\":99,\"message\":\"other\"}}]";
        let stanza = parse(json).unwrap().remove(0);
        assert!(stanza.trouble().unwrap().starts_with("[FormatError] no = in"));
    }

    #[test]
    fn what_info_says_becomes_labels() {
        let json = br#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1"}],"backup":[{"archive":{"start":"000000020000000000000005","stop":"000000020000000000000006"},
            "database":{"id":1,"repo-key":1},"error":false,"info":{"size":90,"delta":9,"repository":{"size":1,"delta":1}},
            "label":"20261120-023000F_20261121-023000D","lsn":{"start":"0/5000028","stop":"0/6000050"},
            "prior":"20261120-023000F","reference":["20261120-023000F"],"timestamp":{"start":1795228200,"stop":1795228260},
            "type":"diff"}],"db":[{"id":1,"repo-key":1,"system-id":18446744073709551615,"version":"15"}],
            "name":"db","status":{"code":0,"message":"ok"}}]"#;
        let stanza = parse(json).unwrap().remove(0);
        assert_eq!(stanza.system_id(), Some(u64::MAX.to_string()));
        let labels = stanza.backup[0].labels();
        assert_eq!(labels.kind.as_deref(), Some("diff"));
        assert_eq!(labels.prior.as_deref(), Some("20261120-023000F"));
        assert_eq!(labels.timeline.as_deref(), Some("2"));
        assert_eq!(labels.repository_bytes, Some(1));
        assert_eq!(stanza.archive_id(&stanza.backup[0]).as_deref(), Some("15-1"));
        assert_eq!(labels.wal_stop.as_deref(), Some("000000020000000000000006"));
        // The second that it ended in is over then.
        assert_eq!(labels.ended(), jiff::Timestamp::from_second(1_795_228_261).ok());
        assert!(parse(b"not json").is_err());
    }
}
