//! Manifests and catalogs, whole and damaged.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::stage::{Job, claim, layout, run, run_id, store};

use crate::catalog::details::{Details, DetailsError, MAX_WARNINGS, PlanFile, RawPath, Root};
use crate::catalog::identity;
use crate::catalog::manifest::{KEPT, MAX_BYTES, MAX_FIRST, Manifest, ManifestError, Second};
use crate::catalog::names::PlanName;
use crate::catalog::runs::{Catalog, Choice, ChooseError, next_sequence, plans, read_details};
use crate::cipher::{Keyring, NoOne};
use crate::store::dir::DirStore;
use crate::store::simulated::SimulatedFolder;
use crate::store::{Creation, Name};

fn details() -> Details {
    let path = |bytes: &[u8]| RawPath(PathBuf::from(OsStr::from_bytes(bytes)));
    let text = "# a plan\n---\nplan p\r\n\ttab: \"x\" \u{85}\u{feff}\u{1}\n\n";
    let mut details = Details {
        files: vec![PlanFile { path: path(b"/etc/p.plan"), text: text.to_owned() }],
        roots: vec![Root {
            source: PlanName::known("s"),
            inside: path(b"a \xff").try_into().unwrap(),
            original: path(b"/a \xff").try_into().unwrap(),
        }],
        ..Details::default()
    };
    details.parameters.insert("site".to_owned(), "no".to_owned());
    for warning in 0..MAX_WARNINGS * 2 {
        details.warnings.add(format!("{warning}: {}", "ä".repeat(2000)));
    }
    details
}

#[test]
fn a_manifest_reads_back_with_its_details() {
    let job = Job { rests_on: vec![run_id(1), run_id(2)], ..Job::new(3, 2) };
    let manifest = Manifest { second: details().to_second().unwrap(), ..job.manifest() };
    let bytes = manifest.to_bytes().unwrap();
    let read = Manifest::parse("m", &bytes).unwrap();
    assert_eq!(read, manifest);
    assert_eq!(read.details().unwrap(), details());
    assert_eq!(details().warnings.total, 2 * MAX_WARNINGS as u64);
    assert_eq!(read.rests_on().len(), 2);
    assert!(read.holds("s") && !read.holds("t"));
    let bare = Manifest { second: Second::default(), ..manifest };
    let read = Manifest::parse("m", &bare.to_bytes().unwrap()).unwrap();
    assert_eq!(read.details().unwrap(), Details::default());
}

#[test]
fn what_many_runs_have_in_common_is_kept_once() {
    let mut like = std::sync::Arc::from("");
    let mut others = Vec::new();
    for number in 0..20 {
        let mut own = details();
        // In the middle of what is the same else, inside a letter of several bytes.
        own.warnings.first[40] = format!("{}{}", "ä".repeat(number), "ö".repeat(number % 3));
        let text = own.to_second().unwrap();
        let mut second = text.clone();
        second.thin(&mut like);
        assert_eq!(second, text);
        let manifest = Manifest { second, ..Job::new(1, 1).manifest() };
        assert_eq!(manifest.details().unwrap(), own);
        assert_eq!(Manifest::parse("m", &manifest.to_bytes().unwrap()).unwrap().details().unwrap(), own);
        others.push(manifest.second);
    }
    let is_thin = |second: &Second| matches!(second, Second::Alike { rest, .. } if rest.len() < 12_000);
    assert!(others.iter().all(is_thin));
    let mut short = Second::Text("details: {}".to_owned());
    short.thin(&mut like);
    assert_eq!(short.text().unwrap(), "details: {}");
}

