//! The private keys that a person gave: read once, held in memory that is wiped, and shown nowhere.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use age::{DecryptError, Identity};
use age_core::secrecy::SecretString;
use age_core::secrecy::zeroize::Zeroize;

/// Bytes of a file with keys at the most.
const MAX_BYTES: u64 = 1 << 20;
/// How often a passphrase is asked for.
const ATTEMPTS: usize = 3;
/// The most work that a passphrase may cost, as age's own program takes it: some seconds.
const MAX_WORK: u8 = 22;

/// A passphrase, wiped when it is dropped.
pub type Passphrase = SecretString;

/// Whoever can be asked for a passphrase.
pub trait Ask {
    /// The answer; `None`: there is nobody to ask, or they gave none.
    fn passphrase(&self, question: &str) -> Option<Passphrase>;
}

/// Nobody is there to be asked.
#[derive(Debug, Clone, Copy)]
pub struct NoOne;

impl Ask for NoOne {
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// Why a file gives no key. What is in it is never told.
#[derive(Debug, thiserror::Error)]
#[error("identity `{place}`: {why}")]
pub struct KeyError {
    /// The file, or what else gives it.
    pub place: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// Private keys.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

struct Key {
    identity: Box<dyn Identity + Send + Sync>,
    /// Its public key, as a plan would name it.
    public: String,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.publics()).finish()
    }
}

impl Keyring {
    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Their public keys.
    pub fn publics(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.public.as_str())
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &dyn Identity> {
        self.keys.iter().map(|key| &*key.identity as &dyn Identity)
    }

    /// Whether one of these recipients is one of the keys: by their public halves, without what an SSH key says behind them.
    pub fn fits(&self, recipients: &[String]) -> bool {
        recipients.iter().any(|recipient| self.publics().any(|public| bare(public) == bare(recipient)))
    }

    /// Adds the keys of a file: of age, of age under a passphrase, or an SSH key.
    ///
    /// # Errors
    /// When it cannot be read, or has no key that can be used.
    pub fn add_file(&mut self, path: &Path, ask: &dyn Ask) -> Result<(), KeyError> {
        let place = path.display().to_string();
        let failed = |why: String| KeyError { place: place.clone(), why };
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
        if let Err(error) = read {
            return Err(failed(format!("{error}: name a file with a private key")));
        }
        if text.len() as u64 > MAX_BYTES {
            text.zeroize();
            return Err(failed("it is larger than any private key: name a file with one".to_owned()));
        }
        let added = self.add(&place, &text, ask);
        text.zeroize();
        added
    }

    /// Adds the keys of such a file's contents. `place` says where they are from.
    ///
    /// # Errors
    /// When there is no key in them that can be used.
    pub fn add(&mut self, place: &str, text: &[u8], ask: &dyn Ask) -> Result<(), KeyError> {
        let failed = |why: &str| KeyError { place: place.to_owned(), why: why.to_owned() };
        let begin = text.trim_ascii_start();
        if begin.starts_with(b"age-encryption.org/") || begin.starts_with(b"-----BEGIN AGE ENCRYPTED") {
            let mut opened = under_passphrase(place, begin, ask)?;
            let added = self.add_native(place, &opened);
            opened.zeroize();
            return added;
        }
        if begin.starts_with(b"-----BEGIN") {
            return self.add_ssh(place, begin, ask);
        }
        if begin.starts_with(b"age1") || begin.starts_with(b"ssh-") {
            return Err(failed("it is a public key; the private one opens what is encrypted for it"));
        }
        self.add_native(place, text)
    }

