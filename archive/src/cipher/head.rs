//! The header of an age file: whom it is encrypted for, and which run made it.
//!
//! An encrypted artefact says in clear, as any artefact does, which run made it: a recovery and a deletion ask for nothing
//! else, and hold no key. It stands in the header as the first stanza, `-> backplan RUN`; age's programs pass over stanzas
//! that they do not know, and the header's authentication covers it.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use age::{DecryptError, EncryptError, Encryptor, Identity};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;

use super::chunks::{Chunks, NONCE};
use super::keyring::Keyring;

/// What an age file begins with.
pub(super) const FIRST_LINE: &[u8] = b"age-encryption.org/v1\n";
/// The stanza that names the run.
const MARK: &str = "backplan";
/// A header has no more bytes than this: hundreds of recipients.
pub const HEAD_MAX: usize = 1 << 20;
/// Nobody encrypts for more than this many.
const STANZAS_MAX: usize = 4096;
/// Enough of a file for the headers of a few recipients.
pub const HEAD_LIKELY: usize = 4096;

/// Why a text is no public key that can be encrypted for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}")]
pub struct BadRecipient {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

/// A public key, as it is written in a plan.
///
/// # Errors
/// What is wrong with it.
pub fn recipient(text: &str) -> Result<Box<dyn age::Recipient + Send + Sync>, BadRecipient> {
    use age::ssh::ParseRecipientKeyError as Ssh;
    let bad = |why: &str| BadRecipient { text: text.to_owned(), why: why.to_owned() };
    if text.starts_with("age1") {
        let parsed = text.parse::<age::x25519::Recipient>();
        return parsed
            .map(|key| Box::new(key) as _)
            .map_err(|_| bad("is no public key: a character is wrong or missing; copy it again"));
    }
    match text.parse::<age::ssh::Recipient>() {
        Ok(key) => Ok(Box::new(key)),
        Err(Ssh::RsaModulusTooSmall) => Err(bad("is an RSA key of less than 2048 bits, which is too weak")),
        Err(Ssh::RsaModulusTooLarge) => Err(bad("is an RSA key of more than 4096 bits, which is not read")),
        Err(Ssh::Unsupported(kind)) => {
            Err(bad(&format!("is an SSH key of kind `{kind}`; use one of `ssh-ed25519` or `ssh-rsa`")))
        }
        Err(_) => Err(bad("is no public key: a character is wrong or missing; copy it again")),
    }
}

/// Stands among the recipients: writes the run into the header, and keeps the file's key for the payload.
struct Mark<'a> {
    run: Option<&'a str>,
    key: Mutex<Option<FileKey>>,
}

impl age::Recipient for Mark<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy(key));
        let stanza =
            |run: &str| Stanza { tag: MARK.to_owned(), args: vec![run.to_owned()], body: Vec::new() };
        Ok((self.run.map(stanza).into_iter().collect(), HashSet::new()))
    }
}

fn copy(key: &FileKey) -> FileKey {
    FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret()))
}

/// The public keys to encrypt for.
///
/// # Errors
/// When one is none, or there are more than a reader takes.
pub(super) fn parsed(recipients: &[String]) -> io::Result<Vec<Box<dyn age::Recipient + Send + Sync>>> {
    // One stanza more is the mark.
    if recipients.len() >= STANZAS_MAX {
        return Err(io::Error::other(format!("there are more than {STANZAS_MAX} keys")));
    }
    recipients.iter().map(|text| recipient(text)).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// The header of a new file that `run` makes for these recipients, with the nonce behind it, and the key of what follows.
///
/// # Errors
/// When a recipient is none.
pub fn new_head(recipients: &[String], run: &str) -> io::Result<(Vec<u8>, Chunks)> {
    let keys = parsed(recipients)?;
    let mark = Mark { run: Some(run), key: Mutex::new(None) };
    let first = std::iter::once(&mark as &dyn age::Recipient);
    let all = first.chain(keys.iter().map(|key| &**key as &dyn age::Recipient));
    let encryptor = Encryptor::with_recipients(all).map_err(|error| io::Error::other(error.to_string()))?;
    let mut head = Vec::new();
    // Dropped at once: the payload is written here.
    drop(encryptor.wrap_output(&mut head)?);
    let key = mark.key.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (Some(key), Some(nonce)) = (key, head.last_chunk::<NONCE>()) else {
        return Err(io::Error::other("a header without a key"));
    };
    let chunks = Chunks::new(&key, nonce);
    Ok((head, chunks))
}

/// The run that an encrypted artefact's first bytes name.
pub fn mark(head: &[u8]) -> Option<&str> {
    let rest = head.strip_prefix(FIRST_LINE)?.strip_prefix(b"-> backplan ")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let run = std::str::from_utf8(&rest[..end]).ok()?;
    let is_name = (1..=64).contains(&run.len()) && run.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then_some(run)
}

/// Why a header does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// More of the file is needed.
    Short,
    /// It is no header of an age file, or damaged.
    Damaged(String),
    /// None of the keys is among its recipients.
    NoKey,
}

/// Opens the header at the beginning of `bytes`: its length with the nonce, and the key of what follows.
///
/// # Errors
/// See [`Closed`].
pub fn open_head(bytes: &[u8], keys: &Keyring) -> Result<(usize, Chunks), Closed> {
    let mut rest = bytes;
    let decryptor = age::Decryptor::new(&mut rest).map_err(|error| match error {
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Closed::Short,
        _ if bytes.starts_with(FIRST_LINE) => Closed::Damaged("its header is damaged".to_owned()),
        _ => Closed::Damaged("it does not begin as an encrypted file does".to_owned()),
    })?;
    let opened = Opened::new(keys);
    match decryptor.decrypt(std::iter::once(&opened as &dyn Identity)).map(drop) {
        Ok(()) => {}
        Err(DecryptError::NoMatchingKeys) => return Err(Closed::NoKey),
        Err(_) => return Err(Closed::Damaged("its header was changed: it does not fit its key".to_owned())),
    }
    let length = bytes.len() - rest.len();
    let key = opened.key.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (Some(key), Some(nonce)) = (key, bytes[..length].last_chunk::<NONCE>()) else {
        return Err(Closed::Damaged("its header has no key".to_owned()));
    };
    Ok((length, Chunks::new(&key, nonce)))
}

/// Tries every key, and keeps the file's.
pub(super) struct Opened<'a> {
    keys: &'a Keyring,
    key: Mutex<Option<FileKey>>,
}

impl<'a> Opened<'a> {
    /// With these keys.
    pub(super) fn new(keys: &'a Keyring) -> Opened<'a> {
        Opened { keys, key: Mutex::new(None) }
    }
}

impl Identity for Opened<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        // Whoever writes a header must not be able to keep its readers busy.
        if stanzas.len() > STANZAS_MAX {
            return Some(Err(DecryptError::InvalidHeader));
        }
        // One stanza that does not decrypt is no reason not to try the others.
        let mut failed = None;
        for identity in self.keys.identities() {
            for stanza in stanzas {
                match identity.unwrap_stanza(stanza) {
                    Some(Ok(key)) => {
                        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy(&key));
                        return Some(Ok(key));
                    }
                    Some(Err(error)) => failed = Some(error),
                    None => {}
                }
            }
        }
        failed.map(Err)
    }
}
