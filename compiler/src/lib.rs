//! From syntax trees to a typed model, findings and a graph of steps. Pure: no file, no clock, no environment; what
//! a stage needs of the world comes in as a value.
//!
//! | module | holds |
//! |---|---|
//! | [`sources`] | the texts a compilation works on: the plan and all that it imports |
//! | [`model`] | the resolved plan: every name bound, every value typed |
//! | [`mod@compile`] | all of it: parse errors, resolution, checks, allowances |
//! | [`mod@resolve`] | syntax trees → model: imports followed, names bound, values typed |
//! | [`mod@diff`] | what a change of a plan does: to data, to declarations, to steps |
//! | [`due`] | the moments at which runs are due |
//! | [`schema`] | which declarations and attributes exist, as data |
//! | [`value`] | values that a run fills in ([`value::Text`]) or that must not be seen ([`value::Secret`]) |
//! | [`codes`] | every finding there is: name, weight, meaning |
//! | [`explain`] | a page on each finding, with examples |
//! | [`finding`] | what a check says: stable name, severity, spans, mend |
//! | [`kinds`] | what there is to know of each kind of source, in one place |
//! | [`graph`] | the graph of steps with its effects as data |
//! | [`lower`](mod@lower) | model → graph |
//! | [`cycle`] | which level the next run has, from the runs that exist |
//! | [`retention`] | which runs of a store stay, and why |
//! | [`simulate`](mod@simulate) | schedule, cycle and retention played forward for years |
//! | [`mod@picture`] | the graph as a picture, laid out here: SVG, and a page around it |
//! | [`mod@together`] | what plans that are checked together would do to one another |
//! | [`page`] | what every page that is written has in common, and escaping |
//! | [`pattern`] | patterns of `exclude`: what they match, what they leave |
//! | [`render`] | the graph as YAML, for Graphviz and for Mermaid |

mod allow;
pub mod codes;
pub mod compile;
pub mod count;
pub mod cycle;
pub mod diff;
pub mod due;
pub mod explain;
pub mod finding;
mod findings;
pub mod graph;
pub mod kinds;
pub mod lower;
pub mod model;
pub mod page;
pub mod pattern;
pub mod picture;
pub mod render;
pub mod resolve;
pub mod retention;
pub mod schema;
pub mod simulate;
pub mod sources;
pub mod template;
pub mod timer;
pub mod together;
pub mod value;

pub use compile::{Compiled, compile};
pub use findings::paths::{Laid, Role};
pub use resolve::suggest::nearest;
pub use resolve::{Resolved, import_paths, resolve};
