//! Backups in a bucket, against a server of S3's protocol: the same promises as in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::bucket_way::{Fate, deciding, message};
use crate::scenario::{Scenario, artefacts, shell, wait_for};

/// A server with an empty bucket, gone with the value.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with("")
    }

    /// `headers`, each with its line's end, go with the making of the bucket.
    pub fn start_with(headers: &str) -> Server {
        let port = free_port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server { child: command.spawn().unwrap(), port };
        wait_for("a bucket", || {
            server.ask_with("PUT /buck", headers).is_some_and(|answer| answer.contains(" 200 "))
        });
        server
    }

    /// What it answers to a request.
    pub fn ask(&self, request: &str) -> Option<String> {
        self.ask_with(request, "")
    }

    pub fn ask_with(&self, request: &str, headers: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: s3\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// An object's bytes, and these in their place.
    pub fn exchange(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let send = |request: &[u8]| {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            stream.write_all(request).unwrap();
            message(&mut stream, false).unwrap()
        };
        let answer = send(format!("GET /buck/{key} HTTP/1.1\r\nHost: s3\r\n{SOMEBODY}\r\n").as_bytes());
        let at = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let mut bytes = answer[at..].to_vec();
        change(&mut bytes);
        let head = format!(
            "PUT /buck/{key} HTTP/1.1\r\nHost: s3\r\n{SOMEBODY}Content-Length: {}\r\n\r\n",
            bytes.len()
        );
        assert!(send(&[head.as_bytes(), &bytes].concat()).starts_with(b"HTTP/1.1 200 "));
    }

    /// The keys in the bucket.
    pub fn keys(&self) -> Vec<String> {
        let answer = self.ask("GET /buck?list-type=2").unwrap();
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// Keys that are artefacts.
    pub fn artefacts(&self) -> usize {
        self.keys().iter().filter(|key| key.ends_with(".tar.gz")).count()
    }

    /// Uploads that were begun and neither finished nor given up.
    pub fn unfinished(&self) -> usize {
        self.ask("GET /buck?uploads").unwrap().matches("<UploadId>").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A way to a server that ends with its `last` request: that one comes to nothing, or its answer does, and nobody answers
/// any more.
pub struct Way {
    port: u16,
    seen: Arc<AtomicUsize>,
}

impl Way {
    pub fn open(to: u16, last: usize, is_answer_lost: bool) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), count) = (client, Arc::clone(&count)) else { return };
                thread::spawn(move || carry(client, to, &count, last, is_answer_lost));
            }
        });
        Way { port, seen }
    }

    /// Its port, and how many requests came.
    pub fn parts(self) -> (u16, Arc<AtomicUsize>) {
        (self.port, self.seen)
    }
}

/// Carries one connection's requests, each whole before the next.
fn carry(
    mut client: TcpStream,
    to: u16,
    count: &AtomicUsize,
    last: usize,
    is_answer_lost: bool,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    loop {
        let request = message(&mut client, false)?;
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        if number > last || number == last && !is_answer_lost {
            return None;
        }
        server.write_all(&request).ok()?;
        let answer = message(&mut server, request.starts_with(b"HEAD "))?;
        if number == last {
            return None;
        }
        client.write_all(&answer).ok()?;
    }
}

/// A way to a server that lets each key in for so many requests, and says from then on that it has expired.
struct Gate {
    port: u16,
    /// For how many.
    most: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Gate {
    fn open(to: u16, most: usize) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let (most, refused) = (Arc::new(AtomicUsize::new(most)), Arc::new(AtomicUsize::new(0)));
        let bounds = (Arc::clone(&most), Arc::clone(&refused));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), seen, bounds) = (client, Arc::clone(&seen), bounds.clone()) else { return };
                thread::spawn(move || admit(client, to, &bounds.0, &seen, &bounds.1));
            }
        });
        Gate { port, most, refused }
    }
}

