//! The nearest known word to one that is not known.

/// The most similar of `known` to `word`, if near enough to be a slip of the pen.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        // Chosen: a third of the letters may differ, as in `document`; more is another word.
        .filter(|(distance, k)| *distance * 3 <= k.len().max(word.len()).max(3))
        .min()
        .map(|(_, k)| k)
}

/// The help text of a fault about an unknown word: a suggestion, or all that is known.
pub(crate) fn help(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(k) => format!("did you mean `{k}`?"),
        None => format!("use one of: {}", known.join(", ")),
    }
}
