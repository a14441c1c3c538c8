//! A restore from several stores of which none is whole.

use std::fs;

use crate::scenario::{Scenario, artefacts, settle, shell};

/// Three stores, a source of files that do not compress, one of files that do, an incremental behind a full.
fn world(encrypt: &str) -> Scenario {
    let stores: String =
        ["a", "m", "z"].map(|name| format!("store {name}: dir {{\n  path = \"{name}\"\n}}\n\n")).concat();
    let scenario = Scenario::new().file("site/small", "one").file("site/deep/er/small", "two").file(
        "p.plan",
        format!(
            "plan p\n\n{stores}source site: files {{\n  paths = [\"site\"]\n}}\n\narchive main {{\n  from = [site]\n  to   = [a, m, z]\n{encrypt}}}\n\n\
             cycle {{\n  incrementals = 6\n}}\n"
        ),
    );
    let tree = "for i in 1 2 3 4 5 6 7 8; do head -c 200000 /dev/urandom > f$i; seq $i 40000 > t$i; done; \
                head -c 2500000 /dev/urandom > large";
    shell(&scenario.path("site"), tree);
    settle();
    scenario.plan(["run"]).status(0);
    shell(&scenario.path("site"), "head -c 200000 /dev/urandom > f3; rm t5; echo more >> large");
    scenario.next_day().plan(["run"]).status(0);
    scenario
}

/// Spoils a third of each artefact in each store: the first in the first store, the second in the second, and so on.
fn spoil(scenario: &Scenario) {
    for (third, store) in ["a", "m", "z"].into_iter().enumerate() {
        for artefact in artefacts(&scenario.path(store)) {
            let mut bytes = fs::read(&artefact).unwrap();
            let part = bytes.len() / 3;
            bytes[third * part..(third + 1) * part].iter_mut().step_by(700).for_each(|byte| *byte ^= 0xff);
            fs::write(&artefact, bytes).unwrap();
        }
    }
}

