//! Backups on a file server, by SFTP, against OpenSSH's own: the same promises as in a folder.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::scenario::{Chance, Scenario, artefacts, rounds, shell, wait_for};

/// Stands before the file server: counts the client's requests in a file, and ends everything with the one that another file
/// names, before it is done or after, for this connection alone or for all that come.
const COUNTER: &str = r#"
import os, subprocess, sys, threading, time
at = os.path.dirname(os.path.abspath(__file__))
count = os.open(at + "/count", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
last, how, stays = open(at + "/last").read().split()
server = subprocess.Popen(["/usr/lib/openssh/sftp-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
silent = threading.Event()
def answers():
    while True:
        some = os.read(server.stdout.fileno(), 1 << 18)
        if not some: os._exit(0)
        if silent.is_set(): continue
        while some: some = some[os.write(1, some):]
threading.Thread(target=answers, daemon=True).start()
whole = sys.stdin.buffer.read
while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4: break
    body = whole(int.from_bytes(head, "big"))
    os.write(count, b".")
    number = os.fstat(count).st_size
    if number == int(last) or number > int(last) and stays == "stays":
        if how == "after":
            silent.set()
            server.stdin.write(head + body); server.stdin.flush()
            time.sleep(0.1)
        server.kill()
        os._exit(1)
    server.stdin.write(head + body); server.stdin.flush()
server.stdin.close()
server.wait()
"#;

/// A file server with keys of its own, gone with the value; `ssh` knows it by a program of that name in front of the system's.
pub struct Server {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Server {
    pub fn start(subsystem: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        shell(at, "for key in host own other; do ssh-keygen -q -t ed25519 -N '' -f $key; done");
        shell(at, "mkdir -p store; [ $(id -u) != 0 ] || mkdir -p /run/sshd");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = at.display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/own.pub\nPidFile none\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             Subsystem sftp {}\n",
            subsystem.replace("$HERE", &here.to_string())
        );
        fs::write(at.join("config"), text).unwrap();
        shell(
            at,
            &format!(
                "echo \"[127.0.0.1]:{port} $(cat host.pub)\" > known; echo 999999999 before goes > last"
            ),
        );
        fs::write(at.join("counter.py"), COUNTER).unwrap();
        // What the account's own settings would say.
        fs::write(
            at.join("settings"),
            format!("Host *\n  IdentityFile {here}/own\n  UserKnownHostsFile {here}/known\n"),
        )
        .unwrap();
        fs::create_dir(at.join("bin")).unwrap();
        let before = at.join("bin/ssh");
        fs::write(&before, format!("#!/bin/sh\nexec /usr/bin/ssh -F {here}/settings \"$@\"\n")).unwrap();
        fs::set_permissions(&before, fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = Server { child: Command::new("true").spawn().unwrap(), folder, port };
        server.serve();
        server
    }

    /// Starts it, once more where it was stopped.
    pub fn serve(&mut self) {
        let _ = self.child.wait();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.path("config"));
        command.stdin(Stdio::null()).stderr(fs::File::create(self.path("log")).unwrap());
        self.child = command.spawn().unwrap();
        let port = self.port;
        wait_for("a file server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn store(&self, name: &str, more: &str) -> String {
        let here = self.folder.path().display();
        format!(
            "store {name}: sftp {{\n  host = \"127.0.0.1\"\n  port = {}\n  user = \"{}\"\n  key = \"{here}/own\"\n  \
             path = \"{here}/store/p\"\n  known_hosts = \"{here}/known\"\n{more}}}\n",
            self.port,
            self.user()
        )
    }

    fn user(&self) -> String {
        shell(self.folder.path(), "id -un").trim().to_owned()
    }

    fn address(&self) -> String {
        format!("sftp://{}@127.0.0.1:{}/{}", self.user(), self.port, self.path("store/p").display())
    }

    fn scenario(&self, text: &str) -> Scenario {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display());
        let scenario = Scenario::new().env("PATH", &path).file("p.plan", text).file("site/sub/a", "day 0");
        shell(&scenario.path("site"), "head -c 9000000 /dev/urandom > big");
        scenario
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Files, and a stream of which nobody knows the length before it ends.
const SOURCES: &str = "source site: files {\n  paths = [\"site\"]\n}\n\
    source numbers: command {\n  run = [\"seq\", \"500000\"]\n  as = \"numbers\"\n}\nretry {\n  attempts = 1\n}\n";

fn restored(scenario: &Scenario, folder: &str, how: &[&str]) {
    scenario.plan(["restore", "--to", folder].iter().chain(how)).status(0);
    let site = shell(&scenario.path("."), &format!("find {folder}/site -type d -name site | tail -1"));
    shell(&scenario.path("."), &format!("diff -r site {}", site.trim()));
    shell(&scenario.path("."), &format!("seq 500000 | cmp - {folder}/numbers/numbers"));
}

#[test]
fn a_file_server_holds_a_cycle_and_gives_it_back() {
    let mut server = Server::start("internal-sftp");
    let text = format!(
        "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n\
         cycle {{\n  incrementals = 2\n}}\nkeep {{\n  last = 2\n}}\n",
        server.store("far", "  bandwidth = 200MiB/s\n")
    );
    let scenario = server.scenario(&text);
    let store = server.path("store/p");
    scenario.plan(["check", "--live"]).status(0).says("nothing to report");
    scenario.next_day().plan(["run", "--dry-run"]).status(0).stdout_has("would be made");
    assert!(!store.exists());
    for day in 1..=6 {
        scenario.write("site/sub/a", format!("day {day}"));
        scenario.next_day().plan(["run"]).status(0);
    }
    // Runs 4 to 6 are a cycle, and the one before it is gone.
    assert_eq!(artefacts(&store).len(), 3);
    assert_eq!(shell(&store, "find . -name '.new-*' -o -path '*/tmp/*' -type f"), "");
    scenario.plan(["list"]).status(0).stdout_has("00000004-").stdout_has("far");
    scenario.plan(["verify", "--all"]).status(0).stdout_has("whole");
    scenario.plan(["status"]).status(0).stdout_has("all is well");
    restored(&scenario, "back", &[]);
    // With nothing but the server, and what the account's own settings say.
    let alone = server.scenario("plan q\n");
    let address = server.address();
    alone.plan(["restore", "--store", &address, "--to", "all", "--run", "5"]).status(0);
    alone.plan(["cat", "5", "numbers/numbers", "--store", &address]).status(0).stdout_has("499999\n500000");
    alone.plan(["list", "--store", &address.replace("/p", "/none")]).status(1).says("No such file");
    // Another server in its place, or somebody between, is no server that is away.
    let known = fs::read_to_string(server.path("known")).unwrap();
    let other = fs::read_to_string(server.path("other.pub")).unwrap();
    fs::write(server.path("known"), format!("[127.0.0.1]:{} {other}", server.port)).unwrap();
    scenario.next_day().plan(["run"]).status(1).says("HAS CHANGED");
    fs::write(server.path("known"), "").unwrap();
    scenario.plan(["check", "--live"]).says("store_away").says("ssh-keyscan");
    scenario.plan(["list"]).status(1).says("is not known here");
    fs::write(server.path("known"), known).unwrap();
    server.stop();
    scenario.plan(["check", "--live"]).status(0).says("store_away").says("Connection refused");
    scenario.next_day().plan(["run"]).status(1).says("no store can be used");
    server.serve();
    scenario.next_day().plan(["run"]).status(0);
    restored(&scenario, "again", &[]);
    // Sixteen at once: each either has the lock or says who has it.
    let many: Vec<Child> = (10..26)
        .map(|second| {
            let mut command = scenario.command();
            command.arg("run").env("BACKPLAN_NOW", format!("2026-02-01T02:30:{second}Z"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = many.into_iter().map(|mut one| one.wait().unwrap().code().unwrap()).collect();
    let done = ends.iter().filter(|code| [0, 3].contains(*code)).count();
    assert!(done > 0 && ends.iter().all(|code| [0, 3, 4].contains(code)), "{ends:?}");
    assert_eq!(scenario.plan(["list"]).status(0).stdout.matches("-2026020").count(), done);
    scenario.plan(["verify", "--all"]).status(0).stdout_has("whole");
}

#[test]
fn what_a_run_cannot_do_on_a_file_server_is_told_beforehand() {
    let server = Server::start("internal-sftp -R");
    let text = format!(
        "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n",
        server.store("far", "")
    );
    let agree = |scenario: &Scenario, code: &str, why: &str, status: i32| {
        scenario.plan(["check", "--live"]).status(status).says(code).says(why);
        scenario.plan(["run", "--dry-run"]).status(1).says("no store can be used");
        scenario.next_day().plan(["run"]).status(1).says("no store can be used");
    };
    // What it is to be in is not there.
    let nowhere = server.scenario(&text.replace("store/p\"", "store/none/p\""));
    agree(&nowhere, "store_away", "No such file", 0);
    fs::create_dir(server.path("store/p")).unwrap();
    let scenario = server.scenario(&text);
    scenario.plan(["run", "--dry-run"]).says("read-only");
    agree(&scenario, "store_unusable", "its server takes nothing: it is read-only", 1);
    assert_eq!(shell(&server.path("store"), "find . -mindepth 1"), "./p\n");
    // One that can replace nothing as a whole.
    let server = Server::start("internal-sftp -P posix-rename");
    fs::create_dir(server.path("store/p")).unwrap();
    let store = server.store("far", "");
    let text =
        format!("plan p\n{store}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n");
    let scenario = server.scenario(&text);
    scenario
        .plan(["check", "--live"])
        .status(1)
        .says("store_unusable")
        .says("has no `posix-rename@openssh.com`");
    scenario.plan(["run", "--dry-run"]).status(1).says("no store can be used");
}

#[test]
fn a_file_server_that_is_full_or_away_keeps_its_backups_and_no_run_from_a_folder() {
    // Root's own: a mount.
    let mut server = Server::start("internal-sftp -P fsync");
    let store = server.path("store");
    let text = format!(
        "plan p\n{}store near: dir {{\n  path = \"store\"\n}}\n{SOURCES}\
         archive main {{\n  from = [site, numbers]\n  to = [near, far]\n}}\n",
        server.store("far", "  offsite = true\n")
    );
    let scenario = server.scenario(&text);
    shell(
        &store,
        "truncate -s 14M ../disk && mkfs.ext4 -q -m 0 -O ^has_journal ../disk && mount -o loop ../disk .",
    );
    let unmounted = Unmounted(store.clone());
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["check", "--live"]).status(0).says("store_unsynced");
    shell(&scenario.path("site"), "head -c 9000000 /dev/urandom > big");
    scenario.next_day().plan(["run"]).status(1).says("no room is left on the server");
    scenario.plan(["verify", "--all"]).status(0);
    assert_eq!(artefacts(&store.join("p")).len(), 1);
    shell(&scenario.path("site"), "head -c 90000 /dev/urandom > big");
    let next = scenario.next_day().plan(["run"]);
    assert!([0, 3].contains(&next.code), "{next:?}");
    restored(&scenario, "back", &["--store", "far"]);
    server.stop();
    scenario.next_day().plan(["run"]).status(3).says("Connection refused");
    restored(&scenario, "near", &["--store", "near"]);
    drop(unmounted);
}

/// A mount, gone with the value.
struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_file_server_that_dies_at_any_request_costs_no_backup() {
    let server = Server::start("python3 $HERE/counter.py");
    let text = format!(
        "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\nkeep {{\n  last = 1\n}}\n",
        server.store("far", "")
    );
    let scenario = server.scenario(&text);
    let set = |last: &str| fs::write(server.path("last"), last).unwrap();
    let count = || fs::metadata(server.path("count")).map_or(0, |file| file.len());
    scenario.next_day().plan(["run"]).status(0);
    // How many requests a run makes.
    fs::write(server.path("count"), "").unwrap();
    scenario.next_day().plan(["run"]).status(0);
    let all = count();
    assert!(all > 50, "{all}");
    let mut chance = Chance::new(11);
    for round in 0..u64::from(rounds(2)) {
        let last = if rounds(2) as u64 > all { 1 + round % all } else { 1 + chance.below(all) };
        let how = if round % 2 == 0 { "before" } else { "after" };
        let stays = if chance.below(2) == 0 { "stays" } else { "goes" };
        fs::write(server.path("count"), "").unwrap();
        set(&format!("{last} {how} {stays}"));
        scenario.write("site/sub/a", format!("round {round}"));
        let cut = scenario.next_day().plan(["run"]);
        let what = format!("request {last} of {all}, {how}, {stays}: {cut:?}");
        assert!([0, 1, 3].contains(&cut.code), "{what}");
        set("999999999 before goes");
        // What is listed is whole, and a run that failed is not listed.
        scenario.plan(["verify", "--all"]).status(0);
        let next = scenario.next_day().plan(["run"]);
        assert!([0, 3].contains(&next.code), "{next:?} after {what}");
        assert_eq!(artefacts(&server.path("store/p")).len(), 1, "{what}");
        restored(&scenario, &format!("back{round}"), &[]);
    }
    // What is read can be read again: one connection that ends is no restore that fails.
    fs::write(server.path("count"), "").unwrap();
    restored(&scenario, "uncut", &[]);
    let all = count();
    for (number, how) in ["before", "after", "before"].into_iter().enumerate() {
        // How many connections share the work, and so a few of the requests, differs from time to time.
        let last = all - all * (number as u64 + 1) / 5;
        fs::write(server.path("count"), "").unwrap();
        set(&format!("{last} {how} goes"));
        restored(&scenario, &format!("cut{number}"), &[]);
        assert!(count() >= last, "{last}");
    }
}
