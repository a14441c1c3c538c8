//! Short texts, encrypted whole, in armour.

use std::io::{self, Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor, Identity};

use backplan_compiler::count::plural;

use super::head::{Opened, parsed};
use super::keyring::Keyring;

/// Why a text does not open.
#[derive(Debug)]
pub enum Unopened {
    /// None of the keys fits.
    NoKey,
    /// It is no such text, or damaged.
    Damaged(String),
}

/// Encrypts a text.
///
/// # Errors
/// When a recipient is none.
pub fn seal(text: &[u8], recipients: &[String]) -> io::Result<String> {
    let keys = parsed(recipients)?;
    let keys = keys.iter().map(|key| &**key as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(keys).map_err(|error| io::Error::other(error.to_string()))?;
    let mut sealed = Vec::new();
    let armour = ArmoredWriter::wrap_output(&mut sealed, Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armour)?;
    writer.write_all(text)?;
    writer.finish().and_then(ArmoredWriter::finish)?;
    String::from_utf8(sealed).map_err(io::Error::other)
}

/// Decrypts a text of `most` bytes at the most.
///
/// # Errors
/// See [`Unopened`].
pub fn unseal(sealed: &str, most: usize, keys: &Keyring) -> Result<Vec<u8>, Unopened> {
    let damaged = || Unopened::Damaged("what is encrypted in it was changed, or cut".to_owned());
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed.as_bytes())).map_err(|_| damaged())?;
    let identity = Opened::new(keys);
    let opened =
        decryptor.decrypt(std::iter::once(&identity as &dyn Identity)).map_err(|error| match error {
            DecryptError::NoMatchingKeys => Unopened::NoKey,
            _ => damaged(),
        })?;
    let mut text = Vec::new();
    opened.take(most as u64 + 1).read_to_end(&mut text).map_err(|_| damaged())?;
    if text.len() > most { Err(damaged()) } else { Ok(text) }
}

/// Bytes behind a header: the nonce, and the one chunk that there is at the least, with its tag.
const PAYLOAD: usize = 16 + 16;

/// Looks at a text without a key: that its armour is whole, and that it has a header for as many keys.
///
/// # Errors
/// What is wrong with it.
pub fn look(sealed: &str, readers: usize) -> Result<(), String> {
    let mut bytes = Vec::new();
    let mut armour = ArmoredReader::new(sealed.as_bytes());
    armour.read_to_end(&mut bytes).map_err(|_| "what is encrypted in it was changed, or cut".to_owned())?;
    let stanzas = stanzas(&bytes).ok_or("what is encrypted in it has no whole header")?;
    match stanzas < readers {
        true => {
            Err(format!("it is encrypted for {}, and the artefacts for {readers}", plural(stanzas, "key")))
        }
        false => Ok(()),
    }
}

/// How many recipients a file's header has, if it is whole and something is behind it.
fn stanzas(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut stanzas) = (bytes, 0);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, behind) = (&rest[..end], &rest[end + 1..]);
        rest = behind;
        if line.starts_with(b"--- ") {
            return (rest.len() >= PAYLOAD).then_some(stanzas);
        }
        stanzas += usize::from(line.starts_with(b"-> "));
    }
}
