//! The image as a stream of raw bytes: from a file or standard input, compressed or not.
//! What it is, its first bytes tell; a name may be wrong.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use hearth::exit::{Exit, Kind as _};

/// The first bytes of every zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The largest window that `compress` makes is 2 to this power; more would need more memory.
const WINDOW_LOG: u32 = 23;

type Input = BufReader<Box<dyn Read + Send>>;

/// An opened image.
pub enum Source {
    /// The bytes themselves.
    Raw(Input),
    /// Compressed.
    Zstd(zstd::Decoder<'static, Input>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw(_) => "Source::Raw",
            Self::Zstd(_) => "Source::Zstd",
        })
    }
}

impl Source {
    /// Opens the image at `path`; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Self::of(Box::new(io::stdin())).context("reading the image from standard input");
        }
        let file = File::open(path).with_context(|| format!("opening {}", path.display())).kind(Exit::Input)?;
        Self::of(Box::new(file)).with_context(|| format!("reading {}", path.display()))
    }

    fn of(input: Box<dyn Read + Send>) -> Result<Self> {
        let mut input = BufReader::with_capacity(1 << 20, input);
        if !input.fill_buf()?.starts_with(&ZSTD) {
            return Ok(Self::Raw(input));
        }
        let mut decoder = zstd::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Self::Zstd(decoder))
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(input) => input.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut source = Source::of(Box::new(io::Cursor::new(bytes))).unwrap();
        let mut out = Vec::new();
        source.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn raw_and_compressed_give_the_same_bytes() {
        let raw = b"an image, or so".repeat(1000);
        let packed = zstd::encode_all(raw.as_slice(), 3).unwrap();
        assert_eq!(all(raw.clone()).unwrap(), raw);
        assert_eq!(all(packed.clone()).unwrap(), raw);
        assert!(all(packed[..packed.len() - 3].to_vec()).is_err(), "cut short");
        assert_eq!(all(Vec::new()).unwrap(), b"");
    }
}
