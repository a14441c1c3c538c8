//! Tests of the real program, as its users run it.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod broken;
mod check;
mod check_formats;
mod cycle_edits;
mod cycle_exact;
mod cycle_keep;
mod cycle_lost;
mod cycle_worlds;
mod diff;
mod diff_lost;
mod diff_run;
mod editors;
mod fmt;
mod graph;
mod init;
mod init_tty;
mod keep;
mod live;
mod lsp;
mod pg_base;
mod pg_rehearse;
mod pg_wal;
mod pg_wal_faults;
mod plans;
mod policy;
mod postgres;
mod prune;
mod reference;
mod rehearse;
mod run;
mod run_dry;
mod run_dry_oracle;
mod run_faults;
mod run_kill;
mod run_restore;
mod run_secrets;
mod run_sources;
mod run_staging;
mod run_stores;
mod run_windows;
mod scenario;
mod surface;
mod why;
