//! The manifest: one JSON file beside an image that says, byte by byte and
//! package by package, what the image is. `build` writes it, `verify` and
//! `flash` believe the disk only as far as it agrees.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::layout::Part;
use crate::units::{Bytes, Sector, SectorSize};

/// The version of this format. A reader refuses any other.
pub const FORMAT: u32 = 1;

/// How much of the image one row of the chunk table covers; the last may be shorter.
pub const CHUNK: Bytes = Bytes::mib(4);

/// What `hearth-<version>-<arch>.manifest.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Hearth's version.
    pub version: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// The build id: follows from everything that went into the image.
    pub image_id: Uuid,
    /// Seconds since 1970 that every time stamp in the image is clamped to.
    pub source_date_epoch: u64,
    /// The image file.
    pub image: ImageFile,
    /// True if the image holds stand-ins made for tests; `flash` refuses those.
    pub test_doubles: bool,
    /// The container bundle.
    pub bundle: Bundle,
    /// The partition table's own id.
    pub disk_guid: Uuid,
    /// The logical sector size that the table is written for.
    pub sector_size: SectorSize,
    /// What the table holds, in order.
    pub partitions: Vec<Partition>,
    /// How many bytes one row of `chunks` covers.
    pub chunk_size: Bytes,
    /// The image in chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Every Debian package in the image, by name.
    pub packages: Vec<Package>,
    /// Every file laid over the packages, by path.
    pub overlay: BTreeMap<String, Digest>,
}

impl Manifest {
    /// What a writer follows.
    pub fn disk_image(&self) -> DiskImage {
        DiskImage {
            format: FORMAT,
            version: self.version.clone(),
            arch: self.arch.clone(),
            image_id: self.image_id,
            size: self.image.size,
            disk_guid: self.disk_guid,
            sector_size: self.sector_size,
            partitions: self.partitions.clone(),
            chunk_size: self.chunk_size,
            chunks: self.chunks.clone(),
        }
    }
}

/// The name under which a disk holds its own [`DiskImage`], in the top folder of HEARTH.
pub const MEDIUM_FILE: &str = "hearth.manifest.json";

/// The part of a manifest that a writer follows: where everything lies on the disk, and what
/// each chunk must be. A disk that Hearth was written to carries its own, so that setup can
/// write the next disk from it and prove every chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskImage {
    /// [`FORMAT`].
    pub format: u32,
    /// Hearth's version.
    pub version: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// The build id.
    pub image_id: Uuid,
    /// How long the image is.
    pub size: Bytes,
    /// The partition table's own id, as in the image.
    pub disk_guid: Uuid,
    /// The logical sector size that the table is written for.
    pub sector_size: SectorSize,
    /// What the table holds, in order, with their ids as in the image.
    pub partitions: Vec<Partition>,
    /// How many bytes one row of `chunks` covers.
    pub chunk_size: Bytes,
    /// The image in chunks, in order.
    pub chunks: Vec<Chunk>,
}

impl DiskImage {
    /// The partition for `part`, if there is one.
    pub fn find(&self, part: Part) -> Option<&Partition> {
        self.partitions.iter().find(|found| (found.number, found.name.as_str()) == (part.number(), part.name()))
    }

    /// The chunks that `part` consists of, if it begins and ends where chunks do.
    pub fn chunks_of(&self, part: Part) -> Option<Range<usize>> {
        let found = self.find(part)?;
        let (start, chunk) = (found.start.offset(self.sector_size), self.chunk_size.0);
        let whole = |at: Bytes| (at.0 % chunk == 0).then(|| usize::try_from(at.0 / chunk).ok()).flatten();
        Some(whole(start)?..whole(start + found.size)?)
    }

    /// The same without HEARTH: it holds this very list, and what people and the appliance put
    /// there, so it is made anew on each disk.
    #[must_use]
    pub fn without_hearth(mut self) -> Self {
        let zeros = Digest::of(vec![0; usize::try_from(self.chunk_size.0).unwrap_or_default()]);
        for index in self.chunks_of(Part::Hearth).unwrap_or_default() {
            self.chunks[index] = Chunk { sha256: zeros, class: ChunkClass::Free };
        }
        self
    }
}

/// The image file's name, size and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its apparent size.
    pub size: Bytes,
    /// Of all its bytes, holes read as zeros.
    pub sha256: Digest,
}

/// Whether container images lie in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "state")]
pub enum Bundle {
    /// None: the services will be pulled from the internet at setup.
    Absent {
        /// Why, for a person.
        reason: String,
    },
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Partition {
    /// Its number, counted from 1.
    pub number: u32,
    /// Its name in the table.
    pub name: String,
    /// Its GPT type.
    pub type_guid: Uuid,
    /// Its own id.
    pub guid: Uuid,
    /// Its first sector.
    pub start: Sector,
    /// Its length.
    pub size: Bytes,
}

/// What a chunk's bytes mean to whoever writes them to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChunkClass {
    /// Bytes that matter.
    Data,
    /// Zeros that matter: they must really be zero on the disk.
    Zero,
    /// Belongs to nothing: whatever the disk holds there may stay.
    Free,
}

/// One row of the chunk table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Chunk {
    /// Of the chunk's bytes in the image file.
    pub sha256: Digest,
    /// What they mean.
    pub class: ChunkClass,
}

/// One Debian package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Its binary name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: the image's, or `all`.
    pub arch: String,
    /// Of the `.deb`.
    pub sha256: Digest,
}
