//! Caps: hostile and accidental input gets an error in no time, never a crash.

use backplan_grammar::parse::{MAX_BYTES, MAX_DEPTH, MAX_ERRORS};
use backplan_grammar::{format, parse};
use std::time::{Duration, Instant};

/// The name of the first error, which must come soon: the bound is for unoptimised code on a busy machine.
fn verdict(text: &str) -> &'static str {
    let start = Instant::now();
    let parsed = parse(text);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!parsed.errors.is_empty());
    assert!(parsed.errors.len() <= MAX_ERRORS);
    assert!(format(text).is_err());
    parsed.errors[0].name
}

#[test]
fn ten_megabytes_of_brackets_are_too_large() {
    for unit in ["[", "{", "(", "${", "\"${", "]", "a {\n"] {
        let text = unit.repeat(10_000_000 / unit.len());
        let start = Instant::now();
        assert_eq!(verdict(&text), "file_too_large");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn a_megabyte_of_brackets_is_too_deep() {
    for unit in ["[", "{", "(", "${", "\"${", "a {\n", "a = [\n", "f("] {
        let text = unit.repeat(MAX_BYTES / unit.len());
        assert_eq!(verdict(&text), "nesting_too_deep", "{unit}");
    }
}

#[test]
fn a_quarter_megabyte_of_anything_ends() {
    for unit in [
        "]", "}", "\"", "'", ",", "=", "a", "a ", "a\n", "a = \n", "[]", "{}", "/", "\\", ".", "1:", "#",
        "a={}\n",
    ] {
        for start in ["", "x {\n", "let a = [", "let a = \""] {
            let text = format!("{start}{}", unit.repeat(MAX_BYTES / 4 / unit.len()));
            let began = Instant::now();
            let parsed = parse(&text);
            assert!(began.elapsed() < Duration::from_secs(20), "{start}{unit}: {:?}", began.elapsed());
            assert!(parsed.errors.len() <= MAX_ERRORS);
        }
    }
}

/// Closers that match nothing must not hide how deep it goes.
#[test]
fn brackets_that_do_not_match_are_too_deep_all_the_same() {
    for unit in ["{]", "{)", "x {]\n", "[{]", "({)]", "x { a = [ ) ( ] )\n"] {
        assert_eq!(verdict(&unit.repeat(MAX_BYTES / unit.len())), "nesting_too_deep", "{unit}");
    }
    for unit in ["[}", "[)", "(]", "[(]", "[\"]", "{ [\n}", "{\n", "{[}", "x{(}"] {
        let text = unit.repeat(MAX_BYTES / 4 / unit.len());
        verdict(&text);
        verdict(&format!("{text}\""));
    }
}

#[test]
fn nesting_is_counted_over_blocks_lists_calls_and_interpolations() {
    let list = |depth: usize| format!("let x = {}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(parse(&list(MAX_DEPTH)).errors, []);
    assert_eq!(format(&list(MAX_DEPTH)).unwrap().trim_end(), list(MAX_DEPTH));
    let parsed = parse(&list(MAX_DEPTH + 1));
    assert_eq!(parsed.errors[0].name, "nesting_too_deep");
    assert_eq!(parsed.errors[0].span.start, "let x = ".len() + MAX_DEPTH);
    let half = MAX_DEPTH / 2;
    let mixed = |more: usize| {
        let (open, close) = ("\"${f(".repeat(half / 2 + more), ")}\"".repeat(half / 2 + more));
        format!("{}a = {open}1{close}{}", "x {\n".repeat(half), "\n}".repeat(half))
    };
    assert_eq!(parse(&mixed(0)).errors, []);
    assert_eq!(verdict(&mixed(half)), "nesting_too_deep");
}

/// The deepest plans that are read need little stack, also to be formatted and dropped.
#[test]
fn the_cap_on_nesting_leaves_the_stack_room() {
    let nested =
        |open: &str, close: &str| format!("let x = {}1{}", open.repeat(MAX_DEPTH), close.repeat(MAX_DEPTH));
    let blocks = format!("{}{}", "x {\n".repeat(MAX_DEPTH), "}\n".repeat(MAX_DEPTH));
    let texts = [nested("[", "]"), nested("f(", ")"), nested("\"${", "}\""), blocks];
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let work = move || {
        for text in texts {
            assert_eq!(parse(&text).errors, []);
            assert!(format(&text).is_ok());
        }
    };
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn only_text_is_read() {
    for (text, at) in
        [("plan x\n\0", 7), ("let x = \"\u{1b}[31m\"", 9), ("plan x\rplan y", 6), ("# \u{202e}evil", 2)]
    {
        let parsed = parse(text);
        assert_eq!(parsed.errors.len(), 1);
        assert_eq!((parsed.errors[0].name, parsed.errors[0].span.start), ("not_text", at));
    }
}

#[test]
fn at_most_fifty_errors_are_told() {
    assert_eq!(parse(&"let x = 10min\n".repeat(1000)).errors.len(), MAX_ERRORS);
    let list = format!("let x = [{}]", "10min, ".repeat(1000));
    assert_eq!(parse(&list).errors.len(), MAX_ERRORS);
}

#[test]
fn an_empty_file_is_no_error() {
    for text in ["", "\n", "\u{feff}", "# only a comment", "\r\n\r\n"] {
        assert_eq!(parse(text).errors, [], "{text:?}");
    }
    assert_eq!(format("").unwrap(), "");
    assert_eq!(format("\n\n").unwrap(), "");
    assert_eq!(format("# c").unwrap(), "# c\n");
}
