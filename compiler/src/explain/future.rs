//! The plan played forward: promises of time, retention, log.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "rpo_missed",
        text: "`objective.rpo` is the work that may be lost: the longest time between the starts of two runs of a\n\
             source, and what a run takes until it is committed. The schedule is played forward for years; the worst gap is shown.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = "30 4 * * mon-fri" }
objective { rpo = 26h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30 }
objective { rpo = 26h }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "rpo_tight",
        text: "An `rpo` that is as long as the time between two runs is missed at each of them: what a run brings counts once it is\n\
             committed, and until then the newest backup is older than was promised. `plan status` says so for as long.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
objective { rpo = 24h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
objective { rpo = 26h }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "rpo_clock_change",
        text: "In a zone whose clocks change, one day of a year has 25 hours. A run a day at a local time then keeps an\n\
             `objective.rpo` of 25 hours on every other day, and misses it in that night. A schedule in UTC\n\
             does not.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30, zone = "Europe/Berlin" }
objective { rpo = 25h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30, zone = "UTC" }
objective { rpo = 25h }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "rpo_unscheduled",
        text: "An `rpo` is held against the schedule. Without one, nothing says when the next run is.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
objective { rpo = 26h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
objective { rpo = 26h }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "rto_unrehearsed",
        text: "How long it takes until a source is back is known when it has been restored. No text proves it: a\n\
             `verify` block rehearses it.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
objective { rto = 4h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
objective { rto = 4h }
verify { every = 7d, restore = site }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "rehearsal_late",
        text: "Runs make the rehearsals that are due; nothing else does. `verify.every` that is shorter than the time between two runs,\n\
             or ends between two of them, is therefore late by more than the tenth (a day at the most) that `plan status` lets pass.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = weekly on sun at 03:00 }
verify { every = 24h, restore = site }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = weekly on sun at 03:00 }
verify { every = 7d, restore = site }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "clock_change",
        text: "On the day on which clocks go forward an hour does not exist. A run at one fixed time in it starts as the\n\
             hour ends; of a cron string with lists, steps or ranges of hours or minutes, the runs in it are left out, which\n\
             may leave a day without any. On the day on which clocks go back an hour comes twice. A run at one fixed time is\n\
             at the first; those of lists, steps and ranges are at both. What is due every hour just goes on, and is not told. It is a note\n\
             where every run is made and none twice.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30, zone = "Europe/Berlin" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 04:30, zone = "Europe/Berlin" }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "short_months",
        text: "A schedule on day 29, 30 or 31 is silently not due in months that do not have it: on day 31 two months\n\
             pass between some runs. A list of days is told where a month has none of them.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = monthly on 31 at 04:00 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = monthly on 28 at 04:00 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "jitter_overlaps",
        text: "`jitter` delays each run by a random time up to it. Where that is no shorter than the time between two\n\
             runs, one may be due before the last has begun, and is skipped.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = every 30m, jitter = 45m }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = every 30m, jitter = 5m }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "timeout_overlaps",
        text: "While a run is under way no other begins. One that takes as long as `limits.timeout` lets it is in the way of those that\n\
             are due meanwhile: they are not made. Where a full may take that long and the short runs behind it may wait, that is meant.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
limits { timeout = 30h }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
limits { timeout = 20h }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "level_never_comes",
        text: "Where two levels are due at one moment, the higher is run. A level all of whose moments are those of a higher one is never\n\
             run, and what `keep` says of it keeps nothing.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { full = weekly on sun at 03:00, differential = weekly on sun at 03:00, incremental = daily at 01:00 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { full = weekly on sun at 03:00, differential = weekly on wed at 03:00, incremental = daily at 01:00 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "endless_chain",
        text: "An incremental rests on the run before it, that one on the one before, back to the last run that rests on a full or is one.\n\
             Where that is more than a year away, one artefact that is lost takes all behind it, a restore reads all of them, and\n\
             `keep` can delete none.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
cycle { incrementals = 1000, base = previous }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
cycle { incrementals = 30, base = previous }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "useless_rule",
        text: "A rule of `keep` that no run of the plan can ever come under keeps nothing: `differential` where no run\n\
             is one, `wal` where no source has a log, `within` a time in which no second run comes.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
keep { daily = 7, differential = 3 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
cycle { incrementals = 6 }
keep { daily = 7, differential = 3 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "keep_without_effect",
        text: "This host never deletes from a store that is `append_only`, whatever its `keep` says, or the plan's where\n\
             every store that it is for is such.",
        failing: r#"plan site

store local: dir {
  path        = "/backup"
  append_only = true

  keep { daily = 7 }
}
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup", append_only = true }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "immutable_outlasts_keep",
        text: "What is younger than a store's `immutable` is not deleted, also where `keep` has given it up. The\n\
             store holds more than `keep` says; both dates are shown. An hour that clocks take away in between is not\n\
             told: the run goes with the next prune.",
        failing: r#"plan site

store local: dir { path = "/backup", immutable = 30d }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
keep { daily = 7 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup", immutable = 7d }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
keep { daily = 7 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "keep_outlasts_immutable",
        text: "`immutable` protects what is young. What `keep` wants for longer can, from then on, be deleted by\n\
             whoever holds the keys of the store. Mostly that is meant: the newest backups are what must be safe.",
        failing: r#"plan site

store local: dir { path = "/backup", immutable = 7d }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
keep { last = 30 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup", immutable = 30d }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
keep { last = 30 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "pinned_chain",
        text: "A run that is kept keeps all that it rests on. Where `keep` names a run late in a long chain, the store\n\
             holds the whole chain for it: far more than the rules name. It costs room, and no safety. `prefer = full` makes the rules name fulls.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
cycle { incrementals = 27, base = previous }
keep { daily = 3, monthly = 6 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
cycle { incrementals = 27, base = previous }
keep { daily = 3, monthly = 6, prefer = full }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "cut_cycle",
        text: "What is `self_contained` rests on nothing, so nothing holds the full of its cycle. Where `keep` gives it\n\
             up before the cycle is complete, the next run has nothing to compare with and is a full: the cycle is\n\
             never as long as the plan says.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], self_contained = true }
schedule { run = daily at 02:30 }
cycle { incrementals = 6 }
keep { last = 3 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local], self_contained = true }
schedule { run = daily at 02:30 }
cycle { incrementals = 6 }
keep { last = 3, cycles = 1 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "log_hole",
        text: "Log is kept for as long as `keep` of its `wal` block says. Backups that are kept for longer are there,\n\
             each as it was; the moments between them are not. Often that is what is wanted.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source db: postgres { driver = basebackup }
archive site { from = [db], to = [local] }
wal db { to = [local], keep = 7d }
schedule { run = daily at 02:30 }
keep { daily = 7, monthly = 6 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source db: postgres { driver = basebackup }
archive site { from = [db], to = [local] }
wal db { to = [local], keep = 7d }
schedule { run = daily at 02:30 }
keep { daily = 7 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "moment_lost",
        text: "`keep { wal = D }` promises recovery to any moment of the last D, and so holds the newest backup that is\n\
             older than that, and the oldest that is younger, which takes its place. A store's own `keep` replaces the\n\
             plan's, this promise with it; so does the `keep` of a `separate`, for its source. And the `keep` of a `wal` says\n\
             how much log there is: where no log is kept for as long as was promised, no moment before it is left.",
        failing: r#"plan site

store local: dir {
  path = "/backup"

  keep { last = 3 }
}
source db: postgres {
  driver  = pgbackrest
  stanza  = "main"
  staging = "/var/lib/pgbackrest"
}
archive site { from = [db], to = [local] }
schedule { run = daily at 02:30 }
keep { last = 3, wal = 14d }
"#,
        mended: r#"plan site

store local: dir {
  path = "/backup"

  keep { last = 3, wal = 14d }
}
source db: postgres {
  driver  = pgbackrest
  stanza  = "main"
  staging = "/var/lib/pgbackrest"
}
archive site { from = [db], to = [local] }
schedule { run = daily at 02:30 }
keep { last = 3, wal = 14d }
"#,
        library: None,
        params: &[],
    },
];
