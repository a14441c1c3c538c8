//! Every mistake: the message, the exact place, the mend; and that the rest of the file is read all the same.

use crate::outline;
use backplan_grammar::{ParseError, parse};

/// The text with a line of carets under each error's line, and the error behind it.
fn shown(text: &str) -> String {
    let errors = parse(text).errors;
    let mut out = String::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        out.push_str(&format!("{}\n", line.trim_end()));
        for error in errors.iter().filter(|error| (start..end.max(start + 1)).contains(&error.span.start)) {
            let before = text[start..error.span.start].chars().count();
            let carets = text[error.span.start..error.span.end].chars().count();
            let help = error.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            out.push_str(&format!("{}{} {}{help}\n", " ".repeat(before), "^".repeat(carets), error.message));
        }
        start = end;
    }
    out
}

fn all_shown(cases: &[&str]) -> String {
    cases.iter().map(|case| shown(case)).collect::<Vec<_>>().join("\n")
}

#[test]
fn items() {
    insta::assert_snapshot!(all_shown(&[
        "plan",
        "plan \"x\"",
        "plan x y",
        "plan x { a = 1 }",
        "plan true",
        "plan My-Plan",
        "plan 7up",
        "let",
        "let x",
        "let x 5",
        "let x =",
        "let x: int = 5",
        "let X = 5",
        "let x = 1, let y = 2",
        "param",
        "param x:",
        "param x: = 5",
        "param x int",
        "param x: Int",
        "import",
        "import company.plan",
        "import \"${x}.plan\"",
        "import \"a\" { b { c = 1 } }",
        "import \"a\" b",
        "store \"local\": dir { }",
        "store local: \"dir\" { }",
        "store local dir { }",
        "source files notes { }",
        "source a: b: c { }",
        "store local: dir",
        "wal x",
        "Keep { cycles = 2 }",
        "{ a = 1 }",
        "path = \"x\"",
        "keep = { cycles = 2 }",
        "keep: { cycles = 2 }",
        "keep:",
        "keep { } keep { }",
        "keep\n{ cycles = 2 }",
        "plän x",
        ", plan x",
    ]));
}

#[test]
fn values() {
    insta::assert_snapshot!(all_shown(&[
        "let x = 5 GB",
        "let x = 30 min",
        "let x = 10min",
        "let x = 3hours",
        "let x = 500ms",
        "let x = 2months",
        "let x = 1y",
        "let x = 1.5h",
        "let x = 1.5GiB",
        "let x = 1.3s",
        "let x = 1h30m",
        "let x = 5gb",
        "let x = 5G",
        "let x = 5Gi",
        "let x = 5parsecs",
        "let x = 10MB/min",
        "let x = 10Mbps",
        "let x = 10m/s",
        "let x = 1_000",
        "let x = -5",
        "let x = 10%",
        "let x = 9223372036854775808",
        "let x = 99999999999TiB",
        "let x = 99999999999999999w",
        "let x = 24:00",
        "let x = 2:30",
        "let x = 02:60",
        "let x = 02:30:00",
        "let x = 1..",
        "let x = ..1",
        "let x = 1..2..3",
        "let x = a..b",
        "let x = yes",
        "let x = Off",
        "let x = TRUE",
        "let x = null",
        "let x = my-db",
        "let x = Full",
        "let x = /data/x",
        "let x = data/x",
        "let x = ~/x",
        "let x = https://a.b/c",
        "let x = *.tmp",
        "let x = $y",
        "let x = “text”",
        "let x = 1;",
        "let x = a b",
        "let x = == 1",
        "let x = { a = 1 }",
        "let x =\n  \"a\"\nlet y = 1",
        "let x = a + b",
        "let x = 0 2 * * *",
        "let x = 2026-11-20",
    ]));
}

#[test]
fn lists_calls_and_schedules() {
    insta::assert_snapshot!(all_shown(&[
        "let x = [\"a\" \"b\"]",
        "let x = [a,, b]",
        "let x = [,]",
        "let x = [a; b]",
        "let x = [10min, 5, 3hours]",
        "let x = [a = 1]",
        "let x = f(a b)",
        "let x = f(",
        "let x = F()",
        "let x = f(a))",
        "let x = [a}",
        "let x = [a)",
        "let x = daily 02:30",
        "let x = daily at",
        "let x = daily at noon",
        "let x = daily at 25:00",
        "let x = weekly at 02:30",
        "let x = weekly on sunday at 03:00",
        "let x = weekly on 8 at 03:00",
        "let x = monthly on 32 at 03:00",
        "let x = monthly on 1",
        "let x = every day",
        "let x = every 30",
        "let x = every 0s",
        "let x = every 10min",
    ]));
}

#[test]
fn strings() {
    insta::assert_snapshot!(all_shown(&[
        "let x = \"abc",
        "let x = 'abc",
        "let x = [\"a, \"b\"]\nlet y = 1",
        "staging { path = \"x }\nlet y = 1",
        "let x = \"a ${b",
        "let x = \"a ${b\"",
        "let x = \"${}\"",
        "let x = \"a ${b c} d\"",
        "let x = \"${10min} ${yes}\"",
        "let x = \"\\q\"",
        "let x = \"C:\\data\"",
        "let x = \"\\u{110000} \\u{zz} \\u{} \\u41\"",
        "let x = \"a\" \"b\"",
        "let x = it's",
        "x { url = env(\"X }\ny { }",
    ]));
}

