//! The plans that the language was designed against: their trees, and that they are in the house style already.

use crate::outline::outline;
use backplan_grammar::{format, parse};

const SAMPLES: [(&str, &str); 5] = [
    ("quickstart", include_str!("samples/quickstart.plan")),
    ("alation", include_str!("samples/alation.plan")),
    ("separate", include_str!("samples/separate.plan")),
    ("node1", include_str!("samples/node1.plan")),
    ("nextcloud", include_str!("samples/nextcloud.plan")),
];

#[test]
fn samples_have_the_trees_that_a_reader_expects() {
    for (name, text) in SAMPLES {
        let parsed = parse(text);
        assert_eq!(parsed.errors, [], "{name}");
        insta::assert_snapshot!(name, outline(&parsed.ast));
    }
}

#[test]
fn samples_are_in_the_house_style() {
    for (name, text) in SAMPLES {
        assert_eq!(format(text).unwrap(), text, "{name}");
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    for (name, text) in SAMPLES {
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let parsed = parse(&windows);
        assert_eq!(parsed.errors, [], "{name}");
        assert_eq!(outline(&parsed.ast), outline(&parse(text).ast), "{name}");
        assert_eq!(format(&windows).unwrap(), text, "{name}");
    }
}

/// Every span, cut from the text, is what it claims to be.
#[test]
fn spans_point_at_what_was_written() {
    use backplan_grammar::ast::{Entry, Item};
    let text = include_str!("samples/quickstart.plan");
    let ast = parse(text).ast;
    let cut = |span: backplan_grammar::Span| &text[span.start..span.end];
    let Item::Decl(source) = &ast.items[2] else { panic!("a declaration") };
    assert_eq!(
        cut(source.span),
        "source notes: files {\n  paths   = [\"notes\"]\n  exclude = [\"*.tmp\"]\n}"
    );
    assert_eq!(cut(source.kind.span), "source");
    assert_eq!(cut(source.name.as_ref().unwrap().span), "notes");
    assert_eq!(cut(source.ty.as_ref().unwrap().span), "files");
    let Entry::Attr(paths) = &source.body[0] else { panic!("an attribute") };
    assert_eq!(cut(paths.span), "paths   = [\"notes\"]");
    assert_eq!(cut(paths.name.span), "paths");
    assert_eq!(cut(paths.value.span), "[\"notes\"]");
    assert!(cut(ast.comments[0].span).ends_with("nothing installed."));
}
