//! The house style, rule by rule.

use backplan_grammar::{format, parse};

/// Formats, and holds that doing it again changes nothing.
fn formatted(text: &str) -> String {
    let once = format(text).unwrap();
    assert_eq!(format(&once).unwrap(), once);
    assert_eq!(crate::outline::items(&parse(&once).ast), crate::outline::items(&parse(text).ast));
    once
}

#[test]
fn neighbours_are_aligned_and_a_blank_line_ends_it() {
    insta::assert_snapshot!(formatted(
        "let a=1\nlet long_name = 2\nparam x : string='a'\nparam yy\n\nlet b=3\nkeep {cycles=2}\ncycle{incrementals=4}\nx{ }\nstore s:dir {\n path='x'\n exclude=[]\n\n a=1\n list=[\n1]\n bb=2\n keep{full=2}\n schedule{ run=daily  at 02:30 }\n}"
    ), @r#"
    let a         = 1
    let long_name = 2
    param x: string = 'a'
    param yy

    let b = 3
    keep  { cycles = 2 }
    cycle { incrementals = 4 }
    x     {}

    store s: dir {
      path    = 'x'
      exclude = []

      a = 1
      list = [
        1,
      ]
      bb = 2
      keep     { full = 2 }
      schedule { run = daily at 02:30 }
    }
    "#);
}

#[test]
fn literals_stay_as_they_were_spelt() {
    insta::assert_snapshot!(
        formatted("x {\n a=24h, b=1d,c='raw',d=\"\\u{e9}${ y }\",e=007\n f=1  ..  3,g=f( a ,b, ),h=[ [a] , ]\n}"),
        @r#"
    x {
      a = 24h
      b = 1d
      c = 'raw'
      d = "\u{e9}${ y }"
      e = 007
      f = 1..3
      g = f(a, b)
      h = [[a]]
    }
    "#);
}

#[test]
fn comments_stay_where_they_were() {
    insta::assert_snapshot!(formatted(
        "#first\nplan x#behind\n\n\n\n# above\nstore s : dir { # opener\n\n# inside\npath='a' # one\nb='b', # two\n# last\n\n} # closer\n# directly behind\nlet l=[ # list\n'a', # a\n\n# own\n'b'# b\n, c # c\n# end\n] # closed\nwal y {\n# nothing else\n}\n# end"
    ), @r#"
    #first
    plan x                                    #behind

    # above
    store s: dir {                            # opener
      # inside
      path = 'a'                              # one
      b    = 'b'                              # two
      # last
    }                                         # closer

    # directly behind
    let l = [                                 # list
      'a',                                    # a

      # own
      'b',                                    # b
      c,                                      # c
      # end
    ]                                         # closed

    wal y {
      # nothing else
    }

    # end
    "#);
}

#[test]
fn comments_in_the_middle_of_an_element_go_above_it() {
    insta::assert_snapshot!(
        formatted("let l = [\n  1 # one\n  # two\n  .. # three\n  2 # four\n]"),
        @r"
    let l = [
      # one
      # two
      # three
      1..2,                                   # four
    ]
    ");
}

#[test]
fn comments_of_neighbours_are_aligned_beyond_the_column() {
    let long = "\"a text that goes beyond the column of comments\"";
    insta::assert_snapshot!(
        formatted(&format!("let a = 1 # one\nlet b = {long} # two\nlet c = 3\nlet d = 4 # four")),
        @r#"
    let a = 1                                                 # one
    let b = "a text that goes beyond the column of comments"  # two
    let c = 3
    let d = 4                                 # four
    "#);
}

#[test]
fn what_does_not_fit_a_line_is_spread() {
    let word = "\"a path of some length that fills the line\"";
    insta::assert_snapshot!(
        formatted(&format!(
            "let a = [{word}, {word}, {word}]\nlet b = exec([{word}, {word}, {word}])\nx {{ a = {word}, b = {word}, c = [d, {word}] }}\nlet c = 1"
        )),
        @r#"
    let a = [
      "a path of some length that fills the line",
      "a path of some length that fills the line",
      "a path of some length that fills the line",
    ]
    let b = exec([
      "a path of some length that fills the line",
      "a path of some length that fills the line",
      "a path of some length that fills the line",
    ])

    x {
      a = "a path of some length that fills the line"
      b = "a path of some length that fills the line"
      c = [d, "a path of some length that fills the line"]
    }

    let c = 1
    "#);
}

#[test]
fn a_plan_with_errors_is_not_rewritten() {
    let errors = format("let x = 10min\nlet y = 5 GB").unwrap_err();
    assert_eq!(errors.len(), 2);
}
