//! `hearth boot-chain renew`: after an upgrade of GRUB or shim, what the firmware
//! starts is made anew from the packages. Debian's `grub-install` would need a mounted
//! ESP, write to the firmware's variables and bring its own configuration back.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{bios, efi, grub_mkimage_args};
use crate::durable;
use crate::exit::{Exit, Kind as _};
use crate::layout::Part;
use crate::run::Cmd;
use crate::units::{Bytes, Sector, SectorSize};

/// Scratch space and lock: in memory, and gone after a restart.
const RUN: &str = "/run/hearth";

/// GRUB's modules for BIOS machines, as their package lays them out.
const BIOS_MODULES: &str = "/usr/lib/grub/i386-pc";

/// The configuration inside the BIOS core.
const BIOS_CONFIG: &str = "/usr/share/hearth/boot/bios-core.cfg";

/// Brings the ESP and the BIOS core of the disk that root is on up to date; writes
/// only what differs, and with `dry_run` nothing. `say` gets a line for each change.
pub fn renew(dry_run: bool, say: &mut dyn FnMut(&str)) -> Result<()> {
    if let Some(mode) = memory_mode(&fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?) {
        say(&format!("This is a start in {mode} mode: the boot loaders on the disk stay as they are."));
        return Ok(());
    }
    fs::create_dir_all(RUN).with_context(|| format!("making {RUN}"))?;
    let _lock = lock()?;
    let disk = BootDisk::find()?;
    let mut changes = 0;
    let mut change = |what: &str| {
        changes += 1;
        say(&format!("{what} {}.", if dry_run { "would be renewed" } else { "is being renewed" }));
    };
    // One is tried whatever becomes of the other: a machine starts by only one of them.
    let outcomes = [renew_efi(&disk, dry_run, &mut change), renew_bios(&disk, dry_run, &mut change)];
    outcomes.into_iter().collect::<Result<()>>()?;
    if changes == 0 {
        say(&format!("The boot loaders on {} are up to date.", disk.node.display()));
    }
    Ok(())
}

/// Makes everything below /boot readable for GRUB, which knows no journal.
pub fn settle() -> Result<()> {
    durable::checkpoint("/boot")
}

/// The mode of a start whose root is not the disk's, if this is one.
fn memory_mode(cmdline: &str) -> Option<&str> {
    cmdline
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("hearth.mode="))
        .next_back()
        .filter(|mode| *mode == "setup")
}

fn lock() -> Result<Flock<File>> {
    let path = Path::new(RUN).join("boot-chain.lock");
    let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("locking {}", path.display()))
}

/// The disk that root is on.
#[derive(Debug)]
struct BootDisk {
    node: PathBuf,
    sysfs: PathBuf,
}

impl BootDisk {
    fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
        let device = root_device(&mounts).context("/proc/self/mountinfo does not say what is mounted at /")?;
        let link = Path::new("/sys/dev/block").join(device);
        let part = fs::canonicalize(&link).with_context(|| format!("following {}", link.display()))?;
        if number(&part) != Some(Part::RootA.number()) {
            return Err(anyhow!(
                "root is {}, not partition {} of a disk that Hearth wrote; its boot loaders are not Hearth's to renew",
                part.display(),
                Part::RootA.number()
            ))
            .kind(Exit::Refused);
        }
        let sysfs = part.parent().context("a partition without a disk")?.to_owned();
        let name = sysfs.file_name().context("a disk without a name")?;
        Ok(Self { node: Path::new("/dev").join(name), sysfs })
    }

    /// A partition, by number, if its name in the table is the one Hearth gave it.
    fn part(&self, part: Part) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.sysfs).with_context(|| format!("reading {}", self.sysfs.display()))? {
            let path = entry?.path();
            if number(&path) == Some(part.number()) {
                let event = fs::read_to_string(path.join("uevent")).unwrap_or_default();
                if value(&event, "PARTNAME") == Some(part.name()) {
                    return Ok(path);
                }
            }
        }
        Err(anyhow!(
            "{} has no partition {} named `{}`; its boot loaders are not Hearth's to renew",
            self.node.display(),
            part.number(),
            part.name()
        ))
        .kind(Exit::Refused)
    }
}