#[test]
fn what_is_damaged_in_one_store_is_read_from_another_piece_by_piece() {
    let scenario = world("");
    scenario.plan(["restore", "--to", "whole"]).status(0);
    shell(&scenario.path("."), "cp -a z sound");
    spoil(&scenario);
    scenario
        .plan(["restore", "--to", "out"])
        .status(3)
        .stderr_has("store `a`: `p_main_")
        .stderr_has("is damaged from byte")
        .stderr_has("was read instead");
    shell(&scenario.path("."), "diff -r --no-dereference whole out && diff -r site out/site/site");
    scenario.plan(["cat", "1", "site/site/large"]).status(3).stderr_has("was read instead");
    // None of the others has it where it is wanted from one.
    scenario
        .plan(["restore", "--to", "one", "--store", "a"])
        .status(1)
        .says("no store that was read has it whole");
    // They are told apart where each is looked at by itself.
    let verified = scenario.plan(["verify", "--all"]).status(1).said();
    assert!(["a", "m", "z"].iter().all(|store| verified.contains(&format!("`{store}`"))), "{verified}");
    // Their sizes and ends alone tell whether they are there, and not what is damaged between.
    let quick = scenario.plan(["verify", "--all", "--quick", "--store", "m"]).status(0);
    assert_eq!(quick.stdout.matches("there, with its size and its ends").count(), 2, "{quick:?}");
    // One that is cut off is passed by.
    shell(&scenario.path("."), "rm -r z; mv sound z");
    for artefact in artefacts(&scenario.path("a")) {
        let file = fs::OpenOptions::new().write(true).open(&artefact).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
    scenario.plan(["verify", "--quick", "--store", "a"]).status(1).stdout_has("(it is truncated)");
    scenario.plan(["verify", "--quick", "--store", "z"]).status(0);
    scenario.plan(["restore", "--to", "again"]).status(3).stderr_has("store `z` was read instead");
    shell(&scenario.path("."), "diff -r --no-dereference whole again");
}

/// Changes a byte of a file in an artefact that stores it as it is, so that its member has the sum of what it holds then.
const FORGE: &str = "import sys, zlib\n\
    path, of = sys.argv[1:]\n\
    data = bytearray(open(path, 'rb').read())\n\
    at, start = data.find(open(of, 'rb').read()[100000:100064]), 0\n\
    assert at > 0\n\
    while True:\n\
    \x20   one = zlib.decompressobj(31)\n\
    \x20   one.decompress(bytes(data[start:]))\n\
    \x20   end = len(data) - len(one.unused_data)\n\
    \x20   if at < end: break\n\
    \x20   start = end\n\
    data[at] ^= 1\n\
    head = 12 + int.from_bytes(data[start + 10:start + 12], 'little') if data[start + 3] & 4 else 10\n\
    held = zlib.decompressobj(-15).decompress(bytes(data[start + head:end - 8]))\n\
    data[end - 8:end - 4] = zlib.crc32(held).to_bytes(4, 'little')\n\
    open(path, 'wb').write(data)\n";

#[test]
fn what_is_forged_in_one_store_so_that_only_its_digest_tells_is_read_from_another() {
    let scenario = world("  level = 0\n").file("forge.py", FORGE);
    shell(&scenario.path("site"), "head -c 20000000 /dev/urandom > huge");
    scenario.next_day().plan(["run", "--level", "full"]).status(0);
    let full = |store: &str| {
        let made = artefacts(&scenario.path(store)).into_iter();
        made.max_by_key(|path| path.metadata().unwrap().len()).unwrap().display().to_string()
    };
    let forge = |store: &str, file: &str| {
        shell(&scenario.path("."), &format!("python3 forge.py {} site/{file}", full(store)));
    };
    let cat =
        |path: &str| scenario.plan_by(&["sh", "-c", "exec \"$0\" \"$@\" > given"], ["cat", "latest", path]);
    // One file within a member, and one of several members; another in the store behind.
    forge("a", "f1");
    forge("a", "large");
    forge("m", "f2");
    let answer = scenario.plan(["restore", "--to", "out"]).status(3).stderr_has("store `a`: `p_main_");
    answer.stderr_has("was read instead");
    shell(&scenario.path("."), "diff -r site out/site/site");
    // What a stream was given cannot be taken back: a small file is held back until it is known to be whole, of a large one the first.
    for file in ["f1", "large"] {
        let path = format!("site/site/{file}");
        cat(&path).status(3).stderr_has("was read instead");
        shell(&scenario.path("."), &format!("cmp given site/{file}"));
    }
    forge("a", "huge");
    let answer = cat("site/site/huge").status(1);
    answer.stderr_has("do not have their digest; 20000000 bytes were written out before that was seen");
    // Where all have the same, nobody has it.
    for store in ["m", "z"] {
        forge(store, "f1");
    }
    cat("site/site/f1").status(1).stderr_has("do not have their digest");
    assert_eq!(scenario.read("given"), "");
    let answer = scenario.plan(["restore", "--to", "not"]).status(1);
    answer.says("f1`: its contents do not have their digest");
    assert!(!scenario.path("not/site/site/f1").exists());
}

#[test]
fn what_is_encrypted_is_read_from_several_stores_as_well() {
    let key = Scenario::new();
    shell(&key.path("."), "age-keygen -o id 2>/dev/null");
    let public = shell(&key.path("."), "age-keygen -y id");
    let scenario = world(&format!("  encrypt = [\"{}\"]\n", public.trim()));
    shell(&scenario.path("."), "cp -a m last");
    spoil(&scenario);
    let id = key.path("id").display().to_string();
    scenario
        .plan(["restore", "--to", "out", "--identity", &id])
        .status(3)
        .stderr_has("is damaged from byte")
        .stderr_has("was read instead");
    shell(&scenario.path("."), "diff -r --no-dereference site out/site/site");
    // A byte of the last copy costs what is in the same member, and no more; no advice is given that meets the same byte again.
    shell(&scenario.path("."), "rm -r a m z; mv last m");
    let full = artefacts(&scenario.path("m")).into_iter().max_by_key(|path| path.metadata().unwrap().len());
    let full = full.unwrap();
    let mut bytes = fs::read(&full).unwrap();
    bytes[100_000] ^= 0xff;
    fs::write(&full, bytes).unwrap();
    let told = scenario.plan(["restore", "--to", "most", "--identity", &id]).status(1).said();
    assert!(told.contains("the encrypted bytes from") && !told.contains("--resume"), "{told}");
    let lacking = shell(&scenario.path("."), "diff -r --no-dereference site most/site/site || true");
    assert_eq!(lacking, "Only in site/deep/er: small\nOnly in site: f1\nOnly in site: f2\n");
}

#[test]
fn an_incremental_whose_full_is_damaged_is_not_whole() {
    let scenario = world("");
    scenario.plan(["verify"]).status(0).stdout_has("run 00000001-").stdout_has("run 00000002-");
    let full = artefacts(&scenario.path("m")).into_iter().max_by_key(|path| path.metadata().unwrap().len());
    let full = full.unwrap();
    let mut bytes = fs::read(&full).unwrap();
    bytes[300..308].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(&full, bytes).unwrap();
    let name = full.file_name().unwrap().to_string_lossy().into_owned();
    scenario.plan(["verify"]).status(1).stdout_has(&format!("in `m`: {name}: DAMAGED"));
    scenario.plan(["verify", "--run", "2", "--store", "z"]).status(0);
}

#[test]
fn a_manifest_whose_details_are_damaged_in_one_store_keeps_nobody_from_the_run() {
    let scenario = world("");
    // Nobody here knows any more which of them is as it was made.
    fs::remove_dir_all(scenario.path("../state")).unwrap();
    for (store, code) in [("a", 0), ("m", 0), ("z", 1)] {
        let script =
            "for it in 00000002-*; do sed -i '/^---$/,$d' $it && printf -- '---\\nroots: 7\\n' >> $it; done";
        shell(&scenario.path(store).join(".backplan/p/manifests"), script);
        let answer = scenario.plan(["restore", "--to", &format!("out-{store}")]).status(code);
        match code {
            0 => drop(shell(&scenario.path("."), &format!("diff -r site out-{store}/site/site"))),
            _ => drop(answer.says("details are damaged")),
        }
    }
}

#[test]
fn what_a_run_rests_on_is_held_against_what_this_machine_has_made() {
    let scenario = world("");
    let forge = |store: &str| {
        let script = "sed -i 's/^nonce: .*/nonce: abababababababababababababababab/' 00000001*";
        shell(&scenario.path(store).join(".backplan/p/manifests"), script);
    };
    let told = "is none that this machine has made, as it is there";
    forge("a");
    scenario.plan(["status"]).status(3).says(told);
    scenario.plan(["restore", "--to", "out"]).status(0);
    ["m", "z"].into_iter().for_each(forge);
    scenario.plan(["restore", "--to", "again"]).status(3).says(told);
    scenario.plan(["cat", "latest", "site/site/small"]).status(3).says(told);
    scenario.plan(["verify"]).status(3).says(told);
    scenario.plan(["ls", "1"]).status(3).says(told);
}

#[test]
fn who_asks_for_the_newest_is_told_where_a_newer_one_cannot_be_read() {
    let scenario = world("");
    shell(&scenario.path("."), "mkdir away; mv a m away");
    scenario.next_day().plan(["run"]).status(3);
    shell(&scenario.path("."), "mv z away; mv away/a away/m .");
    let told = "which this machine committed, is newer than all in the stores that could be read";
    scenario.plan(["restore", "--to", "out"]).status(3).says("run `00000003-").says(told);
    scenario.plan(["ls", "latest"]).status(3).says(told);
    scenario.plan(["cat", "latest", "site/site/small"]).status(3).says(told);
    scenario.plan(["list"]).status(3).says(told);
    scenario.plan(["status"]).status(3).says(told);
    scenario.plan(["restore", "--run", "2", "--to", "second"]).status(0);
    // One store alone was asked: nothing is said of others.
    scenario.plan(["restore", "--store", "a", "--to", "of-a"]).status(0);
    // A manifest is there, and cannot be used; of another's name there is no more than the beginning.
    let manifests = scenario.path("a/.backplan/p/manifests");
    shell(&manifests, "for it in 00000002-*; do : > $it; done; rm -r ../../../../m");
    let told = "is newer than run `00000001-";
    scenario.plan(["restore", "--store", "a", "--to", "older"]).status(3).says("run `00000002-").says(told);
    scenario.plan(["ls", "--store", "a", "latest"]).status(3).says(told);
    scenario.plan(["cat", "--store", "a", "1", "site/site/small"]).status(0);
    shell(&manifests, "touch \"$(printf '00000009-20260109T023000Z-bbbbbb.yaml\\nerror: forged')\"");
    for command in ["status", "list", "restore"] {
        let place: &[&str] = if command == "restore" { &["--store", "a", "--to", "last"] } else { &[] };
        let said = scenario.plan([command].iter().chain(place)).status(3).said();
        assert!(
            said.contains("error: forged") && !said.lines().any(|line| line.starts_with("error: forged")),
            "{said}"
        );
    }
}

#[test]
fn what_a_run_rests_on_comes_from_a_store_that_never_had_the_run() {
    let scenario = world("");
    // The third run is in one store alone; of what it rests on, that one has a part and the others have the rest.
    shell(&scenario.path("."), "mkdir away; mv a m away; echo three > site/small");
    scenario.next_day().plan(["run"]).status(3);
    shell(&scenario.path("."), "mv away/a away/m .; cp -a site whole");
    let full = artefacts(&scenario.path("z")).into_iter().max_by_key(|path| path.metadata().unwrap().len());
    let full = full.unwrap();
    let mut bytes = fs::read(&full).unwrap();
    bytes[100_000] ^= 0xff;
    fs::write(&full, bytes).unwrap();
    let verified = scenario.plan(["verify", "--all"]).status(1).said();
    assert!(
        verified.contains("it rests on run 00000001-") && verified.contains("damaged in this store"),
        "{verified}"
    );
    scenario.plan(["restore", "--to", "out"]).status(3).stderr_has("was read instead");
    shell(&scenario.path("."), "diff -r --no-dereference whole out/site/site");
    // Or its copy there is another file altogether.
    let damaged = fs::read(&full).unwrap();
    let other = artefacts(&scenario.path("z")).into_iter().find(|path| *path != full).unwrap();
    for (wrong, what) in [
        (damaged[..200_000].to_vec(), "it is truncated"),
        ([&damaged[..], b"x"].concat(), "cannot be used"),
        (Vec::new(), "cannot be used"),
        (fs::read(other).unwrap(), "cannot be used"),
        ([&damaged[..damaged.len() - 80], &[7; 80]].concat(), "cannot be used"),
    ] {
        fs::write(&full, wrong).unwrap();
        let answer = scenario.plan(["restore", "--to", "wrong"]).status(3);
        answer.stderr_has(what).stderr_has("was read instead");
        shell(&scenario.path("."), "diff -r --no-dereference whole wrong/site/site && rm -r wrong");
        scenario.plan(["cat", "3", "site/site/small"]).status(3).stderr_has("was read instead");
    }
    fs::remove_file(&full).unwrap();
    scenario.plan(["restore", "--to", "again"]).status(3);
    shell(&scenario.path("."), "diff -r --no-dereference whole again/site/site");
    shell(&scenario.path("z/.backplan/p/manifests"), "rm 00000001* 00000002*");
    scenario.plan(["restore", "--to", "third"]);
    shell(&scenario.path("."), "diff -r --no-dereference whole third/site/site");
}
