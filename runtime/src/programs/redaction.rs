//! Takes secrets out of text: as they are, line by line, and as programs that talk to the network write them.

use std::collections::BTreeSet;
use std::ops::Range;

/// What is shown in a secret's place.
const SHOWN: &str = "(secret)";
/// Bytes of the shortest secret that is looked for in another form, and of the shortest line of one that is looked for alone.
const SHORTEST: usize = 3;

/// How a secret may look in what is shown.
pub fn forms(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([secret.to_owned(), secret.trim().to_owned()]);
    if secret.trim().len() >= SHORTEST {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
        forms.extend(lines.map(str::to_owned));
        let unspaced = |text: &str| percent(text, false).replace("%20", "+");
        forms.extend([percent(secret, false), percent(secret, true), unspaced(secret)]);
        forms.extend(serde_json::to_string(secret).ok().map(|json| json[1..json.len() - 1].to_owned()));
        forms.insert(secret.replace('\'', "'\\''"));
        forms.insert(secret.replace('\'', "''"));
        forms
            .extend((0..3).flat_map(|before| [base64(secret, before, b"+/"), base64(secret, before, b"-_")]));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// `text` without anything that a form covers. What two of them cover in part goes as a whole: nothing of the longer one stays.
pub fn redact<'a>(text: &str, forms: impl Iterator<Item = &'a str>) -> String {
    let mut covered: Vec<Range<usize>> = forms.flat_map(|form| found(text, form)).collect();
    if covered.is_empty() {
        return text.to_owned();
    }
    covered.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let (mut shown, mut hidden) = (0, 0);
    for range in covered {
        if range.start >= hidden {
            out.push_str(&text[shown.max(hidden)..range.start]);
            out.push_str(SHOWN);
        }
        hidden = hidden.max(range.end);
        shown = hidden;
    }
    out.push_str(&text[hidden..]);
    out
}

/// Where a form is in a text, also where it overlaps itself.
fn found<'a>(text: &'a str, form: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let step = form.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + text.get(from..)?.find(form)?;
        from = at + step;
        Some(at..at + form.len())
    })
}

/// As in an address.
fn percent(text: &str, is_lower: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            byte if is_lower => out.push_str(&format!("%{byte:02x}")),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The letters of base64 that depend on the secret alone, behind `before` bytes of something else, as in `user:password`.
fn base64(text: &str, before: usize, last: &[u8; 2]) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let letter = |at: usize| {
        let bit = at * 6;
        let pair = u16::from(bytes[bit / 8]) << 8 | bytes.get(bit / 8 + 1).map_or(0, |byte| u16::from(*byte));
        match ((pair >> (10 - bit % 8)) & 63) as u8 {
            value @ 0..26 => b'A' + value,
            value @ 26..52 => b'a' + value - 26,
            value @ 52..62 => b'0' + value - 52,
            value => last[usize::from(value - 62)],
        }
    };
    let letters: String = (first..end).map(|at| char::from(letter(at))).collect();
    // Of few letters many words are made.
    if letters.len() < 2 * SHORTEST { String::new() } else { letters }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn without(text: &str, secrets: &[&str]) -> String {
        let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        redact(text, forms.iter().map(String::as_str))
    }

    #[test]
    fn the_longest_goes_whatever_was_fetched_first() {
        for secrets in [["hunter", "hunter2024hunter"], ["hunter2024hunter", "hunter"]] {
            assert_eq!(without("a hunter2024hunter b hunter c", &secrets), "a (secret) b (secret) c");
        }
        assert_eq!(without("x abcdef y", &["abcd", "cdef"]), "x (secret) y");
        assert_eq!(without("aaaaa", &["aaa"]), "(secret)");
        assert_eq!(without("größe größe", &["ö", "röß"]), "g(secret)e g(secret)e");
    }

    #[test]
    fn a_secret_goes_in_the_forms_that_programs_write_it_in() {
        let secret = "p@ss w'ord/\"9";
        for text in [
            "p%40ss%20w%27ord%2F%229",
            "p%40ss+w%27ord%2F%229",
            "p%40ss%20w%27ord%2f%229",
            r#"p@ss w'ord/\"9"#,
            r#"p@ss w'\''ord/"9"#,
            r#"p@ss w''ord/"9"#,
        ] {
            assert_eq!(without(&format!("<{text}>"), &[secret]), "<(secret)>", "{text}");
        }
        // printf %s "$SECRET" | base64, and with one and two and three letters before it.
        for (text, shown) in [
            ("cEBzcyB3J29yZC8iOQ==", "(secret)Q=="),
            ("YTpwQHNzIHcnb3JkLyI5", "YTp(secret)"),
            ("dXM6cEBzcyB3J29yZC8iOQ==", "dXM6(secret)Q=="),
        ] {
            let got = without(text, &[secret]);
            assert!(got.starts_with(shown.split("(secret)").next().unwrap()) && got.contains(SHOWN), "{got}");
            assert!(!got.contains("cyB3J29y") && !got.contains("zIHcnb3"), "{got}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_goes_line_by_line() {
        let key = "-----BEGIN-----\nabcdef\n  ghijkl\n-----END-----\n";
        assert_eq!(without("x abcdef", &[key]), "x (secret)");
        assert_eq!(without("ghijkl y", &[key]), "(secret) y");
        assert_eq!(without("nothing here", &[key, ""]), "nothing here");
    }
}
