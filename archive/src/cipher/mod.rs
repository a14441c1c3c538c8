//! Encryption, in the format of the age program (age-encryption.org/v1): of artefacts, and of what is private in manifests.
//!
//! Headers, recipients and identities are the `age` crate's. The payload is cut into chunks that are each encrypted by
//! themselves, and is done here, so that it can be read from the middle, and so that what is known only at the end can
//! still be written at the beginning.
//!
//! | module | holds |
//! |---|---|
//! | [`chunks`] | the payload's chunks, and how lengths without and with encryption follow from one another |
//! | [`head`] | headers: whom a file is encrypted for, and which run made it |
//! | [`keyring`] | the private keys that a person gave |
//! | [`label`] | files that are encrypted whole, with a label in clear |
//! | [`message`] | short texts, encrypted whole |
//! | [`seal`] | encrypting what is written |
//! | [`unseal`] | reading from the middle of what is encrypted |

pub mod chunks;
pub mod head;
pub mod keyring;
pub mod label;
pub mod message;
pub mod seal;
pub mod unseal;

#[cfg(test)]
mod tests;

pub use head::{BadRecipient, mark, recipient};
pub use keyring::{Ask, KeyError, Keyring, NoOne, Passphrase};
pub use unseal::{UnsealError, Unsealed};