#[test]
fn unknown_fields_are_ignored_and_unknown_needs_are_not() {
    let text = String::from_utf8(Job::new(1, 1).manifest().to_bytes().unwrap()).unwrap();
    let extended = text.replacen("run:", "colour: blue\nrun:", 1);
    assert_eq!(Manifest::parse("m", extended.as_bytes()).unwrap().run, run_id(1));
    let needing = text.replacen("run:", "requires:\n- differences\nrun:", 1);
    let error = Manifest::parse("m", needing.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`m` needs `differences`"), "{error}");
    let newer = text.replacen("format: 1", "format: 3", 1).replacen("min_reader: 1", "min_reader: 2", 1);
    assert!(matches!(
        Manifest::parse("m", newer.as_bytes()),
        Err(ManifestError::Newer { min_reader: 2, .. })
    ));
    // Newer, but said to be readable.
    let newer = text.replacen("format: 1", "format: 3", 1);
    assert_eq!(Manifest::parse("m", newer.as_bytes()).unwrap().format, 3);
    let unlike = b"format: 9\nmin_reader: 9\nrun:\n  id: 7\n";
    assert!(matches!(Manifest::parse("m", unlike), Err(ManifestError::Newer { .. })));
}

#[test]
fn damage_is_an_error_with_the_objects_name() {
    let text = String::from_utf8(Job::new(1, 1).manifest().to_bytes().unwrap()).unwrap();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(1..20).map(|n| format!("b{n}: &b{n} [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n")).collect::<String>();
    let deep = "[".repeat(100_000);
    for bad in
        ["", "}{", "format: 1", &text[..text.len() / 3], &bomb, &deep, &text.replacen("size: ", "size: -", 1)]
    {
        let error = Manifest::parse("the/object", bad.as_bytes()).unwrap_err();
        assert!(matches!(error, ManifestError::Damaged { .. }), "{error}");
        assert!(error.to_string().starts_with("`the/object` is damaged: "), "{error}");
    }
    assert!(matches!(Manifest::parse("m", b"\xff\xfe"), Err(ManifestError::Damaged { .. })));
    for most in [MAX_BYTES, MAX_FIRST] {
        let large = vec![b' '; most + 1];
        assert!(matches!(Manifest::parse("m", &large), Err(ManifestError::TooLarge { .. })));
    }
    let sealed = text.split_once("\n---\n").unwrap().0.to_owned() + "\n---\nsealed: age\n";
    let sealed = Manifest::parse("m", sealed.as_bytes()).unwrap();
    assert!(matches!(sealed.details(), Err(DetailsError::Damaged(_))));
}

#[test]
fn sealed_details_open_with_a_key_and_only_for_their_own_run() {
    use age::secrecy::ExposeSecret;
    let keys: Vec<age::x25519::Identity> = (0..3).map(|_| age::x25519::Identity::generate()).collect();
    let to: Vec<String> = keys[..2].iter().map(|key| key.to_public().to_string()).collect();
    let ring = |at: usize| {
        let mut ring = Keyring::default();
        ring.add("test", keys[at].to_string().expose_secret().as_bytes(), &NoOne).unwrap();
        ring
    };
    let (second, sha256) = details().into_sealed(&to, run_id(3)).unwrap();
    let manifest = Manifest { second: second.clone(), sealed: Some(sha256), ..Job::new(3, 1).manifest() };
    let bytes = manifest.to_bytes().unwrap();
    assert!(!String::from_utf8(bytes.clone()).unwrap().contains("p.plan"), "nothing of it is in clear");
    let read = Manifest::parse("m", &bytes).unwrap();
    assert_eq!(read.details(), Err(DetailsError::Sealed));
    assert_eq!(read.details_with(&ring(2)), Err(DetailsError::Sealed));
    for at in [0, 1] {
        let opened = read.details_with(&ring(at)).unwrap();
        assert_eq!(opened.run, Some(run_id(3)));
        assert_eq!(Details { run: None, ..opened }, details());
    }
    let exchanged = Manifest { second, ..Job::new(4, 1).manifest() };
    let error = exchanged.details_with(&ring(0)).unwrap_err().to_string();
    assert!(error.contains("they are those of run 00000003-"), "{error}");
    let Second::Text(text) = exchanged.second.clone() else { panic!() };
    // What is cut or written over shows without a key; and so does a text for fewer keys than the artefacts are for.
    let lines: Vec<&str> = text.lines().collect();
    let without = |at: usize| {
        let rest: Vec<&str> =
            lines.iter().enumerate().filter(|(line, _)| *line != at).map(|(_, line)| *line).collect();
        rest.join("\n")
    };
    for at in [2, lines.len() / 2, lines.len() - 2, lines.len() - 1] {
        let cut = Manifest { second: Second::Text(without(at)), ..manifest.clone() };
        assert!(matches!(cut.details(), Err(DetailsError::Damaged(_))), "{at}: {:?}", lines[at]);
    }
    let mut few = manifest.clone();
    few.archives[0].recipients = (0..10).map(|key| key.to_string()).collect();
    let error = few.details().unwrap_err().to_string();
    assert!(error.contains("and the artefacts for 10"), "{error}");
    let at = text.len() / 2;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let damaged =
        Manifest { second: Second::Text(text[..at].to_owned() + other + &text[at + 1..]), ..manifest };
    assert!(matches!(damaged.details_with(&ring(0)), Err(DetailsError::Damaged(_))));
}

#[test]
fn damaged_manifests_are_problems_and_the_others_are_listed() {
    let folder = SimulatedFolder::default();
    for sequence in 1..=4 {
        run(&folder, &Job::new(sequence, 1), None);
    }
    let store = store(&folder);
    store.replace(&layout().manifest(&run_id(2)), b"nonsense").unwrap();
    store.replace(&layout().manifest(&run_id(7)), &Job::new(3, 1).manifest().to_bytes().unwrap()).unwrap();
    let stray = Name::new(".backplan/p/manifests/notes.txt").unwrap();
    assert_eq!(store.create(&stray, b"mine").unwrap(), Creation::Created);
    let catalog = Catalog::load(&*store, &layout()).unwrap();
    let runs: Vec<u32> = catalog.runs().map(|manifest| manifest.run.sequence()).collect();
    assert_eq!(runs, [1, 3, 4]);
    assert_eq!(catalog.problems().len(), 2);
    assert_eq!(catalog.highest(), 7);
    assert_eq!(next_sequence([&catalog], 3), 8);
    assert_eq!(next_sequence([&catalog], 11), 12);
    assert_eq!(next_sequence([], 0), 1);
    assert_eq!(plans(&*store).unwrap(), ["p"]);
}

#[test]
fn large_details_are_read_when_somebody_asks() {
    let folder = SimulatedFolder::default();
    run(&folder, &Job::new(1, 1), None);
    let manifest = Manifest { second: details().to_second().unwrap(), ..Job::new(1, 1).manifest() };
    let bytes = manifest.to_bytes().unwrap();
    let store = store(&folder);
    for (padding, is_left) in [(KEPT / 2, false), (2 * KEPT, true), (MAX_FIRST, true)] {
        let padded = [bytes.clone(), b"# ".to_vec(), vec![b'x'; padding]].concat();
        store.replace(&layout().manifest(&run_id(1)), &padded).unwrap();
        let catalog = Catalog::load(&*store, &layout()).unwrap();
        let read = catalog.get(&run_id(1)).unwrap();
        assert_eq!(read.second == Second::Left, is_left, "{padding}");
        assert_eq!(read.details().is_err(), is_left);
        assert_eq!(read_details(&*store, &layout(), read, &Keyring::default()).unwrap(), details());
        assert_eq!(Manifest { second: manifest.second.clone(), ..read.clone() }, manifest);
    }
}

#[test]
fn large_details_are_looked_at_with_the_artefacts() {
    let folder = SimulatedFolder::default();
    run(&folder, &Job::new(1, 1), None);
    let bytes = Job::new(1, 1).manifest().to_bytes().unwrap();
    let store = store(&folder);
    for harm in ["", "x"] {
        let padded = [&bytes, harm.as_bytes(), b"\n# ", &vec![b'x'; 2 * KEPT]].concat();
        store.replace(&layout().manifest(&run_id(1)), &padded).unwrap();
        let mut catalog = Catalog::load(&*store, &layout()).unwrap();
        assert_eq!(catalog.get(&run_id(1)).unwrap().second, Second::Left);
        catalog.look_for_artefacts(&*store, &layout()).unwrap();
        assert_eq!(catalog.torn(&run_id(1)).is_some(), harm == "x");
    }
}

#[test]
fn runs_are_chosen_by_id_number_chance_and_time() {
    let folder = SimulatedFolder::default();
    for sequence in 1..=3 {
        run(&folder, &Job::new(sequence, 1), None);
    }
    let catalog = Catalog::load(&*store(&folder), &layout()).unwrap();
    let choose = |choice: Choice| catalog.choose(&choice, None).map(|manifest| manifest.run.sequence());
    assert_eq!(choose(Choice::Latest), Ok(3));
    for text in [run_id(2).to_string(), "2".to_owned(), run_id(2).short().to_owned()] {
        assert_eq!(choose(Choice::Id(text)), Ok(2));
    }
    assert_eq!(choose(Choice::At(run_id(2).started())), Ok(2));
    assert!(matches!(
        choose(Choice::At("2000-01-01T00:00:00Z".parse().unwrap())),
        Err(ChooseError::TooEarly { .. })
    ));
    assert!(matches!(choose(Choice::Id("9".to_owned())), Err(ChooseError::Unknown(_))));
    assert!(matches!(catalog.choose(&Choice::Latest, Some("none")), Err(ChooseError::None { .. })));
    assert_eq!(catalog.choose(&Choice::Latest, Some("s")).unwrap().run, run_id(3));
}

#[test]
fn a_moment_as_it_is_shown_chooses_the_run_that_it_was_shown_of() {
    let mut catalog = Catalog::default();
    let part = jiff::SignedDuration::from_millis(12);
    for sequence in 1..=2 {
        let started = run_id(sequence).started() + part;
        catalog.add(Manifest { started, ..Job::new(sequence, 1).manifest() });
    }
    let choose = |at| catalog.choose(&Choice::At(at), None).map(|manifest| manifest.run.sequence());
    for sequence in 1..=2 {
        assert_eq!(choose(run_id(sequence).started()), Ok(sequence));
        assert_eq!(choose(run_id(sequence).started() + part), Ok(sequence));
    }
    assert_eq!(choose(run_id(2).started() + part / 2), Ok(1));
}

#[test]
fn ten_thousand_runs_are_listed() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = DirStore::open("local", scratch.path()).unwrap();
    identity::claim(&store, &layout(), &claim(None)).unwrap();
    let folder = scratch.path().join(".backplan/p/manifests");
    std::fs::create_dir(&folder).unwrap();
    let text = "# a line of the plan\n".repeat(60);
    let file = PlanFile { path: RawPath::from(Path::new("/etc/p.plan")), text };
    let second = Details { files: vec![file], ..Details::default() }.to_second().unwrap();
    for sequence in 1..=10_000 {
        let manifest = Manifest { second: second.clone(), ..Job::new(sequence, 1).manifest() };
        std::fs::write(folder.join(format!("{}.yaml", manifest.run)), manifest.to_bytes().unwrap()).unwrap();
    }
    let start = std::time::Instant::now();
    let catalog = Catalog::load(&store, &layout()).unwrap();
    eprintln!("10,000 runs in {:?}", start.elapsed());
    assert_eq!((catalog.runs().len(), catalog.problems().len()), (10_000, 0));
}
