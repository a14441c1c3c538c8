//! Real clusters, recovered to real points.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backplan_runtime::aide;
use backplan_runtime::control::Control;
use backplan_runtime::postgres::recovery::{Action, Point, Recovery};
use backplan_runtime::postgres::server::{Expect, Server, ServerError, Start};
use backplan_runtime::programs::postmaster::running;
use tempfile::TempDir;

use crate::pg_base::is_root;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that archives its log with `cp`, with a base backup and rows written after it.
struct World {
    scratch: TempDir,
    /// LSN with the rows up to then.
    marks: Vec<(String, u32)>,
}

impl World {
    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn new() -> World {
        // What confines the servers is the program, not this test.
        aide::offer(Path::new(env!("CARGO_BIN_EXE_plan")));
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut world = World { scratch, marks: Vec::new() };
        world.sh("mkdir wal sock; initdb -D data -A trust -N -U postgres >/dev/null");
        let conf = format!(
            "listen_addresses = ''\nunix_socket_directories = '{sock}'\nfsync = off\nmax_connections = 123\n\
             archive_mode = on\narchive_command = 'cp %p {wal}/%f'\n",
            sock = world.at("sock").display(),
            wal = world.at("wal").display(),
        );
        fs::write(world.at("data/postgresql.conf"), conf).unwrap();
        world.sh("pg_ctl -w -s -D data -l log start");
        world.psql("CREATE TABLE t (n int)");
        world.sh("pg_basebackup -h $PWD/sock -U postgres -D base -c fast -X none");
        for rows in 1..=3 {
            world.psql("INSERT INTO t VALUES (1)");
            let lsn = world.psql("SELECT pg_create_restore_point('mark' || (SELECT count(*) FROM t))");
            world.marks.push((lsn.trim().to_owned(), rows));
            world.psql("INSERT INTO t SELECT -1 FROM generate_series(1, 0)");
        }
        world.psql("INSERT INTO t VALUES (1)");
        world.psql("SELECT pg_switch_wal()");
        world.sh("pg_ctl -w -s -D data -m fast stop");
        world
    }

    fn sh(&self, script: &str) -> String {
        let script = format!("export PATH={PROGRAMS}:$PATH; set -e; {script}");
        let words: &[&str] = if is_root() { &["runuser", "-u", "postgres", "--"] } else { &["env"] };
        let mut command = Command::new(words[0]);
        let done = command.args(&words[1..]).args(["sh", "-c", &script]).current_dir(self.scratch.path());
        let done = done.output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn psql(&self, sql: &str) -> String {
        self.sh(&format!("psql -X -At -h $PWD/sock -U postgres -d postgres -c \"{sql}\""))
    }

    /// A fresh copy of the base, told how far to recover.
    fn restored(&self, recovery: &Recovery) -> PathBuf {
        self.sh("rm -rf back; cp -a base back");
        recovery.check().unwrap();
        recovery.write(&self.at("back")).unwrap();
        self.at("back")
    }

    fn recovery(&self, point: Point, action: Action) -> Recovery {
        let restore_command = Some(format!("cp {}/%f %p", self.at("wal").display()));
        Recovery { point, action, restore_command, ..Recovery::default() }
    }

    fn start(&self, data: &Path) -> Start {
        Start::new(PROGRAMS.into(), data.to_path_buf(), self.at("scratch"))
    }
}

fn rows(server: &Server) -> u32 {
    let rows = server.query("postgres", "SELECT count(*) FROM t", &Control::default()).unwrap();
    rows[0][0].parse().unwrap()
}

#[test]
fn a_cluster_recovers_to_each_kind_of_point_and_can_do_no_harm() {
    let world = World::new();
    let control = Control::default();
    let lsn = |at: usize| Point::Lsn(world.marks[at].0.parse().unwrap());
    let points = [
        (lsn(0), Action::Promote, Expect::Open, 1),
        (Point::Name("mark2".into()), Action::Pause, Expect::Paused, 2),
        (lsn(2), Action::Promote, Expect::Open, 3),
        (Point::Latest, Action::Promote, Expect::Open, 4),
        (Point::Immediate, Action::Promote, Expect::Open, 0),
    ];
    let archived = fs::read_dir(world.at("wal")).unwrap().count();
    for (point, action, expect, wanted) in points {
        let data = world.restored(&world.recovery(point, action));
        let mut server = Server::start(&world.start(&data), &control).unwrap();
        server.wait(expect, PATIENCE, &control).unwrap();
        assert_eq!(rows(&server), wanted);
        let show = |name: &str| {
            server.query("postgres", &format!("SHOW {name}"), &control).unwrap().concat().concat()
        };
        assert_eq!(show("archive_mode"), "off");
        assert_eq!(show("max_connections"), "123");
        assert_eq!(show("data_directory"), data.display().to_string());
        if server.is_alone {
            let (pid, own) = (running(&data).unwrap().unwrap(), "/proc/self/ns/net");
            let other = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
            assert_ne!(other, fs::read_link(own).unwrap());
        }
        // Nobody gets a second server there.
        let second = Server::start(&world.start(&data), &control).err().unwrap();
        assert!(matches!(second, ServerError::Runs { .. }), "{second}");
        server.stop();
        assert_eq!(running(&data).unwrap(), None);
        assert!(!world.at("scratch").exists());
    }
    assert_eq!(fs::read_dir(world.at("wal")).unwrap().count(), archived);
}

#[test]
fn a_target_that_is_never_reached_is_told_with_the_servers_last_words() {
    let world = World::new();
    let control = Control::default();
    let never = Point::Time("2100-01-01T00:00:00Z".parse().unwrap());
    let data = world.restored(&world.recovery(never, Action::Promote));
    let mut server = Server::start(&world.start(&data), &control).unwrap();
    let error = server.wait(Expect::Open, PATIENCE, &control).unwrap_err().to_string();
    assert!(error.contains("recovery ended before configured recovery target was reached"), "{error}");
    drop(server);
    assert!(!world.at("scratch").exists());
    // One that is to stop at its target is over then, and that is no failure.
    let data = world.restored(&world.recovery(Point::Name("mark1".into()), Action::Shutdown));
    let mut server = Server::start(&world.start(&data), &control).unwrap();
    server.wait(Expect::Gone, PATIENCE, &control).unwrap();
}

#[test]
fn a_server_that_recovers_for_ever_is_given_up_and_gone() {
    let world = World::new();
    let control = Control::default();
    let slow = Recovery { restore_command: Some("sleep 100".into()), ..Recovery::default() };
    let data = world.restored(&slow);
    let mut server = Server::start(&world.start(&data), &control).unwrap();
    let error = server.wait(Expect::Open, Duration::from_secs(1), &control).unwrap_err();
    assert!(matches!(error, ServerError::TooLong { .. }), "{error}");
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(running(&data).unwrap(), None);
    assert!(!world.at("scratch").exists());
    control.stop();
    let mut server = Server::start(&world.start(&data), &Control::default()).unwrap();
    assert!(matches!(server.wait(Expect::Open, PATIENCE, &control), Err(ServerError::Stopped(_))));
}
