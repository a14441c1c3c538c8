//! A cluster whose repository is in a bucket: a real server of S3's protocol, with TLS, in memory.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::separate::{archiving, back, marks, stop};
use super::{Cluster, open_above};
use crate::scenario::{Scenario, shell, wait_for};

/// A server with an empty bucket, and TLS before it. They go with this.
pub(super) struct Bucket {
    children: [Child; 2],
    port: u16,
}

impl Bucket {
    pub(super) fn start(scenario: &Scenario) -> Bucket {
        let folder = scenario.path(".");
        shell(
            &folder,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost 2>/dev/null && chmod 644 cert.pem",
        );
        open_above(&scenario.path("cert.pem"));
        let (port, plain) = (free_port(), free_port());
        let tls = format!(
            "foreground = yes\npid =\n[s3]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{plain}\ncert = {0}/cert.pem\n\
             key = {0}/key.pem\nTIMEOUTclose = 0\n",
            folder.display()
        );
        scenario.write("stunnel.conf", tls);
        let child = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&folder).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let server = child("moto_server", &["-H", "127.0.0.1", "-p", &plain.to_string()]);
        let bucket = Bucket { children: [server, child("stunnel4", &["stunnel.conf"])], port };
        let make = format!("curl -sf --cacert cert.pem -X PUT https://localhost:{port}/buck; echo $?");
        wait_for("a bucket", || shell(&folder, &make).trim().ends_with('0'));
        bucket
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn world() -> Scenario {
    let scenario = super::world().file("etc/conf", "day 0\n").env("KEY_ID", "an id of a key");
    scenario.env("KEY", "a key of that id").env("REPO_PASS", "a phrase to pass by")
}

pub(super) fn plan(cluster: &Cluster, bucket: &Bucket, stanza: &str, store: &str, more: &str) -> String {
    format!(
        "plan p\nstore here: dir {{\n  path = \"{store}\"\n}}\nstore far: s3 {{\n  bucket = \"buck\"\n  prefix = \"pg\"\n  \
         endpoint = \"https://localhost:{}\"\n  access_key = env(\"KEY_ID\")\n  secret_key = env(\"KEY\")\n  \
         ca_file = \"cert.pem\"\n}}\nsource etc: files {{\n  paths = [\"etc\"]\n}}\n\
         source db: postgres {{\n  driver = pgbackrest\n  stanza = \"{stanza}\"\n  staging = \"pg/settings\"\n{}}}\n\
         separate db {{\n  to = [far]\n  passphrase = env(\"REPO_PASS\")\n}}\n\
         archive main {{\n  from = [etc]\n  to = [here]\n}}\ncycle {{\n  incrementals = 1\n}}\n{more}",
        bucket.port,
        cluster.place()
    )
}

/// The labels that the repository has, oldest first.
fn backups(scenario: &Scenario, stanza: &str) -> Vec<String> {
    let config = scenario.path("pg/settings/pgbackrest.conf");
    let info = format!(
        "runuser -u postgres -- pgbackrest --config={} --stanza={stanza} info | sed -n 's/.* backup: //p'",
        config.display()
    );
    shell(Path::new("/"), &info).lines().map(str::to_owned).collect()
}

#[test]
fn a_repository_in_a_bucket_follows_the_cycle_and_gives_the_cluster_back() {
    let stanza = "backplan_bucket";
    let scenario = world();
    let bucket = Bucket::start(&scenario);
    let settings = scenario.path("pg/settings");
    let cluster = archiving(&scenario, &settings, stanza);
    let keep = "keep {\n  full = 2\n}\n";
    scenario.write("p.plan", plan(&cluster, &bucket, stanza, "store", keep));
    cluster.fill(1000);
    scenario.plan(["run", "p.plan", "--dry-run"]).status(0);
    assert!(!settings.join("pgbackrest.conf").exists());
    for number in 1..=4 {
        scenario.next_day().plan(["run", "p.plan"]).status(0);
        let found = backups(&scenario, stanza);
        assert_eq!(found.last().unwrap().ends_with('F'), number % 2 == 1, "{found:?}");
        assert_eq!(found.len(), number);
    }
    let marks = marks(&cluster);
    let first = backups(&scenario, stanza)[0].clone();
    scenario.next_day().plan(["run", "p.plan", "--dry-run"]).status(0).says(&format!("backup {first}"));
    scenario.plan(["run", "p.plan"]).status(0);
    let left = backups(&scenario, stanza);
    assert!(left.len() == 3 && !left.contains(&first), "{left:?}");

    // What nobody may see is in the settings alone, which are the server's.
    let seen =
        shell(&scenario.path("."), "grep -rlE 'an id of|a key of|a phrase to' store ../state pg || true");
    assert_eq!(seen.trim(), "pg/settings/pgbackrest.conf");
    let config = fs::metadata(settings.join("pgbackrest.conf")).unwrap();
    assert_eq!(config.mode() & 0o777, 0o600);
    assert_eq!(config.uid(), fs::metadata(&cluster.data).unwrap().uid());
    let manifest = shell(&scenario.path("store"), "cat .backplan/p/manifests/00000005-*");
    for part in ["s3-bucket: buck", "path: /pg/.backplan-repo/p/db", "cipher: aes-256-cbc", "type: s3"] {
        assert!(manifest.contains(part), "{part}: {manifest}");
    }

    scenario.plan(["list", "p.plan"]).status(0).says("00000005-");
    scenario.plan(["status", "p.plan"]).status(0).says("db");
    let alone = ["restore", "--store", "store", "--source", "db", "--to", "back"];
    scenario.plan(alone).status(1).says("s3:buck/pg/.backplan-repo/p/db").says("give its file");
    // Where a restore point is, is not known beforehand: the newest backup is behind it.
    for ([option, _], target, rows) in marks.iter().take(2) {
        let way = ["restore", "p.plan", "--source", "db", "--to", "back", "--start", option, target.as_str()];
        scenario.plan(way).status(0).says("running");
        assert_eq!(&back(&scenario, &cluster, "select count(*) from t"), rows, "{option} {target}");
        stop(&scenario, &cluster);
    }
}

/// The folder that knew of the backups is lost. They are not: what a new one does not know is no orphan.
#[test]
fn backups_in_a_bucket_outlive_the_manifests_that_named_them() {
    let stanza = "backplan_outlive";
    let scenario = world();
    let bucket = Bucket::start(&scenario);
    let cluster = archiving(&scenario, &scenario.path("pg/settings"), stanza);
    let keep = "keep {\n  full = 1\n}\n";
    scenario.write("p.plan", plan(&cluster, &bucket, stanza, "store", keep));
    cluster.fill(100);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let old = backups(&scenario, stanza);
    assert_eq!(old.len(), 2);
    fs::create_dir(scenario.path("other")).unwrap();
    scenario.write("p.plan", plan(&cluster, &bucket, stanza, "other", keep));
    for _ in 0..3 {
        scenario.next_day().plan(["run", "p.plan"]).status(0);
    }
    let found = backups(&scenario, stanza);
    assert!(old.iter().all(|label| found.contains(label)), "{old:?} {found:?}");
    // Of those that the new folder named, the newest full alone is kept.
    assert_eq!(found.len(), 3, "{found:?}");
    // A run that was killed before its commit: the full of the first run stands, the incremental behind it is an orphan.
    scenario.next_day().plan(["run", "p.plan"]).status(0);
    let orphan = backups(&scenario, stanza).pop().unwrap();
    let manifest = shell(&scenario.path("other/.backplan/p/manifests"), "ls | tail -n 1");
    fs::remove_file(scenario.path("other/.backplan/p/manifests").join(manifest.trim())).unwrap();
    scenario.next_day().plan(["run", "p.plan"]).status(3).says(&format!("`{orphan}`"));
    let found = backups(&scenario, stanza);
    assert!(!found.contains(&orphan) && old.iter().all(|label| found.contains(label)), "{orphan} {found:?}");
}
