//! The pixels of a screenshot, for questions such as "is anything on it?".

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A screen's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Screen {
    /// Reads a PPM file as QEMU writes it (`P6`, 8 bits a colour).
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is no picture", path.display()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut word = || {
            let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
            let end = start + rest[start..].iter().position(u8::is_ascii_whitespace)?;
            let word = std::str::from_utf8(&rest[start..end]).ok()?;
            rest = &rest[end + 1..];
            Some(word)
        };
        let (magic, width, height, depth) = (word()?, word()?, word()?, word()?);
        let (width, height) = (width.parse().ok()?, height.parse::<usize>().ok()?);
        let pixels: Vec<[u8; 3]> = rest.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect();
        (magic == "P6" && depth == "255" && pixels.len() == width * height).then_some(Self { width, height, pixels })
    }

    /// How many pixels differ from the most frequent colour, out of 1000: 0 is a blank screen.
    pub fn drawn(&self) -> usize {
        let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
        for pixel in &self.pixels {
            *counts.entry(*pixel).or_default() += 1;
        }
        let background = counts.into_values().max().unwrap_or(0);
        (self.pixels.len() - background) * 1000 / self.pixels.len().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_and_judged() {
        let blank = Screen::parse(b"P6\n2 2\n255\nabcabcabcabc").unwrap();
        assert_eq!((blank.width, blank.height, blank.drawn()), (2, 2, 0));
        assert_eq!(Screen::parse(b"P6 2 2 255\nabcabc   abc").unwrap().drawn(), 250);
        for bad in [&b"P6\n2 2\n255\nabc"[..], b"P5\n1 1\n255\nabc", b"P6"] {
            assert_eq!(Screen::parse(bad), None);
        }
    }
}
