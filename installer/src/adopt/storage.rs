//! What lies where on `data`, and the systemd units that mount it.
//!
//! Native mount units instead of fstab, for one reason: with `nofail` fstab also drops
//! the order before local-fs.target, so that /var/log or /home would be used before
//! they are mounted. `WantedBy=local-fs.target` with `Before=` it waits, and still
//! lets the start go on without `data`.

use uuid::Uuid;

use crate::layout::{ADOPTED, DATA_DIR};
use crate::render::{File, Link};

/// Where units go that belong to this machine alone.
const UNIT_DIR: &str = "/etc/systemd/system";

/// How long a start waits for the disk that holds `data`. A slow or busy machine
/// was seen to need more than half a minute to find its own partitions, and a
/// start that gives up too soon leaves Docker down until somebody looks.
const PATIENCE: &str = "120s";

/// A folder of `data` that is seen elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Below [`DATA_DIR`].
    pub source: &'static str,
    /// Where it is seen.
    pub target: &'static str,
    /// Its mode if root brings no such folder.
    pub mode: u32,
    /// Whether set-uid bits and device nodes in it are dead.
    pub guarded: bool,
}

/// What a single snapshot must hold: every folder of services and people.
pub const STATE: &str = "state";

/// The subvolumes, each made whole before it gets its name.
pub const SUBVOLUMES: [&str; 4] = [STATE, "docker", "containerd", "log"];

/// Everything that is seen elsewhere, parents before children.
pub const BINDS: [Bind; 7] = [
    Bind { source: "state/stacks", target: "/opt/stacks", mode: 0o755, guarded: true },
    Bind { source: "state/hearth", target: "/etc/hearth", mode: 0o755, guarded: true },
    Bind { source: "state/home", target: "/home", mode: 0o755, guarded: true },
    Bind { source: "docker", target: "/var/lib/docker", mode: 0o710, guarded: false },
    Bind { source: "state/volumes", target: "/var/lib/docker/volumes", mode: 0o701, guarded: true },
    Bind { source: "containerd", target: "/var/lib/containerd", mode: 0o711, guarded: false },
    Bind { source: "log", target: "/var/log", mode: 0o755, guarded: false },
];

/// Folders that must exist in a subvolume besides what root brings.
pub const INSIDE: [(&str, u32); 2] = [("docker/volumes", 0o701), ("log/journal", 0o2755)];

/// A unit file: its path and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Unit {
    /// Where it lies.
    pub fn path(&self) -> String {
        format!("{UNIT_DIR}/{}", self.name)
    }

    /// The link by which local-fs.target wants it.
    pub fn wanted_by(&self) -> String {
        format!("{UNIT_DIR}/local-fs.target.wants/{}", self.name)
    }
}

/// The mount units, that of `data` first.
pub fn mounts(data: Uuid) -> Vec<Unit> {
    let mut units = vec![Unit {
        name: unit_name(DATA_DIR, "mount"),
        text: mount_unit(
            "Hearth's data",
            "",
            &format!(
                "What=/dev/disk/by-uuid/{data}\nWhere={DATA_DIR}\nType=btrfs\nOptions=noatime\nTimeoutSec={PATIENCE}\n"
            ),
        ),
    }];
    for bind in BINDS {
        let guard = if bind.guarded { ",nosuid,nodev" } else { "" };
        units.push(Unit {
            name: unit_name(bind.target, "mount"),
            text: mount_unit(
                &format!("{} on Hearth's data", bind.target),
                &format!("RequiresMountsFor={DATA_DIR}\n"),
                &format!("What={DATA_DIR}/{}\nWhere={}\nType=none\nOptions=bind{guard}\n", bind.source, bind.target),
            ),
        });
    }
    units
}

/// All that mounts `data` at every start.
pub fn files(data: Uuid) -> (Vec<File>, Vec<Link>) {
    let units = mounts(data);
    let all = std::iter::once(patience(data)).chain(units.iter().cloned());
    let files = all.map(|unit| File::public(unit.path(), unit.text)).collect();
    (files, units.iter().map(|unit| Link { path: unit.wanted_by(), target: unit.path() }).collect())
}

