//! The part that asks: commands and files, nothing else. What cannot be read stays
//! empty, except for the two lists without which there are no facts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Disk, Facts, IMAGE_FILE, Nic, Raw, RawNic, net};
use crate::run::Cmd;

/// The UEFI variable that says whether Secure Boot is enforced.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The DMI files that matter.
const DMI: [&str; 5] = ["sys_vendor", "product_name", "product_uuid", "board_vendor", "board_name"];

/// Looks at this machine.
pub fn gather() -> Result<Facts> {
    Facts::from_raw(&read_raw()?)
}

/// The disks as they are now: the part of the facts that any Linux workstation can tell.
pub fn disks_now() -> Result<Vec<Disk>> {
    let lsblk = lsblk()?;
    let mut disks = super::lsblk::disks(&lsblk, &by_id())?;
    super::root::mark_boot_medium(&mut disks, &lsblk, &text("/proc/self/mountinfo"), &text("/proc/cmdline"))?;
    Ok(disks)
}

fn lsblk() -> Result<String> {
    Cmd::new("listing the disks", "lsblk").args(["--json", "--bytes", "--output-all"]).stdout()
}

/// Asks this machine for everything [`Facts::from_raw`] needs.
pub fn read_raw() -> Result<Raw> {
    Ok(Raw {
        lsblk: lsblk()?,
        ip: Cmd::new("listing the network cards", "ip").args(["-json", "address"]).stdout()?,
        cpuinfo: text("/proc/cpuinfo"),
        meminfo: text("/proc/meminfo"),
        cmdline: text("/proc/cmdline"),
        mountinfo: text("/proc/self/mountinfo"),
        by_id: by_id(),
        dmi: DMI
            .iter()
            .filter_map(|&key| Some((key.to_owned(), fs::read_to_string(format!("/sys/class/dmi/id/{key}")).ok()?)))
            .collect(),
        efi: Path::new("/sys/firmware/efi").exists(),
        secure_boot: fs::read(SECURE_BOOT).ok(),
        nics: nics(),
        image: fs::read_to_string(IMAGE_FILE).ok(),
    })
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn by_id() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/dev/disk/by-id").into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).ok();
        if let Some(kname) = target.as_deref().and_then(Path::file_name) {
            out.push((entry.file_name().to_string_lossy().into_owned(), kname.to_string_lossy().into_owned()));
        }
    }
    out.sort();
    out
}

fn nics() -> BTreeMap<String, RawNic> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let path = entry.path();
        // Bridges, tunnels and the loop have no device behind them.
        if !path.join("device").exists() {
            continue;
        }
        let driver = fs::read_link(path.join("device/driver")).ok();
        let raw = RawNic {
            driver: driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()),
            carrier: fs::read_to_string(path.join("carrier")).ok(),
            wireless: path.join("phy80211").exists() || path.join("wireless").exists(),
            place: place(&path),
        };
        out.insert(entry.file_name().to_string_lossy().into_owned(), raw);
    }
    out
}

/// Where udev says that a network card is plugged in.
fn place(card: &Path) -> Option<String> {
    let index = fs::read_to_string(card.join("ifindex")).ok()?;
    let told = fs::read_to_string(format!("/run/udev/data/n{}", index.trim())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("E:ID_PATH=").map(str::to_owned))
}

/// The network cards as they are now: the part of the facts that changes by itself.
pub fn nics_now() -> Result<Vec<Nic>> {
    let ip = Cmd::new("listing the network cards", "ip").args(["-json", "address"]).stdout()?;
    net::nics(&ip, &nics())
}
