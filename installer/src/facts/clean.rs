//! Tells a value from the filler that firmware and bridges put where a value is missing.

/// Words that makers ship instead of a value, in lower case.
const FILLER: [&str; 12] = [
    "unknown",
    "none",
    "n/a",
    "na",
    "default string",
    "to be filled by o.e.m.",
    "not specified",
    "not available",
    "system manufacturer",
    "system product name",
    "system serial number",
    "o.e.m.",
];

/// `text` without the white space around it, or nothing if that says nothing.
pub(super) fn present(text: &str) -> Option<String> {
    // Some bridges pad with NUL instead of spaces.
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let lower = trimmed.to_lowercase();
    let told = !trimmed.is_empty() && !FILLER.contains(&lower.as_str());
    told.then(|| trimmed.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Like [`present`], for serial numbers: one repeated digit is no serial number.
pub(super) fn serial(text: &str) -> Option<String> {
    present(text).filter(|serial| {
        let first = serial.chars().next();
        serial.chars().any(|c| Some(c) != first) || !serial.starts_with(['0', 'F', 'f', '.', '-'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_is_absent_and_values_are_trimmed() {
        assert_eq!(present(" WDC  WD40EFRX \0").as_deref(), Some("WDC WD40EFRX"));
        for nothing in ["", "  ", "\0\0", "To Be Filled By O.E.M.", "Default string", "Unknown"] {
            assert_eq!(present(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_repeated_zero_is_no_serial() {
        assert_eq!(serial("0000000000000000"), None);
        assert_eq!(serial("0123456789ABCDEF").as_deref(), Some("0123456789ABCDEF"));
        assert_eq!(serial("77777").as_deref(), Some("77777"));
    }
}
