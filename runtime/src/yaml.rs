//! Reading YAML that anybody may have written.
//!
//! The parser's time grows with the square of how deep a text nests, long before a type says that it is none. So what comes
//! from outside is first held, in one pass, against the little of YAML that this program writes: a key and its value on one
//! line, lists and maps by indentation, texts in quotes or as blocks. All else is refused; what this pass takes for a text is
//! then one for the parser, too, and hides nothing.

use std::sync::{Mutex, PoisonError};

use serde::de::{DeserializeOwned, Error as _};

/// Bytes of a document at the most, unless whoever reads it has a limit of its own.
pub const MAX_BYTES: usize = 4 << 20;
/// Texts larger than this are parsed one at a time.
const LARGE: usize = 256 << 10;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// Lists in lists that may begin on one line.
const DEEPEST: usize = 16;

/// Reads a document.
///
/// # Errors
/// The parser's; that it is no text, or too large, or has what this program does not write.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, yaml_serde::Error> {
    let text = std::str::from_utf8(bytes).map_err(yaml_serde::Error::custom)?;
    from_str(text)
}

/// As [`from_slice`].
///
/// # Errors
/// As [`from_slice`]'s.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, yaml_serde::Error> {
    from_large(text, MAX_BYTES)
}

/// As [`from_slice`], with a limit of its own.
///
/// # Errors
/// As [`from_slice`]'s.
pub fn from_large<T: DeserializeOwned>(text: &str, most: usize) -> Result<T, yaml_serde::Error> {
    if text.len() > most {
        return Err(yaml_serde::Error::custom(format!("it is larger than {most} bytes")));
    }
    // The parser takes many times the memory of its text.
    let alone = (text.len() > LARGE).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, line: 1, inside: Inside::Nothing };
    while scan.at < scan.bytes.len() {
        let line = scan.line;
        scan.row().map_err(|what| yaml_serde::Error::custom(format!("{what} in line {line}")))?;
    }
    let read = yaml_serde::from_str(text);
    drop(alone);
    read
}

/// What further lines may belong to, and from which column on they do: behind this one.
enum Inside {
    Nothing,
    /// A text that is written as a block.
    Block(usize),
    /// A text without quotes.
    Plain(usize),
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    inside: Inside,
}

type Refused = &'static str;

/// What stands on a line so far.
#[derive(Default)]
struct Row {
    /// Where it begins.
    start: usize,
    nested: usize,
    /// The column of the last mark of a list, or of the last key.
    parent: Option<usize>,
    /// Where what may become a key begins.
    item: Option<usize>,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Bytes of the line break at a place, of any kind that the parser knows.
    fn line_break(&self, ahead: usize) -> Option<usize> {
        match self.bytes.get(self.at + ahead..)? {
            [b'\r', b'\n', ..] => Some(2),
            [b'\n' | b'\r', ..] => Some(1),
            [0xc2, 0x85, ..] => Some(2),
            [0xe2, 0x80, 0xa8 | 0xa9, ..] => Some(3),
            _ => None,
        }
    }

