//! `hearth-image disks`: the disks of this computer by their stable names, what is on
//! each, and why some of them cannot be written to.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use hearth::facts::{Disk, disks_now};
use hearth::flash::{self, Note, Refusal, installed, is_claimed, target};
use hearth::page::{contents, identity, text};
use serde_json::json;

/// One disk, looked at.
#[derive(Debug)]
struct Row {
    disk: Disk,
    /// What is on it, in one sentence.
    holds: String,
    /// Why it cannot be written to.
    against: Vec<Refusal>,
}

/// Prints the disks, as a table or as JSON.
pub fn run(as_json: bool) -> Result<()> {
    let disks = disks_now()?;
    let rows: Vec<Row> = disks.iter().map(|disk| look(&disks, disk)).collect();
    if as_json {
        let list: Vec<_> = rows.iter().map(document).collect();
        println!("{}", serde_json::to_string_pretty(&list).context("writing the disks as JSON")?);
        return Ok(());
    }
    if rows.is_empty() {
        println!("There is no disk here.");
    }
    for row in &rows {
        println!("{}", lines(row).join("\n"));
    }
    Ok(())
}

fn look(disks: &[Disk], disk: &Disk) -> Row {
    let mut against = flash::protected(disks, disk);
    if against.is_empty() && is_claimed(&disk.path) {
        against.push(Refusal::Busy { disk: disk.path.clone() });
    }
    Row { disk: disk.clone(), holds: holds(disk), against }
}

/// What is on the disk, in one sentence.
pub fn holds(disk: &Disk) -> String {
    if let Some(note) = unfinished(disk) {
        return format!("an unfinished flash of Hearth {}", note.version);
    }
    match installed::find(disk) {
        Some(found) => format!("Hearth {}, last used {}", found.name, found.last_used),
        None => contents(disk),
    }
}

/// The note that an interrupted flash left; reading it needs root.
fn unfinished(disk: &Disk) -> Option<Note> {
    let mut sector = vec![0; disk.logical_sector.0 as usize];
    File::open(&disk.path).ok()?.read_exact_at(&mut sector, 0).ok()?;
    Note::read(&sector)
}

fn document(row: &Row) -> serde_json::Value {
    let refusals: Vec<_> =
        row.against.iter().map(|refusal| json!({ "code": refusal.code(), "text": refusal.to_string() })).collect();
    json!({ "name": target::name(&row.disk), "holds": row.holds, "refusals": refusals, "facts": row.disk })
}

fn lines(row: &Row) -> Vec<String> {
    let disk = &row.disk;
    let mut out = vec![target::name(disk)];
    out.extend(text::wrap("    disk    ", &format!("{}, {}, now {}", identity(disk), disk.size, disk.path)));
    out.extend(text::wrap("    holds   ", &row.holds));
    for part in &disk.partitions {
        if let Some(at) = part.mountpoints.first() {
            out.extend(text::wrap("    in use  ", &format!("{} at {at}", part.device)));
        }
    }
    for refusal in &row.against {
        out.extend(text::wrap("    refused ", &format!("[{}] {refusal}", refusal.code())));
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hearth::facts::Partition;
    use hearth::units::{Bytes, SectorSize};

    /// An empty stick.
    pub(crate) fn disk() -> Disk {
        Disk {
            name: "sdz".into(),
            path: "/dev/no-such-disk".into(),
            by_id: vec!["usb-Stick_1".into()],
            vendor: None,
            model: Some("Stick".into()),
            serial: Some("0001".into()),
            wwn: None,
            size: Bytes::gib(8),
            logical_sector: SectorSize(512),
            physical_sector: SectorSize(512),
            transport: Some("usb".into()),
            removable: true,
            rotational: None,
            read_only: false,
            boot_medium: false,
            table: None,
            content: None,
            mountpoints: Vec::new(),
            holders: Vec::new(),
            partitions: Vec::new(),
        }
    }

    #[test]
    fn a_disk_is_named_by_what_stays_and_told_why_it_is_refused() {
        let mut used = disk();
        used.read_only = true;
        used.partitions.push(Partition {
            device: "sdz1".into(),
            number: Some(1),
            start: None,
            size: Bytes::gib(1),
            name: None,
            kind: None,
            guid: None,
            content: None,
            mountpoints: vec!["/media/stick".into()],
            holders: Vec::new(),
        });
        let row = look(&[used.clone()], &used);
        assert_eq!(
            lines(&row).join("\n"),
            "usb-Stick_1\n    disk    Stick, serial 0001, usb, read-only, 8.0 GiB, now /dev/no-such-disk\n\
             \x20   holds   something unknown\n    in use  sdz1 at /media/stick\n\
             \x20   refused [mounted] sdz1 is mounted at /media/stick. Unmount it first, if you\n\
             \x20           are sure that this is the right disk.\n\
             \x20   refused [read-only] /dev/no-such-disk is read-only. Switch its write\n\
             \x20           protection off, or use another disk."
        );
        let json = document(&row);
        assert_eq!(json["refusals"][0]["code"], "mounted");
        assert_eq!(json["facts"]["serial"], "0001");
    }

    #[test]
    fn an_empty_disk_is_free() {
        let row = look(&[disk()], &disk());
        assert_eq!((row.holds.as_str(), row.against.len()), ("empty", 0));
    }
}
