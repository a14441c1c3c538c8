//! The plan language as text: from bytes to a syntax tree, and back.
//!
//! | module | holds |
//! |---|---|
//! | [`span`] | byte ranges in a file |
//! | [`ast`] | the syntax tree; knows words, not meanings |
//! | [`mod@parse`] | text → tree, all syntax errors at once |
//! | [`mod@format`] | tree and comments → text in the one house style |
//!
//! This stage guarantees well-formed literals and nesting below a cap. It leaves to the compiler whether a kind, an
//! attribute or a name exists and what type it has.

pub mod ast;
pub mod format;
pub mod parse;
pub mod span;

pub use ast::Ast;
pub use format::format;
pub use parse::{ParseError, Parsed, parse};
pub use span::{Span, Spanned};
