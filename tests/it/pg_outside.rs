//! Tablespaces that the archived log makes: what is started on restored data finds them in folders of its own, and those of the
//! living cluster, on the same machine and at the same paths, stay as they are.

use std::fs;

use crate::pg_base::{Cluster, is_root};
use crate::pg_wal::Archived;
use crate::scenario::{Answer, plan, shell, wait_for};

/// How the cluster is backed up, and its log archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Base backups, and an archive of the log.
    Base,
    /// pgBackRest, its repository in the artefacts.
    Packed,
    /// pgBackRest, its repository in a store.
    Apart,
}

/// A living cluster `pg`, with tablespaces from before and after its backup, of which more is written than is archived.
struct World {
    cluster: Cluster,
    way: Way,
    /// Tablespaces of before the backup, and of after it.
    later: String,
}

const ASKED: &str = "SELECT (SELECT count(*) = 1000 AND max(version) = 1 FROM rows) AND (SELECT count(*) = 77 FROM far) \
                     AND (SELECT count(*) = 5 FROM wanders) AND (SELECT count(*) = 3 FROM odd) \
                     AND NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname IN ('brief', 'doomed'))";

fn verify() -> String {
    format!("verify {{\n  restore = main\n  query = \"{ASKED}\"\n}}\n")
}

fn archiving(way: Way, stanza: &str) -> Cluster {
    if way == Way::Base {
        return Archived::new(&["store"], "", &verify()).cluster;
    }
    let cluster = Cluster::new();
    cluster.sh("mkdir -m 755 home notes; echo a > notes/a");
    shell(&cluster.scenario.path("."), "mkdir -m 755 store");
    let (staging, how, own) = match way {
        Way::Apart => ("", "separate main {\n  to = [store]\n}\n", "store/.backplan-repo/p/main"),
        _ => (
            "staging = \"home/repository\"\n  ",
            "archive a {\n  from = [main]\n  to = [store]\n}\n",
            "home/repository",
        ),
    };
    let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
    let text = format!(
        "staging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n  \
         {staging}host = \"{}\"\n  user = \"postgres\"\n  {run_as}\n}}\n\nsource notes: files {{\n  paths = [\"notes\"]\n}}\n\n\
         archive notes {{\n  from = [notes]\n  to = [store]\n}}\n\n{how}\n{}",
        cluster.scenario.path("sock").display(),
        verify()
    );
    cluster.scenario.write("p.plan", plan(&text));
    let config = cluster.scenario.path(own).join("pgbackrest.conf");
    cluster.sh(&format!(
        "cat >> pg/postgresql.conf <<'EOF'\narchive_mode = on\n\
         archive_command = 'pgbackrest --config={} --stanza={stanza} archive-push %p'\nEOF\n\
         pg_ctl -w -s -D pg -l log restart -m fast",
        config.display()
    ));
    cluster
}

