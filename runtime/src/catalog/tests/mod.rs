//! Runs on recorded stores: the protocols as a whole, cut and broken everywhere.

#![allow(clippy::unwrap_used)]

mod broken;
mod cut;
mod gone;
mod identity;
mod leases;
mod listing;
mod protocol;
mod prune;
mod stage;
