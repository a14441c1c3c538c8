//! What artefacts and scans promise, by the public interface.

#![allow(clippy::unwrap_used, missing_docs)]

mod artefact_round_trip;
mod artefact_trouble;
mod increments;
mod increments_at_random;
mod support;
mod view;
