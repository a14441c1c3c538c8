//! A file that is encrypted whole, with a label in clear in its header: what everybody may know of it, and a digest of what
//! follows, so that damage is found without a key. Age's programs pass over a stanza that they do not know.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use age::{EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};

use super::chunks::{CHUNK, Chunks, NONCE};
use super::head::{FIRST_LINE, HEAD_MAX, parsed};

/// The stanza that is the label.
const LABEL: &str = "backplan-label";

/// Stands among the recipients: encrypts the text as soon as there is a key, and writes the label into the header.
struct Labelling<'a> {
    text: &'a [u8],
    words: &'a [String],
    payload: Mutex<Option<io::Result<Vec<u8>>>>,
}

impl age::Recipient for Labelling<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let payload = encrypted(self.text, key);
        let digest = payload.as_ref().map(|payload| blake3::hash(payload).to_hex().to_string());
        let words = digest.iter().cloned().chain(self.words.iter().cloned());
        let stanza = Stanza { tag: LABEL.to_owned(), args: words.collect(), body: Vec::new() };
        *self.payload.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        Ok((vec![stanza], HashSet::new()))
    }
}

/// A nonce and the chunks behind it.
fn encrypted(text: &[u8], key: &FileKey) -> io::Result<Vec<u8>> {
    let nonce = backplan_host::machine::random_bytes::<NONCE>();
    let chunks = Chunks::new(key, &nonce);
    let mut out = nonce.to_vec();
    let last = text.len().saturating_sub(1) / CHUNK;
    for number in 0..=last {
        let mut chunk = text[number * CHUNK..text.len().min((number + 1) * CHUNK)].to_vec();
        chunks.seal(number as u64, number == last, &mut chunk)?;
        out.append(&mut chunk);
    }
    Ok(out)
}

/// Encrypts a text for these recipients, with a label of words in clear.
///
/// # Errors
/// When a recipient is none, or a word could not stand in a header.
pub fn seal(text: &[u8], recipients: &[String], words: &[String]) -> io::Result<Vec<u8>> {
    let is_word = |word: &String| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    if !words.iter().all(is_word) {
        return Err(io::Error::other("a label of no words"));
    }
    let keys = parsed(recipients)?;
    let labelling = Labelling { text, words, payload: Mutex::new(None) };
    let first = std::iter::once(&labelling as &dyn age::Recipient);
    let all = first.chain(keys.iter().map(|key| &**key as &dyn age::Recipient));
    let encryptor = Encryptor::with_recipients(all).map_err(|error| io::Error::other(error.to_string()))?;
    let mut file = Vec::new();
    drop(encryptor.wrap_output(&mut file)?);
    let payload = labelling.payload.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The nonce stands behind the header, and is not part of what it authenticates: the payload has its own.
    file.truncate(file.len().saturating_sub(NONCE));
    file.append(&mut payload.unwrap_or_else(|| Err(io::Error::other("a header without a key")))?);
    Ok(file)
}

/// What a label says, and the place of what its digest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The words.
    pub words: Vec<String>,
    /// BLAKE3 of all that follows the header.
    pub digest: [u8; 32],
    /// Bytes of the header.
    pub header: usize,
}

/// The label at the beginning of an encrypted file; `None`: it has none, or more of it is needed.
pub fn label(bytes: &[u8]) -> Option<Label> {
    let rest = bytes.strip_prefix(FIRST_LINE)?.strip_prefix(b"-> ")?;
    let line = std::str::from_utf8(rest.split(|byte| *byte == b'\n').next()?).ok()?;
    let mut words = line.split(' ');
    if words.next() != Some(LABEL) {
        return None;
    }
    let digest = blake3::Hash::from_hex(words.next()?).ok()?;
    let end = bytes.windows(5).take(HEAD_MAX).position(|found| found == b"\n--- ")? + 1;
    let header = end + bytes[end..].iter().position(|byte| *byte == b'\n')? + 1;
    Some(Label { words: words.map(str::to_owned).collect(), digest: *digest.as_bytes(), header })
}
