//! `pg_basebackup`: a copy of the whole data directory with the WAL that makes it consistent. It starts as it is.

use std::fs;

use super::{Abilities, Backup, Driver, DriverError, Job, Labels, text, tools};

/// The driver.
pub struct Basebackup;

impl Driver for Basebackup {
    fn abilities(&self) -> Abilities {
        Abilities { levels: false, repository: false }
    }

    fn back_up(&self, job: &Job<'_>) -> Result<Backup, DriverError> {
        let mut labels = job.server()?;
        refuse_tablespaces(job)?;
        clear(job)?;
        job.hand_over(job.folder)?;
        let mut argv = vec![tools::find("pg_basebackup")?];
        argv.extend(job.connection());
        argv.extend(
            ["--format=plain", "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256"]
                .map(str::to_owned),
        );
        argv.extend([format!("--label=backplan {}", job.source), format!("--pgdata={}", text(job.folder))]);
        // The artefact is synced, not what it is packed from.
        argv.push("--no-sync".to_owned());
        job.run(argv)?;
        job.run(vec![tools::find("pg_verifybackup")?, "--quiet".to_owned(), text(job.folder)])?;
        labels.extend(read_labels(job)?);
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

fn refuse_tablespaces(job: &Job<'_>) -> Result<(), DriverError> {
    let database = job.postgres.database.as_deref().unwrap_or("postgres");
    let found = job.query(
        database,
        "select spcname from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1",
    )?;
    match found.first() {
        None => Ok(()),
        Some(name) => Err(DriverError::Lasting(format!(
            "the cluster has a tablespace, `{name}`, outside its data directory; this driver cannot copy it yet: \
             use `driver = pgbackrest` or `driver = dump`"
        ))),
    }
}

/// Where the backup begins and ends, as `backup_label` and `backup_manifest` tell.
fn read_labels(job: &Job<'_>) -> Result<Labels, DriverError> {
    let read = |name: &str| {
        let path = job.folder.join(name);
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
