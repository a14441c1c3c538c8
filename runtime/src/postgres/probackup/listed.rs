//! What pg_probackup says in JSON: of the backups in its catalogue (`show`), and of an instance (`show-config`).

use serde::Deserialize;

use crate::catalog::ids::RunId;
use crate::catalog::labels::Labels;
use crate::postgres::apart::{MARK, made_by};

/// The backups of an instance in what `show` says; none of one that it does not list.
///
/// # Errors
/// When it is no such answer.
pub(super) fn parse(json: &[u8], instance: &str) -> Result<Vec<Listed>, serde_json::Error> {
    let all: Vec<Instance> = serde_json::from_slice(json)?;
    Ok(all
        .into_iter()
        .find(|listed| listed.instance == instance)
        .map(|listed| listed.backups)
        .unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Instance {
    instance: String,
    #[serde(default)]
    backups: Vec<Listed>,
}

/// A backup, as `show` has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Listed {
    /// Six characters that grow with time.
    pub id: String,
    /// What it rests on.
    pub parent_backup_id: Option<String>,
    /// `FULL`, or how it looked for what changed.
    #[serde(rename = "backup-mode")]
    pub mode: String,
    /// `OK`, or what is wrong with it.
    pub status: String,
    /// What it was given to bear.
    note: Option<String>,
    program_version: Option<String>,
    /// Bytes of what was copied, and of the log that is with it.
    data_bytes: Option<u64>,
    wal_bytes: Option<u64>,
    start_lsn: Option<String>,
    stop_lsn: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    /// Bytes of the data directory, however little of it was copied.
    pgdata_bytes: Option<u64>,
    current_tli: Option<u32>,
    server_version: Option<String>,
}

impl Listed {
    /// Whether it can be restored, by its own word.
    pub fn is_whole(&self) -> bool {
        self.status == "OK"
    }

    /// What a killed or failed attempt leaves: nothing rests on it, and later backups go on beside it.
    pub fn has_failed(&self) -> bool {
        matches!(self.status.as_str(), "RUNNING" | "ERROR")
    }

    /// The plan, and its run, that say they made it.
    pub fn made_by(&self) -> Option<(&str, RunId)> {
        made_by(self.note.as_deref()?.strip_prefix(MARK)?.strip_prefix('=')?)
    }

    /// Bytes that it takes in the catalogue, beside those that it rests on.
    pub fn kept(&self) -> Option<u64> {
        Some(self.data_bytes?.saturating_add(self.wal_bytes.unwrap_or_default()))
    }

    /// What a manifest says of it.
    pub fn labels(&self) -> Labels {
        Labels {
            label: Some(self.id.clone()),
            kind: Some(self.mode.clone()),
            prior: self.parent_backup_id.clone(),
            lsn_start: self.start_lsn.clone(),
            lsn_stop: self.stop_lsn.clone(),
            started: self.start_time.clone(),
            stopped: self.end_time.clone(),
            database_bytes: self.pgdata_bytes,
            timeline: self.current_tli.map(|timeline| timeline.to_string()),
            server_version: self.server_version.clone(),
            tool_version: self.program_version.clone(),
            ..Labels::default()
        }
    }
}

/// What `show-config` says of an instance; what it does not say, or not so that it can be understood, is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// The cluster that it is of.
    pub system_id: Option<String>,
    /// Bytes of a segment of its log.
    pub segment_bytes: Option<u64>,
}

/// Reads it.
pub(super) fn config(json: &[u8]) -> Config {
    let said: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let text = |name: &str| match said.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Config {
        system_id: text("system-identifier"),
        segment_bytes: text("xlog-seg-size").and_then(|text| text.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_show_config_says_is_text_or_a_number() {
        let config = config(
            br#"{"instance":"db","system-identifier":"7000000000000000001","xlog-seg-size":16777216}"#,
        );
        assert_eq!(config.system_id.as_deref(), Some("7000000000000000001"));
        assert_eq!(config.segment_bytes, Some(1 << 24));
        assert_eq!(super::config(b"nothing of the sort"), Config::default());
    }

    #[test]
    fn a_mark_is_one_of_a_run() {
        let json = br#"[{"instance":"db","backups":[
            {"id":"A","backup-mode":"FULL","status":"OK","note":"backplan=0c56/00000001-20261120T023000Z-k7f3qa"},
            {"id":"B","backup-mode":"FULL","status":"OK","note":"before the upgrade"},
            {"id":"C","backup-mode":"FULL","status":"OK","note":"backplan=0c56/../x"},
            {"id":"D","backup-mode":"FULL","status":"OK"}]}]"#;
        let found = parse(json, "db").unwrap();
        let made: Vec<Option<&str>> = found.iter().map(|it| it.made_by().map(|(plan, _)| plan)).collect();
        assert_eq!(made, [Some("0c56"), None, None, None]);
    }

    #[test]
    fn what_show_says_becomes_labels() {
        let json = br#"[{"instance":"other","backups":[]},{"instance":"rosemeta","backups":[
            {"id":"SUP3RD","parent-backup-id":"SUP3QA","backup-mode":"DELTA","wal":"STREAM","status":"OK",
             "start-lsn":"0/C000028","stop-lsn":"0/C000160","start-time":"2026-11-20 02:30:00+00",
             "end-time":"2026-11-20 02:30:09+00","data-bytes":1200,"pgdata-bytes":34000,"wal-bytes":16777216,"current-tli":1},
            {"id":"SUP3QA","backup-mode":"FULL","wal":"STREAM","status":"ERROR"}]}]"#;
        let listed = parse(json, "rosemeta").unwrap();
        let labels = listed[0].labels();
        assert_eq!((labels.label.as_deref(), labels.prior.as_deref()), (Some("SUP3RD"), Some("SUP3QA")));
        assert_eq!((labels.kind.as_deref(), labels.lsn_stop.as_deref()), (Some("DELTA"), Some("0/C000160")));
        assert_eq!(labels.database_bytes, Some(34_000));
        // The second that it ended in is over then.
        assert_eq!(labels.ended(), "2026-11-20T02:30:10Z".parse().ok());
        assert!(listed[1].has_failed() && !listed[0].has_failed());
        assert!(parse(json, "absent").unwrap().is_empty());
        assert!(parse(b"ERROR: no catalogue", "x").is_err());
    }
}
