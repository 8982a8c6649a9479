//! Where everything lies in the image: the target's partition sizes, and the
//! table that follows from them and from the size of the root file system.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use hearth::gpt;
use hearth::layout::{ALIGNMENT, Part, derived_id};
use hearth::manifest::{CHUNK, Partition};
use hearth::units::{Bytes, Sector, SectorSize};
use serde::Deserialize;
use uuid::Uuid;

use crate::tomlfile;

/// What `firmware/<target>/partitions.toml` holds: sizes such as `"64MiB"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SizesFile {
    bios: String,
    esp: String,
    hearth: String,
}

/// The sizes of the partitions before root.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    bios: Bytes,
    esp: Bytes,
    hearth: Bytes,
}

impl Sizes {
    /// Reads them from the target's folder.
    pub fn read(target: &Path) -> Result<Self> {
        let path = target.join("partitions.toml");
        let file: SizesFile = tomlfile::read(&path)?;
        let size = |text: &str, name: &str| {
            let size: Bytes =
                text.parse().with_context(|| format!("{}: `{name}`", path.display())).kind(Exit::Input)?;
            if size == Bytes::ZERO || size.round_up(ALIGNMENT) != size {
                return Err(anyhow!("{}: `{name}` must be whole MiB and more than none", path.display()))
                    .kind(Exit::Input);
            }
            Ok(size)
        };
        let sizes = Self {
            bios: size(&file.bios, "bios")?,
            esp: size(&file.esp, "esp")?,
            hearth: size(&file.hearth, "hearth")?,
        };
        for (at, name) in [(sizes.before_root() - sizes.hearth, "hearth"), (sizes.before_root(), "root-a")] {
            if at.round_up(CHUNK) != at {
                let why = "what is made anew on each disk and what is copied must not share a chunk";
                let path = path.display();
                return Err(anyhow!("{path}: {name} would begin at {at}, which is no multiple of {CHUNK}: {why}"))
                    .kind(Exit::Input);
            }
        }
        Ok(sizes)
    }

    /// Where root begins.
    pub fn before_root(self) -> Bytes {
        ALIGNMENT + self.bios + self.esp + self.hearth
    }
}

/// A finished table.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The size of the whole image.
    pub size: Bytes,
    /// The table's own id.
    pub disk_guid: Uuid,
    /// The partitions, in order.
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// Lays out an image whose root takes `root`; all ids derive from `image_id`.
    pub fn plan(sizes: Sizes, root: Bytes, image_id: Uuid) -> Self {
        let mut start = ALIGNMENT;
        let mut partitions = Vec::new();
        for (part, size) in
            [(Part::Bios, sizes.bios), (Part::Esp, sizes.esp), (Part::Hearth, sizes.hearth), (Part::RootA, root)]
        {
            let size = size.round_up(ALIGNMENT);
            partitions.push(Partition {
                number: part.number(),
                name: part.name().into(),
                type_guid: part.type_guid(),
                guid: derived_id(image_id, part.name()),
                start: Sector::at(start, SectorSize::IMAGE),
                size,
            });
            start = start + size;
        }
        // The backup table takes the last MiB.
        Self { size: start + ALIGNMENT, disk_guid: derived_id(image_id, "disk"), partitions }
    }

    /// Where `part` begins, in bytes.
    pub fn offset(&self, part: Part) -> Bytes {
        self.find(part).start.offset(SectorSize::IMAGE)
    }

    /// How long `part` is.
    pub fn size_of(&self, part: Part) -> Bytes {
        self.find(part).size
    }

    fn find(&self, part: Part) -> &Partition {
        // `plan` puts all four there, in order of their numbers.
        &self.partitions[part.number() as usize - 1]
    }

    /// The table's sectors: the first 34 of the disk and the last 33.
    pub fn table(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let ends = gpt::table(self.disk_guid, &self.partitions, self.size, SectorSize::IMAGE)?;
        let copy = usize::try_from(gpt::copy_size(SectorSize::IMAGE).0)?;
        let sectors = copy + usize::try_from(SectorSize::IMAGE.bytes().0)?;
        Ok((ends.head[..sectors].to_vec(), ends.tail[ends.tail.len() - copy..].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptman::GPT;
    use hearth::layout::gpt_bytes;
    use std::io::{Seek as _, SeekFrom, Write as _};

    fn sizes() -> Sizes {
        Sizes { bios: Bytes::mib(3), esp: Bytes::mib(64), hearth: Bytes::mib(64) }
    }

    fn example() -> Layout {
        Layout::plan(sizes(), Bytes(Bytes::mib(100).0 + 4096), Uuid::nil())
    }

    #[test]
    fn what_is_made_anew_shares_no_chunk_with_what_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let read = |bios: u64, esp: u64, hearth: u64| {
            let text = format!("bios = \"{bios}MiB\"\nesp = \"{esp}MiB\"\nhearth = \"{hearth}MiB\"\n");
            std::fs::write(dir.path().join("partitions.toml"), text).unwrap();
            Sizes::read(dir.path()).map(Sizes::before_root).map_err(|error| error.to_string())
        };
        assert_eq!(read(3, 64, 64), Ok(Bytes::mib(132)));
        assert!(read(1, 64, 64).unwrap_err().contains("hearth would begin at 66.0 MiB"));
        assert!(read(3, 64, 65).unwrap_err().contains("root-a would begin at 133.0 MiB"));
    }

    #[test]
    fn partitions_follow_each_other_aligned() {
        let layout = example();
        let mut end = ALIGNMENT;
        for partition in &layout.partitions {
            assert_eq!(partition.start.offset(SectorSize::IMAGE), end);
            end = end + partition.size;
        }
        assert_eq!(layout.size, end + ALIGNMENT);
        assert_eq!(layout.size_of(Part::RootA), Bytes::mib(101));
        assert_eq!(layout.offset(Part::RootA), sizes().before_root());
    }

    #[test]
    fn the_table_reads_back_from_both_ends() {
        let layout = example();
        let (head, tail) = layout.table().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(layout.size.0).unwrap();
        file.write_all(&head).unwrap();
        file.seek(SeekFrom::Start(layout.size.0 - tail.len() as u64)).unwrap();
        file.write_all(&tail).unwrap();
        let check = |file: &mut std::fs::File| {
            let gpt = GPT::find_from(file).unwrap();
            assert_eq!(gpt[4].partition_name.as_str(), "root-a");
            assert_eq!(gpt.header.disk_guid, gpt_bytes(layout.disk_guid));
        };
        check(&mut file);
        // Without the primary table the backup must do.
        file.seek(SeekFrom::Start(512)).unwrap();
        file.write_all(&[0; 512]).unwrap();
        check(&mut file);
        assert_eq!(&head[510..512], &[0x55, 0xaa]);
    }
}
