//! What hashing a password costs on this machine: as much as a login can bear, and no more
//! memory than a small machine has to spare.

use std::time::Duration;

use crate::units::Bytes;

/// How long a login may take to hash, about.
const TARGET: Duration = Duration::from_millis(500);

/// The parameters of argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How often memory is gone through.
    pub passes: u32,
    /// The memory, in KiB.
    pub memory: u32,
    /// Into how many parts the work is divided.
    pub lanes: u32,
}

impl Cost {
    /// Authelia's own choice for machines with little memory.
    pub const DEFAULT: Self = Self { passes: 3, memory: 64 * 1024, lanes: 4 };

    /// More passes are not worth it: more likely the clock was wrong.
    const MOST_PASSES: u32 = 20;

    /// What one pass is to be measured with on a machine with `memory`: a sixteenth of it at most.
    pub fn single_pass(memory: Bytes) -> Self {
        let share = u32::try_from(memory.0 / 16 / 1024).unwrap_or(u32::MAX);
        Self { passes: 1, memory: share.min(Self::DEFAULT.memory), ..Self::DEFAULT }
    }

    /// The cost on a machine with `memory` where one pass took `pass`.
    pub fn calibrated(memory: Bytes, pass: Duration) -> Self {
        let passes = TARGET.as_micros() / pass.as_micros().max(1);
        let passes = u32::try_from(passes).unwrap_or(u32::MAX).clamp(Self::DEFAULT.passes, Self::MOST_PASSES);
        Self { passes, ..Self::single_pass(memory) }
    }
}

/// The cost that an Authelia with this configuration file hashes with, if it says so.
pub fn cost_in(configuration: &[u8]) -> Option<Cost> {
    let whole: serde_norway::Value = serde_norway::from_slice(configuration).ok()?;
    let argon2 = whole.get("authentication_backend")?.get("file")?.get("password")?.get("argon2")?;
    let number = |key: &str| argon2.get(key)?.as_u64().and_then(|number| u32::try_from(number).ok());
    Some(Cost { passes: number("iterations")?, memory: number("memory")?, lanes: number("parallelism")? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slow_and_fast_machines() {
        let passes = |millis| Cost::calibrated(Bytes::gib(8), Duration::from_millis(millis)).passes;
        assert_eq!([passes(400), passes(167), passes(100), passes(50), passes(0)], [3, 3, 5, 10, 20]);
        assert_eq!(Cost::calibrated(Bytes::gib(8), Duration::from_millis(150)), Cost::DEFAULT);
        assert_eq!(Cost::single_pass(Bytes::mib(512)).memory, 32 * 1024);
    }

    proptest! {
        #[test]
        fn always_within_bounds(memory in (256u64 << 20)..(1 << 50), pass in 0..10_000_000u64) {
            let cost = Cost::calibrated(Bytes(memory), Duration::from_micros(pass));
            prop_assert!((3..=20).contains(&cost.passes) && cost.lanes == 4);
            prop_assert!(cost.memory <= 64 * 1024 && u64::from(cost.memory) * 1024 <= memory / 16);
            prop_assert!(cost.memory >= 8 * cost.lanes, "less is no argon2");
        }
    }
}
