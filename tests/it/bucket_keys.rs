//! Keys of a bucket that no plan has: those that a machine, a container or a pod is given by what it runs on.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::bucket_way::{Fate, deciding, message};
use crate::buckets::{Server, free_port};
use crate::scenario::{Scenario, shell, wait_for};

/// Who gives keys, each by its own protocol; what was asked for is kept.
fn giver() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), kept) = (client, Arc::clone(&kept)) else { return };
            thread::spawn(move || {
                while let Some(request) = message(&mut client, false) {
                    let request = String::from_utf8_lossy(&request).into_owned();
                    let answer = answer(request.lines().next().unwrap());
                    kept.lock().unwrap().push_str(&request);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                    client.write_all((head + &answer).as_bytes()).unwrap();
                }
            });
        }
    });
    (port, asked)
}

fn answer(line: &str) -> String {
    const UNTIL: &str = "2099-01-01T00:00:00Z";
    let keys = |id: &str| {
        format!(
            "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"AccessKeyId\":\"{id}\",\
             \"SecretAccessKey\":\"s\",\"Token\":\"t-{id}\",\"Expiration\":\"{UNTIL}\"}}"
        )
    };
    match line {
        _ if line.contains("AssumeRoleWithWebIdentity") => format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>OFPOD</AccessKeyId>\
             <SecretAccessKey>s</SecretAccessKey><SessionToken>t-OFPOD</SessionToken><Expiration>{UNTIL}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
        _ if line.contains("/latest/api/token") => "a token of the machine".to_owned(),
        _ if line.contains("/security-credentials/a-role") => keys("OFMACHINE"),
        _ if line.contains("/security-credentials/") => "a-role".to_owned(),
        _ => keys("OFCONTAINER"),
    }
}

/// TLS before two servers of this machine: who gives keys to a pod is asked over it alone.
struct Tls(Child);

impl Tls {
    fn before(scenario: &Scenario, servers: [(u16, u16); 2]) -> Tls {
        let folder = scenario.path(".");
        shell(
            &folder,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost \
             -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost 2>/dev/null",
        );
        let mut text = "foreground = yes\npid =\nTIMEOUTclose = 0\n".to_owned();
        for (port, to) in servers {
            text += &format!(
                "[of-{to}]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{to}\ncert = cert.pem\nkey = key.pem\n"
            );
        }
        scenario.write("stunnel.conf", text);
        let mut command = Command::new("stunnel4");
        command.arg("stunnel.conf").current_dir(&folder).stdin(Stdio::null());
        let tls = Tls(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        for (port, _) in servers {
            wait_for("TLS", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
        tls
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_plan_without_keys_runs_by_those_of_the_pod_the_container_or_the_machine() {
    let server = Server::start();
    let (giver, asked) = giver();
    let seen = Arc::new(Mutex::new(String::new()));
    let heads = Arc::clone(&seen);
    let bucket = deciding(server.port, move |head| {
        heads.lock().unwrap().push_str(head);
        Fate::Carried
    });
    let (secure, secure_giver) = (free_port(), free_port());
    let text = |endpoint: &str, name: &str| {
        format!(
            "plan {name}\nstore far: s3 {{\n  bucket = \"buck\"\n  prefix = \"{name}\"\n  {endpoint}\n}}\n\
             source site: files {{\n  paths = [\"site\"]\n}}\narchive main {{\n  from = all\n  to = [far]\n}}\n"
        )
    };
    let own = |name: &str| {
        let endpoint = format!("endpoint = \"http://127.0.0.1:{bucket}\"");
        Scenario::new()
            .file("site/a", "a")
            .file("token", "a token of the pod")
            .file("p.plan", text(&endpoint, name))
    };
    let runs = |scenario: Scenario, id: &str, said: &[&str]| {
        seen.lock().unwrap().clear();
        asked.lock().unwrap().clear();
        scenario.next_day().plan(["run"]).status(0);
        scenario.plan(["verify"]).status(0);
        let (heads, asked) = (seen.lock().unwrap().to_lowercase(), asked.lock().unwrap());
        let (id, token) = (
            format!("credential={id}/").to_lowercase(),
            format!("x-amz-security-token: t-{id}").to_lowercase(),
        );
        let signed = heads.matches("authorization: ").count();
        assert!(signed > 5, "{heads}");
        assert_eq!((heads.matches(&id).count(), heads.matches(&token).count()), (signed, signed), "{heads}");
        for part in said {
            assert!(asked.contains(part), "{part}: {asked}");
        }
    };
    let address = format!("http://127.0.0.1:{giver}");
    let machine = own("machine").env("AWS_METADATA_ENDPOINT", &address);
    runs(
        machine,
        "OFMACHINE",
        &["PUT /latest/api/token", "x-aws-ec2-metadata-token: a token of the machine"],
    );
    let container =
        own("container").env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{address}/v1/credentials"));
    let token = container.path("token").display().to_string();
    let container = container.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token);
    runs(container, "OFCONTAINER", &["GET /v1/credentials", "authorization: a token of the pod"]);
    let pod = own("pod");
    let _tls = Tls::before(&pod, [(secure, bucket), (secure_giver, giver)]);
    pod.write(
        "p.plan",
        text(&format!("endpoint = \"https://localhost:{secure}\"\n  ca_file = \"cert.pem\""), "pod"),
    );
    let token = pod.path("token").display().to_string();
    let pod = pod
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r");
    let pod = pod.env("AWS_ENDPOINT_URL_STS", &format!("https://localhost:{secure_giver}"));
    runs(pod, "OFPOD", &["Action=AssumeRoleWithWebIdentity", "WebIdentityToken=a+token+of+the+pod"]);
}
