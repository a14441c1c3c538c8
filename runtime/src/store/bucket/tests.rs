//! The suite against a server of S3's protocol, in a process of its own.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backplan_compiler::model::{Absent, Store as Declared, StoreKind};
use backplan_compiler::sources::{FileId, Place};
use backplan_compiler::value::{Hidden, Secret, Text};

use super::BucketStore;
use crate::programs::secrets::Secrets;
use crate::store::conformance::conforms;
use crate::store::{Creation, Name, Patience, ReadStore, Store, StoreErrorKind};

/// A server with one bucket, empty.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Server {
        Server::start_with(&[])
    }

    fn start_with(variables: &[(&str, &str)]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).envs(variables.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Server { child, port };
        for _ in 0..600 {
            if server.ask("PUT /buck HTTP/1.1").is_some_and(|answer| answer.contains(" 200 ")) {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("moto_server does not answer");
    }

    fn ask(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "{request}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn declared(endpoint: String, bucket: &str, prefix: &str) -> Declared {
    let secret = |value: &str| Some(Secret::Inline(Hidden::new(value)));
    Declared {
        name: "far".to_owned(),
        place: Place { file: FileId(0), span: Default::default() },
        kind: StoreKind::S3 {
            bucket: bucket.to_owned(),
            prefix: Some(Text::literal(prefix)),
            region: None,
            endpoint: Some(endpoint),
            access_key: secret("an-id"),
            secret_key: secret("a-key"),
            storage_class: Some("STANDARD_IA".to_owned()),
            path_style: true,
            ca_file: None,
        },
        offsite: true,
        bandwidth: None,
        immutable: None,
        append_only: false,
        absent: Absent::Warn,
        keep: None,
    }
}

fn open(port: u16, bucket: &str, prefix: &str) -> BucketStore {
    open_with(port, bucket, prefix, Patience::Long)
}

fn open_with(port: u16, bucket: &str, prefix: &str, patience: Patience) -> BucketStore {
    let declared = declared(format!("http://127.0.0.1:{port}"), bucket, prefix);
    BucketStore::open(&declared, &Secrets::default(), patience).unwrap()
}

#[test]
fn a_bucket_of_s3_conforms() {
    // Each listing has more than one page.
    let server = Server::start_with(&[("MOTO_S3_DEFAULT_MAX_KEYS", "3")]);
    let (port, round) = (way(server.port, false), AtomicUsize::new(0));
    conforms(&|| {
        let prefix = format!("some/prefix-{}/", round.fetch_add(1, Ordering::SeqCst));
        Arc::new(open(port, "buck", &prefix))
    });
    no_bucket(&server);
    a_server_that_ignores_conditions(&server);
}

/// An account's key, as the server is told it.
const ACCOUNT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn a_container_of_azure_conforms() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("azurite-blob");
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.env("AZURITE_ACCOUNTS", format!("acc:{ACCOUNT_KEY}"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { child, port };
    let make = || {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/azure-container.py"));
        python.args([&format!("http://127.0.0.1:{}", server.port), "acc", ACCOUNT_KEY, "cont"]);
        python.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!((0..60).any(|_| make() || {
        std::thread::sleep(Duration::from_secs(1));
        false
    }));
    let round = AtomicUsize::new(0);
    let open_by = |container: &str, prefix: &str, key: Secret| {
        let mut declared = declared(String::new(), "", "");
        declared.kind = StoreKind::Azblob {
            container: container.to_owned(),
            account: Some("acc".to_owned()),
            prefix: Some(Text::literal(prefix)),
            endpoint: Some(format!("http://127.0.0.1:{}/acc", server.port)),
            key: Some(key),
        };
        BucketStore::open(&declared, &Secrets::default(), Patience::Long).unwrap()
    };
    let open = |container: &str, prefix: &str, key: &str| {
        open_by(container, prefix, Secret::Inline(Hidden::new(key)))
    };
    conforms(&|| {
        let prefix = format!("some/ü-{}/", round.fetch_add(1, Ordering::SeqCst));
        Arc::new(open("cont", &prefix, ACCOUNT_KEY))
    });
    let object = Name::new("x").unwrap();
    let error = open("none", "", ACCOUNT_KEY).list(None).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("ContainerNotFound"), "{error}");
    let other = ACCOUNT_KEY.replace("MDEy", "MDEz");
    let error = open("cont", "", &other).create(&object, b"x").unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Credentials, "{error}");
    // A key that was changed on the server is had anew, whatever is asked first, and whether the answer has words or not.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let asks: [&dyn Fn(&BucketStore); 4] = [
        &|store| assert_eq!(store.create(&object, b"x").unwrap(), Creation::Created),
        &|store| assert_eq!(store.size(&object).unwrap(), Some(1)),
        &|store| assert_eq!(store.read(&object).unwrap(), b"x"),
        &|store| assert_eq!(store.list(None).unwrap().iter().filter(|one| one.name == object).count(), 1),
    ];
    for ask in asks {
        std::fs::write(&file, &other).unwrap();
        let store = open_by("cont", "", Secret::File(file.clone()));
        std::fs::write(&file, ACCOUNT_KEY).unwrap();
        ask(&store);
    }
}

#[test]
fn a_server_that_does_not_know_the_keys_says_so_whatever_is_asked() {
    // One request is let in: it makes the bucket.
    let server = Server::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]);
    let (store, object) = (open(server.port, "buck", ""), Name::new("x").unwrap());
    let refused = [
        store.read(&object).unwrap_err(),
        store.size(&object).unwrap_err(),
        store.list(None).unwrap_err(),
        store.entries(&object).unwrap_err(),
        store.create(&object, b"x").unwrap_err(),
        store.delete(&object).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind, StoreErrorKind::Credentials, "{error}");
        assert!(error.to_string().contains("; see the keys that the plan gives"), "{error}");
    }
}

