//! The payload of an age file: chunks of 64 KiB, each encrypted and authenticated by itself under its number, the last one
//! under a nonce that says so. What is cut off, exchanged, doubled or moved is therefore found, whichever chunk is read.

use std::io;

use age_core::format::FileKey;
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use age_core::secrecy::zeroize::Zeroize;
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};

/// Bytes of a chunk before encryption; the last one has fewer, or as many.
pub const CHUNK: usize = 64 << 10;
/// Bytes that a chunk is longer for being authenticated.
const TAG: usize = 16;
/// Bytes of a whole chunk as it lies in the file.
pub const SEALED: usize = CHUNK + TAG;
/// Bytes of the nonce behind the header, which goes into the payload's key.
pub const NONCE: usize = 16;

/// The key of one payload. It is wiped from memory when it is dropped.
pub struct Chunks(ChaCha20Poly1305);

impl Chunks {
    /// The key of the payload behind this nonce, in the file with this key.
    pub fn new(key: &FileKey, nonce: &[u8; NONCE]) -> Chunks {
        let mut payload = hkdf(nonce, b"payload", key.expose_secret());
        let cipher = ChaCha20Poly1305::new(&payload.into());
        payload.zeroize();
        Chunks(cipher)
    }

    /// Encrypts a chunk in place. A number may come twice only if what came before never leaves this process.
    ///
    /// # Errors
    /// When it is longer than a chunk.
    pub fn seal(&self, number: u64, is_last: bool, chunk: &mut Vec<u8>) -> io::Result<()> {
        if chunk.len() > CHUNK {
            return Err(io::Error::other("a chunk that is too long to be encrypted"));
        }
        let sealed = self.0.encrypt_in_place(&nonce(number, is_last), b"", chunk);
        sealed.map_err(|_| io::Error::other("a chunk could not be encrypted"))
    }

    /// Decrypts a chunk in place; whether it is what was encrypted under this number.
    #[must_use]
    pub fn unseal(&self, number: u64, is_last: bool, chunk: &mut Vec<u8>) -> bool {
        self.0.decrypt_in_place(&nonce(number, is_last), b"", chunk).is_ok()
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunks")
    }
}

/// Eleven bytes of number, the high ones first, and one that says whether it is the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce.into()
}

/// Bytes that so many take when they are encrypted, without the header.
pub fn sealed_len(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK as u64).max(1) * TAG as u64
}

/// Bytes that a payload of this length decrypts to; `None`: no payload has this length.
pub fn plain_len(sealed: u64) -> Option<u64> {
    let (whole, rest) = (sealed / SEALED as u64, sealed % SEALED as u64);
    let is_possible = match rest {
        0 => whole > 0,
        // Nothing at all is one empty chunk; behind others there is none.
        16 => whole == 0,
        rest => rest > TAG as u64,
    };
    is_possible.then(|| sealed - (whole + u64::from(rest > 0)) * TAG as u64)
}
