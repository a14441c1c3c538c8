//! Text to syntax tree.

use crate::ast::Ast;
use crate::span::Span;

/// A syntax error at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Stable name of the finding, such as `syntax` or `nesting_too_deep`.
    pub name: &'static str,
    /// What is wrong, lower case, without the place.
    pub message: String,
    /// The offending token.
    pub span: Span,
    /// How to mend it, where that is known.
    pub help: Option<String>,
}

/// What parsing gives: whatever could be read, and every error found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The items that could be read; complete if `errors` is empty.
    pub ast: Ast,
    /// All syntax errors, in source order.
    pub errors: Vec<ParseError>,
}

/// Reads a plan file.
pub fn parse(_text: &str) -> Parsed {
    Parsed::default()
}