fn renew_efi(disk: &BootDisk, dry_run: bool, change: &mut dyn FnMut(&str)) -> Result<()> {
    let part = disk.part(Part::Esp)?;
    let node = Path::new("/dev").join(part.file_name().context("a partition without a name")?);
    let esp = Path::new(RUN).join("esp");
    fs::create_dir_all(&esp).with_context(|| format!("making {}", esp.display()))?;
    // In a view of our own: nobody else sees the mount, and it ends with this program.
    unshare(CloneFlags::CLONE_NEWNS).context("taking a private view of the mounts").kind(Exit::Environment)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("making the view private")?;
    let stale = {
        let _mounted = Mounted::new(&node, &esp, MsFlags::MS_RDONLY)?;
        efi::stale(Path::new("/"), &esp)?
    };
    for file in &stale {
        change(&format!("{} on {}", file.path, node.display()));
    }
    if dry_run || stale.is_empty() {
        return Ok(());
    }
    // After a power cut the table of clusters may lack or leak some. 1: repaired.
    if !Cmd::new("checking the EFI system partition", "fsck.fat").arg("-n").arg(&node).succeeds()? {
        let repair = Cmd::new("repairing the EFI system partition", "fsck.fat").args(["-a", "-w"]).arg(&node);
        repair.succeeds()?;
    }
    {
        let _mounted = Mounted::new(&node, &esp, MsFlags::empty())?;
        efi::replace(&esp, &stale)?;
    }
    durable::flush_device(&node.to_string_lossy())?;
    // Mounted anew, so that the files come from the disk.
    let _mounted = Mounted::new(&node, &esp, MsFlags::MS_RDONLY)?;
    match efi::stale(Path::new("/"), &esp)?.first() {
        None => Ok(()),
        Some(file) => {
            Err(anyhow!("{} on {} does not read back as it was written", file.path, node.display())).kind(Exit::Io)
        }
    }
}

fn renew_bios(disk: &BootDisk, dry_run: bool, change: &mut dyn FnMut(&str)) -> Result<()> {
    let part = disk.part(Part::Bios)?;
    let sector: u32 = attribute(&disk.sysfs, "queue/logical_block_size")?;
    if sector != SectorSize::IMAGE.0 {
        // No BIOS starts such a disk.
        return Ok(());
    }
    let core = Path::new(RUN).join("core.img");
    Cmd::new("making GRUB's BIOS core", "grub-mkimage")
        .args(grub_mkimage_args(Path::new(BIOS_MODULES), Path::new(BIOS_CONFIG), &core))
        .run()?;
    let core_img = fs::read(&core).with_context(|| format!("reading {}", core.display()))?;
    fs::remove_file(&core).with_context(|| format!("removing {}", core.display()))?;
    let boot = Path::new(BIOS_MODULES).join("boot.img");
    let boot_img = fs::read(&boot).with_context(|| format!("reading {}", boot.display()))?;
    // sysfs counts 512-byte units.
    let place =
        bios::Place { start: Sector(attribute(&part, "start")?), size: Bytes(attribute::<u64>(&part, "size")? * 512) };
    let file = OpenOptions::new()
        .read(true)
        .write(!dry_run)
        .open(&disk.node)
        .with_context(|| format!("opening {}", disk.node.display()))?;
    let Some(plan) = bios::plan(&file, place, &boot_img, &core_img)? else {
        return Ok(());
    };
    change(&format!("GRUB for BIOS on {}", disk.node.display()));
    if dry_run { Ok(()) } else { plan.carry_out(&file) }
}

/// A mount that ends with it.
#[derive(Debug)]
struct Mounted<'a> {
    at: &'a Path,
}

impl<'a> Mounted<'a> {
    fn new(node: &Path, at: &'a Path, flags: MsFlags) -> Result<Self> {
        let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(node), at, Some("vfat"), flags, Some("umask=0077"))
            .with_context(|| format!("mounting {} at {}", node.display(), at.display()))?;
        Ok(Self { at })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // What can fail here has been written and synced before.
        let _ = nix::mount::umount(self.at);
    }
}

/// `major:minor` of what is mounted at `/`, what was mounted last counting.
fn root_device(mountinfo: &str) -> Option<&str> {
    let at_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    mountinfo.lines().rev().find(at_root)?.split(' ').nth(2)
}

fn number(sysfs: &Path) -> Option<u32> {
    fs::read_to_string(sysfs.join("partition")).ok()?.trim().parse().ok()
}

fn value<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent.lines().find_map(|line| line.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value))
}

fn attribute<T: std::str::FromStr>(sysfs: &Path, name: &str) -> Result<T> {
    let path = sysfs.join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.trim().parse().map_err(|_| anyhow!("{} holds `{}`, not a number", path.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_setup_mode_leaves_the_disk_alone() {
        assert_eq!(memory_mode("quiet root=PARTUUID=x hearth.mode=setup ro"), Some("setup"));
        assert_eq!(memory_mode("hearth.mode=normal"), None);
        assert_eq!(memory_mode("hearth.mode=adopt"), None);
        assert_eq!(memory_mode("quiet"), None);
    }

    #[test]
    fn root_is_what_was_mounted_last() {
        let mounts = "21 1 0:2 / / rw - rootfs none rw\n22 21 254:4 / / rw,relatime shared:1 - ext4 /dev/vda4 rw\n\
                      23 22 0:5 / /dev rw - devtmpfs udev rw\n";
        assert_eq!(root_device(mounts), Some("254:4"));
        assert_eq!(root_device("23 22 0:5 / /dev rw - devtmpfs udev rw\n"), None);
    }

    #[test]
    fn a_partition_is_known_by_its_name() {
        let event = "MAJOR=254\nDEVTYPE=partition\nPARTN=2\nPARTNAME=esp\n";
        assert_eq!(value(event, "PARTNAME"), Some("esp"));
        assert_eq!(value(event, "PART"), None);
    }
}