    /// Whether a mark ends here: a blank, or the end of the line.
    fn ends(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), None | Some(b' ' | b'\t')) || self.line_break(ahead).is_some()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() {
            if let Some(length) = self.line_break(0) {
                self.at += length;
                self.line += 1;
                return;
            }
            self.at += 1;
        }
    }

    /// One line, or as many as a text in quotes goes over.
    fn row(&mut self) -> Result<(), Refused> {
        let start = self.at;
        while self.peek(0) == Some(b' ') {
            self.at += 1;
        }
        let indent = self.at - start;
        if matches!(self.inside, Inside::Block(parent) if indent > parent || self.line_break(0).is_some()) {
            self.skip_line();
            return Ok(());
        }
        self.skip_blanks();
        if self.peek(0) == Some(b'#') || self.ends(0) {
            self.skip_line();
            return Ok(());
        }
        if matches!(self.inside, Inside::Plain(parent) if indent > parent) {
            return Err("a text without quotes goes on");
        }
        self.inside = Inside::Nothing;
        if self.bytes[self.at..].starts_with(b"\xef\xbb\xbf") || self.peek(0) == Some(b'%') {
            return Err("a mark of its encoding, or a directive, is");
        }
        self.items(Row { start, ..Row::default() })
    }

    /// The marks, keys and value of a line.
    fn items(&mut self, mut row: Row) -> Result<(), Refused> {
        loop {
            self.skip_blanks();
            let column = self.at - row.start;
            match self.peek(0) {
                Some(b'#') | None => break,
                Some(_) if self.line_break(0).is_some() => break,
                Some(b':') if self.ends(1) => {
                    row.parent = Some(row.item.take().unwrap_or(column));
                    self.at += 1;
                }
                Some(b'-' | b'?') if self.ends(1) => {
                    row.nested += 1;
                    if row.nested > DEEPEST {
                        return Err("lists nest too deep");
                    }
                    row.parent = Some(column);
                    self.at += 1;
                }
                Some(b'&' | b'*') => return Err("an anchor or alias is"),
                Some(b'[' | b'{') => self.empty_brackets()?,
                Some(b'|' | b'>') => {
                    let parent = row.parent.ok_or("a text begins without its key")?;
                    self.inside = Inside::Block(parent);
                    break;
                }
                Some(b'!') => {
                    row.item.get_or_insert(column);
                    while !self.ends(0) {
                        self.at += 1;
                    }
                }
                Some(quote @ (b'"' | b'\'')) => {
                    row.item.get_or_insert(column);
                    self.quoted(quote);
                }
                Some(_) => {
                    let item = *row.item.get_or_insert(column);
                    if self.plain_key() {
                        row.parent = Some(item);
                        row.item = None;
                    } else {
                        self.inside = Inside::Plain(row.parent.ok_or("a text begins without its key")?);
                        break;
                    }
                }
            }
        }
        self.skip_line();
        Ok(())
    }

    /// `[]` or `{}`, and nothing behind it: what has something in it is written by indentation.
    fn empty_brackets(&mut self) -> Result<(), Refused> {
        if !matches!(self.bytes.get(self.at..self.at + 2), Some(b"[]" | b"{}")) {
            return Err("brackets with something in them are");
        }
        self.at += 2;
        self.skip_blanks();
        if self.ends(0) || self.peek(0) == Some(b'#') { Ok(()) } else { Err("something behind brackets is") }
    }

    /// Passes over a text without quotes; whether it is a key, with its value behind it.
    fn plain_key(&mut self) -> bool {
        let mut after_blank = false;
        while let Some(byte) = self.peek(0).filter(|_| self.line_break(0).is_none()) {
            if byte == b'#' && after_blank {
                return false;
            }
            self.at += 1;
            if byte == b':' && self.ends(0) {
                return true;
            }
            after_blank = matches!(byte, b' ' | b'\t');
        }
        false
    }

    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            if let Some(length) = self.line_break(0) {
                self.at += length;
                self.line += 1;
                continue;
            }
            self.at += 1;
            if byte == b'\\' && quote == b'"' && self.line_break(0).is_none() {
                self.at += 1;
            } else if byte == quote {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::from_str;

    #[test]
    fn what_nests_deep_is_refused_at_once() {
        let units = [
            "[", "{", "- ", "? ", "[a, ", "{a: ", "- - [", "\n[", "[ #x\n", ": ", "!t [", "&a [", "[\u{85}",
            "['a', ",
        ];
        // What is not closed, not begun, a comment, or no text after all must hide nothing.
        let before = [
            "",
            "x: ",
            "a: |\n  text\nb: ",
            "\"q\": ",
            "# c\r",
            "# c\u{2028}",
            "a: b\u{85}c: ",
            "a: b\n \"\nc: ",
            "--- ",
            "a: b\n [,\"\nc: ",
            "a # b: [\"\n",
            "x:\n  w: 1\n  y:\n    q:\n      |\n  z: ",
            "'a': |\n  \"\nb: ",
            "[!t \"]\"\n",
            "{\"a\":\"}\nx: \"",
            "\u{feff}\"a\": ",
            "%X a: \"\n",
            "!t a: |\n \"\nb: ",
            "? 'a'\n: |\n \"\nb: ",
        ];
        for unit in units {
            for before in before {
                let text = format!("{before}{}", unit.repeat((1 << 20) / unit.len()));
                let since = Instant::now();
                assert!(from_str::<BTreeMap<String, String>>(&text).is_err(), "{before:?} {unit:?}");
                assert!(
                    since.elapsed() < Duration::from_secs(2),
                    "{before:?} {unit:?}: {:?}",
                    since.elapsed()
                );
            }
        }
    }

    #[test]
    fn what_is_written_is_read_whatever_its_texts_hold() {
        let wild = [
            "[{".repeat(500),
            "- ".repeat(500),
            "'\"[".repeat(300),
            "? : | > & * ! #[".repeat(100),
            "a: [b\n\n - {\n".repeat(100),
            "x\u{85}[\u{2028}{\r[".repeat(100),
            "\u{feff}%\t[".repeat(100),
            String::new(),
        ];
        for text in wild {
            for text in [text.clone(), format!("{text}\n"), format!("\n  {text}\nx"), format!("{text}'\"")] {
                let value =
                    BTreeMap::from([("on".to_owned(), vec![text.clone(), text.clone()]), (text, Vec::new())]);
                let nested = BTreeMap::from([("a", vec![vec![value.clone()], vec![]]), ("b", vec![])]);
                let written = yaml_serde::to_string(&nested).unwrap();
                type Nested = BTreeMap<String, Vec<Vec<BTreeMap<String, Vec<String>>>>>;
                let read: Nested = from_str(&written).unwrap();
                assert_eq!(read["a"], [vec![value], vec![]]);
            }
        }
    }
}
