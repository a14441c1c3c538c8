//! How runs on this host went: what they wrote down on their way, and where. A run writes it, what tells of backups reads it; nothing of it
//! is needed to restore.

pub mod cache;
pub mod history;
pub mod journal;
pub mod state;
