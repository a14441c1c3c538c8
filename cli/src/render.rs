//! Findings and failures, drawn for people and written for programs. One value goes in; who reads it decides the rest.

pub mod backups;
pub mod calendar;
pub mod changes;
pub mod diff;
pub mod fleet;
pub mod github;
pub mod human;
pub mod json;
pub mod keeping;
mod paint;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod sarif;
pub mod standings;
pub mod syncing;
pub mod text;
