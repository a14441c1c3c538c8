//! What `plan check --live` finds. It comes from the world, not from a text: no plan can be shown that has it.

use super::Page;

const FILES: &str = r#"plan site

store local: dir { path = "/backup" }
staging { path = "/var/tmp/site" }
source site: files { paths = ["/srv/site"] }
archive site { from = [site], to = [local] }
"#;

const CLUSTER: &str = r#"plan node

store local: dir { path = "/backup" }
staging { path = "/var/tmp/node" }
source main: postgres { driver = basebackup, user = "backup", run_as = "postgres" }
archive node { from = [main], to = [local] }
wal main { to = [local] }
objective { rpo = 5m }
"#;

const CYCLED: &str = r#"plan node

store local: dir { path = "/backup" }
staging { path = "/var/tmp/node" }
source main: postgres { driver = basebackup, user = "backup", run_as = "postgres" }
archive node { from = [main], to = [local] }
cycle { incrementals = 6 }
"#;

const fn page(name: &'static str, text: &'static str, plan: &'static str) -> Page {
    Page { name, text, failing: "", mended: plan, library: None, params: &[] }
}

const REPOSITORY: &str = r#"plan shop

store local: dir { path = "/backup" }
source main: postgres {
  driver  = pgbackrest
  stanza  = "shop"
  staging = "/backup-repository"
  config  = "/etc/pgbackrest/shop.conf"   # repo1-path=/backup-repository, and nothing of retention
  run_as  = "postgres"
}
archive shop { from = [main], to = [local] }
keep { cycles = 2 }
"#;