#[test]
fn a_server_that_says_when_to_ask_again_is_asked_then() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let answers = ["503 Slow Down\r\nRetry-After: 2", "404 Not Found"];
        let ask = |answer: &str| {
            let mut client = listener.accept().unwrap().0;
            message(&mut client, false).unwrap();
            write!(client, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            Instant::now()
        };
        answers.map(ask)
    });
    assert_eq!(open(port, "buck", "").size(&Name::new("x").unwrap()).unwrap(), None);
    let [first, second] = asked.join().unwrap();
    assert!(second - first >= Duration::from_secs(2));
}

#[test]
fn what_is_to_be_held_is_asked_for_again_where_the_server_is_busy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let answers = ["503 Slow Down", "200 OK", "500 Internal Server Error", "200 OK"];
        let ask = |answer: &str| {
            let mut client = listener.accept().unwrap().0;
            let (head, _) = message(&mut client, false).unwrap();
            write!(client, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            head.split(' ').next().unwrap().to_owned()
        };
        answers.map(ask)
    });
    let until = "2030-01-01T00:00:00Z".parse().unwrap();
    assert!(open(port, "buck", "").hold(&Name::new("x").unwrap(), until).unwrap());
    assert_eq!(asked.join().unwrap(), ["HEAD", "HEAD", "PUT", "PUT"]);
}

/// As while it is begun anew, behind a gateway or not: longer than the library itself asks again.
#[test]
fn a_server_that_is_busy_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let busy = ["502 Bad Gateway", "503 Slow Down", "504 Gateway Timeout", "429 Too Many Requests"];
        let answers = busy.iter().cycle().take(6).chain(&["200 OK"]);
        for (client, answer) in listener.incoming().zip(answers) {
            let mut client = client.unwrap();
            message(&mut client, false).unwrap();
            let rest = "Last-Modified: Fri, 20 Nov 2026 02:30:00 GMT\r\nETag: \"x\"\r\nConnection: close";
            write!(client, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n{rest}\r\n\r\n").unwrap();
        }
    });
    assert_eq!(open(port, "buck", "").size(&Name::new("x").unwrap()).unwrap(), Some(0));
}

