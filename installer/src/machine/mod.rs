//! The one door between Hearth's steps and the machine. Everything that looks at a disk
//! or changes it goes through [`Machine`], so the same steps run on a real machine,
//! are merely told in a dry run, and are cut off at every effect in tests.

mod duckdns;
mod erase;
#[cfg(test)]
pub(crate) mod fake;
mod firmware;
mod host;
mod luks;
mod neighbour;
pub(crate) mod real;
pub(crate) mod recording;
mod repository;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use duckdns::{Lead, Verdict};
pub(crate) use real::on_hearth;
pub use repository::Repository;

use crate::answers::{FileSystem, Secret};
use crate::encryption::{Key, Keys};
use crate::facts::{Content, Disk, Facts, Volume};
use crate::flash::medium_source::Own;
use crate::layout::Part;
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::render::{File, Owner};
use crate::shipped::Stray;
use crate::units::Bytes;

/// A disk, or one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dev {
    /// The kernel's name of the disk, or of a link to it below /dev.
    pub disk: String,
    /// The number of the partition, if it is not the whole disk.
    pub part: Option<u32>,
}

impl Dev {
    /// The whole disk.
    pub fn disk(name: &str) -> Self {
        Self { disk: name.to_owned(), part: None }
    }

    /// A partition. It is not the same as the disk at an offset: the kernel caches the two apart.
    pub fn part(name: &str, number: u32) -> Self {
        Self { disk: name.to_owned(), part: Some(number) }
    }

    /// An open LUKS container.
    pub fn mapped(name: &str) -> Self {
        Self::disk(&format!("mapper/{name}"))
    }

    /// Whatever has this id: a file system, or a LUKS container.
    pub fn of_id(id: Uuid) -> Self {
        Self::disk(&format!("disk/by-uuid/{id}"))
    }

    /// The partition that people drop files on, of a disk with Hearth on it.
    pub fn hearth(disk: &str) -> Self {
        Self::part(disk, Part::Hearth.number())
    }

    /// The device node.
    pub fn path(&self) -> String {
        format!("/dev/{}", self.kernel_name())
    }

    /// The kernel's name: a name that ends with a digit gets a `p` before the number.
    pub fn kernel_name(&self) -> String {
        let between = if self.disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
        self.part.map_or_else(|| self.disk.clone(), |number| format!("{}{between}{number}", self.disk))
    }
}

/// Where a partition begins and how long it is, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub start: Bytes,
    /// Its length.
    pub size: Bytes,
}

/// Somebody who can log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub login: String,
    /// The groups besides the account's own, sorted.
    pub groups: Vec<String>,
    /// The hash of the console password, as it lies in /etc/shadow.
    pub hash: Secret<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.login, self.groups.join(", "))
    }
}

/// Hearth, to be copied from the disk it was started from to another one.
#[derive(Clone, Debug)]
pub struct SystemCopy<'a> {
    /// The disk it was started from.
    pub from: &'a Disk,
    /// The disk that is written over.
    pub to: &'a Disk,
    /// What the copy has of its own.
    pub own: Own,
}

/// The system of a disk, to be written once more into the partitions it has.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// The disk that Hearth was started from.
    pub from: &'a Disk,
    /// The disk whose system it is.
    pub to: &'a Disk,
    /// The volume id of its EFI system partition.
    pub esp: u32,
    /// The volume id of its HEARTH.
    pub hearth: u32,
}

/// A part of the running system that reads its files again when told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The host name, from /etc/hostname.
    Hostname,
    /// A program makes of its files what others use: languages, keymaps, certificates.
    Run(&'static [&'static str]),
    /// The network, from its files.
    Network,
    /// SSH.
    Ssh,
    /// These units start, now and at every start of the machine.
    Enable(Vec<String>),
    /// This unit starts again.
    Restart(String),
    /// Both parts of the firewall, unless the kernel refuses its rules: then the former ones stay.
    Firewall,
    /// All that waits for `data`, which is open now. It goes on by itself.
    Data,
}

/// What steps can see and do.
pub trait Machine {
    /// The facts as they are now.
    fn facts(&self) -> Result<Facts>;

    /// `len` bytes of a device.
    fn read(&self, dev: &Dev, offset: Bytes, len: usize) -> Result<Vec<u8>>;

    /// What is recognised at `offset` of a device, on at most `len` bytes.
    fn probe(&self, dev: &Dev, offset: Bytes, len: Bytes) -> Result<Option<Content>>;

    /// The disk's partitions as the kernel has them now.
    fn places(&self, disk: &str) -> Result<BTreeMap<u32, Place>>;

    /// An id nobody else has.
    fn random_id(&self) -> Result<Uuid>;

    /// So many random bytes, fit for secrets.
    fn draw(&self, count: usize) -> Result<Zeroizing<Vec<u8>>>;

