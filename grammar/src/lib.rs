//! The plan language as text: from bytes to a syntax tree, and back.
//!
//! | module | holds |
//! |---|---|
//! | [`span`] | byte ranges in a file |
//! | [`ast`] | the syntax tree; knows words, not meanings |
//! | [`mod@parse`] | text → tree, all syntax errors at once |
//! | `lex` | text → tokens; caps nesting |
//! | `nest` | pairs brackets, finds where a missing one was meant |
//! | `cut` | tokens → statements |
//! | `syntax` | one statement → nodes of the tree, by the grammar in `plan.pest` |
//! | `literal` | what numbers, escapes and names mean |
//! | `mistake` | what to write instead |
//! | [`mod@format`] | tokens → text in the one house style |
//! | `layout` | lines, and what is aligned in them |
//!
//! This stage guarantees well-formed literals and nesting below a cap. It leaves to the compiler whether a kind, an
//! attribute or a name exists and what type it has.

pub mod ast;
mod cut;
pub mod format;
mod layout;
mod lex;
mod literal;
mod mistake;
mod nest;
pub mod parse;
pub mod span;
mod syntax;

pub use ast::Ast;
pub use format::format;
pub use mistake::TYPES;
pub use parse::{ParseError, Parsed, TextMend, parse};
pub use span::{Span, Spanned};
