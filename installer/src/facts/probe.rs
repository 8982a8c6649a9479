//! Asks libblkid what lies at a place of a disk, which is not always where a partition begins.

use anyhow::{Result, anyhow};

use super::Content;
use crate::exit::{Exit, Kind as _};
use crate::run::Cmd;
use crate::units::Bytes;

/// What libblkid recognises at `offset` of the device at `path`.
pub fn probe(path: &str, offset: Bytes, len: Bytes) -> Result<Option<Content>> {
    let place = [format!("--offset={}", offset.0), format!("--size={}", len.0)];
    let ask =
        Cmd::new(format!("looking at {path}"), "blkid").args(["--probe", "--output", "export"]).args(place).arg(path);
    let (status, said) = ask.answer()?;
    match status {
        Some(0) => Ok(recognised(&said)),
        // 2: nothing is recognised.
        Some(2) => Ok(None),
        // 8: several signatures, which is certainly not nothing.
        Some(8) => Ok(Some(Content { kind: "several signatures at once".to_owned(), label: None, id: None })),
        _ => Err(anyhow!("blkid could not look at {path} at {}", offset.0)).kind(Exit::Io),
    }
}

/// Reads `blkid --output export`.
fn recognised(said: &str) -> Option<Content> {
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    let kind = value("TYPE").or_else(|| value("PTTYPE").map(|kind| format!("a {kind} partition table")))?;
    Some(Content { kind, label: value("LABEL"), id: value("UUID") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blkid_says() {
        let said =
            "DEVNAME=/dev/sda\nUUID=ba15a2fc-eafe-4058-932f-c317a13ae574\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let content = recognised(said).unwrap();
        assert_eq!((content.kind.as_str(), content.label), ("ext4", None));
        assert_eq!(content.id.as_deref(), Some("ba15a2fc-eafe-4058-932f-c317a13ae574"));
        assert_eq!(recognised("DEVNAME=/dev/sda\nPTTYPE=dos\n").unwrap().kind, "a dos partition table");
        assert_eq!(recognised("DEVNAME=/dev/sda\nPART_ENTRY_UUID=1\n"), None);
    }
}
