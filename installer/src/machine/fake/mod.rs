//! A machine made of maps, whose power can be cut at any effect. It keeps apart what was
//! done and what is durable, and starts again from the latter the way GRUB and the kernel do.

mod disks;
mod effects;
mod world;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail, ensure};
use uuid::Uuid;

pub(crate) use disks::{BASE, image_table};
use disks::{UNIT, chunks, fat_sector, partitions};

pub(crate) use world::{DataFs, Firmware, Formatted, Image, Loss, Luks, Rules, World};

use super::table::{Entry, Table};
use super::{Dev, Machine, Place, Refresh, Verdict};
use crate::adopt::plan::{AdoptPlan, plan};
use crate::adopt::storage::{BINDS, unit_name};
use crate::adopt::survey::survey;
use crate::facts::{Content, Disk, Mode, Volume};
use crate::layout::{ADOPTED, DATA_DIR, PLAN_FILE, Part, RESET, from_gpt_bytes};
use crate::render::{File, firewall};
use crate::repair::{LOOK_DIR, SYSTEM_DIR};
use crate::units::{Bytes, SectorSize};

/// The disk that the image was written to: the only one, or a stick that setup writes another from.
pub(crate) const DISK: &str = "nvme0n1";

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
    /// Arrays and volumes on them.
    pub(crate) volumes: Vec<Volume>,
    /// Those that run: by the device, the id, and whether it takes writes.
    pub(crate) started: BTreeMap<String, (String, bool)>,
    /// The disk that this start is from.
    boot: String,
    pub(crate) firmware: Firmware,
    /// Other disks that take no writes.
    pub(crate) failing: BTreeSet<String>,
    /// [`DISK`] takes no writes.
    pub(crate) stick_refuses: bool,
    /// [`DISK`] was pulled out.
    pub(crate) stick_gone: bool,
    places: BTreeMap<u32, Place>,
    mounts: BTreeSet<String>,
    /// The names of open LUKS containers, and their devices.
    open: BTreeMap<String, String>,
    /// What the image brings, in what a repair writes anew.
    pub(crate) image: Vec<File>,
    /// Units that cannot start, because their disk is not there.
    pub(crate) absent: BTreeSet<String>,
    /// What systemd was handed.
    pub(crate) credentials: BTreeMap<String, String>,
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
    /// Where it was told to lead names.
    pub(crate) led: Vec<String>,
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
            volumes: Vec::new(),
            started: BTreeMap::new(),
            boot: DISK.to_owned(),
            firmware: Firmware::Obeys,
            failing: BTreeSet::new(),
            stick_refuses: false,
            stick_gone: false,
            places: BTreeMap::new(),
            mounts: BTreeSet::new(),
            open: BTreeMap::new(),
            image: Vec::new(),
            absent: BTreeSet::new(),
            credentials: BTreeMap::new(),
            luck: None,
            leftovers: BTreeMap::new(),
            said: Vec::new(),
            restarts: 0,
            refreshed: Vec::new(),
            router: true,
            duckdns: Verdict::Belong,
            led: Vec::new(),
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

    /// Another disk as it is now.
    pub(crate) fn disk_named(&self, name: &str) -> Disk {
        self.facts().unwrap().disks.into_iter().find(|disk| disk.name == name).unwrap()
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
        self.started.clear();
        for world in [&mut self.now, &mut self.durable] {
            world.placed.retain(|path, _| !path.starts_with("/run/"));
        }
        let first = self.now.first.clone().filter(|_| self.firmware == Firmware::Obeys);
        let next = first.or_else(|| self.now.home.clone().filter(|_| self.stick_gone));
        let starts = |name: &String| self.table_of(name).is_ok() && !self.now.dead.contains(name);
        self.boot = next.filter(starts).unwrap_or_else(|| DISK.to_owned());
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
        self.mode = if self.is_home() && self.now.settled.contains(RESET) {
            Mode::Reset
        } else if self.is_home() && self.now.settled.contains(ADOPTED) {
            Mode::Normal
        } else if hearth.is_some_and(|files| files.contains_key(PLAN_FILE)) {
            Mode::Adopt
        } else {
            Mode::Setup
        };
        if self.mode != Mode::Setup {
            self.started = self.listed();
            // The journal is replayed: what was durable is now in its place.
            self.settle("/").unwrap();
        }
        if self.mode == Mode::Normal && !self.now.luks.contains_key(&self.data_part().path()) {
            self.mount_data();
        }
    }

    /// The partition for `data` of the disk that this start is from.
    fn data_part(&self) -> Dev {
        Dev::part(&self.boot, Part::Data.number())
    }

    /// Mounts `data`, where root has the units for it.
    pub(crate) fn mount_data(&mut self) {
        let unit = format!("/etc/systemd/system/{}", unit_name(DATA_DIR, "mount"));
        if self.now.placed.contains_key(&unit) && self.now.data.is_some() {
            self.mounts.insert(DATA_DIR.to_owned());
            self.mounts.extend(BINDS.iter().map(|bind| bind.target.to_owned()));
        }
    }

    /// Where `path` really lies: below the folders where a repair looks at another disk, or on the root of this
    /// start. Nothing if nobody can get there.
    fn reach<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        let below = |folder: &str| path.strip_prefix(folder).filter(|rest| rest.starts_with('/'));
        if let Some(rest) = below(LOOK_DIR) {
            return self.mounts.contains(LOOK_DIR).then(|| format!("{DATA_DIR}{rest}").into());
        }
        if let Some(rest) = below(SYSTEM_DIR) {
            return self.mounts.contains(SYSTEM_DIR).then_some(rest.into());
        }
        self.sees(path).then_some(path.into())
    }

    /// The same, to write there.
    fn reached(&self, path: &str) -> Result<String> {
        ensure!(!path.starts_with(LOOK_DIR), "{path} is only read");
        let is_below = path.starts_with(SYSTEM_DIR);
        ensure!(!is_below || self.mounts.contains(SYSTEM_DIR), "{path} is nowhere");
        Ok(if is_below { path[SYSTEM_DIR.len()..].to_owned() } else { path.to_owned() })
    }

    /// The arrays that mdadm puts together at a start.
    fn listed(&self) -> BTreeMap<String, (String, bool)> {
        let conf = self.now.placed.get("/etc/mdadm/mdadm.conf.d/hearth.conf");
        let text = conf.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default();
        let line = |line: &str| {
            let (dev, id) = line.strip_prefix("ARRAY ")?.split_once(" UUID=")?;
            Some((dev.to_owned(), (id.to_owned(), true)))
        };
        text.lines().filter_map(line).collect()
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

    /// An effect that lasts as soon as it is there.
    fn lasts(&mut self, change: impl Fn(&mut World)) -> Result<()> {
        self.effect()?;
        change(&mut self.now);
        change(&mut self.durable);
        Ok(())
    }

    /// Whether the power goes in the middle of the next effect.
    fn is_cut_on_the_way(&self) -> bool {
        self.cut.is_some_and(|(at, loss)| at == self.effects && loss == Loss::None)
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
