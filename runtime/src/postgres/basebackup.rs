//! `pg_basebackup`: a copy of the whole data directory with the WAL that makes it consistent. It starts as it is.

use std::fs;
use std::path::Path;

use super::{Abilities, Backup, Driver, DriverError, Job, Labels, text, tools};

/// The folder of the data directory, where there are tablespaces beside it; else it is the source's own folder.
pub const DATA: &str = "data";
/// The folder of the tablespaces, each by its number.
pub const TABLESPACES: &str = "tablespaces";
/// Before the number of a tablespace in the labels; the value is where it was.
pub const TABLESPACE_LABEL: &str = "tablespace.";

/// The driver.
pub struct Basebackup;

impl Driver for Basebackup {
    fn abilities(&self) -> Abilities {
        Abilities { levels: false, repository: false }
    }

    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        let mut labels = job.server()?;
        let spaces = tablespaces(job)?;
        clear(job)?;
        job.hand_over(job.folder)?;
        let data = if spaces.is_empty() { job.folder.to_path_buf() } else { job.folder.join(DATA) };
        let mut argv = vec![tools::find("pg_basebackup")?];
        argv.extend(job.connection());
        argv.extend(
            ["--format=plain", "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256"]
                .map(str::to_owned),
        );
        argv.extend([format!("--label=backplan {}", job.source), format!("--pgdata={}", text(&data))]);
        for (oid, place) in &spaces {
            let to = text(&job.folder.join(TABLESPACES).join(oid));
            let escaped = |path: &str| path.replace('=', "\\=");
            argv.push(format!("--tablespace-mapping={}={}", escaped(place), escaped(&to)));
        }
        // The artefact is synced, not what it is packed from.
        argv.push("--no-sync".to_owned());
        job.run(argv)?;
        job.run(vec![tools::find("pg_verifybackup")?, "--quiet".to_owned(), text(&data)])?;
        labels.extend(read_labels(&data)?);
        labels.extend(moment(job)?);
        let spaces = spaces.into_iter().map(|(oid, place)| (format!("{TABLESPACE_LABEL}{oid}"), place));
        labels.extend(spaces);
        Ok(Backup { labels, warnings: Vec::new() })
    }
}

/// `pg_basebackup` starts in an empty folder only.
fn clear(job: &Job<'_>) -> Result<(), DriverError> {
    let failed = |cause| DriverError::File { path: job.folder.to_path_buf(), cause };
    match fs::remove_dir_all(job.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The tablespaces of the cluster: number, and where it is.
fn tablespaces(job: &Job<'_>) -> Result<Vec<(String, String)>, DriverError> {
    const ASK: &str = "select oid, pg_tablespace_location(oid) from pg_tablespace \
                       where pg_tablespace_location(oid) <> '' order by 1";
    let rows = job.query(database(job), ASK)?;
    let pair = |row: &String| row.split_once('\t').map(|(oid, place)| (oid.to_owned(), place.to_owned()));
    Ok(rows.iter().filter_map(pair).collect())
}

/// The moment after the backup by the server's own clock, as its log is stamped with it, and the first transaction that had
/// not begun: no earlier target can be reached from this backup.
fn moment(job: &Job<'_>) -> Result<Labels, DriverError> {
    const ASK: &str = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                       pg_snapshot_xmax(pg_current_snapshot())";
    let rows = job.query(database(job), ASK)?;
    let pair = rows.first().and_then(|row| row.split_once('\t'));
    let pairs = pair.into_iter().flat_map(|(time, xid)| [("time_stop", time), ("next_xid", xid)]);
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn database<'a>(job: &Job<'a>) -> &'a str {
    job.postgres.database.as_deref().unwrap_or("postgres")
}

/// Where the backup begins and ends, as `backup_label` and `backup_manifest` tell.
fn read_labels(data: &Path) -> Result<Labels, DriverError> {
    let read = |name: &str| {
        let path = data.join(name);
        fs::read_to_string(&path).map_err(|cause| DriverError::File { path, cause })
    };
    let mut labels = from_backup_label(&read("backup_label")?);
    labels.extend(from_manifest(&read("backup_manifest")?));
    Ok(labels)
}

/// `START WAL LOCATION: 0/4000028 (file 000000010000000000000004)` and its like.
fn from_backup_label(label: &str) -> Labels {
    let mut labels = Labels::new();
    for line in label.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "START WAL LOCATION" => {
                let (lsn, file) = value.split_once(" (file ").unwrap_or((value, ""));
                labels.insert("lsn_start".to_owned(), lsn.to_owned());
                labels.insert("wal_start".to_owned(), file.trim_end_matches(')').to_owned());
            }
            "START TIME" => {
                labels.insert("started".to_owned(), value.to_owned());
            }
            "START TIMELINE" => {
                labels.insert("timeline".to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    labels
}

/// The last WAL range of the manifest: on the newest timeline it ends where the backup is consistent.
fn from_manifest(manifest: &str) -> Labels {
    let parsed: serde_json::Value = serde_json::from_str(manifest).unwrap_or_default();
    let end = parsed["WAL-Ranges"].as_array().and_then(|ranges| ranges.last()?["End-LSN"].as_str());
    end.map(|lsn| ("lsn_stop".to_owned(), lsn.to_owned())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_what_the_server_wrote() {
        let label = "START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\n\
                     CHECKPOINT LOCATION: 0/4000060\nSTART TIME: 2026-11-20 02:30:00 UTC\nLABEL: x\n\
                     START TIMELINE: 1\n";
        let labels = from_backup_label(label);
        assert_eq!(labels["lsn_start"], "0/4000028");
        assert_eq!(labels["wal_start"], "000000010000000000000004");
        assert_eq!(labels["timeline"], "1");
        let manifest =
            r#"{"WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/4000028", "End-LSN": "0/4000100"}]}"#;
        assert_eq!(from_manifest(manifest)["lsn_stop"], "0/4000100");
        assert!(from_manifest("").is_empty());
    }
}
