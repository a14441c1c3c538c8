//! BLAKE3 of a payload whose pieces are hashed by different threads: the same digest as hashing it in one go.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::PIECE;

/// The digest of a payload's piece: of a whole subtree, for a payload of several pieces.
pub fn piece(index: u64, bytes: &[u8]) -> ChainingValue {
    grain(index, PIECE, bytes)
}

/// The digest of a grain: a smaller subtree, of `size` bytes where it is not the last. Grains join as pieces do.
pub fn grain(index: u64, size: usize, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * size as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// Puts the digests of pieces together, which come in order.
#[derive(Debug, Default)]
pub struct Joiner {
    stack: Vec<ChainingValue>,
    count: u64,
}

impl Joiner {
    /// The next piece's digest.
    pub fn push(&mut self, piece: ChainingValue) {
        // Two neighbours are joined only once a later piece shows that their parent is not the root.
        while self.stack.len() > self.count.count_ones() as usize {
            self.join();
        }
        self.stack.push(piece);
        self.count += 1;
    }

    fn join(&mut self) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    /// The digest of all; `None` with fewer than two pieces (hash these directly).
    pub fn finish(mut self) -> Option<[u8; 32]> {
        while self.stack.len() > 2 {
            self.join();
        }
        let (right, left) = (self.stack.pop()?, self.stack.pop()?);
        Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Joiner, PIECE, piece};

    #[test]
    fn pieces_make_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..PIECE * 9 + 12_345).map(|at| (at * 7 + at / 253) as u8).collect();
        for length in [PIECE + 1, 2 * PIECE, 3 * PIECE, 4 * PIECE + 1, 5 * PIECE, 7 * PIECE, bytes.len()] {
            let mut joiner = Joiner::default();
            for (index, part) in bytes[..length].chunks(PIECE).enumerate() {
                joiner.push(piece(index as u64, part));
            }
            assert_eq!(joiner.finish().unwrap(), *blake3::hash(&bytes[..length]).as_bytes(), "{length}");
        }
    }
}
