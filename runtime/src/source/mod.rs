//! Reading sources that are not plain files.
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | a program's standard output |
//! | [`sqlite`] | a live SQLite file, copied through its backup API |

pub mod command;
pub mod sqlite;
