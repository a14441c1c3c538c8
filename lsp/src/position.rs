//! Places as the protocol counts them, lines and UTF-16 units from zero, and as the compiler does, bytes.

use backplan_grammar::Span;
use lsp_types::{Position, Range};

/// Where the lines of a text start.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    starts: Vec<usize>,
    /// Bytes of the text.
    length: usize,
}

impl Lines {
    /// The lines of `text`; `\n`, `\r\n` and a lone `\r` end one.
    pub fn of(text: &str) -> Lines {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n') {
                starts.push(at + 1);
            }
        }
        Lines { starts, length: text.len() }
    }

    /// The byte at a position; what lies behind the end of a line or of the text is that end.
    pub fn offset(&self, text: &str, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line as usize).copied() else { return text.len() };
        let end = self.starts.get(position.line as usize + 1).copied().unwrap_or(self.length);
        let line = text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let mut units = 0;
        for (at, c) in line.char_indices() {
            if units >= position.character as usize {
                return start + at;
            }
            units += c.len_utf16();
        }
        start + line.len()
    }

    /// The position of a byte.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let offset = offset.min(text.len());
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or_default();
        let character = text.get(start..offset).map_or(0, |text| text.chars().map(char::len_utf16).sum());
        Position { line: number(line), character: number(character) }
    }

    /// The range of a span.
    pub fn range(&self, text: &str, span: Span) -> Range {
        Range { start: self.position(text, span.start), end: self.position(text, span.end) }
    }

    /// The whole text.
    pub fn whole(&self, text: &str) -> Range {
        self.range(text, Span::new(0, text.len()))
    }
}

/// A count as the protocol has it; a plan is never so long that it does not fit.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lsp_types::Position;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::Lines;

    #[test]
    fn columns_are_units_of_utf_16() {
        let text = "a𝄞é\r\nb\rc";
        let lines = Lines::of(text);
        assert_eq!(lines.offset(text, Position::new(0, 1)), 1);
        assert_eq!(lines.offset(text, Position::new(0, 3)), 5);
        assert_eq!(lines.offset(text, Position::new(0, 4)), 7);
        assert_eq!(lines.offset(text, Position::new(0, 99)), 7);
        assert_eq!(lines.offset(text, Position::new(1, 0)), 9);
        assert_eq!(lines.offset(text, Position::new(2, 0)), 11);
        assert_eq!(lines.offset(text, Position::new(9, 0)), text.len());
        assert_eq!(lines.position(text, 5), Position::new(0, 3));
        assert_eq!(lines.position(text, 11), Position::new(2, 0));
    }

    proptest! {
        #[test]
        fn every_character_has_one_position(text in any::<String>()) {
            let lines = Lines::of(&text);
            for (at, c) in text.char_indices().filter(|(_, c)| !matches!(c, '\r' | '\n')) {
                prop_assert_eq!(lines.offset(&text, lines.position(&text, at)), at, "{:?}", c);
            }
        }

        #[test]
        fn every_position_is_in_the_text(text in any::<String>(), line in 0_u32..9, character in 0_u32..99) {
            let offset = Lines::of(&text).offset(&text, Position { line, character });
            prop_assert!(text.is_char_boundary(offset));
        }
    }
}
