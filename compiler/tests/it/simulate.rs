//! The simulation against what it stands for: the cycle and retention themselves, asked run by run.

use std::collections::BTreeMap;

use backplan_compiler::model::{Level, Model, StoreId};
use backplan_compiler::simulate::{Horizon, Question, Stock, onward, simulate};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::common::compile_files;

fn model(text: &str) -> Model {
    let (set, compiled) = compile_files(&[("p.plan", text)]);
    compiled.model.unwrap_or_else(|| panic!("{text}\n{}", crate::common::shown(&set, &compiled.findings)))
}

fn horizon(days: i64) -> Horizon {
    let from: Timestamp = "2027-02-10T00:00:00Z".parse().unwrap();
    Horizon { from, until: from + SignedDuration::from_hours(24 * days), runs: usize::MAX }
}

/// A run as it came and went: start, level, and when it went.
type Fate = (Timestamp, Level, Option<Timestamp>);

/// What became of every run of every store, by the code that real runs ask.
fn really(model: &Model, horizon: Horizon) -> Vec<Vec<Fate>> {
    let schedule = model.schedule.as_ref().unwrap();
    let question = Question {
        now: horizon.from,
        first: horizon.until,
        last: horizon.until,
        until: horizon.until,
        most: usize::MAX,
    };
    let played = onward(model, schedule, vec![Stock::default(); model.stores.len()], &question);
    let of = |store: BTreeMap<u32, backplan_compiler::simulate::Fate>| {
        store.into_values().map(|fate| (fate.started, fate.level, fate.gone)).collect()
    };
    played.stores.into_iter().map(of).collect()
}

fn simulated(model: &Model, horizon: Horizon) -> Vec<Vec<Fate>> {
    let simulation = simulate(model, horizon);
    let of = |store| {
        let lives = simulation.lives(StoreId(store)).iter();
        lives.map(|life| (life.started(), life.level(), life.gone())).collect()
    };
    (0..model.stores.len()).map(of).collect()
}

fn rules() -> impl Strategy<Value = String> {
    let rule = prop_oneof![
        4 => (prop::sample::select(&["last", "cycles", "full", "hourly", "daily", "weekly", "monthly", "yearly"][..]), 1_u32..6)
            .prop_map(|(name, count)| format!("{name} = {count}")),
        1 => (1_u32..4).prop_map(|count| format!("differential = {count}")),
        1 => prop::sample::select(&["within = 3d", "within = 36h", "wal = 5d", "wal = 20h"][..]).prop_map(str::to_owned),
    ];
    (prop::collection::vec(rule, 1..4), any::<bool>()).prop_map(|(rules, prefer)| {
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        rules.into_iter().for_each(|rule| {
            named.insert(rule.split(' ').next().unwrap().to_owned(), rule);
        });
        let rules = named.into_values().collect::<Vec<_>>().join(", ");
        format!("keep {{ {rules}{} }}", if prefer { ", prefer = full" } else { "" })
    })
}

fn schedules() -> impl Strategy<Value = String> {
    let whens = [
        "daily at 02:30",
        "every 7h",
        "every 90m",
        "hourly",
        "weekly on sun at 02:30",
        "\"0 4,16 * * 1-5\"",
        "monthly on 31 at 03:00",
    ];
    let when = || prop::sample::select(whens.to_vec());
    let zone = prop::sample::select(&["UTC", "Europe/Berlin", "America/New_York"][..]);
    let cycle = (0_u32..6, prop::sample::select(&["full", "previous"][..]))
        .prop_map(|(count, base)| format!("cycle {{ incrementals = {count}, base = {base} }}"));
    let run = (when(), zone.clone(), cycle)
        .prop_map(|(when, zone, cycle)| format!("schedule {{ run = {when}, zone = \"{zone}\" }}\n{cycle}"));
    let levels = (when(), when(), when(), zone).prop_map(|(full, differential, incremental, zone)| {
        format!("schedule {{ full = {full}, differential = {differential}, incremental = {incremental}, zone = \"{zone}\" }}")
    });
    prop_oneof![2 => run, 1 => levels]
}