/// Carries one connection's requests, as long as their key is good.
fn admit(
    mut client: TcpStream,
    to: u16,
    most: &AtomicUsize,
    seen: &Mutex<BTreeMap<String, usize>>,
    refused: &AtomicUsize,
) -> Option<()> {
    const WORDS: &str =
        "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    loop {
        let request = message(&mut client, false)?;
        let head = String::from_utf8_lossy(&request[..request.len().min(4000)]).into_owned();
        let (_, behind) = head.split_once("Credential=")?;
        let id = behind.split(['/', '%']).next()?.to_owned();
        let number = {
            let mut seen = seen.lock().unwrap();
            let number = seen.entry(id).or_insert(0);
            *number += 1;
            *number
        };
        let is_bodiless = request.starts_with(b"HEAD ");
        if number > most.load(Ordering::SeqCst) {
            refused.fetch_add(1, Ordering::SeqCst);
            let words = if is_bodiless { "" } else { WORDS };
            let answer =
                format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{words}", words.len());
            client.write_all(answer.as_bytes()).ok()?;
            continue;
        }
        server.write_all(&request).ok()?;
        client.write_all(&message(&mut server, is_bodiless)?).ok()?;
    }
}

/// Keys that a program prints and that are good for a few requests: a run goes on with new ones, in the middle of an upload too.
#[test]
fn keys_that_expire_while_a_run_goes_on_are_had_anew() {
    let server = Server::start();
    let gate = Gate::open(server.port, 1000);
    let text = |id: &str| {
        let by = format!("exec([\"sh\", \"-c\", \"{id}\"])");
        let store = store("far", gate.port, "").replacen("env(\"KEY_ID\")", &by, 1);
        format!("plan p\n{store}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n")
    };
    let asked = "ASKED";
    let scenario = world("");
    let asked_at = scenario.path(asked).display().to_string();
    scenario.write("p.plan", text(&format!("echo x >> {asked_at}; echo key$(wc -l < {asked_at})")));
    // Keys that stay good are had once, though a run opens its store more than once.
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(scenario.read(asked), "x\n");
    gate.most.store(9, Ordering::SeqCst);
    scenario.next_day().plan(["run"]).status(0);
    assert!(gate.refused.load(Ordering::SeqCst) > 1);
    assert!(scenario.read(asked).lines().count() > 3);
    // Many read at once, and each of them asks once more.
    gate.most.store(100, Ordering::SeqCst);
    restored(&scenario, "back", &[]);
    scenario.plan(["verify", "--deep"]).status(0);
    gate.most.store(9, Ordering::SeqCst);
    // A program that has no others is asked once more; the server's words are told.
    scenario.write(asked, "");
    scenario.write("p.plan", text(&format!("echo x >> {asked_at}; echo spent")));
    for _ in 0..3 {
        let answer = scenario.next_day().plan(["run"]);
        assert!([0, 1].contains(&answer.code), "{answer:?}");
    }
    scenario.write(asked, "");
    scenario.next_day().plan(["run"]).status(1).says("ExpiredToken: The provided token has expired");
    assert!(scenario.read(asked).lines().count() > 1);
}

pub fn store(name: &str, port: u16, more: &str) -> String {
    format!(
        "store {name}: s3 {{\n  bucket = \"buck\"\n  prefix = \"of/{{host}}\"\n  endpoint = \"http://127.0.0.1:{port}\"\n  \
         access_key = env(\"KEY_ID\")\n  secret_key = env(\"KEY\")\n{more}}}\n"
    )
}

/// Files, and a stream of which nobody knows the length before it ends.
const SOURCES: &str = "source site: files {\n  paths = [\"site\"]\n}\n\
    source numbers: command {\n  run = [\"seq\", \"2000000\"]\n  as = \"numbers\"\n}\nretry {\n  attempts = 1\n}\n";