/// The id of `data` in the text of the unit that mounts it.
pub fn data_in(unit: &str) -> Option<&str> {
    unit.lines().find_map(|line| line.strip_prefix("What=/dev/disk/by-uuid/"))
}

/// systemd's own wait for a device is 90 seconds; both waits should be one.
pub fn patience(data: Uuid) -> Unit {
    let device = unit_name(&format!("/dev/disk/by-uuid/{data}"), "device");
    Unit { name: format!("{device}.d/50-hearth.conf"), text: format!("[Unit]\nJobRunningTimeoutSec={PATIENCE}\n") }
}

fn mount_unit(what: &str, needs: &str, mount: &str) -> String {
    format!(
        "# Written by `hearth adopt-disk`.\n\n[Unit]\nDescription={what}\n\
         ConditionKernelCommandLine=!hearth.mode=setup\n\
         ConditionKernelCommandLine=!hearth.mode=recovery\n{needs}Before=local-fs.target\n\n\
         [Mount]\n{mount}\n[Install]\nWantedBy=local-fs.target\n"
    )
}

/// A path as systemd names its unit.
pub fn unit_name(path: &str, kind: &str) -> String {
    let mut name = String::new();
    for (i, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if i == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            other => name.push_str(&format!("\\x{other:02x}")),
        }
    }
    format!("{name}.{kind}")
}

/// What [`ADOPTED`] holds: GRUB cares that it is there, people may want to know why.
pub fn marker(install: Uuid, digest: &str) -> String {
    format!(
        "Hearth runs from this disk. Without this file ({ADOPTED}) it starts in setup mode.\ninstall {install}\nplan {digest}\n"
    )
}

/// The install id in what [`marker`] made.
pub fn install_in(marker: &str) -> Option<Uuid> {
    marker.lines().find_map(|line| line.strip_prefix("install "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_systemd_escape_makes_them() {
        assert_eq!(unit_name("/var/lib/docker", "mount"), "var-lib-docker.mount");
        assert_eq!(unit_name("/dev/disk/by-uuid/ab-c", "device"), "dev-disk-by\\x2duuid-ab\\x2dc.device");
        assert_eq!(unit_name("/.hidden/x", "mount"), "\\x2ehidden-x.mount");
    }

    #[test]
    fn every_bind_lies_in_a_subvolume_and_parents_come_first() {
        for (i, bind) in BINDS.iter().enumerate() {
            let top = bind.source.split('/').next().unwrap();
            assert!(SUBVOLUMES.contains(&top), "{}", bind.source);
            assert!(BINDS[..i].iter().all(|before| !before.target.starts_with(&format!("{}/", bind.target))));
            assert_eq!(bind.guarded, top == STATE, "what containers and people write to is guarded: {}", bind.source);
        }
    }

    #[test]
    fn the_units_say_what_they_need() {
        let id = Uuid::from_u128(0x0f00);
        let units = mounts(id);
        assert_eq!(units[0].name, "var-lib-hearth-data.mount");
        assert!(units[0].text.contains(&format!("What=/dev/disk/by-uuid/{id}\n")));
        let home = units.iter().find(|unit| unit.name == "home.mount").unwrap();
        assert!(home.text.contains("Options=bind,nosuid,nodev\n"));
        assert!(home.text.contains("RequiresMountsFor=/var/lib/hearth/data\nBefore=local-fs.target\n"));
        assert_eq!(home.wanted_by(), "/etc/systemd/system/local-fs.target.wants/home.mount");
        assert!(patience(id).name.starts_with("dev-disk-by\\x2duuid-0000"));
        assert_eq!(data_in(&units[0].text), Some(id.to_string().as_str()));
        assert_eq!(install_in(&marker(id, "d1ce")), Some(id));
    }
}
