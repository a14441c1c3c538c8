//! What a rehearsal came to: a small file in each store, `.backplan/PLAN/rehearsals/TIME-SOURCE-NONCE.yaml`, so that
//! every machine that can see the store can see how long ago a restore was proven.

use std::collections::BTreeMap;

use backplan_compiler::model::{Archive, Model, SourceId, Store as Declared};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use crate::catalog::ids::{Nonce, RunId};
use crate::catalog::layout::Layout;
use crate::programs::secrets::Secrets;
use crate::store::{self, Name, ReadStore, Store, StoreError, StoreErrorKind};

/// Of these files.
pub const FORMAT: u32 = 1;
/// Records of a source that a store keeps.
const KEPT: usize = 20;
/// A rehearsal may be this much early or late, and at the most a day.
const SLACK: u64 = 10;
const DAY: u64 = 24 * 3600;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It could not be made here; the detail says why.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `restore`, `recover`, `load`, `users`, `query`, `command`, `integrity_check`, `pg_amcheck`, `pg_checksums`.
    pub what: String,
    /// How it ended.
    pub verdict: CheckVerdict,
    /// Milliseconds.
    pub took_ms: u64,
    /// What came, or why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a rehearsal came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Of this file.
    pub format: u32,
    /// The source.
    pub source: String,
    /// The run that was restored.
    pub run: RunId,
    /// How it came back: `files`, `sqlite`, `basebackup`, `pgbackrest`, `probackup`, `dump`, `mariadb`.
    pub kind: String,
    /// When it began.
    pub started: Timestamp,
    /// Whether all that was looked at was as it should be.
    pub passed: bool,
    /// Milliseconds until the data could be used again; `None`: they never could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_ms: Option<u64>,
    /// Milliseconds of all of it.
    pub took_ms: u64,
    /// Seconds that were promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<u64>,
    /// The machine that rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Rehearsal {
    /// Whether the data were usable again within what was promised; `None` where nothing was, or they never were.
    pub fn is_in_time(&self) -> Option<bool> {
        Some(self.usable_ms? <= self.rto?.saturating_mul(1000))
    }

    /// What failed, in words.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| check.verdict == CheckVerdict::Failed);
        failed
            .map(|check| format!("{}: {}", check.what, check.detail.as_deref().unwrap_or("failed")))
            .collect()
    }
}

fn folder(layout: &Layout) -> Name {
    Name::known(format!("{}/rehearsals", layout.home()))
}

