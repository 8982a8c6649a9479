//! Which disk is meant. A path of any kind leads to a disk and is shown by its stable
//! name; a selector must fit exactly one. Never "the first disk".

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::Refusal;
use crate::facts::Disk;
use crate::page::identity;
use crate::selector::Selector;

/// Where stable names lie.
const BY_ID: &str = "/dev/disk/by-id/";

/// The disk among `disks` that `wanted` means: a path, a stable name, a name in `/dev`, or a
/// selector such as `serial=S4EWNX0N123456`.
pub fn resolve<'a>(disks: &'a [Disk], wanted: &str) -> Result<&'a Disk, Refusal> {
    if !wanted.contains('/') && wanted.contains('=') {
        return select(disks, wanted);
    }
    if let Some(disk) = disks.iter().find(|disk| disk.by_id.iter().any(|name| name == wanted)) {
        return Ok(disk);
    }
    let path = if wanted.contains('/') { wanted.to_owned() } else { format!("/dev/{wanted}") };
    let not = |why: &str| Refusal::NotABlockDevice { path: path.clone(), why: why.to_owned() };
    let real = fs::canonicalize(&path).map_err(|_| not("there is no such file"))?;
    let metadata = fs::metadata(&real).map_err(|error| not(&error.to_string()))?;
    if !metadata.file_type().is_block_device() {
        return Err(not(if metadata.is_dir() { "it is a folder" } else { "it is a file" }));
    }
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    of_device(disks, &path, &name)
}

/// The disk whose kernel name is `name`; `path` is what the user typed.
fn of_device<'a>(disks: &'a [Disk], path: &str, name: &str) -> Result<&'a Disk, Refusal> {
    if let Some(disk) = disks.iter().find(|disk| disk.name == name) {
        return Ok(disk);
    }
    let whole = |what: String| Refusal::NotAWholeDisk { path: path.to_owned(), what };
    let holder = disks.iter().find(|disk| disk.partitions.iter().any(|part| part.device == name));
    Err(match holder {
        Some(disk) => whole(format!("a partition of {}", disk.path)),
        None => whole("a volume, an array, or a device that stands for a file".to_owned()),
    })
}

fn select<'a>(disks: &'a [Disk], wanted: &str) -> Result<&'a Disk, Refusal> {
    let selector: Selector = wanted
        .parse()
        .map_err(|error| Refusal::NotABlockDevice { path: wanted.to_owned(), why: format!("{error}") })?;
    only_one(disks, &selector, wanted)
}

/// The one disk that `selector`, which the user wrote as `wanted`, fits.
pub fn only_one<'a>(disks: &'a [Disk], selector: &Selector, wanted: &str) -> Result<&'a Disk, Refusal> {
    let found: Vec<&Disk> = disks.iter().filter(|disk| selector.fits(disk)).collect();
    if let [disk] = found.as_slice() {
        return Ok(disk);
    }
    let none = found.is_empty();
    let shown = if none { disks.iter().collect() } else { found };
    let candidates =
        shown.into_iter().map(|disk| format!("{}: {}, {}", name(disk), identity(disk), disk.size)).collect();
    Err(Refusal::NotExactlyOne { wanted: wanted.to_owned(), candidates, none })
}

/// The disk's stable name, or its name of the hour where it has none.
pub fn name(disk: &Disk) -> String {
    disk.by_id.first().cloned().unwrap_or_else(|| disk.path.clone())
}

/// Whether `text`, given to `--erase`, names `disk`: only a stable name does, unless the disk has none.
pub fn is_named(disk: &Disk, text: &str) -> bool {
    let bare = text.strip_prefix(BY_ID).unwrap_or(text);
    if disk.by_id.is_empty() {
        return Path::new(text) == Path::new(&disk.path);
    }
    disk.by_id.iter().any(|name| name == bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn a_selector_fits_exactly_one_or_lists_the_candidates() {
        let disks = zoo::facts("mini-pc").disks;
        let found = resolve(&disks, "serial=S4EWNX0N123456").unwrap();
        assert_eq!(found.name, "nvme0n1");
        assert_eq!(resolve(&disks, &name(found)).unwrap().name, "nvme0n1", "as `disks` prints it");
        let twins = zoo::facts("twins").disks;
        let several = resolve(&twins, "min-size=1GiB").unwrap_err();
        assert_eq!(several.code(), "not-exactly-one");
        let text = several.to_string();
        assert!(twins.iter().all(|disk| text.contains(disk.serial.as_deref().unwrap_or("no serial"))), "{text}");
        let none = resolve(&disks, "serial=").unwrap_err().to_string();
        assert!(none.contains("`serial`"), "an empty value fits nothing: {none}");
        assert!(resolve(&disks, "serial=NOBODY").unwrap_err().to_string().starts_with("serial=NOBODY fits no disk. "));
    }

    #[test]
    fn what_is_no_disk_is_said_and_nothing_is_made() {
        let disks = zoo::facts("mini-pc").disks;
        let missing = std::env::temp_dir().join("hearth-no-such-disk");
        let error = resolve(&disks, missing.to_str().unwrap()).unwrap_err();
        assert_eq!(error.code(), "not-a-block-device");
        assert!(!missing.exists() && error.to_string().contains("no such file"));
        assert!(resolve(&disks, "/tmp").unwrap_err().to_string().contains("a folder"));
        assert!(resolve(&disks, "/dev/null").is_err());
        let part = of_device(&disks, "/dev/nvme0n1p3", "nvme0n1p3").unwrap_err();
        assert_eq!(part.code(), "not-a-whole-disk");
        assert!(part.to_string().contains("a partition of /dev/nvme0n1"), "{part}");
        assert_eq!(of_device(&disks, "/dev/dm-0", "dm-0").unwrap_err().code(), "not-a-whole-disk");
        assert_eq!(of_device(&disks, "/dev/sda", "sda").unwrap().name, "sda");
    }

    #[test]
    fn only_a_stable_name_erases() {
        let disk = &zoo::facts("mini-pc").disks[0];
        let id = name(disk);
        assert!(is_named(disk, &id) && is_named(disk, &format!("/dev/disk/by-id/{id}")));
        assert!(!is_named(disk, "/dev/nvme0n1") && !is_named(disk, "") && !is_named(disk, &id[..id.len() - 1]));
        let mut mute = disk.clone();
        mute.by_id.clear();
        assert!(is_named(&mute, "/dev/nvme0n1") && !is_named(&mute, &id));
    }
}
