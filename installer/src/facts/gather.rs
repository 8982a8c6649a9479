//! The part that asks: commands and files, nothing else. What cannot be read stays
//! empty, except for the two lists without which there are no facts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::volumes::{looks, pieces_of};
use super::{Disk, Facts, IMAGE_FILE, Mode, Nic, Raw, RawAdapter, RawNic, lvm, net, probe};
use crate::run::Cmd;

/// The UEFI variable that says whether Secure Boot is enforced.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The version of the first TPM, 1 or 2.
const TPM: &str = "/sys/class/tpm/tpm0/tpm_version_major";

/// The DMI files that matter.
const DMI: [&str; 5] = ["sys_vendor", "product_name", "product_uuid", "board_vendor", "board_name"];

/// Looks at this machine.
pub fn gather() -> Result<Facts> {
    Facts::from_raw(&read_raw()?)
}

/// What this start is for: the part of the facts that any user may ask for.
pub fn mode_now() -> Option<Mode> {
    super::system::mode(&text("/proc/cmdline"))
}

/// What this machine is called: as well what any user may ask for.
pub fn hostname_now() -> String {
    text("/proc/sys/kernel/hostname").trim().to_owned()
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
    let lsblk = lsblk()?;
    let disks = super::lsblk::disks(&lsblk, &[])?;
    let mut raw = Raw {
        lsblk,
        md: members(&disks),
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
        tpm: fs::read_to_string(TPM).ok(),
        nics: nics(),
        adapters: adapters(),
        firmware_log: firmware_log(),
        image: fs::read_to_string(IMAGE_FILE).ok(),
        ..Raw::default()
    };
    if pieces_of(&disks, "LVM2_member").next().is_some() {
        raw.lvs = lvm_report("lvs", &["--segments"], lvm::VOLUMES);
        raw.pvs = lvm_report("pvs", &[], lvm::PIECES);
    }
    for look in looks(&raw) {
        // What cannot be read there is not known, and such a volume is not adopted.
        let found = probe(&format!("/dev/{}", look.device), look.offset, look.len).ok().flatten();
        raw.looks.extend(found.map(|content| (look.key(), content)));
    }
    Ok(raw)
}

/// What each member of an array says of it.
fn members(disks: &[Disk]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for device in pieces_of(disks, "linux_raid_member") {
        let look = Cmd::new(format!("looking at the array on {device}"), "mdadm");
        let told = look.args(["--examine", &format!("/dev/{device}")]).stdout();
        out.extend(told.ok().map(|told| (device.to_owned(), told)));
    }
    out
}

fn lvm_report(program: &str, more: &[&str], wanted: &str) -> String {
    let ask = Cmd::new("asking LVM for its volumes", program);
    ask.args(lvm::HOW).args(more).args(["-o", wanted]).stdout().unwrap_or_default()
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
    // Bridges, tunnels and the loop have no device behind them.
    for path in entries("/sys/class/net").filter(|path| path.join("device").exists()) {
        let raw = RawNic {
            driver: linked(&path.join("device/driver")),
            carrier: fs::read_to_string(path.join("carrier")).ok(),
            wireless: path.join("phy80211").exists() || path.join("wireless").exists(),
            place: place(&path),
        };
        out.extend(file_name(&path).map(|name| (name, raw)));
    }
    out
}

/// The adapters that are, or may be, for networks.
fn adapters() -> BTreeMap<String, RawAdapter> {
    // A card lies anywhere below its adapter: on virtio there is a bus between the two.
    let cards: Vec<(PathBuf, String)> = entries("/sys/class/net")
        .filter_map(|card| Some((card.join("device").canonicalize().ok()?, file_name(&card)?)))
        .collect();
    let pci = entries("/sys/bus/pci/devices").filter_map(|device| pci_adapter(&device));
    let usb = entries("/sys/bus/usb/devices").filter_map(|device| usb_adapter(&device));
    let mut out = BTreeMap::new();
    for (path, mut raw) in pci.chain(usb) {
        let Ok(real) = path.canonicalize() else { continue };
        raw.card = cards.iter().find(|(card, _)| card.starts_with(&real)).map(|(_, name)| name.clone());
        out.extend(file_name(&path).map(|place| (place, raw)));
    }
    out
}

fn pci_adapter(device: &Path) -> Option<(PathBuf, RawAdapter)> {
    let network = value(device, "class")?.starts_with("0x02");
    let number = |name: &str| value(device, name).map(|text| text.trim_start_matches("0x").to_owned());
    let raw = RawAdapter {
        id: format!("{}:{}", number("vendor")?, number("device")?),
        name: udev(&format!("+pci:{}", file_name(device)?), "ID_MODEL_FROM_DATABASE"),
        driver: linked(&device.join("driver")),
        card: None,
        network,
    };
    network.then(|| (device.to_owned(), raw))
}

/// A USB device says what it is for in each of its interfaces; adapters with drivers of their own say nothing.
fn usb_adapter(device: &Path) -> Option<(PathBuf, RawAdapter)> {
    // The kinds of modem that carry Ethernet.
    const ETHERNET: [&str; 3] = ["06", "0d", "0e"];
    let id = format!("{}:{}", value(device, "idVendor")?, value(device, "idProduct")?);
    let interfaces: Vec<PathBuf> = entries(device).filter(|path| path.join("bInterfaceClass").exists()).collect();
    let class = |path: &Path| {
        let part = |name: &str| value(path, name).unwrap_or_default();
        (part("bInterfaceClass"), part("bInterfaceSubClass"))
    };
    let network =
        interfaces.iter().map(|path| class(path)).any(|(class, sub)| class == "02" && ETHERNET.contains(&sub.as_str()));
    let unknown = interfaces.iter().map(|path| class(path).0).any(|class| class == "ff");
    let raw = RawAdapter {
        id,
        name: value(device, "product"),
        driver: interfaces.iter().find_map(|path| linked(&path.join("driver"))),
        card: None,
        network,
    };
    (network || unknown).then(|| (device.to_owned(), raw))
}

/// What the kernel says of firmware that a driver asked for.
fn firmware_log() -> String {
    let log = Cmd::new("reading the kernel's log", "dmesg").args(["--notime"]).answer();
    let lines: Vec<String> = log
        .map(|(_, log)| log.lines().filter(|line| line.contains("irmware")).map(str::to_owned).collect())
        .unwrap_or_default();
    lines.join("\n")
}

/// What lies in a folder of sysfs.
fn entries(dir: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The name of what a link leads to.
fn linked(link: &Path) -> Option<String> {
    file_name(&fs::read_link(link).ok()?)
}

/// What a file of sysfs says.
fn value(dir: &Path, name: &str) -> Option<String> {
    fs::read_to_string(dir.join(name)).ok().map(|text| text.trim().to_owned())
}

/// What udev knows of the device that its database calls `device`.
fn udev(device: &str, key: &str) -> Option<String> {
    let told = fs::read_to_string(format!("/run/udev/data/{device}")).ok()?;
    told.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
}

/// Where udev says that a network card is plugged in.
fn place(card: &Path) -> Option<String> {
    udev(&format!("n{}", value(card, "ifindex")?), "ID_PATH")
}

/// The network cards as they are now: the part of the facts that changes by itself.
pub fn nics_now() -> Result<Vec<Nic>> {
    let ip = Cmd::new("listing the network cards", "ip").args(["-json", "address"]).stdout()?;
    net::nics(&ip, &nics())
}
