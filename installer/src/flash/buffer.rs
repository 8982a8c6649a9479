//! Memory that direct I/O accepts: the kernel moves it to the disk without a copy of
//! its own, and only if it begins at a whole page.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A page: enough for every disk.
const PAGE: usize = 4096;

/// A run of bytes that begins at a whole page.
pub struct Buffer {
    raw: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let raw = vec![0; len + PAGE];
        // `raw` never grows, so it never moves.
        let start = raw.as_ptr().align_offset(PAGE).min(PAGE);
        Self { raw, start, len }
    }

    /// Whether `bytes` begin where direct I/O can take them from.
    pub fn is_aligned(bytes: &[u8]) -> bool {
        bytes.as_ptr().align_offset(PAGE) == 0
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_page_and_has_its_length() {
        for len in [0, 1, 4095, 1 << 20] {
            let buffer = Buffer::new(len);
            assert!(buffer.len() == len && Buffer::is_aligned(&buffer));
        }
    }
}
