//! Every effect: what reads or changes files, stores, clocks and processes lives here.
//!
//! | module | holds |
//! |---|---|
//! | [`aide`] | this program under other names, for small things that take a process of their own |
//! | [`artefact`] | tar.gz files that can be read from the middle: packing, reading, checking |
//! | [`catalog`] | what a backup is: layout, manifests, identity, locks, commit, delete, recovery |
//! | [`confine`] | programs that can write nothing but their own folders |
//! | [`control`] | progress counters and the cancel flag that long work looks at |
//! | [`discover`] | databases and clusters found by looking, for a first plan |
//! | [`extract`] | putting files back, confined to their target |
//! | `inherited` | what every program has of this process's environment |
//! | `lasting` | troubles that another attempt meets again |
//! | `keeper` | the end of every program with this process |
//! | [`live`] | whether the world is as a plan needs it |
//! | [`load`] | plan files and their imports, from paths to texts |
//! | [`machine`] | this machine: its name, and chance |
//! | [`middle`] | reading from the middle of something |
//! | [`moment`] | moments as people read and write them |
//! | [`notify`] | telling people and machines how a run went |
//! | [`places`] | folders as they really are: exchanged, mounted, emptied |
//! | [`recall`] | getting data back: shelves of backups, restore, verify |
//! | [`rehearse`] | restores into a scratch folder, to see that they would work |
//! | [`run`] | running a plan: the coordinator, its steps, the journal |
//! | [`scan`] | walking the trees of a `files` source |
//! | [`source`] | reading sources that are not plain files |
//! | [`starter`] | systemd and cron, told what to start |
//! | [`stamped`] | files written for others, not over what people changed |
//! | [`store`] | where artefacts go: the trait, and the folder store |
//! | [`text`] | names of files as text |
//! | [`tree`] | entries of trees: kinds, and the order of paths |
//! | [`wal`] | archives of the write-ahead log |

pub mod aide;
pub mod artefact;
mod beneath;
pub mod catalog;
pub mod cipher;
pub mod confine;
pub mod control;
pub mod discover;
pub mod extract;
mod inherited;
mod keeper;
mod lasting;
pub mod live;
pub mod load;
pub mod machine;
pub mod mariadb;
pub mod metrics;
pub mod middle;
pub mod moment;
pub mod notify;
pub mod places;
pub mod postgres;
pub mod programs;
pub mod recall;
mod regular;
pub mod rehearse;
pub mod run;
pub mod scan;
pub mod source;
pub mod stamped;
pub mod starter;
pub mod store;
pub mod text;
pub mod threads;
mod tls;
#[cfg(any(feature = "otlp", test))]
pub mod trace;
pub mod tree;
pub mod wal;
mod yaml;
