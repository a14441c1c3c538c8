//! Programs that are started, and what they are given.
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | starting them, with a limit, an account and the lines that they say |
//! | [`environment`] | what of this process's environment they get |
//! | [`secrets`] | fetching secrets, by a program too |
//! | `redaction` | taking secrets out of what is said |

pub mod environment;
pub mod postmaster;
pub mod process;
pub(crate) mod redaction;
pub mod secrets;
