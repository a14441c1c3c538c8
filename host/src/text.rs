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

/// The bytes that a name stands for as it is shown; `None` where it is no other.
pub fn unescaped(shown: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(shown.len());
    let mut rest = shown;
    while let Some((first, behind)) = rest.split_first() {
        let byte = behind.strip_prefix(b"x").filter(|_| *first == b'\\').and_then(|digits| {
            let two = std::str::from_utf8(digits.get(..2)?).ok()?;
            u8::from_str_radix(two, 16).ok()
        });
        match byte {
            Some(byte) => (bytes.push(byte), rest = &behind[3..]).0,
            None => (bytes.push(*first), rest = behind).0,
        }
    }
    (bytes != shown).then_some(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hex; `None`: it is none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{printable, unescaped};

    #[test]
    fn odd_bytes_are_shown_by_their_numbers() {
        assert_eq!(printable("a ü".as_bytes()), "a ü");
        assert_eq!(printable(b"a\tb\nc\x1b[2J\xff"), "a\\x09b\\x0ac\\x1b[2J\\xff");
        assert_eq!(printable("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
    }

    #[test]
    fn names_are_read_back_as_they_are_shown() {
        assert_eq!(unescaped(b"a\\x09b\\xff"), Some(b"a\tb\xff".to_vec()));
        assert_eq!(unescaped(b"plain"), None);
        for odd in [&b"\\"[..], b"\\x", b"\\x9", b"\\xzz", b"x09"] {
            assert_eq!(unescaped(odd), None);
        }
    }
}
