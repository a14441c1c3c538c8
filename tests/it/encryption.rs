//! Backups that are encrypted: made with public keys alone, opened with the private ones, here and by the programs `age` and
//! `tar`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scenario::{Answer, Scenario, artefacts, plan, settle, shell};

/// A new key of age's own in a file; its public half.
fn key(scenario: &Scenario, file: &str) -> String {
    let folder = scenario.path("..");
    shell(&folder, &format!("age-keygen -o {file} 2>/dev/null"));
    shell(&folder, &format!("age-keygen -y {file}")).trim().to_owned()
}

/// An archive `main` of all sources, encrypted for these keys.
fn archive(keys: &[&str], more: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    format!(
        "archive main {{\n  from    = all\n  to      = [store]\n  encrypt = [{}]\n{more}}}\n",
        keys.join(", ")
    )
}

const SOURCES: &str = "\
source site: files {
  paths = [\"site\"]
}

source app: sqlite {
  path = \"app.db\"
}

source told: command {
  run = [\"sh\", \"-c\", \"seq 1 60000\"]
  as  = \"numbers\"
}

";

/// A tree with a large file, a database, and the output of a program; a cycle of three, whose artefacts are encrypted.
fn world(more: &str) -> (Scenario, String) {
    let scenario = Scenario::new().file("site/secret-name.txt", "one").file("site/below/other.txt", "two");
    shell(&scenario.path("site"), "seq 1 400000 > large");
    shell(&scenario.path("."), "sqlite3 app.db 'create table accounts (n); insert into accounts values (1)'");
    let public = key(&scenario, "id");
    scenario.write("p.plan", text(&[&public], more));
    // There is no base to be compared with that a public key could open.
    settle();
    (scenario, public)
}

fn text(keys: &[&str], more: &str) -> String {
    plan(&format!(
        "{SOURCES}{}\ncycle {{\n  incrementals = 3\n  base = previous\n}}\n{more}",
        archive(keys, "")
    ))
}

fn made(scenario: &Scenario) -> Vec<PathBuf> {
    artefacts(&scenario.path("store"))
}

/// Runs the program with a private key.
fn with(scenario: &Scenario, id: &str, args: &[&str]) -> Answer {
    let id = scenario.path("..").join(id).display().to_string();
    scenario.plan(args.iter().copied().chain(["--identity", &id]))
}

/// All that a folder holds, as one text.
fn bytes(folder: &Path) -> String {
    shell(folder, "find . -type f -exec cat {} + | tr -c '[:print:]\\n' ' '")
}

#[test]
fn a_cycle_is_made_with_public_keys_and_comes_back_with_a_private_one() {
    let (scenario, public) = world("");
    scenario.next_day().plan(["run", "--dry-run"]).status(0).says("encrypted for 1 key");
    scenario.plan(["graph", "--format", "dot"]).status(0).says("encrypted for 1 key");
    scenario.plan(["run"]).status(0);
    scenario.write("site/secret-name.txt", "changed");
    scenario.next_day().plan(["run"]).status(0);
    fs::remove_file(scenario.path("site/below/other.txt")).unwrap();
    shell(&scenario.path("."), "sqlite3 app.db 'insert into accounts values (2)'");
    scenario.next_day().plan(["run"]).status(0);
    let made = made(&scenario);
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|path| path.to_string_lossy().ends_with(".tar.gz.age")), "{made:?}");
    let size = |at: usize| fs::metadata(&made[at]).unwrap().len();
    assert!(size(1) < size(0) && size(2) < size(0) && size(0) > 500_000, "differences are small");
    // Nothing in the store names a file, and its sums are those of what lies there.
    let found = bytes(&scenario.path("store"));
    assert!(found.contains(&public) && !found.contains("secret-name") && !found.contains("app.db"), "names");
    shell(&scenario.path("store"), "for sums in .backplan/p/sums/*; do sha256sum -c --quiet $sums; done");
    // Without a key: what there is, what is kept, and whether the bytes are those that were written.
    scenario.plan(["list"]).status(0).says("incremental on 1 to 2").says("site");
    scenario.plan(["status"]).status(0).says(&format!("key `{public}` opens 3 backups"));
    scenario.plan(["prune", "--dry-run"]).status(0);
    scenario.plan(["verify", "--all"]).status(0).says("as it was written").says("no private key was given");
    for args in [
        &["restore", "--to", "out"][..],
        &["ls", "latest"],
        &["cat", "latest", "site/large"],
        &["diff-run", "1", "3"],
    ] {
        scenario.plan(args).status(1).says(&public).says("--identity FILE");
    }
    assert!(!scenario.path("out").exists());
    let other = key(&scenario, "other");
    with(&scenario, "other", &["restore", "--to", "out"])
        .status(1)
        .says("none of the keys given opens it")
        .says(&other);
    with(&scenario, "other", &["verify"]).status(3).says("as it was written").says(&other);
    // With it, everything.
    with(&scenario, "id", &["verify", "--all", "--deep"]).status(0).says("whole");
    with(&scenario, "id", &["ls", "latest"]).status(0).says("secret-name.txt").says("told/numbers");
    with(&scenario, "id", &["cat", "1", "site/site/secret-name.txt"]).status(0).stdout("one");
    with(&scenario, "id", &["diff-run", "1", "3"]).status(2).says("- site/site/below/other.txt");
    with(&scenario, "id", &["why", "p.plan", "site/large"]).status(0).says("00000003");
    with(&scenario, "id", &["restore", "--to", "back"]).status(0);
    shell(
        &scenario.path("."),
        "diff -r site back/site/site && seq 1 60000 | cmp - back/told/numbers \
         && test \"$(sqlite3 back/app/app.db 'select count(*) from accounts')\" = 2",
    );
    with(&scenario, "id", &["restore", "--run", "1", "--to", "first"]).status(0);
    shell(&scenario.path("first/site/site"), "test \"$(cat secret-name.txt below/other.txt)\" = onetwo");
    with(&scenario, "id", &["restore", "--in-place", "--overwrite"]).status(3);
    // The programs that everybody has do it, too: the full, and a difference laid over it.
    let script = "mkdir stock && for a in store/*.age; do age -d -i ../id $a > one.tar.gz \
                  && (tar -xzf one.tar.gz -O .backplan/deleted 2>/dev/null | (cd stock && xargs -0 rm -rf --)) \
                  ; tar -C stock -P -xpzf one.tar.gz; done; diff -r site stock/site/site";
    shell(&scenario.path("."), script);
    // Where what this machine knew of its last run is lost, the next is a full.
    fs::remove_dir_all(scenario.path("../state/backplan")).unwrap();
    scenario.next_day().plan(["run", "--adopt"]).status(3).says("is taken whole");
}