    fn add_native(&mut self, place: &str, text: &[u8]) -> Result<(), KeyError> {
        let failed = |why: String| KeyError { place: place.to_owned(), why };
        let text = std::str::from_utf8(text)
            .map_err(|_| failed("it is no text: name a file with a private key".to_owned()))?;
        let mut found = 0;
        for (number, line) in (1..).zip(text.lines()).map(|(number, line)| (number, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Ok(identity) = line.parse::<age::x25519::Identity>() else {
                let what = match line.starts_with("AGE-PLUGIN-") {
                    true => "is a plugin's key, which this program does not open",
                    false => "is no private key",
                };
                return Err(failed(format!(
                    "line {number} {what}: write `AGE-SECRET-KEY-1…`, or name an SSH key's file"
                )));
            };
            let public = identity.to_public().to_string();
            self.keys.push(Key { identity: Box::new(identity), public });
            found += 1;
        }
        match found {
            0 => Err(failed("there is no private key in it".to_owned())),
            _ => Ok(()),
        }
    }

    fn add_ssh(&mut self, place: &str, text: &[u8], ask: &dyn Ask) -> Result<(), KeyError> {
        use age::ssh::{Identity as Ssh, UnsupportedKey};
        let failed = |why: &str| KeyError { place: place.to_owned(), why: why.to_owned() };
        let parsed = Ssh::from_buffer(BufReader::new(text), None);
        let identity = match parsed.map_err(|_| {
            failed("it is no SSH key that this program reads: use one of `ssh-keygen -t ed25519`")
        })? {
            Ssh::Encrypted(key) => {
                let question = format!("Passphrase of `{place}`: ");
                let mut opened = None;
                for _ in 0..ATTEMPTS {
                    let given = ask.passphrase(&question).ok_or_else(|| failed(NOBODY))?;
                    opened = key.decrypt(given).ok();
                    if opened.is_some() {
                        break;
                    }
                }
                Ssh::from(opened.ok_or_else(|| failed(WRONG))?)
            }
            Ssh::Unsupported(UnsupportedKey::EncryptedPem) => {
                return Err(failed(&format!(
                    "it is an encrypted key in an old form: bring it into the new one with `ssh-keygen -o -p -f {place}`"
                )));
            }
            Ssh::Unsupported(_) => {
                return Err(failed(
                    "it is an SSH key of a kind that cannot open files: use `ssh-ed25519` or `ssh-rsa`",
                ));
            }
            key @ Ssh::Unencrypted(_) => key,
        };
        let public = age::ssh::Recipient::try_from(identity.clone());
        let public = public
            .map_err(|_| failed("it is an SSH key that cannot open files: use `ssh-ed25519` or `ssh-rsa`"))?;
        self.keys.push(Key { identity: Box::new(identity), public: public.to_string() });
        Ok(())
    }
}

const NOBODY: &str = "it is under a passphrase, and there is no terminal to ask for it: give a key without one, or run this \
                      at a terminal";
const WRONG: &str = "the passphrase is wrong";

/// A file of age's keys that is itself encrypted with a passphrase.
fn under_passphrase(place: &str, text: &[u8], ask: &dyn Ask) -> Result<Vec<u8>, KeyError> {
    let failed = |why: &str| KeyError { place: place.to_owned(), why: why.to_owned() };
    let begin = || {
        let file = age::Decryptor::new_buffered(BufReader::new(age::armor::ArmoredReader::new(text)));
        file.map_err(|_| failed("it is an encrypted file, and damaged"))
    };
    if !begin()?.is_scrypt() {
        return Err(failed("it is a file encrypted for somebody, not under a passphrase: decrypt it first"));
    }
    let question = format!("Passphrase of `{place}`: ");
    for _ in 0..ATTEMPTS {
        let given = ask.passphrase(&question).ok_or_else(|| failed(NOBODY))?;
        let mut identity = age::scrypt::Identity::new(given);
        identity.set_max_work_factor(MAX_WORK);
        match begin()?.decrypt(std::iter::once(&identity as &dyn Identity)) {
            Ok(plain) => {
                let mut opened = Vec::new();
                let read: io::Result<usize> = plain.take(MAX_BYTES).read_to_end(&mut opened);
                return read.map(|_| opened).map_err(|_| failed("it is an encrypted file, and damaged"));
            }
            Err(DecryptError::ExcessiveWork { .. }) => {
                return Err(failed(
                    "its passphrase takes too long to try: encrypt it again, as `age -p` does",
                ));
            }
            Err(_) => {}
        }
    }
    Err(failed(WRONG))
}

/// A public key without the comment behind it.
pub fn bare(recipient: &str) -> String {
    recipient.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
