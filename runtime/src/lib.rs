//! Every effect: what reads or changes files, stores, clocks and processes lives here.
//!
//! | module | holds |
//! |---|---|
//! | [`catalog`] | what a backup is: layout, manifests, identity, locks, commit, delete, recovery |
//! | [`control`] | progress counters and the cancel flag that long work looks at |
//! | [`store`] | where artefacts go: the trait, and the folder store |

pub mod catalog;
pub mod control;
pub mod run;
pub mod source;
pub mod store;
