//! The list of what UEFI starts, in which order. Setup puts the disk it wrote first, so
//! that a stick that stays plugged in does not win. The fallback path of the disk is kept
//! beside it, for firmware that forgets its list.

use anyhow::{Context as _, Result, ensure};
use uuid::Uuid;

use super::Dev;
use crate::bootchain::LOADER;
use crate::run::Cmd;

/// What the entry is called in the firmware's menu.
const LABEL: &str = "Hearth";

/// Has UEFI start the disk with the EFI system partition `esp` first. `id` is the
/// partition's in the table.
pub(super) fn start_first(esp: &Dev, id: Uuid) -> Result<()> {
    let list = || Cmd::new("reading the firmware's list", "efibootmgr").stdout();
    let list_now = List::read(&list()?);
    match list_now.own(id) {
        None => {
            let number = esp.part.context("a disk without a partition")?.to_string();
            let disk = Dev::disk(&esp.disk).path();
            let add = Cmd::new("adding to the firmware's list", "efibootmgr").args(["--quiet", "--create"]);
            add.args(["--disk", &disk, "--part", &number, "--label", LABEL, "--loader", LOADER]).run()?;
        }
        Some(own) if list_now.order.first() != Some(&own) => {
            let order = list_now.with_first(&own).join(",");
            Cmd::new("sorting the firmware's list", "efibootmgr").args(["--quiet", "--bootorder", &order]).run()?;
        }
        Some(_) => return Ok(()),
    }
    let list_now = List::read(&list()?);
    let first = list_now.own(id).is_some_and(|own| list_now.order.first() == Some(&own));
    ensure!(first, "the firmware did not keep what was added to its list");
    Ok(())
}

/// The list, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct List {
    /// The numbers of the entries in the order of starting, four hexadecimal digits each.
    order: Vec<String>,
    /// The number of each active entry, and all that is said of it.
    entries: Vec<(String, String)>,
}

impl List {
    /// Reads what efibootmgr prints.
    fn read(said: &str) -> Self {
        let order = said.lines().find_map(|line| line.strip_prefix("BootOrder: ")).unwrap_or_default();
        let entry = |line: &str| {
            let (number, rest) = line.strip_prefix("Boot")?.split_at_checked(4)?;
            let text = rest.strip_prefix('*')?.trim_start();
            let is_number = number.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_number.then(|| (number.to_owned(), text.to_owned()))
        };
        Self {
            order: order
                .split(',')
                .map(|number| number.trim().to_owned())
                .filter(|number| !number.is_empty())
                .collect(),
            entries: said.lines().filter_map(entry).collect(),
        }
    }

    /// The number of Hearth's entry for the EFI system partition `id`.
    fn own(&self, id: Uuid) -> Option<String> {
        let id = id.to_string();
        let is_own = |text: &str| text.split('\t').next() == Some(LABEL) && text.to_lowercase().contains(&id);
        self.entries.iter().find(|(_, text)| is_own(text)).map(|(number, _)| number.clone())
    }

    /// The order with `first` in front.
    fn with_first<'a>(&'a self, first: &'a str) -> Vec<&'a str> {
        let rest = self.order.iter().map(String::as_str).filter(|number| *number != first);
        std::iter::once(first).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "BootCurrent: 0003\nTimeout: 3 seconds\nBootOrder: 0003,0001,0004,0000\n\
        Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)\n\
        Boot0001* Hearth\tHD(2,GPT,0C0FFEE0-0000-4000-8000-00000000ABCD,0x2000,0x20000)/\\EFI\\BOOT\\BOOTX64.EFI\n\
        Boot0003* UEFI QEMU USB HARDDRIVE STICK\tPciRoot(0x0)/Pci(0x3,0x0)/USB(1,0)\n\
        Boot0004  Hearth\tHD(2,GPT,0c0ffee0-0000-4000-8000-00000000beef,0x2000,0x20000)/\\EFI\\BOOT\\BOOTX64.EFI\n\
        Boot00ZZ* Hearth\tnonsense\nMirroredPercentageAbove4G: 0.00\n";

    fn id(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn the_own_entry_is_known_by_its_partition() {
        let list = List::read(SAID);
        assert_eq!(list.order, ["0003", "0001", "0004", "0000"]);
        let own = list.own(id("0c0ffee0-0000-4000-8000-00000000abcd")).unwrap();
        assert_eq!((own.as_str(), list.with_first(&own)), ("0001", vec!["0001", "0003", "0004", "0000"]));
        // One that somebody switched off starts nothing.
        assert_eq!(list.own(id("0c0ffee0-0000-4000-8000-00000000beef")), None);
        assert_eq!(list.own(id("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1")), None, "another name");
    }

    #[test]
    fn a_list_that_is_empty_or_nonsense_has_no_entry() {
        for said in ["", "BootOrder: \n", "No BootOrder is set; firmware will attempt recovery\nBoot\nBoot00\u{e9}\n"] {
            assert_eq!(List::read(said), List { order: Vec::new(), entries: Vec::new() }, "{said}");
        }
    }
}
