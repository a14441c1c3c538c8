//! The archive of a real cluster's log in a bucket, in clear and encrypted: pushed by its server, kept, given back.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::buckets::{SOMEBODY, Server};
use crate::pg_base::{Cluster, is_root};
use crate::scenario::{Answer, plan, shell, wait_for};
use crate::sftp;

/// A way to a server that can be closed.
struct Way {
    port: u16,
    is_open: Arc<AtomicBool>,
}

impl Way {
    fn to(server: u16) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = Arc::new(AtomicBool::new(true));
        let open = Arc::clone(&is_open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if open.load(Ordering::SeqCst) {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                    carry(client.try_clone().unwrap(), server.try_clone().unwrap(), &open);
                    carry(server, client, &open);
                }
            }
        });
        Way { port, is_open }
    }
}

/// A push that began while the way was open must not go on with what is switched once it is closed.
fn carry(mut from: TcpStream, mut to: TcpStream, is_open: &Arc<AtomicBool>) {
    let is_open = Arc::clone(is_open);
    thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !is_open.load(Ordering::SeqCst) || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        for end in [&from, &to] {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    });
}

/// A cluster whose server archives by `p.plan` into a bucket.
struct Far {
    cluster: Cluster,
    server: Server,
    way: Way,
}

impl Far {
    /// `wal`: of the `wal` block, with `to`; `rest`: of the plan.
    fn new(wal: &str, rest: &str) -> Far {
        let run_as = if is_root() { "run_as = \"postgres\"" } else { "" };
        Far::of(&|way, sockets| {
            let text = format!(
                "store far: s3 {{\n  bucket = \"buck\"\n  prefix = \"of/node\"\n  endpoint = \"http://127.0.0.1:{way}\"\n  access_key \
                 = file(\"id\")\n  secret_key = file(\"key\")\n}}\n\nstaging {{\n  path = \"staging\"\n}}\n\nsource main: postgres \
                 {{\n  driver = basebackup\n  host = \"{sockets}\"\n  user = \"postgres\"\n  data_dir = \"pg\"\n  {run_as}\n}}\n\narchive a \
                 {{\n  from = [main]\n  to = [far]\n}}\n\nwal main {{\n  {wal}\n}}\n\n{rest}"
            );
            plan(&text)
        })
    }