fn world(text: &str) -> Scenario {
    let scenario = Scenario::new().file("p.plan", text).file("site/sub/a", "day 0");
    // More than a part, and nothing that becomes smaller.
    shell(&scenario.path("site"), "head -c 20000000 /dev/urandom > big");
    without_authorities(scenario.env("KEY_ID", "the-id-of-a-key").env("KEY", "the-key-of-that-id"))
}

/// A machine that has none which says whose a certificate is, as small containers have none: who speaks no TLS needs none.
fn without_authorities(scenario: Scenario) -> Scenario {
    scenario.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nowhere")
}

fn restored(scenario: &Scenario, folder: &str, how: &[&str]) {
    let to = ["restore", "--to", folder];
    scenario.plan(to.iter().chain(how)).status(0);
    let site = shell(&scenario.path("."), &format!("find {folder}/site -type d -name site | tail -1"));
    shell(&scenario.path("."), &format!("diff -r site {}", site.trim()));
    shell(&scenario.path("."), &format!("seq 2000000 | cmp - {folder}/numbers/numbers"));
}

#[test]
fn what_is_encrypted_comes_back_from_a_bucket_and_from_a_folder_alike() {
    let server = Server::start();
    let folder = "store near: dir {\n  path = \"near\"\n}\n";
    let text = format!(
        "plan p\n{}{folder}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far, near]\n  encrypt = [\"KEY\"]\n}}\n\
         cycle {{\n  incrementals = 1\n}}\n",
        store("far", server.port, "  bandwidth = 200MiB/s\n")
    );
    let scenario = world(&text);
    let key = shell(&scenario.path("."), "age-keygen -o id 2>/dev/null && age-keygen -y id");
    scenario.write("p.plan", text.replace("KEY\"]", &format!("{}\"]", key.trim())));
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("site/sub/a", "day 2");
    scenario.next_day().plan(["run"]).status(0);
    let made = server.keys().into_iter().filter(|key| key.ends_with(".tar.gz.age")).count();
    assert_eq!((made, server.unfinished()), (2, 0));
    // The same bytes in both: packed and encrypted once.
    scenario.plan(["verify", "--all", "--store", "near"]).status(0).says("as it was written");
    scenario.plan(["verify", "--identity", "id"]).status(0).says("whole");
    restored(&scenario, "from-far", &["--store", "far", "--identity", "id"]);
    // What a run that is killed on its way had begun is given up by the next; what another began is not.
    let begun = server.ask("POST /buck/of/another.tar.gz.age?uploads").unwrap();
    assert!(begun.contains("<UploadId>"), "{begun}");
    let running = scenario.next_day().start(["run"]);
    wait_for("an upload", || server.unfinished() > 1);
    running.kill_group();
    drop(running);
    assert_eq!(server.unfinished(), 2);
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!(server.unfinished(), 1);
    scenario.plan(["verify", "--identity", "id"]).status(0).says("whole");
}

