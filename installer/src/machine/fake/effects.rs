//! What the fake machine sees and does. Where a real effect could be cut in two, it is here as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::disks::{BASE, UNIT, chunks, fat_sector, partitions};
use super::world::{on_bind, on_data, on_role, on_root};
use super::{DISK, DataFs, Fake, Firmware, Formatted, Image, Loss, Luks, Rules, World};
use crate::adopt::storage::BINDS;
use crate::answers::{FILE_NAME, FileSystem, Secret};
use crate::encryption::{Key, Keys};
use crate::facts::{Content, Disk, Facts, Mode, Volume, VolumeKind, zoo};
use crate::layout::{DATA_DIR, Part, derived_id};
use crate::machine::table::Table;
use crate::machine::{Account, Dev, Lead, Machine, Place, Refresh, Renewal, Repository, SystemCopy, Verdict};
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::render::{File, Owner};
use crate::repair::{LOOK_DIR, SYSTEM_DIR};
use crate::shipped::{KEPT, Stray};
use crate::units::Bytes;

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
        facts.volumes.clone_from(&self.volumes);
        for volume in &mut facts.volumes {
            volume.active = self.started.values().any(|(id, _)| *id == volume.id);
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
        if let Some((id, _)) = self.started.get(&dev.path()) {
            return Ok(self.volumes.iter().find(|volume| volume.id == *id).and_then(|volume| volume.content.clone()));
        }
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

    fn credential(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.credentials.get(name).map(|text| Zeroizing::new(text.clone().into_bytes())))
    }

    fn exists(&self, path: &str) -> bool {
        let mapped = path.strip_prefix("/dev/mapper/").is_some_and(|name| self.open.contains_key(name));
        let reached = !on_data(path) || self.mounts.contains(DATA_DIR);
        let made = path == KEPT && self.now.image.is_some()
            || self.now.links.contains_key(path)
            || self.now.placed.contains_key(path) && reached;
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
        let table = self.table_of(&dev.disk)?;
        let size = match self.places.get(&dev.part.unwrap()).filter(|_| dev.disk == self.boot) {
            Some(place) => place.size,
            None => table.part(Part::RootA).unwrap().size(table.sector_size),
        };
        // A cut on the way leaves a file system that has grown in part.
        if self.is_cut_on_the_way() {
            self.durable.root_size = Bytes(u64::midpoint(self.now.root_size.0, size.0));
        }
        self.lasts(|world| world.root_size = size)
    }

    fn name_root(&mut self, _: &Dev, id: Uuid) -> Result<()> {
        self.lasts(|world| world.root_id = id.to_string())
    }

    fn make_luks(&mut self, dev: &Dev, id: Uuid, keys: &Keys) -> Result<()> {
        ensure!(!self.open.values().any(|open| *open == dev.path()), "{} is in use", dev.path());
        let made = |torn| Luks { id, keys: keys.clone(), torn };
        // What was in it is gone as soon as it begins; a cut on the way leaves a header that nothing opens.
        if self.is_cut_on_the_way() {
            self.durable.luks.insert(dev.path(), made(true));
            self.durable.lose_data(dev);
        }
        self.lasts(|world| {
            world.luks.insert(dev.path(), made(false));
            world.lose_data(dev);
        })
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
        if self.is_cut_on_the_way() {
            self.durable.data = fresh(true);
        }
        self.lasts(|world| world.data = fresh(false))
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
        if self.is_cut_on_the_way() {
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
        let path = self.reached(path)?;
        self.lasts(|world| drop(world.links.insert(path.clone(), target.to_owned())))
    }

    fn make_host_keys(&mut self) -> Result<()> {
        self.lasts(|world| world.keys = true)
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

    fn clear_hearth(&mut self, hearth: &Dev, kept: &[&str]) -> Result<()> {
        self.change_hearth(hearth, |files| files.retain(|name, _| kept.contains(&name.as_str())))
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
        ensure!(self.table_of(&esp.disk)?.part(Part::Esp).is_some_and(|entry| entry.id == id), "no such partition");
        ensure!(self.firmware != Firmware::Refuses, "no space left in the firmware's memory");
        self.lasts(|world| world.first = Some(esp.disk.clone()))
    }

    fn restart(&mut self) -> Result<()> {
        self.effect()?;
        self.restarts += 1;
        Ok(())
    }

    fn renew_system(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        let name = renewal.to.name.clone();
        ensure!(!self.mounts.contains(LOOK_DIR) && !self.mounts.contains(SYSTEM_DIR), "{name} is in use");
        let image = self.image.clone();
        let renew = |world: &mut World, whole: bool| {
            _ = world.dead.insert(name.clone());
            world.lose_root(if whole { &image } else { &[] });
            world.root_size = BASE;
            world.hearths.insert(name.clone(), BTreeMap::new());
        };
        // A cut on the way leaves half a root, and nothing that starts it.
        if self.cut.is_some_and(|(at, loss)| at == self.effects && loss != Loss::All) {
            renew(&mut self.durable, false);
        }
        self.lasts(|world| renew(world, true))
    }

    fn make_startable(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        ensure!(!self.mounts.contains(SYSTEM_DIR), "{} is in use", renewal.to.name);
        self.now.settled = self.now.links.keys().chain(self.now.placed.keys()).cloned().collect();
        self.durable.settled.clone_from(&self.now.settled);
        self.lasts(|world| _ = world.dead.remove(&renewal.to.name))
    }

    fn mount_to_look(&mut self, dev: &Dev, path: &str) -> Result<()> {
        ensure!(self.is_there(dev), "{} does not exist", dev.path());
        ensure!(self.now.data.as_ref().is_some_and(|data| !data.torn), "wrong fs type, bad option, bad superblock");
        ensure!(self.mounts.insert(path.to_owned()), "{path} is busy");
        Ok(())
    }

    fn mount_system(&mut self, dev: &Dev, path: &str) -> Result<()> {
        self.effect()?;
        ensure!(dev.part == Some(Part::RootA.number()), "{} is no root", dev.path());
        ensure!(self.mounts.insert(path.to_owned()), "{path} is busy");
        Ok(())
    }

    fn unmount(&mut self, path: &str) -> Result<()> {
        self.mounts.remove(path);
        Ok(())
    }

    fn scrub_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()> {
        self.remove_hearth_file(hearth, name)
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = self.reach(path);
        Ok(path.and_then(|path| self.now.placed.get(&*path)).map(|file| file.bytes.to_vec()))
    }

    fn has_file(&self, file: &File) -> Result<bool> {
        let there = self.reach(&file.path).and_then(|path| self.now.placed.get(&*path));
        let same = |there: &File| (there.mode, there.owner, &there.bytes) == (file.mode, file.owner, &file.bytes);
        Ok(there.is_some_and(same))
    }

    fn put_file(&mut self, file: &File) -> Result<()> {
        let file = File { path: self.reached(&file.path)?, ..file.clone() };
        self.lasts(|world| drop(world.placed.insert(file.path.clone(), file.clone())))
    }

    fn remove_file(&mut self, path: &str) -> Result<()> {
        self.lasts(|world| drop(world.placed.remove(path)))
    }

    fn append_line(&mut self, path: &str, line: &str) -> Result<()> {
        let mut bytes = self.read_file(path)?.unwrap_or_default();
        bytes.extend(format!("{line}\n").bytes());
        let file = |bytes: Vec<u8>| File::private(path, Owner::ROOT, bytes);
        // A cut on the way leaves half a line.
        if self.is_cut_on_the_way() {
            let torn = bytes[..bytes.len() - line.len() / 2].to_vec();
            self.durable.placed.insert(path.to_owned(), file(torn));
        }
        self.put_file(&file(bytes))
    }

    fn account(&self, login: &str) -> Result<Option<Account>> {
        Ok(self.now.accounts.get(login).cloned())
    }

    fn set_account(&mut self, account: &Account) -> Result<()> {
        self.lasts(|world| drop(world.accounts.insert(account.login.clone(), account.clone())))
    }

    fn reread_table(&mut self, _: &str) -> Result<()> {
        self.effect()
    }

    fn format(&mut self, dev: &Dev, kind: FileSystem, id: Uuid, _: &str) -> Result<()> {
        ensure!(self.is_there(dev), "{} does not exist", dev.path());
        let made = |torn| Formatted { kind, id, torn };
        let key = dev.path();
        // A cut on the way leaves something that looks like it.
        if self.is_cut_on_the_way() {
            self.durable.formatted.insert(key.clone(), made(true));
        }
        self.lasts(|world| _ = world.formatted.insert(key.clone(), made(false)))
    }

    fn start_volume(&mut self, volume: &Volume, dev: &Dev) -> Result<()> {
        self.effect()?;
        ensure!(self.mode != Mode::Setup, "nothing is started in setup mode");
        let is_new = self.started.insert(dev.path(), (volume.id.clone(), volume.kind == VolumeKind::Lvm)).is_none();
        ensure!(is_new, "{} runs already", dev.path());
        Ok(())
    }

    fn open_volume(&mut self, dev: &Dev) -> Result<()> {
        self.effect()?;
        self.started.get_mut(&dev.path()).ok_or_else(|| anyhow!("{} does not exist", dev.path()))?.1 = true;
        Ok(())
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        Ok(self.now.links.get(path).cloned())
    }

    fn reaches(&self, _: IpAddr, _: Duration) -> Result<bool> {
        Ok(self.router)
    }

    fn keep_image(&mut self, root: &str) -> Result<()> {
        ensure!(root == "/" || self.mounts.contains(root), "{root} is nowhere");
        // Whole, or not at all.
        let World { placed, links, accounts, .. } = self.now.clone();
        let placed = placed.into_iter().filter(|(path, _)| on_root(path) && !path.starts_with("/run/")).collect();
        let image = Image { placed, links, accounts };
        self.lasts(|world| _ = world.image.get_or_insert_with(|| image.clone()))
    }

    fn strays(&self) -> Result<Vec<Stray>> {
        ensure!(self.now.image.is_some(), "no copy of the image is kept");
        Ok(self.now.strays())
    }

    fn put_right(&mut self, stray: &Stray) -> Result<()> {
        ensure!(self.mode == Mode::Reset, "root is put right only in the start for it");
        self.lasts(|world| world.put_right(stray))
    }

    fn erase(&mut self, dev: &Dev) -> Result<()> {
        ensure!(self.mounts.is_empty() && self.open.is_empty(), "{} is in use", dev.path());
        ensure!(self.places.contains_key(&dev.part.unwrap()), "{} does not exist", dev.path());
        let lose = |world: &mut World, torn: bool| {
            world.luks.remove(&dev.path());
            if dev.part == Some(Part::Data.number()) {
                let gone = world.data.as_ref().map(|data| DataFs { id: data.id, torn: true, paths: BTreeSet::new() });
                world.data = gone.filter(|_| torn);
                world.placed.retain(|path, _| !on_data(path) && !on_bind(path));
                world.networks.clear();
            }
        };
        // A cut on the way leaves what nobody opens or mounts any more.
        if self.is_cut_on_the_way() {
            lose(&mut self.durable, true);
        }
        self.lasts(|world| lose(world, false))
    }

    fn wipe(&mut self, disk: &Disk) -> Result<()> {
        ensure!(self.mode == Mode::Reset && disk.name != self.boot, "{} is in use", disk.path);
        ensure!(!self.failing.contains(&disk.name), "{} does not take writes", disk.path);
        self.effect()?;
        self.started.clear();
        self.blank(&disk.name);
        if let Some(other) = self.others.iter_mut().find(|other| other.name == disk.name) {
            (other.content, other.table, other.partitions) = (None, None, Vec::new());
        }
        for world in [&mut self.now, &mut self.durable] {
            world.luks.retain(|dev, _| !dev.starts_with(&disk.path));
            world.formatted.retain(|dev, _| !dev.starts_with(&disk.path));
            world.placed.retain(|path, _| !on_role(path));
        }
        Ok(())
    }

    fn make_repository(&mut self, repository: &Repository) -> Result<()> {
        ensure!(!self.exists(&repository.path()), "there is one already");
        self.put_file(&File::public(repository.path(), repository.message.clone()))
    }

    fn ask_duckdns(&self, _: &str, _: &Secret<String>) -> Result<Verdict> {
        Ok(self.duckdns.clone())
    }

    fn tell_duckdns(&mut self, name: &str, _: &Secret<String>, lead: Lead) -> Result<(Verdict, Option<IpAddr>)> {
        self.effect()?;
        self.led.push(format!("{name} to {lead}"));
        let address = match lead {
            Lead::Caller => IpAddr::from([203, 0, 113, 7]),
            Lead::V4(v4) => v4.into(),
            Lead::V6(v6) => v6.into(),
        };
        let taken = self.duckdns == Verdict::Belong;
        Ok((self.duckdns.clone(), taken.then_some(address)))
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
        self.lasts(|world| _ = world.immutable.insert(path.to_owned()))
    }

    fn ensure_network(&mut self, network: &NamedNetwork) -> Result<()> {
        if self.now.networks.contains(network.name) {
            return Ok(());
        }
        self.lasts(|world| _ = world.networks.insert(network.name.to_owned()))
    }

    fn refresh(&mut self, part: &Refresh) -> Result<()> {
        self.effect()?;
        ensure!(*part != Refresh::Firewall || self.rules != Rules::Refused || !self.has_setup_rules(), "syntax error");
        if let Refresh::Enable(units) = part {
            let absent = units.iter().find(|unit| self.absent.contains(*unit));
            ensure!(absent.is_none(), "Dependency failed for {}", absent.map_or("", String::as_str));
            let units = units.iter().filter_map(|unit| self.now.placed.get(&format!("/etc/systemd/system/{unit}")));
            let text = |file: &File| String::from_utf8_lossy(&file.bytes).into_owned();
            let at = |text: String| text.lines().find_map(|line| line.strip_prefix("Where=").map(str::to_owned));
            let texts: Vec<String> = units.map(text).collect();
            // A file system of a volume is only there while that runs, and must be fit to be written to.
            for volume in &self.volumes {
                let id = volume.content.as_ref().and_then(|content| content.id.clone()).unwrap_or_default();
                let wanted = texts.iter().any(|text| text.contains(&format!("What=/dev/disk/by-uuid/{id}\n")));
                let runs = self.started.values().any(|(own, writable)| *own == volume.id && *writable);
                ensure!(!wanted || runs, "{volume} does not run");
            }
            let mounted: Vec<String> = texts.into_iter().filter_map(at).collect();
            self.mounts.extend(mounted);
        }
        self.refreshed.push(part.clone());
        Ok(())
    }
}
