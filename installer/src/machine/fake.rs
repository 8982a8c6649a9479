//! A machine made of maps, whose power can be cut at any effect. It keeps apart what was
//! done and what is durable, and starts again from the latter the way GRUB and the kernel do.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::table::{Entry, Table};
use super::{Account, Dev, Machine, Place, Refresh, Repository, SystemCopy, Verdict};
use crate::adopt::plan::{AdoptPlan, plan};
use crate::adopt::storage::BINDS;
use crate::adopt::survey::survey;
use crate::answers::{FILE_NAME, FileSystem, Secret};
use crate::encryption::{Key, Keys};
use crate::facts::{Content, Disk, Facts, Mode, Partition, zoo};
use crate::layout::{ADOPTED, DATA_DIR, HEARTH_LABEL, PLAN_FILE, Part, derived_id, from_gpt_bytes};
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::render::firewall;
use crate::render::{File, Owner};
use crate::units::{Bytes, Sector, SectorSize};

/// The disk that the image was written to: the only one, or a stick that setup writes another from.
pub(crate) const DISK: &str = "nvme0n1";

/// How large root-a is in the image.
pub(crate) const BASE: Bytes = Bytes::mib(2402);

const UNIT: u64 = 512;

/// What survives being switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) sectors: BTreeMap<u64, Vec<u8>>,
    pub(crate) root_size: Bytes,
    pub(crate) root_id: String,
    pub(crate) data: Option<DataFs>,
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) keys: bool,
    pub(crate) hearth: BTreeMap<String, Vec<u8>>,
    /// What lies on HEARTH of other disks, by their names.
    pub(crate) hearths: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The disk that Hearth was written to: all that is said of root here is said of that one.
    pub(crate) home: Option<String>,
    /// What the firmware starts first.
    pub(crate) first: Option<String>,
    /// Files with their mode and owner.
    pub(crate) placed: BTreeMap<String, File>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) immutable: BTreeSet<String>,
    pub(crate) formatted: BTreeMap<String, Formatted>,
    /// LUKS containers, by their devices.
    pub(crate) luks: BTreeMap<String, Luks>,
    /// The files whose journal entries were written back: all that GRUB sees.
    pub(crate) settled: BTreeSet<String>,
}

/// A file system on a role's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formatted {
    pub(crate) kind: FileSystem,
    pub(crate) id: Uuid,
    pub(crate) torn: bool,
}

/// A LUKS container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Luks {
    pub(crate) id: Uuid,
    pub(crate) keys: Keys,
    pub(crate) torn: bool,
}

/// A btrfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFs {
    pub(crate) id: Uuid,
    pub(crate) torn: bool,
    pub(crate) paths: BTreeSet<String>,
}

/// What is lost when the power goes, besides what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Every write that was not flushed.
    All,
    /// No write: the disk was quick.
    None,
    /// Some sectors of them, by a pattern.
    Some(u64),
}

/// What becomes of the wish to start from another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// UEFI that does what it is told.
    Obeys,
    /// UEFI that takes no entry.
    Refuses,
    /// BIOS, with the stick before all disks.
    Bios,
}

/// What comes of the firewall's rules that setup makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Neighbours come in.
    Good,
    /// They shut neighbours out.
    ShutOut,
    /// The kernel refuses them.
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) now: World,
    pub(crate) durable: World,
    pending: Vec<(u64, Vec<u8>)>,
    pub(crate) size: Bytes,
    pub(crate) sector: SectorSize,
    pub(crate) mode: Mode,
    pub(crate) serial: Option<String>,
    /// Disks besides the one that Hearth was started from, as they were before anything was done.
    pub(crate) others: Vec<Disk>,
    /// The disk that this start is from.
    boot: String,
    pub(crate) firmware: Firmware,
    /// [`DISK`] takes no writes.
    pub(crate) stick_refuses: bool,
    /// [`DISK`] was pulled out.
    pub(crate) stick_gone: bool,
    places: BTreeMap<u32, Place>,
    mounts: BTreeSet<String>,
    /// The names of open LUKS containers, and their devices.
    open: BTreeMap<String, String>,
    /// How often something was drawn, where each draw is another one.
    pub(crate) luck: Option<Cell<u8>>,
    pub(crate) leftovers: BTreeMap<u64, Content>,
    pub(crate) said: Vec<String>,
    pub(crate) restarts: usize,
    pub(crate) refreshed: Vec<Refresh>,
    /// Whether a router answers.
    pub(crate) router: bool,
    /// What DuckDNS says.
    pub(crate) duckdns: Verdict,
    /// What comes of the firewall's rules that setup makes.
    pub(crate) rules: Rules,
    pub(crate) effects: usize,
    /// The effect before which the power goes.
    pub(crate) cut: Option<(usize, Loss)>,
}

