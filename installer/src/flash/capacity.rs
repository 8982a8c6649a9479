//! Finds disks that lie about their size, before the long write: counterfeit sticks keep
//! the first gigabytes and lose, or fold over them, everything behind.

use anyhow::{Context as _, Result, anyhow};

use super::buffer::Buffer;
use super::medium::Medium;
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::layout::ALIGNMENT;
use crate::units::Bytes;

/// How long a mark is: one sector of any disk.
const MARK: usize = 4096;

/// Writes a mark at many places up to the disk's end, and reads all of them back. The
/// marks differ with every call, so that those of an earlier one do not count.
pub fn check(medium: &dyn Medium, nonce: &str) -> Result<()> {
    let places = places(medium.size(), medium.sector().bytes());
    let mut buffer = Buffer::new(MARK);
    for &at in &places {
        buffer.copy_from_slice(&mark(nonce, at));
        medium.write_at(at, &buffer).with_context(|| format!("marking the disk at byte {}", at.0)).kind(Exit::Io)?;
    }
    medium.flush().context("making the marks last")?;
    let mut good = Bytes::ZERO;
    for &at in &places {
        buffer.fill(0);
        let read = medium.read_at(at, &mut buffer);
        if read.is_err() || *buffer != mark(nonce, at) {
            let text = format!(
                "the disk says that it has {}, but what is written at byte {} is not there afterwards: it keeps \
                 {good} at most. It is counterfeit or broken; do not use it",
                medium.size(),
                at.0
            );
            return Err(anyhow!(text)).kind(Exit::Mismatch);
        }
        good = at + Bytes(MARK as u64);
    }
    Ok(())
}

/// Where marks lie, in order: at every power of two and half way between, and at the end.
fn places(size: Bytes, sector: Bytes) -> Vec<Bytes> {
    let end = size.saturating_sub(Bytes(MARK as u64)).round_down(sector);
    let steps = std::iter::successors(Some(ALIGNMENT), |at| at.0.checked_mul(2).map(Bytes));
    let mut places: Vec<Bytes> = steps
        .take_while(|at| *at < end)
        .flat_map(|at| [at, Bytes(at.0 + at.0 / 2)])
        .filter(|at| at.0 + (MARK as u64) <= end.0)
        .collect();
    places.push(end);
    places
}

fn mark(nonce: &str, at: Bytes) -> Vec<u8> {
    Digest::of(format!("{nonce} {}", at.0)).bytes().repeat(MARK / 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::fake::{Fake, Lie};

    #[test]
    fn an_honest_disk_passes_twice() {
        let disk = Fake::new(Bytes::mib(48), 512);
        check(&disk, "one").unwrap();
        check(&disk, "two").unwrap();
    }

    #[test]
    fn one_that_folds_or_forgets_is_caught_and_its_size_told() {
        for lie in [Lie::Folds(Bytes::mib(20)), Lie::Forgets(Bytes::mib(20))] {
            let disk = Fake::new(Bytes::mib(64), 512).lying(lie);
            let error = check(&disk, "x").unwrap_err().to_string();
            assert!(error.contains("64.0 MiB") && error.contains("counterfeit"), "{error}");
        }
    }

    #[test]
    fn marks_reach_the_last_sector_and_do_not_overlap() {
        for size in [Bytes::mib(16), Bytes(Bytes::gib(29).0 + 512 * 7), Bytes::gib(4096)] {
            let places = places(size, Bytes(512));
            assert!(places.windows(2).all(|pair| pair[0].0 + MARK as u64 <= pair[1].0));
            assert!(places.last().unwrap().0 + MARK as u64 > size.0 - 512);
        }
    }
}
