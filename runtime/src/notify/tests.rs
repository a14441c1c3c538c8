//! Messages as they are sent, to servers of the tests' own.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use backplan_compiler::model::{Body, Email, Event, Monitor, Shape, Tls};
use backplan_compiler::template::{NAMES, Template};
use jiff::Timestamp;
use serde_json::Value;

use super::message::{Message, Newest, Occurrence, Trouble};
use super::{NotifyError, mail, web};
use crate::control::Control;

fn message(event: Event) -> Message {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let mut message = Message::new(Occurrence::Of(event), "shop", "app1".to_owned(), at);
    message.run = Some("20270115T080000Z-000007".to_owned());
    message.warnings = vec!["a <b> & \"c\"\nd".to_owned()];
    if event == Event::Failure {
        message.problems =
            vec![Trouble { step: Some("dump/db".to_owned()), cause: "no server: start it".to_owned() }];
        message.newest = vec![
            Newest { source: "db".to_owned(), backup: Some(("000006".to_owned(), at)) },
            Newest { source: "site".to_owned(), backup: None },
        ];
    }
    message
}

/// What came in: the first line, the headers, the body.
struct Came {
    first: String,
    headers: Vec<String>,
    body: String,
}

impl Came {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        found.map(|line| &line[name.len() + 2..])
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server that gives these answers, one a request, then none.
fn server(answers: &[&str]) -> (String, Receiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let (tell, came) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim_end().to_owned());
            }
            let length = lines
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let came =
                Came { first: lines.remove(0), headers: lines, body: String::from_utf8(body).unwrap() };
            tell.send(came).unwrap();
            // An empty answer: the connection dies.
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (format!("http://{address}"), came)
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn hook(shape: Shape, event: Event, token: Option<&str>) -> Came {
    let (url, came) = server(&[FINE]);
    let request = web::hook(&format!("{url}/in?a=1"), &Body::Shape(shape), token, &message(event)).unwrap();
    web::send(&request, &Control::default()).unwrap();
    came.recv().unwrap()
}

fn sign(path: &str, monitor: Monitor, event: Event) -> Came {
    let (url, came) = server(&[FINE]);
    let request = web::sign(&format!("{url}{path}"), monitor, &message(event)).unwrap();
    web::send(&request, &Control::default()).unwrap();
    came.recv().unwrap()
}

