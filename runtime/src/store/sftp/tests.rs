//! The suite against the SSH server of the system, in a process of its own.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backplan_compiler::model::{Absent, Store as Declared, StoreKind};
use backplan_compiler::sources::{FileId, Place};

use super::SftpStore;
use crate::store::conformance::conforms;
use crate::store::{Creation, Name, ReadStore, Store, StoreErrorKind};

/// A server with keys of its own.
struct Server {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {done:?}");
}

impl Server {
    /// A server whose file server is given these options.
    fn start(options: &str) -> Server {
        Server::start_by(&format!("internal-sftp {options}"))
    }

    /// A server whose files are served so.
    fn start_by(subsystem: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "own", "other"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        }
        fs::copy(at("own.pub"), at("authorized")).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where the server locks itself up.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             Subsystem sftp {subsystem}\n",
            at("host"),
            at("authorized")
        );
        fs::write(at("config"), text).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &at("config")]);
        let child =
            command.stdin(Stdio::null()).stderr(fs::File::create(at("log")).unwrap()).spawn().unwrap();
        let known = fs::read_to_string(at("host.pub")).unwrap();
        fs::write(at("known"), format!("[127.0.0.1]:{port} {known}")).unwrap();
        let server = Server { folder, child, port };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "sshd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn declared(&self, path: &str) -> Declared {
        let kind = StoreKind::Sftp {
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
            user: Some(std::env::var("USER").unwrap_or("root".to_owned())),
            key: Some(self.path("own")),
            path: self.path(path).display().to_string(),
            known_hosts: Some(self.path("known")),
        };
        declared(kind)
    }

    fn make(&self, path: &str) -> SftpStore {
        SftpStore::connect_or_make(&self.declared(path)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn declared(kind: StoreKind) -> Declared {
    Declared {
        name: "far".to_owned(),
        place: Place { file: FileId(0), span: Default::default() },
        kind,
        offsite: true,
        bandwidth: None,
        immutable: None,
        append_only: false,
        absent: Absent::Warn,
        keep: None,
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_file_server_conforms() {
    let server = Server::start("");
    let round = AtomicUsize::new(0);
    conforms(&|| Arc::new(server.make(&format!("store {}", round.fetch_add(1, Ordering::SeqCst)))));
    assert!(server.make("store").capabilities().durable);
    foreign(&server);
    nobody(&server);
}

#[test]
fn a_file_server_without_second_names_and_syncs_conforms_and_says_so() {
    let server = Server::start("-P hardlink,fsync,statvfs,limits");
    let round = AtomicUsize::new(0);
    conforms(&|| Arc::new(server.make(&format!("store-{}", round.fetch_add(1, Ordering::SeqCst)))));
    assert!(!server.make("store").capabilities().durable);
}

#[test]
fn a_file_server_that_can_replace_nothing_is_read_from_only() {
    let server = Server::start("-P posix-rename");
    fs::create_dir(server.path("store")).unwrap();
    fs::write(server.path("store/x"), "there").unwrap();
    let store = SftpStore::connect(&server.declared("store")).unwrap();
    assert_eq!(store.read(&name("x")).unwrap(), b"there");
    let error = store.create(&name("y"), b"new").unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Handshake, "{error}");
    assert!(error.to_string().contains("`posix-rename@openssh.com`"), "{error}");
    assert_eq!(fs::read_dir(server.path("store")).unwrap().count(), 1);
}

/// What somebody else put into the folder is neither followed nor taken for an object.
fn foreign(server: &Server) {
    let store = server.make("foreign");
    let root = server.path("foreign");
    fs::create_dir(server.path("elsewhere")).unwrap();
    fs::write(server.path("elsewhere/secret"), "s").unwrap();
    std::os::unix::fs::symlink(server.path("elsewhere"), root.join("out")).unwrap();
    std::os::unix::fs::symlink(server.path("elsewhere/secret"), root.join("link")).unwrap();
    run("mkfifo", &[root.join("pipe").to_str().unwrap()]);
    fs::write(root.join(std::ffi::OsStr::new("plain")), "p").unwrap();
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"latin-\xe9");
    fs::write(root.join(odd), "o").unwrap();
    assert_eq!(store.create(&name("sub/x"), b"x").unwrap(), Creation::Created);
    let listed: Vec<String> = store.list(None).unwrap().into_iter().map(|it| it.name.to_string()).collect();
    assert_eq!(listed, ["plain", "sub/x"]);
    for foreign in ["link", "pipe"] {
        assert_eq!(store.read(&name(foreign)).unwrap_err().kind, StoreErrorKind::Foreign);
    }
    assert!(store.read(&name("out/secret")).is_err());
    assert!(store.create(&name("out/new"), b"x").is_err());
    assert!(store.replace(&name("out/secret"), b"x").is_err());
    assert!(store.delete(&name("out/secret")).is_err());
    assert_eq!(fs::read_to_string(server.path("elsewhere/secret")).unwrap(), "s");
    assert_eq!(fs::read_dir(server.path("elsewhere")).unwrap().count(), 1);
    // What is Backplan's own is its account's alone.
    assert_eq!(store.create(&name(".backplan/x"), b"x").unwrap(), Creation::Created);
    assert_eq!((mode(&root.join(".backplan/x")), mode(&root.join("sub"))), (0o600, 0o700));
}

/// Nobody there, nobody known, nobody let in: each in words of its own.
fn nobody(server: &Server) {
    let with = |change: &dyn Fn(&mut StoreKind)| {
        let mut declared = server.declared("store");
        change(&mut declared.kind);
        SftpStore::connect(&declared).unwrap_err()
    };
    let absent = SftpStore::connect(&server.declared("none")).unwrap_err();
    assert_eq!(absent.kind, StoreErrorKind::Absent, "{absent}");
    let absent = SftpStore::connect_or_make(&server.declared("none/none")).unwrap_err();
    assert_eq!(absent.kind, StoreErrorKind::Absent, "{absent}");
    fs::write(server.path("empty"), "").unwrap();
    let known = |file: &str| {
        let file = server.path(file);
        with(&move |kind| {
            if let StoreKind::Sftp { known_hosts, .. } = kind {
                *known_hosts = Some(file.clone());
            }
        })
    };
    let unknown = known("empty");
    assert_eq!(unknown.kind, StoreErrorKind::Handshake, "{unknown}");
    assert!(unknown.to_string().contains("`ssh-keyscan -p "), "{unknown}");
    let other = fs::read_to_string(server.path("other.pub")).unwrap();
    fs::write(server.path("changed"), format!("[127.0.0.1]:{} {other}", server.port)).unwrap();
    let changed = known("changed");
    assert_eq!(changed.kind, StoreErrorKind::Handshake, "{changed}");
    assert!(changed.to_string().contains("HAS CHANGED"), "{changed}");
    let stranger = with(&|kind| {
        if let StoreKind::Sftp { key, .. } = kind {
            *key = Some(server.path("other"));
        }
    });
    assert_eq!(stranger.kind, StoreErrorKind::Handshake, "{stranger}");
    assert!(stranger.to_string().contains("does not let"), "{stranger}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = with(&|kind| {
        if let StoreKind::Sftp { port, .. } = kind {
            *port = Some(nobody);
        }
    });
    assert_eq!(away.kind, StoreErrorKind::Unreachable, "{away}");
    assert!(away.to_string().contains("Connection refused"), "{away}");
}

#[test]
fn a_file_server_that_falls_silent_is_given_up_and_one_that_comes_back_is_used_again() {
    let server = Server::start("");
    let store = server.make("store");
    assert_eq!(store.create(&name("x"), b"x").unwrap(), Creation::Created);
    // The process that serves this connection, which is the server's child.
    let of = |parent: &str| {
        let found = Command::new("pgrep").args(["-P", parent]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let serving = of(&server.child.id().to_string());
    assert!(!serving.is_empty());
    let all: Vec<String> = serving.iter().flat_map(|pid| [of(pid), vec![pid.clone()]].concat()).collect();
    let signal = |name: &str| all.iter().for_each(|pid| run("kill", &[name, pid]));
    signal("-STOP");
    let begun = Instant::now();
    let error = store.size(&name("x")).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("said nothing for"), "{error}");
    // Another connection is another process.
    assert_eq!(store.size(&name("x")).unwrap(), Some(1));
    all.iter().for_each(|pid| {
        let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
    });
}

/// A server of files that lists a folder without end, each in another way: in it there is always more, it begins again and again, there is
/// nothing in any of its answers, or a folder in each of its folders.
const ENDLESS: &str = r#"
import struct, sys
mode, (take, give) = sys.argv[1], (sys.stdin.buffer, sys.stdout.buffer)
text = lambda it: struct.pack(">I", len(it)) + it
folder, file = struct.pack(">II", 4, 0o40755), struct.pack(">IQI", 5, 1, 0o100644)
count, given = 0, set()
def names(some, what):
    return b"".join(text(b"%s%d" % (what, n)) + text(b"") + (folder if what == b"f" else file) for n in some)
while len(head := take.read(5)) == 5:
    length, kind = struct.unpack(">IB", head)
    body = take.read(length - 1)
    if kind == 1:
        answer = b"\x02" + struct.pack(">I", 3)
    else:
        id, rest = body[:4], body[8:]
        if kind == 16:
            answer = b"\x68" + id + struct.pack(">I", 1) + text(b"/store") + text(b"") + folder
        elif kind in (7, 17):
            answer = b"\x69" + id + folder
        elif kind == 11:
            count += 1
            answer = b"\x66" + id + text(b"%d" % count)
        elif kind == 12 and mode == "deep" and rest in given:
            answer = b"\x65" + id + struct.pack(">I", 1) + text(b"end") + text(b"")
        elif kind == 12:
            given.add(rest)
            count += 50
            what = {"deep": (range(2), b"f"), "again": (range(50), b"x"), "more": (range(count, count + 50), b"x"), "empty": ((), b"x")}
            some, letter = what[mode]
            answer = b"\x68" + id + struct.pack(">I", len(some)) + names(some, letter)
        else:
            answer = b"\x65" + id + struct.pack(">I", 0) + text(b"") + text(b"")
    give.write(struct.pack(">I", len(answer)) + answer)
    give.flush()
"#;

#[test]
fn a_listing_without_an_end_ends_with_an_error() {
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), ENDLESS).unwrap();
    for mode in ["more", "again", "empty", "deep"] {
        let server = Server::start_by(&format!("/usr/bin/env python3 {} {mode}", script.path().display()));
        // What serves is an interpreter's: a busy machine may take longer to start it than a server may be silent here.
        let mut attempts = (0..10).map(|_| SftpStore::connect(&server.declared("store")));
        let store = attempts.find_map(Result::ok).unwrap();
        let mut handed = 0;
        let error = store.each(None, &mut |_| handed += 1).unwrap_err();
        assert!(error.to_string().contains("listing has no end"), "{mode}: {error}");
        assert!(handed <= 20_000, "{mode}: {handed}");
    }
}