/// A server that answers everything alike.
fn always(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if message(&mut client, false).is_some() {
                let _ = write!(client, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    port
}

#[test]
fn what_a_server_refuses_has_a_kind_whatever_was_asked() {
    use StoreErrorKind::{Busy, Changed, Credentials, Exists, Unreachable};
    let object = Name::new("x").unwrap();
    let kinds = [
        ("429 Too Many Requests", Busy),
        ("502 Bad Gateway", Unreachable),
        ("503 Service Unavailable", Unreachable),
        ("504 Gateway Timeout", Unreachable),
        ("403 Forbidden", Credentials),
        ("409 Conflict", Exists),
        ("412 Precondition Failed", Changed),
    ];
    for (answer, kind) in kinds {
        let store = open_with(always(answer), "buck", "", Patience::Short);
        // What a server refuses to replace is not replaced.
        let mut errors = vec![store.read(&object).unwrap_err(), store.replace(&object, b"x").unwrap_err()];
        // These two are told of by their status alone.
        if matches!(kind, Busy | Credentials | Unreachable) {
            errors.extend([store.list(None).unwrap_err(), store.delete(&object).unwrap_err()]);
        }
        for error in errors {
            assert_eq!(error.kind, kind, "{answer}: {error}");
            let is_told = error.to_string().contains("asks for fewer requests: give the store a `bandwidth`");
            assert_eq!(is_told, kind == Busy, "{error}");
        }
        // A creation that meets something is no error.
        match store.create(&object, b"x") {
            Ok(creation) => assert!(creation == Creation::Exists && matches!(kind, Exists | Changed)),
            Err(error) => assert_eq!(error.kind, kind, "{answer}: {error}"),
        }
    }
}

/// Its pages lead from one to the other and back.
#[test]
fn a_listing_that_goes_around_in_circles_ends_with_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if message(&mut client, false).is_none() {
                continue;
            }
            let page = count.fetch_add(1, Ordering::SeqCst) % 3;
            let text = format!(
                "<ListBucketResult><Contents><Key>{page}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>\
                 <NextContinuationToken>page{page}</NextContinuationToken></ListBucketResult>"
            );
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            client.write_all(format!("{head}{text}").as_bytes()).unwrap();
        }
    });
    let store = open(port, "buck", "");
    for error in [store.list(None).unwrap_err(), store.root().unwrap_err()] {
        assert!(error.to_string().contains("a page of the listing that it has given before"), "{error}");
    }
    assert!(asked.load(Ordering::SeqCst) < 30);
}

#[test]
fn a_bucket_of_another_region_is_told_in_the_words_of_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let words = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-north-1'</Message></Error>";
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let (head, _) = message(&mut client, false).unwrap();
            let (words, length) = (if head.starts_with("HEAD ") { "" } else { words }, words.len());
            let head =
                format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            client.write_all(format!("{head}{words}").as_bytes()).unwrap();
        }
    });
    let error = open(port, "buck", "").read(&Name::new("x").unwrap()).unwrap_err().to_string();
    assert!(error.contains("expecting 'eu-north-1'") && error.contains("into `region`"), "{error}");
}

fn no_bucket(server: &Server) {
    let store = open(server.port, "none", "");
    let object = Name::new("x").unwrap();
    let error = store.list(None).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    assert_eq!(store.create(&object, b"x").unwrap_err().kind, StoreErrorKind::Unreachable);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(open(nobody, "buck", "").size(&object).unwrap_err().kind, StoreErrorKind::Unreachable);
}

/// Between the store and the server, a proxy takes the condition away, as some servers do.
fn a_server_that_ignores_conditions(server: &Server) {
    let port = way(server.port, true);
    let (store, object) = (open(port, "buck", "strip"), Name::new("x").unwrap());
    let error = store.create(&object, b"x").unwrap_err();
    assert!(error.to_string().contains("ignores the condition"), "{error}");
    let direct = open(server.port, "buck", "strip");
    assert_eq!(direct.size(&object).unwrap(), None);
    assert_eq!(direct.create(&object, b"x").unwrap(), Creation::Created);
}