pub(super) const PAGES: &[Page] = &[
    page(
        "path_missing",
        "The source names a path that is not there, or that the account that looks may not read. A run would\n\
         fail, unless the source is `optional`. Look as the account that runs the plan: another one sees\n\
         another world. Or the source was read from a file system of its own, which is not mounted: mount it, leave it out\n\
         by a pattern, or give it up with `plan run FILE --unmounted PATH`.",
        FILES,
    ),
    page(
        "path_is_link",
        "The source names a symbolic link. A backup holds the link, and nothing of the folder or file that it leads\n\
         to, so that a restore puts back what was there: a link. A run says the same, and ends with 3. Name what it\n\
         leads to as a path of its own, beside the link or in its place; then nothing is said. A link to nothing fails\n\
         the source as a path does that is missing.",
        FILES,
    ),
    page(
        "store_away",
        "The store's folder is not there, and either a run has used it before or the folder above is missing\n\
         too: most likely nothing is mounted. A run would not make it, as it would fill the disk below the\n\
         mount. Mount it, or make the folder above it. Or a bucket or a file server could not be looked at, with\n\
         the keys that a run would use: what its server said stands there. A file or a link to nothing in the place of the\n\
         folder is told so, too: move it away.",
        FILES,
    ),
    page(
        "store_read_only",
        "The store is there and cannot be written to: it is closed to the account that looks, which may be another than the\n\
         one that runs. Nothing was written to find out.",
        FILES,
    ),
    page(
        "store_unusable",
        "The store is there and can be read, and still no run could use it: its `format.yaml` is damaged, is gone, or\n\
         says that the plan is another machine's or another file's; a number in it ends all numbers; its leases\n\
         cannot be listed; or one of them cannot be read, for which each run waits a minute; a link stands in the place of a\n\
         folder in it; it is mounted read-only, or its file server takes nothing; or the archive of a log is missing that no run makes. `plan status` says the\n\
         same, before the first night that it costs. The message says what to move away, or when `plan run --adopt`\n\
         takes the store over.",
        FILES,
    ),
    page(
        "state_unusable",
        "Runs keep on this machine what they remember of their stores, how they ended, and whose turn it is: below\n\
         `$XDG_STATE_HOME/backplan`, else `~/.local/state/backplan`. It cannot be read, is damaged, has no room, may not be\n\
         written, or others may write there. Each run fails before it begins, and cannot even keep that it did.\n\
         `plan status` says the same. The message says what to do; nothing in the stores rests on what is there, and a store\n\
         that a machine forgot is taken over again by `plan run --adopt`.",
        FILES,
    ),
    page(
        "store_full",
        "The store has less room than the artefacts of the last run took. The next run may fail for lack of\n\
         room: make some, or let `keep` give up more.",
        FILES,
    ),
    page(
        "store_unsynced",
        "The store is a folder of an SSH file server that has no `fsync@openssh.com`: nobody can ask it to bring\n\
         what it was sent onto its disk. What a run stored may be lost where the server's power is cut in the\n\
         seconds after it; the next `plan verify` or run notices. OpenSSH's own servers have it. With another\n\
         server, let the plan have a second store.",
        FILES,
    ),
    page(
        "staging_away",
        "The staging's folder is not there, or cannot be written to. A run makes what is in it, never the folder\n\
         itself: where it is to be a mount of its own, databases must not be copied onto the disk below.",
        FILES,
    ),
    page(
        "staging_unsafe",
        "A run would refuse the staging, as deleting what is in it could delete what must stay. It is the root of\n\
         a mounted file system, or a folder that is mounted under another name too; something is mounted in it; a\n\
         source, a store, a plan, a key or a database is in it, by whatever links and mounts; or another account\n\
         may put a link in its place, as it may write to a folder on the way there. Name a folder of its own, in\n\
         one that only root and the account of the plan may write to. `/var/tmp` will do: in a sticky folder\n\
         nobody exchanges what is another's.",
        FILES,
    ),
    page(
        "staging_strangers",
        "The contents of a staging are deleted before and after runs. No run of the plan has used this one yet,\n\
         and there are files in it that no run made. Runs leave them alone, and warn, until they are gone: from\n\
         then on the folder is the plan's own. Move them elsewhere, delete them, or name an empty folder.",
        FILES,
    ),
    page(
        "staging_short",
        "Copies of databases and artefacts are built in the staging before they go to the stores. It has\n\
         less room than the last run needed, or, before the first run, than the databases take.",
        FILES,
    ),
    page(
        "plan_writable",
        "What a plan says, root does: its programs are started, its paths read, its stagings emptied. Another\n\
         account may write to this file of it, or put another in its place. Runs by root warn of it each time.\n\
         Give the plan, what it imports and the folders above to root, closed to others for writing.",
        FILES,
    ),
    page(
        "clock_wrong",
        "The newest run began later than now, so a clock is wrong: this machine's, or that of the machine that\n\
         made the run. Prune deletes nothing while that is so.",
        FILES,
    ),
    page(
        "account_missing",
        "`run_as` names an account that this machine does not have. Tools are started as that account.",
        CLUSTER,
    ),
    page(
        "tool_missing",
        "The driver starts programs that are not here, neither on the path nor where packages put the programs\n\
         of PostgreSQL and MariaDB. Install them on the machine that runs the plan.",
        CLUSTER,
    ),
    page(
        "tool_old",
        "`pg_dump` and `pg_basebackup` refuse a server that is newer than they are. Install the client programs\n\
         of the server's version; the newest that is installed is taken.",
        CLUSTER,
    ),
    page(
        "server_away",
        "The server did not answer a question that was put to it the way a run would: through `host` and `port`,\n\
         as `user`, with `password`, from the account `run_as`. Its own words are shown. A `mariadb` source wants a\n\
         server of MariaDB: one of MySQL is refused.",
        CLUSTER,
    ),
    page(
        "server_refuses",
        "The server is there, and lets nobody in who comes as the plan does. Its own words are shown, and under them\n\
         what they mean: a wrong password or none, no line in `pg_hba.conf`, an account of this machine that is not\n\
         the role's, no such role or database, TLS that is wanted and not there. Nothing of it passes by itself: a run\n\
         tries once, and fails with the same words.",
        CLUSTER,
    ),
    page(
        "cluster_other",
        "The server that answers has another system identifier than the one that the newest backups of the source\n\
         are of: a fresh `initdb`, a major upgrade, or another machine at the same address. A run refuses it, as\n\
         its backups would age out those of the first. Where it is meant, say so once:\n\
         `plan run --new-cluster NAME`. From then on the new one is the source's cluster, and the backups of\n\
         the old one go as `keep` says; a source of another name keeps the two apart.",
        CLUSTER,
    ),
    page(
        "rights_missing",
        "`basebackup` and `probackup` need a role with REPLICATION, or a superuser: `alter role NAME with\n\
         replication`. Without it every run fails, so that this is an error. A connection as theirs is made: it\n\
         takes a line `replication` in `pg_hba.conf` and a free sender (`max_wal_senders`), too.\n\n\
         `dump` needs to read every table: as a superuser, by `grant pg_read_all_data to NAME`, or by a grant on\n\
         each. The last cannot be seen from outside, so that for `dump` this is told as a warning.\n\n\
         Of a `mariadb` source the account needs SELECT, SHOW VIEW, TRIGGER and EVENT: `grant select, show view,\n\
         trigger, event on *.* to NAME`. What an account may not see, the server does not show to it, and the dump\n\
         is made without. A database that the plan names and the server does not show is an error.",
        CLUSTER,
    ),
    page(
        "slots_full",
        "A slot makes the server keep its log while a base backup comes right into the artefact. With none left\n\
         (`max_replication_slots`) the cluster is copied below the staging first, which takes its room, and a\n\
         folder that `run_as` can enter. `select * from pg_replication_slots` shows who has them.",
        CLUSTER,
    ),
    page(
        "no_checksums",
        "Without checksums a page that the disk has spoilt looks like any other, in the cluster and in all its\n\
         backups. `pg_checksums --enable` adds them to a cluster that is stopped.",
        CLUSTER,
    ),
    page(
        "summarize_off",
        "The plan has a cycle, and the server could back up what changed: PostgreSQL 17 finds it in summaries of\n\
         its log. With `summarize_wal = off` there are none, and every run takes all of it. A reload of the\n\
         server is enough to change it: `alter system set summarize_wal = on`, `select pg_reload_conf()`. The\n\
         next run is a full still; the one after it takes what changed.",
        CYCLED,
    ),
    page(
        "wal_level",
        "With `wal_level = minimal` the log leaves out what a copy of the running cluster needs to become whole.\n\
         Set it to `replica`, which is PostgreSQL's own default, and restart the server.",
        CLUSTER,
    ),
    page(
        "archive_off",
        "The plan keeps the cluster's log, and the server has `archive_mode = off`: nothing is archived, and\n\
         there is no recovery to a point in time. It takes a restart of the server to turn it on.",
        CLUSTER,
    ),
    page(
        "archive_standby",
        "The server that the plan names follows another one, and with `archive_mode = on` such a server archives\n\
         nothing. The log comes to the plan's archive only if the server that it follows brings it there, by the\n\
         same `archive_command`; or if this one has `archive_mode = always`, which takes a restart. Once it takes\n\
         over it archives by its own command in any case.",
        CLUSTER,
    ),
    page(
        "archive_command",
        "The server archives its log with a command that is not this program's (`plan wal push`) or, for a\n\
         `pgbackrest` source, not pgBackRest's. The plan's archive gets nothing. A reload of the server is enough\n\
         to change it.",
        CLUSTER,
    ),
    page(
        "archive_unreachable",
        "The server runs its `archive_command` as the account that its data directory belongs to. Asked as that\n\
         account, the program cannot be run, or the plan, the settings or the archive cannot be reached. The\n\
         account that runs the plan may well do all of that: give the server's the same, and let it through\n\
         the folders above.",
        CLUSTER,
    ),
    page(
        "archive_behind",
        "The server has filled more segments than it has archived, without a failure to report: its\n\
         `archive_command` hangs or is slow. Until it catches up, recovery ends at the last segment that was\n\
         archived, and the server's disk fills.",
        CLUSTER,
    ),
    page(
        "archive_fails",
        "The last thing that the server's archiver reports is a failure. The server keeps its log and tries\n\
         again, so nothing is lost yet, but its disk fills, and the point that can be recovered to grows old.",
        CLUSTER,
    ),
    page(
        "timelines_apart",
        "Two timelines of the log both grow: a copy of the cluster, or the old primary beside the new one, archives to\n\
         the same place. Recovery follows the one with the higher number, whichever of them is meant, and says so;\n\
         `--target-timeline N` takes the other. Find out which of the two clusters goes on, turn archiving off in the\n\
         other, and make a backup: from then on that one is followed, and nothing is said.",
        CLUSTER,
    ),
    page(
        "archive_timeout",
        "A segment is archived when it is full, or when `archive_timeout` is over. A server with little to do\n\
         may thus hold back its last transactions for longer than `objective.rpo` promised.",
        CLUSTER,
    ),
    page(
        "stanza_missing",
        "pgBackRest's repository has no stanza for the source. Before the first run that is a note: the run makes\n\
         it. Where runs have made backups there, the repository is gone or another disk is mounted: bring it\n\
         back. The next run else makes a new stanza and a full, and what the old one held is not restored.",
        REPOSITORY,
    ),
    page(
        "stanza_other",
        "The stanza is of a cluster with another system identifier, and nothing is written to it. After a major\n\
         upgrade the cluster has a new one: `pgbackrest --config=FILE --stanza=S stanza-upgrade` makes the\n\
         repository go on with it, and the next run makes a full. Any other cluster needs a place of its own.",
        REPOSITORY,
    ),
    page(
        "repository_unreadable",
        "`pgbackrest info` cannot read the files that list the repository's backups: they are damaged, the\n\
         `passphrase` is another one, or the store cannot be reached. `plan verify` says what is whole.",
        REPOSITORY,
    ),
    page(
        "config_conflict",
        "The source names a settings file of its own with `config`. The plan says where the repository is and, by\n\
         `keep`, what goes from it; the file says the rest. Here the file says otherwise, or says what is the\n\
         plan's: another `repo1-path`, a `repo1-retention-…`, a second repository. Runs are refused until the\n\
         two agree, as the server's `archive_command` reads the same file.",
        REPOSITORY,
    ),
    page(
        "name_spoils",
        "A database has a line break in its name. pgBackRest writes names into the list of a backup as they are, where a\n\
         line break begins another line: it says that all is well, and can then neither restore that backup nor make one\n\
         that rests on it. Runs are refused. Rename the database: `alter database \"…\" rename to …`.",
        REPOSITORY,
    ),
];
