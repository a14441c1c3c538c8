//! Text that a terminal can be trusted with.

use backplan_runtime::text::steers;

/// `text` with everything replaced that would steer a terminal or reorder a line, byte for byte, so that offsets into
/// it stay right. Ends of lines and tabs stay.
pub fn harmless(text: &str) -> String {
    if !text.chars().any(steers) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// What is told in one line, or in lines that are seen to go on from it: what others named or said begins none.
pub fn within_a_line(text: &str) -> String {
    going_on(harmless(text).split('\n').map(str::to_owned))
}

/// Lines that are seen to go on from the first.
pub fn going_on(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    for line in lines.iter_mut().skip(1).filter(|line| !line.is_empty() && !line.starts_with(' ')) {
        line.insert_str(0, "  ");
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{harmless, within_a_line};

    #[test]
    fn what_others_say_begins_no_line() {
        assert_eq!(within_a_line("`x\nerror: y`\n  z"), "`x\n  error: y`\n  z");
        assert_eq!(within_a_line("one"), "one");
    }

    #[test]
    fn keeps_offsets_and_takes_the_sting() {
        assert_eq!(harmless("a\u{1b}[2J\tü\n"), "a?[2J\tü\n");
        assert_eq!(harmless("a\u{202e}b"), "a???b");
    }
}