#[test]
fn what_is_not_encrypted_comes_back_without_the_key_of_what_is() {
    let scenario = Scenario::new().file("site/a", "one").file("secret/b", "two");
    shell(&scenario.path("."), "sqlite3 app.db 'create table t (n); insert into t values (42)'");
    let public = key(&scenario, "id");
    let secret = "source secret: files {\n  paths = [\"secret\"]\n}\n\narchive hidden {\n  from = [secret]\n  to   = [store]\n  encrypt = [\"KEY\"]\n}\n";
    let sources = SOURCES.replace("seq 1 60000", "echo told");
    let open = "store other: dir {\n  path = \"other\"\n}\n\narchive main {\n  from = [site, app, told]\n  to   = [store, other]\n}\n\n";
    scenario.write("p.plan", plan(&format!("{sources}{open}{}", secret.replace("KEY", &public))));
    scenario.next_day().plan(["run"]).status(0);
    let sources = ["--source", "site", "--source", "app", "--source", "told"];
    scenario.plan([&["restore", "--to", "back"][..], &sources].concat()).status(0);
    assert_eq!(scenario.read("back/site/site/a") + &scenario.read("back/told/numbers"), "onetold\n");
    scenario.plan(["restore", "--source", "site", "--path", "a", "--to", "part"]).status(0);
    assert_eq!(scenario.read("part/site/a"), "one");
    scenario.plan(["restore", "--store", "store", "--source", "app", "--to", "alone"]).status(0);
    // In a store in which nothing is encrypted the details are, too.
    scenario.plan(["restore", "--store", "other", "--source", "site", "--to", "beside"]).status(0);
    scenario.plan(["verify", "--rehearse", "--source", "site", "--source", "app"]).status(0);
    // A database is put under nobody else's log, whoever knows what it is called.
    scenario.write("alone/app.db-wal", "another's");
    let refused = scenario.plan(["restore", "--source", "app", "--to", "alone", "--overwrite"]);
    refused.status(1).stderr_has("would ruin the restored one");
    // In place, where the plan has them; what was elsewhere then is told of.
    scenario.write("site/a", "changed");
    let placed = ["restore", "--in-place", "--overwrite", "--source", "site"];
    scenario.plan(placed).status(0);
    assert_eq!(scenario.read("site/a"), "one");
    scenario.write("p.plan", scenario.read("p.plan").replace("[\"site\"]", "[\"site\", \"more\"]"));
    fs::create_dir(scenario.path("more")).unwrap();
    scenario.write("more/c", "three");
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["diff-run", "1", "2", "--path", "site/more"]).status(2).stdout_has("more/c");
    scenario.write("p.plan", scenario.read("p.plan").replace(", \"more\"]", "]"));
    scenario
        .plan(placed)
        .status(3)
        .stderr_has("of source `site` what came from elsewhere than the plan names, as `site/");
    // What needs the key asks for it.
    scenario.plan(["restore", "--source", "secret", "--to", "no"]).status(1).stderr_has("is encrypted");
    with(&scenario, "id", &["restore", "--to", "all"]).status(0);
    // A machine that lost its state says once that it does not know what was mounted.
    shell(&scenario.path("."), "rm -r ../state");
    let adopted = scenario.next_day().plan(["run", "--adopt"]).status(3);
    adopted.says("in earlier runs is not known: `secret`, `site`;").says("See that all is mounted");
    scenario.next_day().plan(["run"]).status(0);
}