    /// By the plan that is made of the way's port and the server's sockets.
    fn of(plan: &dyn Fn(u16, &str) -> String) -> Far {
        let (mut cluster, server) = (Cluster::new(), Server::start());
        let way = Way::to(server.port);
        let scenario = std::mem::replace(&mut cluster.scenario, crate::scenario::Scenario::new());
        cluster.scenario = scenario
            .env("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{}", way.port))
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "key")
            .env("S3_ACCESS_KEY", "id")
            .env("S3_SECRET_KEY", "key");
        fs::copy(env!("CARGO_BIN_EXE_plan"), cluster.scenario.path("plan")).unwrap();
        let text = plan(way.port, &cluster.scenario.path("sock").display().to_string());
        cluster.scenario.write("p.plan", text);
        for (file, text) in [("id", "id"), ("key", "key")] {
            cluster.scenario.write(file, text);
            fs::set_permissions(cluster.scenario.path(file), fs::Permissions::from_mode(0o644)).unwrap();
        }
        cluster.sh("mkdir -m 755 store");
        let far = Far { cluster, server, way };
        far.plan(&["wal", "init", "p.plan", "main"]).status(0).says("made");
        let here = far.cluster.scenario.path(".").canonicalize().unwrap();
        far.configure(&format!(
            "archive_mode = on\nwal_level = replica\nmin_wal_size = 32MB\nmax_wal_size = 64MB\narchive_command = 'S3_ACCESS_KEY=id \
             S3_SECRET_KEY=key {0}/plan wal push {0}/p.plan main %p'\n",
            here.display()
        ));
        far
    }

    fn configure(&self, lines: &str) {
        self.cluster.sh(&format!(
            "cat >> pg/postgresql.conf <<'EOF'\n{lines}EOF\npg_ctl -w -s -D pg -l log restart -m fast"
        ));
    }

    fn plan(&self, args: &[&str]) -> Answer {
        self.cluster.scenario.plan(args)
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(sql)
    }

    /// Ends the current segment, of which a copy is kept: the server uses its file again.
    fn switch(&self) -> String {
        let segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())");
        self.cluster.sh(&format!("mkdir -p kept/pg_wal && cp pg/pg_wal/{segment} kept/pg_wal"));
        segment
    }

    /// Where that is, from the data directory.
    fn kept(&self, segment: &str) -> String {
        format!("../kept/pg_wal/{segment}")
    }

    fn wait_for(&self, segment: &str) {
        let ask = format!("SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver");
        wait_for("an archived segment", || self.sql(&ask) == "t");
    }

    fn mark(&self, n: u32) -> String {
        self.sql(&format!("INSERT INTO marks SELECT generate_series(1, {n})"));
        let clock = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
        let moment = self.sql(clock).replace(' ', "T") + "Z";
        self.sql("CREATE TABLE IF NOT EXISTS tick (n int); INSERT INTO tick VALUES (1)");
        moment
    }

    /// The segments in the bucket.
    fn segments(&self) -> Vec<String> {
        let names = self
            .server
            .keys()
            .into_iter()
            .filter(|key| key.contains(".backplan-wal/") && key.contains("/main/"));
        let names = names.filter_map(|key| Some(key.rsplit_once('/')?.1.split('.').next()?.to_owned()));
        names.filter(|name| name.len() == 24).collect()
    }

    fn script(&self, script: &str) -> Answer {
        let script = format!("export PATH=/usr/lib/postgresql/15/bin:$PATH\n{script}");
        self.cluster.scenario.write("script2", script);
        let way: &[&str] = match is_root() {
            true => &["runuser", "-u", "postgres", "--", "sh", "script2"],
            false => &["sh", "script2"],
        };
        self.cluster.scenario.other(way)
    }

    fn push(&self, file: &str) -> Answer {
        self.script(&format!("cd pg && ../plan wal push ../p.plan main {file}"))
    }

    fn stop_back(&self) {
        self.cluster.sh("pg_ctl -s -D back -m immediate stop");
        for folder in ["back", "back.server", "back.tablespaces"] {
            let _ = fs::remove_dir_all(self.cluster.scenario.path(folder));
        }
    }
}

