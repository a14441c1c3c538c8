//! Short texts, encrypted whole, in armour.

use std::io::{self, Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor, Identity};

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
