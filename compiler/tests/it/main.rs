//! What the compiler promises, by its public interface.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod corpus;
mod cycle;
mod diff_schema;
mod explain;
mod findings;
mod fine;
mod gitignore;
mod golden;
mod imports;
mod limits;
mod patterns;
mod properties;
mod render;
mod samples;
mod simulate;
mod size;
