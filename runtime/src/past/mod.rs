//! How runs on this host went: what they wrote down on their way, and where. A run writes it, what tells of backups reads it; nothing of it
//! is needed to restore.
//!
//! | module | holds |
//! |---|---|
//! | [`cache`] | the scans of earlier runs: how a change is noticed |
//! | [`history`] | how the last runs went |
//! | [`journal`] | intents, for the run that comes after one that died |
//! | [`state`] | the folder |

pub mod cache;
pub mod history;
pub mod journal;
pub mod state;