#[test]
fn a_bucket_holds_a_cycle_and_gives_it_back() {
    let server = Server::start();
    let text = format!(
        "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n\
         cycle {{\n  incrementals = 2\n}}\nkeep {{\n  last = 2\n}}\n",
        store("far", server.port, "")
    );
    let scenario = world(&text);
    scenario.next_day().plan(["run", "--dry-run"]).status(0).stdout_has("nothing of this plan yet");
    assert_eq!(server.keys(), Vec::<String>::new());
    for day in 1..=6 {
        scenario.write("site/sub/a", format!("day {day}"));
        scenario.next_day().plan(["run"]).status(0);
    }
    // Runs 4 to 6 are a cycle, and the one before it is gone.
    assert_eq!(server.artefacts(), 3);
    assert_eq!(server.unfinished(), 0);
    scenario.plan(["list"]).status(0).stdout_has("00000004-").stdout_has("far");
    scenario.plan(["verify", "--all"]).status(0).stdout_has("whole");
    scenario.plan(["status"]).status(0).stdout_has("all is well");
    scenario.plan(["why", "p.plan", "site/sub/a"]).status(0).stdout_has("held by 3 backups");
    // Who may put one object keeps nobody from the others, whatever it is called.
    let home = server.keys().into_iter().find(|key| key.contains("/manifests/")).unwrap();
    let home = home.split("/manifests/").next().unwrap();
    for odd in ["manifests/%2Ff", "lock/%2F1", "intents/..%2Fq", "tmp/%2Fz", "%2Fq"] {
        assert!(server.ask(&format!("PUT /buck/{home}/{odd}")).unwrap().contains(" 200 "), "{odd}");
    }
    for command in ["list", "status", "verify", "sync", "prune"] {
        scenario.plan([command]).status(0);
    }
    restored(&scenario, "back", &[]);
    // With nothing but the bucket: keys come from where the service's own tools take them. Each listing is cut once.
    let cut = Mutex::new(BTreeSet::new());
    let port = deciding(server.port, move |line| {
        let line = line.lines().next().unwrap_or_default();
        let is_new = line.contains("/buck?list-type=2") && cut.lock().unwrap().insert(line.to_owned());
        if is_new { Fate::Cut } else { Fate::Carried }
    });
    let endpoint = format!("http://127.0.0.1:{port}");
    let host = server.keys()[0].split('/').nth(1).unwrap().to_owned();
    let address = format!("s3://buck/of/{host}");
    let alone = without_authorities(Scenario::new().env("AWS_ENDPOINT_URL", &endpoint));
    fs::create_dir_all(alone.path("../home/.aws")).unwrap();
    alone.write(
        "../home/.aws/credentials",
        "[default]\naws_access_key_id = i\naws_secret_access_key = the-key\n",
    );
    alone.plan(["restore", "--store", &address, "--to", "all", "--run", "5"]).status(0);
    alone.plan(["cat", "5", "numbers/numbers", "--store", &address]).status(0).stdout_has("1999999\n2000000");
    alone.plan(["list", "--store", "s3://none/of"]).status(1).says("NoSuchBucket");
    alone.plan(["list", "--store", "ftp://none/of"]).status(2).says("is no address of a store");
    let secure = alone.env("AWS_ENDPOINT_URL", &endpoint.replace("http:", "https:"));
    secure.plan(["list", "--store", &address]).status(1).says("install its package `ca-certificates`");
    // One file: five questions which plans and runs there are, a manifest for each run, and of the artefact its size, its end and the file.
    let way = Way::open(server.port, usize::MAX, false);
    let alone = secure.env("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{}", way.port));
    alone.plan(["cat", "4", "site/sub/a", "--store", &address]).status(0).stdout("day 4");
    let seen = way.seen.load(Ordering::SeqCst);
    assert!(seen <= 5 + 3 + 3, "{seen}");
    // Whether all of the run is there: the same questions, and of each artefact its size and its end.
    way.seen.store(0, Ordering::SeqCst);
    let quick = alone.plan(["verify", "--run", "4", "--quick", "--store", &address]).status(0);
    let artefacts = quick.stdout.matches("there, with its size").count();
    let seen = way.seen.load(Ordering::SeqCst);
    assert!(artefacts > 0 && seen <= 5 + 3 + 2 * artefacts + 2, "{seen}: {quick:?}");
    // The other half of the run: what is advised, and what cannot be reached.
    scenario.plan(["check", "--live"]).status(0);
    drop(server);
    scenario.plan(["check", "--live"]).status(0).says("store_away").says("Connection refused");
    scenario.next_day().plan(["run"]).status(1).stdout_has("no store can be used");
    scenario.plan(["status"]).status(1).says("Connection refused");
}

