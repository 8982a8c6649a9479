//! Finds the disk that Hearth runs from. In setup mode `/` is an overlay, so the way
//! leads over the overlay's lower directory to the device that is mounted there.

use anyhow::Result;

use super::{Disk, lsblk};

/// One line of `/proc/self/mountinfo`, as far as it matters here.
struct Mount<'a> {
    device: &'a str,
    point: String,
    kind: &'a str,
    options: &'a str,
}

/// Marks the disk below `/`, if exactly one disk can be named.
pub(super) fn mark_boot_medium(disks: &mut [Disk], lsblk: &str, mountinfo: &str, cmdline: &str) -> Result<()> {
    let owners = lsblk::owners(lsblk)?;
    let mut names: Vec<String> =
        root_device(mountinfo).and_then(|device| owners.get(&device).cloned()).unwrap_or_default();
    if names.is_empty() {
        if let Some(guid) = root_guid(cmdline) {
            let holds = |disk: &&Disk| disk.partitions.iter().any(|part| part.guid.as_deref() == Some(&guid));
            names = disks.iter().filter(holds).map(|disk| disk.name.clone()).collect();
        }
    }
    // A root on an array has several disks, a copy's id has two: no guess is better than either.
    if let [name] = names.as_slice() {
        for disk in disks {
            disk.boot_medium = &disk.name == name;
        }
    }
    Ok(())
}

/// `major:minor` of the device that `/` lies on.
fn root_device(mountinfo: &str) -> Option<String> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    // What was mounted last covers what was there before.
    let root = mounts.iter().rev().find(|mount| mount.point == "/")?;
    if root.kind != "overlay" {
        return Some(root.device.to_owned());
    }
    let lower = root.options.split(',').find_map(|option| {
        let (key, value) = option.split_once('=')?;
        key.starts_with("lowerdir").then_some(value)
    })?;
    let lower = lower.split(':').next_back()?;
    // The initramfs mounted it where root was still at /root.
    let moved = lower.strip_prefix("/root/").map(|rest| format!("/{rest}"));
    let is_lower = |mount: &&Mount| mount.point == lower || Some(&mount.point) == moved.as_ref();
    mounts.iter().rev().find(is_lower).map(|mount| mount.device.to_owned())
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (device, point) = (left.next()?, left.nth(1)?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    Some(Mount { device, point: point.replace("\\040", " "), kind, options })
}

/// The id in `root=PARTUUID=…`.
fn root_guid(cmdline: &str) -> Option<String> {
    let value = cmdline.split_whitespace().rev().find_map(|word| word.strip_prefix("root=PARTUUID="))?;
    Some(value.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn plain_root_is_its_own_device() {
        let text = "22 1 254:4 / / rw,relatime shared:1 - ext4 /dev/vda4 rw,discard\n\
                    30 22 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(root_device(text).as_deref(), Some("254:4"));
    }

    #[test]
    fn an_overlay_leads_to_its_lower_device() {
        let text = "21 1 0:20 / / rw - overlay overlay rw,lowerdir=/run/hearth/lower,upperdir=/run/hearth/up/u,workdir=/w\n\
                    25 21 8:4 / /run/hearth/lower ro - ext4 /dev/sda4 ro,norecovery\n";
        assert_eq!(root_device(text).as_deref(), Some("8:4"));
        let moved = text.replace("lowerdir=/run", "lowerdir+=/root/run");
        assert_eq!(root_device(&moved).as_deref(), Some("8:4"));
        let hidden = text.replace("25 21 8:4 / /run/hearth/lower", "25 21 8:4 / /elsewhere");
        assert_eq!(root_device(&hidden), None);
    }

    #[test]
    fn the_command_line_helps_only_where_it_names_one_disk() {
        let mut raw = zoo::raw("twins");
        let started = |raw: &super::super::Raw| {
            let facts = super::super::Facts::from_raw(raw).unwrap();
            facts.boot_disk().map(|disk| disk.name.clone())
        };
        assert_eq!(started(&raw).as_deref(), Some("sdb"), "the mount table knows");
        raw.mountinfo.clear();
        assert_eq!(started(&raw), None, "the id is on both disks");
    }
}
