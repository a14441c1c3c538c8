//! What a plan takes from its libraries.

use backplan_compiler::model::{Model, SourceKind, StoreKind};

use crate::common::{compile_files, shown};

const SITE: &str = "source site: files { paths = [\"/srv\"] }\narchive site { from = [site], to = [nas] }\n";

/// Names of the findings, and the model if there is one.
fn compiled(files: &[(&str, &str)]) -> (Vec<&'static str>, Option<Model>) {
    let (_, compiled) = compile_files(files);
    (compiled.findings.iter().map(|finding| finding.name).collect(), compiled.model)
}

#[test]
fn paths_start_at_the_file_they_are_written_in() {
    let plan = format!("plan p\nimport \"lib/stores.plan\" {{ folder = \"given\" }}\n{SITE}");
    let library = "param folder: string\nstore nas: dir { path = folder }\nstore own: dir { path = \"own\" }\n\
                   source lib: files { paths = [\"../up\", \"./here/\"] }\narchive lib { from = [lib], to = [own] }\n";
    let (found, model) = compiled(&[("p.plan", &plan), ("lib/stores.plan", library)]);
    assert!(found.is_empty(), "{found:?}");
    let model = model.unwrap();
    let folders: Vec<_> = model.stores.iter().map(|store| format!("{:?}", store.kind)).collect();
    assert_eq!(folders, ["Dir { path: \"/etc/backplan/given\" }", "Dir { path: \"/etc/backplan/lib/own\" }"]);
    let SourceKind::Files(files) = &model.sources[0].kind else { panic!("not files") };
    let paths: Vec<_> = files
        .paths
        .iter()
        .map(|path| (path.absolute.to_str().unwrap(), path.inside.to_str().unwrap()))
        .collect();
    assert_eq!(paths, [("/etc/backplan/up", "etc/backplan/up"), ("/etc/backplan/lib/here", "here")]);
    assert!(matches!(&model.stores[0].kind, StoreKind::Dir { .. }));
}

#[test]
fn a_library_reached_twice_counts_once() {
    let plan = format!("plan p\nimport \"a.plan\"\nimport \"b.plan\"\n{SITE}");
    let both = "import \"stores.plan\"\n";
    let stores = "store nas: dir { path = \"/mnt/nas\" }\nkeep { daily = 7 }\n";
    let (found, model) =
        compiled(&[("p.plan", &plan), ("a.plan", both), ("b.plan", both), ("stores.plan", stores)]);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(model.unwrap().keep.unwrap().daily, Some(7));
}

#[test]
fn of_two_libraries_none_wins() {
    let stores = "store nas: dir { path = \"/mnt/nas\" }\nkeep { daily = 7 }\n";
    let libraries = [("a.plan", stores), ("b.plan", "keep { weekly = 4 }\n")];
    let undecided = format!("plan p\nimport \"a.plan\"\nimport \"b.plan\"\n{SITE}");
    let (found, model) = compiled(&[("p.plan", &undecided), libraries[0], libraries[1]]);
    assert_eq!((found.as_slice(), model.is_none()), (["duplicate"].as_slice(), true));
    let decided = format!("{undecided}keep {{ last = 3 }}\n");
    let (found, model) = compiled(&[("p.plan", &decided), libraries[0], libraries[1]]);
    assert_eq!(found, ["replaced", "replaced"]);
    let keep = model.unwrap().keep.unwrap();
    assert_eq!((keep.last, keep.daily, keep.weekly), (Some(3), None, None));
}

#[test]
fn names_of_a_library_stay_its_own() {
    let plan = format!("plan p\nimport \"a.plan\"\n{SITE}let other = folder\nkeep {{ last = other }}\n");
    let library = "let folder = \"/mnt/nas\"\nstore nas: dir { path = folder }\n";
    let (set, compiled) = compile_files(&[("p.plan", &plan), ("a.plan", library)]);
    let told = shown(&set, &compiled.findings);
    assert!(told.contains("unknown_name") && told.contains("is seen in that file alone"), "{told}");
}

#[test]
fn a_missing_library_is_told_once() {
    let plan = format!("plan p\nimport \"a.plan\" {{ x = 1 }}\n{SITE}");
    assert_eq!(compiled(&[("p.plan", &plan)]).0, ["unreadable_import"]);
}

#[test]
fn allowances_take_away_warnings_and_no_errors() {
    let plan = |allow: &str, hook: &str| {
        format!(
            "plan p\nstore nas: dir {{ path = \"/mnt/nas\" }}\n{SITE}\n{allow}\n\n# a remark\n\
             notify ops: webhook {{ url = {hook} }}\n"
        )
    };
    let found = |text: &str| compiled(&[("p.plan", text)]).0;
    assert!(found(&plan("# allow: inline_secret public", "\"https://x\"")).is_empty());
    assert!(found(&plan("", "\"https://x\" } # allow: inline_secret public\n#")).is_empty());
    // An address that needs a token is no secret; one that is written down is.
    assert!(found(&plan("", "\"https://x\"\n  token = file(\"/run/token\")")).is_empty());
    assert_eq!(found(&plan("", "\"https://x\"\n  token = \"hidden\"")), ["inline_secret"]);
    assert_eq!(
        found(&plan("# allow: inline_secrets public", "\"https://x\"")),
        ["unused_allow", "inline_secret"]
    );
    let error = "plan p\nstore nas: dir { path = \"/srv/nas\" } # allow: store_in_source why not\n";
    assert_eq!(found(&format!("{error}{SITE}")), ["store_in_source", "unused_allow"]);
    let (set, compiled) = compile_files(&[("p.plan", &plan("# allow: inlin_secret public", "env(\"X\")"))]);
    assert!(shown(&set, &compiled.findings).contains("did you mean `inline_secret`?"));
}

#[test]
fn what_a_replaced_block_uses_is_used() {
    let library = "param days: int = 7\nparam run: string = \"x\"\nlet root = \"/b/${run}\"\nlet size = 3\nparam left: int = 1\n\
                   keep { daily = days }\nstaging { path = \"${root}/staging\" }\n";
    let items = "source s: files { paths = [\"/s\"] }\nstore l: dir { path = \"/l\" }\narchive a { from = all, to = [l] }\n\
                 keep { last = 3 }\nstaging { path = \"/staging\" }\n";
    let (_, compiled) = crate::common::compile_files(&[
        ("p.plan", &format!("plan p\nimport \"lib.plan\"\n{items}")),
        ("lib.plan", library),
    ]);
    let unused: Vec<&str> = (compiled.findings.iter())
        .filter(|finding| finding.name == "unused_name")
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(unused, ["`let size` is never used", "`param left` is never used"]);
}
