//! Clusters rehearsed: put back into a scratch folder, started, and asked.
//!
//! | module | holds |
//! |---|---|
//! | `cluster` | data directories, by whichever tool |
//! | `dump` | dumps, loaded into a new cluster |
//! | `server` | what is asked of a cluster that runs again |

pub(crate) mod cluster;
pub(crate) mod dump;
mod server;

pub(crate) use server::words_of;