/// Has every backup of a repository make a folder beside the data directory.
const FORGE: &str = r#"
for file in $(find .backplan-repo -name 'backup.manifest*'); do
  sed -i 's|^pg_data/base={}$|pg_data/../victim/made={}\n&|' $file
  sum=$(awk '
    /^\[/ { section = substr($0, 2, length($0) - 2); next }
    /=/ && !/^backrest-checksum=/ {
      at = index($0, "=")
      if (open != section) { printf "%s\"%s\":{", open == "" ? "{" : "},", section; open = section } else printf ","
      printf "\"%s\":%s", substr($0, 1, at - 1), substr($0, at + 1)
    }
    END { printf "}}" }' $file | sha1sum | cut -c1-40)
  sed -i "s|^backrest-checksum=.*|backrest-checksum=\"$sum\"|" $file
done"#;

impl World {
    /// With its backup. `later`: where the tablespace is to be that is made behind it.
    fn new(way: Way, stanza: &str, later: &str) -> World {
        let cluster = archiving(way, stanza);
        // Nothing but the test changes it.
        cluster.sh(
            "printf 'autovacuum = off\\ncheckpoint_timeout = 1h\\n' >> pg/postgresql.conf; pg_ctl -s -D pg reload",
        );
        cluster.sh(&format!("mkdir -p doomed brief '{later}' \"odd folder\""));
        let world = World { cluster, way, later: later.to_owned() };
        let sql = |text: &str| world.cluster.sql(text);
        sql("CREATE TABLE wanders AS SELECT generate_series(1, 5) n");
        world.tablespace("doomed", "doomed");
        sql("CREATE TABLE doomed (n int) TABLESPACE doomed");
        world.cluster.scenario.plan(["run"]).status(0);
        world
    }

    /// What comes after the backup; all that there is of the living cluster then.
    fn go_on(&self) -> String {
        let world = self;
        let sql = |text: &str| world.cluster.sql(text);
        world.tablespace("later", &self.later);
        sql("CREATE TABLE rows (n int, version int) TABLESPACE later");
        sql("INSERT INTO rows SELECT n, 1 FROM generate_series(1, 1000) n");
        world.tablespace("brief", "brief");
        sql("CREATE TABLE brief (n int) TABLESPACE brief");
        sql("DROP TABLE brief, doomed");
        sql("DROP TABLESPACE brief");
        sql("DROP TABLESPACE doomed");
        world.tablespace("odd", "odd folder");
        sql("CREATE TABLE odd TABLESPACE odd AS SELECT generate_series(1, 3) n");
        sql("ALTER TABLE wanders SET TABLESPACE later");
        sql("ALTER TABLESPACE fast RENAME TO faster");
        sql("SELECT pg_create_restore_point('here')");
        world.switch();
        if self.way == Way::Packed {
            // It has the log until here.
            world.cluster.scenario.plan(["run"]).status(0);
        }
        // What comes now is not in the archive: a replay up to there knows older pages. The files have it, and the log
        // that a crash leads through does not.
        sql("UPDATE rows SET version = 3");
        sql("INSERT INTO rows SELECT n, 2 FROM generate_series(1001, 2000) n");
        sql("UPDATE far SET n = -n");
        sql("CHECKPOINT");
        world.living()
    }

    fn at(&self, name: &str) -> String {
        self.cluster.scenario.path(name).display().to_string()
    }

    fn tablespace(&self, name: &str, folder: &str) {
        self.cluster.sql(&format!("CREATE TABLESPACE {name} LOCATION '{}'", self.at(folder)));
    }

    fn switch(&self) {
        let segment = self.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())");
        let asked = format!("SELECT coalesce(last_archived_wal >= '{segment}', false) FROM pg_stat_archiver");
        wait_for("an archived segment", || self.cluster.sql(&asked) == "t");
    }

    /// All of the living cluster's tablespaces: names, modes, owners, contents.
    fn living(&self) -> String {
        let all = format!("ts doomed brief '{}' \"odd folder\"", self.later);
        let script = format!(
            "find {all} -printf '%p %m %u %l\\n' | sort; find {all} -type f -exec sha256sum {{}} + | sort"
        );
        shell(&self.cluster.scenario.path("."), &script)
    }

    /// Nothing of the living cluster has changed, nor is anything lost where it is killed now.
    fn is_unharmed(&self, before: &str) {
        assert_eq!(self.living(), before);
        self.cluster.sh("pg_ctl -s -D pg -m immediate stop; pg_ctl -w -s -D pg -l log start");
        let rows = "SELECT count(*) FILTER (WHERE version = 3) || ' ' || count(*) FILTER (WHERE version = 2) FROM rows";
        assert_eq!(self.cluster.sql(rows), "1000 1000");
        assert_eq!(self.cluster.sql("SELECT sum(n) || ' ' || count(*) FROM far"), "-3003 77");
        assert_eq!(self.cluster.sql("SELECT count(*) FROM wanders"), "5");
        assert_eq!(self.cluster.sql("SELECT count(*) FROM odd"), "3");
    }

    fn forget(&self) {
        shell(&self.cluster.scenario.path("."), "rm -rf back back.*");
    }

    fn rehearse(&self) -> Answer {
        self.cluster.scenario.plan(["verify", "--rehearse", "p.plan"])
    }

    /// The run of the first backup.
    fn first(&self) -> String {
        let manifests = self.cluster.scenario.path("store/.backplan/p/manifests");
        let found = shell(&manifests, "ls | grep ^00000001- | head -n 1");
        found.trim().trim_end_matches(".yaml").to_owned()
    }

    fn nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.cluster.scenario.path("../tmp")).unwrap().count(), 0);
    }

    /// A pgBackRest that restores, and then writes beside what it is to write. The search path on which it is found.
    fn tempted_tool(&self) -> String {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *' restore') ;; *) exec /usr/bin/pgbackrest \"$@\" ;; esac\n\
             /usr/bin/pgbackrest \"$@\" || exit\n\
             touch '{0}/back/tried'\n\
             for at in '{0}/harm' '{0}/pg/harm' '{0}/store/harm' '{0}/later/harm'; do touch \"$at\"; done\n\
             chmod 777 '{0}/pg'\nexit 0\n",
            self.at(".")
        );
        fs::create_dir_all(self.cluster.scenario.path("tools")).unwrap();
        self.cluster.scenario.write("tools/pgbackrest", script);
        shell(&self.cluster.scenario.path("tools"), "chmod 755 . pgbackrest");
        format!("PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", self.at("tools"))
    }

    fn tool_was_held(&self) {
        let is_there = |name: &str| self.cluster.scenario.path(name).exists();
        assert_eq!(is_there("back/tried"), self.way != Way::Base);
        for harm in ["harm", "pg/harm", "store/harm", "later/harm"] {
            assert!(!is_there(harm), "{harm}");
        }
        assert_eq!(shell(&self.cluster.scenario.path("."), "stat -c %a pg").trim(), "700");
    }

    /// The server that was started has what every program has, whatever stood in the environment of the restore.
    fn server_has_no_secret(&self) {
        let pid = self.cluster.scenario.read("back/postmaster.pid");
        let pid = pid.lines().next().unwrap_or_default();
        let environment = String::from_utf8(fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
        let mut names: Vec<&str> =
            environment.split_terminator('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert!(!environment.contains("hunter2"), "{environment}");
        let own = if is_root() { &[][..] } else { &["HOME", "TMPDIR", "XDG_STATE_HOME"] };
        let mut fixed = [&["LC_ALL", "PATH", "TZ"], own].concat();
        fixed.sort_unstable();
        assert_eq!(names, fixed);
    }

    /// Starts the restored cluster as a person does who knows nothing of all this.
    fn start_by_hand(&self) -> Answer {
        let script = format!(
            "export PATH=/usr/lib/postgresql/15/bin:$PATH\npg_ctl -w -D back -l back.log -o \"-p 6001 -c archive_mode=off \
             -c listen_addresses= -c unix_socket_directories={}\" start",
            self.at("sock")
        );
        self.cluster.scenario.write("by-hand", script);
        self.cluster.scenario.other(&["runuser", "-u", "postgres", "--", "sh", "by-hand"])
    }

    fn by_hand(&self, sql: &str) -> String {
        self.cluster
            .sh(&format!("psql -X -At -p 6001 -h $PWD/sock -U postgres -d postgres -c \"{sql}\""))
            .trim()
            .to_owned()
    }
}

/// Rehearsed, then started from here, and then by hand: its tablespaces are its own.
fn its_tablespaces_are_its_own(world: &World, before: &str) {
    let run = world.first();
    let words = ["verify", "--rehearse", "--source", "main", "--run", &run, "p.plan"];
    let answer = world.cluster.scenario.plan(words);
    answer.status(0).says("passed   query").says("with no network").says("passed   pg_checksums");
    world.nothing_is_left();
    assert_eq!(world.living(), before);
    let mapping = format!("{}=spaces/later", world.at("later"));
    let tool = world.tempted_tool();
    let way = ["env", &tool, "DBPASS=hunter2", "PLAN_PARAM_KEY=hunter2", "PGPASSWORD=hunter2"];
    let words = ["restore", "--source", "main", "--to", "back", "--start", "--run", &run, "--at", "latest"];
    let words = [&words[..], &["--tablespace", &mapping]].concat();
    let answer = world.cluster.scenario.plan_by(&way, &words);
    answer.status(0).says("running").says("spaces/later").says("back.tablespaces/");
    world.tool_was_held();
    world.server_has_no_secret();
    world.nothing_is_left();
    assert_eq!(world.cluster.back(ASKED), "t");
    let place = |name: &str| {
        format!("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = '{name}'")
    };
    assert_eq!(world.cluster.back(&place("later")), world.at("spaces/later"));
    let odd = world.cluster.back(&place("odd"));
    assert!(odd.starts_with(&world.at("back.tablespaces/")), "{odd}");
    world.cluster.back("UPDATE rows SET version = 9");
    world.cluster.back("UPDATE odd SET n = 9");
    world.cluster.back("CHECKPOINT");
    assert_eq!(world.living(), before);
    world.cluster.sh("pg_ctl -s -w -D back -m fast stop");
    let settings = world.cluster.scenario.read("back/postgresql.auto.conf");
    assert!(!settings.contains("recovery_target") && !settings.contains("held by"), "{settings}");
    world.start_by_hand().status(0);
    assert_eq!(world.by_hand("SELECT count(*) || ' ' || max(version) FROM rows"), "1000 9");
    assert_eq!(world.by_hand("SELECT sum(n) FROM odd"), "27");
    assert_eq!(world.by_hand("SELECT count(*) FROM wanders"), "5");
    world.by_hand("UPDATE rows SET version = 10");
    world.by_hand("CHECKPOINT");
    world.is_unharmed(before);
}

#[test]
fn what_is_restored_from_a_packed_repository_writes_nothing_of_the_living_cluster() {
    let world = World::new(Way::Packed, "backplan_outside_packed", "later");
    let before = world.go_on();
    its_tablespaces_are_its_own(&world, &before);
}

#[test]
fn what_is_restored_from_a_repository_kept_apart_writes_nothing_of_the_living_cluster() {
    let world = World::new(Way::Apart, "backplan_outside_apart", "later");
    let before = world.go_on();
    its_tablespaces_are_its_own(&world, &before);
    // A manifest of the tool's that leads out of the folder, its sum as it must be.
    world.forget();
    shell(&world.cluster.scenario.path("store"), FORGE);
    fs::create_dir(world.cluster.scenario.path("victim")).unwrap();
    world.cluster.restore(&["--at", "latest"]).status(1).says("/victim/made': [30] Read-only file system");
    assert_eq!(fs::read_dir(world.cluster.scenario.path("victim")).unwrap().count(), 0);
    assert!(!world.cluster.scenario.path("back/PG_VERSION").exists());
}

#[test]
fn what_is_restored_from_base_backups_writes_nothing_of_the_living_cluster() {
    let world = World::new(Way::Base, "", "later");
    // Root without the right to mount, as in many containers. Where the log makes nothing elsewhere, rules suffice.
    let way = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let unmounted =
        || world.cluster.scenario.plan_by(&way, ["verify", "--rehearse", "--source", "main", "p.plan"]);
    unmounted().says("passed   recover").says("by Landlock alone");
    let before = world.go_on();
    unmounted().status(1).says("held to its own folders").says("no mount namespace");
    world.nothing_is_left();
    assert_eq!(world.living(), before);
    // What is left to be started by hand is held back.
    let again = |more: &[&str]| {
        let answer = world.cluster.restore(more);
        assert_ne!(world.start_by_hand().code, 0);
        assert_eq!(world.living(), before);
        answer
    };
    again(&["--at", "latest"]).status(3).says("held back").says("/later").says("--start");
    let log = world.cluster.scenario.read("back.log");
    assert!(log.contains("syntax error in file") && log.contains("postgresql.auto.conf"), "{log}");
    let words = world.cluster.scenario.read("back/postgresql.auto.conf");
    assert!(words.contains(&world.at("later")) && words.contains("--start"), "{words}");
    world.forget();
    // So is what is not promoted: it is not started.
    let paused = ["--start", "--restore-point", "here", "--target-action", "pause"];
    again(&paused).status(1).says("--target-action promote");
    world.forget();
    its_tablespaces_are_its_own(&world, &before);
}

/// An account without rights; and then the same as on another machine, where neither the paths are nor the folders above
/// them.
#[test]
fn an_account_without_rights_harms_nothing_either_and_paths_that_are_nowhere_are_made_for_the_server_alone() {
    let world = World::new(Way::Base, "", "mnt/disk/later");
    let before = world.go_on();
    let scenario = &world.cluster.scenario;
    shell(&scenario.path("."), "chown -R postgres: store ../tmp ../state ../home");
    let as_postgres = |words: &[&str]| {
        let way = ["runuser", "-u", "postgres", "--", "./plan"];
        scenario.other(&way.iter().chain(words).copied().collect::<Vec<_>>())
    };
    as_postgres(&["verify", "--rehearse", "p.plan"]).status(0).says("passed   query").says("with no network");
    world.nothing_is_left();
    let to = ["restore", "--source", "main", "--to", "back", "--start", "--at", "latest", "p.plan"];
    as_postgres(&to).status(0);
    assert_eq!(world.cluster.back(ASKED), "t");
    world.cluster.sh("pg_ctl -s -w -D back -m immediate stop");
    world.forget();
    world.is_unharmed(&before);
    shell(&scenario.path("."), "chown -R root: ../tmp ../state ../home");
    // In disorder: in order it would archive the rest of its log.
    world.cluster.sh(
        "pg_ctl -s -w -D pg -m immediate stop; mv mnt gone-mnt; mv \"odd folder\" gone-odd; mv brief gone-brief",
    );
    world.rehearse().status(0).says("passed   query");
    world.nothing_is_left();
    world.cluster.restore(&["--start", "--at", "latest"]).status(0);
    assert_eq!(world.cluster.back(ASKED), "t");
    world.cluster.sh("pg_ctl -s -w -D back -m fast stop");
    world.start_by_hand().status(0);
    assert_eq!(world.by_hand(ASKED), "t");
    for name in ["mnt", "odd folder", "brief"] {
        assert!(!world.cluster.scenario.path(name).exists(), "{name}");
    }
}
