//! GRUB for BIOS machines, without `grub-install`: the patches that tie GRUB's
//! boot code to the place its core lies at. The builder and the appliance (after
//! an upgrade of GRUB, see [`renew`]) use the same.

mod bios;
mod efi;
pub mod renew;

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::units::{Sector, SectorSize};

/// What firmware starts on the EFI system partition when nothing else is said. Hearth's own entry names it, too.
pub const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";

/// Where GRUB's core looks for its files; the partition is the disk's own, by number.
const PREFIX: &str = "(,gpt4)/boot/grub";

/// What the core holds: enough to read our menu, and everything the menu uses.
const MODULES: &str = "biosdisk part_gpt ext2 fat normal configfile linux regexp probe test true echo search serial terminal terminfo \
                       password_pbkdf2 gfxterm font all_video vbe video video_fb loadenv sleep halt reboot minicmd";

/// `boot.img` is one sector, of which the partition table owns the end.
pub const MBR_CODE: usize = 440;

/// In `boot.img`: the LBA of the core's first sector, 64 bits.
const CORE_LBA: usize = 0x5c;

/// In `boot.img`: a jump that must not be taken on hard disks; GRUB's own installer overwrites it too.
const DRIVE_CHECK: usize = 0x66;

/// In the core's first sector: the LBA of its second one, 64 bits.
const REST_LBA: usize = 0x1f4;

/// The core's first sector loads at most this much more (a 16-bit count of sectors would allow more, memory does not).
const CORE_MAX: usize = 480 << 10;

/// What to write for BIOS machines.
#[derive(Clone, Debug)]
pub struct BiosImages {
    /// For the first 440 bytes of the disk.
    pub mbr_code: [u8; MBR_CODE],
    /// For the disk from the sector it was made for; whole sectors.
    pub core: Vec<u8>,
}

/// The arguments of `grub-mkimage` for a core made of the modules in `modules`, with `config` in it, written to `core`.
pub fn grub_mkimage_args(modules: &Path, config: &Path, core: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["-O", "i386-pc", "-p", PREFIX].map(OsString::from).into();
    for (flag, path) in [("-d", modules), ("-c", config), ("-o", core)] {
        args.extend([OsString::from(flag), path.as_os_str().to_owned()]);
    }
    args.extend(MODULES.split_whitespace().map(OsString::from));
    args
}

/// Patches GRUB's `boot.img` and a core so that the core is found at `core_start`
/// of a disk with 512-byte sectors.
pub fn bios_boot_images(boot_img: &[u8], core_img: &[u8], core_start: Sector) -> Result<BiosImages> {
    let sector = SectorSize::IMAGE.0 as usize;
    if boot_img.len() != sector || boot_img[510..] != [0x55, 0xaa] {
        return Err(anyhow!("GRUB's boot.img is not one boot sector but {} bytes", boot_img.len()));
    }
    if core_img.len() < 2 * sector || core_img.len() > CORE_MAX {
        return Err(anyhow!(
            "GRUB's core has {} bytes; it must have between {} and {CORE_MAX}",
            core_img.len(),
            2 * sector
        ));
    }
    let mut mbr = boot_img.to_vec();
    mbr[CORE_LBA..CORE_LBA + 8].copy_from_slice(&core_start.0.to_le_bytes());
    mbr[DRIVE_CHECK..DRIVE_CHECK + 2].fill(0x90);
    let mut core = core_img.to_vec();
    core.resize(core.len().next_multiple_of(sector), 0);
    core[REST_LBA..REST_LBA + 8].copy_from_slice(&(core_start.0 + 1).to_le_bytes());
    let mut mbr_code = [0; MBR_CODE];
    mbr_code.copy_from_slice(&mbr[..MBR_CODE]);
    Ok(BiosImages { mbr_code, core })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_img() -> Vec<u8> {
        let mut boot = vec![0xee; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    #[test]
    fn the_boot_code_points_at_the_core_and_the_core_at_its_rest() {
        let made = bios_boot_images(&boot_img(), &[0xcc; 1500], Sector(2048)).unwrap();
        assert_eq!(made.mbr_code[CORE_LBA..CORE_LBA + 8], 2048u64.to_le_bytes());
        assert_eq!(made.mbr_code[DRIVE_CHECK..DRIVE_CHECK + 2], [0x90, 0x90]);
        assert_eq!(made.mbr_code[0], 0xee);
        assert_eq!(made.core.len(), 1536);
        assert_eq!(made.core[REST_LBA..REST_LBA + 8], 2049u64.to_le_bytes());
        assert_eq!((made.core[0], made.core[1499], made.core[1500]), (0xcc, 0xcc, 0));
    }

    #[test]
    fn what_is_no_boot_code_is_refused() {
        assert!(bios_boot_images(&[0; 512], &[0; 1500], Sector(1)).is_err());
        assert!(bios_boot_images(&boot_img(), &[0; 100], Sector(1)).is_err());
        assert!(bios_boot_images(&boot_img(), &vec![0; CORE_MAX + 1], Sector(1)).is_err());
    }

    #[test]
    fn the_core_is_made_with_our_prefix_and_modules() {
        let args = grub_mkimage_args(Path::new("/m"), Path::new("/c"), Path::new("/o"));
        let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(words[..10], ["-O", "i386-pc", "-p", PREFIX, "-d", "/m", "-c", "/c", "-o", "/o"]);
        assert!(words.contains(&"password_pbkdf2"));
    }
}