#[test]
fn a_webhook_is_told_in_the_shape_that_it_reads() {
    let came = hook(Shape::Json, Event::Failure, Some("s3cret"));
    assert_eq!(came.first, "POST /in?a=1 HTTP/1.1");
    assert_eq!(came.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(came.header("content-type"), Some("application/json"));
    let json = came.json();
    assert_eq!(json["event"], "failure");
    assert_eq!((&json["plan"], &json["host"]), (&"shop".into(), &"app1".into()));
    assert_eq!(json["problems"][0]["step"], "dump/db");
    assert_eq!(json["problems"][0]["cause"], "no server: start it");
    assert_eq!(json["newest"][0]["backup"][0], "000006");
    assert_eq!(json["newest"][1]["backup"], Value::Null);
    assert!(json["text"].as_str().unwrap().contains("newest backup of db: run 000006"), "{json}");

    let slack = hook(Shape::Slack, Event::Warning, None).json();
    assert!(slack["text"].as_str().unwrap().contains("warning: a &lt;b&gt; &amp; \"c\""), "{slack}");

    let teams = hook(Shape::Teams, Event::Failure, None).json();
    let card = &teams["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["body"][0]["color"]), (&"AdaptiveCard".into(), &"Attention".into()));
    assert_eq!(card["body"][1]["text"], "dump/db: no server: start it");

    let ntfy = hook(Shape::Ntfy, Event::Failure, Some("tk"));
    assert_eq!(ntfy.header("title"), Some("shop on app1: the run FAILED"));
    assert_eq!((ntfy.header("priority"), ntfy.header("tags")), (Some("5"), Some("rotating_light")));
    assert!(ntfy.body.starts_with("dump/db: no server: start it\n"), "{}", ntfy.body);
    assert_eq!(hook(Shape::Ntfy, Event::Success, None).header("authorization"), None);
}

#[test]
fn a_monitor_hears_of_beginnings_and_ends() {
    let ends = [
        ("/ping/uuid", Event::Start, "POST /ping/uuid/start HTTP/1.1"),
        ("/ping/uuid/", Event::Failure, "POST /ping/uuid/fail HTTP/1.1"),
        ("/ping/uuid", Event::Success, "POST /ping/uuid HTTP/1.1"),
        ("/ping/key/slug?create=1", Event::Warning, "POST /ping/key/slug?create=1 HTTP/1.1"),
    ];
    for (path, event, first) in ends {
        let came = sign(path, Monitor::Healthchecks, event);
        assert_eq!(came.first, first);
        assert!(came.body.starts_with("shop on app1: "), "{}", came.body);
    }
    let failed = sign("/api/push/abc?status=up&msg=OK&ping=", Monitor::Kuma, Event::Failure);
    assert!(failed.first.starts_with("GET /api/push/abc?status=down&msg=shop+on+app1"), "{}", failed.first);
    assert_eq!(failed.first.matches("status=").count(), 1);
    let done = sign("/api/push/abc", Monitor::Kuma, Event::Success);
    assert!(done.first.starts_with("GET /api/push/abc?status=up&msg=shop+on+app1"), "{}", done.first);
}

fn answered(answers: &[&str]) -> (Result<(), NotifyError>, usize) {
    let (url, came) = server(answers);
    let request =
        web::hook(&format!("{url}/secret-path"), &Body::Shape(Shape::Json), None, &message(Event::Failure))
            .unwrap();
    let sent = web::send(&request, &Control::default());
    (sent, came.try_iter().count())
}

#[test]
fn what_may_help_is_tried_again_and_nothing_else() {
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (sent, made) = answered(&["", busy, FINE]);
    sent.unwrap();
    assert_eq!(made, 3);
    let gone = "HTTP/1.1 404 Gone\r\ncontent-length: 12\r\nconnection: close\r\n\r\nno such\x1bhook";
    let (sent, made) = answered(&[gone, FINE]);
    let told = sent.unwrap_err().to_string();
    assert_eq!((told.as_str(), made), ("`127.0.0.1` answered 404 Not Found: no such\\u{1b}hook", 1));
    // Whoever answers cannot send us on to a neighbour.
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (sent, made) = answered(&[elsewhere, FINE]);
    let told = sent.unwrap_err().to_string();
    assert!(told.contains("answered 302 Found, with another address; none is followed"), "{told}");
    assert_eq!(made, 1);
    // Where nobody listens, the address stays a secret.
    let (sent, _) = answered(&[busy, busy, busy]);
    let told = sent.unwrap_err().to_string();
    assert!(told.ends_with("3 attempts were made") && !told.contains("secret-path"), "{told}");
}

#[test]
fn who_hangs_is_left_when_the_run_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let control = Control::default();
    control.stop();
    let request =
        web::hook(&format!("http://{address}"), &Body::Shape(Shape::Json), None, &message(Event::Start))
            .unwrap();
    let begun = Instant::now();
    assert!(web::send(&request, &control).unwrap_err().is_stopped());
    let email = Email { server: address.to_string(), tls: Tls::Never, user: None, ..email() };
    assert!(mail::send(&email, None, &message(Event::Start), &control).unwrap_err().is_stopped());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_cannot_be_sent_is_said_before_it_is_tried() {
    let hook = |url, token| {
        web::hook(url, &Body::Shape(Shape::Json), token, &message(Event::Start)).unwrap_err().to_string()
    };
    assert!(hook("hooks.example.org/x", None).contains("no address"));
    assert_eq!(
        hook("file:///etc/passwd", None),
        "its `url` begins with `file:`; an address begins with `https://`"
    );
    assert!(hook("https://example.org", Some("a\nb")).contains("`token` cannot stand in a header"));
    let control = Control::default();
    let mail = |email: &Email, password| {
        mail::send(email, password, &message(Event::Start), &control).unwrap_err().to_string()
    };
    assert_eq!(mail(&email(), None), "it has a `user` and no `password`");
    let clear = Email { tls: Tls::Never, ..email() };
    assert!(mail(&clear, Some("p")).contains("would go to `mail.example.org` in clear"));
}

fn email() -> Email {
    Email {
        to: vec!["ops@example.org".to_owned()],
        from: "backup@example.org".to_owned(),
        server: "mail.example.org".to_owned(),
        tls: Tls::Starttls,
        user: Some("backup".to_owned()),
        password: None,
    }
}

#[test]
fn a_text_is_cut_between_letters() {
    let mut long = message(Event::Failure);
    long.problems[0].cause = "ä".repeat(5000);
    let text = long.text();
    assert!(text.ends_with('…') && text.len() < 3600);
    let variables = long.variables();
    let error = &variables.iter().find(|(name, _)| name == "BACKPLAN_ERROR").unwrap().1;
    assert!(error.starts_with("dump/db: ää") && error.len() < 3600);
    long.warnings = vec!["w".to_owned(); 25];
    long.problems.clear();
    assert!(long.text().contains("and 15 more: `plan status` has them"));
}

#[test]
fn a_template_is_filled_and_nothing_in_a_message_is_more_than_a_value() {
    let text = r#"{"routing_key": "{token}", "payload": {"summary": "{title}: {problems}", "severity": "{event}",
        "custom_details": {"problems": "{problems}", "warnings": "{warnings}", "newest": "in {newest}", "none": "{started}"}}}"#;
    let body = Body::Template(Template::parse(text).unwrap());
    let (url, came) = server(&[FINE, FINE]);
    let mut told = message(Event::Failure);
    told.problems[0].cause = "\"}, \"severity\": \"{host}".to_owned();
    let request = web::hook(&url, &body, Some("k\"ey"), &told).unwrap();
    web::send(&request, &Control::default()).unwrap();
    let first = came.recv().unwrap();
    assert_eq!(
        (first.header("authorization"), first.header("content-type")),
        (None, Some("application/json"))
    );
    let json = first.json();
    assert_eq!(json["routing_key"], "k\"ey");
    let payload = &json["payload"];
    assert_eq!(payload["severity"], "failure");
    assert_eq!(payload["summary"], "shop on app1: the run FAILED: dump/db: \"}, \"severity\": \"{host}");
    let details = &payload["custom_details"];
    assert_eq!(details["problems"][0]["step"], "dump/db");
    assert_eq!(details["warnings"][0], "a <b> & \"c\"\nd");
    assert_eq!((&details["newest"], &details["none"]), (&"in db=000006".into(), &Value::Null));
    // Where it has no place for the token, that goes along as ever.
    let body = Body::Template(Template::parse(r#"["{text}", "{host}"]"#).unwrap());
    web::send(&web::hook(&url, &body, Some("key"), &told).unwrap(), &Control::default()).unwrap();
    let second = came.recv().unwrap();
    assert_eq!(second.header("authorization"), Some("Bearer key"));
    assert_eq!((&second.json()[0], &second.json()[1]), (&told.text().into(), &"app1".into()));
}

#[test]
fn every_name_of_a_template_is_a_part_of_a_message() {
    let mut told = message(Event::Failure);
    told.started = Some(told.at);
    for name in NAMES {
        assert!(!told.part(name, Some("t")).value.is_null(), "{name}");
    }
    let json: Value = serde_json::from_slice(&told.json()).unwrap();
    let own = json.as_object().unwrap().keys();
    assert!(own.clone().all(|name| NAMES.contains(&name.as_str())), "{own:?}");
}
