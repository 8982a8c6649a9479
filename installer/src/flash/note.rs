//! What lies in the first sector of a disk while it is written: a few words for whoever
//! looks at it, and no boot signature. Nothing relies on it; a disk that is unfinished is
//! known by having no partition table.

use uuid::Uuid;

use crate::units::SectorSize;

const MAGIC: &str = "HEARTH-FLASH 1";

/// The note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The version of Hearth that is being written.
    pub version: String,
    /// The image's id.
    pub image: Uuid,
}

impl Note {
    /// One sector.
    pub fn to_sector(&self, sector: SectorSize) -> Vec<u8> {
        let text = format!(
            "{MAGIC}\nversion {}\nimage {}\n\nHearth is being written to this disk and is not complete.\n\
             Run the same flash command again: it goes on where it stopped.\n",
            self.version, self.image
        );
        let mut bytes = text.into_bytes();
        bytes.resize(sector.0 as usize, 0);
        bytes
    }

    /// The note at the beginning of `bytes`, if there is one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()?;
        let mut lines = text.lines();
        let mut value = |key: &str| lines.next()?.strip_prefix(key).map(str::to_owned);
        value(MAGIC).filter(String::is_empty)?;
        Some(Self { version: value("version ")?, image: value("image ")?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_never_looks_like_a_boot_sector() {
        let note = Note { version: "0.1.0".into(), image: Uuid::from_u128(7) };
        for sector in [512, 4096] {
            let bytes = note.to_sector(SectorSize(sector));
            assert_eq!(bytes.len(), sector as usize);
            assert_eq!(bytes[510..512], [0, 0]);
            assert_eq!(Note::read(&bytes), Some(note.clone()));
        }
        assert_eq!(Note::read(&[0; 512]), None);
        assert_eq!(Note::read(b"HEARTH-FLASH 12\nversion 1\n"), None);
    }
}
