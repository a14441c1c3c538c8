//! Tests of the plan language as a whole: samples, errors, limits, formatting and properties.

#![allow(clippy::unwrap_used)]

mod errors;
mod formatting;
mod limits;
mod literals;
mod outline;
mod properties;
mod samples;
