//! Promises, policies, allowances.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "copies_unreachable",
        text: "`objective.copies` counts the stores that hold a run. An archive brought to fewer can never keep\n\
             the promise.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
objective { copies = 2 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
objective { copies = 2 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "offsite_unreachable",
        text: "`objective.offsite` counts the stores marked `offsite = true`.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
objective { offsite = 1 }
"#,
        mended: r#"plan site

store local: dir { path = "/mnt/other_house", offsite = true }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
objective { offsite = 1 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "log_copies",
        text: "What was done since the last run is in the log alone. Promised copies of a source are promises for its log as well: it is to\n\
             reach as many stores, and as many offsite ones. With `ack = any` a segment counts as archived, and the server may drop\n\
             it, once a single store has it.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true }
source db: postgres { driver = basebackup }
archive db { from = [db], to = [local, nas] }
wal db { to = [local] }
objective { offsite = 1 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true }
source db: postgres { driver = basebackup }
archive db { from = [db], to = [local, nas] }
wal db { to = [local, nas] }
objective { offsite = 1 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "silent_copy",
        text: "A store that is `absent = skip` is left out without a word by a run that does not find it. A promise that needs this store is\n\
             then broken without a word, for as long as it stays away. With `warn` runs go on all the same, and tell.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true, absent = skip }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
objective { offsite = 1 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true, absent = warn }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
objective { offsite = 1 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "copies_of_newest",
        text: "Promised copies are counted for the newest run. Where all stores but one give up a run as soon as there is a newer one, every\n\
             earlier backup is in one place, and is lost with it.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true, keep { last = 1 } }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
schedule { run = daily at 02:30 }
keep { daily = 7 }
objective { copies = 2 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas", offsite = true, keep { last = 3 } }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
schedule { run = daily at 02:30 }
keep { daily = 7 }
objective { copies = 2 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unrehearsable",
        text: "A rehearsal restores a source, starts what it can and looks at it. What comes back of a source of\n\
             pg_probackup is its catalogue, which the tool itself makes a cluster of: there is nothing to look at.\n\
             Choose a driver whose backups come back as clusters, or rehearse it by hand.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source db: postgres { driver = probackup, staging = "/var/lib/pg_probackup" }
archive db { from = [db], to = [local] }
verify { restore = db }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/pgbackrest" }
archive db { from = [db], to = [local] }
verify { restore = db }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "query_of_no_database",
        text: "A `query` of a rehearsal is asked of a Postgres server or an SQLite database. Files and what a program prints answer none:\n\
             every rehearsal would fail, and with it the run that makes it. A `command` finds what was restored in `BACKPLAN_RESTORED`.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
verify { every = 7d, restore = site, query = "select 1" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { run = daily at 02:30 }
verify { every = 7d, restore = site, command = ["grep", "-r", "-q", "hello", "."] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "policy_broken",
        text: "A `policy` of an imported file is a rule for every plan that imports it. It cannot be replaced\n\
             or allowed away; several add up. `encrypt` asks it of archives, of logs, and as `passphrase` of\n\
             repositories kept apart; `offsite` of sources and logs; `objective` of each source; `schedule`\n\
             and `keep` of the plan, or of each source or store by itself; `verify` for one that says `every`.",
        failing: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

import "company.plan"

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
"#,
        library: Some(
            r#"policy { require = [encrypt] }
"#,
        ),
        params: &[],
    },
    Page {
        name: "unused_allow",
        text: "`# allow: NAME reason` takes away one warning or note on its line, or on the next line if it\n\
             stands alone. Where there is no such finding (any more), it would hide one that comes later:\n\
             delete the comment. Errors cannot be allowed.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }

# allow: inline_secret the hook is public
notify ops: webhook { url = file("/etc/backplan/hook") }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }

notify ops: webhook { url = file("/etc/backplan/hook") }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "allow_without_reason",
        text: "An allowance is read by whoever comes after; it says why. Without a reason it is a warning in\n\
             place of the one it takes away.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }

# allow: nested_stores
store second: dir { path = "/backup/second" }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, second] }

# allow: nested_stores a quota of its own is mounted there
store second: dir { path = "/backup/second" }
"#,
        library: None,
        params: &[],
    },
];
