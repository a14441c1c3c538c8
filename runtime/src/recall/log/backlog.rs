//! What a server keeps of its log because it cannot be archived.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backplan_compiler::count::plural;
use jiff::Timestamp;

use crate::moment::shown;
use crate::wal::name::WalName;
use crate::wal::waiting::ready;

/// Fewer wait now and then.
const FEW: usize = 3;
/// Nobody need be told of what has not waited for so long.
const A_WHILE: Duration = Duration::from_secs(10);

/// What waits in a data directory's log, in words: since when, and when its disk is full if it goes on so. `None`: nothing does
/// for long, or it cannot be looked at.
pub fn told(data: &Path, now: SystemTime) -> Option<String> {
    let log = data.join("pg_wal");
    let (mut count, mut bytes, mut oldest) = (0, 0_u64, now);
    for name in ready(&log) {
        let marked = fs::metadata(log.join("archive_status").join(format!("{name}.ready")));
        oldest = oldest.min(marked.and_then(|seen| seen.modified()).unwrap_or(now));
        if matches!(name, WalName::Segment(_)) {
            count += 1;
            bytes += fs::metadata(log.join(name.to_string())).map_or(0, |seen| seen.len());
        }
    }
    let waited = now.duration_since(oldest).ok()?;
    if count < FEW || waited < A_WHILE {
        return None;
    }
    let free = rustix::fs::statvfs(&log).ok().map(|there| there.f_bavail * there.f_frsize);
    Some(words(count, Timestamp::try_from(oldest).ok()?, waited, bytes, free))
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
        for number in 1..=3 {
            assert_eq!(told(data.path(), now), None);
            let name = format!("00000001000000000000000{number}");
            fs::write(data.path().join("pg_wal").join(&name), [0; 100]).unwrap();
            fs::write(status.join(name + ".ready"), "").unwrap();
            fs::write(status.join(format!("0000000100000000000000A{number}.done")), "").unwrap();
        }
        assert!(told(data.path(), now).unwrap().starts_with("3 segments wait"));
        assert_eq!(told(data.path(), SystemTime::now()), None);
    }
}