impl Fake {
    /// A disk of `gib` GiB with a fresh image on it, in setup mode.
    pub(crate) fn new(gib: u64) -> Self {
        Self::with(Bytes::gib(gib), SectorSize(512))
    }

    pub(crate) fn with(size: Bytes, sector: SectorSize) -> Self {
        let mut fake = Self {
            now: World { root_size: BASE, root_id: Uuid::from_u128(4).to_string(), ..World::default() },
            durable: World::default(),
            pending: Vec::new(),
            size,
            sector,
            mode: Mode::Setup,
            serial: Some("S4EWNX0N123456".to_owned()),
            others: Vec::new(),
            boot: DISK.to_owned(),
            firmware: Firmware::Obeys,
            stick_refuses: false,
            stick_gone: false,
            places: BTreeMap::new(),
            mounts: BTreeSet::new(),
            open: BTreeMap::new(),
            luck: None,
            leftovers: BTreeMap::new(),
            said: Vec::new(),
            restarts: 0,
            refreshed: Vec::new(),
            router: true,
            duckdns: Verdict::Belong,
            rules: Rules::Good,
            effects: 0,
            cut: None,
        };
        let image = Bytes::mib(130) + BASE + Bytes::mib(1);
        let table = image_table(sector);
        for write in table.writes(&fake, DISK, image).unwrap() {
            fake.store(write.offset.0, &write.bytes);
        }
        for part in [Part::Esp, Part::Hearth] {
            let start = table.part(part).unwrap().offset(sector).0;
            for copy in [0, 6] {
                fake.store(start + copy * UNIT, &fat_sector([1, 2, 3, 4]));
            }
        }
        fake.durable = fake.now.clone();
        fake.places = fake.kernel_places();
        fake
    }

    pub(crate) fn disk(&self) -> Disk {
        let facts = self.facts().unwrap();
        facts.disks[0].clone()
    }

    pub(crate) fn plan(&self) -> AdoptPlan {
        let found = survey(self, &self.disk()).unwrap();
        plan(&self.facts().unwrap(), Some(&found)).unwrap()
    }

    /// Puts bytes on the disk at once, as if they had always been there.
    pub(crate) fn store(&mut self, at: u64, bytes: &[u8]) {
        for (sector, chunk) in chunks(at, bytes) {
            self.now.sectors.insert(sector, chunk.clone());
            self.durable.sectors.insert(sector, chunk);
        }
    }

