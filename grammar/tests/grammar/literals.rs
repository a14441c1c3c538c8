//! What each literal means.

use crate::outline::expr;
use backplan_grammar::ast::Item;
use backplan_grammar::parse;

fn value(written: &str) -> String {
    let text = format!("let x = {written}\n");
    let parsed = parse(&text);
    assert_eq!(parsed.errors, [], "{written}");
    let [Item::Let(binding)] = parsed.ast.items.as_slice() else { panic!("one binding: {written}") };
    let span = binding.value.span;
    assert_eq!(&text[span.start..span.end], written);
    expr(&binding.value)
}

#[test]
fn literals_mean_what_the_language_says() {
    let cases = [
        ("12", "int(12)"),
        ("9223372036854775807", "int(9223372036854775807)"),
        ("true", "bool(true)"),
        ("false", "bool(false)"),
        ("90s", "duration(90s)"),
        ("15m", "duration(900s)"),
        ("6h", "duration(21600s)"),
        ("30d", "duration(2592000s)"),
        ("2w", "duration(1209600s)"),
        ("0s", "duration(0s)"),
        ("512B", "size(512B)"),
        ("64KiB", "size(65536B)"),
        ("2MiB", "size(2097152B)"),
        ("5GiB", "size(5368709120B)"),
        ("1TiB", "size(1099511627776B)"),
        ("3KB", "size(3000B)"),
        ("10MB", "size(10000000B)"),
        ("1GB", "size(1000000000B)"),
        ("1TB", "size(1000000000000B)"),
        ("50MiB/s", "rate(52428800B/s)"),
        ("1KB/s", "rate(1000B/s)"),
        ("02:30", "time(2:30)"),
        ("00:00", "time(0:0)"),
        ("23:59", "time(23:59)"),
        ("10s..10m", "range(duration(10s), duration(600s))"),
        ("1..3", "range(int(1), int(3))"),
        ("1 .. 3", "range(int(1), int(3))"),
        ("01:00..02:00", "range(time(1:0), time(2:0))"),
        ("[]", "[]"),
        ("[a, 1, \"x\"]", "[word(a), int(1), str(\"x\")]"),
        ("[a, b,]", "[word(a), word(b)]"),
        ("[\n  a, # first\n  b\n]", "[word(a), word(b)]"),
        ("[[a], []]", "[[word(a)], []]"),
        ("full", "word(full)"),
        ("plan", "word(plan)"),
        ("hourly", "word(hourly)"),
        ("daily", "word(daily)"),
        ("every_day", "word(every_day)"),
        ("host()", "call host()"),
        ("env(\"X\", \"y\")", "call env(str(\"X\"), str(\"y\"))"),
        ("exec([\"pass\", 'show'])", "call exec([str(\"pass\"), raw(\"show\")])"),
        ("every 30m", "every(1800s)"),
        ("daily at 02:30", "daily { at: (2, 30) }"),
        ("weekly on sun at 03:00", "weekly { day: 6, at: (3, 0) }"),
        ("weekly on mon at 03:00", "weekly { day: 0, at: (3, 0) }"),
        ("monthly on 31 at 04:00", "monthly { day: 31, at: (4, 0) }"),
    ];
    for (written, meant) in cases {
        assert_eq!(value(written), meant, "{written}");
    }
}

#[test]
fn strings_hold_escapes_and_expressions() {
    let cases = [
        (r#""""#, "str()"),
        (r#""a b # c""#, r##"str("a b # c")"##),
        (r#""\n\t\"\\\$\u{e9}""#, r#"str("\n\t\"\\$é")"#),
        (r#""ümläut →""#, r#"str("ümläut →")"#),
        (r#""$x { } $""#, r#"str("$x { } $")"#),
        (r#""\${x}""#, r#"str("${x}")"#),
        (r#""${data}/tmp""#, r#"str(${word(data)} "/tmp")"#),
        (r#""${ a }${b}""#, r#"str(${word(a)} ${word(b)})"#),
        (r#""x ${env("A", "b}")} y""#, r#"str("x " ${call env(str("A"), str("b}"))} " y")"#),
        (r#""${"${"deep"}"}""#, r#"str(${str(${str("deep")})})"#),
        (r#""${read('}"')}""#, r#"str(${call read(raw("}\""))})"#),
        (r"'raw \n ${x} #'", r#"raw("raw \\n ${x} #")"#),
        ("''", r#"raw("")"#),
    ];
    for (written, meant) in cases {
        assert_eq!(value(written), meant, "{written}");
    }
}

#[test]
fn keywords_of_items_are_ordinary_words_in_a_block() {
    let text = "x plan {\n  plan = plan\n  let = 1, import = 2\n  param { every = every }\n}\n";
    let parsed = parse(text);
    assert_eq!(parsed.errors, []);
    insta::assert_snapshot!(crate::outline::outline(&parsed.ast), @r"
    x plan: -
      plan = word(plan)
      let = int(1)
      import = int(2)
      param -: -
        every = word(every)
    ");
}
