//! Recognises a disk that a Hearth lives on, and tells whose it is: so that nobody erases
//! the family's photos with a stick that was meant to repair them. Only reads.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ext4_view::{Ext4, Ext4Read};

use crate::facts::{Disk, Partition};
use crate::layout::Part;
use crate::units::Bytes;

/// A Hearth on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its host name; its file system's id where that cannot be read.
    pub name: String,
    /// The day of its last use, or "unknown".
    pub last_used: String,
}

/// Whether a Hearth was set up on `disk`. A mere copy of the image is none: it has no `data`.
pub fn is_installed(disk: &Disk) -> bool {
    has(disk, Part::RootA).is_some() && has(disk, Part::Data).is_some()
}

fn has(disk: &Disk, part: Part) -> Option<&Partition> {
    let is = |found: &&Partition| found.number == Some(part.number()) && found.name.as_deref() == Some(part.name());
    disk.partitions.iter().find(is)
}

/// The Hearth on `disk`, if one was set up there.
pub fn find(disk: &Disk) -> Option<Installed> {
    let root = has(disk, Part::RootA).filter(|_| is_installed(disk))?;
    let id = || root.content.as_ref().and_then(|content| content.id.clone());
    let file = root.start.and_then(|start| Some((File::open(&disk.path).ok()?, start)));
    let (name, last_used) = match &file {
        Some((file, start)) => (host_name(file, *start), last_write(file, *start)),
        None => (None, None),
    };
    Some(Installed {
        name: name.or_else(id).unwrap_or_else(|| "unknown".to_owned()),
        last_used: last_used.map_or_else(|| "unknown".to_owned(), day),
    })
}

/// What `/etc/hostname` says in the ext4 at `start`.
fn host_name(file: &File, start: Bytes) -> Option<String> {
    let reader = At { file: file.try_clone().ok()?, start };
    let root = Ext4::load(Box::new(reader)).ok()?;
    let text = root.read_to_string("/etc/hostname").ok()?;
    let name = text.trim();
    let plain =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    plain.then(|| name.to_owned())
}

/// When the ext4 at `start` was last written to: a field of its superblock.
fn last_write(file: &File, start: Bytes) -> Option<SystemTime> {
    /// Where the superblock begins, and in it the time (seconds since 1970) and the magic number.
    const SUPERBLOCK: u64 = 1024;
    const WRITTEN: usize = 0x30;
    const MAGIC: usize = 0x38;
    let mut block = [0; 64];
    file.read_exact_at(&mut block, start.0 + SUPERBLOCK).ok()?;
    (block[MAGIC..MAGIC + 2] == [0x53, 0xef]).then_some(())?;
    let seconds = u32::from_le_bytes(block[WRITTEN..WRITTEN + 4].try_into().ok()?);
    Some(UNIX_EPOCH + Duration::from_secs(u64::from(seconds)))
}

fn day(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A file system inside a disk.
struct At {
    file: File,
    start: Bytes,
}

impl Ext4Read for At {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.file.seek(SeekFrom::Start(self.start.0 + start_byte))?;
        self.file.read_exact(dst).map_err(io::Error::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;
    use crate::run::Cmd;

    #[test]
    fn a_copy_of_the_image_is_no_installation() {
        let stick = zoo::facts("mini-pc").disks.into_iter().find(|disk| disk.boot_medium).unwrap();
        assert_eq!(find(&stick), None);
    }

    #[test]
    fn the_name_and_the_day_are_read_from_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("disk"));
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        std::fs::write(tree.join("etc/hostname"), "cellar\n").unwrap();
        File::create(&image).unwrap().set_len(Bytes::mib(9).0).unwrap();
        let made = Cmd::new("making an ext4", "mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&tree);
        made.args(["-E", "offset=1048576"]).arg(&image).arg("8m").run().unwrap();
        let file = File::open(&image).unwrap();
        assert_eq!(host_name(&file, Bytes::mib(1)).as_deref(), Some("cellar"));
        assert_eq!(day(last_write(&file, Bytes::mib(1)).unwrap()), day(SystemTime::now()));
        assert_eq!((host_name(&file, Bytes::ZERO), last_write(&file, Bytes::ZERO)), (None, None));

        let mut disk = zoo::facts("mini-pc").disks.into_iter().find(|disk| disk.boot_medium).unwrap();
        disk.path = image.to_str().unwrap().to_owned();
        disk.partitions.retain(|part| part.number == Some(4));
        disk.partitions[0].start = Some(Bytes::mib(1));
        disk.partitions.push(Partition { number: Some(6), name: Some("data".into()), ..disk.partitions[0].clone() });
        let found = find(&disk).unwrap();
        assert_eq!(found.name, "cellar");
        disk.path = "/no/such/disk".to_owned();
        assert_eq!(find(&disk).unwrap().last_used, "unknown");
    }
}
