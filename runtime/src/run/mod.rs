//! Running a plan.
//!
//! | module | holds |
//! |---|---|
//! | [`event`] | what a run tells whoever watches it |
//! | [`process`] | programs as process groups |
//! | [`secrets`] | fetching secrets, and taking them out of output |

pub mod coordinator;
pub mod event;
pub mod journal;
pub mod process;
pub mod request;
pub mod secrets;
pub mod staging;
pub mod state;
