//! A disk to put into a machine.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::run::Cmd;
use hearth::units::{Bytes, SectorSize};
use hearth_image::qemu::{Backend, Bus, Disk};

use crate::cleanup::WorkDir;
use crate::lab::Lab;
use crate::nbd;

/// A disk, before the machine starts.
///
/// ```no_run
/// # fn example(lab: &hearth_qemu_tests::Lab) -> anyhow::Result<()> {
/// use hearth_qemu_tests::{Bus, Drive};
/// let stick = Drive::overlay(lab.image()?).bus(Bus::Usb).boots(0);
/// let target = Drive::empty(64 << 30).bus(Bus::Nvme).serial("TARGET01").sector_size(4096);
/// let vm = lab.vm("stick-and-disk").drive(stick).drive(target).start()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Drive {
    source: Source,
    id: Option<String>,
    bus: Bus,
    serial: Option<String>,
    sector_size: u32,
    boot_index: Option<u32>,
}

#[derive(Clone, Debug)]
enum Source {
    Overlay(PathBuf),
    Empty(u64),
    File(PathBuf),
    Served(nbd::Disk),
}

/// A drive made ready, with what must live as long as its machine.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) disk: Disk,
    /// Folders that QEMU must see.
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) server: Option<nbd::Server>,
}

impl Drive {
    fn new(source: Source) -> Self {
        Self { source, id: None, bus: Bus::Virtio, serial: None, sector_size: 512, boot_index: None }
    }

    /// Begins like the image `base` (raw, or qcow2 if so named), which is only read; changes are thrown away.
    pub fn overlay(base: impl Into<PathBuf>) -> Self {
        Self::new(Source::Overlay(base.into()))
    }

    /// Zeros, thrown away in the end; uses only the space that is written to.
    pub fn empty(size: u64) -> Self {
        Self::new(Source::Empty(size))
    }

    /// A file that keeps what is written (raw, or qcow2 if so named).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(path.into()))
    }

    /// A disk whose power can be cut.
    pub fn served(disk: &nbd::Disk) -> Self {
        Self::new(Source::Served(disk.clone()))
    }

    /// The bus; virtio unless said.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = bus;
        self
    }

    /// The serial number it shows.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// The size of its logical sectors in bytes, 512 unless said.
    #[must_use]
    pub fn sector_size(mut self, bytes: u32) -> Self {
        self.sector_size = bytes;
        self
    }

    /// Its place in the boot order, lowest first; not booted from unless said.
    #[must_use]
    pub fn boots(mut self, index: u32) -> Self {
        self.boot_index = Some(index);
        self
    }

    /// Its name to QEMU, for [`crate::Vm::unplug`]; `disk0`, `disk1` … unless said.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Makes overlays and starts servers in `dir`.
    pub(crate) fn ready(&self, lab: &Lab, dir: &WorkDir, number: usize) -> Result<Ready> {
        let id = self.id.clone().unwrap_or_else(|| format!("disk{number}"));
        let (mut folders, mut server, mut throw_away) = (Vec::new(), None, true);
        let backend = match &self.source {
            Source::Overlay(base) => {
                let base = base.canonicalize().with_context(|| format!("opening the image {}", base.display()))?;
                let path = dir.join(format!("{id}.qcow2"));
                make_overlay(lab, &base, &path, None)?;
                folders = folders_of_chain(&base)?;
                Backend::Qcow2(path)
            }
            Source::Empty(size) => {
                let path = dir.join(format!("{id}.raw"));
                make_empty(&path, *size)?;
                Backend::Raw(path)
            }
            Source::File(path) => {
                let path = path.canonicalize().with_context(|| format!("opening the disk {}", path.display()))?;
                folders = folders_of_chain(&path)?;
                throw_away = false;
                if is_qcow2(&path) { Backend::Qcow2(path) } else { Backend::Raw(path) }
            }
            Source::Served(disk) => {
                let path = dir.join(format!("{id}.nbd"));
                server = Some(nbd::Server::start(disk.clone(), &path).context("serving a disk")?);
                // Its flushes are what the power-cut disk is about.
                throw_away = false;
                Backend::Nbd(path)
            }
        };
        let mut disk = Disk::new(id, backend);
        disk.bus = self.bus;
        disk.serial.clone_from(&self.serial);
        disk.sector_size = SectorSize(self.sector_size);
        disk.boot_index = self.boot_index;
        disk.throw_away = throw_away;
        Ok(Ready { disk, folders, server })
    }
}

/// Makes a sparse file of `size` bytes.
pub(crate) fn make_empty(path: &Path, size: u64) -> Result<()> {
    let made = File::create_new(path).and_then(|file| file.set_len(size));
    made.with_context(|| format!("making {} ({})", path.display(), Bytes(size)))
}

/// Makes the qcow2 file `path` over `base`, of its size or `size` bytes.
pub(crate) fn make_overlay(lab: &Lab, base: &Path, path: &Path, size: Option<u64>) -> Result<()> {
    let folders: Vec<&Path> = [base.parent(), path.parent()].into_iter().flatten().collect();
    let format = if is_qcow2(base) { "qcow2" } else { "raw" };
    // `-u`: the base of the base need not be in sight; the size is given instead.
    let size = match size {
        Some(size) => size,
        None if format == "raw" => std::fs::metadata(base)?.len(),
        None => header(base)?.size,
    };
    Cmd::from_command("making an overlay", lab.tool("qemu-img", &folders)?)
        .args(["create", "-q", "-u", "-f", "qcow2", "-F", format, "-b"])
        .arg(base)
        .arg(path)
        .arg(size.to_string())
        .run()
}

/// What the first bytes of a qcow2 file say.
struct Header {
    size: u64,
    base: Option<PathBuf>,
}

fn header(path: &Path) -> Result<Header> {
    let read = || {
        let file = File::open(path)?;
        let mut bytes = [0; 32];
        file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        // At 8 where the base's name is, at 16 its length in 32 bits, at 24 the disk's size.
        let mut name = vec![0; usize::try_from(word(16) >> 32).unwrap_or(0).min(4096)];
        file.read_exact_at(&mut name, word(8))?;
        let base = (!name.is_empty()).then(|| PathBuf::from(OsString::from_vec(name)));
        Ok::<_, std::io::Error>(Header { size: word(24), base })
    };
    read().with_context(|| format!("reading the qcow2 file {}", path.display()))
}

/// The folders of an image, of what it is based on, and so on.
fn folders_of_chain(path: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        folders.extend(path.parent().map(Path::to_owned));
        next = if is_qcow2(&path) { header(&path)?.base } else { None };
    }
    Ok(folders)
}

fn is_qcow2(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "qcow2")
}