#[test]
fn a_page_in_the_place_of_a_bucket_is_no_empty_bucket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let page = "<html>login please</html>";
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            thread::spawn(move || {
                while message(&mut client, false).is_some() {
                    let length = page.len();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{page}");
                    client.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    let text = format!(
        "plan p\n{}{SOURCES}archive main {{\n  from = all\n  to = [far]\n}}\n",
        store("far", port, "")
    );
    let scenario = world(&text);
    for command in ["list", "status", "verify"] {
        scenario.plan([command]).status(1).says("no server of such a bucket").says("login please");
    }
    scenario.plan(["run"]).status(1).says("no store can be used");
}

#[test]
fn an_address_without_tls_is_taken_from_the_environment_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let words = "<Error><Code>ContainerNotFound</Code><Message>no such place</Message></Error>";
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 4096]);
            let length = words.len();
            let _ = write!(
                client,
                "HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{words}"
            );
        }
    });
    let alone = Scenario::new()
        .env("AZURE_STORAGE_ENDPOINT", &endpoint)
        .env("AZURE_STORAGE_ACCOUNT_NAME", "acc")
        .env("AZURE_STORAGE_ACCOUNT_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    alone.plan(["list", "--store", "azblob://cont/of"]).status(1).says("ContainerNotFound");
}

#[test]
fn a_bucket_that_is_away_keeps_no_run_from_a_folder() {
    let server = Server::start();
    let text = format!(
        "plan p\n{}store near: dir {{\n  path = \"store\"\n}}\n{SOURCES}\
         archive main {{\n  from = [site, numbers]\n  to = [near, far]\n}}\n",
        store("far", server.port, "  offsite = true\n")
    );
    let scenario = world(&text);
    scenario.next_day().plan(["run"]).status(0);
    drop(server);
    scenario.next_day().plan(["run"]).status(3).stdout_has("Connection refused");
    assert_eq!(artefacts(&scenario.path("store")).len(), 2);
    restored(&scenario, "back", &["--store", "near"]);
}

/// Be it before its lock is taken, or once an artefact is on its way; and the next run brings what it lacks.
#[test]
fn a_bucket_whose_server_is_out_of_order_keeps_no_run_from_a_folder() {
    let server = Server::start();
    let shut_from = Arc::new(Mutex::new(None::<&str>));
    let (from, is_shut) = (Arc::clone(&shut_from), AtomicBool::new(false));
    let port = deciding(server.port, move |head| match *from.lock().unwrap() {
        Some(part) => {
            let line = head.lines().next().unwrap();
            is_shut.fetch_or(!line.starts_with("GET ") && line.contains(part), Ordering::SeqCst);
            let status = if part == "/lock/" { "504 Gateway Timeout" } else { "502 Bad Gateway" };
            if is_shut.load(Ordering::SeqCst) { Fate::Nobody(status) } else { Fate::Carried }
        }
        None => {
            is_shut.store(false, Ordering::SeqCst);
            Fate::Carried
        }
    });
    let text = format!(
        "plan p\n{}store near: dir {{\n  path = \"store\"\n}}\n{SOURCES}\
         archive main {{\n  from = [site, numbers]\n  to = [near, far]\n}}\n",
        store("far", port, "")
    );
    let scenario = world(&text);
    scenario.next_day().plan(["run"]).status(0);
    for part in ["/lock/", ".tar.gz"] {
        *shut_from.lock().unwrap() = Some(part);
        scenario.write("site/sub/a", part);
        let answer = scenario.next_day().plan(["run"]).status(3);
        answer.says("the run goes on without it").says("is in `near`").says("can be reached from here");
        *shut_from.lock().unwrap() = None;
        scenario.plan(["verify", "--all"]).status(0);
    }
    scenario.next_day().plan(["run"]).status(0);
    assert_eq!((artefacts(&scenario.path("store")).len(), server.artefacts()), (4, 4));
    restored(&scenario, "back", &["--store", "far", "--run", "3"]);
    // An archive that goes nowhere else is not made.
    scenario.write("p.plan", text.replace("[near, far]", "[far]"));
    scenario.write("site/sub/a", "alone");
    *shut_from.lock().unwrap() = Some(".tar.gz");
    scenario.next_day().plan(["run"]).status(1).says("no backup was made");
}

