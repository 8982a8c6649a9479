//! The few calls that neither the standard library nor nix offers: the one place
//! where `unsafe` is allowed.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd as _;

// EXT4_IOC_CHECKPOINT (fs/ext4/ext4.h), since Linux 5.14.
nix::ioctl_write_ptr!(ext4_checkpoint, b'f', 43, u32);

// BLKRRPART (linux/fs.h): `_IO(0x12, 95)`.
nix::ioctl_none!(blkrrpart, 0x12, 95);

/// No flags: write back, do not also erase the journal.
static NO_FLAGS: u32 = 0;

/// Writes the journal of the ext4 that `dir` lies on back.
pub(crate) fn checkpoint(dir: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open as long as `dir` is borrowed, and the kernel reads
    // one u32 of flags through a pointer that is valid during the call.
    unsafe { ext4_checkpoint(dir.as_raw_fd(), &raw const NO_FLAGS) }.map(drop)
}

/// Has the kernel read the partition table of `disk` again; refused while one of its partitions is in use.
pub(crate) fn reread_table(disk: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open as long as `disk` is borrowed, and the call takes no argument.
    unsafe { blkrrpart(disk.as_raw_fd()) }.map(drop)
}
