//! Who is told how a run went, and of what: by a real mail server, by a listener of the tests' own, by a program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::scenario::{Scenario, plan, repository, shell, wait_for};

/// A mail server with STARTTLS and an account.
struct Mail {
    child: Child,
    port: u16,
}

impl Mail {
    fn start(scenario: &Scenario) -> Mail {
        let folder = scenario.path(".");
        shell(
            &folder,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE 2>/dev/null",
        );
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools/mail/bin/python3");
        assert!(python.exists(), "{} is not there: `tests/run` makes it", python.display());
        let mut command = Command::new(python);
        command.arg(repository("tests/mail-server.py")).arg(port.to_string());
        command.args(["cert.pem", "key.pem", "letters"]).current_dir(&folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mail = Mail { child, port };
        wait_for("a mail server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        mail
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener that says yes to every request, and tells of its first line and body.
fn listener() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut lines: Vec<String> = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim_end().to_lowercase());
            }
            let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                .unwrap();
            if tell.send((lines[0].clone(), String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn declared(script: &str, web: u16, mail: u16) -> String {
    plan(&format!(
        r#"source dump: command {{
  run = ["sh", "-c", "{script}"]
  as  = "dump.txt"
  env = ["TOKEN=${{env("DUMP_TOKEN")}}"]
}}

archive main {{
  from = all
  to   = [store]
}}

notify hook: webhook {{
  url = env("HOOK")
}}

notify sign: healthcheck {{
  url = "http://127.0.0.1:{web}/ping/1234"
}}

notify admin: email {{
  to       = ["ops@example.org", "dba@example.org"]
  from     = "backup@example.org"
  server   = "localhost:{mail}"
  user     = "backup"
  password = env("MAIL_PASSWORD")
}}

notify program: command {{
  run = ["sh", "-c", "cat > told.json; echo \"$BACKPLAN_ERROR\" > told.env"]
  on  = [failure]
}}
"#
    ))
}

#[test]
fn a_failure_reaches_people_with_its_step_its_cause_and_the_newest_backup() {
    let scenario = Scenario::new();
    let mail = Mail::start(&scenario);
    let (web, told) = listener();
    let certificate = scenario.path("cert.pem").to_string_lossy().into_owned();
    let scenario = scenario
        .env("DUMP_TOKEN", "dump-sesame")
        .env("MAIL_PASSWORD", "mail-sesame")
        .env("HOOK", &format!("http://127.0.0.1:{web}/hook/url-sesame"))
        .env("SSL_CERT_FILE", &certificate);
    scenario.write("p.plan", declared("echo good", web, mail.port));
    let first = scenario.next_day().plan(["run", "--format", "json"]).status(0).json();
    let run = first["run"].as_str().unwrap().to_owned();
    // A beginning and an end for the monitor; nobody else is told of success, and no step says that it did.
    let heard: Vec<(String, String)> = told.try_iter().collect();
    let lines: Vec<&str> = heard.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, ["post /ping/1234/start http/1.1", "post /ping/1234 http/1.1"]);
    let steps = first["steps"].as_array().unwrap();
    let of = |name: &str| steps.iter().find(|step| step["step"].as_str().unwrap().starts_with(name)).unwrap();
    assert_eq!(of("notify/hook")["outcome"], "not_run");
    assert_eq!(of("notify/hook")["reason"], "its `on` does not name `success`");

    scenario.write("p.plan", declared("echo no luck with $TOKEN >&2; exit 3", web, mail.port));
    scenario.next_day().plan(["run"]).status(1);
    let heard: Vec<(String, String)> = told.try_iter().collect();
    let body = |line: &str| &heard.iter().find(|(first, _)| first == line).unwrap().1;
    let json: serde_json::Value = serde_json::from_str(body("post /hook/url-sesame http/1.1")).unwrap();
    assert_eq!((&json["event"], &json["plan"]), (&"failure".into(), &"p".into()));
    let cause = json["problems"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("status 3") && cause.contains("no luck with (secret)"), "{json}");
    assert_eq!(json["newest"][0]["source"], "dump");
    assert_eq!(json["newest"][0]["backup"][0], run.as_str());
    assert!(body("post /ping/1234/fail http/1.1").contains("no luck with (secret)"));
    let by_program: serde_json::Value = serde_json::from_str(&scenario.read("told.json")).unwrap();
    assert_eq!(by_program["problems"], json["problems"]);
    assert!(scenario.read("told.env").contains("no luck with (secret)"));
    // The server took it at the second attempt, from the account, over a connection that it protects.
    let letters = scenario.read("letters");
    assert!(letters.starts_with("backup backup@example.org ops@example.org dba@example.org\n"), "{letters}");
    assert!(letters.contains("Subject: p on ") && letters.contains("the run FAILED"), "{letters}");
    assert!(
        letters.contains("Auto-Submitted: auto-generated") && letters.contains("newest backup of dump"),
        "{letters}"
    );
    assert!(!letters.contains("dump-sesame"), "{letters}");

    // All of them are tried at once, whatever they are declared for.
    let tried = scenario.plan(["notify", "--test"]).status(0);
    let tried =
        tried.stdout_has("`hook` (json) took the message").stdout_has("`admin` (e-mail) took the message");
    assert!(!tried.said().contains("sesame"));
    assert!(scenario.read("letters").contains("a test, nothing happened"));

    // What does not arrive is a warning: the backup is there. Nothing of an address or a password is told.
    scenario.write("p.plan", declared("echo good", 1, mail.port));
    let scenario = scenario.env("MAIL_PASSWORD", "wrong-sesame").env("HOOK", "http://127.0.0.1:1/url-sesame");
    let answer = scenario
        .next_day()
        .plan(["run"])
        .status(3)
        .stdout_has("notify/sign")
        .stdout_has("3 attempts were made");
    assert!(!answer.said().contains("sesame"));
    let refused = scenario.plan(["notify", "--test"]).status(1);
    let refused =
        refused.stderr_has("`hook` (json) was not told").stderr_has("`admin` (e-mail) was not told");
    assert!(!refused.said().contains("sesame"));
    drop(mail);
}

#[test]
fn a_failure_counts_on_no_backup_whose_artefact_is_gone() {
    let text = "source dump: command {\n  run = [\"sh\", \"-c\", \"echo $RANDOM; . ./how\"]\n  as  = \"dump\"\n}\n\n\
                archive main {\n  from = [dump]\n  to   = [store]\n}\n\n\
                notify told: command {\n  run = [\"sh\", \"-c\", \"echo $BACKPLAN_NEWEST > told\"]\n  on  = [failure]\n}\n";
    let scenario = Scenario::new().file("p.plan", plan(text)).file("how", "exit 0");
    for _ in 0..2 {
        scenario.next_day().plan(["run"]).status(0);
    }
    scenario.write("how", "exit 1");
    scenario.next_day().plan(["run"]).status(1);
    assert!(scenario.read("told").starts_with("dump=00000002-"), "{}", scenario.read("told"));
    let newest = crate::scenario::artefacts(&scenario.path("store")).pop().unwrap();
    std::fs::remove_file(newest).unwrap();
    scenario.next_day().plan(["run"]).status(1);
    assert!(scenario.read("told").starts_with("dump=00000001-"), "{}", scenario.read("told"));
}

/// A listener that refuses every request and says what it was sent.
fn refusing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut read = vec![0; 65_536];
            // The body comes with the headers, or behind them.
            let mut size = stream.read(&mut read).unwrap();
            while !read[..size].ends_with(b"}") {
                size += stream.read(&mut read[size..]).unwrap();
            }
            let body = String::from_utf8_lossy(&read[..size]).split("\r\n\r\n").nth(1).unwrap().to_owned();
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

fn with_template(port: u16, rest: &str) -> String {
    plan(&format!(
        r#"source site: files {{
  paths = ["site"]
}}

archive main {{
  from = all
  to   = [store]
}}

notify duty: webhook {{
  url      = "http://127.0.0.1:{port}/in"
  on       = [success]
  {rest}
}}
"#
    ))
}

