//! Pieces of a large file that are what the base has at the same place: their members are taken over as they are there.
//! Decoding one costs a tenth of compressing it.

use std::sync::Arc;

use super::PackError;
use super::base::CopyBase;
use crate::artefact::gzip::MEMBER_MAX;
use crate::artefact::member::Decoder;
use crate::artefact::{Flags, Kind, PIECE};

/// Where the base has the pieces of a file of the same path.
#[derive(Debug, PartialEq, Eq)]
pub struct Before {
    /// The member of its first piece.
    first: u64,
    pieces: u64,
}

impl Before {
    /// Of this path; `None` where the base has no large file there, or is not of this host: fetching a member costs more than
    /// compressing it.
    ///
    /// # Errors
    /// When the base's index cannot be read.
    pub fn find(base: Option<&CopyBase>, path: &[u8]) -> Result<Option<Arc<Before>>, PackError> {
        let Some(base) = base.filter(|base| base.file.is_some()) else { return Ok(None) };
        let entry = base.artefact.find(path).map_err(PackError::Base)?;
        let large = entry.filter(|entry| entry.kind == Kind::File && entry.payload > PIECE as u64);
        Ok(large.map(|entry| {
            // A stream's header has a member of its own.
            let head = u64::from(entry.flags.has(Flags::STREAM));
            Arc::new(Before { first: entry.member + head, pieces: entry.payload.div_ceil(PIECE as u64) })
        }))
    }

    /// The base's member that decodes to these bytes, if its piece of this number does. What cannot be read, or is not what
    /// the index says, is no help and no harm: the piece is at hand.
    pub fn member(
        &self,
        base: &CopyBase,
        index: u64,
        tar: &[u8],
        scratch: &mut Scratch,
    ) -> Option<(Vec<u8>, [u8; 32])> {
        let number = self.first.checked_add(index).filter(|_| index < self.pieces)?;
        let member =
            base.artefact.member(number).ok().filter(|member| member.decoded as usize == tar.len())?;
        let mut bytes = vec![0; member.len as usize];
        let file = base.file.as_ref()?;
        std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, member.offset).ok()?;
        if *blake3::hash(&bytes).as_bytes() != member.hash {
            return None;
        }
        scratch.decoder.decode(&bytes, MEMBER_MAX, &mut scratch.bytes).ok()?;
        (scratch.bytes == tar).then_some((bytes, member.hash))
    }
}

/// What a thread decodes with.
#[derive(Default)]
pub struct Scratch {
    decoder: Decoder,
    bytes: Vec<u8>,
}
