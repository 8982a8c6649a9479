//! The medium: a sparse file laid over a base that is never written to.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{FallocateFlags, fallocate};

use super::ranges::Ranges;

/// What survives a power cut.
#[derive(Debug)]
pub(crate) struct Store {
    base: Option<(File, u64)>,
    over: File,
    /// Where `over` counts; elsewhere `base` does.
    written: Ranges,
}

impl Store {
    /// A medium that shows `base`, then zeros; writes go to an unnamed temporary file.
    pub(crate) fn new(base: Option<File>) -> io::Result<Self> {
        let base = match base {
            Some(file) => {
                let length = file.metadata()?.len();
                Some((file, length))
            }
            None => None,
        };
        Ok(Self { base, over: tempfile::tempfile()?, written: Ranges::default() })
    }

    /// Fills `buffer` from `offset` on.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        for (range, written) in self.written.split(offset..end) {
            let piece = &mut buffer[index(range.start - offset)..index(range.end - offset)];
            match &self.base {
                Some((base, length)) if !written => read_or_zero(base, *length, range.start, piece)?,
                _ => read_or_zero(&self.over, u64::MAX, range.start, piece)?,
            }
        }
        Ok(())
    }

    /// Writes `data` at `offset`.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.over.write_all_at(data, offset)?;
        self.written.insert(offset..offset + data.len() as u64);
        Ok(())
    }

    /// Makes `range` zeros, without using space for them.
    pub(crate) fn zero(&mut self, range: Range<u64>) -> io::Result<()> {
        let (start, length) = (signed(range.start)?, signed(range.end - range.start)?);
        if length > 0 {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&self.over, flags, start, length)?;
            self.written.insert(range);
        }
        Ok(())
    }
}

/// Reads up to `length`; what lies behind the end of the file is zeros.
fn read_or_zero(file: &File, length: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let stored = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
    let mut done = 0;
    while done < stored {
        match file.read_at(&mut buffer[done..stored], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

/// A length within one buffer.
pub(crate) fn index(length: u64) -> usize {
    usize::try_from(length).expect("the length of a buffer in memory")
}

fn signed(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(io::Error::other)
}
