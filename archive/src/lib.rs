//! Archives: from trees to artefacts, and back.
//!
//! | module | holds |
//! |---|---|
//! | [`artefact`] | tar.gz files that can be read from the middle: packing, reading, checking |
//! | [`cipher`] | encryption, as the age program has it |
//! | [`extract`] | putting files back, confined to their target |
//! | [`scan`] | walking the trees of a `files` source |

pub mod artefact;
pub mod cipher;
pub mod extract;
pub mod scan;
