//! What every effect rests on: this host as a program meets it, and plans as they lie on it.
//!
//! | module | holds |
//! |---|---|
//! | [`aide`] | this program under other names, for small things that take a process of their own |
//! | [`control`] | progress counters and the cancel flag that long work looks at |
//! | [`ids`] | ids of runs, plans, machines, attempts |
//! | [`keeper`] | the end of every program with this process |
//! | [`lasting`] | troubles that another attempt meets again |
//! | [`load`] | plan files and their imports, from paths to texts |
//! | [`machine`] | this machine: its name, and chance |
//! | [`middle`] | reading from the middle of something |
//! | [`moment`] | moments as people read and write them |
//! | [`names`] | names and paths as records say them |
//! | [`openat`] | opening below a folder, by descriptor, through no link |
//! | [`places`] | folders as they really are: exchanged, mounted, emptied |
//! | [`regular`] | files that are files |
//! | [`text`] | names of files as text |
//! | [`threads`] | threads that the system may refuse |
//! | [`tree`] | entries of trees: kinds, and the order of paths |

pub mod aide;
pub mod control;
pub mod ids;
pub mod keeper;
pub mod lasting;
pub mod load;
pub mod machine;
pub mod middle;
pub mod moment;
pub mod names;
pub mod openat;
pub mod places;
pub mod regular;
pub mod text;
pub mod threads;
pub mod tree;