#[test]
fn blocks() {
    insta::assert_snapshot!(all_shown(&[
        "x {\n  path: \"a\"\n  path \"a\"\n  path\n  path =\n  a == 1\n  b = 1 // why\n  c = 2\n}",
        "x {\n  let y = 1\n  import \"a\"\n  param z\n}",
        "x { a = 1,, b = 2 }",
        "x { a = 1 b = 2 }",
        "x {\n  , a = 1\n}",
        "x { keep { full = 2 } a = 1 }",
        "x {\n  paths = [\"a\"\n  exclude = [\"b\"]\n}",
        "x {\n  paths = [\"a\"\n}\ny { }",
        "x {\n  paths = \"a\"]\n}",
        "x {\n  a = 1\n\nsource y: files {\n  b = 1\n}\nlet z = 10min",
        "x {\n  keep { full = 2\n}\ny { }",
        "x {\n  a = 1\n}\n}\ny { b = 10min }",
        "store local: dir\n  path = \"x\"\n}\nx { }",
        "x {",
        "x { a = [",
        "// a comment\nplan x",
    ]));
}

#[test]
fn one_bad_statement_costs_one_error_and_nothing_else() {
    let text = "plan x\nstore a: dir {\n  one = 1\n  two: 2\n  three = [3\n  four = 4\n  keep { five = 5parsecs, six = 6 }\n}\nlet y = \"z\nwal b { }\n";
    let parsed = parse(text);
    assert_eq!(parsed.errors.len(), 4, "{:#?}", parsed.errors);
    insta::assert_snapshot!(outline::items(&parsed.ast), @r"
    plan x
    store a: dir
      one = int(1)
      four = int(4)
      keep -: -
        six = int(6)
    wal b: -
    ");
}

#[test]
fn errors_come_in_source_order_and_no_token_is_blamed_twice() {
    let text = "x {\n  a: 1\n  b = \"c\n  d = [1, 2\n  e = 10min\n}\n)\nlet f = yes\n";
    let spans: Vec<_> = parse(text).errors.iter().map(|error| error.span).collect();
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
    assert_eq!(spans.len(), 6);
}

#[test]
fn messages_speak_no_grammar_rule_names() {
    let rules =
        ["kw_", "EOI", "close_", "open_", "block_name", "type_name", "reference", "quantity", "word_start"];
    for text in [
        "let x = [",
        "let x = (",
        "x = = =",
        "let [ ] = 5",
        "plan (",
        "import { }",
        "let x = f(1",
        "a b c d e",
    ] {
        for ParseError { message, .. } in parse(text).errors {
            assert!(!rules.iter().any(|rule| message.contains(rule)), "{message}");
        }
    }
}

/// The text after the first mend of its first error.
fn mended(text: &str) -> Option<String> {
    let errors = parse(text).errors;
    let mend = errors.first()?.mends.first()?;
    let mut text = text.to_owned();
    text.replace_range(mend.span.start..mend.span.end, &mend.new);
    Some(text)
}

#[test]
fn what_a_program_can_mend_it_mends() {
    for (text, expected) in [
        ("let x == 1", "let x = 1"),
        ("let x = 5 GB", "let x = 5GB"),
        ("let x = 30 min", "let x = 30m"),
        ("let x = 10min", "let x = 10m"),
        ("let x = 1.5h", "let x = 90m"),
        ("let x = 1h30m", "let x = 90m"),
        ("let x = 5gb", "let x = 5GB"),
        ("let x = 10MB/min", "let x = 10MB/s"),
        ("let x = 1_000", "let x = 1000"),
        ("let x = 2:30", "let x = 02:30"),
        ("let x = yes", "let x = true"),
        ("let x = Full", "let x = full"),
        ("let X = 5", "let x = 5"),
        ("let x = /data/x", "let x = \"/data/x\""),
        ("let x = ~/x", "let x = \"~/x\""),
        ("let x = *.tmp", "let x = \"*.tmp\""),
        ("let x = $y", "let x = y"),
        ("let x = “text”", "let x = \"text\""),
        ("let x = 1;", "let x = 1"),
        ("let x =\u{a0} 1", "let x =  1"),
        ("let x 5", "let x = 5"),
        ("param x int", "param x: int"),
        ("store \"local\": dir { }", "store local: dir { }"),
        ("source files notes { }", "source notes: files { }"),
        ("keep = { cycles = 2 }", "keep { cycles = 2 }"),
        ("let x = [\"a\" \"b\"]", "let x = [\"a\", \"b\"]"),
        ("let x = f(a b)", "let x = f(a, b)"),
        ("let x = [a)", "let x = [a]"),
        ("let x = f(a))", "let x = f(a)"),
        ("let x = daily 02:30", "let x = daily at 02:30"),
        ("let x = weekly on sunday at 03:00", "let x = weekly on sun at 03:00"),
        ("let x = \"abc", "let x = \"abc\""),
        ("let x = 'abc  \nlet y = 1", "let x = 'abc'  \nlet y = 1"),
        ("staging { path = \"x }\nlet y = 1", "staging { path = \"x\" }\nlet y = 1"),
        ("x {\n  path: \"a\"\n}", "x {\n  path = \"a\"\n}"),
        ("x {\n  path \"a\"\n}", "x {\n  path = \"a\"\n}"),
        ("x { a = 1 b = 2 }", "x { a = 1\nb = 2 }"),
        ("x {\n  a = [\"a\" # why\n  b = [\"b\"]\n}", "x {\n  a = [\"a\"] # why\n  b = [\"b\"]\n}"),
    ] {
        let found = mended(text);
        assert_eq!(found.as_deref(), Some(expected), "{text}: {:#?}", parse(text).errors);
        assert_eq!(parse(expected).errors, [], "{expected}");
    }
    // What could be meant otherwise is left to whoever reads the help.
    for text in
        ["let x = a + b", "let x = [\"a, \"b\"]", "x {", "let x =", "let x = 5parsecs", "let x = 24:00"]
    {
        assert_eq!(mended(text), None, "{text}: {:#?}", parse(text).errors);
    }
}
