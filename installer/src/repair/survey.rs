//! What is read from the disks before a repair is planned: the partition tables, and the record
//! on `data`. Nothing is written, and no log is replayed.

use std::collections::BTreeMap;

use anyhow::Result;

use super::record::{FOLDER, NAME, Record, Unfit};
use super::refusal::brief;
use crate::encryption::{Key, mapped};
use crate::facts::{Disk, Facts};
use crate::layout::Part;
use crate::machine::table::{Entry, Table};
use crate::machine::{Dev, Machine};
use crate::units::Bytes;

/// Where `data` is mounted while it is looked at.
pub const LOOK_DIR: &str = "/run/hearth/repair/data";

/// The name of an encrypted `data` while it is open for that.
pub const LOOK_NAME: &str = "hearth-repair";

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// The table of the disk that Hearth was started from, if that can be read.
    pub source: Option<Table>,
    /// Why that disk cannot be copied, if it is so.
    pub no_copy: Option<String>,
    /// The other disks, by their names.
    pub disks: BTreeMap<String, Seen>,
}

/// A disk.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its table, or why that cannot be read.
    pub table: Result<Table, String>,
    /// Whether both copies of it are whole.
    pub is_whole: bool,
    /// What its `data` is.
    pub data: Data,
}

/// What `data` is.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// There is no such partition.
    Absent,
    /// Something else; the text says what.
    Other(String),
    /// Encrypted, and not open.
    Locked,
    /// It cannot be mounted; the text says why.
    Unmountable(String),
    /// It holds no record.
    Bare,
    /// It holds one that cannot be used.
    Unfit(Unfit),
    /// It holds this one.
    Kept(Box<Record>),
}

/// Looks at every disk.
pub(crate) fn survey(machine: &mut impl Machine, facts: &Facts) -> Result<Survey> {
    let mut out = Survey::default();
    for disk in &facts.disks {
        if disk.boot_medium {
            out.no_copy = machine.can_copy(disk).err().map(|error| brief(&error));
            out.source = Table::read(machine, &disk.name, disk.size, disk.logical_sector).ok();
        } else {
            out.disks.insert(disk.name.clone(), look(machine, disk)?);
        }
    }
    Ok(out)
}

fn look(machine: &mut impl Machine, disk: &Disk) -> Result<Seen> {
    let table = Table::read(machine, &disk.name, disk.size, disk.logical_sector);
    let is_whole = match &table {
        Ok(table) => table.is_on(machine, &disk.name, disk.size)?,
        Err(_) => false,
    };
    let part = table.as_ref().ok().and_then(|table| table.part(Part::Data)).cloned();
    let data = match part {
        Some(entry) => data(machine, disk, &entry),
        None => Data::Absent,
    };
    Ok(Seen { table: table.map_err(|error| brief(&error)), is_whole, data })
}

/// What lies in the partition for `data`. What cannot be read is no reason to stop: another disk may be meant.
fn data(machine: &mut impl Machine, disk: &Disk, entry: &Entry) -> Data {
    let dev = Dev::part(&disk.name, entry.number);
    let content = match machine.probe(&dev, Bytes::ZERO, entry.size(disk.logical_sector)) {
        Ok(content) => content,
        Err(error) => return Data::Unmountable(brief(&error)),
    };
    match content {
        None => Data::Other("nothing that is known".to_owned()),
        Some(content) if content.kind == "crypto_LUKS" => Data::Locked,
        Some(content) if content.kind == "btrfs" => record(machine, &dev),
        Some(content) => Data::Other(content.kind),
    }
}

/// The record on the btrfs in `dev`.
fn record(machine: &mut impl Machine, dev: &Dev) -> Data {
    // An earlier look may have been broken off.
    let mounted = machine.unmount(LOOK_DIR).and_then(|()| machine.mount_to_look(dev, LOOK_DIR));
    if let Err(error) = mounted {
        return Data::Unmountable(brief(&error));
    }
    let read = machine.read_file(&format!("{LOOK_DIR}/{FOLDER}/{NAME}"));
    let unmounted = machine.unmount(LOOK_DIR);
    match (read, unmounted) {
        (Err(error), _) | (_, Err(error)) => Data::Unmountable(brief(&error)),
        (Ok(None), _) => Data::Bare,
        (Ok(Some(bytes)), _) => match Record::from_bytes(&zeroize::Zeroizing::new(bytes)) {
            Ok(record) => Data::Kept(Box::new(record)),
            Err(unfit) => Data::Unfit(unfit),
        },
    }
}

/// Opens the locked `data` of `disk` by one of `keys`, and looks into it; nothing if none fits.
pub(crate) fn unlock(machine: &mut impl Machine, disk: &Disk, keys: &[Key]) -> Result<Option<Data>> {
    let part = Dev::part(&disk.name, Part::Data.number());
    machine.close_luks(LOOK_NAME, LOOK_DIR)?;
    for key in keys {
        if machine.open_luks(&part, LOOK_NAME, key)? {
            let found = if machine.exists(&mapped(LOOK_NAME)) {
                record(machine, &Dev::mapped(LOOK_NAME))
            } else {
                Data::Unmountable("it was opened, and is not there".to_owned())
            };
            machine.close_luks(LOOK_NAME, LOOK_DIR)?;
            return Ok(Some(found));
        }
    }
    Ok(None)
}
