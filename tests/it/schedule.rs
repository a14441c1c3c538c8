//! What starts runs: held against systemd itself.

use std::fs;
use std::process::Command;

use backplan_compiler::due;
use backplan_compiler::model::When;
use jiff::Timestamp;

use crate::scenario::{Scenario, plan, shell};

const SITE: &str =
    "source site: files {\n  paths = [\"site\"]\n}\n\narchive main {\n  from = all\n  to   = [store]\n}\n\n";

fn world(schedule: &str) -> Scenario {
    Scenario::new()
        .file("site/a", "x")
        .file("p.plan", plan(&format!("{SITE}schedule {{\n  {schedule}\n}}\n")))
}

/// The lines behind `OnCalendar=`.
fn calendars(units: &str) -> Vec<String> {
    units.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).map(str::to_owned).collect()
}

/// The next moments, as systemd finds them.
fn elapses(calendar: &str, base: &str, count: usize) -> Vec<Timestamp> {
    let mut command = Command::new("systemd-analyze");
    command.env("TZ", "UTC").args([
        "calendar",
        &format!("--iterations={count}"),
        &format!("--base-time={base}"),
        calendar,
    ]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{calendar}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let moments = text.lines().filter_map(|line| {
        let (what, when) = line.trim().split_once(": ")?;
        let when = (what == "Next elapse" || what.starts_with("Iter.")).then_some(when)?;
        let (_, when) = when.split_once(' ')?;
        Some(when.strip_suffix(" UTC")?.replace(' ', "T") + "Z")
    });
    moments.map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_plan_whose_place_no_unit_can_hold_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let scenario = world("run = daily at 02:30");
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.plan");
    fs::rename(scenario.path("p.plan"), scenario.path(".").join(odd)).unwrap();
    let args = ["schedule", "--for", "cron"].map(std::ffi::OsStr::new);
    let told = scenario.plan(args.into_iter().chain([odd])).status(1);
    told.stderr_has("the plan's place (`").stderr_has("odd").stderr_has("is no plain text");
}

#[test]
fn timers_fire_when_the_plan_says() {
    // Words of the plan, the same as it is understood, and whether changes of clocks make a difference that is told.
    let whens = [
        ("\"30 2 * * *\"", When::Cron("30 2 * * *".into()), true),
        ("\"0 5 * * *\"", When::Cron("0 5 * * *".into()), false),
        ("every 30m", When::Every(1800), true),
        ("every 90m", When::Every(5400), true),
        ("every 7h", When::Every(25_200), true),
        ("weekly on sun at 03:00", When::Cron("0 3 * * 0".into()), false),
        ("monthly on 31 at 12:00", When::Cron("0 12 31 * *".into()), false),
        ("\"30 6 1,15 * sun\"", When::Cron("30 6 1,15 * sun".into()), false),
        ("\"5-59/20 8-10 * feb-apr mon-fri\"", When::Cron("5-59/20 8-10 * feb-apr mon-fri".into()), false),
        ("\"15,45 0 12 * * *\"", When::Cron("15,45 0 12 * * *".into()), false),
    ];
    let (base, count) = ("2027-01-14 12:00:00", 40);
    let from: Timestamp = "2027-01-14T12:00:00Z".parse().unwrap();
    for (words, when, is_told) in whens {
        let scenario = world(&format!("run = {words}, zone = \"Europe/Berlin\""));
        let units = scenario.plan(["schedule", "--for", "systemd"]).status(0).said();
        let mut fires: Vec<Timestamp> =
            calendars(&units).iter().flat_map(|calendar| elapses(calendar, base, count)).collect();
        fires.sort();
        fires.dedup();
        fires.truncate(count);
        let from = from.to_zoned(due::zone("Europe/Berlin").unwrap());
        let due: Vec<Timestamp> = due::moments(&when, &from)
            .map(|at| at.timestamp())
            .filter(|at| *at > from.timestamp())
            .take(fires.len())
            .collect();
        // Up to the day on which clocks change: from there on what differs is told.
        let change: Timestamp = "2027-03-27T00:00:00Z".parse().unwrap();
        let before = |all: &[Timestamp]| all.iter().copied().filter(|at| *at < change).collect::<Vec<_>>();
        assert_eq!(before(&fires), before(&due), "{words}");
        assert!(!before(&due).is_empty(), "{words}");
        assert_eq!(units.contains("# Where clocks change"), is_told, "{words}: {units}");
        if !is_told {
            assert_eq!(fires, due, "{words}");
        }
    }
    // What it says is so: systemd does not start what the clock on the wall skips.
    let units = world("run = daily at 02:30, zone = \"Europe/Berlin\"")
        .plan(["schedule", "--for", "systemd"])
        .status(0);
    units.stdout_has("first on 2027-03-28 at 0");
    let fires = elapses("*-*-* 02:30:00 Europe/Berlin", "2027-03-27 12:00:00", 1);
    assert_eq!(fires, ["2027-03-29T00:30:00Z".parse::<Timestamp>().unwrap()]);
}

#[test]
fn units_are_good_ones_and_what_somebody_changed_stays() {
    let scenario = world("full = weekly on sun at 02:30, incremental = daily at 02:30, jitter = 5m");
    std::fs::create_dir(scenario.path("units")).unwrap();
    let write = || scenario.plan(["schedule", "p.plan", "--for", "systemd", "--out", "units"]);
    write().status(0).stderr_has("enable --now backplan-p-full.timer backplan-p-incremental.timer");
    let mut names: Vec<String> = std::fs::read_dir(scenario.path("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let of = |level: &str| [format!("backplan-p-{level}.service"), format!("backplan-p-{level}.timer")];
    assert_eq!(names, [of("full"), of("incremental")].concat());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(names.iter().map(|name| scenario.path("units").join(name)));
    let verified = verify.output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(!said.contains("backplan-p"), "{said}");
    write().status(0).stderr_has("unchanged");
    // A change of the plan replaces what is as it was written.
    scenario.write("p.plan", scenario.read("p.plan").replace("jitter = 5m", "jitter = 9m"));
    write().status(0).stderr_has("replaced");
    assert!(scenario.read("units/backplan-p-full.timer").contains("RandomizedDelaySec=540s"));
    let mine = scenario.read("units/backplan-p-full.timer").replace("540s", "1s");
    scenario.write("units/backplan-p-full.timer", &mine);
    scenario.write("p.plan", scenario.read("p.plan").replace("jitter = 9m", "jitter = 5m"));
    write().status(1).stderr_has("was written, or changed, by somebody");
    assert_eq!(scenario.read("units/backplan-p-full.timer"), mine);
    assert!(scenario.read("units/backplan-p-incremental.timer").contains("540s"), "nothing was written");

    // What the sandbox lets be written: stores, and where a database's locks are.
    let database = "source app: sqlite {\n  path = \"data/app.db\"\n}\n\nschedule {\n  run = hourly\n}\n";
    let sandboxed = Scenario::new().file("site/a", "x").file("p.plan", plan(&format!("{SITE}{database}")));
    shell(&sandboxed.path("."), "mkdir data shared; touch shared/app.db; ln -s ../shared/app.db data/app.db");
    let unit = sandboxed.plan(["schedule", "--for", "systemd"]).status(0).stdout_has("ProtectSystem=strict");
    assert!(unit.said().lines().any(|line| line == "StateDirectory=backplan"));
    // The database is a link: its locks are where it leads.
    for path in ["store", "data", "shared"] {
        let is_it =
            |line: &str| line.starts_with("ReadWritePaths=-") && line.ends_with(&format!("/work/{path}"));
        assert!(unit.said().lines().any(is_it), "{path}: {}", unit.said());
    }

    // A folder that the unit cannot make has to be there.
    let needs = sandboxed.plan(["schedule", "--for", "systemd"]).status(0);
    needs
        .stderr_has("plan p needs the folder `")
        .stderr_has("/work/store`, which is not there: its unit cannot make it");
    std::fs::create_dir(sandboxed.path("store")).unwrap();
    let own = ["env", "-u", "XDG_STATE_HOME"];
    sandboxed.plan_by(&own, ["schedule", "--for", "systemd"]).status(0).stderr("");

    // Nor does systemd take a link for the folder of the state.
    let script = format!(
        "mount -t tmpfs none /var/lib; mkdir /var/lib/large; ln -s large /var/lib/backplan; exec {} schedule --for systemd",
        env!("CARGO_BIN_EXE_plan")
    );
    let unit = sandboxed.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
    assert!(!unit.stdout_has("\nReadWritePaths=-/var/lib/large\n").stdout.contains("\nStateDirectory="));

    // On Sunday the full alone is made, whichever is started.
    let scenario = scenario.env("BACKPLAN_NOW", "2027-01-10T02:33:00Z");
    let run = |level: &str| scenario.plan(["run", "--quiet", "--scheduled", "--level", level, "p.plan"]);
    run("incremental").status(0).stdout("").stderr("");
    run("full").status(0).stdout("").stderr("");
    let scenario = scenario.env("BACKPLAN_NOW", "2027-01-11T02:31:00Z");
    scenario.plan(["run", "--quiet", "--scheduled", "--level", "incremental", "p.plan"]).status(0).stdout("");
    let runs = scenario.plan(["list", "p.plan", "--format", "json"]).status(0).said();
    assert_eq!((runs.matches("\"full\"").count(), runs.matches("\"incremental\"").count()), (1, 1), "{runs}");
}

#[test]
fn what_cron_cannot_do_is_refused_with_what_it_can() {
    let lines = |schedule: &str| {
        let scenario = world(schedule).env("TZ", "Europe/Berlin");
        scenario.plan(["schedule", "--for", "cron"])
    };
    let berlin = lines("run = \"30 2 * * mon\", zone = \"Europe/Berlin\"").status(0);
    let line =
        berlin.said().lines().find(|line| line.starts_with("30 2 * * 1 root ")).map(str::to_owned).unwrap();
    assert!(line.contains(" run --quiet ") && line.ends_with("p.plan"), "{line}");
    lines("run = every 90m, zone = \"Europe/Berlin\"")
        .status(0)
        .stdout_has("30 1,4,7,10,13,16,19,22 * * * root");
    lines("run = daily at 02:30, zone = \"Asia/Tokyo\"")
        .status(1)
        .stderr_has("cron by the machine's")
        .stderr_has("`zone = \"Europe/Berlin\"`");
    lines("run = hourly, zone = \"Europe/Paris\"").status(0).stdout_has("0 * * * * root");
    lines("run = \"30 0 2 * * *\", zone = \"Europe/Berlin\"").status(1).stderr_has("full minutes");
    lines("run = \"0 0 L * *\", zone = \"Europe/Berlin\"")
        .status(1)
        .stderr_has("`L` is not understood by others");
    world("run = hourly")
        .file("bare.plan", plan(SITE))
        .plan(["schedule", "bare.plan", "--for", "cron"])
        .status(1)
        .stderr_has("has no schedule");
}

/// In a world of its own, in which systemd seems to run: what it is told is written down.
#[test]
fn what_is_installed_can_be_compared_and_goes_again_but_for_what_somebody_changed() {
    let levels = "full = weekly on sun at 02:30, incremental = daily at 02:30";
    let hourly = plan(&format!("{SITE}schedule {{\n  run = hourly\n}}\n"));
    let scenario = world(levels)
        .file("one.plan", &hourly)
        .file("b/twin.plan", &hourly)
        .file("bare.plan", plan(SITE))
        .file("bin/systemctl", "#!/bin/sh\necho \"$@\" >>told\n");
    let script = format!(
        r#"
        chmod +x bin/systemctl; PATH=$PWD/bin:$PATH; at=/etc/systemd/system
        plan() {{ echo "== $*" >>said; {} schedule --for systemd "$@" >>said 2>&1 && echo 0 >>statuses || echo $? >>statuses; }}
        mkdir -p $at; mount -t tmpfs none $at; mount -t tmpfs none /run
        plan p.plan --install
        ls $at >first; ls -l $at | grep -c '^-rw-r--r--' >modes
        mkdir -p /run/systemd/system $at/timers.target.wants
        plan p.plan --install
        plan p.plan --diff
        plan p.plan b/twin.plan --install
        plan b/twin.plan --install
        mv one.plan p.plan
        plan p.plan --diff
        plan p.plan --install
        ls -d $at/backplan* >second
        echo '# mine' >>$at/backplan-p.timer
        plan p.plan --remove
        plan p.plan --diff
        ls -d $at/backplan* >third
        sed -i '/^# mine/d' $at/backplan-p.timer
        mount -o remount,ro $at
        plan p.plan --remove
        mount -o remount,rw $at
        mv p.plan kept.plan; mv bare.plan p.plan; plan p.plan --remove; mv kept.plan p.plan
        ls -d $at/backplan* >fourth 2>&1 || :
        mount -o remount,ro $at
        plan p.plan --install
        umount $at; mount -t tmpfs -o size=4k none $at
        plan p.plan --install
        ls -A $at >full
        "#,
        env!("CARGO_BIN_EXE_plan")
    );
    scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
    let said = scenario.read("said");
    let statuses = scenario.read("statuses").split_whitespace().collect::<String>();
    assert_eq!(statuses, "0001130131011", "{said}");
    let of = |levels: &[&str]| -> String {
        let files = |level: &&str| format!("backplan-p{level}.service\nbackplan-p{level}.timer\n");
        levels.iter().map(files).collect()
    };
    assert_eq!(scenario.read("first"), of(&["-full", "-incremental"]));
    assert_eq!(scenario.read("modes"), "4\n");
    let listed = |file: &str| scenario.read(file).replace("/etc/systemd/system/", "");
    assert_eq!((listed("second"), listed("third")), (of(&[""]), of(&[""])));
    assert!(scenario.read("fourth").contains("No such file"), "{}", scenario.read("fourth"));
    assert_eq!(scenario.read("full"), "", "nothing is half there");
    let told = scenario.read("told");
    let timers = "backplan-p-full.timer backplan-p-incremental.timer";
    let mut lines = told.lines();
    // Nothing had changed: enabled all the same, as somebody may have switched them off.
    assert_eq!(lines.next(), Some(format!("enable --now {timers}").as_str()), "{told}");
    assert_eq!(lines.next(), Some("is-enabled --quiet backplan-p-full.timer"), "{told}");
    let ended = format!("disable --now {timers}\ndaemon-reload\nenable --now backplan-p.timer\n");
    assert!(
        told.contains(&ended) && told.ends_with("disable --now backplan-p.timer\ndaemon-reload\n"),
        "{told}"
    );
    for part in [
        "systemd does not run here; where it does: systemctl daemon-reload && systemctl enable --now backplan-p-full.timer",
        "would both be started by `backplan-p",
        "is that of another plan of this name",
        "+++ /etc/systemd/system/backplan-p.timer (of the plan)\n",
        "+OnCalendar=*-*-* *:00:00 UTC\n",
        "--- /etc/systemd/system/backplan-p-full.timer (installed)\n+++ /dev/null\n",
        "-# mine\n",
        "warning: this would be refused: `/etc/systemd/system/backplan-p.timer` was written, or changed, by somebody; move it away",
        "`/etc/systemd/system/backplan-p.timer` was written, or changed, by somebody",
        "nothing was removed",
        "Read-only file system",
        "No space left on device",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// In the account's own crontab, by the real `crontab`, all else stays.
#[test]
fn a_crontab_of_an_account_keeps_what_others_wrote() {
    let scenario = world("run = daily at 02:30").file(
        "secret.plan",
        plan(&format!(
            "{SITE}{}",
            r#"
notify hook: webhook {
  url = env("HOOK")
}

schedule {
  run = hourly
}
"#
        )),
    );
    let script = format!(
        r#"
        plan() {{ {} schedule --for cron --user "$@" >>said 2>&1 && echo 0 >>statuses || echo $? >>statuses; }}
        mount -t tmpfs -o mode=1730,gid=crontab none /var/spool/cron/crontabs
        printf 'MAILTO=me\n5 5 * * * mine %% caf\351\n' | crontab -
        crontab -l >before
        plan p.plan --diff
        plan p.plan --install
        crontab -l >installed
        plan p.plan --diff
        crontab -l | sed 's/^30 2/31 2/' | crontab -
        plan p.plan --install
        plan p.plan --remove
        crontab -l | sed 's/^31 2/30 2/' | crontab -
        plan p.plan --remove
        crontab -l >after
        plan secret.plan
        crontab -r
        plan p.plan --install
        plan p.plan --remove
        crontab -l >empty 2>&1 || :
        "#,
        env!("CARGO_BIN_EXE_plan")
    );
    scenario.other(&["unshare", "--mount", "sh", "-ec", &script]).status(0);
    let said = scenario.read("said");
    assert_eq!(scenario.read("statuses").split_whitespace().collect::<String>(), "300110100", "{said}");
    let bytes = |file: &str| std::fs::read(scenario.path(file)).unwrap();
    assert!(bytes("installed").starts_with(&bytes("before")));
    assert_eq!(bytes("after"), bytes("before"), "{said}");
    let installed = String::from_utf8_lossy(&bytes("installed")).into_owned();
    let line = installed.lines().find(|line| line.starts_with("30 2 * * * /usr/bin/env PATH=")).unwrap();
    assert!(line.contains(" run --quiet /") && line.ends_with("/p.plan"), "{line}");
    assert!(scenario.read("empty").contains("no crontab for"));
    for part in ["somebody changed the block of plan `p`", "the variable `HOOK`, which cron does not set"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

fn python(venv: &str) -> std::path::PathBuf {
    let python = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join(format!("tools/{venv}/bin/python3"));
    assert!(python.exists(), "{} is not there: `tests/run` makes it", python.display());
    python
}

const REMOTE: &str = r#"import "yes"

source site: files {
  paths = ["site"]
}

source db: postgres {
  driver   = dump
  host     = "db.example"
  user     = "backup"
  password = file("/run/secrets/db")
}

archive main {
  from = all
  to   = [store]
}

notify hook: webhook {
  url   = env("HOOK")
  token = env("TOKEN", "hidden-default")
}

limits { jobs = 2 }
keep { last = 3 }

schedule {
  full        = weekly on sun at 02:30
  incremental = "30 2 1,15 * mon-fri"
  zone        = "Europe/Berlin"
  catch_up    = false
}
"#;

fn remote(declarations: &str) -> String {
    plan(declarations).replace("attempts = 1", "attempts = 6")
}

/// Manifests are what several versions of Kubernetes take, read by a YAML 1.1 reader as it was meant.
#[test]
fn a_cluster_takes_what_is_written_for_it() {
    let token = REMOTE.replace(", \"hidden-default\"", "");
    let scenario = Scenario::new()
        .file("site/a", "x")
        .file("yes", "param on = \"x\"\n")
        .file("inline.plan", remote(REMOTE))
        .file("p.plan", remote(&token));
    std::fs::create_dir(scenario.path("base")).unwrap();
    let write = |more: &[&str]| {
        let words =
            ["schedule", "p.plan", "--for", "kubernetes", "--image", "r.example/b:1", "--out", "base"];
        scenario.plan([&words[..], more].concat())
    };
    write(&[]).status(1).stderr_has("is a path of a machine").stderr_has("--claim PATH=CLAIM");
    let store = format!("{}=on", scenario.path("store").display());
    let said = write(&["--namespace", "no", "--node", "y", "--claim", &store]).status(0);
    said.stderr_has("the claim `on`").stderr_has("the secret `p` with HOOK, TOKEN, db");
    let text = scenario.read("base/p.yaml");
    let check = r#"
import sys, yaml, kubernetes_validate as v
docs = [d for d in yaml.safe_load_all(open("base/p.yaml"))]
for d in docs:
    for version in ("1.27", "1.29", "1.31", "1.34"):
        v.validate(d, version, strict=True)
    assert d["metadata"]["namespace"] == "no", d
by = {(d["kind"], d["metadata"]["name"]): d for d in docs}
assert set(by) == {("ServiceAccount", "p"), ("ConfigMap", "p"), ("PersistentVolumeClaim", "p-state"),
                   ("CronJob", "p-store-full"), ("CronJob", "p-store-incremental")}, set(by)
data = by["ConfigMap", "p"]["data"]
assert data == {"yes": open("yes").read(), "p.plan": open("p.plan").read()}, data
jobs = {level: by["CronJob", "p-store-" + level]["spec"] for level in ("full", "incremental")}
assert jobs["full"]["schedule"] == "30 2 * * 0" and jobs["incremental"]["schedule"] == "30 2 1,15 * 1,2,3,4,5"
full = jobs["full"]
assert (full["timeZone"], full["concurrencyPolicy"], full["startingDeadlineSeconds"]) == ("Europe/Berlin", "Forbid", 300)
job = full["jobTemplate"]["spec"]
assert job["backoffLimit"] == 5
assert job["podFailurePolicy"]["rules"][0] == {"action": "FailJob", "onPodConditions": [],
    "onExitCodes": {"containerName": "backup", "operator": "In", "values": [2, 3]}}
pod = job["template"]["spec"]
box = pod["containers"][0]
assert pod["automountServiceAccountToken"] is False and pod["nodeSelector"] == {"kubernetes.io/hostname": "y"}
assert box["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}}
assert box["command"][:6] == ["plan", "run", "--as-job", "--scheduled", "--level", "full"]
mounts = {m["mountPath"].rsplit("/", 1)[1]: (m["name"], m["readOnly"], m.get("subPath")) for m in box["volumeMounts"]}
assert mounts["site"] == ("node-0", True, None) and mounts["store"] == ("claim-0", False, None), mounts
kinds = {v["hostPath"]["path"].rsplit("/", 1)[1]: v["hostPath"]["type"] for v in pod["volumes"] if "hostPath" in v}
assert kinds["site"] == "Directory", kinds
assert mounts["db"] == ("secrets", True, "db") and mounts["yes"] == ("plan", True, "yes")
refs = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in box["env"] if "valueFrom" in e}
assert refs["HOOK"] == {"name": "p", "key": "HOOK", "optional": False}, refs
base = yaml.safe_load(open("base/kustomization.yaml"))
assert base["resources"] == ["p.yaml"] and base["kind"] == "Kustomization"
"#;
    let python = python("kubernetes");
    scenario.other(&[python.to_str().unwrap(), "-c", check]).status(0);
    // A folder that is saved is never made, also where a database in it is written to; a store's is. Rehearsals have a place.
    let both = "source app: files {\n  paths = [\"site\"]\n}\n\nsource db: sqlite {\n  path = \"site/app.db\"\n}\n\n\
        archive main {\n  from = all\n  to = [store]\n}\n\nschedule {\n  run = daily at 02:30\n}\n";
    scenario.write("k.plan", plan(both));
    let words = ["schedule", "k.plan", "--for", "kubernetes", "--image", "r.example/b:1", "--node", "y"];
    let written = scenario.plan(words).status(0).stdout;
    let words: Vec<&str> = written.split_whitespace().collect();
    let kinds = |kind: &str| words.windows(2).filter(|pair| pair == &["type:", kind]).count();
    assert_eq!((kinds("Directory"), kinds("DirectoryOrCreate")), (1, 1), "{written}");
    assert!(words.windows(4).any(|four| four == ["name:", "TMPDIR", "value:", "/tmp"]), "{written}");
    assert!(!text.contains("hidden-default"));
    let diff = |status| {
        scenario
            .plan([
                "schedule",
                "p.plan",
                "--for",
                "kubernetes",
                "--image",
                "r.example/b:2",
                "--namespace",
                "no",
                "--node",
                "y",
                "--claim",
                &store,
                "--out",
                "base",
                "--diff",
            ])
            .status(status)
    };
    diff(3).stdout_has("+              image: \"r.example/b:2\"\n");
    // What cannot be, with what can.
    let refused = |file: &str, part: &str| {
        scenario
            .plan(["schedule", file, "--for", "kubernetes", "--image", "x", "--node", "y"])
            .status(1)
            .stderr_has(part);
    };
    refused("inline.plan", "a secret is written into the plan");
    let bent = |name: &str, from: &str, to: &str| scenario.write(name, remote(&token.replace(from, to)));
    bent("local.plan", "  host     = \"db.example\"\n", "");
    refused("local.plan", "is read beside its server");
    bent("root.plan", "[\"site\"]", "[\"/etc\"]");
    refused("root.plan", "would hide what the program there needs");
    bent("seconds.plan", "30 2 1,15", "5 30 2 1,15");
    refused("seconds.plan", "full minutes");
    let long = "a".repeat(60);
    scenario.write("long.plan", remote(&token).replace("plan p", &format!("plan {long}")));
    refused("long.plan", "is longer than 52 letters");
    scenario.plan(["schedule", "p.plan", "--for", "kubernetes"]).status(2).stderr_has("--image");
    scenario.plan(["schedule", "p.plan", "--for", "airflow", "--install"]).status(2).stderr_has("--out DIR");
}

/// A file of Python in which nothing of a plan is more than a string.
#[test]
fn a_dag_is_good_python_whatever_the_plan_holds() {
    let folder = "it's \"\\ {x}\u{e9}\u{1f600} # ";
    let scenario = Scenario::new()
        .file("site/a", "x")
        .file(&format!("{folder}/p.plan"), remote(&REMOTE.replace("import \"yes\"\n", "")));
    let file = format!("{folder}/p.plan");
    std::fs::create_dir(scenario.path("dags")).unwrap();
    let check = r#"
import ast, py_compile, sys
py_compile.compile("dags/backplan_p.py", cfile="dags/x", doraise=True)
tree = ast.parse(open("dags/backplan_p.py").read())
calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") in ("Command", "DAG", "MultipleCronTriggerTimetable")]
of = lambda name: [c for c in calls if c.func.id == name]
words = lambda call: {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg in ("task_id", "words", "catchup", "max_active_runs", "dag_id", "timezone")}
tasks = [words(c) for c in of("Command")]
assert [t["task_id"] for t in tasks] == ["run", "verify", "prune"], tasks
if sys.argv[1] != "pod":
    assert "--as-job" in tasks[0]["words"] and "--as-job" not in tasks[1]["words"], tasks
    assert all(t["words"][-1] == sys.argv[2] for t in tasks), tasks
dag = words(of("DAG")[0])
assert (dag["dag_id"], dag["catchup"], dag["max_active_runs"]) == ("backplan_p", False, 1), dag
times = of("MultipleCronTriggerTimetable")[0]
assert [ast.literal_eval(a) for a in times.args] == ["30 2 * * 0", "30 2 1,15 * 1,2,3,4,5"] and words(times)["timezone"] == "Europe/Berlin"
arguments = next(k.value for k in of("DAG")[0].keywords if k.arg == "default_args")
given = {k.value: v for k, v in zip(arguments.keys, arguments.values)}
assert given["retries"].value == 5 and given["pool"].value == "backplan_store"
assert "hidden-default" not in open("dags/backplan_p.py").read() or sys.argv[1] == "pod"
"#;
    let place = scenario.path(&file);
    for (kind, more) in [("worker", &[][..]), ("ssh", &["--ssh", "it's"])] {
        let words = [&["schedule", file.as_str(), "--for", "airflow", "--out", "dags"][..], more].concat();
        scenario.plan(words).status(0).stderr_has("the pool `backplan_store`");
        scenario.other(&["python3", "-c", check, kind, place.to_str().unwrap()]).status(0);
    }
    let sound = remote(&REMOTE.replace("import \"yes\"\n", "").replace(", \"hidden-default\"", ""));
    scenario.write("p.plan", sound);
    std::fs::remove_file(scenario.path("dags/backplan_p.py")).unwrap();
    scenario
        .plan(["schedule", "p.plan", "--for", "airflow", "--image", "x", "--node", "y", "--out", "dags"])
        .status(0);
    scenario.other(&["python3", "-c", check, "pod", ""]).status(0);
}

/// What a cluster sees of a run: the backup is there or not, and one line.
#[test]
fn a_job_ends_as_its_backup_does_and_says_so_in_one_line() {
    let scenario = world("run = hourly").file("bad.plan", "plan p\nnonsense\n");
    let last = |file: &str, status: i32| {
        let answer = scenario.plan(["run", "--as-job", file]).status(status).stderr("");
        answer.stdout.lines().last().unwrap_or_default().to_owned()
    };
    let done = last("p.plan", 0);
    assert!(done.starts_with("done: run ") && done.contains(" in store"), "{done}");
    assert!(last("bad.plan", 2).starts_with("refused: "));
    // A warning: the backup is there.
    scenario.next_day();
    scenario.write(
        "p.plan",
        scenario
            .read("p.plan")
            .replace("[\"site\"]", "[\"site\", \"gone\"]")
            .replace("files {", "files {\n  optional = true"),
    );
    let warned = last("p.plan", 0);
    assert!(
        warned.starts_with("done with ") && warned.contains(": run ") && warned.contains("gone"),
        "{warned}"
    );
    scenario.next_day();
    scenario.write("p.plan", scenario.read("p.plan").replace("\n  optional = true", ""));
    let failed = last("p.plan", 1);
    assert!(failed.starts_with("failed: run ") && failed.contains("gone"), "{failed}");
    // All of it is in one store: another attempt would make another backup of the night.
    scenario.next_day();
    let two =
        scenario.read("p.plan").replace(", \"gone\"", "").replace("to   = [store]", "to   = [store, other]");
    scenario.write("p.plan", format!("{two}\nstore other: dir {{\n  path = \"other\"\n}}\n"));
    scenario.write("other", "no folder");
    let beside = last("p.plan", 3);
    assert!(beside.starts_with("made, and failed beside: run ") && beside.contains("other"), "{beside}");
}

#[test]
fn where_nothing_was_ever_installed_all_differs_and_nothing_is_to_be_removed() {
    let text = plan(SITE).replace("retry {", "schedule {\n  run = daily at 02:30\n}\n\nretry {");
    let scenario = Scenario::new().file("p.plan", text);
    let home = scenario.path("home");
    fs::create_dir(&home).unwrap();
    let home = home.display().to_string();
    let schedule = |deed: &str| {
        scenario.other(&[
            "env",
            "-u",
            "XDG_CONFIG_HOME",
            &format!("HOME={home}"),
            env!("CARGO_BIN_EXE_plan"),
            "schedule",
            "--for",
            "systemd",
            "--user",
            deed,
        ])
    };
    schedule("--diff").status(3).stdout_has("+++").stdout_has("backplan-p.timer");
    schedule("--remove").status(0);
    assert_eq!(fs::read_dir(scenario.path("home")).unwrap().count(), 0);
}

/// A source with a schedule of its own may be called as a level is: each start has files of its own.
#[test]
fn a_source_that_is_called_as_a_level_has_timers_of_its_own() {
    let text = "plan p\nstore near: dir {\n  path = \"near\"\n}\nstore repo: dir {\n  path = \"repo\"\n}\nstaging {\n  path = \"staging\"\n}\n\
        source site: files {\n  paths = [\"site\"]\n}\nsource full: postgres {\n  driver = pgbackrest\n  stanza = \"main\"\n}\n\
        archive main {\n  from = [site]\n  to   = [near]\n}\nseparate full {\n  to = [repo]\n  schedule {\n    run = daily at 04:00\n  }\n}\n\
        schedule {\n  full        = \"0 2 * * 0\"\n  incremental = \"0 2 * * 1-6\"\n}\n";
    let scenario = Scenario::new().file("p.plan", text).file("site/a", "a");
    fs::create_dir(scenario.path("units")).unwrap();
    scenario.plan(["schedule", "p.plan", "--for", "systemd", "--out", "units"]).status(0);
    let starts =
        shell(&scenario.path("units"), "grep -ho -- '--scheduled.*plan' *.service | cut -d' ' -f2,3 | sort");
    assert_eq!(starts, "--level full\n--level incremental\n--only full\n");
    scenario.plan(["schedule", "p.plan", "--for", "systemd", "--out", "units", "--remove"]).status(0);
    assert_eq!(shell(&scenario.path("units"), "ls"), "");
}

/// What starts runs has not the environment of whoever wrote its timer.
#[test]
fn a_timer_has_the_parameters_of_the_environment() {
    let text = plan(
        "param site = \"a\"\n\nparam key: secret = env(\"KEY\")\n\nsource s: files {\n  paths = [\"${site}\"]\n}\n\n\
        archive main {\n  from = [s]\n  to = [store]\n}\n\nschedule {\n  run = daily at 02:30\n}\n",
    );
    let scenario = Scenario::new().file("p.plan", text).file("web/f", "f");
    let scenario =
        scenario.env("PLAN_PARAM_SITE", "web").env("PLAN_PARAM_KEY", "hidden").env("PLAN_PARAM_OTHER", "x");
    for starter in ["systemd", "cron"] {
        let answer =
            scenario.plan(["schedule", "p.plan", "--for", starter]).status(0).stdout_has("--param site=web ");
        let said = answer.said();
        assert!(!said.contains("hidden") && !said.contains("other="), "{said}");
        assert!(said.contains("`XDG_STATE_HOME` is set here"), "{said}");
        let given = scenario.plan(["schedule", "p.plan", "--for", starter, "-p", "site=given"]).status(0);
        assert!(
            given.stdout.contains("--param site=given ") && !given.stdout.contains("site=web"),
            "{given:?}"
        );
    }
}
