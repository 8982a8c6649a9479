//! A disk as its users see it: medium, cache, defects and power.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hearth::digest::{Digest, Hasher};

use super::cache::{CACHE, Cache};
use super::faults::{Beyond, Fault, Op, Throttle, When, wait_until};
use super::store::{Store, index};
use crate::random::Random;

/// Longer runs of zeros go to the medium at once: nobody may rely on their being lost.
const CACHED_ZEROS: u64 = 1 << 20;

/// What a power cut leaves of unflushed writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing.
    None,
    /// Every other sector, chosen by this seed: writes are torn, as real disks tear them.
    Random(u64),
}

/// What was asked of a disk since it was made or [`Disk::reset_stats`] was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes read.
    pub read: u64,
    /// Bytes written, zeroed or trimmed.
    pub written: u64,
    /// Flushes.
    pub flushes: u64,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
    advertised: u64,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    cache: Cache,
    stored: u64,
    beyond: Beyond,
    faults: Vec<Fault>,
    reads: Throttle,
    writes: Throttle,
    stats: Stats,
    powered: bool,
    /// A cut to come.
    trap: Option<(When, Survivors)>,
    /// What was at stake when it came.
    sprung: Option<u64>,
}

impl Disk {
    /// `size` bytes of zeros.
    pub fn empty(size: u64) -> io::Result<Self> {
        Ok(Self::with(Store::new(None)?, size, size, Beyond::Vanishes))
    }

    /// A disk of `size` bytes that begins like the file `base`, which is only read.
    pub fn over(base: &Path, size: u64) -> io::Result<Self> {
        Ok(Self::with(Store::new(Some(File::open(base)?))?, size, size, Beyond::Vanishes))
    }

    /// A disk that claims `advertised` bytes and has `stored`.
    pub fn lying(stored: u64, advertised: u64, beyond: Beyond) -> io::Result<Self> {
        Ok(Self::with(Store::new(None)?, stored, advertised, beyond))
    }

