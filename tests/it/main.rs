//! Tests of the real program, as its users run it.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod broken;
mod check;
mod fmt;
mod plans;
mod prune;
mod reference;
mod run;
mod scenario;
mod surface;