/// A way to a server for whole requests. Those with a condition go one by one, as the server looks and creates in two steps;
/// or their condition is taken away.
fn way(to: u16, is_stripped: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let one_by_one = Arc::new(Mutex::new(()));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let one_by_one = Arc::clone(&one_by_one);
            std::thread::spawn(move || carry(client.unwrap(), to, is_stripped, &one_by_one));
        }
    });
    port
}

fn carry(mut client: TcpStream, to: u16, is_stripped: bool, one_by_one: &Mutex<()>) -> Option<()> {
    const CONDITION: &str = "if-none-match: *\r\n";
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    loop {
        let (head, body) = message(&mut client, false)?;
        let alone = head.contains(CONDITION).then(|| one_by_one.lock().unwrap());
        let sent = if is_stripped { head.replace(CONDITION, "") } else { head.clone() };
        server.write_all(&[sent.as_bytes(), &body].concat()).ok()?;
        let (answer, body) = message(&mut server, head.starts_with("HEAD "))?;
        drop(alone);
        client.write_all(&[answer.as_bytes(), &body].concat()).ok()?;
    }
}

fn message(from: &mut TcpStream, is_bodiless: bool) -> Option<(String, Vec<u8>)> {
    let (mut head, mut one) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut one).ok()?;
        head.push(one[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; if is_bodiless { 0 } else { length.unwrap_or(0) }];
    from.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Bytes by chance, the same each time.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    };
    std::iter::repeat_with(|| next()[0]).take(len).collect()
}

#[test]
fn what_the_server_copies_and_what_it_is_sent_make_one_object() {
    let server = Server::start();
    let store = open(server.port, "buck", "a b/ü/");
    let name = |name: &str| Name::new(name).unwrap();
    let base = random(1, 24 << 20);
    let mut upload = store.upload(&name("base"), &name("tmp"), None).unwrap();
    upload.write(&base).unwrap();
    assert_eq!(upload.finish().unwrap(), Creation::Created);
    // Lengths in KiB that are written, and stretches of the base, on both sides of what a part may be.
    let plans: [&[(usize, usize, usize)]; 5] = [
        &[(0, 0, 24 << 10)],
        &[(1, 0, 12 << 10), (3, 12 << 10, 9), (5 << 10, 100, 5 << 10)],
        &[(6 << 10, 7, 5 << 10), (0, 9000, 11 << 10), (9 << 10, 0, 10 << 10), (1, 10 << 10, 1)],
        &[(2, 3, 20), (0, 23, 4 << 10), (17 << 10, 1 << 10, 23 << 10)],
        &[(0, 0, 5 << 10), (0, 5 << 10, 5 << 10), (0, 0, 6 << 10), (1, 0, 0)],
    ];
    for (number, plan) in plans.iter().enumerate() {
        let (mut wanted, to) = (Vec::new(), name(&format!("made-{number}")));
        let mut upload = store.upload(&to, &name("tmp"), None).unwrap();
        for (at, (own, from, len)) in plan.iter().enumerate() {
            let own = random(number as u64 * 10 + at as u64 + 2, own << 10);
            upload.write(&own).unwrap();
            wanted.extend(&own);
            let stretch = &base[from << 10..(from + len) << 10];
            for (piece, bytes) in stretch.chunks(1 << 20).enumerate() {
                upload.again(&name("base"), ((from << 10) + (piece << 20)) as u64, bytes).unwrap();
            }
            wanted.extend(stretch);
            // Room for a header, which is filled in behind what comes next.
            let place = wanted.len();
            upload.hold(100);
            upload.write(&[0; 100]).unwrap();
            upload.again(&name("base"), 0, &base[..6 << 20]).unwrap();
            upload.patch(place as u64, &[7; 100]).unwrap();
            wanted.extend([7; 100]);
            wanted.extend(&base[..6 << 20]);
        }
        assert_eq!(upload.finish().unwrap(), Creation::Created);
        assert!(store.read(&to).unwrap() == wanted, "{number}");
    }
}