    fn with(store: Store, stored: u64, advertised: u64, beyond: Beyond) -> Self {
        let inner = Inner {
            store,
            cache: Cache::new(CACHE),
            stored,
            beyond,
            faults: Vec::new(),
            reads: Throttle::new(),
            writes: Throttle::new(),
            stats: Stats::default(),
            powered: true,
            trap: None,
            sprung: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)), advertised }
    }

    /// The size it claims, in bytes.
    pub fn size(&self) -> u64 {
        self.advertised
    }

    /// Reads `length` bytes.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let until = {
            let mut inner = self.lock();
            inner.check(Op::Read, &range(offset, length))?;
            inner.read(offset, &mut buffer)?;
            for fault in &inner.faults {
                fault.damage(offset, &mut buffer);
            }
            inner.stats.read += length as u64;
            inner.reads.book(length as u64)
        };
        wait_until(until);
        Ok(buffer)
    }

    /// Writes `data`; with `durable` (FUA) it is on the medium afterwards.
    pub fn write(&self, offset: u64, data: &[u8], durable: bool) -> io::Result<()> {
        let until = {
            let mut inner = self.lock();
            let range = range(offset, data.len());
            inner.check(Op::Write, &range)?;
            inner.write(offset, data)?;
            inner.count_written(&range)?;
            if durable {
                inner.settle(&range)?;
            }
            inner.writes.book(data.len() as u64)
        };
        wait_until(until);
        Ok(())
    }

    /// Makes `range` zeros: what WRITE ZEROES and TRIM ask for.
    pub fn zero(&self, range: Range<u64>, durable: bool) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check(Op::Write, &range)?;
        inner.zero(&range)?;
        inner.count_written(&range)?;
        if durable {
            inner.settle(&range)?;
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check(Op::Write, &(0..0))?;
        inner.stats.flushes += 1;
        let Inner { cache, store, .. } = &mut *inner;
        cache.flush(store)
    }

    /// Cuts the power: unflushed writes are lost but for `survivors`, and every
    /// request fails until [`Disk::restore_power`]. Gives how many bytes were at stake.
    ///
    /// # Panics
    /// If the temporary file that stands for the medium cannot be written.
    pub fn cut(&self, survivors: Survivors) -> u64 {
        self.lock().cut(survivors)
    }

    /// Cuts the power as [`Disk::cut`] does, but later and by itself: see [`When`].
    pub fn cut_when(&self, when: When, survivors: Survivors) {
        let mut inner = self.lock();
        inner.trap = Some((when, survivors));
        inner.sprung = None;
    }

    /// Waits until the cut of [`Disk::cut_when`] has come. Gives how many bytes were at stake;
    /// none if it did not come in time.
    pub fn wait_for_cut(&self, timeout: Duration) -> Option<u64> {
        let deadline = Instant::now() + timeout;
        loop {
            let sprung = self.lock().sprung;
            if sprung.is_some() || Instant::now() >= deadline {
                return sprung;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Gives power again after a cut.
    pub fn restore_power(&self) {
        self.lock().powered = true;
    }

    /// Adds a defect.
    pub fn add_fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Removes all defects.
    pub fn repair(&self) {
        self.lock().faults.clear();
    }

    /// Limits reading and writing to so many bytes a second.
    pub fn throttle(&self, read: Option<u64>, write: Option<u64>) {
        let mut inner = self.lock();
        inner.reads.set(read);
        inner.writes.set(write);
    }

    /// How much may lie unflushed; for tests of the cache itself.
    pub fn set_cache(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let Inner { cache, store, .. } = &mut *inner;
        cache.flush(store)?;
        *cache = Cache::new(bytes);
        Ok(())
    }

    /// What was asked of it.
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Counts from zero again.
    pub fn reset_stats(&self) {
        self.lock().stats = Stats::default();
    }

    /// Of all the bytes as they would be read without defects, unflushed ones included.
    pub fn digest(&self) -> io::Result<Digest> {
        let mut hasher = Hasher::new(io::sink());
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < self.advertised {
            let length = index((self.advertised - offset).min(buffer.len() as u64));
            self.lock().read(offset, &mut buffer[..length])?;
            io::Write::write_all(&mut hasher, &buffer[..length])?;
            offset += length as u64;
        }
        Ok(hasher.finish().0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn range(offset: u64, length: usize) -> Range<u64> {
    offset..offset + length as u64
}

impl Inner {
    fn check(&self, op: Op, range: &Range<u64>) -> io::Result<()> {
        let broken = !self.powered || self.faults.iter().any(|fault| fault.fails(op, range));
        if broken { Err(io::Error::from(nix::errno::Errno::EIO)) } else { Ok(()) }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        for (real, piece) in self.pieces(&range(offset, buffer.len())) {
            self.cache.read(&self.store, real, &mut buffer[piece])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (real, piece) in self.pieces(&range(offset, data.len())) {
            self.cache.write(&mut self.store, real, &data[piece])?;
        }
        Ok(())
    }

    fn zero(&mut self, range: &Range<u64>) -> io::Result<()> {
        if range.end - range.start <= CACHED_ZEROS {
            return self.write(range.start, &vec![0; index(range.end - range.start)]);
        }
        for real in self.real(range) {
            // Cached sectors at the edges hold more than the range: they settle first.
            self.cache.flush_range(&mut self.store, &real)?;
            self.store.zero(real)?;
        }
        Ok(())
    }

    /// Counts a write; an error if the power goes with it.
    fn count_written(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.stats.written += range.end - range.start;
        let due = self.trap.filter(|(when, _)| when.has_come(range, self.stats.written));
        let Some((_, survivors)) = due else { return Ok(()) };
        self.trap = None;
        self.sprung = Some(self.cut(survivors));
        Err(io::Error::from(nix::errno::Errno::EIO))
    }

    fn cut(&mut self, survivors: Survivors) -> u64 {
        self.powered = false;
        let at_stake = self.cache.dirty();
        let mut random = match survivors {
            Survivors::None => None,
            Survivors::Random(seed) => Some(Random::new(seed)),
        };
        self.cache.lose(&mut self.store, random.as_mut()).expect("writing a temporary file of the test");
        at_stake
    }

    fn settle(&mut self, range: &Range<u64>) -> io::Result<()> {
        for real in self.real(range) {
            self.cache.flush_range(&mut self.store, &real)?;
        }
        Ok(())
    }

    /// Where the bytes of `range` really lie; those that vanish are left out.
    fn real(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.pieces_u64(range).into_iter().map(|(real, piece)| real..real + (piece.end - piece.start)).collect()
    }

    fn pieces(&self, range: &Range<u64>) -> Vec<(u64, Range<usize>)> {
        self.pieces_u64(range).into_iter().map(|(real, piece)| (real, index(piece.start)..index(piece.end))).collect()
    }

    /// (offset on the medium, part of `range` counted from its start).
    fn pieces_u64(&self, range: &Range<u64>) -> Vec<(u64, Range<u64>)> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let real = if self.beyond == Beyond::Wraps { at % self.stored } else { at };
            if real >= self.stored {
                break;
            }
            let length = (range.end - at).min(self.stored - real);
            let begin = at - range.start;
            pieces.push((real, begin..begin + length));
            at += length;
        }
        pieces
    }
}

#[cfg(test)]
mod tests;