    /// The power goes, and comes back: GRUB and the kernel decide how it goes on.
    pub(crate) fn power_cut(&mut self, loss: Loss) {
        for (i, (sector, bytes)) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let kept = match loss {
                Loss::All => false,
                Loss::None => true,
                Loss::Some(pattern) => pattern >> (i % 64) & 1 == 1,
            };
            if kept {
                self.durable.sectors.insert(sector, bytes);
            }
        }
        self.now = self.durable.clone();
        self.cut = None;
        self.boot();
    }

    /// Starts as GRUB and the kernel would; fails the test if they disagree.
    pub(crate) fn boot(&mut self) {
        self.mounts.clear();
        self.open.clear();
        for world in [&mut self.now, &mut self.durable] {
            world.placed.retain(|path, _| !path.starts_with("/run/"));
        }
        let first = self.now.first.clone().filter(|_| self.firmware == Firmware::Obeys);
        let next = first.or_else(|| self.now.home.clone().filter(|_| self.stick_gone));
        self.boot = next.filter(|name| self.table_of(name).is_ok()).unwrap_or_else(|| DISK.to_owned());
        let table = self.table_of(&self.boot).expect("the kernel finds no valid table");
        let sector = table.sector_size;
        self.places = self.kernel_places();
        let root = table.part(Part::RootA).expect("the kernel finds no root-a");
        assert_eq!(root.offset(sector), Bytes::mib(130), "root-a moved");
        assert!(
            !self.is_home() || root.size(sector) >= self.now.root_size,
            "root-a became smaller than its file system"
        );
        assert_eq!(self.grubs_root_id(), root.id, "GRUB names a root that the kernel does not have");
        let hearth = self.on_hearth(&Dev::hearth(&self.boot));
        self.mode = if self.is_home() && self.now.settled.contains(ADOPTED) {
            Mode::Normal
        } else if hearth.is_some_and(|files| files.contains_key(PLAN_FILE)) {
            Mode::Adopt
        } else {
            Mode::Setup
        };
        if self.mode != Mode::Setup {
            // The journal is replayed: what was durable is now in its place.
            self.settle("/").unwrap();
        }
    }

    /// GRUB reads the first table, and checks no sums.
    fn grubs_root_id(&self) -> Uuid {
        let (sector, base) = (u64::from(self.sector.0), self.base(&self.boot));
        let header = self.load(base + sector, 8);
        assert_eq!(header, b"EFI PART", "GRUB finds no table");
        let entry = self.load(base + 2 * sector + 3 * 128 + 16, 16);
        from_gpt_bytes(entry.try_into().unwrap())
    }

    fn load(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let last = (at + len as u64).div_ceil(UNIT);
        for (sector, bytes) in self.now.sectors.range(at / UNIT..last) {
            let start = sector * UNIT;
            // Where the sector begins in `out`, and how much of it lies before that.
            let (to, skip) = (start.saturating_sub(at), at.saturating_sub(start));
            let (to, skip) = (usize::try_from(to).unwrap(), usize::try_from(skip).unwrap());
            let count = (bytes.len() - skip).min(len - to);
            out[to..to + count].copy_from_slice(&bytes[skip..skip + count]);
        }
        out
    }

    fn kernel_places(&self) -> BTreeMap<u32, Place> {
        let table = self.table_of(&self.boot).unwrap();
        let sector = table.sector_size;
        let place = |e: &Entry| Place { start: e.offset(sector), size: e.size(sector) };
        table.entries.iter().map(|entry| (entry.number, place(entry))).collect()
    }

    fn table_of(&self, name: &str) -> Result<Table> {
        let other = self.others.iter().find(|disk| disk.name == name);
        let (size, sector) = other.map_or((self.size, self.sector), |disk| (disk.size, disk.logical_sector));
        Table::read(self, name, size, sector)
    }

    /// Where a disk begins: the others lie far behind the first one.
    fn base(&self, name: &str) -> u64 {
        self.others.iter().position(|disk| disk.name == name).map_or(0, |index| (index as u64 + 1) << 48)
    }

    fn at(&self, dev: &Dev, offset: Bytes) -> u64 {
        // Of other disks than the one it was started from only tables are read and written.
        let part = dev.part.filter(|_| dev.disk == self.boot);
        self.base(&dev.disk) + offset.0 + part.map_or(0, |number| self.places[&number].start.0)
    }

    /// Whether this start is from the disk that is, or will be, the system disk.
    fn is_home(&self) -> bool {
        self.now.home.as_deref().unwrap_or(DISK) == self.boot
    }

    fn on_hearth(&self, dev: &Dev) -> Option<&BTreeMap<String, Vec<u8>>> {
        if dev.disk == DISK { Some(&self.now.hearth) } else { self.now.hearths.get(&dev.disk) }
    }

    /// Changes HEARTH of a disk, durably.
    fn change_hearth(&mut self, dev: &Dev, change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) -> Result<()> {
        self.effect()?;
        ensure!(!(self.stick_refuses && dev.disk == DISK), "the stick is read-only");
        for world in [&mut self.now, &mut self.durable] {
            if dev.disk == DISK {
                change(&mut world.hearth);
            } else {
                change(world.hearths.get_mut(&dev.disk).expect("that disk has no HEARTH"));
            }
        }
        Ok(())
    }

    /// Whether the root that this start sees holds `path`. That of a stick holds nothing of what was
    /// done on the disk written from it.
    fn sees(&self, path: &str) -> bool {
        self.is_home() || path.starts_with("/run/") || path == crate::facts::IMAGE_FILE
    }

    /// Takes the table and HEARTH off another disk.
    fn blank(&mut self, name: &str) {
        let base = self.base(name) / UNIT;
        for world in [&mut self.now, &mut self.durable] {
            world.sectors.retain(|at, _| !(base..base + (1 << 38)).contains(at));
            world.hearths.remove(name);
        }
    }

    /// Another disk as it is now: by its table, once that was written.
    fn now(&self, disk: &Disk) -> Disk {
        let mut now = disk.clone();
        let Ok(table) = Table::read(self, &disk.name, disk.size, disk.logical_sector) else { return now };
        now.table = Some(crate::facts::Table { kind: "gpt".to_owned(), id: Some(table.id.to_string()) });
        now.content = None;
        now.partitions = partitions(&disk.name, &table);
        for part in &mut now.partitions {
            let made = self.now.formatted.get(&format!("/dev/{}", part.device));
            if let Some(made) = made {
                let id = Some(made.id.to_string());
                part.content = Some(Content { kind: "made".to_owned(), label: None, id });
            }
        }
        now
    }

    /// Whether the firewall's rules are those of setup, not those of the image.
    fn has_setup_rules(&self) -> bool {
        let wanted = firewall::files(&firewall::table(false, false));
        wanted.iter().all(|file| self.now.placed.get(&file.path) == Some(file))
    }

    fn effect(&mut self) -> Result<()> {
        if let Some((at, _)) = self.cut.filter(|(at, _)| *at == self.effects) {
            bail!("the power went before effect {at}");
        }
        self.effects += 1;
        Ok(())
    }

    /// Whether an open container of that name is there, if `dev` is one.
    fn is_there(&self, dev: &Dev) -> bool {
        dev.disk.strip_prefix("mapper/").is_none_or(|name| self.open.contains_key(name))
    }

    fn data(&mut self) -> Result<&mut DataFs> {
        ensure!(self.mounts.contains(DATA_DIR), "data is not mounted");
        self.now.data.as_mut().ok_or_else(|| anyhow!("there is no data"))
    }
}

