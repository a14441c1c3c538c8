//! Which level a run takes, in lives of plans.

use std::collections::BTreeSet;

use backplan_compiler::cycle::{Asked, Lost, Next, Past, Place, next};
use backplan_compiler::model::{Level, Model};
use backplan_compiler::retention::{Part, Run};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use crate::common::compile_files;

const SITE: &str = "\
store local: dir { path = \"/backup\" }
source a: files { paths = [\"/srv/a\"] }
source b: files { paths = [\"/srv/b\"] }
archive main { from = [a, b], to = [local] }
";

fn model(text: &str) -> Model {
    let (set, compiled) = compile_files(&[("p.plan", &format!("plan p\n{text}"))]);
    assert!(compiled.is_sound(), "{}", crate::common::shown(&set, &compiled.findings));
    compiled.model.unwrap()
}

fn site(more: &str) -> Model {
    model(&format!("{SITE}{more}\n"))
}

/// A store and a clock.
struct Life {
    runs: Vec<Run<u32>>,
    lost: Lost<u32>,
    now: Timestamp,
}

impl Life {
    fn new() -> Life {
        Life { runs: Vec::new(), lost: Lost::new(), now: "2026-11-20T02:30:00Z".parse().unwrap() }
    }

    fn ask(&self, model: &Model, archive: &str, only: &[&str], level: Option<Level>) -> Next<u32> {
        let archive = model.archives.iter().find(|found| found.name == archive).unwrap();
        let names = archive.from.iter().map(|id| model.source(*id).name.as_str());
        let sources: BTreeSet<&str> = names.filter(|name| only.is_empty() || only.contains(name)).collect();
        let past = Past { runs: &self.runs, lost: &self.lost };
        next(model, archive, &Asked { sources, level, now: self.now }, &past)
    }

    /// Makes a run of every archive, a day later than the last.
    fn run(&mut self, model: &Model, only: &[&str], level: Option<Level>) -> Vec<Level> {
        let mut parts = Vec::new();
        let mut levels = Vec::new();
        for archive in &model.archives {
            let next = self.ask(model, &archive.name, only, level);
            let before = next.before();
            if next.bases.is_empty() {
                continue;
            }
            levels.push(next.level);
            for (source, base) in next.bases {
                let (level, rests_on) =
                    base.map_or((Level::Full, BTreeSet::new()), |base| (next.level, base.rests_on));
                let place = if level == Level::Full { 0 } else { before };
                parts.push(Part {
                    archive: archive.name.clone(),
                    source,
                    level,
                    place,
                    rests_on,
                    lacks: Default::default(),
                    lost: Default::default(),
                });
            }
        }
        let id = self.runs.last().map_or(0, |run| run.id) + 1;
        let level = parts.iter().map(|part| part.level).max().unwrap();
        self.runs.push(Run { id, started: self.now, level, parts, size: 1, is_torn: false });
        self.now += SignedDuration::from_hours(24);
        levels
    }

    fn days(&mut self, model: &Model, count: usize) -> Vec<Level> {
        (0..count).flat_map(|_| self.run(model, &[], None)).collect()
    }
}

use Level::{Differential as D, Full as F, Incremental as I};

#[test]
fn without_a_cycle_every_run_is_a_full() {
    let model = site("");
    let mut life = Life::new();
    assert_eq!(life.days(&model, 3), [F, F, F]);
    assert_eq!(life.ask(&model, "main", &[], None).place, None);
}

#[test]
fn five_backups_a_cycle_one_full_and_four_differences_from_it() {
    let model = site("cycle { incrementals = 4, base = full }");
    let mut life = Life::new();
    assert_eq!(life.days(&model, 7), [F, D, D, D, D, F, D]);
    let next = life.ask(&model, "main", &[], None);
    assert_eq!(next.place, Some(Place { number: 3, of: 5 }));
    assert_eq!(next.why, "it is run 3 of a cycle of 5");
    assert_eq!(next.bases["a"].as_ref().unwrap().rests_on, BTreeSet::from([6]));
}

#[test]
fn with_base_previous_each_rests_on_all_before_it() {
    let model = site("cycle { incrementals = 2, base = previous }");
    let mut life = Life::new();
    assert_eq!(life.days(&model, 5), [F, I, I, F, I]);
    assert_eq!(
        life.ask(&model, "main", &[], None).bases["b"].as_ref().unwrap().rests_on,
        BTreeSet::from([4, 5])
    );
}

#[test]
fn a_level_that_is_asked_for_takes_its_place() {
    let model = site("cycle { incrementals = 3, base = previous }");
    let mut life = Life::new();
    life.days(&model, 2);
    assert_eq!(life.run(&model, &[], Some(F)), [F]);
    assert_eq!(life.days(&model, 4), [I, I, I, F]);
    let next = life.ask(&model, "main", &[], Some(D));
    assert_eq!((next.level, next.bases["a"].as_ref().unwrap().run), (D, 7));
    let mut new = Life::new();
    let next = new.ask(&model, "main", &[], Some(I));
    assert_eq!(next.level, F);
    assert_eq!(next.warnings, ["there is nothing that a run of level `incremental` could rest on"]);
    assert_eq!(new.days(&model, 1), [F]);
}

#[test]
fn a_lost_base_makes_the_next_run_a_full() {
    let model = site("cycle { incrementals = 5, base = previous }");
    let mut life = Life::new();
    life.days(&model, 3);
    life.runs.remove(0);
    let next = life.ask(&model, "main", &[], None);
    assert_eq!((next.level, next.place), (F, Some(Place { number: 1, of: 6 })));
    assert_eq!(next.why, "no full is left");
    assert_eq!(next.warnings, ["run 1, which run 3 rests on, is not there"]);
    // An earlier full is there, and is no answer.
    let differential = site("cycle { incrementals = 2 }");
    let mut life = Life::new();
    life.days(&differential, 5);
    life.runs.retain(|run| run.id != 4);
    let next = life.ask(&differential, "main", &[], None);
    assert_eq!((next.level, next.warnings.len()), (F, 0));
    let differential = site("cycle { incrementals = 9 }");
    assert_eq!(life.ask(&differential, "main", &[], None).level, F);
    assert_eq!(life.ask(&differential, "main", &[], None).warnings.len(), 2);
    let mut life = Life::new();
    life.days(&model, 3);
    life.lost.insert((2, "main".into(), None), "its artefact is not there".into());
    let next = life.ask(&model, "main", &[], None);
    assert_eq!(next.level, F);
    assert_eq!(
        next.warnings,
        ["a", "b"].map(|source| {
            format!(
                "source `{source}` is taken whole: the base, run 2, cannot be used: its artefact is not there"
            )
        })
    );
}

#[test]
fn a_source_that_is_new_is_taken_whole_and_the_others_go_on() {
    let one = model(
        "store local: dir { path = \"/backup\" }\nsource a: files { paths = [\"/srv/a\"] }\narchive main { from = [a], to = [local] }\ncycle { incrementals = 4 }",
    );
    let two = site("cycle { incrementals = 4 }");
    let mut life = Life::new();
    life.days(&one, 3);
    let next = life.ask(&two, "main", &[], None);
    assert_eq!((next.level, next.place), (D, Some(Place { number: 4, of: 5 })));
    assert_eq!(next.bases["a"].as_ref().map(|base| base.run), Some(1));
    assert_eq!(next.bases["b"], None);
    assert_eq!(next.warnings, [] as [&str; 0]);
    assert_eq!(life.days(&two, 4), [D, D, F, D]);
    assert_eq!(life.ask(&two, "main", &[], None).bases["b"].as_ref().map(|base| base.run), Some(6));
}

#[test]
fn a_cycle_that_was_shortened_ends_at_once() {
    let mut life = Life::new();
    life.days(&site("cycle { incrementals = 6 }"), 5);
    let short = site("cycle { incrementals = 2 }");
    assert_eq!(life.days(&short, 4), [F, D, D, F]);
    let other = site("cycle { incrementals = 4, base = previous }");
    assert_eq!(life.days(&other, 6), [I, I, I, I, F, I]);
}

#[test]
fn two_archives_have_chains_of_their_own() {
    let model = model(
        "store local: dir { path = \"/backup\" }\nsource a: files { paths = [\"/srv/a\"] }\nsource b: files { paths = [\"/srv/b\"] }\n\
         archive one { from = [a], to = [local] }\narchive two { from = [b], to = [local] }\ncycle { incrementals = 2 }",
    );
    let mut life = Life::new();
    life.days(&model, 2);
    // The second archive fails once: the run does not hold it.
    life.runs[1].parts.retain(|part| part.archive == "one");
    assert_eq!(life.days(&model, 3), [D, D, F, D, D, F]);
}

#[test]
fn an_archive_that_was_renamed_goes_on() {
    let cycle = "cycle { incrementals = 3 }";
    let mut life = Life::new();
    life.days(&site(cycle), 2);
    let renamed = model(&format!("{}{cycle}", SITE.replace("archive main", "archive site")));
    let next = life.ask(&renamed, "site", &[], None);
    assert_eq!((next.level, next.bases["a"].as_ref().unwrap().archive.as_str()), (D, "main"));
    assert_eq!(life.days(&renamed, 3), [D, D, F]);
}

#[test]
fn a_run_of_one_source_moves_on_that_source_alone() {
    let model = site("cycle { incrementals = 3 }");
    let mut life = Life::new();
    life.days(&model, 2);
    life.run(&model, &["a"], None);
    assert_eq!(life.ask(&model, "main", &["b"], None).place, Some(Place { number: 3, of: 4 }));
    // The furthest leads: a full brings them together.
    assert_eq!(life.days(&model, 3), [D, F, D]);
}

const LEVELS: &str = "schedule { full = weekly on sun at 03:00, incremental = daily at 02:30 }";

#[test]
fn each_level_has_its_own_time_and_what_was_missed_is_made_up_for() {
    let model = site(LEVELS);
    let mut life = Life::new();
    life.run(&model, &[], None);
    let at = |life: &mut Life, time: &str| {
        life.now = time.parse().unwrap();
        let next = life.ask(&model, "main", &[], None);
        (next.level, next.why)
    };
    // The first run was on a Friday; Sunday is the 22nd.
    assert_eq!(at(&mut life, "2026-11-21T02:30:00Z"), (I, "it was due at 2026-11-21 02:30 +00:00".into()));
    assert_eq!(at(&mut life, "2026-11-22T03:00:00Z"), (F, "it was due at 2026-11-22 03:00 +00:00".into()));
    // The machine was off on Sunday.
    assert_eq!(at(&mut life, "2026-11-24T02:30:00Z").0, F);
    life.run(&model, &[], None);
    assert_eq!(
        at(&mut life, "2026-11-24T12:00:00Z").1,
        "nothing is due, and `incremental` is the lowest level of the schedule"
    );
    assert_eq!(at(&mut life, "2026-11-25T02:30:00Z").0, I);
    let off = site(&LEVELS.replace(" }", ", catch_up = false }"));
    let mut life = Life::new();
    life.run(&off, &[], None);
    life.now = "2026-11-24T02:30:00Z".parse().unwrap();
    assert_eq!(life.ask(&off, "main", &[], None).level, I);
}

#[test]
fn where_two_levels_are_due_at_once_the_higher_is_run() {
    let model = site(
        "schedule { full = monthly on 1 at 02:30, differential = weekly on sun at 02:30, incremental = daily at 02:30 }",
    );
    let mut life = Life::new();
    life.now = "2026-11-01T02:30:00Z".parse().unwrap();
    // November began on a Sunday.
    let levels = life.days(&model, 31);
    let expected = |day: usize| match day {
        0 | 30 => F,
        day if day % 7 == 0 => D,
        _ => I,
    };
    assert_eq!(levels, (0..31).map(expected).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn n_followers_then_a_full_again(
        followers in 1_usize..9, previous: bool, runs in 1_usize..40, demand in 0_usize..40,
    ) {
        let base = if previous { "previous" } else { "full" };
        let model = site(&format!("cycle {{ incrementals = {followers}, base = {base} }}"));
        let mut life = Life::new();
        let mut levels = Vec::new();
        for number in 0..runs {
            let next = life.ask(&model, "main", &[], None);
            prop_assert_eq!(next.place, Some(Place { number: number % (followers + 1) + 1, of: followers + 1 }));
            for base in next.bases.values().flatten() {
                prop_assert!(base.rests_on.iter().all(|id| life.runs.iter().any(|run| run.id == *id)));
            }
            // A run on demand is a run like any other.
            life.now += SignedDuration::from_mins(if number == demand { 90 } else { 0 });
            levels.extend(life.run(&model, &[], None));
        }
        for (number, level) in levels.iter().enumerate() {
            prop_assert_eq!(*level == F, number % (followers + 1) == 0);
        }
    }
}
