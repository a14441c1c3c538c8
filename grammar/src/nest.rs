//! Pairs brackets. Where one is missing, finds the place where it was most likely meant, so that the statements behind
//! it are still read as what they are.

use crate::lex::{Kind, Token, closer_of};
use crate::parse::{MAX_DEPTH, MAX_ERRORS, ParseError};
use crate::span::Span;

/// Sets [`Token::mate`] of every opener, marks brackets without their other half as bad, and reports those.
///
/// # Errors
/// More than [`MAX_DEPTH`] are open at once. The lexer's count does not see that where closers do not match.
pub(crate) fn nest(text: &str, tokens: &mut [Token]) -> Result<Vec<ParseError>, ParseError> {
    let (errors, open_block) = pair(text, tokens, false)?;
    if open_block {
        // A block is open at the end: the indentation tells better than the count where it should have ended.
        let mut again = tokens.to_vec();
        for token in again.iter_mut().filter(|token| matches!(token.kind, Kind::Open | Kind::Close)) {
            (token.bad, token.mate) = (false, usize::MAX);
        }
        let (by_indentation, _) = pair(text, &mut again, true)?;
        if by_indentation.len() <= errors.len() {
            tokens.copy_from_slice(&again);
            return Ok(by_indentation);
        }
    }
    Ok(errors)
}

/// The errors, and whether a block was never closed.
fn pair(
    text: &str,
    tokens: &mut [Token],
    by_indentation: bool,
) -> Result<(Vec<ParseError>, bool), ParseError> {
    let places = |wanted: fn(&Token) -> bool| -> Vec<usize> {
        tokens.iter().enumerate().filter(|(_, token)| wanted(token)).map(|(place, _)| place).collect()
    };
    let unclosed_strings = places(|token| token.bad && matches!(token.kind, Kind::Str | Kind::RawStr));
    let newlines =
        if unclosed_strings.is_empty() { Vec::new() } else { places(|token| token.kind == Kind::Newline) };
    let mut pairing = Pairing {
        text,
        tokens,
        unclosed_strings,
        newlines,
        stack: Vec::new(),
        indent: 0,
        errors: Vec::new(),
        open_block: false,
    };
    pairing.indent = pairing.indentation(0);
    for index in 0..pairing.tokens.len() {
        match pairing.tokens[index].kind {
            Kind::Open if pairing.stack.len() == MAX_DEPTH => {
                return Err(ParseError::too_deep(pairing.tokens[index].span()));
            }
            Kind::Open => pairing.stack.push(Opened { index, indent: pairing.indent }),
            Kind::Close => pairing.close(index),
            Kind::Newline => {
                pairing.indent = pairing.indentation(pairing.tokens[index].end);
                pairing.end_lists(index + 1);
                if by_indentation {
                    pairing.end_blocks(index + 1);
                }
            }
            _ => {}
        }
    }
    pairing.unclosed_down_to(0, pairing.tokens.len());
    Ok((pairing.errors, pairing.open_block))
}

/// An opener that waits for its closer, and the indentation of its line.
struct Opened {
    index: usize,
    indent: usize,
}

struct Pairing<'a> {
    text: &'a str,
    tokens: &'a mut [Token],
    /// Token indices; searched, as walking a long line once for every bracket would be quadratic.
    unclosed_strings: Vec<usize>,
    newlines: Vec<usize>,
    stack: Vec<Opened>,
    /// Of the current line, in blanks.
    indent: usize,
    errors: Vec<ParseError>,
    open_block: bool,
}

