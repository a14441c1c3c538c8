//! What a patch says of contents that moved: bytes of the file before it that are at another place now.

/// The record of an extended header that holds them.
pub const KEY: &[u8] = b"BACKPLAN.moved";
/// One file has no more of them: their text fits into a header, and laying them takes no time to speak of.
pub const MOST: usize = 16_384;

/// Bytes of the file before that are in the file now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Where they are now.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// Where they were.
    pub from: u64,
}

/// The text of a record: three numbers each, all parted by spaces.
pub fn write(moves: &[Move]) -> String {
    let each = |moved: &Move| format!("{} {} {}", moved.offset, moved.len, moved.from);
    moves.iter().map(each).collect::<Vec<_>>().join(" ")
}

/// Reads a record: `None` where it is none, has too many of them, or they are not in order and apart.
pub fn read(text: &[u8]) -> Option<Vec<Move>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut numbers = Vec::new();
    for word in text.split(' ') {
        numbers.push(word.parse::<u64>().ok()?);
        if numbers.len() > 3 * MOST {
            return None;
        }
    }
    let (triples, []) = numbers.as_chunks::<3>() else { return None };
    let moves: Vec<Move> =
        triples.iter().map(|[offset, len, from]| Move { offset: *offset, len: *len, from: *from }).collect();
    let mut end = 0;
    for moved in &moves {
        moved.from.checked_add(moved.len)?;
        if moved.len == 0 || moved.offset < end {
            return None;
        }
        end = moved.offset.checked_add(moved.len)?;
    }
    Some(moves)
}

#[cfg(test)]
mod tests {
    use super::{Move, read, write};

    #[test]
    fn what_is_no_record_of_moves_is_refused() {
        let moves = [Move { offset: 0, len: 5, from: 70 }, Move { offset: 5, len: 1, from: 0 }];
        assert_eq!(read(write(&moves).as_bytes()), Some(moves.to_vec()));
        let many = "0 ".repeat(200_000) + "0";
        let largest = format!("{0} 1 0", u64::MAX);
        for text in ["", "1", "1 2", "1 0 3", "5 2 0 6 1 0", "1 2 x", "-1 2 3", "1  2 3", &largest, &many] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
