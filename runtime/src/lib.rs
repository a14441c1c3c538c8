//! Every effect: what reads or changes files, stores, clocks and processes lives here.
//!
//! | module | holds |
//! |---|---|
//! | [`artefact`] | tar.gz files that can be read from the middle: packing, reading, checking |
//! | [`control`] | progress counters and the cancel flag that long work looks at |
//! | [`extract`] | putting files back, confined to their target |
//! | [`scan`] | walking the trees of a `files` source |
//! | [`store`] | where artefacts go: the trait, and the folder store |

pub mod artefact;
mod beneath;
pub mod control;
pub mod extract;
pub mod scan;
pub mod store;
