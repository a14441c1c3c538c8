//! The settings under which a restored cluster can do no harm to anything but itself. Pure.

use std::path::Path;

use super::recovery::END_COMMAND;

/// What `pg_controldata` tells of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControlData(Vec<(String, String)>);

impl ControlData {
    /// Reads the tool's output (of `LC_ALL=C`).
    pub fn parse(text: &str) -> ControlData {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        ControlData(pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// The value of a line, by the tool's own word for it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The number of the cluster: the same in all its copies.
    pub fn system_identifier(&self) -> Option<u64> {
        self.get("Database system identifier")?.parse().ok()
    }

    /// The timeline of its last checkpoint.
    pub fn timeline(&self) -> Option<u32> {
        self.get("Latest checkpoint's TimeLineID")?.parse().ok()
    }

    /// Whether its pages have checksums.
    pub fn has_checksums(&self) -> bool {
        self.get("Data page checksum version").is_some_and(|version| version != "0")
    }

    /// Settings that must be at least those of the server the cluster comes from: hot standby refuses otherwise.
    fn capacities(&self) -> impl Iterator<Item = (&'static str, String)> {
        const NAMES: [(&str, &str); 5] = [
            ("max_connections", "max_connections setting"),
            ("max_worker_processes", "max_worker_processes setting"),
            ("max_wal_senders", "max_wal_senders setting"),
            ("max_prepared_transactions", "max_prepared_xacts setting"),
            ("max_locks_per_transaction", "max_locks_per_xact setting"),
        ];
        NAMES.iter().filter_map(|(setting, line)| Some((*setting, self.get(line)?.to_owned())))
    }
}

/// The settings, to be given on the command line: nothing in the data directory, not even `ALTER SYSTEM`, overrides them.
///
/// `folder` is a private one outside the data directory, with `postgresql.conf`, `pg_hba.conf` and `pg_ident.conf` in it;
/// `sockets` the one for the socket.
pub fn settings(
    control: &ControlData,
    data: &Path,
    folder: &Path,
    sockets: &Path,
    port: u16,
) -> Vec<(&'static str, String)> {
    let own = |name: &str| folder.join(name).display().to_string();
    let mut settings: Vec<(&'static str, String)> = vec![
        // A restored `postgresql.conf` may name another data directory, files that are not here, half the memory of
        // another machine: none of it is read.
        ("config_file", own("postgresql.conf")),
        ("hba_file", own("pg_hba.conf")),
        ("ident_file", own("pg_ident.conf")),
        ("data_directory", data.display().to_string()),
        ("external_pid_file", String::new()),
        // Nobody else reaches it.
        ("listen_addresses", String::new()),
        ("unix_socket_directories", sockets.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("port", port.to_string()),
        ("ssl", "off".to_owned()),
        ("bonjour", "off".to_owned()),
        // It reaches nobody else: no archive is written to, no primary and no publisher is followed, no commit waits
        // for a standby, and no extension works in the background (pg_cron would run the jobs of the original).
        ("archive_mode", "off".to_owned()),
        ("archive_command", String::new()),
        ("archive_cleanup_command", String::new()),
        ("recovery_end_command", END_COMMAND.to_owned()),
        ("primary_conninfo", String::new()),
        ("primary_slot_name", String::new()),
        ("synchronous_standby_names", String::new()),
        ("max_logical_replication_workers", "0".to_owned()),
        ("shared_preload_libraries", String::new()),
        ("session_preload_libraries", String::new()),
        ("local_preload_libraries", String::new()),
        // What it says goes to one place, where it is looked for.
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_min_messages", "warning".to_owned()),
        ("lc_messages", "C".to_owned()),
        ("cluster_name", "backplan".to_owned()),
        // It can be asked whether it has recovered.
        ("hot_standby", "on".to_owned()),
        ("huge_pages", "off".to_owned()),
        // In the data directory: what all programs of a machine share is not its own.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
    ];
    settings.extend(control.capacities());
    settings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::{ControlData, settings};

    const CONTROL: &str = "\
Database system identifier:           7575391210829512718
Latest checkpoint's TimeLineID:       3
max_connections setting:              250
max_worker_processes setting:         8
max_wal_senders setting:              12
max_prepared_xacts setting:           7
max_locks_per_xact setting:           64
Data page checksum version:           1
";

    #[test]
    fn capacities_are_those_of_the_original() {
        let control = ControlData::parse(CONTROL);
        assert_eq!(control.system_identifier(), Some(7_575_391_210_829_512_718));
        assert_eq!(control.timeline(), Some(3));
        assert!(control.has_checksums());
        let path = Path::new("/x");
        let settings = settings(&control, path, path, path, 5999);
        let value = |name: &str| settings.iter().find(|(other, _)| *other == name).unwrap().1.clone();
        assert_eq!(value("max_connections"), "250");
        assert_eq!(value("max_prepared_transactions"), "7");
        assert_eq!(value("max_locks_per_transaction"), "64");
        assert_eq!(value("archive_mode"), "off");
        assert_eq!(value("listen_addresses"), "");
    }
}
