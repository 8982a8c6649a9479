//! A disk in memory, with every fault a real one was seen to have.

use std::io;
use std::sync::Mutex;

use super::medium::Medium;
use crate::units::{Bytes, SectorSize};

/// How a disk lies about its size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// What is written behind this place lands at the beginning again.
    Folds(Bytes),
    /// What is written behind this place is lost.
    Forgets(Bytes),
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    writes: usize,
    written: u64,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Fake {
    state: Mutex<State>,
    size: Bytes,
    sector: SectorSize,
    lie: Option<Lie>,
    /// Reads of this byte give a flipped bit.
    pub(crate) flips: Option<Bytes>,
    /// Reads of this byte fail.
    pub(crate) unreadable: Option<Bytes>,
    /// Writes to this byte fail.
    pub(crate) refuses: Option<Bytes>,
    /// After so many writes every further one fails, as when the cable is pulled.
    pub(crate) dies_after: Option<usize>,
}

impl Fake {
    /// A disk full of what somebody left there.
    pub(crate) fn new(size: Bytes, sector: u32) -> Self {
        let state = Mutex::new(State { bytes: pattern(size, 3), ..State::default() });
        Self {
            state,
            size,
            sector: SectorSize(sector),
            lie: None,
            flips: None,
            unreadable: None,
            refuses: None,
            dies_after: None,
        }
    }

    /// A disk that holds `bytes`.
    pub(crate) fn holding(bytes: Vec<u8>, sector: u32) -> Self {
        let mut fake = Self::new(Bytes::ZERO, sector);
        fake.size = Bytes(bytes.len() as u64);
        fake.state.get_mut().unwrap().bytes = bytes;
        fake
    }

    pub(crate) fn lying(mut self, lie: Lie) -> Self {
        self.lie = Some(lie);
        self
    }

    /// All it holds now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }

    /// How many bytes were written since it was last asked.
    pub(crate) fn written(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap().written)
    }

    fn place(&self, at: Bytes, len: usize) -> io::Result<(usize, bool)> {
        if at.0 % u64::from(self.sector.0) != 0
            || len as u64 % u64::from(self.sector.0) != 0
            || at.0 + len as u64 > self.size.0
        {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let (at, lost) = match self.lie {
            Some(Lie::Folds(real)) => (at.0 % real.0, false),
            Some(Lie::Forgets(real)) => (at.0, at >= real),
            None => (at.0, false),
        };
        Ok((usize::try_from(at).unwrap(), lost))
    }
}

/// Bytes that are another in every sector, and never all zeros.
pub(crate) fn pattern(size: Bytes, seed: u64) -> Vec<u8> {
    let sectors = (0..size.0 / 512).map(|sector| [(sector * seed % 251).to_le_bytes()[0] | 1; 512]);
    sectors.collect::<Vec<_>>().concat()
}

fn covers(at: Bytes, len: usize, byte: Option<Bytes>) -> Option<usize> {
    let byte = byte?;
    (at <= byte && byte.0 < at.0 + len as u64).then(|| usize::try_from(byte.0 - at.0).unwrap())
}

impl Medium for Fake {
    fn size(&self) -> Bytes {
        self.size
    }

    fn sector(&self) -> SectorSize {
        self.sector
    }

    fn read_at(&self, at: Bytes, into: &mut [u8]) -> io::Result<()> {
        let (from, _) = self.place(at, into.len())?;
        if covers(at, into.len(), self.unreadable).is_some() {
            return Err(io::Error::other("the disk gives up"));
        }
        into.copy_from_slice(&self.state.lock().unwrap().bytes[from..from + into.len()]);
        if let Some(place) = covers(at, into.len(), self.flips) {
            into[place] ^= 0x10;
        }
        Ok(())
    }

    fn write_at(&self, at: Bytes, bytes: &[u8]) -> io::Result<()> {
        let (to, lost) = self.place(at, bytes.len())?;
        let mut state = self.state.lock().unwrap();
        state.writes += 1;
        let dead = self.dies_after.is_some_and(|after| state.writes > after);
        if dead || covers(at, bytes.len(), self.refuses).is_some() {
            return Err(io::Error::other("the disk refuses"));
        }
        state.written += bytes.len() as u64;
        if !lost {
            state.bytes[to..to + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