#[test]
fn other_keys_hold_from_the_next_backup_on() {
    let (scenario, first) = world("");
    scenario.next_day().plan(["run"]).status(0);
    let second = key(&scenario, "second");
    // One more reader: what rests on a backup that they cannot read would be of no use to them.
    scenario.write("p.plan", text(&[&first, &second], ""));
    scenario.next_day().plan(["run"]).status(3).says("encrypted for other keys than the plan names now");
    // One less: what is new rests on what they all can read.
    scenario.write("p.plan", text(&[&second], ""));
    scenario.next_day().plan(["run"]).status(0);
    scenario.plan(["list"]).status(0).says("incremental on 2");
    with(&scenario, "id", &["restore", "--run", "1", "--to", "a"]).status(0);
    with(&scenario, "id", &["restore", "--run", "2", "--to", "b"]).status(0);
    with(&scenario, "second", &["restore", "--run", "1", "--to", "c"]).status(1).says(&first);
    with(&scenario, "second", &["restore", "--run", "3", "--to", "d"]).status(0);
    with(&scenario, "id", &["restore", "--run", "3", "--to", "e"]).status(1).says(&second);
    let said = scenario.plan(["status"]).status(0).said();
    assert!(said.contains(&format!("key `{first}` opens 2 backups")), "{said}");
    assert!(said.contains("new ones are no longer encrypted for it"), "{said}");
    assert!(said.contains(&format!("key `{second}` opens 2 backups")), "{said}");
    // In clear from now on, and back.
    scenario.write("p.plan", text(&[&second], "").replace(&format!("  encrypt = [\"{second}\"]\n"), ""));
    scenario.next_day().plan(["run"]).status(3).says("it is encrypted, and the plan encrypts no longer");
    scenario.plan(["restore", "--to", "clear"]).status(0);
    scenario.write("p.plan", text(&[&second], ""));
    scenario
        .next_day()
        .plan(["run"])
        .status(3)
        .says("it is not encrypted, and the plan encrypts what is new");
    with(&scenario, "second", &["restore", "--to", "f"]).status(0);
}

