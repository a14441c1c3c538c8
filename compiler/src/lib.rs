//! From syntax trees to a typed model, findings and a graph of steps. Pure: no file, no clock, no environment; what
//! a stage needs of the world comes in as a value.
//!
//! | module | holds |
//! |---|---|
//! | [`sources`] | the texts a compilation works on: the plan and all that it imports |
//! | [`model`] | the resolved plan: every name bound, every value typed |
//! | [`schema`] | which declarations and attributes exist, as data |
//! | [`value`] | values that a run fills in ([`value::Text`]) or that must not be seen ([`value::Secret`]) |
//! | [`codes`] | every finding there is: name, weight, meaning |
//! | [`finding`] | what a check says: stable name, severity, spans, mend |
//! | [`graph`] | the graph of steps with its effects as data |
//! | [`lower`](mod@lower) | model → graph |

pub mod codes;
pub mod finding;
pub mod graph;
pub mod lower;
pub mod model;
pub mod schema;
pub mod sources;
pub mod value;
