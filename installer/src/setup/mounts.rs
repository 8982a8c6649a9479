//! Where role disks are seen, and the systemd units that mount them. A disk that is absent
//! holds nothing up: its units fail alone, and the guarded folder below stays empty.

use super::roles::{RoleDisk, What, label, place};
use super::volumes::VolumeTarget;
use crate::adopt::storage::{Unit, unit_name};
use crate::answers::Role;
use crate::encryption::key_path;
use crate::facts::VolumeKind;
use crate::layout::DATA_DIR;
use uuid::Uuid;

/// How long a start waits for a role's disk: spinning ones need some seconds each.
const PATIENCE: &str = "60s";

/// Where disks are mounted that several roles share.
const SHARED: &str = "/var/lib/hearth/disks";

/// A role disk on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its units, in the order they start.
    pub units: Vec<Unit>,
    /// The folders below which it is seen: guarded while nothing is mounted there.
    pub guarded: Vec<String>,
    /// Folders that must be there before the units start, which are on root or `data`.
    pub before: Vec<String>,
    /// The disk's own mount point and unit, if folders on it are needed for its roles.
    pub on_disk: Option<(String, String, Vec<String>)>,
}

impl Seen {
    /// The units that are started by their names.
    pub fn names(&self) -> Vec<String> {
        self.units.iter().filter(|unit| starts(unit)).map(|unit| unit.name.clone()).collect()
    }
}

/// What is needed to see `disk`.
pub fn seen(disk: &RoleDisk) -> Seen {
    let places: Vec<String> = disk.roles.iter().map(|role| place(*role)).collect();
    let mut out = Seen { units: Vec::new(), guarded: places.clone(), before: Vec::new(), on_disk: None };
    let found = match &disk.what {
        What::Directory => {
            for role in &disk.roles {
                let source = format!("{DATA_DIR}/{}", role.word());
                out.units.push(bind(*role, &source, DATA_DIR, ""));
                out.before.push(source);
            }
            return out;
        }
        What::Adopt { id, file_system, read_only, .. } => {
            Found { id: id.clone(), kind: driver(file_system), read_only: *read_only, opener: None, needs: "" }
        }
        What::Assemble { volume, id, file_system, read_only, .. } => {
            let name = label(&disk.roles);
            // Arrays are put together by udev and mdadm, which wait for slow disks.
            let opener = (volume.kind == VolumeKind::Lvm).then(|| starter(&name));
            out.units.extend(opener.iter().flat_map(|_| starting(volume, id, &name)));
            Found { id: id.clone(), kind: driver(file_system), read_only: *read_only, opener, needs: "" }
        }
        What::Erase { id, file_system, luks, .. } => {
            let name = label(&disk.roles);
            out.units.extend(luks.iter().flat_map(|luks| opening(*luks, *id, &name)));
            let opener = luks.map(|_| opener(&name));
            let needs = if luks.is_some() { NEEDS_DATA } else { "" };
            Found { id: id.to_string(), kind: file_system.word(), read_only: false, opener, needs }
        }
    };
    if let [role] = disk.roles.as_slice() {
        out.units.extend(whole(&found, &place(*role), role.word()));
        return out;
    }
    // One mount below, so that a file can move from one role to another by a hard link.
    let words: Vec<&str> = disk.roles.iter().map(|role| role.word()).collect();
    let at = format!("{SHARED}/{}", words.join("-"));
    out.units.extend(whole(&found, &at, &words.join(" and ")));
    let folders = words.iter().map(|word| format!("{at}/{word}")).collect();
    out.on_disk = Some((at.clone(), unit_name(&at, "mount"), folders));
    for role in &disk.roles {
        out.units.push(bind(*role, &format!("{at}/{}", role.word()), &at, found.needs));
    }
    out.guarded.push(at);
    out
}

/// The kernel's driver for a file system that libblkid names `kind`.
fn driver(kind: &str) -> &'static str {
    match kind {
        "ext4" => "ext4",
        "xfs" => "xfs",
        "btrfs" => "btrfs",
        "exfat" => "exfat",
        _ => "ntfs3",
    }
}