/// The newest rehearsal of each source that any store knows of; what cannot be read is told.
pub fn newest<'a>(
    shelves: impl IntoIterator<Item = &'a Shelf>,
) -> (BTreeMap<String, Rehearsal>, Vec<String>) {
    let (mut found, mut problems) = (BTreeMap::<String, Rehearsal>::new(), Vec::new());
    for shelf in shelves {
        let read = read(shelf.store.as_ref(), &shelf.layout);
        match read {
            Ok(records) => {
                for record in records {
                    let is_newer = found.get(&record.source).is_none_or(|old| old.started < record.started);
                    if is_newer {
                        found.insert(record.source.clone(), record);
                    }
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    (found, problems)
}

/// The newest of each source in a store. One that does not parse, of a newer program or half on its way, is passed over, and so is one
/// that another account wrote for itself (root, that once rehearsed somebody's plan).
fn read(store: &dyn ReadStore, layout: &Layout) -> Result<Vec<Rehearsal>, StoreError> {
    let mut newest: BTreeMap<String, Rehearsal> = BTreeMap::new();
    // Names begin with the time: the last of a source is its newest.
    for object in store.list(Some(&folder(layout)))?.iter().rev() {
        let Some((_, source)) = parts(object.name.last()) else { continue };
        if newest.contains_key(source) {
            continue;
        }
        let bytes = match store.read_range(&object.name, 0, crate::yaml::MAX_BYTES) {
            Err(StoreError { kind: StoreErrorKind::Denied, .. }) => continue,
            read => read?,
        };
        let parsed = crate::yaml::from_str::<Rehearsal>(&String::from_utf8_lossy(&bytes));
        if let Ok(record) = parsed
            && record.source == source
        {
            newest.insert(source.to_owned(), record);
        }
    }
    Ok(newest.into_values().collect())
}

/// Time and source of a record's name.
fn parts(name: &str) -> Option<(&str, &str)> {
    let (time, rest) = name.strip_suffix(".yaml")?.split_once('-')?;
    let (source, nonce) = rest.rsplit_once('-')?;
    nonce.parse::<Nonce>().ok()?;
    Some((time, source))
}

/// Writes a record into every store of the plan that can be reached; what could not be written, in words. The oldest of the
/// same source beyond the twentieth go, where this host may delete.
pub fn keep(model: &Model, record: &Rehearsal) -> Vec<String> {
    let holds = |archive: &&Archive| archive.from.iter().any(|id| model.source(*id).name == record.source);
    let is_sealed = model.archives.iter().filter(holds).any(|archive| !archive.encrypt.is_empty());
    let mut kept = record.clone();
    if is_sealed {
        // What a check says may name files, and what a store holds is in clear.
        kept.checks.iter_mut().for_each(|check| check.detail = None);
    }
    model.stores.iter().filter_map(|declared| keep_in(declared, &model.name, &kept).err()).collect()
}

fn keep_in(declared: &Declared, plan: &str, record: &Rehearsal) -> Result<(), String> {
    let layout = Layout::new(plan).map_err(|error| error.to_string())?;
    let store = store::open(declared, &Secrets::default()).map_err(|error| error.to_string())?;
    // Where no run ever was, no record is of use; and a wrong disk must not look like a store.
    if store.size(&layout.format()).map_err(|error| error.to_string())?.is_none() {
        return Ok(());
    }
    write(store.as_ref(), &layout, record).map_err(|error| error.to_string())?;
    if declared.append_only || declared.immutable.is_some() {
        return Ok(());
    }
    tidy(store.as_ref(), &layout, &record.source).map_err(|error| error.to_string())
}

fn write(store: &dyn Store, layout: &Layout, record: &Rehearsal) -> Result<(), StoreError> {
    let time = record.started.strftime("%Y%m%dT%H%M%SZ");
    let name = format!("{}/{time}-{}-{}.yaml", folder(layout), record.source, Nonce::random());
    // A record has nothing that YAML could not say.
    let text = yaml_serde::to_string(record).unwrap_or_default();
    store.create(&Name::known(name), text.as_bytes()).map(drop)
}

fn tidy(store: &dyn Store, layout: &Layout, source: &str) -> Result<(), StoreError> {
    let objects = store.list(Some(&folder(layout)))?;
    let of_source = |name: &&Name| parts(name.last()).is_some_and(|(_, other)| other == source);
    let names: Vec<&Name> = objects.iter().map(|object| &object.name).filter(of_source).collect();
    for name in names.iter().rev().skip(KEPT) {
        store.delete(name)?;
    }
    Ok(())
}

/// Seconds between two rehearsals of a source that the plan asks for; `None`: it asks for none by itself.
pub fn every(model: &Model, source: SourceId) -> Option<u64> {
    let own = model.verifies.iter().filter(|verify| verify.restore == source);
    own.filter_map(|verify| verify.every).min()
}

fn slack(every: u64) -> u64 {
    (every / SLACK).min(DAY)
}

/// Whether a run at `now` is to rehearse a source. One that failed is repeated by the next run; a clock that went back is no
/// reason to wait.
pub fn is_due(every: u64, last: Option<&Rehearsal>, now: Timestamp) -> bool {
    let Some(last) = last.filter(|last| last.passed) else { return true };
    let age = now.as_second() - last.started.as_second();
    u64::try_from(age).map_or(true, |age| age >= every - slack(every))
}

/// Since when a rehearsal is missing; `None`: there is time.
pub fn overdue(every: u64, last: &Rehearsal, now: Timestamp) -> Option<Timestamp> {
    let seconds =
        |seconds: u64| jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX / 2));
    let due = last.started.checked_add(seconds(every)).ok()?;
    let late = due.checked_add(seconds(slack(every))).ok()?;
    (late < now).then_some(due)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::dir::DirStore;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn record(source: &str, started: &str, passed: bool) -> Rehearsal {
        Rehearsal {
            format: FORMAT,
            source: source.to_owned(),
            run: RunId::with_random(1, at("2026-01-01T00:00:00Z"), *b"abcdef").unwrap(),
            kind: "files".to_owned(),
            started: at(started),
            passed,
            usable_ms: Some(1500),
            took_ms: 2000,
            rto: Some(1),
            host: None,
            checks: Vec::new(),
        }
    }

    #[test]
    fn a_run_a_little_early_rehearses_and_a_failed_rehearsal_is_repeated() {
        let (week, last) = (7 * DAY, record("a", "2026-01-01T02:35:00Z", true));
        assert!(!is_due(week, Some(&last), at("2026-01-07T02:30:00Z")));
        assert!(is_due(week, Some(&last), at("2026-01-08T02:30:00Z")));
        assert!(is_due(week, Some(&last), at("2025-12-31T02:30:00Z")));
        assert!(is_due(week, Some(&record("a", "2026-01-01T02:35:00Z", false)), at("2026-01-02T02:30:00Z")));
        assert!(is_due(week, None, at("2026-01-01T00:00:00Z")));
        assert_eq!(overdue(week, &last, at("2026-01-08T10:00:00Z")), None);
        assert_eq!(overdue(week, &last, at("2026-01-09T10:00:00Z")), Some(at("2026-01-08T02:35:00Z")));
        assert_eq!(last.is_in_time(), Some(false));
    }

    #[test]
    fn a_store_keeps_the_last_of_each_source_and_passes_over_what_it_does_not_know() {
        let folder_of_store = tempfile::tempdir().unwrap();
        let store = DirStore::open("s", folder_of_store.path()).unwrap();
        let layout = Layout::new("p").unwrap();
        for minute in 10..35 {
            write(&store, &layout, &record("a", &format!("2026-01-01T02:{minute}:00Z"), true)).unwrap();
        }
        write(&store, &layout, &record("b", "2026-01-01T00:00:00Z", false)).unwrap();
        let strange =
            Name::new(".backplan/p/rehearsals/20270101T000000Z-a-00000000000000000000000000000000.yaml");
        let _ = store.create(&strange.unwrap(), b"nonsense: [").unwrap();
        tidy(&store, &layout, "a").unwrap();
        let found = read(&store, &layout).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].started, at("2026-01-01T02:34:00Z"));
        assert!(!found[1].passed);
        assert_eq!(store.list(Some(&folder(&layout))).unwrap().len(), KEPT + 1);
    }
}
