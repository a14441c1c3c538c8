//! Every wait of a run ends when it is told to: by the step's `timeout`, by `limits.timeout`, by a signal.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scenario::{Scenario, plan, shell, wait_for};

/// Longer than anything should take that was told to end, and shorter than anything that is waited for.
const SOON: Duration = Duration::from_secs(15);

const ARCHIVE: &str = "\narchive main {\n  from = all\n  to   = [store]\n}\n";

/// Runs a plan whose source waits for something that does not come, and ends it in each way. `more` goes into the source.
#[track_caller]
fn ends(scenario: &Scenario, source: &str, is_begun: &dyn Fn() -> bool) {
    let ways = [
        ("  timeout = 1s\n", "", None),
        ("", "\nlimits {\n  timeout = 1s\n}\n", None),
        ("", "", Some("TERM")),
    ];
    for (timeout, limits, signal) in ways {
        let source = source.replacen("}\n", &format!("{timeout}}}\n"), 1);
        scenario.write("p.plan", plan(&format!("{source}{ARCHIVE}{limits}")));
        let since = Instant::now();
        let running = scenario.next_day().start(["run", "p.plan"]);
        if let Some(signal) = signal {
            wait_for("the step", || is_begun() && since.elapsed() > Duration::from_millis(700));
            running.signal(signal);
        }
        let answer = running.answer();
        assert_eq!(answer.code, if signal.is_some() { 143 } else { 1 }, "{answer:?}");
        assert!(since.elapsed() < SOON, "{timeout}{limits}{signal:?}: {:?}: {answer:?}", since.elapsed());
    }
    // The next run is let in at once.
    scenario.write("p.plan", plan(&format!("source f: files {{\n  paths = [\"p.plan\"]\n}}\n{ARCHIVE}")));
    scenario.next_day().plan(["run", "p.plan"]).status(0);
}

/// Holds a database's lock until it is dropped.
struct Locker(Child);