#[test]
fn a_bucket_whose_keys_may_delete_nothing_takes_a_backup_each_night() {
    let server = Server::start();
    let port = deciding(server.port, |line| {
        let is_deletion =
            line.starts_with("DELETE ") || line.starts_with("POST ") && line.contains("?delete");
        if is_deletion { Fate::Forbidden } else { Fate::Carried }
    });
    let text = |more: &str| {
        format!(
            "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\nkeep {{\n  last = 1\n}}\n",
            store("far", port, more)
        )
    };
    let scenario = world(&text("  append_only = true\n"));
    for night in 1..4 {
        scenario.next_day().plan(["run"]).status(0);
        assert_eq!(server.artefacts(), night);
    }
    scenario.plan(["status"]).status(0);
    restored(&scenario, "back", &[]);
    // Who has not said so has a backup all the same, and is told what to say.
    scenario.write("p.plan", text(""));
    for night in 4..6 {
        let answer = scenario.next_day().plan(["run"]).status(3);
        answer.says("AccessDenied").says("say `append_only = true` in the store's block");
        assert_eq!(server.artefacts(), night);
    }
}

#[test]
fn a_run_whose_commit_was_never_answered_may_be_there_and_is() {
    let server = Server::start();
    let is_over = AtomicUsize::new(0);
    let port = deciding(server.port, move |line| {
        let is_commit = line.starts_with("PUT ") && line.lines().next().unwrap().contains("/manifests/");
        let seen = is_over.fetch_add(usize::from(is_commit), Ordering::SeqCst);
        if is_commit || seen > 0 { Fate::Unanswered } else { Fate::Carried }
    });
    let text = |port| {
        format!(
            "plan p\n{}{SOURCES}archive main {{\n  from = [site, numbers]\n  to = [far]\n}}\n",
            store("far", port, "")
        )
    };
    let scenario = world(&text(port));
    let answer = scenario.next_day().plan(["run"]).status(1);
    let answer =
        answer.says("cannot be told").says("may be in `far`: `plan list` tells once the store answers");
    assert!(!answer.said().contains("no backup was made"), "{answer:?}");
    scenario.write("p.plan", text(server.port));
    assert!(scenario.plan(["list"]).said().contains("00000001-"));
}

/// What a server makes of copies.
#[derive(Clone, Copy, PartialEq)]
enum Copies {
    /// Parts.
    Made,
    /// Nothing: it does not know them.
    Unknown,
    /// Parts that it will not put together with others, as they are not of one length.
    Refused,
}

/// A way to a server that counts the bytes that are sent there.
struct Meter {
    port: u16,
    sent: Arc<AtomicUsize>,
    copies: Arc<AtomicUsize>,
}

impl Meter {
    fn open(to: u16, made: Copies) -> Meter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let meter = Meter { port, sent: Arc::default(), copies: Arc::default() };
        let (sent, copies) = (Arc::clone(&meter.sent), Arc::clone(&meter.copies));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), sent, copies) = (client, Arc::clone(&sent), Arc::clone(&copies)) else {
                    return;
                };
                thread::spawn(move || metered(client, to, &sent, &copies, made));
            }
        });
        meter
    }

    /// What was sent, and how many copies were asked for, since the last look.
    fn take(&self) -> (usize, usize) {
        (self.sent.swap(0, Ordering::SeqCst), self.copies.swap(0, Ordering::SeqCst))
    }
}

