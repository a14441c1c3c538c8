//! Cuts a file, and the inside of each block, into statements.

use crate::lex::Kind;
use crate::mistake::shown;
use crate::parse::Parser;

/// A statement as a range of tokens, without what separates it from the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub first: usize,
    pub end: usize,
    /// The brace that opens its block, if it has one.
    pub brace: Option<usize>,
    /// An error in its tokens is reported already.
    pub bad: bool,
}

impl Parser<'_> {
    /// Cuts the next statement off the tokens from `at` to `end`, and moves `at` behind it.
    pub(crate) fn piece(&mut self, at: &mut usize, end: usize, in_block: bool) -> Option<Piece> {
        self.skip_to_statement(at, end);
        if *at >= end {
            return None;
        }
        let mut piece = Piece { first: *at, end: *at, brace: None, bad: false };
        while *at < end {
            let token = self.tokens[*at];
            match token.kind {
                Kind::Newline if self.brace_on_next_line(*at, end) => *at += 1,
                Kind::Newline if self.value_on_next_line(*at, end) => *at += 1,
                Kind::Newline | Kind::Comment => break,
                Kind::Comma => {
                    if !in_block {
                        self.error("unexpected `,`", token.span(), "each item stands on a line of its own");
                    }
                    *at += 1;
                    break;
                }
                Kind::Open if self.is_brace(*at) => {
                    piece.brace = Some(*at);
                    *at = self.behind(*at);
                    piece.end = *at;
                    self.end_of_block(at, end, in_block);
                    break;
                }
                Kind::Open => {
                    piece.bad |= token.bad;
                    *at = self.behind(*at);
                    piece.end = *at;
                }
                _ => {
                    piece.bad |= token.bad;
                    *at += 1;
                    piece.end = *at;
                }
            }
        }
        piece.bad |=
            piece.brace.is_none() && self.tokens[piece.first..piece.end].iter().any(|token| token.bad);
        Some(piece)
    }

    fn skip_to_statement(&mut self, at: &mut usize, end: usize) {
        while *at < end {
            let token = self.tokens[*at];
            match token.kind {
                Kind::Newline | Kind::Comment => {}
                Kind::Comma if !self.full() => {
                    self.error(
                        "unexpected `,`",
                        token.span(),
                        "a comma stands behind a statement; take it out here",
                    );
                }
                Kind::Comma => {}
                Kind::Close if token.bad => {}
                _ => break,
            }
            *at += 1;
        }
    }

    /// A line that starts with a brace belongs to the one before it; that is told, and read as meant.
    fn brace_on_next_line(&mut self, newline: usize, end: usize) -> bool {
        if newline + 1 >= end || !self.is_brace(newline + 1) {
            return false;
        }
        let span = self.tokens[newline + 1].span();
        self.error("`{` stands on a line of its own", span, "put it on the line of its block's name");
        true
    }

    /// A line that starts with a literal belongs to the `=` before it; that is told, and read as meant.
    fn value_on_next_line(&mut self, newline: usize, end: usize) -> bool {
        let next = (newline + 1 < end).then(|| self.tokens[newline + 1].kind);
        let literal = matches!(next, Some(Kind::Str | Kind::RawStr | Kind::Number | Kind::Open));
        let equals = self.tokens[newline - 1];
        if !literal || equals.kind != Kind::Equals {
            return false;
        }
        self.error("expected a value after `=`", equals.span(), "a value starts on the line of its `=`");
        true
    }

    /// Behind a block, the line or the statement must end.
    fn end_of_block(&mut self, at: &mut usize, end: usize, in_block: bool) {
        if *at >= end || self.tokens[*at - 1].kind != Kind::Close {
            return;
        }
        let token = self.tokens[*at];
        match token.kind {
            Kind::Newline | Kind::Comment => {}
            Kind::Comma if in_block => *at += 1,
            Kind::Close if token.bad => {}
            _ => {
                let found = shown(token, self.text);
                self.error(
                    format!("expected a new line behind `}}`, found {found}"),
                    token.span(),
                    "start a new line",
                );
                *at += usize::from(token.kind == Kind::Comma);
            }
        }
    }
}
