//! What flash writes to. [`Medium`] is the one door: behind it is a disk that is claimed
//! for the whole run and goes past every cache, or in tests a file and its faults.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::Refusal;
use super::buffer::Buffer;
use crate::exit::{Exit, Kind as _};
use crate::ioctl;
use crate::units::{Bytes, SectorSize};

/// A disk as flash sees it. Places and lengths are whole sectors.
pub trait Medium: Sync {
    /// How long it is.
    fn size(&self) -> Bytes;

    /// Its logical sector size.
    fn sector(&self) -> SectorSize;

    /// Fills `into` from `at`, from the medium and not from a copy in memory.
    fn read_at(&self, at: Bytes, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` to `at`.
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> io::Result<()>;

    /// Makes every finished write last.
    fn flush(&self) -> io::Result<()>;
}

/// A disk, held so that nobody else can mount, swap to or assemble it, and locked so that
/// udev does not look at it, for as long as this lives.
#[derive(Debug)]
pub struct BlockDevice {
    file: Flock<File>,
    size: Bytes,
    sector: SectorSize,
}

impl BlockDevice {
    /// Claims the disk at `path`. Whoever uses it, in this or in another mount namespace, makes this fail.
    pub fn claim(path: &str, size: Bytes, sector: SectorSize) -> Result<Self> {
        let busy = || Refusal::Busy { disk: path.to_owned() };
        let flags = OFlag::O_EXCL | OFlag::O_DIRECT | OFlag::O_CLOEXEC;
        // Never O_CREAT: a mistyped name must not become a file.
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
                return Err(busy()).kind(Exit::Refused);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(error)
                    .with_context(|| format!("opening {path} needs root: run this with sudo"))
                    .kind(Exit::Environment);
            }
            other => other.with_context(|| format!("opening {path}"))?,
        };
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| busy()).kind(Exit::Refused)?;
        Ok(Self { file, size, sector })
    }

    /// Has the kernel read the partition table anew.
    pub fn reread_table(&self) -> io::Result<()> {
        ioctl::reread_table(&self.file).map_err(io::Error::from)
    }
}

impl Medium for BlockDevice {
    fn size(&self) -> Bytes {
        self.size
    }

    fn sector(&self) -> SectorSize {
        self.sector
    }

    fn read_at(&self, at: Bytes, into: &mut [u8]) -> io::Result<()> {
        if Buffer::is_aligned(into) {
            return self.file.read_exact_at(into, at.0);
        }
        let mut aligned = Buffer::new(into.len());
        self.file.read_exact_at(&mut aligned, at.0)?;
        into.copy_from_slice(&aligned);
        Ok(())
    }

    fn write_at(&self, at: Bytes, bytes: &[u8]) -> io::Result<()> {
        if Buffer::is_aligned(bytes) {
            return self.file.write_all_at(bytes, at.0);
        }
        let mut aligned = Buffer::new(bytes.len());
        aligned.copy_from_slice(bytes);
        self.file.write_all_at(&aligned, at.0)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Whether somebody uses the disk although no table says so: an imported ZFS pool or a
/// file system that is mounted in another namespace. It is only looked at, not held.
pub fn is_claimed(path: &str) -> bool {
    let flags = OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let opened: io::Result<OwnedFd> =
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map(OwnedFd::from);
    opened.is_err_and(|error| error.raw_os_error() == Some(Errno::EBUSY as i32))
}
