//! How large the parts of an upload are. A server takes 10,000 of them, and each is held in memory until it has come, so they are
//! as small as what is going to come permits.

/// Bytes of the first parts. A server takes no smaller ones than 5 MiB.
pub(super) const PART: usize = 8 << 20;
/// Parts that a server takes.
const PARTS: usize = 10_000;
/// Parts that what is said to come may have: the rest is for what comes beyond it, and for parts that are copied.
const SAID: u64 = 5_000;
/// After so many parts of what is said to come the next ones may be twice as large, and are where so many are needed: where
/// far less comes than was said, it was not held in few large parts.
const GROW: usize = 500;
/// What doubles no more: no part is larger than 4 GiB.
const DOUBLINGS: usize = 9;
/// More than this no server takes as one object, whoever says so.
const MOST: u64 = 5 << 40;

/// The sizes of the parts of one upload.
#[derive(Debug)]
pub(super) struct Sizes {
    /// Bytes that are said to come; none: nobody knows.
    about: u64,
    /// Bytes of each part if these come.
    even: usize,
    /// Bytes of the part that is open.
    now: usize,
    /// How they grow once that was not all, or where nobody knows.
    beyond: Option<Growth>,
}

/// Parts that double after so many, from one on.
#[derive(Debug, Clone, Copy)]
struct Growth {
    first: usize,
    size: usize,
    step: usize,
}

impl Growth {
    /// Where nobody knows how much comes.
    const FREE: Growth = Growth { first: 0, size: PART, step: PARTS / (DOUBLINGS + 1) };

    /// From a part on, where what was said was not all: what is left of their number holds all that a server takes.
    fn behind(first: usize, size: usize) -> Growth {
        Growth { first, size, step: (PARTS.saturating_sub(first) / (DOUBLINGS + 3)).max(1) }
    }

    fn of(self, index: usize) -> usize {
        let doublings = ((index - self.first) / self.step).min(DOUBLINGS);
        (self.size << doublings).min(PART << DOUBLINGS)
    }
}

impl Sizes {
    /// The sizes where about so many bytes will come.
    pub fn new(about: Option<u64>) -> Sizes {
        let beyond = about.is_none().then_some(Growth::FREE);
        let about = about.unwrap_or(0).min(MOST);
        Sizes { about, even: PART.max(about.div_ceil(SAID) as usize), now: PART, beyond }
    }

    /// Bytes of the part that is open.
    pub fn now(&self) -> usize {
        self.now
    }

    /// The next part is open: its index, and how many bytes come before it.
    pub fn go_on(&mut self, index: usize, start: u64) {
        self.now = match start < self.about {
            true => self.even.min(PART << (index / GROW).min(DOUBLINGS)),
            false => self.beyond.get_or_insert(Growth::behind(index, self.now)).of(index),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;

    /// The parts of so many bytes: their number, and the largest of them but the last.
    fn parts(about: Option<u64>, bytes: u64) -> (usize, usize) {
        let (mut sizes, mut start, mut index, mut largest) = (Sizes::new(about), 0, 0, 0);
        loop {
            start += sizes.now() as u64;
            if start >= bytes {
                return (index + 1, largest);
            }
            largest = largest.max(sizes.now());
            index += 1;
            sizes.go_on(index, start);
        }
    }

    #[test]
    fn where_nobody_knows_parts_double_after_each_thousand() {
        let (mut sizes, mut start) = (Sizes::new(None), 0);
        for index in 0..PARTS {
            if index > 0 {
                sizes.go_on(index, start);
            }
            assert_eq!(sizes.now(), PART << (index / 1000));
            start += sizes.now() as u64;
        }
        assert!(start > MOST);
    }

    #[test]
    fn parts_are_as_small_as_what_is_said_to_come_permits() {
        // As many as are alike, and no larger than the first.
        assert_eq!(parts(Some(39 * GIB), 39 * GIB), (4992, PART));
        assert_eq!(parts(None, 39 * GIB).1, 4 * PART);
        for (bytes, most) in [(100 * GIB, 21 << 20), (TIB, 210 << 20), (MOST, 1050 << 20)] {
            let (count, largest) = parts(Some(bytes), bytes);
            assert!(count <= PARTS && largest <= most, "{bytes}: {count} parts up to {largest}");
            assert!(largest < parts(None, bytes).1, "{bytes}");
        }
    }

    #[test]
    fn what_is_said_may_be_wrong() {
        for (said, comes) in [(1, MOST), (GIB, MOST), (60 * GIB, MOST), (TIB, MOST), (MOST, MOST)] {
            let (count, _) = parts(Some(said), comes);
            assert!(count <= PARTS, "{said} were said: {count} parts");
        }
        // A little too little costs little.
        assert_eq!(parts(Some(39 * GIB), 43 * GIB).1, 2 * PART);
        // Too much costs no more than a part that is twice as large.
        for comes in [GIB, 10 * GIB, 50 * GIB, 400 * GIB] {
            for said in [TIB, MOST, u64::MAX] {
                assert!(parts(Some(said), comes).1 <= 2 * parts(None, comes).1, "{said} for {comes}");
            }
        }
    }
}