    /// A file in the top folder of a HEARTH partition.
    fn hearth_file(&self, hearth: &Dev, name: &str) -> Result<Option<Vec<u8>>>;

    /// The answer file in the top folder of a HEARTH partition: its name and its bytes.
    fn answer_file(&self, hearth: &Dev) -> Result<Option<(String, Zeroizing<Vec<u8>>)>>;

    /// What the hypervisor or the service manager passed under this name.
    fn credential(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>>;

    /// Whether a path exists.
    fn exists(&self, path: &str) -> bool;

    /// Whether something is mounted exactly at `path`.
    fn is_mounted(&self, path: &str) -> Result<bool>;

    /// Tells people on every console, now.
    fn say(&mut self, line: &str);

    /// Writes to a device. Not durable before [`Machine::flush`].
    fn write(&mut self, dev: &Dev, offset: Bytes, bytes: &[u8]) -> Result<()>;

    /// Makes all writes to a device durable.
    fn flush(&mut self, dev: &Dev) -> Result<()>;

    /// Makes the kernel take these partitions as the disk's table has them, though root is mounted.
    fn take_table(&mut self, disk: &str, numbers: &[u32]) -> Result<()>;

    /// Lets the mounted ext4 in `dev` fill its partition.
    fn grow_root(&mut self, dev: &Dev) -> Result<()>;

    /// Gives the mounted ext4 in `dev` another id.
    fn name_root(&mut self, dev: &Dev, id: Uuid) -> Result<()>;

    /// Makes a LUKS container with this id in `dev`, over whatever is there, that both keys open.
    fn make_luks(&mut self, dev: &Dev, id: Uuid, keys: &Keys) -> Result<()>;

    /// Opens the LUKS container in `dev` as `name`; false if the key does not fit.
    fn open_luks(&mut self, dev: &Dev, name: &str, key: &Key) -> Result<bool>;

    /// Unmounts what is mounted at `path` and closes the container `name`; neither need be so.
    fn close_luks(&mut self, name: &str, path: &str) -> Result<()>;

    /// Makes a btrfs in `dev`, over whatever is there.
    fn make_data(&mut self, dev: &Dev, id: Uuid) -> Result<()>;

    /// Mounts `dev` at `path`; an error if that cannot be done.
    fn mount(&mut self, dev: &Dev, path: &str) -> Result<()>;

    /// Makes a btrfs subvolume with `mode`.
    fn make_subvolume(&mut self, path: &str, mode: u32) -> Result<()>;

    /// Makes a folder with `mode`; its parent exists.
    fn make_dir(&mut self, path: &str, mode: u32) -> Result<()>;

    /// Copies what is in folder `from`, and its mode and owner, into the existing folder `to`.
    fn copy_into(&mut self, from: &str, to: &str) -> Result<()>;

    /// Removes a folder or a subvolume with everything in it.
    fn remove(&mut self, path: &str) -> Result<()>;

    /// Renames; all that was written to the file system of `to` before is durable first.
    fn rename_durably(&mut self, from: &str, to: &str) -> Result<()>;

    /// Puts a symbolic link in place, durably.
    fn link(&mut self, path: &str, target: &str) -> Result<()>;

    /// Makes the SSH host keys that are missing, durably.
    fn make_host_keys(&mut self) -> Result<()>;

    /// Makes systemd read its units anew and starts these.
    fn start_units(&mut self, units: &[String]) -> Result<()>;

    /// Writes the journal of the file system at `path` back, so that GRUB, which
    /// replays no journal, sees what was written.
    fn settle(&mut self, path: &str) -> Result<()>;

    /// Puts a file into the top folder of a HEARTH partition, durably.
    fn put_hearth_file(&mut self, hearth: &Dev, name: &str, bytes: &[u8]) -> Result<()>;

    /// Removes a file from there, durably.
    fn remove_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()>;

    /// Overwrites a file there before it is removed, so that its clusters no longer hold what it held.
    fn scrub_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()>;

    /// Overwrites and removes everything on HEARTH but the files `kept` in its top folder.
    fn clear_hearth(&mut self, hearth: &Dev, kept: &[&str]) -> Result<()>;

    /// Whether the disk that Hearth was started from can be copied: an error says why not.
    fn can_copy(&self, from: &Disk) -> Result<()>;

    /// Copies Hearth to another disk, proves it, and makes the kernel take its partitions. As long as it
    /// is not finished that disk has no partition table, so nothing starts from it.
    fn copy_system(&mut self, copy: &SystemCopy<'_>) -> Result<()>;

    /// Writes the system once more, proves it, and leaves the partition table and all behind the image's
    /// partitions as they are. Nothing starts from the disk before [`Machine::make_startable`].
    fn renew_system(&mut self, renewal: &Renewal<'_>) -> Result<()>;

    /// Puts back what firmware starts, durably.
    fn make_startable(&mut self, renewal: &Renewal<'_>) -> Result<()>;

    /// Mounts the btrfs in `dev` at `path` to look at it: nothing is written to it, its log neither.
    fn mount_to_look(&mut self, dev: &Dev, path: &str) -> Result<()>;

    /// Mounts the ext4 in `dev` at `path`, to put files into a system that does not run.
    fn mount_system(&mut self, dev: &Dev, path: &str) -> Result<()>;

    /// Unmounts what is mounted at `path`, durably; nothing need be.
    fn unmount(&mut self, path: &str) -> Result<()>;

    /// Has UEFI start the disk with this EFI system partition before all others. `id` is the partition's
    /// own in the table.
    fn start_first(&mut self, esp: &Dev, id: Uuid) -> Result<()>;

    /// Starts the machine again.
    fn restart(&mut self) -> Result<()>;

    /// A whole file, or nothing where there is none.
    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Whether exactly this file is there: bytes, mode and owner.
    fn has_file(&self, file: &File) -> Result<bool>;

    /// Puts a file in place, durably: after a power cut it is the old one or the new one.
    fn put_file(&mut self, file: &File) -> Result<()>;

    /// Removes a file, durably; it may be gone already.
    fn remove_file(&mut self, path: &str) -> Result<()>;

    /// Adds a line to a file that only root reads, durably.
    fn append_line(&mut self, path: &str, line: &str) -> Result<()>;

    /// The account called `login`, if there is one.
    fn account(&self, login: &str) -> Result<Option<Account>>;

    /// Makes an account, or makes it what it should be.
    fn set_account(&mut self, account: &Account) -> Result<()>;

    /// Makes the kernel forget the former partitions of a disk that nothing uses, and take its table.
    fn reread_table(&mut self, disk: &str) -> Result<()>;

    /// Makes a file system in `dev`, over whatever is there.
    fn format(&mut self, dev: &Dev, kind: FileSystem, id: Uuid, label: &str) -> Result<()>;

    /// Starts an array as `dev`, or an LVM volume. Nothing is written to its disks: an array takes no
    /// writes before [`Machine::open_volume`].
    fn start_volume(&mut self, volume: &Volume, dev: &Dev) -> Result<()>;

    /// Lets an array that runs take writes; it may do so already.
    fn open_volume(&mut self, dev: &Dev) -> Result<()>;

    /// Makes a folder with this mode and owner where it is missing, and its parents.
    fn ensure_dir(&mut self, path: &str, mode: u32, owner: Owner) -> Result<()>;

    /// Where a symbolic link leads, if there is one.
    fn link_target(&self, path: &str) -> Result<Option<String>>;

    /// Whether a neighbour has this address, tried for so long.
    fn reaches(&self, address: IpAddr, patience: Duration) -> Result<bool>;

    /// Keeps a copy of what the image brought to the root that is seen at `root`, unless there is one.
    fn keep_image(&mut self, root: &str) -> Result<()>;

    /// All that is on root and not as the image brought it.
    fn strays(&self) -> Result<Vec<Stray>>;

    /// Puts one of them right, durably. What it was is overwritten.
    fn put_right(&mut self, stray: &Stray) -> Result<()>;

    /// Makes all of a device read as zeros, what opens it first.
    fn erase(&mut self, dev: &Dev) -> Result<()>;

    /// Takes off a disk what says what is on it, and what opens it. What runs on it is stopped.
    fn wipe(&mut self, disk: &Disk) -> Result<()>;

    /// Makes a folder's repository with its first commit, durably; there is none yet.
    fn make_repository(&mut self, repository: &Repository) -> Result<()>;

    /// Whether DuckDNS takes `token` for `name`. No address of the name is changed.
    fn ask_duckdns(&self, name: &str, token: &Secret<String>) -> Result<Verdict>;

    /// Has DuckDNS lead `name` there; and the address that it then leads to, as DuckDNS says.
    fn tell_duckdns(&mut self, name: &str, token: &Secret<String>, lead: Lead) -> Result<(Verdict, Option<IpAddr>)>;

    /// Whether the firewall lets a neighbour come to a TCP port of this machine; nothing where that cannot be tried.
    fn admits(&self, port: u16) -> Result<Option<bool>>;

    /// How long hashing a password at this cost takes here.
    fn time_to_hash(&self, cost: Cost) -> Result<Duration>;

    /// Forbids that anything is made in the folder `path` itself: what is mounted there is not meant.
    fn guard(&mut self, path: &str) -> Result<()>;

    /// Makes one of Docker's networks, if it is missing.
    fn ensure_network(&mut self, network: &NamedNetwork) -> Result<()>;

    /// Has a part of the system take up what was written for it.
    fn refresh(&mut self, part: &Refresh) -> Result<()>;
}