fn metered(
    mut client: TcpStream,
    to: u16,
    sent: &AtomicUsize,
    copies: &AtomicUsize,
    made: Copies,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    loop {
        let request = message(&mut client, false)?;
        sent.fetch_add(request.len(), Ordering::SeqCst);
        let head = String::from_utf8_lossy(&request[..request.len().min(4096)]).to_lowercase();
        if head.contains("\r\nx-amz-copy-source:") {
            copies.fetch_add(1, Ordering::SeqCst);
            if made == Copies::Unknown {
                client.write_all(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n").ok()?;
                continue;
            }
        }
        let completes = head.starts_with("post ") && head.lines().next()?.contains("uploadid=");
        if made == Copies::Refused && completes && copies.swap(0, Ordering::SeqCst) > 0 {
            let words = "<Error><Code>InvalidPart</Code><Message>All non-trailing parts must have the same length.</Message></Error>";
            let answer =
                format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{words}", words.len());
            client.write_all(answer.as_bytes()).ok()?;
            continue;
        }
        server.write_all(&request).ok()?;
        let answer = message(&mut server, request.starts_with(b"HEAD "))?;
        client.write_all(&answer).ok()?;
    }
}

#[test]
fn a_whole_archive_in_a_bucket_is_sent_at_the_cost_of_what_changed() {
    let server = Server::start();
    let (meter, plain) = (Meter::open(server.port, Copies::Made), Meter::open(server.port, Copies::Unknown));
    let text = |port: u16| {
        format!(
            "plan p\n{}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = [site]\n  to = [far]\n  self_contained = true\n}}\n\
             cycle {{\n  incrementals = 9\n}}\nretry {{\n  attempts = 2\n  backoff = 1s..1s\n}}\n",
            store("far", port, "")
        )
    };
    let scenario = world(&text(meter.port));
    // 30 MB that do not become smaller, in 100 files.
    shell(
        &scenario.path("site"),
        "rm big; for i in $(seq 100); do head -c 300000 /dev/urandom > sub/f$i; done; head -c 3000000 /dev/urandom > one",
    );
    scenario.next_day().plan(["run"]).status(0);
    let (first, copies) = meter.take();
    assert!(first > 33_000_000 && copies == 0, "{first} {copies}");
    // One of fifty files.
    shell(&scenario.path("site/sub"), "for i in 50 51; do head -c 300000 /dev/urandom > f$i; done; rm f52");
    scenario.next_day().plan(["run"]).status(0);
    let (sent, copies) = meter.take();
    assert!(sent < first / 2 && copies >= 2, "{sent} of {first}, {copies}");
    let whole = |run: &str| {
        let to = format!("back-{run}");
        scenario.plan(["restore", "--to", &to]).status(0);
        let site = shell(&scenario.path("."), &format!("find {to} -type d -name site | tail -1"));
        shell(&scenario.path("."), &format!("diff -r site {}", site.trim()));
    };
    whole("2");
    // A server that copies nothing is sent everything.
    scenario.write("p.plan", text(plain.port));
    shell(&scenario.path("site/sub"), "head -c 300000 /dev/urandom > f33; touch f34");
    scenario.next_day().plan(["run", "--adopt"]);
    let (sent, copies) = plain.take();
    assert!(sent > 28_000_000 && copies > 0, "{sent}, {copies}");
    whole("3");
    // And where nothing but folders changed, and at the end.
    scenario.write("p.plan", text(meter.port));
    meter.take();
    shell(&scenario.path("site"), "mkdir zz; echo new > zz/z; chmod 700 sub");
    scenario.next_day().plan(["run", "--adopt"]);
    let (sent, _) = meter.take();
    assert!(sent < first / 2, "{sent} of {first}");
    whole("4");
    // A server that makes copies, and no object of them: the next attempt sends everything.
    let even = Meter::open(server.port, Copies::Refused);
    scenario.write("p.plan", text(even.port));
    shell(&scenario.path("site"), "echo newer > zz/z");
    let run = scenario.next_day().plan(["run", "--adopt"]).says("InvalidPart: All non-trailing parts");
    assert!(run.code == 0 || run.code == 3, "{run:?}");
    let (sent, copies) = even.take();
    assert!(sent > 28_000_000 && copies == 0, "{sent}, {copies}");
    whole("5");
    assert_eq!(server.unfinished(), 0);
}

/// Who has every right.
pub const SOMEBODY: &str = "Authorization: AWS an-id:a-signature\r\n";

/// Until when the server holds an object itself.
fn held_until(server: &Server, key: &str) -> Option<String> {
    let key = key.replace('{', "%7B").replace('}', "%7D");
    let answer = server.ask_with(&format!("HEAD /buck/{key}"), SOMEBODY)?.to_lowercase();
    let until = answer.split("x-amz-object-lock-retain-until-date: ").nth(1)?.split('t').next()?.to_owned();
    assert!(answer.contains("x-amz-object-lock-mode: governance"), "{answer}");
    Some(until)
}

#[test]
fn what_is_immutable_is_held_by_a_bucket_that_can_and_what_it_rests_on_as_long() {
    let server = Server::start_with("x-amz-bucket-object-lock-enabled: true\r\n");
    let text = |days: u32| {
        format!(
            "plan p\n{}source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = all\n  to = [far]\n}}\n\
             cycle {{\n  incrementals = 1\n}}\nkeep {{\n  last = 1\n}}\n",
            store("far", server.port, &format!("  immutable = {days}d\n"))
        )
    };
    let scenario = world(&text(4000));
    for night in 0..3 {
        scenario.write("site/sub/a", format!("day {night}"));
        scenario.next_day().plan(["run"]).status(0);
    }
    let keys = server.keys();
    let begun: Vec<&str> =
        keys.iter().filter_map(|key| key.split("/manifests/").nth(1)?.get(9..17)).collect();
    let held = |end: &str, number: usize| {
        let key = server.keys().into_iter().filter(|key| key.ends_with(end)).nth(number);
        let key = key.unwrap_or_else(|| panic!("{number} of {end}: {:?}", server.keys()));
        held_until(&server, &key).unwrap_or_else(|| panic!("{key} is not held"))
    };
    let day = |number: usize, later: i64| {
        let begun = jiff::civil::Date::strptime("%Y%m%d", begun[number]).unwrap();
        (begun + jiff::Span::new().days(later)).to_string()
    };
    // The full is held as long as the incremental on it; a full of its own as long as itself.
    for (number, until) in [(0, day(1, 4000)), (1, day(1, 4000)), (2, day(2, 4000))] {
        assert_eq!(held(".tar.gz", number), until, "artefact {number}");
        assert_eq!(held(".yaml", number + 1), until, "manifest {number}");
    }
    // Leases and whose plan it is are written again and again.
    let others: Vec<String> = server.keys().into_iter().filter(|key| key.contains("/lock/")).collect();
    assert!(!others.is_empty());
    assert!(others.iter().all(|key| held_until(&server, key).is_none()), "{others:?}");
    // The server itself keeps it from who goes around `plan`.
    let versions = server.ask("GET /buck?versions").unwrap();
    let version = versions.split(".tar.gz</Key>").nth(1).unwrap().split("<VersionId>").nth(1).unwrap();
    let version = version.split('<').next().unwrap();
    let key = server.keys().into_iter().find(|key| key.ends_with(".tar.gz")).unwrap();
    let key = key.replace('{', "%7B").replace('}', "%7D");
    let denied = server.ask_with(&format!("DELETE /buck/{key}?versionId={version}"), SOMEBODY).unwrap();
    assert!(denied.contains("AccessDenied"), "{denied}");
    // Less is asked for than is held: nothing to complain of, and nothing is shortened.
    scenario.write("p.plan", text(1));
    scenario.next_day().plan(["run"]).status(0);
    let key = keys.iter().find(|key| key.ends_with(".tar.gz") && key.contains(begun[2])).unwrap();
    assert_eq!(held_until(&server, key), Some(day(2, 4000)));
    // What has become older is deleted, as ever.
    scenario.write("p.plan", text(2));
    for _ in 0..4 {
        scenario.next_day().plan(["run"]).status(0);
    }
    assert!(server.artefacts() < 6, "{:?}", server.keys());
    restored_site(&scenario);
}

fn restored_site(scenario: &Scenario) {
    scenario.plan(["restore", "--to", "back"]).status(0);
    shell(&scenario.path("."), "diff -r site back/site/site");
}
