//! Names of files as text: any bytes that are no line's end and no NUL may be one, and none may steer a terminal.

use std::fmt::Write;

/// Text as it is, other bytes and what would steer a terminal as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    let escape = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(out, "\\x{byte:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() || steers(c) {
                true => escape(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => out.push(c),
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

/// Whether a character would steer a terminal or reorder a line. Ends of lines and tabs do not.
pub fn steers(c: char) -> bool {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || (c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn odd_bytes_are_shown_by_their_numbers() {
        assert_eq!(printable("a ü".as_bytes()), "a ü");
        assert_eq!(printable(b"a\tb\nc\x1b[2J\xff"), "a\\x09b\\x0ac\\x1b[2J\\xff");
        assert_eq!(printable("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
    }
}