const TEMPLATE: &str = r#"token    = env("KEY")
  template = '{"routing_key": "{token}", "summary": "{title}", "stores": "{stores}"}'"#;

#[test]
fn a_template_of_one_s_own_is_sent_and_what_is_answered_shows_no_token() {
    let (port, told) = listener();
    let scenario = Scenario::new().file("site/a", "a").env("KEY", "open-\"sesame\"");
    scenario.write("p.plan", with_template(port, TEMPLATE));
    scenario.plan(["run"]).status(0);
    let (_, body) = told.recv().unwrap();
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&json["routing_key"], &json["stores"][0]), (&"open-\"sesame\"".into(), &"store".into()));
    // Also where what is told of an answer ends in its midst.
    let padded = TEMPLATE.replace("\"{token}\"", &format!("\"{}{{token}}\"", "x".repeat(170)));
    scenario.write("p.plan", with_template(refusing(), &padded));
    let answer = scenario.next_day().plan(["run"]);
    assert!(!format!("{answer:?}").contains("open-") && answer.code == 3, "{answer:?}");
    scenario.write("p.plan", with_template(refusing(), TEMPLATE));
    let answer = scenario.next_day().plan(["run"]);
    assert!(!format!("{answer:?}").contains("sesame"), "{answer:?}");
    answer.status(3).stderr_has("answered 400").stderr_has("(secret)");
}

#[test]
fn a_template_that_is_none_is_found_before_it_is_needed() {
    let scenario = Scenario::new();
    let wrong = [
        (r#"template = '{"a": '"#, "`template` is no JSON"),
        (r#"template = '"{title}"'"#, "is JSON, but no object and no list"),
        (r#"template = '{"a": "{titel}"}'"#, "did you mean `title`?"),
        (r#"template = '{"a": "{anything}"}'"#, "for the word itself write `{{anything}}`"),
        (r#"template = '{"a": "{token}"}'"#, "this notification has no `token`"),
        (r#"template = '{"a": "{title}"}', shape = slack"#, "`shape` and `template` exclude each other"),
        (r#"template = "{\"a\": \"${host()}\"}""#, "only a run knows"),
    ];
    for (rest, expected) in wrong {
        scenario.write("p.plan", with_template(9, &rest.replace(", shape", "\n  shape")));
        scenario.plan(["check"]).status(1).stdout_has(expected);
    }
}
