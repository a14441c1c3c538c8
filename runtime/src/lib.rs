//! Every effect: what reads or changes files, stores, clocks and processes lives here.
//!
//! | module | holds |
//! |---|---|
//! | [`control`] | progress counters and the cancel flag that long work looks at |
//! | [`load`] | plan files and their imports, from paths to texts |
//! | [`store`] | where artefacts go: the trait, and the folder store |

pub mod control;
pub mod load;
pub mod run;
pub mod source;
pub mod store;
