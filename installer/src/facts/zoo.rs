//! Machines to test with: folders of what real commands print, under `fixtures/facts`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Disk, Facts, Raw, duplicates};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/facts")
}

/// Every machine there is.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// A machine with these disks, and all else as the mini-PC has it.
pub(crate) fn machine(mut disks: Vec<Disk>) -> Facts {
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    let duplicates = duplicates::find(&disks);
    Facts { disks, duplicates, volumes: Vec::new(), ..facts("mini-pc") }
}

/// What the machine `name` said.
pub(crate) fn raw(name: &str) -> Raw {
    let dir = folder().join(name);
    let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let pairs = |file: &str| -> Vec<(String, String)> {
        let owned = |(a, b): (&str, &str)| (a.trim().to_owned(), b.trim().to_owned());
        text(file).lines().filter_map(|line| line.split_once(" -> ")).map(owned).collect()
    };
    Raw {
        lsblk: text("lsblk.json"),
        ip: text("ip.json"),
        cpuinfo: text("cpuinfo"),
        meminfo: text("meminfo"),
        cmdline: text("cmdline"),
        mountinfo: text("mountinfo"),
        by_id: pairs("by-id"),
        md: examined(&dir.join("md")),
        lvs: text("lvs.json"),
        pvs: text("pvs.json"),
        looks: map(&text("looks.json")),
        dmi: pairs("dmi").into_iter().collect(),
        efi: dir.join("efi").exists(),
        secure_boot: fs::read(dir.join("efi")).ok(),
        tpm: fs::read_to_string(dir.join("tpm")).ok(),
        nics: map(&text("nics.json")),
        adapters: map(&text("adapters.json")),
        firmware_log: text("firmware-log"),
        image: fs::read_to_string(dir.join("image.json")).ok(),
    }
}

/// What was said of each member of an array: a file each, by the kernel's name.
fn examined(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

fn map<T: DeserializeOwned>(json: &str) -> BTreeMap<String, T> {
    if json.is_empty() { BTreeMap::new() } else { serde_json::from_str(json).unwrap() }
}

/// The facts of the machine `name`.
pub(crate) fn facts(name: &str) -> Facts {
    Facts::from_raw(&raw(name)).unwrap()
}