impl World {
    /// What was in the partition for `data` is gone.
    fn lose_data(&mut self, dev: &Dev) {
        if dev.part == Some(Part::Data.number()) {
            self.data = None;
            self.placed.retain(|path, _| !on_data(path));
        }
    }
}

fn on_data(path: &str) -> bool {
    path.starts_with(&format!("{DATA_DIR}/"))
}

fn partitions(disk: &str, table: &Table) -> Vec<Partition> {
    let sector = table.sector_size;
    let partition = |entry: &Entry| Partition {
        device: Dev::part(disk, entry.number).kernel_name(),
        number: Some(entry.number),
        start: Some(entry.offset(sector)),
        size: entry.size(sector),
        name: Some(entry.name.clone()),
        kind: Some(entry.kind.to_string()),
        guid: Some(entry.id.to_string()),
        content: (entry.number == Part::Hearth.number()).then(|| Content {
            kind: "vfat".to_owned(),
            label: Some(HEARTH_LABEL.to_owned()),
            id: None,
        }),
        mountpoints: Vec::new(),
        holders: Vec::new(),
    };
    table.entries.iter().map(partition).collect()
}

fn chunks(at: u64, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    assert!(at % UNIT == 0 && bytes.len() as u64 % UNIT == 0, "whole sectors only");
    let size = usize::try_from(UNIT).unwrap();
    bytes.chunks(size).enumerate().map(|(i, chunk)| (at / UNIT + i as u64, chunk.to_vec())).collect()
}

