//! The nearest known name.

/// "did you mean `…`?", where a known name is near enough to what was written.
pub(crate) fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(written, known).map(|name| format!("did you mean `{name}`?"))
}

/// The known name that differs least: up to a third of its letters, or one letter in short names.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let most = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_not() {
        let known = ["store", "source", "schedule"];
        assert_eq!(nearest("soruce", known), Some("source"));
        assert_eq!(nearest("sotre", known), Some("store"));
        assert_eq!(nearest("zebra", known), None);
    }
}
