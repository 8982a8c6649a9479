//! What tells one disk from all others.

use std::fmt;

use super::text;
use crate::units::Bytes;

text! {
    /// A name under `/dev/disk/by-id`.
    ById(String), "a name from /dev/disk/by-id", "^[A-Za-z0-9#+:._-]+$", by_id;
    /// A serial number as the disk tells it.
    Serial(String), "a serial number", "^[ -~]{1,64}$", serial;
    /// A world-wide name as the disk tells it.
    Wwn(String), "a world-wide name", "^[A-Za-z0-9.-]{1,64}$", wwn;
    /// How large a disk is.
    DiskSize(ExactSize), "a size", "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$", disk_size;
    /// The name or the id of an array.
    ArrayName(String), "the name or the id of an array", "^[!-~]{1,64}$", array_name;
    /// A volume of LVM, after its group.
    VolumeName(String), "a volume group and a volume", "^[A-Za-z0-9+_.][A-Za-z0-9+_.-]*/[A-Za-z0-9+_.][A-Za-z0-9+_.-]*$", volume_name;
}

impl DiskSize {
    /// The size itself.
    pub fn bytes(&self) -> Bytes {
        self.0.0
    }
}

/// Bytes that are written so that reading gives the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExactSize(pub Bytes);

impl fmt::Display for ExactSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |&&(_, shift): &&(&str, u32)| self.0.0.trailing_zeros() >= shift && self.0.0 > 0;
        match units.iter().find(whole) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0.0 >> shift),
            None => write!(f, "{}B", self.0.0),
        }
    }
}

fn by_id(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return Err("leave out /dev/disk/by-id/".to_owned());
    }
    // The kernel gives these anew at every start, in any order.
    let kernel_name = ["sd", "nvme", "vd", "mmcblk", "hd"]
        .iter()
        .any(|kind| text.strip_prefix(kind).is_some_and(|rest| !rest.contains('-') && rest.len() <= 6));
    if kernel_name {
        return Err(
            "names such as sda or nvme0n1 change from start to start; `hearth facts` tells the lasting one".to_owned()
        );
    }
    if text.contains("-part") {
        return Err("it names a partition; name the whole disk".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"#+:._-".contains(&b)) {
        return Err("copy it from what `hearth facts` prints".to_owned());
    }
    Ok(text.to_owned())
}

fn serial(text: &str) -> Result<String, String> {
    printable(text)
}

fn wwn(text: &str) -> Result<String, String> {
    let text = printable(text)?;
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
        return Ok(text);
    }
    Err("copy it from what `hearth facts` prints".to_owned())
}

fn printable(text: &str) -> Result<String, String> {
    let good = |b: u8| b == b' ' || b.is_ascii_graphic();
    if text.is_empty() || text.len() > 64 || text.trim() != text || !text.bytes().all(good) {
        return Err("copy it from what `hearth facts` prints, without blanks around it".to_owned());
    }
    Ok(text.to_owned())
}

fn disk_size(text: &str) -> Result<ExactSize, String> {
    let size: Bytes = text.parse().map_err(|_| "write a whole number and a unit, such as 500GiB or 2TiB".to_owned())?;
    if size == Bytes::ZERO { Err("every disk has that".to_owned()) } else { Ok(ExactSize(size)) }
}

fn array_name(text: &str) -> Result<String, String> {
    if text.starts_with("/dev/") {
        return Err("names below /dev change from start to start; `hearth facts` tells the lasting one".to_owned());
    }
    let text = printable(text)?;
    if text.contains(' ') { Err("it holds a blank".to_owned()) } else { Ok(text) }
}

fn volume_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    let name = |part: &str| !part.is_empty() && !part.starts_with('-') && part.chars().all(plain);
    match text.split_once('/') {
        Some((group, volume)) if name(group) && name(volume) => Ok(text.to_owned()),
        _ => Err("write the group and the volume, such as vg0/media".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_named_by_what_lasts() {
        assert!(by_id("nvme-Samsung_SSD_970_EVO_Plus_1TB_S4EWNX0N123456").is_ok());
        for bad in ["sda", "nvme0n1", "/dev/sda", "ata-Disk_1-part1", "", "a b"] {
            assert!(by_id(bad).is_err(), "{bad}");
        }
        assert!(serial("WD-WX12A3456789").is_ok() && serial(" x").is_err() && serial("").is_err());
    }

    #[test]
    fn arrays_and_volumes_have_names_of_their_own() {
        assert!(array_name("nas:0").is_ok() && array_name("9d3c5b7a:1f2e4c6d:8b9a0c1d:2e3f4a5b").is_ok());
        assert!(array_name("/dev/md127").unwrap_err().contains("hearth facts") && array_name("a b").is_err());
        assert!(volume_name("vg-1/media").is_ok());
        for bad in ["media", "vg0/", "-vg/media", "/dev/vg0/media", "vg0/a b", "vg0/a%h"] {
            assert!(volume_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_come_back_as_they_were() {
        for size in ["500GiB", "2TiB", "1025B", "3MiB"] {
            assert_eq!(disk_size(size).unwrap().to_string(), size);
        }
        assert!(disk_size("1TB").is_err() && disk_size("0").is_err());
    }
}