/// A file system on a disk.
struct Found<'a> {
    id: String,
    kind: &'a str,
    read_only: bool,
    /// The unit that opens the disk, or starts the volume, first.
    opener: Option<String>,
    /// What every unit of an encrypted disk says: its key lies on `data`.
    needs: &'static str,
}

/// The line of units that need `data`. The generator that keeps all of them away while `data` is locked
/// looks for it.
const NEEDS_DATA: &str = "RequiresMountsFor=/var/lib/hearth/data\n";

/// The units for the file system `found` at `at`: its mount, and how long it is waited for.
fn whole(found: &Found<'_>, at: &str, what: &str) -> Vec<Unit> {
    let Found { id, kind, read_only, opener, needs } = found;
    let node = format!("/dev/disk/by-uuid/{id}");
    let access = if *read_only { ",ro" } else { "" };
    let fsck = (*kind == "ext4").then(|| format!("systemd-fsck@{}", unit_name(&node, "service")));
    let mut needs = (*needs).to_owned();
    needs.extend(opener.iter().chain(&fsck).map(|unit| format!("Requires={unit}\nAfter={unit}\n")));
    let mount =
        format!("What={node}\nWhere={at}\nType={kind}\nOptions=noatime,nosuid,nodev{access}\nTimeoutSec={PATIENCE}\n");
    let device = unit_name(&node, "device");
    vec![
        Unit { name: format!("{device}.d/50-hearth.conf"), text: format!("[Unit]\nJobRunningTimeoutSec={PATIENCE}\n") },
        // By the device, too: a disk that is slow, or plugged in later, is mounted when it is there.
        Unit { name: unit_name(at, "mount"), text: unit(&format!("The disk for {what}"), &needs, &mount, &device) },
    ]
}

/// The units that open the LUKS container `luks` as `name`, with its key on `data`, before the file
/// system `id` in it is waited for.
fn opening(luks: Uuid, id: Uuid, name: &str) -> Vec<Unit> {
    let node = format!("/dev/disk/by-uuid/{luks}");
    let device = unit_name(&node, "device");
    let inside = unit_name(&format!("/dev/disk/by-uuid/{id}"), "device");
    let service = opener(name);
    let key = key_path(name);
    let text = format!(
        "# Written by `hearth setup`.\n\n[Unit]\nDescription=Open the encrypted disk {name}\nDefaultDependencies=no\n\
         ConditionKernelCommandLine=!hearth.mode=setup\nConditionKernelCommandLine=!hearth.mode=recovery\n\
         BindsTo={device}\nAfter={device}\n{NEEDS_DATA}\
         Conflicts=umount.target\nBefore=umount.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/usr/bin/systemd-cryptsetup attach {name} {node} {key} luks,headless=1\n\
         ExecStop=/usr/bin/systemd-cryptsetup detach {name}\n"
    );
    vec![
        Unit { name: format!("{device}.d/50-hearth.conf"), text: format!("[Unit]\nJobRunningTimeoutSec={PATIENCE}\n") },
        Unit { name: format!("{inside}.d/60-hearth.conf"), text: format!("[Unit]\nAfter={service}\n") },
        Unit { name: service, text },
    ]
}

