//! What is said of `exclude`, and that what is advised does what its author wanted.

use backplan_compiler::finding::Finding;
use backplan_compiler::model::SourceKind;
use backplan_compiler::pattern::{Patterns, literal};
use proptest::prelude::*;

use crate::common::{applied, compile_files};

/// A plan of one source with these patterns, as they stand in a list.
fn plan(patterns: &[&str]) -> String {
    let listed: Vec<String> = patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
    format!(
        "plan t\nstore local: dir {{ path = \"/b\" }}\nsource site: files {{ paths = [\"/s\"], exclude = [{}] }}\n\
         archive a {{ from = [site], to = [local] }}\n",
        listed.join(", ")
    )
}

fn findings(patterns: &[&str]) -> Vec<Finding> {
    compile_files(&[("t.plan", &plan(patterns))]).1.findings
}

fn names(patterns: &[&str]) -> Vec<&'static str> {
    findings(patterns).iter().map(|finding| finding.name).collect()
}

#[test]
fn what_leaves_no_file_is_an_error() {
    for swallowing in [
        &["*"][..],
        &["**"],
        &["/*"],
        &["/**"],
        &["**/*"],
        &[".*", "[!.]*"],
        &["*.tmp", "/*"],
        &["*", "!*/"],
        &["!x", "*"],
        &["?*"],
        &["[a-z]*", "[^a-z]*"],
        &["*", "!/keep/"],
        &["*", "!*/", "!a/b/", "*.txt"],
    ] {
        assert!(names(swallowing).contains(&"swallowed_path"), "{swallowing:?}");
    }
    for leaving in [
        &["/[!p]*"][..],
        &["a{b"],
        &["*.tmp"],
        &["*/"],
        &["/a"],
        &["a/**"],
        &[".*", "*.*", "[a-z]*"],
        &["*", "!*/", "!*.txt"],
        &["*", "!/keep"],
        &["/*", "!/content/"],
        &["[!a-z]*", "!Makefile"],
        &["{foo,bar}"],
        &["[[:space:]]*"],
    ] {
        assert_eq!(names(leaving), [""; 0], "{leaving:?}");
    }
}

#[test]
fn what_git_never_matches_does_nothing() {
    for useless in
        ["a[b", "x[[:foo:]]", "a\\", "a//b", "./a", "../a", "a/../b", "~/a", "#a", "/", "**//", "!", ""]
    {
        assert_eq!(names(&[useless]), ["useless_pattern"], "{useless}");
    }
    for odd in ["a\t", "x\\ ", "\\[a", "[]]", "\\#a", "...", "a**", "**/"] {
        assert_eq!(names(&[odd]), [""; 0], "{odd}");
    }
}

#[test]
fn what_takes_nothing_back_does_nothing() {
    for useless in [
        &["!a"][..],
        &["!a", "b"],
        &["*.tmp", "!keep"],
        &["/content", "!/content/a"],
        &["cache", "!cache/keep/me"],
        &["node_modules", "!node_modules/*.js"],
    ] {
        assert_eq!(names(useless), ["useless_pattern"], "{useless:?}");
    }
    for useful in [
        &["*.tmp", "!keep.tmp"][..],
        &["/content/*", "!/content/a"],
        &["/a/**", "!/a/*/", "!/a/*/keep"],
        &["cache", "!/cache"],
        &["*.d", "!/etc/*.d"],
    ] {
        assert_eq!(names(useful), [""; 0], "{useful:?}");
    }
}

/// `exclude` after the advice for its only finding was followed.
fn mended(patterns: &[&str]) -> Patterns {
    let text = plan(patterns);
    let (set, compiled) = compile_files(&[("t.plan", &text)]);
    let [finding] = compiled.findings.as_slice() else { panic!("{patterns:?}: {:?}", compiled.findings) };
    let text = applied(&set, &finding.mends[0]);
    let (_, compiled) = compile_files(&[("t.plan", &text)]);
    assert!(compiled.findings.is_empty(), "{text}\n{:?}", compiled.findings);
    let model = compiled.model.unwrap();
    let SourceKind::Files(files) = &model.sources[0].kind else { panic!("no files") };
    Patterns::new(files.exclude.iter().map(|pattern| pattern.text.as_str()))
}

fn is_in(patterns: &Patterns, path: &str) -> bool {
    patterns.left_out(path.as_bytes(), false).is_none()
}

#[test]
fn what_is_taken_back_as_advised_is_there_and_nothing_else() {
    let films = mended(&["/content/video", "!/content/video/seriesdv/keep.mp4"]);
    for (path, wanted) in [
        ("content/video/seriesdv/keep.mp4", true),
        ("content/video/seriesdv/other.mp4", false),
        ("content/video/other/keep.mp4", false),
        ("content/video/a", false),
        ("content/text/a", true),
        ("other/content/video/a", true),
    ] {
        assert_eq!(is_in(&films, path), wanted, "{path}");
    }
    let nested = mended(&["node_modules/", "*.log", "!/app/node_modules/mine/"]);
    for (path, wanted) in [
        ("app/node_modules/mine/a.js", true),
        ("app/node_modules/theirs/a.js", false),
        ("lib/node_modules/mine/a.js", false),
        ("app/node_modules/mine/a.log", false),
        ("app/a.js", true),
    ] {
        assert_eq!(is_in(&nested, path), wanted, "{path}");
    }
    assert!(!is_in(&mended(&["./cache"]), "cache/a"));
    assert!(is_in(&mended(&["./cache"]), "a/cache"));
    assert!(!is_in(&mended(&["/s/cache"]), "cache/a"));
    assert!(!is_in(&mended(&["#a"]), "b/#a"));
}

proptest! {
    /// A path that is written as a pattern matches itself alone.
    #[test]
    fn literals_stand_for_themselves(
        path in "[a-c*?\\[\\]\\\\!# /{}-]{1,8}", other in "[a-c*?\\[\\]\\\\!# /{}-]{1,8}",
    ) {
        let is_path = |path: &str| path.split('/').all(|name| !name.is_empty());
        prop_assume!(is_path(&path) && is_path(&other) && path != other);
        let pattern = format!("/{}", literal(&path));
        let patterns = Patterns::new([pattern.as_str()]);
        prop_assert!(patterns.verdict(path.as_bytes(), false).is_left_out(), "{pattern}");
        prop_assert!(!patterns.verdict(other.as_bytes(), false).is_left_out(), "{pattern}");
    }
}
