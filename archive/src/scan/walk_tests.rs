//! What changes while a walk is under way.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use backplan_compiler::model::{Compare, Files, FilesPath, Pattern};
use backplan_compiler::sources::{FileId, Place};
use backplan_grammar::Span;
use backplan_host::control::Control;

use super::{ScanError, Trees, WarningKind, now, roots, walk::Walk};

#[test]
fn what_is_left_out_may_vanish_without_a_word() {
    let world = tempfile::tempdir().unwrap();
    let tree = world.path().join("tree");
    fs::create_dir_all(tree.join("cache")).unwrap();
    for name in ["a", "b.part", "c"] {
        fs::write(tree.join(name), name).unwrap();
    }
    let place = Place { file: FileId(0), span: Span { start: 0, end: 0 } };
    let pattern = |text: &str| Pattern { place, text: text.to_owned() };
    let files = Files {
        paths: vec![FilesPath { place, absolute: tree.clone(), inside: PathBuf::from("tree") }],
        exclude: vec![pattern("*.part"), pattern("cache/")],
        exclude_caches: false,
        one_file_system: false,
        max_file_size: None,
        compare: Compare::Mtime,
        root: None,
    };
    let trees = Trees { source: "s".to_owned(), files, optional: false, strict: true, mounts: Vec::new() };
    // The walk has read the names of its folder when it comes to the first of them.
    let mut visit = |entry: &super::Scanned| {
        if entry.path.ends_with(b"/a") {
            fs::remove_file(tree.join("b.part")).unwrap();
            fs::remove_file(tree.join("c")).unwrap();
            fs::remove_dir(tree.join("cache")).unwrap();
        }
        Ok::<(), ScanError>(())
    };
    let top = roots::tree(&trees).unwrap();
    let (summary, _) = Walk::new(&trees, &Control::default(), &mut visit).run(&top, now()).unwrap();
    let told: Vec<_> =
        summary.warnings.kept().iter().map(|warning| (warning.kind, warning.path.clone())).collect();
    assert_eq!(told, [(WarningKind::Vanished, tree.join("c"))]);
}
