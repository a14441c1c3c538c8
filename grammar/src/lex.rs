//! Text to tokens: finds strings, comments and brackets, so that a file can be cut into statements before any of them
//! is parsed. Caps nesting, so that nothing behind it can run out of stack.
//!
//! Guarantees: tokens in source order that do not overlap; every string token closed or marked [`Token::bad`] and
//! reported; interpolations, and the brackets around them, at most [`MAX_DEPTH`] deep. Leaves to [`crate::nest`] whether
//! brackets match, and to the grammar what may follow what.

use crate::parse::{MAX_DEPTH, MAX_ERRORS, ParseError};
use crate::span::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Str,
    RawStr,
    /// `{`, `[` or `(`
    Open,
    /// `}`, `]` or `)`
    Close,
    Comma,
    Colon,
    Equals,
    DotDot,
    Newline,
    Comment,
    /// A run of characters that start nothing in the language, such as a path without quotes.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// Reported already: an unclosed string, or a bracket without its other half.
    pub bad: bool,
    /// Of an opener: the index of its closer; if it is bad, of the token before which its contents end.
    pub mate: usize,
}

impl Token {
    pub(crate) fn span(&self) -> Span {
        Span::new(self.start, self.end)
    }

    pub(crate) fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }
}

/// The tokens of a whole file, and what was wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub tokens: Vec<Token>,
    pub errors: Vec<ParseError>,
    /// Nesting went beyond the cap: the only error, and the tokens are not to be used.
    pub too_deep: bool,
}

/// Cuts `text` into tokens.
pub(crate) fn lex(text: &str) -> Lexed {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lexer = Lexer::new(text, start);
    while lexer.pos < text.len() && !lexer.out.too_deep {
        lexer.step();
    }
    lexer.out
}

