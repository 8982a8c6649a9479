//! "Did you mean": the nearest of the words that exist.

/// The one of `known` that `wrong` was most likely meant to be, if any is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(wrong, word), word))
        .filter(|(distance, _)| *distance <= wrong.len().div_ceil(2))
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_and_nothing_far_away() {
        assert_eq!(nearest("hostnam", ["timezone", "hostname"]), Some("hostname"));
        assert_eq!(nearest("zzzzzzzz", ["timezone", "hostname"]), None);
        assert_eq!(nearest("", ["timezone"]), None);
    }
}
