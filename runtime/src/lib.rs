//! Every effect: what reads or changes stores, servers, clocks and processes lives here. What this rests on is in two crates below:
//! `backplan-host`, and `backplan-archive`; their modules have their names here too.
//!
//! | module | holds |
//! |---|---|
//! | [`aide`] | this program under other names, for small things that take a process of their own |
//! | [`backups`] | getting data back: shelves of backups, restore, verify |
//! | [`catalog`] | what a backup is: layout, manifests, identity, locks, commit, delete, recovery |
//! | [`confine`] | programs that can write nothing but their own folders |
//! | [`discover`] | databases and clusters found by looking, for a first plan |
//! | `inherited` | what every program has of this process's environment |
//! | [`mariadb`] | reading a MariaDB server, and rehearsing its dumps |
//! | [`metrics`] | how plans stand, as numbers for Prometheus |
//! | [`notify`] | telling people and machines how a run went |
//! | [`past`] | how runs on this host went: journals, and the state folder they are in |
//! | [`postgres`] | a Postgres cluster: read and put back by the tool that the plan names, its log archived, rehearsed |
//! | [`preflight`] | whether the world is as a plan needs it |
//! | [`programs`] | programs that are started, and what they are given |
//! | [`rehearse`] | restores into a scratch folder, to see that they would work |
//! | [`run`] | running a plan: the coordinator, its steps, the journal |
//! | [`scratch`] | folders in which what is restored is looked at, and thrown away |
//! | [`source`] | reading sources that are not plain files |
//! | [`stamped`] | files written for others, not over what people changed |
//! | [`starter`] | systemd and cron, told what to start |
//! | [`store`] | where artefacts go: the trait, and the folder store |
//! | [`status`] | how plans stand: ages, what comes next, promises |
//! | `trace` | a run as a trace of OpenTelemetry |

pub use backplan_archive::{artefact, cipher, extract, scan};
pub use backplan_host::{control, load, machine, middle, moment, places, text, threads, tree};
use backplan_host::{keeper, lasting, openat, regular};

pub mod aide;
pub mod backups;
pub mod catalog;
pub mod confine;
pub mod discover;
mod inherited;
pub mod mariadb;
pub mod metrics;
pub mod notify;
pub mod past;
pub mod postgres;
pub mod preflight;
pub mod programs;
pub mod rehearse;
pub mod run;
pub mod scratch;
pub mod source;
pub mod stamped;
pub mod starter;
pub mod status;
pub mod store;
mod tls;
#[cfg(any(feature = "otlp", test))]
pub mod trace;
mod yaml;