/// The units that start an LVM volume as `name`, once all pieces of its group are there, and before the
/// file system `id` in it is waited for.
fn starting(volume: &VolumeTarget, id: &str, name: &str) -> Vec<Unit> {
    let device = |piece: &String| unit_name(&format!("/dev/disk/by-id/lvm-pv-uuid-{piece}"), "device");
    let devices: Vec<String> = volume.pieces.iter().map(device).collect();
    let inside = unit_name(&format!("/dev/disk/by-uuid/{id}"), "device");
    let (service, all) = (starter(name), devices.join(" "));
    let volume = &volume.name;
    let text = format!(
        "# Written by `hearth setup`.\n\n[Unit]\nDescription=Start the LVM volume {volume}\nDefaultDependencies=no\n\
         ConditionKernelCommandLine=!hearth.mode=setup\nConditionKernelCommandLine=!hearth.mode=recovery\n\
         BindsTo={all}\nAfter={all}\nConflicts=umount.target\nBefore=umount.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/usr/sbin/lvchange --activate y {volume}\n\
         ExecStop=/usr/sbin/lvchange --activate n {volume}\n"
    );
    let mut units = Vec::new();
    for device in &devices {
        let text = format!("[Unit]\nJobRunningTimeoutSec={PATIENCE}\n");
        units.push(Unit { name: format!("{device}.d/50-hearth.conf"), text });
        // A disk that is plugged in late brings its volume along. Several volumes may lie on it.
        units.push(Unit { name: format!("{device}.d/60-{name}.conf"), text: format!("[Unit]\nWants={service}\n") });
    }
    units.push(Unit { name: format!("{inside}.d/60-hearth.conf"), text: format!("[Unit]\nAfter={service}\n") });
    units.push(Unit { name: service, text });
    units
}

/// The unit that starts the LVM volume `name`.
fn starter(name: &str) -> String {
    format!("{name}-start.service")
}

/// The unit that opens the encrypted disk `name`.
fn opener(name: &str) -> String {
    format!("{name}-open.service")
}

fn bind(role: Role, source: &str, from: &str, more: &str) -> Unit {
    let at = place(role);
    // BindsTo: a folder of a disk that goes away must not be seen as an empty one.
    let disk = unit_name(from, "mount");
    let needs = if from == DATA_DIR { NEEDS_DATA.to_owned() } else { format!("BindsTo={disk}\nAfter={disk}\n{more}") };
    let mount = format!("What={source}\nWhere={at}\nType=none\nOptions=bind,nosuid,nodev\n");
    Unit {
        name: unit_name(&at, "mount"),
        text: unit(&format!("The folder for {}", role.word()), &needs, &mount, &disk),
    }
}

/// Without the default dependencies: an absent disk must not hold local-fs.target, and with
/// it the whole start, for as long as it is waited for.
fn unit(what: &str, needs: &str, mount: &str, wanted_by: &str) -> String {
    format!(
        "# Written by `hearth setup`.\n\n[Unit]\nDescription={what}\nDefaultDependencies=no\n\
         ConditionKernelCommandLine=!hearth.mode=setup\nConditionKernelCommandLine=!hearth.mode=recovery\n\
         {needs}After=local-fs-pre.target systemd-udevd.service\nConflicts=umount.target\nBefore=umount.target docker.service\n\n\
         [Mount]\n{mount}\n[Install]\nWantedBy=multi-user.target {wanted_by}\n"
    )
}