/// The token at `pos` alone, for a place inside a string; an empty one at the end of `text`.
pub(crate) fn token_at(text: &str, pos: usize) -> Option<Token> {
    let mut lexer = Lexer::new(text, pos);
    while lexer.out.tokens.is_empty() && lexer.pos < text.len() {
        lexer.step();
    }
    lexer.out.tokens.first().copied()
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    pos: usize,
    depth: usize,
    /// Where the current line ends, if that was asked for: scanning for it once a string would be quadratic.
    line_limit: Option<usize>,
    /// Brackets opened on this line and not closed yet.
    line_opens: Vec<u8>,
    out: Lexed,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t str, pos: usize) -> Self {
        let bytes = text.as_bytes();
        Lexer { text, bytes, pos, depth: 0, line_limit: None, line_opens: Vec::new(), out: Lexed::default() }
    }

    fn step(&mut self) {
        let start = self.pos;
        match self.bytes[start] {
            b' ' | b'\t' | b'\r' => self.pos += 1,
            b'\n' => {
                self.line_opens.clear();
                self.line_limit = None;
                self.push(Kind::Newline, start + 1);
            }
            b'#' => self.comment(),
            b'/' if self.peek(1) == Some(b'/') => {
                self.comment();
                let span = Span::new(start, start + 2);
                self.error("`//` does not start a comment", span, "comments start with `#`".into());
            }
            b'"' => self.string(),
            b'\'' => self.raw_string(),
            b'{' | b'[' | b'(' => self.open(),
            b'}' | b']' | b')' => {
                self.depth = self.depth.saturating_sub(1);
                self.line_opens.pop();
                self.push(Kind::Close, start + 1);
            }
            b',' => self.push(Kind::Comma, start + 1),
            b':' => self.push(Kind::Colon, start + 1),
            b'=' => self.push(Kind::Equals, start + 1),
            b'.' if self.peek(1) == Some(b'.') => self.push(Kind::DotDot, start + 2),
            b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.pos + ahead).copied()
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.out.tokens.push(Token { kind, start: self.pos, end, bad: false, mate: usize::MAX });
        self.pos = end;
    }

    fn error(&mut self, message: &str, span: Span, help: String) {
        if self.out.errors.len() < MAX_ERRORS {
            self.out.errors.push(ParseError::syntax(message, span, Some(help)));
        }
    }

    fn line_end(&mut self) -> usize {
        let (bytes, pos) = (self.bytes, self.pos);
        *self.line_limit.get_or_insert_with(|| {
            let end = bytes[pos..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| pos + n);
            if end > pos && bytes[end - 1] == b'\r' { end - 1 } else { end }
        })
    }

    fn comment(&mut self) {
        let end = self.line_end();
        let written = self.text[self.pos..end].trim_end().len();
        self.push(Kind::Comment, self.pos + written);
        self.pos = end;
    }

    fn open(&mut self) {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.too_deep(Span::new(self.pos, self.pos + 1));
        }
        self.line_opens.push(self.bytes[self.pos]);
        self.push(Kind::Open, self.pos + 1);
    }

    fn too_deep(&mut self, span: Span) {
        self.out.too_deep = true;
        self.out.errors = vec![ParseError::too_deep(span)];
    }

    fn raw_string(&mut self) {
        let end = self.line_end();
        match self.bytes[self.pos + 1..end].iter().position(|&b| b == b'\'') {
            Some(length) => self.push(Kind::RawStr, self.pos + length + 2),
            None => self.unclosed_string(Kind::RawStr, self.pos, end, "'"),
        }
    }

    /// A string with its interpolations, which may hold strings again: a stack instead of recursion.
    fn string(&mut self) {
        let limit = self.line_end();
        let mut stack = vec![Inside::Text];
        let (mut interpolation, mut inner) = (None, 0);
        let mut at = self.pos + 1;
        while at < limit {
            let byte = self.bytes[at];
            match (stack.last(), byte) {
                (Some(Inside::Text), b'\\') => at += 1,
                (Some(Inside::Text), b'"') | (Some(Inside::Brace), b'}') => {
                    stack.pop();
                    inner -= usize::from(byte == b'}');
                    if stack.len() == 1 {
                        interpolation = None;
                    }
                    if stack.is_empty() {
                        return self.push(Kind::Str, at + 1);
                    }
                }
                (Some(Inside::Text), b'$') if self.bytes.get(at + 1) == Some(&b'{') => {
                    interpolation.get_or_insert(at);
                    stack.push(Inside::Brace);
                    inner += 1;
                    at += 1;
                }
                (Some(Inside::Brace | Inside::Bracket), b'"') => stack.push(Inside::Text),
                (Some(Inside::Brace | Inside::Bracket), b'{' | b'[' | b'(') => {
                    stack.push(Inside::bracket(byte));
                    inner += 1;
                }
                (Some(Inside::Bracket), b']' | b')') => {
                    stack.pop();
                    inner -= 1;
                }
                (Some(Inside::Brace | Inside::Bracket), b'\'') => at = self.raw_end(at, limit),
                _ => {}
            }
            if self.depth + inner > MAX_DEPTH {
                return self.too_deep(Span::new(at, at + 1));
            }
            at += 1;
        }
        match interpolation {
            Some(opener) => self.unclosed_interpolation(opener, limit),
            None => self.unclosed_string(Kind::Str, self.pos, limit, "\""),
        }
    }

    fn raw_end(&self, at: usize, limit: usize) -> usize {
        self.bytes[at + 1..limit].iter().position(|&b| b == b'\'').map_or(at, |n| at + n + 1)
    }

    fn unclosed_interpolation(&mut self, opener: usize, limit: usize) {
        let help = "close it with `}` before the string ends; a `${` that is text is written `\\${`";
        self.error("`${` is never closed", Span::new(opener, opener + 2), help.into());
        self.push_bad(Kind::Str, limit);
    }

    fn unclosed_string(&mut self, kind: Kind, opener: usize, limit: usize, quote: &str) {
        let help =
            format!("close it with `{quote}` on the same line; a line break in a text is written `\\n`");
        let count = self.out.errors.len();
        self.error("this string is never closed", Span::new(opener, opener + 1), help);
        let end = self.push_bad(kind, limit);
        // Where the line has one quote only, it is plain which one is missing.
        if !self.text[opener + 1..limit].contains(quote)
            && !self.text[self.text[..opener].rfind('\n').map_or(0, |at| at + 1)..opener].contains(quote)
            && self.out.errors.len() > count
            && let Some(error) = self.out.errors.pop()
        {
            let at = opener + self.text[opener..end].trim_end().len();
            self.out.errors.push(error.mended(Span::new(at, at), quote));
        }
    }

    /// Ends an unclosed string before the brackets at the line's end that close what was opened on this line: they
    /// were hardly meant as text, and taking them for it would make one error many. Answers with that end.
    fn push_bad(&mut self, kind: Kind, limit: usize) -> usize {
        let mut end = limit;
        for &open in &self.line_opens {
            let rest = self.text[self.pos + 1..end].trim_end_matches([' ', '\t', ',']);
            if !rest.ends_with(char::from(closer_of(open))) {
                break;
            }
            end = self.pos + rest.len();
        }
        self.push(kind, end);
        if let Some(token) = self.out.tokens.last_mut() {
            token.bad = true;
        }
        end
    }

    fn number(&mut self) {
        let mut end = self.pos;
        while let Some(&byte) = self.bytes.get(end) {
            let next = self.bytes.get(end + 1).copied().unwrap_or(b' ');
            let part = match byte {
                b':' | b'.' => next.is_ascii_digit(),
                b'/' => next.is_ascii_alphabetic(),
                _ => byte.is_ascii_alphanumeric() || byte == b'_',
            };
            if !part {
                break;
            }
            end += 1;
        }
        self.push_run(Kind::Number, end);
    }

    fn word(&mut self) {
        let mut end = self.pos;
        for (offset, char) in self.text[self.pos..].char_indices() {
            let at = self.pos + offset;
            let next = self.bytes.get(at + 1).copied().unwrap_or(b' ');
            let part = match char {
                '_' => true,
                '-' => offset > 0 && next.is_ascii_alphanumeric(),
                '0'..='9' => offset > 0,
                _ => char.is_alphabetic(),
            };
            if !part {
                break;
            }
            end = at + char.len_utf8();
        }
        self.push_run(if end > self.pos { Kind::Word } else { Kind::Other }, end);
    }

    /// A token that ends at `end`, unless characters follow at once that no token starts with: then all of it is one
    /// run of text that lacks its quotes.
    fn push_run(&mut self, kind: Kind, end: usize) {
        let rest = &self.text[end..];
        let unquoted = rest.starts_with("://")
            || rest.starts_with(|c| !is_boundary(c) && !matches!(c, ':' | '.'))
            || (rest.starts_with('.') && !rest.starts_with(".."));
        if kind != Kind::Other && !unquoted {
            return self.push(kind, end);
        }
        let length = rest.find(is_boundary).unwrap_or(rest.len());
        self.push(Kind::Other, end + length);
    }
}

/// What an open part of a string is.
enum Inside {
    Text,
    /// `${` or a `{` within it: ended by `}`
    Brace,
    /// `[` or `(`
    Bracket,
}

impl Inside {
    fn bracket(byte: u8) -> Self {
        if byte == b'{' { Inside::Brace } else { Inside::Bracket }
    }
}

/// The bracket that closes `open`.
pub(crate) fn closer_of(open: u8) -> u8 {
    match open {
        b'{' => b'}',
        b'[' => b']',
        _ => b')',
    }
}

fn is_boundary(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | ',' | '=' | '[' | ']' | '(' | ')' | '{' | '}' | '"' | '\'' | '#')
}
