//! The dry run: looks at the real machine, and writes down what would be done to it.
//! What was "written" is remembered, so that the steps that follow find it there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::table::Table;
use super::{Account, Dev, Lead, Machine, Place, Refresh, Renewal, Repository, SystemCopy, Verdict};
use crate::answers::{FileSystem, Secret};
use crate::encryption::{Key, Keys, mapped};
use crate::facts::{Content, Disk, Facts, Volume};
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::render::{File, Owner};
use crate::shipped::Stray;
use crate::units::Bytes;

/// A machine on which nothing happens.
#[derive(Debug)]
pub struct Recording<'a, M> {
    real: &'a M,
    /// What would have been done, in order, for people.
    pub effects: Vec<String>,
    bytes: BTreeMap<Dev, Vec<(u64, Vec<u8>)>>,
    places: Option<BTreeMap<u32, Place>>,
    ids: BTreeMap<Dev, Uuid>,
    paths: BTreeSet<String>,
    mounts: BTreeSet<String>,
    hearth: BTreeMap<String, Option<Vec<u8>>>,
    files: BTreeMap<String, File>,
    /// What was put right.
    right: Vec<Stray>,
    accounts: BTreeMap<String, Account>,
}

impl<'a, M: Machine> Recording<'a, M> {
    /// Records on top of `real`, which is only looked at.
    pub fn new(real: &'a M) -> Self {
        Self {
            real,
            effects: Vec::new(),
            bytes: BTreeMap::new(),
            places: None,
            ids: BTreeMap::new(),
            paths: BTreeSet::new(),
            mounts: BTreeSet::new(),
            hearth: BTreeMap::new(),
            files: BTreeMap::new(),
            right: Vec::new(),
            accounts: BTreeMap::new(),
        }
    }

    fn note(&mut self, effect: String) {
        self.effects.push(effect);
    }

    /// A partition that does not exist yet, as the part of the disk where it would be.
    fn underneath(&self, dev: &Dev) -> Result<(Dev, u64)> {
        let Some(number) = dev.part else { return Ok((dev.clone(), 0)) };
        if self.real.places(&dev.disk)?.contains_key(&number) {
            return Ok((dev.clone(), 0));
        }
        let start = self.places.as_ref().and_then(|places| places.get(&number)).map_or(0, |place| place.start.0);
        Ok((Dev::disk(&dev.disk), start))
    }
}

