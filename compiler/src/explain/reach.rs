//! What reaches what.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        name: "unreached_source",
        text: "Whatever is declared as a source is meant to survive, so one that no archive holds and that is\n\
             not `separate` is an error: it would not be backed up, and no one would know. `from = all` takes\n\
             every source not declared `separate`, also those added later.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive site { from = all, to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "empty_archive",
        text: "An archive of no source would be an empty file that looks like a backup.",
        failing: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "main" }
separate db { to = [local] }
archive rest { from = all, to = [local] }
"#,
        mended: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "main" }
separate db { to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "archived_and_separate",
        text: "A source kept separate is in no archive: its tool keeps a repository, with a retention of its\n\
             own. In both at once it would be read twice, and expired by two rules.",
        failing: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "main" }
separate db { to = [local] }
archive db { from = [db], to = [local] }
"#,
        mended: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = pgbackrest, stanza = "main", staging = "/var/lib/pgbackrest" }
archive db { from = [db], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "useless_exclude",
        text: "`exclude` leaves sources out of this archive. One that is not in it anyway is a sign that\n\
             something else was meant.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive users { from = [users], exclude = [site], to = [local] }
archive rest { from = all, to = [local], exclude = [users] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
source users: files { paths = ["/home"] }
archive users { from = [users], to = [local] }
archive rest { from = all, to = [local], exclude = [users] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "unused_name",
        text: "A `let`, a `param` or a store that nothing uses is a leftover, or a sign that something was\n\
             forgotten. Stores of an imported file are an offer and may stay unused; what a replaced block of such\n\
             a file uses, other plans use.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store nas: dir { path = "/mnt/nas" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local, nas] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "after_loop",
        text: "`after` says which sources are read before this one. In a loop, none could be read first.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source a: files { paths = ["/srv/a"], after = [b] }
source b: files { paths = ["/srv/b"], after = [a] }
archive site { from = all, to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source a: files { paths = ["/srv/a"] }
source b: files { paths = ["/srv/b"], after = [a] }
archive site { from = all, to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "endless_window",
        text: "A window that is entered and not left keeps the world in its state: the maintenance page stays,\n\
             the service stays down.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
window pause { around = [site], enter = ["systemctl", "stop", "site"] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
window pause {
  around = [site]
  enter  = ["systemctl", "stop", "site"]
  leave  = ["systemctl", "start", "site"]
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "separate_without_repository",
        text: "Only pgBackRest's repository can be kept apart. pg_probackup's catalogue is packed into an archive;\n\
             anything else is kept apart by an archive of its own.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
separate site { to = [local] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "repository_homeless",
        text: "A tool that keeps a repository of its own needs a folder on this machine: for the repository, where that\n\
             is packed into an archive; for its settings, which the server's `archive_command` reads, where the\n\
             repository is in a bucket, or where there are several. Only the settings of a repository in one folder\n\
             can lie in it. The first run makes the folder.",
        failing: r#"plan site

store local: dir { path = "/backup" }
store other: dir { path = "/other" }
source db: postgres { driver = pgbackrest, stanza = "db" }
separate db { to = [local, other] }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
store other: dir { path = "/other" }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/backplan/db" }
separate db { to = [local, other] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "repository_unreachable",
        text: "A repository that is kept apart is read and written by its tool, not by Backplan. pgBackRest goes into\n\
             folders, S3 buckets, Azure containers and Google's buckets, and to the latter three by TLS alone; for\n\
             Azure it needs `account` and `key`. It does not speak SFTP here.",
        failing: r#"plan site

store far: s3 { bucket = "backup", endpoint = "http://storage.example:9000" }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/backplan/db" }
separate db { to = [far] }
"#,
        mended: r#"plan site

store far: s3 { bucket = "backup", endpoint = "https://storage.example:9000" }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/backplan/db" }
separate db { to = [far] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "repository_unruled",
        text: "What pgBackRest uploads into a bucket it uploads in its own way: it locks no objects, asks for no storage\n\
             class and limits no bandwidth. A store that says so would promise what does not happen. Let the\n\
             repository go to a store without the rule: the same bucket under another `prefix`, whose own default\n\
             retention and lifecycle rules hold for all that comes.",
        failing: r#"plan site

store far: s3 { bucket = "backup", immutable = 30d }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/backplan/db" }
separate db { to = [far] }
"#,
        mended: r#"plan site

store far: s3 { bucket = "backup" }
source db: postgres { driver = pgbackrest, stanza = "db", staging = "/var/lib/backplan/db" }
separate db { to = [far] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "wal_without_base",
        text: "WAL is replayed onto a base backup. `pg_basebackup` makes one and leaves the WAL to be archived;\n\
             pgBackRest and pg_probackup archive it themselves; a dump cannot be its base.",
        failing: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = dump }
archive db { from = [db], to = [local] }
wal db { to = [local], keep = 30d }
"#,
        mended: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = basebackup }
archive db { from = [db], to = [local] }
wal db { to = [local], keep = 30d }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "level_unsupported",
        text: "Not every tool can do every level. Where it cannot, the source is taken whole in a run that is a\n\
             difference for the others.",
        failing: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = dump }
archive db { from = [db], to = [local] }
cycle { incrementals = 6 }
"#,
        mended: r#"plan db

store local: dir { path = "/backup" }
source db: postgres { driver = dump }
archive db { from = [db], to = [local] }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "no_full",
        text: "A schedule by level without `full` makes one full, the very first run, and everything after\n\
             rests on it for ever.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { incremental = daily at 02:30 }
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
schedule { full = weekly on sun at 03:00, incremental = daily at 02:30 }
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "changed_blocks",
        text: "With `large_files = blocks` a difference holds of a file above 512 KiB only the blocks that changed (64 KiB each; 512 KiB\n\
             above 4 GiB). It is smaller, and `tar` alone no longer restores it: `plan restore` does, and a script of twenty lines\n\
             in docs/artefact.md. A file that several names share, one with holes, and one that changed by more than half\n\
             is held whole, as is one of which this machine has lost its record. What is `self_contained` has no\n\
             differences: there the blocks that did not change are copied anyway.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from           = [site]
  to             = [local]
  self_contained = true
  large_files    = blocks
}
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from           = [site]
  to             = [local]
  self_contained = true
}
"#,
        library: None,
        params: &[],
    },
    Page {
        name: "recompressed",
        text: "A self-contained incremental copies what did not change from the artefact before. With\n\
             `encrypt`, a run holds public keys only and cannot read that artefact, so it compresses\n\
             everything again.",
        failing: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from           = [site]
  to             = [local]
  encrypt        = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
  self_contained = true
}
"#,
        mended: r#"plan site

store local: dir { path = "/backup" }
source site: files { paths = ["/srv/site"] }
archive site {
  from    = [site]
  to      = [local]
  encrypt = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]
}
"#,
        library: None,
        params: &[],
    },
];
