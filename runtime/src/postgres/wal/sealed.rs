//! Encrypted files of an archive. The header's label says in clear what a listing, a retention and a second push need, so that
//! none of them holds a key: how long the file is, when it was archived, a digest of it, and of a history where the timelines part.

use std::io;

use jiff::Timestamp;

use super::object::{self, Closing, ObjectError};
use super::survey::Fork;
use crate::artefact::ReadAt;
use crate::cipher::label;

/// Enough of a file for the headers of a few recipients.
const LIKELY: usize = 4096;
/// A header has no more bytes than this.
const MOST: usize = 1 << 20;
/// Bytes that are read at a time.
const PIECE: usize = 8 << 20;
/// In the place of forks that there are none of.
const NONE: &str = "-";

/// What an encrypted file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// As in a file in clear.
    pub closing: Closing,
    /// Of a history: where timelines part.
    pub forks: Vec<Fork>,
}

/// Encrypts a file of the archive.
///
/// # Errors
/// When a recipient is none.
pub fn seal(packed: &[u8], closing: &Closing, forks: &[Fork], recipients: &[String]) -> io::Result<Vec<u8>> {
    let parted: Vec<String> = forks.iter().map(|fork| format!("{}@{}", fork.parent, fork.at)).collect();
    let words = [
        "log".to_owned(),
        closing.length.to_string(),
        closing.archived.as_microsecond().to_string(),
        closing.hash().to_hex().to_string(),
        if parted.is_empty() { NONE.to_owned() } else { parted.join(",") },
    ];
    label::seal(packed, recipients, &words)
}

/// What a file says of itself.
///
/// # Errors
/// When it says nothing that can be understood.
pub fn read(file: &dyn ReadAt) -> Result<Label, ObjectError> {
    label_of(file).map(|(label, _)| label)
}

/// Sees that a file is what was brought to the archive, to its last byte.
///
/// # Errors
/// When it is not.
pub fn check(file: &dyn ReadAt) -> Result<(), ObjectError> {
    let (_, label::Label { digest, header, .. }) = label_of(file)?;
    let (mut hash, mut at) = (blake3::Hasher::new(), header as u64);
    loop {
        let bytes = file.read_at(at, PIECE).map_err(object::of_read)?;
        if bytes.is_empty() {
            break;
        }
        hash.update(&bytes);
        at += bytes.len() as u64;
    }
    match *hash.finalize().as_bytes() == digest {
        true => Ok(()),
        false => Err(ObjectError::Damaged("it is not what was brought there")),
    }
}

fn label_of(file: &dyn ReadAt) -> Result<(Label, label::Label), ObjectError> {
    const TORN: ObjectError = ObjectError::Damaged("its label is");
    let mut found = None;
    for most in [LIKELY, MOST] {
        found = label::label(&file.read_at(0, most).map_err(object::of_read)?);
        if found.is_some() {
            break;
        }
    }
    let found = found.ok_or(TORN)?;
    let label = parsed(&found.words).ok_or(TORN)?;
    Ok((label, found))
}

fn parsed(words: &[String]) -> Option<Label> {
    let [kind, length, archived, hash, forks, ..] = words else { return None };
    if kind != "log" {
        return None;
    }
    let archived = Timestamp::from_microsecond(archived.parse().ok()?).ok()?;
    let closing = Closing::of(length.parse().ok()?, archived, blake3::Hash::from_hex(hash).ok()?);
    let fork = |text: &str| {
        let (parent, at) = text.split_once('@')?;
        Some(Fork { parent: parent.parse().ok()?, at: at.parse().ok()? })
    };
    let forks = match forks.as_str() {
        NONE => Vec::new(),
        forks => forks.split(',').map(fork).collect::<Option<_>>()?,
    };
    Some(Label { closing, forks })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::object::Memory;
    use super::*;
    use crate::cipher::{Keyring, Unsealed};
    use age::secrecy::ExposeSecret;
    use std::sync::Arc;

    #[test]
    fn a_sealed_file_says_what_is_needed_without_a_key_and_opens_with_one() {
        let identity = age::x25519::Identity::generate();
        let recipients = [identity.to_public().to_string()];
        let archived = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        for length in [0, 5, 64 << 10, (64 << 10) + 1, 3 << 20] {
            let content: Vec<u8> = (0..length).map(|at: usize| ((at * at) >> 7) as u8).collect();
            let mut packed = Vec::new();
            object::write(&mut &*content, archived, |bytes| {
                packed.extend_from_slice(bytes);
                Ok::<(), ObjectError>(())
            })
            .unwrap();
            let closing = object::closing(&Memory(packed.clone())).unwrap();
            let forks = [Fork { parent: 1, at: "0/3000028".parse().unwrap() }];
            let file = seal(&packed, &closing, &forks, &recipients).unwrap();
            let label = read(&Memory(file.clone())).unwrap();
            assert_eq!((label.closing.length, label.closing.archived), (length as u64, archived));
            assert!(label.closing.is_same(&closing) && label.forks == forks);
            check(&Memory(file.clone())).unwrap();
            // By our reader, and by age's own.
            let mut keys = Keyring::default();
            keys.add("k", identity.to_string().expose_secret().as_bytes(), &crate::cipher::NoOne).unwrap();
            let opened = Unsealed::open(Arc::new(Memory(file.clone())), &keys).unwrap();
            let mut back = Vec::new();
            object::read(&opened, |bytes| {
                back.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
            assert!(back == content);
            assert!(age::decrypt(&identity, &file).unwrap() == packed);
            // Damage anywhere is found without a key, or changes nothing that is told.
            let header = label::label(&file).unwrap().header;
            for at in [30, 60, header, header + 16, file.len() / 2, file.len() - 1] {
                let mut damaged = file.clone();
                damaged[at] ^= 1;
                let is_found = check(&Memory(damaged)).is_err();
                assert!(is_found || at < header, "{length} {at}");
            }
            assert!(check(&Memory(file[..file.len() - 1].to_vec())).is_err());
        }
    }
}
