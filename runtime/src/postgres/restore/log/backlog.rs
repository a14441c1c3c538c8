//! What a server keeps of its log because it cannot be archived.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backplan_compiler::count::plural;
use jiff::Timestamp;
use serde::Serialize;

use crate::moment::shown;
use crate::postgres::wal::name::WalName;
use crate::postgres::wal::waiting::ready;

/// Fewer wait now and then.
const FEW: usize = 3;
/// Nobody need be told of what has not waited for so long.
const A_WHILE: Duration = Duration::from_secs(10);

/// What waits in a data directory's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// Segments that the server has marked to be archived.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of what waits was marked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// What waits; `None`: this account cannot look at it.
pub fn of(data: &Path) -> Option<Backlog> {
    let log = data.join("pg_wal");
    fs::read_dir(log.join("archive_status")).ok()?;
    let (mut segments, mut bytes, mut oldest) = (0, 0_u64, None::<SystemTime>);
    for name in ready(&log) {
        let marked = fs::metadata(log.join("archive_status").join(format!("{name}.ready")));
        // One that was archived meanwhile.
        let Ok(marked) = marked.and_then(|seen| seen.modified()) else { continue };
        oldest = Some(oldest.map_or(marked, |oldest| oldest.min(marked)));
        if matches!(name, WalName::Segment(_)) {
            segments += 1;
            bytes += fs::metadata(log.join(name.to_string())).map_or(0, |seen| seen.len());
        }
    }
    Some(Backlog { segments, bytes, since: oldest.and_then(|oldest| Timestamp::try_from(oldest).ok()) })
}

/// The same in words: since when, and when the disk is full if it goes on so. `None`: nothing waits for long.
pub fn told(backlog: &Backlog, data: &Path, now: SystemTime) -> Option<String> {
    let since = backlog.since?;
    let waited = now.duration_since(since.into()).ok()?;
    if backlog.segments < FEW || waited < A_WHILE {
        return None;
    }
    let free = rustix::fs::statvfs(data.join("pg_wal")).ok().map(|there| there.f_bavail * there.f_frsize);
    Some(words(backlog.segments, since, waited, backlog.bytes, free))
}

fn words(count: usize, since: Timestamp, waited: Duration, bytes: u64, free: Option<u64>) -> String {
    let left = free.filter(|_| bytes > 0).map(|free| waited.as_secs_f64() * free as f64 / bytes as f64);
    let full = left.and_then(|left| {
        let span = Duration::try_from_secs_f64(waited.as_secs_f64() + left).ok()?;
        let full = since.checked_add(jiff::SignedDuration::try_from(span).ok()?).ok()?;
        Some(format!("; at this rate the disk of `pg_wal` is full at {}", shown(full)))
    });
    format!(
        "{} wait to be archived, the oldest since {}{}: the server's log says what holds `archive_command` up",
        plural(count, "segment"),
        shown(since),
        full.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_waits_says_when_the_disk_is_full() {
        let since: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let zone = jiff::tz::TimeZone::system();
        let at = |text: &str| crate::moment::shown_in(text.parse().unwrap(), &zone);
        // A sixteenth of what is free in ten minutes: full 160 minutes behind now.
        let told = words(4, since, Duration::from_secs(600), 1 << 20, Some(16 << 20));
        assert!(told.contains(&format!("since {}", at("2026-11-20T10:00:00Z"))), "{told}");
        assert!(told.contains(&format!("is full at {}", at("2026-11-20T12:50:00Z"))), "{told}");
        assert!(!words(4, since, Duration::from_secs(600), 0, Some(1)).contains("full"));
    }

    #[test]
    fn what_is_marked_for_a_while_is_told() {
        let data = tempfile::tempdir().unwrap();
        let status = data.path().join("pg_wal/archive_status");
        fs::create_dir_all(&status).unwrap();
        let now = SystemTime::now() + Duration::from_secs(60);
        let told = |now| told(&of(data.path()).unwrap(), data.path(), now);
        assert_eq!(of(&data.path().join("none")), None);
        for number in 1..=3 {
            assert_eq!(told(now), None);
            let name = format!("00000001000000000000000{number}");
            fs::write(data.path().join("pg_wal").join(&name), [0; 100]).unwrap();
            fs::write(status.join(name + ".ready"), "").unwrap();
            fs::write(status.join(format!("0000000100000000000000A{number}.done")), "").unwrap();
        }
        assert!(told(now).unwrap().starts_with("3 segments wait"));
        assert_eq!(told(SystemTime::now()), None);
        let backlog = of(data.path()).unwrap();
        assert_eq!((backlog.segments, backlog.bytes), (3, 300));
        assert!(backlog.since.is_some());
    }
}
