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

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn keeps_offsets_and_takes_the_sting() {
        assert_eq!(harmless("a\u{1b}[2J\tü\n"), "a?[2J\tü\n");
        assert_eq!(harmless("a\u{202e}b"), "a???b");
    }
}
