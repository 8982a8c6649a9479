//! Base 64 with padding: how bytes travel in an SMBIOS string and over a test's
//! serial port.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `data` as text.
pub fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// The bytes behind `text`; none if it is not base 64 in whole groups of four.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_pairs() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("\u{ff}\u{fe}", "w7/Dvg==")];
        for (plain, coded) in pairs {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for bad in ["Z", "Zg=", "Zg===", "Zm9v\n", "Z*9v", "===="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
