//! Places of this machine as they really are: who may exchange them, what is mounted in them, and how they are emptied.
//!
//! | module | holds |
//! |---|---|
//! | [`account`] | doing something with the rights of another account |
//! | [`anchor`] | whether a path still leads to the folder that was opened by it |
//! | [`folder`] | looking through a folder, emptying and removing it, by descriptors |
//! | [`mounts`] | what is mounted where, so that one folder is known under all its names |
//! | [`spot`] | where something is, under whatever name it was given |
//! | [`trust`] | whether other accounts may put something else in a folder's place |
//! | [`world`] | the paths of a plan, compared as the world resolves them |

pub mod account;
pub mod anchor;
pub mod folder;
pub mod mounts;
pub mod private;
pub mod spot;
pub mod trust;
pub mod world;