#[test]
fn a_log_in_a_bucket_is_pushed_kept_and_recovered_from() {
    let far = Far::new("to = [far]\n  keep = 1s", "keep {\n  last = 2\n}\n");
    far.plan(&["run"]).status(0);
    far.sql("CREATE TABLE marks (n int)");
    let time = far.mark(10);
    far.mark(20);
    let last = far.switch();
    far.wait_for(&last);
    assert!(far.segments().contains(&last), "{:?}", far.segments());
    far.plan(&["status", "p.plan"]).status(0).says("log of `main`: any moment from");
    let marks = "SELECT count(*) FROM marks";
    far.cluster.restore(&["--start", "--at", &time]).status(0).says("running");
    assert_eq!(far.cluster.back(marks), "10");
    far.stop_back();
    // With no plan at hand.
    let way = [
        "restore",
        "--store",
        "s3://buck/of/node",
        "--source",
        "main",
        "--to",
        "back",
        "--start",
        "--at",
        "latest",
    ];
    far.plan(&way).status(0);
    assert_eq!(far.cluster.back(marks), "30");
    far.stop_back();
    far.plan(&["verify", "p.plan"]).status(0);

    // The bucket is away: the server keeps its log, and everybody says so.
    far.way.is_open.store(false, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    let first = far.switch();
    let mut segments = vec![first.clone()];
    for n in 0..20 {
        far.sql(&format!("INSERT INTO marks VALUES ({n})"));
        segments.push(far.switch());
    }
    far.push(&far.kept(&first)).status(1).says("store `far`");
    assert!(begun.elapsed().as_secs() < 40, "{:?}", begun.elapsed());
    let is_told =
        || far.plan(&["status", "p.plan"]).said().contains("segments wait to be archived, the oldest since");
    wait_for("what waits is told", is_told);
    assert!(!far.segments().contains(&first));
    // It is back: they go together, and a killed push leaves nothing that is not whole.
    let archive_by = |command: &str| {
        far.sql(&format!("ALTER SYSTEM SET archive_command = {command}"));
        far.sql("SELECT pg_reload_conf()");
    };
    archive_by("'false'");
    far.way.is_open.store(true, Ordering::SeqCst);
    for wait in ["0.02", "0.05", "0.1", "0.2"] {
        far.script(&format!(
            "cd pg && ../plan wal push ../p.plan main pg_wal/{first} & sleep {wait}; kill -9 $! 2>/dev/null; true"
        ));
    }
    far.push(&format!("pg_wal/{first}")).status(0);
    let note = far.cluster.scenario.read("pg/.backplan-wal-pushed");
    let there = far.segments();
    let went: Vec<&String> = segments.iter().filter(|segment| note.contains(*segment)).collect();
    assert!(went.len() > 1 && went.iter().all(|segment| there.contains(segment)), "{note} {there:?}");
    // One that went is gone again, as where another archive is in that one's place: it is not told to be there.
    let lost = far.server.keys().into_iter().find(|key| key.contains(went[1].as_str())).unwrap();
    assert!(far.server.ask_with(&format!("DELETE /buck/{lost}"), SOMEBODY).unwrap().contains(" 204 "));
    archive_by("DEFAULT");
    // A new segment wakes the archiver, which else waits for a minute.
    far.sql("INSERT INTO marks VALUES (20)");
    segments.push(far.switch());
    far.wait_for(segments.last().unwrap());
    let there = far.segments();
    assert!(segments.iter().all(|segment| there.contains(segment)), "{segments:?} {there:?}");
    assert!(!far.cluster.scenario.path("pg/.backplan-wal-pushed").exists());
    far.plan(&["verify", "p.plan", "--all"]).status(0);
    // Pushed once more it is the same; with other content it is refused.
    far.push(&far.kept(&first)).status(0);
    far.cluster
        .sh(&format!("printf xxxxxxxx | dd of=kept/pg_wal/{first} bs=1 seek=70000 conv=notrunc 2>/dev/null"));
    far.push(&far.kept(&first)).status(1).says("with other content");

    // What no kept backup needs goes, oldest first, and what is left leads on.
    far.plan(&["run"]).status(0);
    far.plan(&["run"]).status(0).says("of the log deleted");
    assert!(!far.segments().contains(&last), "{:?}", far.segments());
    let later = far.mark(40);
    let last = far.switch();
    far.wait_for(&last);
    far.cluster.restore(&["--start", "--at", &later]).status(0).says("running");
    assert_eq!(far.cluster.back(marks), "91");
    far.stop_back();
    far.plan(&["status", "p.plan"]).status(0);
}

/// The plan of `plans/`, with the addresses of here.
#[test]
fn a_node_whose_log_goes_to_a_bucket_is_put_back_to_a_moment() {
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../plans/postgres_wal.plan")).unwrap();
    let far = Far::of(&|way, sockets| {
        let of_here = [
            ("https://minio.example:9000", format!("http://127.0.0.1:{way}")),
            ("postgresql-training", "buck".to_owned()),
            ("/var/run/postgresql", sockets.to_owned()),
            ("/etc/postgresql/13/main", "etc".to_owned()),
        ];
        of_here.iter().fold(text.clone(), |text, (theirs, ours)| {
            assert!(text.contains(theirs), "{theirs}");
            text.replace(theirs, ours)
        })
    });
    shell(&far.cluster.scenario.path("."), "mkdir etc");
    far.cluster.scenario.write("etc/pg_hba.conf", "local all all peer");
    far.sql("CREATE ROLE backup LOGIN REPLICATION");
    far.plan(&["run", "p.plan"]).status(0);
    far.sql("CREATE TABLE marks (n int)");
    let time = far.mark(10);
    far.mark(20);
    far.wait_for(&far.switch());
    far.plan(&["status", "p.plan"]).status(0).says("log of `main`: any moment from");
    far.cluster.restore(&["--start", "--at", &time]).status(0).says("running");
    assert_eq!(far.cluster.back("SELECT count(*) FROM marks"), "10");
    far.stop_back();
    far.cluster.restore(&["--at", &time]).status(0).says("reaches the log by").says("`S3_ACCESS_KEY`");
    far.plan(&["restore", "p.plan", "--source", "config", "--to", "out"]).status(0);
    shell(&far.cluster.scenario.path("."), "cmp etc/pg_hba.conf $(find out -name pg_hba.conf)");
}

#[test]
fn a_log_that_is_encrypted_needs_a_key_to_be_read_and_for_nothing_else() {
    let keys = tempfile::tempdir().unwrap();
    let keys = keys.path();
    fs::set_permissions(keys, fs::Permissions::from_mode(0o755)).unwrap();
    shell(keys, "age-keygen -o key 2>/dev/null; ssh-keygen -q -t ed25519 -N '' -f ssh; chmod 644 key ssh");
    let public = shell(keys, "age-keygen -y key").trim().to_owned();
    let ssh = fs::read_to_string(keys.join("ssh.pub")).unwrap().trim().to_owned();
    let far = Far::new(
        &format!("to = [far, store]\n  encrypt = [\"{public}\", \"{ssh}\"]"),
        &format!(
            "verify {{\n  restore = main\n  query = \"SELECT count(*) = 60 FROM marks\"\n  identity = file(\"{}\")\n}}\n",
            keys.join("key").display()
        ),
    );
    far.sql("CREATE TABLE marks (n int)");
    far.plan(&["run"]).status(0);
    let time = far.mark(10);
    far.mark(20);
    let last = far.switch();
    far.wait_for(&last);
    // Nothing of it lies there in clear, and age's own program opens it.
    let log = |more: &str| shell(&far.cluster.scenario.path("store/.backplan-wal/p/main"), more);
    assert_eq!(log("find . -name '*.gz' | wc -l").trim(), "0");
    let file = log(&format!("find . -name '{last}.gz.age'"));
    let opened = log(&format!("age -d -i {} {} | gzip -dc | wc -c", keys.join("ssh").display(), file.trim()));
    assert_eq!(opened.trim(), (16 << 20).to_string());
    let key = keys.join("key");
    let same = log(&format!(
        "age -d -i {} {} | gzip -dc | cmp - ../../../../kept/pg_wal/{last} && echo same",
        key.display(),
        file.trim()
    ));
    assert_eq!(same.trim(), "same");
    // Without a key: status, verify, a second push, what is brought from one store to the other.
    far.plan(&["status", "p.plan"]).status(0).says("log of `main`: any moment from");
    far.plan(&["verify", "p.plan", "--all"]).status(0);
    far.push(&far.kept(&last)).status(0);
    log(&format!("rm {}", file.trim()));
    far.plan(&["status", "p.plan"]).says("lacks 1 of the segments");
    far.plan(&["run"]).says("brought there");
    log(&format!("test -s {}", file.trim()));
    // With one it comes back, and a rehearsal needs no network.
    let marks = "SELECT count(*) FROM marks";
    far.cluster.restore(&["--start", "--at", &time]).status(1).says("is encrypted, and no key was given");
    assert!(!far.cluster.scenario.path("back").exists());
    let identity = key.display().to_string();
    if is_root() {
        // What the server's account could not read is told before anything is laid down.
        let own = far.cluster.scenario.path("own");
        shell(&far.cluster.scenario.path("."), &format!("install -m 600 {identity} own"));
        for way in ["--start", "--dry-run", "--archive"] {
            let own = own.display().to_string();
            let refused = far.cluster.restore(&[way, "--at", &time, "--identity", &own]).status(1);
            refused.says("`postgres`, as whom the server will run, cannot read").says("install -o");
        }
        assert!(!far.cluster.scenario.path("back").exists());
    }
    far.cluster.restore(&["--start", "--at", &time, "--identity", &identity]).status(0).says("running");
    assert_eq!(far.cluster.back(marks), "10");
    far.stop_back();
    // What came behind the backup is in the log alone.
    far.mark(30);
    let later = far.switch();
    far.wait_for(&later);
    let rehearsed = || far.plan(&["verify", "p.plan", "--rehearse"]).status(0).says("passed   recover");
    rehearsed().says("passed   query");
    // What is damaged in one store is brought from the other.
    let key = |segment: &str| {
        let end = format!("{segment}.gz.age");
        far.server.keys().into_iter().find(|key| key.ends_with(&end)).unwrap()
    };
    let headers = format!("{SOMEBODY}x-amz-copy-source: /buck/{}\r\n", key(&last));
    let copied = far.server.ask_with(&format!("PUT /buck/{}", key(&later)), &headers).unwrap();
    assert!(copied.contains(" 200 "), "{copied}");
    rehearsed().says("passed   query");
    // Damage is found with no key.
    log(&format!("f={}; printf xxxxxxxx | dd of=$f bs=1 seek=5000 conv=notrunc 2>/dev/null", file.trim()));
    far.plan(&["verify", "p.plan", "--all"]).status(1).says(&last).says("it is not what was brought there");
}

#[test]
fn a_log_on_a_file_server_is_pushed_kept_back_while_it_is_away_and_recovered_from() {
    let mut server = sftp::Server::start("/usr/lib/openssh/sftp-server");
    let cluster = Cluster::new();
    fs::copy(env!("CARGO_BIN_EXE_plan"), cluster.scenario.path("plan")).unwrap();
    // The server's account pushes, and that of the runs reads.
    let own = server.path("own").display().to_string();
    shell(&server.path("."), "chmod 755 .");
    let run_as = if is_root() {
        shell(&server.path("."), &format!("chown postgres {own}"));
        "run_as = \"postgres\""
    } else {
        ""
    };
    let text = format!(
        "{}\nstaging {{\n  path = \"staging\"\n}}\n\nsource main: postgres {{\n  driver = basebackup\n  host = \"{}\"\n  user = \
         \"postgres\"\n  data_dir = \"pg\"\n  {run_as}\n}}\n\narchive a {{\n  from = [main]\n  to = [far]\n}}\n\nwal main {{\n  to = \
         [far]\n}}\n",
        server.store("far", ""),
        cluster.scenario.path("sock").display()
    );
    cluster.scenario.write("p.plan", plan(&text));
    shell(&server.path("store"), "mkdir p");
    cluster.sh("mkdir -m 755 store");
    cluster.scenario.plan(["wal", "init", "p.plan", "main"]).status(0).says("made");
    let here = cluster.scenario.path(".").canonicalize().unwrap();
    cluster.sh(&format!(
        "cat >> pg/postgresql.conf <<'EOF'\narchive_mode = on\nwal_level = replica\narchive_command = '{0}/plan wal push \
         {0}/p.plan main %p'\nEOF\npg_ctl -w -s -D pg -l log restart -m fast",
        here.display()
    ));
    cluster.scenario.plan(["run"]).status(0);
    cluster.sql("CREATE TABLE marks (n int)");
    let switch = |n: u32| {
        cluster.sql(&format!("INSERT INTO marks SELECT generate_series(1, {n})"));
        cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
    };
    let archived = |segment: &str| {
        let ask = format!("SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver");
        wait_for("an archived segment", || cluster.sql(&ask) == "t");
    };
    let first = switch(10);
    archived(&first);
    server.stop();
    let second = switch(18);
    let (_, _) = (switch(1), switch(1));
    let is_told = || cluster.scenario.plan(["status", "p.plan"]).said().contains("wait to be archived");
    wait_for("what waits is told", is_told);
    server.serve();
    // A new segment wakes the archiver, which else waits for a minute.
    let third = switch(5);
    archived(&third);
    let there = shell(&server.path("store/p"), "find .backplan-wal -type f");
    for segment in [&first, &second, &third] {
        assert!(there.contains(segment.as_str()), "{segment}: {there}");
    }
    cluster.scenario.plan(["status", "p.plan"]).status(0).says("log of `main`: any moment from");
    cluster.scenario.plan(["verify", "p.plan", "--all"]).status(0);
    cluster.restore(&["--start", "--at", "latest"]).status(0).says("running");
    assert_eq!(cluster.back("SELECT count(*) FROM marks"), "35");
    cluster.sh("pg_ctl -s -D back -m immediate stop");
}
