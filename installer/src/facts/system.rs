//! Firmware, machine, processor, memory and the way Hearth was started.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::clean::present;
use super::{Cpu, Firmware, Machine, Mode};
use crate::units::Bytes;

/// SMBIOS ids that makers forgot to set: many machines share each of them.
const SHARED_IDS: [&str; 4] = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
];

pub(super) fn mode(cmdline: &str) -> Option<Mode> {
    let word = cmdline.split_whitespace().rev().find_map(|word| word.strip_prefix("hearth.mode="))?;
    match word {
        "setup" => Some(Mode::Setup),
        "adopt" => Some(Mode::Adopt),
        "normal" => Some(Mode::Normal),
        "recovery" => Some(Mode::Recovery),
        "reset" => Some(Mode::Reset),
        _ => None,
    }
}

/// `secure_boot` is the UEFI variable: four bytes of attributes, then 0 or 1.
pub(super) fn firmware(efi: bool, secure_boot: Option<&[u8]>) -> Firmware {
    match (efi, secure_boot.and_then(|value| value.get(4))) {
        (false, _) => Firmware::Bios,
        (true, Some(1)) => Firmware::UefiSecureBoot,
        (true, _) => Firmware::Uefi,
    }
}

pub(super) fn machine(dmi: &BTreeMap<String, String>) -> Machine {
    let value = |key: &str| dmi.get(key).and_then(|text| present(text));
    let id = value("product_uuid").map(|id| id.to_lowercase());
    Machine {
        // Small makers fill in the board and leave the system's fields as they found them.
        vendor: value("sys_vendor").or_else(|| value("board_vendor")),
        product: value("product_name").or_else(|| value("board_name")),
        id: id.filter(|id| !SHARED_IDS.contains(&id.as_str())).and_then(|id| Uuid::parse_str(&id).ok()),
    }
}

pub(super) fn cpu(cpuinfo: &str) -> Cpu {
    let mut cpu = Cpu::default();
    let mut cores = BTreeSet::new();
    let mut package = None;
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "processor" => cpu.threads += 1,
            "model name" if cpu.model.is_none() => cpu.model = present(value),
            "physical id" => package = Some(value.trim().to_owned()),
            "core id" => {
                cores.insert((package.clone(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    cpu.cores = u32::try_from(cores.len()).ok().filter(|&count| count > 0);
    cpu
}

pub(super) fn memory(meminfo: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes::kib(kib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mode_counts_and_an_unknown_one_is_absent() {
        assert_eq!(mode("quiet hearth.mode=setup gpt"), Some(Mode::Setup));
        assert_eq!(mode("hearth.mode=setup hearth.mode=normal"), Some(Mode::Normal));
        assert_eq!(mode("hearth.mode=party"), None);
        assert_eq!(mode(""), None);
    }

    #[test]
    fn firmware_from_what_the_kernel_shows() {
        assert_eq!(firmware(false, None), Firmware::Bios);
        assert_eq!(firmware(true, None), Firmware::Uefi);
        assert_eq!(firmware(true, Some(&[6, 0, 0, 0, 0])), Firmware::Uefi);
        assert_eq!(firmware(true, Some(&[6, 0, 0, 0, 1])), Firmware::UefiSecureBoot);
        assert_eq!(firmware(true, Some(&[6])), Firmware::Uefi);
    }

    #[test]
    fn filler_from_the_factory_is_absent() {
        let dmi = |id: &str| {
            machine(&BTreeMap::from([
                ("sys_vendor".to_owned(), "To be filled by O.E.M.\n".to_owned()),
                ("board_vendor".to_owned(), "Topton\n".to_owned()),
                ("product_uuid".to_owned(), id.to_owned()),
            ]))
        };
        let machine = dmi("03000200-0400-0500-0006-000700080009\n");
        assert_eq!(machine, Machine { vendor: Some("Topton".to_owned()), product: None, id: None });
        assert!(dmi("4C4C4544-0051-3610-8052-B4C04F4D3332").id.is_some());
    }

    #[test]
    fn cores_are_counted_once_a_package() {
        let text = "processor : 0\nmodel name : Intel(R) N100\nphysical id : 0\ncore id : 0\n\n\
                    processor : 1\nmodel name : Intel(R) N100\nphysical id : 0\ncore id : 0\n\n\
                    processor : 2\nphysical id : 1\ncore id : 0\n";
        assert_eq!(cpu(text), Cpu { model: Some("Intel(R) N100".to_owned()), cores: Some(2), threads: 3 });
        assert_eq!(cpu("processor : 0\nBogoMIPS : 48.00\n"), Cpu { model: None, cores: None, threads: 1 });
        assert_eq!(memory("MemTotal:       16226104 kB\nMemFree: 1 kB\n"), Some(Bytes::kib(16_226_104)));
        assert_eq!(memory(""), None);
    }
}
