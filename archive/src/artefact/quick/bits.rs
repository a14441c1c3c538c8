//! Bits on their way into bytes, the first lowest.

/// Writes bits into a buffer, a word at a time.
pub struct Bits<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Appends to `out`, beginning with what is known of a byte, `most` whole bytes at most.
    pub fn new(out: &'a mut Vec<u8>, begun: Begun, most: usize) -> Bits<'a> {
        let at = out.len();
        // The last word may reach beyond what counts of it.
        out.resize(at + most + 16, 0);
        Bits { out, at, held: u64::from(begun.bits), count: begun.count }
    }

    /// Adds bits. Until [`Bits::flush`] there is room for 56.
    #[inline(always)]
    pub fn add(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
    }

    /// Adds a code: its bits, and in the upper eight how many there are.
    #[inline(always)]
    pub fn add_word(&mut self, word: u32) {
        self.add(u64::from(word & 0xff_ffff), word >> 24);
    }

    /// Writes all whole bytes.
    #[inline(always)]
    pub fn flush(&mut self) {
        self.out[self.at..self.at + 8].copy_from_slice(&self.held.to_le_bytes());
        self.at += (self.count >> 3) as usize;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    /// Ends, with what is left of a byte.
    pub fn end(mut self) -> Begun {
        self.flush();
        self.out.truncate(self.at);
        Begun { bits: self.held as u8, count: self.count }
    }
}

/// A byte of which some bits are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// The bits.
    pub bits: u8,
    /// How many.
    pub count: u32,
}
