//! Sizes with their unit in the type, because "4096" alone has meant bytes,
//! sectors and blocks in every disk tool that ever wiped the wrong place.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// Rounds up to a multiple of `step` (which must not be zero).
    #[must_use]
    pub const fn round_up(self, step: Self) -> Self {
        Self(self.0.div_ceil(step.0) * step.0)
    }

    /// Rounds down to a multiple of `step` (which must not be zero).
    #[must_use]
    pub const fn round_down(self, step: Self) -> Self {
        Self(self.0 / step.0 * step.0)
    }

    /// `self - other`, or zero if that would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<u64> for Bytes {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0 * times)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.map(|b| b.0).sum())
    }
}

/// Prints the largest unit that keeps one decimal meaningful: `1.4 GiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        for (name, shift) in UNITS {
            if self.0 >> shift > 0 {
                let whole = self.0 as f64 / (1u64 << shift) as f64;
                return f.pad(&format!("{whole:.1} {name}"));
            }
        }
        f.pad(&format!("{} B", self.0))
    }
}

/// Why a text is not a size.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a size: write a whole number and a unit, such as `64MiB` or `8GiB`")]
pub struct NotASize(String);

/// Reads `512`, `64MiB`, `8 GiB`: whole numbers, binary units.
impl FromStr for Bytes {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let bad = || NotASize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let number: u64 = trimmed[..digits].parse().map_err(|_| bad())?;
        let shift = match trimmed[digits..].trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(bad()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(bad)
    }
}

/// The size of a logical sector: 512 or 4096 bytes on every disk Hearth meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SectorSize(pub u32);

impl SectorSize {
    /// The size that images are built for.
    pub const IMAGE: Self = Self(512);

    /// This size as bytes.
    pub const fn bytes(self) -> Bytes {
        Bytes(self.0 as u64)
    }
}

/// A sector's number on a disk (LBA), counted in that disk's logical sectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sector(pub u64);

impl Sector {
    /// Where this sector begins.
    pub const fn offset(self, size: SectorSize) -> Bytes {
        Bytes(self.0 * size.0 as u64)
    }

    /// The sector that begins at `offset`, which must be a multiple of `size`.
    pub const fn at(offset: Bytes, size: SectorSize) -> Self {
        Self(offset.0 / size.0 as u64)
    }
}

impl Add<u64> for Sector {
    type Output = Self;
    fn add(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        assert_eq!("64MiB".parse(), Ok(Bytes::mib(64)));
        assert_eq!(" 8 GiB ".parse(), Ok(Bytes::gib(8)));
        assert_eq!("512".parse(), Ok(Bytes(512)));
        assert_eq!(Bytes::gib(8).to_string(), "8.0 GiB");
        assert_eq!(Bytes(17).to_string(), "17 B");
        for bad in ["", "MiB", "8 GB", "1.5GiB", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn rounding_is_to_whole_steps() {
        assert_eq!(Bytes(1).round_up(Bytes::mib(1)), Bytes::mib(1));
        assert_eq!(Bytes::mib(1).round_up(Bytes::mib(1)), Bytes::mib(1));
        assert_eq!(Bytes(4097).round_down(Bytes::kib(4)), Bytes::kib(4));
    }
}