fn fat_sector(id: [u8; 4]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[11..13].copy_from_slice(&512u16.to_le_bytes());
    sector[50..52].copy_from_slice(&6u16.to_le_bytes());
    sector[66] = 0x29;
    sector[67..71].copy_from_slice(&id);
    sector[82..90].copy_from_slice(b"FAT32   ");
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The table that an image brings.
pub(crate) fn image_table(sector: SectorSize) -> Table {
    let seed = Uuid::from_u128(0x1111_2222);
    let places = [
        (Part::Bios, 1, Bytes::mib(1)),
        (Part::Esp, 2, Bytes::mib(64)),
        (Part::Hearth, 66, Bytes::mib(64)),
        (Part::RootA, 130, BASE),
    ];
    let entries = places
        .iter()
        .map(|&(part, start, size)| Entry {
            number: part.number(),
            name: part.name().to_owned(),
            kind: part.type_guid(),
            id: derived_id(seed, part.name()),
            start: Sector::at(Bytes::mib(start), sector),
            sectors: size.0 / u64::from(sector.0),
            attributes: 0,
        })
        .collect();
    Table { id: derived_id(seed, "disk"), sector_size: sector, entries }
}

impl Machine for Fake {
    fn facts(&self) -> Result<Facts> {
        let mut facts = zoo::facts("mini-pc");
        facts.mode = Some(self.mode);
        let mut disk = facts.disks.swap_remove(0);
        disk.size = self.size;
        disk.serial.clone_from(&self.serial);
        disk.logical_sector = self.sector;
        let table = Table::read(self, DISK, self.size, self.sector);
        disk.partitions = table.map(|table| partitions(DISK, &table)).unwrap_or_default();
        facts.disks = std::iter::once(disk).chain(self.others.iter().map(|disk| self.now(disk))).collect();
        facts.disks.retain(|disk| !(self.stick_gone && disk.name == DISK));
        for disk in &mut facts.disks {
            disk.boot_medium = disk.name == self.boot;
        }
        if self.firmware == Firmware::Bios {
            facts.firmware = crate::facts::Firmware::Bios;
        }
        Ok(facts)
    }

    fn read(&self, dev: &Dev, offset: Bytes, len: usize) -> Result<Vec<u8>> {
        Ok(self.load(self.at(dev, offset), len))
    }

    fn probe(&self, dev: &Dev, offset: Bytes, _: Bytes) -> Result<Option<Content>> {
        let known = |kind: &str, id: String| Content { kind: kind.to_owned(), label: None, id: Some(id) };
        Ok(match dev.part {
            Some(4) => Some(known("ext4", self.now.root_id.clone())),
            Some(6) => match self.now.luks.get(&dev.path()) {
                Some(luks) => Some(known("crypto_LUKS", luks.id.to_string())),
                None => self.now.data.as_ref().map(|data| known("btrfs", data.id.to_string())),
            },
            _ => self.leftovers.get(&self.at(dev, offset)).cloned(),
        })
    }

    fn places(&self, _: &str) -> Result<BTreeMap<u32, Place>> {
        Ok(self.places.clone())
    }

    fn random_id(&self) -> Result<Uuid> {
        Ok(Uuid::from_u128(0xd1ce))
    }

    fn draw(&self, count: usize) -> Result<Zeroizing<Vec<u8>>> {
        let luck = self.luck.as_ref().map_or(0, |luck| luck.replace(luck.get().wrapping_add(1)));
        Ok(Zeroizing::new((0..count).map(|i| u8::try_from(i * 37 % 251).unwrap() ^ luck).collect()))
    }

    fn hearth_file(&self, hearth: &Dev, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.on_hearth(hearth).and_then(|files| files.get(name)).cloned())
    }

    fn answer_file(&self, hearth: &Dev) -> Result<Option<(String, Zeroizing<Vec<u8>>)>> {
        let found = self.on_hearth(hearth).and_then(|files| files.get_key_value(FILE_NAME));
        Ok(found.map(|(name, bytes)| (name.clone(), Zeroizing::new(bytes.clone()))))
    }

    fn credential(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(None)
    }

    fn exists(&self, path: &str) -> bool {
        let mapped = path.strip_prefix("/dev/mapper/").is_some_and(|name| self.open.contains_key(name));
        let reached = !on_data(path) || self.mounts.contains(DATA_DIR);
        let made = self.now.links.contains_key(path) || self.now.placed.contains_key(path) && reached;
        let on_root = mapped || made && self.sees(path) || ["/home", "/var/log", "/etc/hearth"].contains(&path);
        let mounted = self.mounts.contains(DATA_DIR);
        on_root || mounted && self.now.data.as_ref().is_some_and(|data| data.paths.contains(path))
    }

    fn is_mounted(&self, path: &str) -> Result<bool> {
        Ok(self.mounts.contains(path))
    }

    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn write(&mut self, dev: &Dev, offset: Bytes, bytes: &[u8]) -> Result<()> {
        self.effect()?;
        for (sector, chunk) in chunks(self.at(dev, offset), bytes) {
            self.now.sectors.insert(sector, chunk.clone());
            self.pending.push((sector, chunk));
        }
        Ok(())
    }

    fn flush(&mut self, _: &Dev) -> Result<()> {
        self.effect()?;
        self.durable.sectors.extend(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn take_table(&mut self, _: &str, numbers: &[u32]) -> Result<()> {
        self.effect()?;
        let all = self.kernel_places();
        self.places.extend(numbers.iter().map(|number| (*number, all[number])));
        Ok(())
    }

    fn grow_root(&mut self, dev: &Dev) -> Result<()> {
        let size = self.places[&dev.part.unwrap()].size;
        // A cut on the way leaves a file system that has grown in part.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            self.durable.root_size = Bytes(u64::midpoint(self.now.root_size.0, size.0));
        }
        self.effect()?;
        self.now.root_size = size;
        self.durable.root_size = size;
        Ok(())
    }

    fn name_root(&mut self, _: &Dev, id: Uuid) -> Result<()> {
        self.effect()?;
        self.now.root_id = id.to_string();
        self.durable.root_id = id.to_string();
        Ok(())
    }

    fn make_luks(&mut self, dev: &Dev, id: Uuid, keys: &Keys) -> Result<()> {
        ensure!(!self.open.values().any(|open| *open == dev.path()), "{} is in use", dev.path());
        let made = |torn| Luks { id, keys: keys.clone(), torn };
        // What was in it is gone as soon as it begins; a cut on the way leaves a header that nothing opens.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            self.durable.luks.insert(dev.path(), made(true));
            self.durable.lose_data(dev);
        }
        self.effect()?;
        for world in [&mut self.now, &mut self.durable] {
            world.luks.insert(dev.path(), made(false));
            world.lose_data(dev);
        }
        Ok(())
    }

    fn open_luks(&mut self, dev: &Dev, name: &str, key: &Key) -> Result<bool> {
        self.effect()?;
        let luks = self.now.luks.get(&dev.path()).ok_or_else(|| anyhow!("{} is no LUKS container", dev.path()))?;
        ensure!(!luks.torn, "no usable key slot is available");
        let fits = luks.keys.everyday == *key || *key == Key::Drawn(luks.keys.recovery.clone());
        if fits {
            self.open.insert(name.to_owned(), dev.path());
        }
        Ok(fits)
    }

    fn close_luks(&mut self, name: &str, path: &str) -> Result<()> {
        self.effect()?;
        self.mounts.remove(path);
        self.open.remove(name);
        Ok(())
    }

    fn make_data(&mut self, dev: &Dev, id: Uuid) -> Result<()> {
        ensure!(self.is_there(dev), "{} does not exist", dev.path());
        let fresh = |torn| Some(DataFs { id, torn, paths: BTreeSet::new() });
        // A cut on the way leaves something that looks like it, and cannot be mounted.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            self.durable.data = fresh(true);
        }
        self.effect()?;
        self.now.data = fresh(false);
        self.durable.data = fresh(false);
        Ok(())
    }

    fn mount(&mut self, dev: &Dev, path: &str) -> Result<()> {
        self.effect()?;
        ensure!(self.is_there(dev), "{} does not exist", dev.path());
        ensure!(self.now.data.as_ref().is_some_and(|data| !data.torn), "wrong fs type, bad option, bad superblock");
        self.mounts.insert(path.to_owned());
        Ok(())
    }

    fn make_subvolume(&mut self, path: &str, _: u32) -> Result<()> {
        self.effect()?;
        ensure!(self.data()?.paths.insert(path.to_owned()), "{path} exists");
        Ok(())
    }

    fn make_dir(&mut self, path: &str, _: u32) -> Result<()> {
        self.effect()?;
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        let data = self.data()?;
        ensure!(data.paths.contains(&parent), "{parent} does not exist");
        ensure!(data.paths.insert(path.to_owned()), "{path} exists");
        Ok(())
    }

    fn copy_into(&mut self, from: &str, to: &str) -> Result<()> {
        self.effect()?;
        let data = self.data()?;
        ensure!(data.paths.contains(to), "{to} does not exist");
        data.paths.insert(format!("{to}/(copied from {from})"));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.effect()?;
        let below = format!("{path}/");
        self.data()?.paths.retain(|other| other != path && !other.starts_with(&below));
        Ok(())
    }

    fn rename_durably(&mut self, from: &str, to: &str) -> Result<()> {
        // It makes durable first: a cut on the way leaves the whole thing under its old name.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            self.durable.data.clone_from(&self.now.data);
        }
        self.effect()?;
        let data = self.data()?;
        let rename = |path: &String| match path.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
            _ => path.clone(),
        };
        data.paths = data.paths.iter().map(rename).collect();
        self.durable.data.clone_from(&self.now.data);
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.effect()?;
        self.now.links.insert(path.to_owned(), target.to_owned());
        self.durable.links.insert(path.to_owned(), target.to_owned());
        Ok(())
    }

    fn make_host_keys(&mut self) -> Result<()> {
        self.effect()?;
        (self.now.keys, self.durable.keys) = (true, true);
        Ok(())
    }

    fn start_units(&mut self, _: &[String]) -> Result<()> {
        self.effect()?;
        self.mounts.extend(BINDS.iter().map(|bind| bind.target.to_owned()));
        Ok(())
    }

    fn settle(&mut self, _: &str) -> Result<()> {
        self.effect()?;
        self.now.settled = self.now.links.keys().chain(self.now.placed.keys()).cloned().collect();
        self.durable.settled = self.now.settled.clone();
        Ok(())
    }

    fn put_hearth_file(&mut self, hearth: &Dev, name: &str, bytes: &[u8]) -> Result<()> {
        self.change_hearth(hearth, |files| drop(files.insert(name.to_owned(), bytes.to_vec())))
    }

    fn remove_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()> {
        self.change_hearth(hearth, |files| drop(files.remove(name)))
    }

    fn can_copy(&self, from: &Disk) -> Result<()> {
        ensure!(from.name == DISK, "{} cannot be copied", from.path);
        Ok(())
    }

    fn copy_system(&mut self, copy: &SystemCopy<'_>) -> Result<()> {
        let name = copy.to.name.as_str();
        // A cut on the way leaves a disk without a table.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss != Loss::All) {
            self.blank(name);
        }
        self.effect()?;
        self.blank(name);
        let mut table = self.table_of(&copy.from.name)?;
        table.id = derived_id(copy.own.table, "disk");
        for entry in &mut table.entries {
            entry.id = derived_id(copy.own.table, &format!("partition {}", entry.name));
        }
        let base = self.base(name);
        for write in table.writes(self, name, copy.to.size)? {
            self.store(base + write.offset.0, &write.bytes);
        }
        for (part, id) in [(Part::Esp, [1, 2, 3, 4]), (Part::Hearth, copy.own.hearth.to_le_bytes())] {
            let start = base + table.part(part).unwrap().offset(table.sector_size).0;
            for copy in [0, 6] {
                self.store(start + copy * UNIT, &fat_sector(id));
            }
        }
        for world in [&mut self.now, &mut self.durable] {
            let files = copy.own.files.iter().map(|file| (file.name.clone(), file.bytes.to_vec()));
            world.hearths.insert(name.to_owned(), files.collect());
            world.home = Some(name.to_owned());
        }
        Ok(())
    }

    fn start_first(&mut self, esp: &Dev, id: Uuid) -> Result<()> {
        self.effect()?;
        ensure!(self.firmware != Firmware::Refuses, "no space left in the firmware's memory");
        ensure!(self.table_of(&esp.disk)?.part(Part::Esp).is_some_and(|entry| entry.id == id), "no such partition");
        self.now.first = Some(esp.disk.clone());
        self.durable.first = Some(esp.disk.clone());
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.effect()?;
        self.restarts += 1;
        Ok(())
    }

    fn scrub_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()> {
        self.remove_hearth_file(hearth, name)
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.now.placed.get(path).filter(|_| self.sees(path)).map(|file| file.bytes.to_vec()))
    }

    fn has_file(&self, file: &File) -> Result<bool> {
        Ok(self.sees(&file.path) && self.now.placed.get(&file.path) == Some(file))
    }

    fn put_file(&mut self, file: &File) -> Result<()> {
        self.effect()?;
        self.now.placed.insert(file.path.clone(), file.clone());
        self.durable.placed.insert(file.path.clone(), file.clone());
        Ok(())
    }

    fn remove_file(&mut self, path: &str) -> Result<()> {
        self.effect()?;
        self.now.placed.remove(path);
        self.durable.placed.remove(path);
        Ok(())
    }

    fn append_line(&mut self, path: &str, line: &str) -> Result<()> {
        let mut bytes = self.read_file(path)?.unwrap_or_default();
        bytes.extend(format!("{line}\n").bytes());
        let file = |bytes: Vec<u8>| File::private(path, Owner::ROOT, bytes);
        // A cut on the way leaves half a line.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            let torn = bytes[..bytes.len() - line.len() / 2].to_vec();
            self.durable.placed.insert(path.to_owned(), file(torn));
        }
        self.put_file(&file(bytes))
    }

    fn account(&self, login: &str) -> Result<Option<Account>> {
        Ok(self.now.accounts.get(login).cloned())
    }

    fn set_account(&mut self, account: &Account) -> Result<()> {
        self.effect()?;
        self.now.accounts.insert(account.login.clone(), account.clone());
        self.durable.accounts.insert(account.login.clone(), account.clone());
        Ok(())
    }

    fn reread_table(&mut self, _: &str) -> Result<()> {
        self.effect()
    }

    fn format(&mut self, dev: &Dev, kind: FileSystem, id: Uuid, _: &str) -> Result<()> {
        ensure!(self.is_there(dev), "{} does not exist", dev.path());
        let made = |torn| Formatted { kind, id, torn };
        let key = dev.path();
        // A cut on the way leaves something that looks like it.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None) {
            self.durable.formatted.insert(key.clone(), made(true));
        }
        self.effect()?;
        self.now.formatted.insert(key.clone(), made(false));
        self.durable.formatted.insert(key, made(false));
        Ok(())
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        Ok(self.now.links.get(path).cloned())
    }

    fn reaches(&self, _: IpAddr, _: Duration) -> Result<bool> {
        Ok(self.router)
    }

    fn make_repository(&mut self, repository: &Repository) -> Result<()> {
        ensure!(!self.exists(&repository.path()), "there is one already");
        self.put_file(&File::public(repository.path(), repository.message.clone()))
    }

    fn ask_duckdns(&self, _: &str, _: &Secret<String>) -> Result<Verdict> {
        Ok(self.duckdns.clone())
    }

    fn admits(&self, _: u16) -> Result<Option<bool>> {
        Ok(Some(self.rules != Rules::ShutOut || !self.has_setup_rules()))
    }

    fn time_to_hash(&self, _: Cost) -> Result<Duration> {
        Ok(Duration::from_millis(150))
    }

    fn ensure_dir(&mut self, path: &str, mode: u32, owner: Owner) -> Result<()> {
        let file = File { mode, owner, ..File::public(format!("{path}/"), "") };
        if self.has_file(&file)? { Ok(()) } else { self.put_file(&file) }
    }

    fn guard(&mut self, path: &str) -> Result<()> {
        self.effect()?;
        self.now.immutable.insert(path.to_owned());
        self.durable.immutable.insert(path.to_owned());
        Ok(())
    }

    fn ensure_network(&mut self, network: &NamedNetwork) -> Result<()> {
        if self.now.networks.contains(network.name) {
            return Ok(());
        }
        self.effect()?;
        self.now.networks.insert(network.name.to_owned());
        self.durable.networks.insert(network.name.to_owned());
        Ok(())
    }

    fn refresh(&mut self, part: &Refresh) -> Result<()> {
        self.effect()?;
        ensure!(*part != Refresh::Firewall || self.rules != Rules::Refused || !self.has_setup_rules(), "syntax error");
        if let Refresh::Enable(units) = part {
            let units = units.iter().filter_map(|unit| self.now.placed.get(&format!("/etc/systemd/system/{unit}")));
            let text = |file: &File| String::from_utf8_lossy(&file.bytes).into_owned();
            let at = |text: String| text.lines().find_map(|line| line.strip_prefix("Where=").map(str::to_owned));
            let mounted: Vec<String> = units.map(text).filter_map(at).collect();
            self.mounts.extend(mounted);
        }
        self.refreshed.push(part.clone());
        Ok(())
    }
}
