//! What a backup is: the layout of a store, manifests, identity, locks, commit, delete, recovery.
//!
//! | module | holds |
//! |---|---|
//! | [`commit`] | bringing a run into a store |
//! | [`delete`] | taking one out |
//! | [`details`] | a manifest's second document: what may be private |
//! | [`guard`] | what nobody should believe before something is deleted |
//! | [`hold`] | having the store itself hold what is immutable |
//! | [`host`] | what this host remembers, and the locks among its processes |
//! | [`identity`] | whose store it is |
//! | [`ids`] | ids of runs, plans, machines, attempts |
//! | [`labels`] | what the tool of a database says of a backup |
//! | [`layout`] | the name of everything in a store |
//! | [`lock`] | the lease of a plan in a store |
//! | [`made`] | which runs this machine has committed |
//! | [`manifest`] | a run's manifest: its clear part |
//! | [`mounted`] | the file systems that sources were read from |
//! | [`names`] | what a manifest says of names and places, as types |
//! | [`owner`] | who holds a lease, and whether that lives |
//! | [`prune`] | deleting what retention no longer keeps |
//! | [`recover`] | undoing what dead runs left |
//! | [`reserve`] | room for the day on which there is none left |
//! | [`runs`] | the runs a store holds |
//! | [`sequence`] | how high the numbers of its runs are, and can be |
//! | [`unreleased`] | leases that this process left behind |
//!
//! A run, store by store: [`identity::inspect`], [`lock::Lease::acquire`], [`identity::claim`],
//! [`recover::recover`], [`commit::Transaction::begin`], artefacts, [`commit::Transaction::commit`],
//! [`prune::PrunePlan::execute`], [`lock::Lease::release`].

pub use backplan_host::ids;

pub mod commit;
pub mod delete;
pub mod details;
pub mod fitness;
pub mod guard;
pub mod hold;
pub mod host;
pub mod identity;
pub mod labels;
pub mod layout;
pub mod lock;
mod losses;
pub mod made;
pub mod manifest;
pub mod mounted;
pub mod names;
pub mod notes;
pub mod owner;
pub mod prune;
pub mod recover;
pub mod reserve;
pub mod runs;
pub mod sequence;
mod unreleased;

#[cfg(test)]
mod tests;
