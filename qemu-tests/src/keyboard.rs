//! The keyboard that belongs to a machine's screen, as a person uses it: characters lie where a
//! US keyboard has them.

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// The keys that are pressed together for `character`; `\u{3}` is Ctrl-C.
pub(crate) fn keys(character: char) -> Result<Vec<Value>> {
    let plain = |key: &str| vec![key.to_owned()];
    let shifted = |key: &str| vec!["shift".to_owned(), key.to_owned()];
    let keys = match character {
        'a'..='z' | '0'..='9' => plain(&character.to_string()),
        'A'..='Z' => shifted(&character.to_ascii_lowercase().to_string()),
        '\r' => plain("ret"),
        '\u{3}' => vec!["ctrl".to_owned(), "c".to_owned()],
        ' ' => plain("spc"),
        '-' => plain("minus"),
        '_' => shifted("minus"),
        '=' => plain("equal"),
        '+' => shifted("equal"),
        ',' => plain("comma"),
        '<' => shifted("comma"),
        '.' => plain("dot"),
        '/' => plain("slash"),
        '?' => shifted("slash"),
        '@' => shifted("2"),
        _ => bail!("nobody knows where {character:?} lies on a keyboard"),
    };
    Ok(keys.iter().map(|key| json!({"type": "qcode", "data": key})).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_lie_where_a_us_keyboard_has_them() {
        let names = |character| -> Vec<String> {
            keys(character).unwrap().iter().map(|key| key["data"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names('a'), ["a"]);
        assert_eq!(names('@'), ["shift", "2"]);
        assert_eq!(names('A'), ["shift", "a"]);
        assert_eq!(names('\r'), ["ret"]);
        assert!(keys('\u{e4}').unwrap_err().to_string().contains("keyboard"));
    }
}