fn plans() -> impl Strategy<Value = String> {
    let extras = prop::sample::select(&["", "immutable = 4d", "append_only = true", "immutable = 40h"][..]);
    let own = prop_oneof![2 => Just(String::new()), 1 => rules()];
    let to = || prop::sample::select(&["[near]", "[far]", "[near, far]"][..]);
    let archives = (to(), to(), any::<bool>(), any::<bool>()).prop_map(|(one, two, first, second)| {
        format!(
            "archive one {{ from = [a, db], to = {one}, self_contained = {first} }}\n\
             archive two {{ from = [b], to = {two}, self_contained = {second} }}"
        )
    });
    let log = prop::sample::select(&["", "wal db { to = [near], keep = 3d }"][..]);
    (extras, own, archives, schedules(), prop::option::weighted(0.9, rules()), log).prop_map(
        |(extra, own, archives, schedule, keep, log)| {
            // Where retention takes what was run for a level that was due, that level is due again: not played.
            let archives = match schedule.contains("differential =") {
                true => archives.replace("self_contained = true", "self_contained = false"),
                false => archives,
            };
            format!(
                "plan p\nstore near: dir {{ path = \"/near\" }}\n\
                 store far: dir {{\n  path = \"/far\"\n  {extra}\n  {own}\n}}\n\
                 source a: files {{ paths = [\"/a\"] }}\nsource b: files {{ paths = [\"/b\"] }}\n\
                 source db: postgres {{ driver = basebackup }}\n{archives}\n{schedule}\n{}\n{log}\n",
                keep.unwrap_or_default()
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn runs_come_and_go_as_they_really_do(text in plans()) {
        let model = model(&text);
        let days = if text.contains("every 90m") || text.contains("hourly") { 12 } else { 90 };
        let (found, expected) = (simulated(&model, horizon(days)), really(&model, horizon(days)));
        for (store, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
            if let Some(at) = differs {
                prop_assert!(false, "{text}\nstore {store}, run {at}: {:?}\nreally: {:?}", found[at], expected[at]);
            }
            prop_assert_eq!(found.len(), expected.len());
        }
    }
}

/// `near` takes the full of both archives before their cycle ends, and both begin again: a base backup, whole each time, is
/// no full of the files beside it. If it were, they would never have another, and `cycles = 1` would keep all of them.
#[test]
fn files_beside_a_base_backup_begin_again_as_files_alone_do() {
    let text = "plan p\nstore near: dir { path = \"/near\" }\n\
                store far: dir { path = \"/far\", keep { cycles = 1 } }\n\
                source a: files { paths = [\"/a\"] }\nsource b: files { paths = [\"/b\"] }\n\
                source db: postgres { driver = basebackup }\n\
                archive one { from = [a, db], to = [near, far], self_contained = true }\n\
                archive two { from = [b], to = [near, far], self_contained = true }\n\
                schedule { run = daily at 02:30, zone = \"UTC\" }\n\
                cycle { incrementals = 2, base = previous }\nkeep { hourly = 1 }\n";
    for text in [
        text.to_owned(),
        text.replace("archive two { from = [b], to = [near, far], self_contained = true }\n", ""),
    ] {
        let model = model(&text);
        let stores = simulated(&model, horizon(60));
        assert_eq!(stores, really(&model, horizon(60)));
        let left = stores[1].iter().filter(|(_, _, gone)| gone.is_none()).count();
        assert!((1..=6).contains(&left), "{left} are left in `far`:\n{text}");
    }
}

const APART: &str = "plan p
store local: dir { path = \"/backup\" }
store repo: STORE
source site: files { paths = [\"/srv/site\"] }
source db: postgres { driver = pgbackrest, stanza = \"main\", run_as = \"postgres\"STAGING }
archive site { from = [site], to = [local] }
separate db { to = [repo], keep { full = 2, wal = 45d } }
cycle { incrementals = 4 }
schedule { run = daily at 02:30 }
keep { cycles = 4 }
";

/// Starts and levels of what is in a store at the end.
fn left(text: &str, store: &str) -> Vec<(Timestamp, Level)> {
    let model = model(text);
    let id = StoreId(model.stores.iter().position(|one| one.name == store).unwrap());
    let simulation = simulate(&model, horizon(300));
    let there = simulation.lives(id).iter().filter(|life| life.gone().is_none());
    there.map(|life| (life.started(), life.level())).collect()
}

#[test]
fn a_repository_apart_follows_the_cycle_and_its_own_rules() {
    let folder = APART.replace("STORE", "dir { path = \"/repo\" }").replace("STAGING", "");
    let apart = left(&folder, "repo");
    let fulls = apart.iter().filter(|(_, level)| *level == Level::Full).count();
    // Two cycles, the base of the log, and the run that will be it.
    assert!(fulls == 4 && apart.len() > fulls, "{apart:?}");
    // And so in a bucket.
    let bucket = APART
        .replace("STORE", "s3 {\n  bucket = \"b\"\n  access_key = env(\"A\")\n  secret_key = env(\"B\")\n}")
        .replace("STAGING", ", staging = \"/staging\"");
    assert_eq!(left(&bucket, "repo"), apart);
    let oldest = horizon(300).until.duration_since(apart[0].0).as_hours() / 24;
    assert!((45..100).contains(&oldest), "{apart:?}");
}

fn found(text: &str) -> Vec<(&'static str, String)> {
    let (_, compiled) = compile_files(&[("p.plan", text)]);
    compiled.findings.into_iter().map(|finding| (finding.name, finding.message)).collect()
}

#[test]
fn the_log_of_one_source_does_not_rest_on_backups_of_another() {
    let source = |name: &str, run: &str| {
        format!(
            "source {name}: postgres {{ driver = pgbackrest, stanza = \"{name}\", run_as = \"postgres\" }}\n\
             separate {name} {{ to = [repo], schedule {{ run = {run} }} }}\n"
        )
    };
    let head =
        "plan p\nstore repo: dir { path = \"/repo\", keep { last = 3 } }\nkeep { last = 3, wal = 30d }\n";
    let text = format!("{head}{}{}", source("one", "monthly on 1 at 04:00"), source("two", "daily at 04:00"));
    let found = found(&text);
    assert!(found.iter().any(|(name, text)| *name == "moment_lost" && text.contains("`two`")), "{found:?}");
}

#[test]
fn what_a_repository_apart_keeps_is_held_against_immutability() {
    let text = "plan p\nstore repo: dir { path = \"/repo\", immutable = 90d }\n\
                source db: postgres { driver = pgbackrest, stanza = \"main\", run_as = \"postgres\" }\n\
                separate db { to = [repo], keep { full = 2 } }\nschedule { run = daily at 04:30 }\n";
    let found = found(text);
    assert!(found.iter().any(|(name, _)| *name == "immutable_outlasts_keep"), "{found:?}");
}
