//! Every text that fuzzing found worth keeping, held against what must be true of every text. No fuzzer is needed.

#[path = "../../../fuzz/src/properties.rs"]
mod properties;

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the corpus that this target found.
fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Holds every text of the target's corpus against all that is known of texts, whichever target found it.
fn hold(target: &str) {
    let mut held = 0;
    for entry in fs::read_dir(corpus(target)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let Some(text) = properties::text(&bytes) else { continue };
        // Told when one of them fails, which is by a panic.
        eprintln!("{}", path.display());
        properties::parse(text);
        properties::format(text);
        properties::check(text);
        held += 1;
    }
    assert!(held > 100, "the corpus of `{target}` has only {held} texts");
}

#[test]
fn texts_that_the_parser_was_fuzzed_with() {
    hold("parse");
}

#[test]
fn texts_that_the_formatter_was_fuzzed_with() {
    hold("format");
}

#[test]
fn texts_that_the_checker_was_fuzzed_with() {
    hold("check");
}
