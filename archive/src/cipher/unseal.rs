//! Reading from the middle of what is encrypted.

use backplan_compiler::count::plural;
use std::io;
use std::sync::Arc;

use super::chunks::{CHUNK, Chunks, SEALED, plain_len};
use super::head::{Closed, HEAD_LIKELY, HEAD_MAX, mark, open_head};
use super::keyring::Keyring;
use backplan_host::middle::{ReadAt, Spoilt};

/// An encrypted file, to be read as if it were not. Every read is of whole chunks, and each of them is authenticated.
pub struct Unsealed {
    inner: Arc<dyn ReadAt>,
    key: Chunks,
    /// Bytes of the header.
    head: u64,
    /// Bytes of the payload, in the file.
    payload: u64,
    /// Bytes of it, decrypted.
    size: u64,
    /// The run that the header names, if it does.
    run: Option<String>,
}

/// Why an encrypted file does not open.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// The bytes cannot be had.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It is no encrypted file, or damaged, or cut.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// None of the keys opens it.
    #[error("none of the keys opens it")]
    NoKey,
}

impl Unsealed {
    /// Opens a file with the first key that fits.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub fn open(inner: Arc<dyn ReadAt>, keys: &Keyring) -> Result<Unsealed, UnsealError> {
        let size = inner.size()?;
        let mut bytes = inner.read_at(0, HEAD_LIKELY)?;
        let mut opened = open_head(&bytes, keys);
        if opened.as_ref().is_err_and(|closed| *closed == Closed::Short) && size > bytes.len() as u64 {
            bytes = inner.read_at(0, HEAD_MAX)?;
            opened = open_head(&bytes, keys);
        }
        let (head, key) = opened.map_err(|closed| match closed {
            Closed::Short => UnsealError::Damaged("its header ends early".to_owned()),
            Closed::Damaged(what) => UnsealError::Damaged(what),
            Closed::NoKey => UnsealError::NoKey,
        })?;
        let payload = size.saturating_sub(head as u64);
        let cut = || {
            UnsealError::Damaged(format!(
                "it is cut: no encrypted file has {} behind such a header",
                plural(size, "byte")
            ))
        };
        let plain = plain_len(payload).ok_or_else(cut)?;
        let run = mark(&bytes).map(str::to_owned);
        Ok(Unsealed { inner, key, head: head as u64, payload, size: plain, run })
    }

    /// Chunks from `first` on, decrypted.
    fn plain(&self, first: u64, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(sealed.len());
        for (number, chunk) in (first..).zip(sealed.chunks(SEALED)) {
            let mut chunk = chunk.to_vec();
            let is_last = (number + 1) * SEALED as u64 >= self.payload;
            if !self.key.unseal(number, is_last, &mut chunk) {
                let at = self.head + number * SEALED as u64;
                let what = format!(
                    "the encrypted bytes from {at} on are not what was written there: they are damaged, cut, or another's"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, Spoilt { offset: at, what }));
            }
            plain.append(&mut chunk);
        }
        Ok(plain)
    }

    /// The run that made it, by its header.
    pub fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }
}

impl ReadAt for Unsealed {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset.saturating_add(len as u64).min(self.size);
        if offset >= end {
            return Ok(Vec::new());
        }
        let (first, last) = (offset / CHUNK as u64, (end - 1) / CHUNK as u64);
        let from = first * SEALED as u64;
        let to = ((last + 1) * SEALED as u64).min(self.payload);
        let (at, len) = (self.head + from, (to - from) as usize);
        let sealed = self.inner.read_at(at, len)?;
        let mut plain = self.plain(first, &sealed);
        if plain.is_err() || sealed.len() < len {
            let others = (1..).map_while(|tried| self.inner.read_copy(tried, at, len)).flatten();
            let mut whole = others.filter(|sealed| sealed.len() == len);
            plain = whole.find_map(|sealed| self.plain(first, &sealed).ok()).map_or(plain, Ok);
        }
        let plain = plain?;
        let start = (offset - first * CHUNK as u64) as usize;
        let wanted = (end - offset) as usize;
        // Fewer where the object ended early.
        Ok(plain.get(start..).map(|rest| rest[..rest.len().min(wanted)].to_vec()).unwrap_or_default())
    }
}
