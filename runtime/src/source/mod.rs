//! Reading sources that are not plain files.
//!
//! | module | holds |
//! |---|---|
//! | [`sqlite`] | a live SQLite file, copied through its backup API |

pub mod sqlite;