/// Whether it is started by name: drop-ins are not, and what opens a disk comes with its mount.
fn starts(unit: &Unit) -> bool {
    unit.name.strip_suffix(".mount").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adopt::plan::Target;
    use crate::digest::Digest;
    use crate::units::{Bytes, SectorSize};

    fn adopted(roles: &[Role], kind: &str, read_only: bool) -> RoleDisk {
        let disk = Target {
            name: "sda".to_owned(),
            model: None,
            serial: Some("S".to_owned()),
            wwn: None,
            size: Bytes::gib(1),
            sector: SectorSize(512),
        };
        let (file_system, id) = (kind.to_owned(), "0a0b-1c".to_owned());
        RoleDisk {
            roles: roles.to_vec(),
            what: What::Adopt { disk, state: Digest::of(""), file_system, id, read_only },
        }
    }

    #[test]
    fn one_role_has_the_whole_disk_and_several_have_folders_of_one_mount() {
        let one = seen(&adopted(&[Role::Media], "ntfs", true));
        assert_eq!(one.units.iter().filter(|unit| starts(unit)).count(), 1);
        let mount = &one.units[1];
        assert_eq!(mount.name, "mnt-media.mount");
        assert!(mount.text.contains("Type=ntfs3\nOptions=noatime,nosuid,nodev,ro\n"), "{}", mount.text);
        assert!(mount.text.contains("DefaultDependencies=no\n"), "an absent disk must not hold the start");
        let late = "WantedBy=multi-user.target dev-disk-by\\x2duuid-0a0b\\x2d1c.device\n";
        assert!(mount.text.ends_with(late), "a disk that comes late is left out: {}", mount.text);
        let two = seen(&adopted(&[Role::Media, Role::Downloads], "ext4", false));
        let names: Vec<&str> = two.units.iter().map(|unit| unit.name.as_str()).collect();
        let disk = "var-lib-hearth-disks-media\\x2ddownloads.mount";
        assert_eq!(names[1..], [disk, "mnt-media.mount", "mnt-downloads.mount"]);
        assert!(two.units[1].text.contains("Requires=systemd-fsck@dev-disk-by\\x2duuid-0a0b\\x2d1c.service\n"));
        assert!(two.units[2].text.contains(&format!("BindsTo={disk}\n")));
        assert!(two.units[2].text.ends_with(&format!("WantedBy=multi-user.target {disk}\n")));
        assert_eq!(two.guarded, ["/mnt/media", "/mnt/downloads", "/var/lib/hearth/disks/media-downloads"]);
        assert_eq!(two.on_disk.unwrap().2.len(), 2);
    }

    #[test]
    fn an_encrypted_disk_is_opened_by_its_key_on_data_before_it_is_mounted() {
        let mut disk = adopted(&[Role::Media], "ext4", false);
        let What::Adopt { disk: target, state, .. } = disk.what else { panic!() };
        let table = crate::machine::fake::image_table(SectorSize(512));
        let (id, luks) = (Uuid::from_u128(1), Some(Uuid::from_u128(2)));
        disk.what = What::Erase { disk: target, state, table, file_system: crate::answers::FileSystem::Xfs, id, luks };
        let units = seen(&disk).units;
        let text = |name: &str| &units.iter().find(|unit| unit.name == name).unwrap().text;
        let opener = text("hearth-media-open.service");
        let attach = "attach hearth-media /dev/disk/by-uuid/00000000-0000-0000-0000-000000000002 /var/lib/hearth/data/keys/hearth-media ";
        assert!(opener.contains(attach) && opener.contains("RequiresMountsFor=/var/lib/hearth/data\n"), "{opener}");
        let needs = "Requires=hearth-media-open.service\nAfter=hearth-media-open.service\n";
        let mount = text("mnt-media.mount");
        assert!(
            mount.contains(needs) && mount.contains("What=/dev/disk/by-uuid/00000000-0000-0000-0000-000000000001\n")
        );
        let started: Vec<&str> = units.iter().filter(|unit| starts(unit)).map(|unit| unit.name.as_str()).collect();
        assert_eq!(started, ["mnt-media.mount"]);
        // While data is locked a generator masks every unit that needs it, by this line.
        disk.roles = vec![Role::Media, Role::Downloads];
        let generator = include_str!("../../../overlays/base/usr/lib/systemd/system-generators/hearth-mode");
        assert!(generator.contains(&format!("'^{}$'", NEEDS_DATA.trim_end())), "{generator}");
        for unit in seen(&disk).units.iter().filter(|unit| !unit.name.contains('/')) {
            assert!(unit.text.contains(&format!("\n{NEEDS_DATA}")), "{}", unit.text);
        }
        for unit in &crate::adopt::storage::mounts(id)[1..] {
            assert!(unit.text.contains(&format!("\n{NEEDS_DATA}")), "{}", unit.text);
        }
    }

    #[test]
    fn a_role_without_a_disk_is_a_folder_on_data() {
        let seen = seen(&RoleDisk { roles: vec![Role::Backups], what: What::Directory });
        assert_eq!(seen.before, ["/var/lib/hearth/data/backups"]);
        assert!(seen.units[0].text.contains("What=/var/lib/hearth/data/backups\nWhere=/mnt/backups\n"));
    }
}