impl<M: Machine> Machine for Recording<'_, M> {
    fn facts(&self) -> Result<Facts> {
        self.real.facts()
    }

    fn read(&self, dev: &Dev, offset: Bytes, len: usize) -> Result<Vec<u8>> {
        let (under, start) = self.underneath(dev)?;
        let mut bytes = self.real.read(&under, Bytes(start + offset.0), len)?;
        for (at, written) in self.bytes.get(dev).into_iter().flatten() {
            for (i, byte) in written.iter().enumerate() {
                let place = (at + i as u64).checked_sub(offset.0).and_then(|place| usize::try_from(place).ok());
                if let Some(slot) = place.and_then(|place| bytes.get_mut(place)) {
                    *slot = *byte;
                }
            }
        }
        Ok(bytes)
    }

    fn probe(&self, dev: &Dev, offset: Bytes, len: Bytes) -> Result<Option<Content>> {
        if let Some(id) = self.ids.get(dev) {
            return Ok(Some(Content { kind: "made here".to_owned(), label: None, id: Some(id.to_string()) }));
        }
        let (under, start) = self.underneath(dev)?;
        self.real.probe(&under, Bytes(start + offset.0), len)
    }

    fn places(&self, disk: &str) -> Result<BTreeMap<u32, Place>> {
        self.places.clone().map_or_else(|| self.real.places(disk), Ok)
    }

    fn random_id(&self) -> Result<Uuid> {
        self.real.random_id()
    }

    fn draw(&self, count: usize) -> Result<Zeroizing<Vec<u8>>> {
        self.real.draw(count)
    }

    fn hearth_file(&self, hearth: &Dev, name: &str) -> Result<Option<Vec<u8>>> {
        self.hearth.get(name).cloned().map_or_else(|| self.real.hearth_file(hearth, name), Ok)
    }

    fn answer_file(&self, hearth: &Dev) -> Result<Option<(String, Zeroizing<Vec<u8>>)>> {
        self.real.answer_file(hearth)
    }

    fn credential(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.real.credential(name)
    }

    fn exists(&self, path: &str) -> bool {
        self.paths.contains(path) || self.real.exists(path)
    }

    fn is_mounted(&self, path: &str) -> Result<bool> {
        Ok(self.mounts.contains(path) || self.real.is_mounted(path)?)
    }

    fn say(&mut self, _: &str) {}

    fn write(&mut self, dev: &Dev, offset: Bytes, bytes: &[u8]) -> Result<()> {
        self.note(format!("write {} bytes to {} at {}, and flush", bytes.len(), dev.path(), offset.0));
        self.bytes.entry(dev.clone()).or_default().push((offset.0, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self, _: &Dev) -> Result<()> {
        Ok(())
    }

    fn take_table(&mut self, disk: &str, numbers: &[u32]) -> Result<()> {
        let named: Vec<String> = numbers.iter().map(|&number| Dev::part(disk, number).path()).collect();
        self.note(format!("make the kernel take {} from the new table", named.join(", ")));
        let facts = self.real.facts()?;
        if let Some(found) = facts.disks.iter().find(|found| found.name == disk) {
            let table = Table::read(self, disk, found.size, found.logical_sector)?;
            let size = table.sector_size;
            let place = |entry: &super::table::Entry| Place { start: entry.offset(size), size: entry.size(size) };
            self.places = Some(table.entries.iter().map(|entry| (entry.number, place(entry))).collect());
        }
        Ok(())
    }

    fn grow_root(&mut self, dev: &Dev) -> Result<()> {
        self.note(format!("grow the file system in {} to fill it", dev.path()));
        Ok(())
    }

    fn name_root(&mut self, dev: &Dev, id: Uuid) -> Result<()> {
        self.note(format!("give the file system in {} the id {id}", dev.path()));
        Ok(())
    }

    fn make_luks(&mut self, dev: &Dev, id: Uuid, _: &Keys) -> Result<()> {
        self.note(format!("encrypt {}: a LUKS container with the id {id}", dev.path()));
        self.ids.insert(dev.clone(), id);
        Ok(())
    }

    fn open_luks(&mut self, dev: &Dev, name: &str, _: &Key) -> Result<bool> {
        self.note(format!("open {} as {}", dev.path(), mapped(name)));
        self.paths.insert(mapped(name));
        Ok(true)
    }

    fn close_luks(&mut self, name: &str, path: &str) -> Result<()> {
        self.note(format!("unmount {path}, and close {}", mapped(name)));
        self.paths.remove(&mapped(name));
        Ok(())
    }

    fn make_data(&mut self, dev: &Dev, id: Uuid) -> Result<()> {
        self.note(format!("make a btrfs with the id {id} in {}", dev.path()));
        self.ids.insert(dev.clone(), id);
        Ok(())
    }

    fn mount(&mut self, dev: &Dev, path: &str) -> Result<()> {
        self.note(format!("mount {} at {path}", dev.path()));
        self.mounts.insert(path.to_owned());
        Ok(())
    }

    fn make_subvolume(&mut self, path: &str, mode: u32) -> Result<()> {
        self.note(format!("make the subvolume {path}, mode {mode:o}"));
        self.paths.insert(path.to_owned());
        Ok(())
    }

    fn make_dir(&mut self, path: &str, mode: u32) -> Result<()> {
        self.note(format!("make the folder {path}, mode {mode:o}"));
        self.paths.insert(path.to_owned());
        Ok(())
    }

    fn copy_into(&mut self, from: &str, to: &str) -> Result<()> {
        self.note(format!("copy {from} to {to}"));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.note(format!("remove {path}"));
        Ok(())
    }

    fn rename_durably(&mut self, from: &str, to: &str) -> Result<()> {
        self.note(format!("rename {from} to {to}"));
        self.paths.insert(to.to_owned());
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.note(format!("link {path} to {target}"));
        Ok(())
    }

    fn make_host_keys(&mut self) -> Result<()> {
        self.note("make the SSH host keys that are missing".to_owned());
        Ok(())
    }

    fn start_units(&mut self, units: &[String]) -> Result<()> {
        self.note(format!("start {}", units.join(" ")));
        self.mounts.extend(crate::adopt::storage::BINDS.iter().map(|bind| bind.target.to_owned()));
        Ok(())
    }

    fn settle(&mut self, path: &str) -> Result<()> {
        self.note(format!("write back the journal of {path}"));
        Ok(())
    }

    fn put_hearth_file(&mut self, hearth: &Dev, name: &str, bytes: &[u8]) -> Result<()> {
        self.note(format!("write {name} to HEARTH ({})", hearth.path()));
        self.hearth.insert(name.to_owned(), Some(bytes.to_vec()));
        Ok(())
    }

    fn remove_hearth_file(&mut self, _: &Dev, name: &str) -> Result<()> {
        self.note(format!("remove {name} from HEARTH"));
        self.hearth.insert(name.to_owned(), None);
        Ok(())
    }

    fn clear_hearth(&mut self, hearth: &Dev, kept: &[&str]) -> Result<()> {
        let kept = kept.join(", ");
        self.note(format!("overwrite and remove everything on HEARTH ({}) but {kept}", hearth.path()));
        Ok(())
    }

    fn can_copy(&self, from: &Disk) -> Result<()> {
        self.real.can_copy(from)
    }

    fn copy_system(&mut self, copy: &SystemCopy<'_>) -> Result<()> {
        self.note(format!("write Hearth from {} over all of {}", copy.from.path, copy.to.path));
        Ok(())
    }

    fn renew_system(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        let (from, to) = (&renewal.from.path, &renewal.to.path);
        self.note(format!(
            "take away what firmware starts from {to}, and write Hearth from {from} into its partitions"
        ));
        Ok(())
    }

    fn make_startable(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        self.note(format!("put back what firmware starts from {}", renewal.to.path));
        Ok(())
    }

    fn mount_to_look(&mut self, dev: &Dev, path: &str) -> Result<()> {
        self.note(format!("mount {} at {path}, only to read", dev.path()));
        self.mounts.insert(path.to_owned());
        Ok(())
    }

    fn mount_system(&mut self, dev: &Dev, path: &str) -> Result<()> {
        self.mount(dev, path)
    }

    fn unmount(&mut self, path: &str) -> Result<()> {
        self.note(format!("unmount {path}"));
        self.mounts.remove(path);
        Ok(())
    }

    fn start_first(&mut self, esp: &Dev, _: Uuid) -> Result<()> {
        self.note(format!("have the firmware start from {} first", esp.path()));
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.note("restart".to_owned());
        Ok(())
    }

    fn scrub_hearth_file(&mut self, _: &Dev, name: &str) -> Result<()> {
        self.note(format!("overwrite {name} on HEARTH, and remove it"));
        self.hearth.insert(name.to_owned(), None);
        Ok(())
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.files.get(path).map_or_else(|| self.real.read_file(path), |file| Ok(Some(file.bytes.to_vec())))
    }

    fn has_file(&self, file: &File) -> Result<bool> {
        self.files.get(&file.path).map_or_else(|| self.real.has_file(file), |there| Ok(there == file))
    }

    fn put_file(&mut self, file: &File) -> Result<()> {
        let mode = if file.mode == 0o644 { String::new() } else { format!(", mode {:o}", file.mode) };
        self.note(format!("write {}{mode}", file.path));
        self.paths.insert(file.path.clone());
        self.files.insert(file.path.clone(), file.clone());
        Ok(())
    }

    fn remove_file(&mut self, path: &str) -> Result<()> {
        self.note(format!("remove {path}"));
        Ok(())
    }

    fn append_line(&mut self, _: &str, _: &str) -> Result<()> {
        // The journal of what is done: nothing is.
        Ok(())
    }

    fn account(&self, login: &str) -> Result<Option<Account>> {
        self.accounts.get(login).map_or_else(|| self.real.account(login), |account| Ok(Some(account.clone())))
    }

    fn set_account(&mut self, account: &Account) -> Result<()> {
        self.note(format!("make the account {account:?}"));
        self.accounts.insert(account.login.clone(), account.clone());
        Ok(())
    }

    fn reread_table(&mut self, disk: &str) -> Result<()> {
        self.take_table(disk, &[1])
    }

    fn format(&mut self, dev: &Dev, kind: FileSystem, id: Uuid, _: &str) -> Result<()> {
        self.note(format!("make a file system ({kind:?}) with the id {id} in {}", dev.path()));
        self.ids.insert(dev.clone(), id);
        Ok(())
    }

    fn start_volume(&mut self, volume: &Volume, dev: &Dev) -> Result<()> {
        self.note(format!("start {volume} as {}", dev.path()));
        Ok(())
    }

    fn open_volume(&mut self, dev: &Dev) -> Result<()> {
        self.note(format!("let {} take writes", dev.path()));
        Ok(())
    }

    fn ensure_dir(&mut self, path: &str, mode: u32, _: Owner) -> Result<()> {
        if !self.exists(path) {
            self.make_dir(path, mode)?;
        }
        Ok(())
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        self.real.link_target(path)
    }

    fn reaches(&self, _: IpAddr, _: Duration) -> Result<bool> {
        // Nothing was changed that it could depend on.
        Ok(true)
    }

    fn keep_image(&mut self, _: &str) -> Result<()> {
        self.note("keep a copy of what the image brought".to_owned());
        Ok(())
    }

    fn strays(&self) -> Result<Vec<Stray>> {
        let mut strays = self.real.strays()?;
        strays.retain(|stray| !self.right.contains(stray));
        Ok(strays)
    }

    fn put_right(&mut self, stray: &Stray) -> Result<()> {
        self.note(stray.to_string());
        self.right.push(stray.clone());
        Ok(())
    }

    fn erase(&mut self, dev: &Dev) -> Result<()> {
        self.note(format!("erase all of {}", dev.path()));
        Ok(())
    }

    fn wipe(&mut self, disk: &Disk) -> Result<()> {
        self.note(format!("make {} unreadable", disk.path));
        Ok(())
    }

    fn make_repository(&mut self, repository: &Repository) -> Result<()> {
        self.note(format!("make the history of {}: {}", repository.dir, repository.message));
        self.paths.insert(repository.path());
        Ok(())
    }

    fn ask_duckdns(&self, _: &str, _: &Secret<String>) -> Result<Verdict> {
        Ok(Verdict::Unknown("a dry run asks nobody".to_owned()))
    }

    fn tell_duckdns(&mut self, name: &str, _: &Secret<String>, lead: Lead) -> Result<(Verdict, Option<IpAddr>)> {
        self.note(format!("have DuckDNS lead {name} to {lead}"));
        Ok((Verdict::Belong, None))
    }

    fn admits(&self, _: u16) -> Result<Option<bool>> {
        // The rules in force are not those that would be.
        Ok(None)
    }

    fn time_to_hash(&self, cost: Cost) -> Result<Duration> {
        self.real.time_to_hash(cost)
    }

    fn guard(&mut self, path: &str) -> Result<()> {
        self.note(format!("forbid writing to the empty folder {path}"));
        Ok(())
    }

    fn ensure_network(&mut self, network: &NamedNetwork) -> Result<()> {
        self.note(format!("make Docker's network {} ({}, {})", network.name, network.v4, network.v6));
        Ok(())
    }

    fn refresh(&mut self, part: &Refresh) -> Result<()> {
        self.note(format!("have the system take it up: {part:?}"));
        Ok(())
    }
}