impl Locker {
    fn of(scenario: &Scenario) -> Locker {
        let mut sqlite = Command::new("sqlite3");
        let mut child =
            sqlite.arg(scenario.path("app.db")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(b"create table t (n); begin exclusive;\n.shell touch locked\n").unwrap();
        stdin.flush().unwrap();
        Locker(child)
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_locked_database_is_waited_for_no_longer_than_is_wanted() {
    let scenario = Scenario::new();
    let _locker = Locker::of(&scenario);
    let is_locked = || !shell(&scenario.path("."), "sqlite3 app.db 'select * from t' 2>&1; true").is_empty();
    wait_for("the lock", || scenario.path("app.db").exists() && is_locked());
    ends(&scenario, "source app: sqlite {\n  path = \"app.db\"\n}\n", &|| true);
}

#[test]
fn a_secret_that_does_not_come_is_waited_for_no_longer_than_is_wanted() {
    let scenario = Scenario::new();
    let source = "source x: command {\n  run = [\"true\"]\n  as  = \"x\"\n  env = [\"A=${exec([\"sleep\", \"47.5\"])}\"]\n}\n";
    ends(&scenario, source, &|| true);
    let left = shell(&scenario.path("."), "ps -eo stat,args | grep '[s]leep 47.5' | grep -vc '^Z' || true");
    assert_eq!(left.trim(), "0");
}

#[test]
fn a_key_of_a_store_that_does_not_come_is_waited_for_no_longer_than_is_wanted() {
    let far = "store far: s3 {\n  bucket     = \"b\"\n  endpoint   = \"http://127.0.0.1:1\"\n  \
               access_key = exec([\"sh\", \"-c\", \"touch asked; sleep 46.5; touch came\"])\n  secret_key = \"x\"\n}\n";
    let text = |limits: &str| {
        format!(
            "plan p\n\n{far}\nsource f: files {{\n  paths = [\"p.plan\"]\n}}\n\narchive main {{\n  from = [f]\n  to   = [far]\n}}\n{limits}"
        )
    };
    let scenario = Scenario::new().file("p.plan", text(""));
    for args in [&["run"][..], &["prune"], &["sync"], &["check", "--live"]] {
        let waiting = scenario.start(args);
        wait_for("the program that is to say the key", || scenario.path("asked").exists());
        waiting.signal("TERM");
        waiting.answer().status(143);
        fs::remove_file(scenario.path("asked")).unwrap();
    }
    scenario.write("p.plan", text("limits {\n  timeout = 1s\n}\n"));
    scenario.next_day().plan(["run"]).status(1);
    assert!(!scenario.path("came").exists());
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let scenario = Scenario::new();
    shell(&scenario.path("."), "mkfifo pipe");
    let source =
        "source x: command {\n  run = [\"true\"]\n  as  = \"x\"\n  env = [\"A=${file(\"pipe\")}\"]\n}\n";
    scenario.write("p.plan", plan(&format!("{source}{ARCHIVE}")));
    let since = Instant::now();
    scenario
        .next_day()
        .plan(["run", "p.plan"])
        .status(1)
        .stdout_has("it is a pipe, a socket or a device, not a file");
    let named = ARCHIVE
        .replace("[store]\n", "[store]\n  name = \"x-${read(\"pipe\")}-${time(\"%Y%m%d%H%M%S\")}.tar.gz\"\n");
    let source = "source x: files {\n  paths = [\"p.plan\"]\n}\n";
    scenario.write("p.plan", plan(&format!("{source}{named}")));
    for args in [&["run", "p.plan"][..], &["run", "--dry-run", "p.plan"]] {
        scenario.next_day().plan(args).status(1).says("it is a pipe, a socket or a device, not a file");
    }
    fs::write(scenario.path("app.db"), "").unwrap();
    for beside in ["app.db-journal", "app.db-wal"] {
        shell(&scenario.path("."), &format!("rm -f app.db-*; mkfifo {beside}"));
        scenario.write("p.plan", plan(&format!("source app: sqlite {{\n  path = \"app.db\"\n}}\n{ARCHIVE}")));
        scenario.next_day().plan(["run", "p.plan"]).status(1).stdout_has(beside).stdout_has("is not a file");
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[test]
fn a_server_that_accepts_and_never_answers_is_waited_for_no_longer_than_is_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let scenario = Scenario::new();
    for driver in ["dump", "basebackup"] {
        let source = format!(
            "source db: postgres {{\n  driver = {driver}\n  host   = \"127.0.0.1\"\n  port   = {port}\n  user   = \"x\"\n}}\n"
        );
        ends(&scenario, &source, &|| true);
        scenario.write("p.plan", plan(&format!("{source}{ARCHIVE}")));
        let since = Instant::now();
        let checking = scenario.start(["check", "--live", "p.plan"]);
        std::thread::sleep(Duration::from_secs(1));
        checking.signal("TERM");
        checking.answer().status(143);
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }
    // By itself it is given up, too.
    let scenario = scenario.env("PGCONNECT_TIMEOUT", "2");
    let since = Instant::now();
    scenario.next_day().plan(["run", "p.plan"]).status(1).stdout_has("timeout expired");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop(listener);
    // Nor is a bucket waited for by what looks after one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bucket = format!(
        "plan p\n\nstore far: s3 {{\n  bucket     = \"b\"\n  endpoint   = \"http://{address}\"\n  access_key = env(\"KEY\")\n  \
         secret_key = env(\"KEY\")\n}}\n\nsource f: files {{\n  paths = [\"p.plan\"]\n}}\n\narchive main {{\n  from = [f]\n  to   = [far]\n}}\n"
    );
    let scenario = Scenario::new().file("p.plan", bucket).env("KEY", "x");
    for command in ["run", "prune", "list"] {
        let since = Instant::now();
        let waiting = scenario.start([command]);
        std::thread::sleep(Duration::from_secs(1));
        waiting.signal("TERM");
        let ended = waiting.answer().code;
        // What only looks has nothing to tidy up.
        assert_eq!(ended, if command == "list" { -15 } else { 143 }, "{command}");
        assert!(since.elapsed() < SOON, "{command}: {:?}", since.elapsed());
    }
    // Nor where the run's own time is over.
    let text = scenario.read("p.plan");
    scenario.write("p.plan", format!("{text}\nlimits {{\n  timeout = 1s\n}}\n"));
    let since = Instant::now();
    scenario.next_day().plan(["run"]).status(1).says("the run's time was over");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop(listener);
    let left = shell(
        &scenario.path("."),
        &format!("ps -eo stat,args | grep '[p]ort={port}' | grep -vc '^Z' || true"),
    );
    assert_eq!(left.trim(), "0");
}
