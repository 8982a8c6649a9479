//! The partition table as builder, flasher and appliance all know it. Numbers and
//! names are part of the contract: GRUB finds root as partition 4, people find
//! `HEARTH` by its label, and repairs find the rest by name.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use crate::units::Bytes;

/// Every partition starts on a multiple of this, and the first one at it.
pub const ALIGNMENT: Bytes = Bytes::mib(1);

/// How much a root slot gets at setup, beyond what the image holds.
pub const ROOT_GROWTH: Bytes = Bytes::gib(8);

/// The attribute of root's entry in the partition table that says that it has grown already: a disk that
/// is set up once more keeps its size. One of the sixteen bits that are the type's own to use.
pub const GROWN: u64 = 1 << 48;

/// The smallest disk on which the second root slot is reserved.
pub const ROOT_B_FROM: Bytes = Bytes::gib(64);

/// The least that `data` needs to hold anything worth the name.
pub const MIN_DATA: Bytes = Bytes::gib(2);

/// Where `data` is mounted.
pub const DATA_DIR: &str = "/var/lib/hearth/data";

/// Exists once the disk is prepared. GRUB looks at it, and starts setup without it.
pub const ADOPTED: &str = "/boot/hearth/adopted";

/// The approved reset. GRUB looks at it before all else.
pub const RESET: &str = "/boot/hearth/reset";

/// The approved plan in the top folder of HEARTH. GRUB looks at it, too.
pub const PLAN_FILE: &str = "hearth.adopt";

/// The file-system label of the partition people drop files on.
pub const HEARTH_LABEL: &str = "HEARTH";

/// The file-system label of the EFI system partition.
pub const ESP_LABEL: &str = "HEARTH-ESP";

/// The file-system label of the first root slot.
pub const ROOT_LABEL: &str = "hearth-root-a";

/// The file-system label of `data`.
pub const DATA_LABEL: &str = "hearth-data";

/// A partition Hearth makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// GRUB's core for BIOS machines.
    Bios,
    /// The EFI system partition.
    Esp,
    /// FAT that every operating system shows: answers in, reports out.
    Hearth,
    /// The first root slot.
    RootA,
    /// The second root slot: reserved at setup, nothing claims it yet.
    RootB,
    /// Everything worth keeping; made at setup.
    Data,
}

impl Part {
    /// All of them, in table order.
    pub const ALL: [Self; 6] = [Self::Bios, Self::Esp, Self::Hearth, Self::RootA, Self::RootB, Self::Data];

    /// The partition's number, counted from 1 as GRUB and Linux do.
    pub const fn number(self) -> u32 {
        match self {
            Self::Bios => 1,
            Self::Esp => 2,
            Self::Hearth => 3,
            Self::RootA => 4,
            Self::RootB => 5,
            Self::Data => 6,
        }
    }

    /// The name in the partition table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Esp => "esp",
            Self::Hearth => "hearth",
            Self::RootA => "root-a",
            Self::RootB => "root-b",
            Self::Data => "data",
        }
    }

    /// The GPT type. `hearth` is "basic data" so that Windows and macOS show it;
    /// the roots and `data` are "Linux file system", so that nothing mounts them unasked.
    pub const fn type_guid(self) -> Uuid {
        match self {
            Self::Bios => uuid!("21686148-6449-6e6f-744e-656564454649"),
            Self::Esp => uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            Self::Hearth => uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
            Self::RootA | Self::RootB | Self::Data => uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"),
        }
    }
}

/// An id that follows from `seed` and `label` alone: the same image or machine
/// always gets the same ids, another one never the same.
pub fn derived_id(seed: Uuid, label: &str) -> Uuid {
    Uuid::new_v5(&seed, label.as_bytes())
}

/// An id nobody else has, as the kernel draws them.
pub fn drawn_id() -> Result<Uuid> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Uuid::parse_str(text.trim()).with_context(|| format!("reading {path}"))
}

/// A GUID as GPT stores it on disk: the first three fields little-endian.
pub fn gpt_bytes(id: Uuid) -> [u8; 16] {
    id.to_bytes_le()
}

/// The inverse of [`gpt_bytes`].
pub fn from_gpt_bytes(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes_le(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_order_is_number_order() {
        let numbers: Vec<u32> = Part::ALL.iter().map(|part| part.number()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_guid_lies_on_disk_in_mixed_endian() {
        let bytes = gpt_bytes(Part::Bios.type_guid());
        assert_eq!(&bytes, b"Hah!IdontNeedEFI");
        assert_eq!(from_gpt_bytes(bytes), Part::Bios.type_guid());
    }
}
