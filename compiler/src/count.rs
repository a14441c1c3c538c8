//! Numbers with their nouns.

use std::fmt::Display;

/// `1 plan`, `2 plans`, `2 entries`, `2 days`
pub fn plural<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let stem = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match stem {
        _ if count == N::from(1) => format!("1 {noun}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

/// `1 copy is`, `2 copies are`
pub fn are<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let verb = if count == N::from(1) { "is" } else { "are" };
    format!("{} {verb}", plural(count, noun))
}

#[cfg(test)]
mod tests {
    use super::{are, plural};

    #[test]
    fn one_is_not_many() {
        let words = [plural(0, "entry"), plural(1, "entry"), plural(2_u64, "entry"), plural(3_usize, "day")];
        assert_eq!([are(1, "copy"), are(2, "copy")], ["1 copy is", "2 copies are"]);
        assert_eq!(words, ["0 entries", "1 entry", "2 entries", "3 days"]);
    }
}
