//! What can be wrong with a disk.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reading.
    Read,
    /// Writing, zeroing or trimming.
    Write,
}

/// One defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reading or writing any byte of the range is an I/O error.
    Error(Op, Range<u64>),
    /// The byte at `offset` is read with `bit` (0 to 7) wrong; what is stored is right.
    Flip {
        /// Counted in bytes from the start of the disk.
        offset: u64,
        /// 0 is the lowest.
        bit: u8,
    },
}

/// What a disk that claims to be larger than it is does with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// It begins again at its start, so that late writes destroy early ones.
    Wraps,
    /// Writes are accepted and lost; zeros are read.
    Vanishes,
}

/// When a disk loses its power by itself: exact, and the same in every run, where a test that
/// watches and then cuts would always be late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With the write that brings what was written (see [`super::Stats`]) to so many bytes.
    Written(u64),
    /// With the next write to this byte.
    Touched(u64),
}

impl When {
    /// Whether a write to `range`, which brings the sum to `written`, is the one.
    pub(crate) fn has_come(self, range: &Range<u64>, written: u64) -> bool {
        match self {
            Self::Written(limit) => written >= limit,
            Self::Touched(byte) => range.contains(&byte),
        }
    }
}

impl Fault {
    /// Whether this makes `op` on `range` fail.
    pub(crate) fn fails(&self, op: Op, range: &Range<u64>) -> bool {
        matches!(self, Self::Error(at, bad) if *at == op && bad.start < range.end && range.start < bad.end)
    }

    /// Damages what was read from `offset` on.
    pub(crate) fn damage(&self, offset: u64, buffer: &mut [u8]) {
        if let Self::Flip { offset: at, bit } = self {
            let place = at.checked_sub(offset).and_then(|place| usize::try_from(place).ok());
            if let Some(byte) = place.and_then(|place| buffer.get_mut(place)) {
                *byte ^= 1 << (bit & 7);
            }
        }
    }
}

/// Lets bytes through at a steady rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: Option<u64>,
    free_at: Instant,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { bytes_per_second: None, free_at: Instant::now() }
    }

    /// From now on so many bytes a second; none: as fast as it goes.
    pub(crate) fn set(&mut self, bytes_per_second: Option<u64>) {
        self.bytes_per_second = bytes_per_second;
        self.free_at = Instant::now();
    }

    /// Books `bytes`; gives until when their transfer lasts.
    pub(crate) fn book(&mut self, bytes: u64) -> Option<Instant> {
        let rate = self.bytes_per_second?;
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.free_at = self.free_at.max(Instant::now()) + takes;
        Some(self.free_at)
    }
}

/// Sleeps until `when`, if it is given and still to come.
pub(crate) fn wait_until(when: Option<Instant>) {
    if let Some(left) = when.and_then(|when| when.checked_duration_since(Instant::now())) {
        thread::sleep(left);
    }
}
