//! What holds for every text: no panic, sound spans; and for every plan: formatting settles at once and changes no tree.

use crate::outline::items;
use backplan_grammar::{format, parse};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,8}".prop_filter("a value", |word| {
        !matches!(word.as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "none" | "nil")
            && !matches!(
                word.as_str(),
                "plan" | "let" | "param" | "import" | "every" | "daily" | "weekly" | "monthly"
            )
    })
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("  "), Just("\t")]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}(s|m|h|d|w|B|KiB|MB|GiB|MiB/s)?",
        Just("02:30".to_string()),
        "'[ -&(-~é→]{0,50}'",
        "\"([ !%-\\[\\]-z|~é]|\\\\n|\\\\\\$){0,50}\"",
        name(),
        Just("true".to_string()),
        Just("daily  at 02:30".to_string()),
        Just("weekly on sun at 03:00".to_string()),
        "[1-9]s {0,2}\\.\\. {0,2}[1-9]m",
        name().prop_map(|name| format!("\"a ${{ {name} }} b\"")),
    ]
}

/// What may stand between two elements of a list or behind its opener.
fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just(""),
        3 => Just(" "),
        1 => Just("\n"),
        1 => Just("\n\n\n"),
        1 => Just(" # a comment\n"),
        1 => Just("\n # own\n\n #other  \n"),
    ]
}

fn expr() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 24, 5, |inner| {
        let element =
            (gap(), inner, gap()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let elements = (prop::collection::vec(element, 0..5), any::<bool>(), gap()).prop_map(
            |(elements, comma, gap)| {
                let comma = if comma && !elements.is_empty() { "," } else { "" };
                format!("{}{comma}{gap}", elements.join(","))
            },
        );
        (prop::option::of(name()), elements).prop_map(|(call, elements)| match call {
            Some(name) => format!("{name}({elements})"),
            None => format!("[{elements}]"),
        })
    })
}

fn attr() -> impl Strategy<Value = String> {
    (name(), blank(), blank(), expr())
        .prop_map(|(name, before, after, value)| format!("{name}{before}={after}{value}"))
}

fn end() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("\n"),
        1 => Just(",\n"),
        1 => Just(","),
        1 => Just(" , # trailing\n"),
        1 => Just("# trailing \r\n"),
        1 => Just("\n\n\n"),
        1 => Just("\n  # own\n"),
        1 => Just("\n\n# own\n\n"),
    ]
}

fn block() -> impl Strategy<Value = String> {
    let flat = (prop::collection::vec(attr(), 0..4), blank())
        .prop_map(|(attrs, blank)| format!("{{{blank}{}{blank}}}", attrs.join(",")));
    let body = flat.prop_recursive(2, 12, 4, |inner| {
        let nested = (name(), inner).prop_map(|(name, body)| format!("{name} {body}"));
        let statement =
            (prop_oneof![3 => attr(), 1 => nested], end()).prop_map(|(text, end)| format!("{text}{end}"));
        (end(), prop::collection::vec(statement, 0..5))
            .prop_map(|(start, body)| format!("{{{}{}}}", start.replace(',', ""), body.concat()))
    });
    (name(), prop::option::of(name()), prop::option::of(name()), body).prop_map(|(kind, name, ty, body)| {
        let name = name.map_or(String::new(), |name| format!(" {name}"));
        let ty = ty.map_or(String::new(), |ty| format!(":{ty}"));
        format!("{kind}{name}{ty}{body}")
    })
}

fn plan() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        3 => block(),
        2 => (name(), expr()).prop_map(|(name, value)| format!("let {name}={value}")),
        1 => (name(), name(), expr()).prop_map(|(name, ty, value)| format!("param {name} :{ty}= {value}")),
        1 => name().prop_map(|name| format!("param {name}")),
        1 => name().prop_map(|name| format!("plan {name}")),
        1 => attr().prop_map(|attr| format!("import 'a.plan' {{{attr}}}")),
    ];
    let item = (item, end()).prop_map(|(item, end)| format!("{item}{}\n", end.replace(',', "")));
    prop::collection::vec(item, 0..8).prop_map(|items| items.concat())
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        "[a-z]{1,3}",
        "[0-9]{1,2}[a-zA-Z/:.]{0,3}",
        "[\\[\\](){}]",
        "[,:=\n\"'#$\\\\]",
        Just("${".into()),
        Just("..".into()),
        Just("let ".into()),
        Just("plan ".into()),
        Just("daily at ".into()),
        Just("\r\n".into()),
        Just(" ".into()),
        Just("a = ".into()),
        Just("source x: files {\n".into()),
        Just("//".into()),
        Just("é“".into()),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// Every error points into the text, at whole characters, and what has no error can be formatted.
