//! The language server: what an editor asks about a plan, answered over the standard streams.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | the loop: messages in, answers out; no text makes it end |
//! | `announce`, `answer` | the handshake; each request to its answer |
//! | `watch` | plans examined on a thread of its own, and what was found told |
//! | `files` | texts: those open in the editor, and those on the disk that they import or are imported by |
//! | `position` | places as the protocol counts them (lines, UTF-16) and as the compiler does (bytes) |
//! | `uri` | paths as the protocol writes them |
//! | `examine` | findings as diagnostics, their mends as code actions; one plan at a time |
//! | `mentions` | what each word of a file means: names, attributes, kinds |
//! | `context` | what may stand at a place of a text that cannot be parsed yet |
//! | `complete`, `hover`, `names`, `outline` | answers |

mod announce;
mod answer;
mod complete;
mod context;
mod examine;
mod files;
mod hover;
mod mentions;
mod names;
mod outline;
mod position;
pub mod server;
mod uri;
mod watch;

#[cfg(test)]
mod hostile_tests;

pub use server::{ServeError, serve};