#[test]
fn a_store_that_lies_is_found_out() {
    let (scenario, public) = world("");
    let cycle = "cycle {\n  incrementals = 3\n  base = previous\n}\n";
    scenario.write("p.plan", text(&[&public], "").replace(cycle, ""));
    scenario.next_day().plan(["run"]).status(0);
    scenario.write("site/secret-name.txt", "changed");
    scenario.next_day().plan(["run"]).status(0);
    let [first, second] = &made(&scenario)[..] else { panic!() };
    let (one, two) = (fs::read(first).unwrap(), fs::read(second).unwrap());
    let found = |what: &str, says: &str| {
        scenario.plan(["verify", "--all"]).status(1).says("DAMAGED").says(says);
        with(&scenario, "id", &["verify", "--all"]).status(1).says("DAMAGED").says(says);
        let to = format!("out-{what}");
        with(&scenario, "id", &["restore", "--run", "1", "--to", &to]).status(1);
    };
    // Another run's, as it is; cut to one length, or with the other's mark, in the header that says it in clear.
    let is_as_long = one.len() == two.len();
    fs::write(first, &two).unwrap();
    fs::write(second, &one).unwrap();
    found("swapped", if is_as_long { "its run is" } else { "its size is" });
    let mut forged = two.clone();
    let (mark, other) = (b"-> backplan 00000002", b"-> backplan 00000001");
    let at = forged.windows(mark.len()).position(|window| window == mark).unwrap();
    let end = at + mark.len() + 24;
    let text = String::from_utf8(one[at..end].to_vec()).unwrap();
    assert!(text.as_bytes().starts_with(other), "{text}");
    forged.splice(at..end, text.bytes());
    forged.resize(one.len(), 0);
    fs::write(second, &two).unwrap();
    fs::write(first, &forged).unwrap();
    scenario.plan(["verify", "--all"]).status(1).says("SHA-256 is not the recorded one");
    with(&scenario, "id", &["verify", "--run", "1"]).status(1).says("its header was changed");
    with(&scenario, "id", &["restore", "--run", "1", "--to", "forged"])
        .status(1)
        .says("its header was changed");
    // A byte in the middle: named where it is read, and what is elsewhere still comes back.
    let mut spoilt = one.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    fs::write(first, &spoilt).unwrap();
    found("spoilt", "");
    fs::write(first, &one[..one.len() - 1]).unwrap();
    found("cut", "truncated");
    fs::write(first, &one).unwrap();
    // The private parts of another run's manifest.
    let manifests = artefacts(&scenario.path("store/.backplan/p/manifests"));
    let read = |at: usize| fs::read_to_string(&manifests[at]).unwrap();
    let (clear, sealed) = (read(0), read(1));
    let (clear, _) = clear.split_once("\n---\n").unwrap();
    let (_, sealed) = sealed.split_once("\n---\n").unwrap();
    fs::write(&manifests[0], format!("{clear}\n---\n{sealed}")).unwrap();
    with(&scenario, "id", &["restore", "--run", "1", "--to", "other"])
        .status(1)
        .says("they are those of run 00000002");
    with(&scenario, "id", &["restore", "--run", "2", "--to", "well"]).status(0);
}