impl Pairing<'_> {
    fn indentation(&self, line: usize) -> usize {
        self.text.as_bytes()[line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }

    fn byte(&self, index: usize) -> u8 {
        self.text.as_bytes()[self.tokens[index].start]
    }

    fn close(&mut self, index: usize) {
        let closer = self.byte(index);
        for place in (0..self.stack.len()).rev() {
            let opener = self.byte(self.stack[place].index);
            if closer_of(opener) == closer {
                self.unclosed_down_to(place + 1, index);
                if let Some(open) = self.stack.pop() {
                    self.tokens[open.index].mate = index;
                }
                return;
            }
            if opener == b'{' {
                break;
            }
        }
        let closer = char::from(closer);
        self.tokens[index].bad = true;
        let list = self.stack.last().is_some_and(|open| self.byte(open.index) != b'{');
        if let Some(open) = self.stack.pop_if(|_| list) {
            self.tokens[open.index].mate = index;
            let opener = self.byte(open.index);
            let right = char::from(closer_of(opener)).to_string();
            let help = format!("write `{right}` here");
            let message = format!("`{}` is closed by `{closer}`", char::from(opener));
            let error = ParseError::syntax(message, self.tokens[index].span(), Some(help));
            return self.push(error.mended(self.tokens[index].span(), right));
        }
        let help = format!("take it out, or open it before with `{}`", opener_of(closer));
        let span = self.tokens[index].span();
        self.push(
            ParseError::syntax(format!("`{closer}` closes nothing"), span, Some(help)).mended(span, ""),
        );
    }

    /// Pops everything above `height`: never closed, contents end before token `end`.
    fn unclosed_down_to(&mut self, height: usize, end: usize) {
        while self.stack.len() > height {
            let Some(Opened { index: open, .. }) = self.stack.pop() else { return };
            self.tokens[open].bad = true;
            self.tokens[open].mate = end;
            let opener = self.byte(open);
            self.open_block |= opener == b'{';
            if self.string_swallowed_line(open) {
                continue;
            }
            let closer = char::from(closer_of(opener));
            let help = match closer {
                '}' => "add a `}` on a line of its own where the block ends".to_string(),
                ')' => "add a `)` behind the last argument".to_string(),
                _ => "add a `]` behind the last element".to_string(),
            };
            let message = format!("`{}` is never closed", char::from(opener));
            let error = ParseError::syntax(message, self.tokens[open].span(), Some(help));
            let mut inside = self.tokens[open + 1..end.max(open + 1)].iter().rev();
            let last = inside.find(|token| !matches!(token.kind, Kind::Newline | Kind::Comment));
            self.push(match last {
                // Where a block ends nobody knows.
                Some(last) if closer != '}' => {
                    error.mended(Span::new(last.end, last.end), closer.to_string())
                }
                _ => error,
            });
        }
    }

    /// The opener's line ends in an unclosed string, which is told: the closer is most likely in it.
    fn string_swallowed_line(&self, open: usize) -> bool {
        let next = |places: &[usize]| places.get(places.partition_point(|&place| place < open)).copied();
        let string = next(&self.unclosed_strings);
        string.is_some_and(|string| next(&self.newlines).is_none_or(|newline| string < newline))
    }

    fn push(&mut self, error: ParseError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    /// A line that starts a statement cannot stand in a list: the list has lost its bracket.
    fn end_lists(&mut self, next: usize) {
        let height =
            self.stack.iter().rposition(|open| self.byte(open.index) == b'{').map_or(0, |place| place + 1);
        if height < self.stack.len() && self.starts_statement(next) {
            self.unclosed_down_to(height, next - 1);
        }
    }

    fn starts_statement(&self, at: usize) -> bool {
        let is =
            |ahead: usize, kind: Kind| self.tokens.get(at + ahead).is_some_and(|token| token.kind == kind);
        let brace = |ahead: usize| is(ahead, Kind::Open) && self.byte(at + ahead) == b'{';
        if !is(0, Kind::Word) {
            return false;
        }
        let item = matches!(self.tokens[at].text(self.text), "plan" | "let" | "param" | "import");
        is(1, Kind::Equals)
            || brace(1)
            || (item && (is(1, Kind::Word) || is(1, Kind::Str)))
            || (is(1, Kind::Word) && (brace(2) || is(2, Kind::Colon)))
            || (is(1, Kind::Colon) && is(2, Kind::Word) && brace(3))
    }

    /// A line indented no deeper than the line of an open block's `{` stands behind that block.
    fn end_blocks(&mut self, next: usize) {
        let Some(token) = self.tokens.get(next) else { return };
        if matches!(token.kind, Kind::Newline | Kind::Comment) {
            return;
        }
        let (here, closes) = (self.indent, self.byte(next) == b'}');
        while let Some(open) = self.stack.last() {
            if self.byte(open.index) != b'{' || here > open.indent || (closes && here == open.indent) {
                return;
            }
            self.unclosed_down_to(self.stack.len() - 1, next - 1);
        }
    }
}

fn opener_of(closer: char) -> char {
    match closer {
        '}' => '{',
        ']' => '[',
        _ => '(',
    }
}
