//! The volatile write cache: 4 KiB blocks with a mark for each dirty 512-byte
//! sector, oldest block first when room is needed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;

use super::store::{Store, index};
use crate::random::Random;

/// How many bytes of unflushed data a disk holds before it moves old ones to the medium.
pub const CACHE: u64 = 64 << 20;

/// A block, in memory.
const SIZE: usize = 4096;
const BLOCK: u64 = SIZE as u64;
const SECTOR: u64 = 512;

#[derive(Debug)]
struct Block {
    data: Box<[u8; SIZE]>,
    /// Bit n: sector n is newer here than on the medium.
    dirty: u8,
}

/// Unflushed writes.
#[derive(Debug)]
pub(crate) struct Cache {
    blocks: HashMap<u64, Block>,
    // By arrival; may name blocks that have left since.
    order: VecDeque<u64>,
    capacity: u64,
}

impl Cache {
    /// Room for `capacity` bytes, at least one block.
    pub(crate) fn new(capacity: u64) -> Self {
        Self { blocks: HashMap::new(), order: VecDeque::new(), capacity: capacity.max(BLOCK) }
    }

    /// Lays the dirty sectors over what the medium says.
    pub(crate) fn read(&self, store: &Store, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        store.read(offset, buffer)?;
        let end = offset + buffer.len() as u64;
        for number in offset / BLOCK..end.div_ceil(BLOCK) {
            let Some(block) = self.blocks.get(&number) else { continue };
            for sector in block.sectors() {
                let from = (number * BLOCK + sector * SECTOR).max(offset);
                let to = (number * BLOCK + (sector + 1) * SECTOR).min(end);
                if from < to {
                    let inside = index(from - number * BLOCK)..index(to - number * BLOCK);
                    buffer[index(from - offset)..index(to - offset)].copy_from_slice(&block.data[inside]);
                }
            }
        }
        Ok(())
    }

    /// Takes a write; parts of sectors are completed from what lies below.
    pub(crate) fn write(&mut self, store: &mut Store, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        let mut at = offset;
        while at < end {
            let number = at / BLOCK;
            let stop = end.min((number + 1) * BLOCK);
            if !self.blocks.contains_key(&number) {
                self.make_room(store)?;
                let mut block = Block { data: Box::new([0; SIZE]), dirty: 0 };
                store.read(number * BLOCK, block.data.as_mut_slice())?;
                self.blocks.insert(number, block);
                self.order.push_back(number);
            }
            let block = self.blocks.get_mut(&number).expect("inserted above");
            let inside = at - number * BLOCK..stop - number * BLOCK;
            block.data[index(inside.start)..index(inside.end)]
                .copy_from_slice(&data[index(at - offset)..index(stop - offset)]);
            for sector in inside.start / SECTOR..inside.end.div_ceil(SECTOR) {
                block.dirty |= 1 << sector;
            }
            at = stop;
        }
        Ok(())
    }

    /// Moves everything to the medium.
    pub(crate) fn flush(&mut self, store: &mut Store) -> io::Result<()> {
        let mut numbers: Vec<u64> = self.blocks.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.settle(store, number)?;
        }
        self.order.clear();
        Ok(())
    }

    /// Moves the blocks that `range` touches to the medium.
    pub(crate) fn flush_range(&mut self, store: &mut Store, range: &Range<u64>) -> io::Result<()> {
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        // A range may be terabytes long, the cache never is.
        let cached: Vec<u64> = if blocks.end - blocks.start > self.blocks.len() as u64 {
            self.blocks.keys().copied().filter(|number| blocks.contains(number)).collect()
        } else {
            blocks.collect()
        };
        cached.into_iter().try_for_each(|number| self.settle(store, number))
    }

    /// Forgets everything, but lets each sector reach the medium first with a chance of one in two if `random` is given.
    pub(crate) fn lose(&mut self, store: &mut Store, random: Option<&mut Random>) -> io::Result<()> {
        if let Some(random) = random {
            let mut numbers: Vec<u64> = self.blocks.keys().copied().collect();
            numbers.sort_unstable();
            for number in numbers {
                if let Some(block) = self.blocks.get_mut(&number) {
                    block.dirty &= random.next_u64().to_le_bytes()[0];
                }
                self.settle(store, number)?;
            }
        }
        self.blocks.clear();
        self.order.clear();
        Ok(())
    }

    /// How many bytes would be lost now.
    pub(crate) fn dirty(&self) -> u64 {
        self.blocks.values().map(|block| u64::from(block.dirty.count_ones()) * SECTOR).sum()
    }

    fn make_room(&mut self, store: &mut Store) -> io::Result<()> {
        while self.blocks.len() as u64 * BLOCK >= self.capacity {
            let Some(oldest) = self.order.pop_front() else { return self.flush(store) };
            self.settle(store, oldest)?;
        }
        Ok(())
    }

    fn settle(&mut self, store: &mut Store, number: u64) -> io::Result<()> {
        let Some(block) = self.blocks.remove(&number) else { return Ok(()) };
        for sector in block.sectors() {
            let inside = index(sector * SECTOR)..index((sector + 1) * SECTOR);
            store.write(number * BLOCK + sector * SECTOR, &block.data[inside])?;
        }
        Ok(())
    }
}

impl Block {
    fn sectors(&self) -> impl Iterator<Item = u64> + use<> {
        let dirty = self.dirty;
        (0..BLOCK / SECTOR).filter(move |sector| dirty >> sector & 1 == 1)
    }
}