#[test]
fn ssh_keys_and_passphrases_open_what_is_encrypted_for_them() {
    let scenario = Scenario::new().file("site/a.txt", "one");
    let folder = scenario.path("..");
    shell(
        &folder,
        "ssh-keygen -q -t ed25519 -N '' -f ed -C someone@here && ssh-keygen -q -t rsa -b 2048 -N 'a b' -f rsa -C else",
    );
    let (ed, rsa) = (shell(&folder, "cat ed.pub"), shell(&folder, "cat rsa.pub"));
    let native = key(&scenario, "id");
    let keys = [ed.trim(), rsa.trim(), &native];
    scenario.write("p.plan", plan(&format!("{}\nverify {{\n  every = 7d\n  restore = site\n  command = [\"sh\", \"-c\", \"cat $BACKPLAN_RESTORED/site/a.txt > told\"]\n  identity = file(\"../ed\")\n}}\n", crate::scenario::SITE.replace("  to   = [store]\n", &format!("  to   = [store]\n  encrypt = [\"{}\"]\n", keys.join("\", \""))))));
    // The rehearsal that is due opens it with the key that the plan gives it alone.
    scenario.next_day().plan(["run"]).status(0).says("rehearse/site");
    assert_eq!(scenario.read("told"), "one");
    scenario.plan(["verify", "--rehearse"]).status(0);
    for id in ["ed", "id"] {
        with(&scenario, id, &["cat", "latest", "site/site/a.txt"]).status(0).stdout("one");
    }
    let id = scenario.path("..").join("ed").display().to_string();
    let by_variable = scenario.env("BACKPLAN_IDENTITY", &id);
    by_variable.plan(["cat", "latest", "site/site/a.txt"]).status(0).stdout("one");
    let scenario = by_variable.env("BACKPLAN_IDENTITY", "");
    let stock = "age -d -i ../ed store/*.age | tar -xzO site/site/a.txt 2>/dev/null";
    assert_eq!(shell(&scenario.path("."), stock), "one");
    // Under a passphrase: asked for at the terminal, shown nowhere, and refused where there is none.
    with(&scenario, "rsa", &["cat", "latest", "site/site/a.txt"]).status(1).says("there is no terminal");
    let talk = |id: &str, steps: &[(&str, &str)]| {
        let id = scenario.path("..").join(id).display().to_string();
        crate::init_tty::talk_to(&scenario, &["cat", "latest", "site/site/a.txt", "--identity", &id], steps)
    };
    let said = talk("rsa", &[("rsa`: ", "wrong\r"), ("rsa`: ", "a bc\x7f\r")]).status(0).says("one").said();
    assert!(!said.contains("wrong") && !said.contains("a b"), "{said}");
    talk("rsa", &[("rsa`: ", "\x03")]).status(1);
    // A file of age's own keys under a passphrase.
    let locked = "import os, pty, sys\nsteps = [b'pw\\n', b'pw\\n']\n\
                  def read(fd):\n    data = os.read(fd, 1024)\n    if data.rstrip().endswith(b':') and steps: os.write(fd, steps.pop(0))\n    return data\n\
                  pty.spawn(['age', '-p', '-o', 'locked', 'id'], read)";
    scenario.other(&["python3", "-c", &format!("import os; os.chdir('..')\n{locked}")]).status(0);
    talk("locked", &[("locked`: ", "pw\r")]).status(0).says("one");
    // What is no key.
    for (file, contents, says) in [
        ("none", "", "there is no private key in it"),
        ("public", native.as_str(), "it is a public key"),
        ("junk", "AGE-SECRET-KEY-1QQQQ", "line 1 is no private key"),
    ] {
        fs::write(scenario.path("..").join(file), contents).unwrap();
        with(&scenario, file, &["ls", "latest"]).status(1).says(says);
    }
    with(&scenario, "nowhere", &["ls", "latest"]).status(1).says("name a file with a private key");
    // Recipients that are none.
    let wrong = scenario.read("p.plan").replace(&native, &native.replace("age1", "age1q"));
    scenario.write("q.plan", wrong);
    scenario.plan(["check", "q.plan"]).status(1).says("no public key");
}

#[test]
fn what_a_dead_run_left_is_known_by_its_mark() {
    let (scenario, public) = world("");
    scenario.next_day().plan(["run"]).status(0);
    let run = artefacts(&scenario.path("store/.backplan/p/manifests")).pop().unwrap();
    let run = run.file_stem().unwrap().to_str().unwrap().to_owned();
    let artefact = made(&scenario).pop().unwrap();
    let name = artefact.file_name().unwrap().to_str().unwrap();
    // As if it had died before its manifest; and something that looks like its own, and is not.
    let intent = |name: &str| {
        format!(
            "format: 1\nrun: {run}\nnonce: '{}'\nartefacts:\n- artefact: {name}\n  mark: {run}\n",
            "0".repeat(32)
        )
    };
    let foreign = scenario.path("store/mine.tar.gz.age");
    shell(&scenario.path("."), &format!("echo mine | age -r {public} > {}", foreign.display()));
    fs::remove_file(scenario.path(&format!("store/.backplan/p/manifests/{run}.yaml"))).unwrap();
    // What this machine has committed it would not undo, nor what it does not know of.
    let begun =
        format!("for file in ../state/backplan/plans/*/committed; do echo '{run} intended' > $file; done");
    shell(&scenario.path("."), &begun);
    fs::create_dir_all(scenario.path("store/.backplan/p/intents")).unwrap();
    scenario.write(
        &format!("store/.backplan/p/intents/{run}"),
        intent(name) + "- artefact: mine.tar.gz.age\n  mark: " + &run + "\n",
    );
    scenario.next_day().plan(["run"]).status(3).says("mine.tar.gz.age");
    assert!(!artefact.exists() && foreign.exists());
    with(&scenario, "id", &["verify", "--all", "--deep"]).status(0);
}