fn sound(text: &str) -> Result<(), proptest::test_runner::TestCaseError> {
    let parsed = parse(text);
    for error in &parsed.errors {
        prop_assert!(text.get(error.span.start..error.span.end).is_some(), "{:?}", error);
        prop_assert!(!error.message.is_empty());
    }
    prop_assert_eq!(format(text).is_ok(), parsed.errors.is_empty());
    if let Ok(once) = format(text) {
        prop_assert_eq!(items(&parse(&once).ast), items(&parsed.ast));
        prop_assert_eq!(format(&once).unwrap(), once);
    }
    Ok(())
}

fn sorted_comments(text: &str) -> Vec<String> {
    let mut comments: Vec<_> = parse(text).ast.comments.into_iter().map(|comment| comment.node).collect();
    comments.sort();
    comments
}

/// All that is written but blanks, line ends and commas: what formatting may change is these alone.
fn written(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}

/// Comments as people write them: tight, with tabs, in other scripts, with what looks like language, with line ends of Windows.
fn comment() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just(String::new()),
        Just("#".to_owned()),
        Just("\t tab\tin it \t".to_owned()),
        Just(" \u{fc}ber \u{1f984} \u{202e}x e\u{301} ".to_owned()),
        Just(" allow: unused_let it is for later".to_owned()),
        Just("} ] ) \" ' ${ , # = {".to_owned()),
        Just(format!(" {}", "long ".repeat(60))),
        "[ -~]{0,40}",
    ];
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n\n"), 1 => Just("\n\t\n")];
    (text, end).prop_map(|(text, end)| format!("#{text}{end}"))
}

/// A whole plan with comments wherever a blank, a line end or a bracket leaves room for one.
fn commented() -> impl Strategy<Value = String> {
    let samples = [
        include_str!("samples/alation.plan"),
        include_str!("samples/nextcloud.plan"),
        include_str!("samples/node1.plan"),
        include_str!("samples/quickstart.plan"),
        include_str!("samples/separate.plan"),
    ];
    let put = (any::<prop::sample::Index>(), comment(), any::<bool>());
    (prop::sample::select(samples.to_vec()), prop::collection::vec(put, 1..12), any::<bool>()).prop_map(
        |(sample, comments, windows)| {
            let mut text = sample.to_owned();
            for (at, comment, own_line) in comments {
                let mark = |c: char| c.is_whitespace() || "{}[](),".contains(c);
                let places: Vec<usize> =
                    text.match_indices(mark).flat_map(|(at, found)| [at, at + found.len()]).collect();
                let place = places[at.index(places.len())];
                let comment = if own_line { format!("\n  {comment}") } else { format!(" {comment}") };
                let with = format!("{}{comment}{}", &text[..place], &text[place..]);
                // In some places the grammar has no room for a line end, and none inside a string or a comment is one.
                if parse(&with).errors.is_empty() {
                    text = with;
                }
            }
            if windows && !text.contains('\r') { text.replace('\n', "\r\n") } else { text }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        sound(&text)?;
    }

    #[test]
    fn token_soup_gets_an_answer(text in soup()) {
        sound(&text)?;
    }

    #[test]
    fn a_damaged_plan_gets_an_answer(text in plan(), cut in any::<prop::sample::Index>(), put in "[\\[{(\"'}\\])]{0,2}") {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = places[cut.index(places.len())];
        sound(&format!("{}{put}{}", &text[..at], &text[at..]))?;
        sound(&text[..at])?;
    }

    #[test]
    fn formatting_changes_no_tree_and_settles_at_once(text in plan()) {
        let parsed = parse(&text);
        prop_assert_eq!(&parsed.errors, &[], "{}", text);
        let once = format(&text).unwrap();
        let again = parse(&once);
        prop_assert_eq!(&again.errors, &[], "{}", once);
        prop_assert_eq!(items(&again.ast), items(&parsed.ast));
        prop_assert_eq!(sorted_comments(&once), sorted_comments(&text));
        prop_assert_eq!(written(&once), written(&text));
        prop_assert_eq!(format(&once).unwrap(), &once[..]);
        prop_assert!(once.lines().all(|line| line.trim_end() == line), "{}", once);
    }

    #[test]
    fn comments_stay_where_they_are_written(text in commented()) {
        let parsed = parse(&text);
        prop_assert_eq!(&parsed.errors, &[], "{}", text);
        let once = format(&text).unwrap();
        let again = parse(&once);
        prop_assert_eq!(&again.errors, &[], "{}", once);
        prop_assert_eq!(items(&again.ast), items(&parsed.ast), "{}\n=>\n{}", text, once);
        prop_assert_eq!(written(&once), written(&text), "{}\n=>\n{}", text, once);
        prop_assert_eq!(format(&once).unwrap(), &once[..]);
    }
}
