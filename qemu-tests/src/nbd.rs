//! A disk whose power can be cut. Killing QEMU loses nothing, because the host
//! keeps what QEMU wrote; so a [`Disk`] keeps what was not flushed in memory, as
//! a real disk's cache does, and [`Disk::cut`] forgets it. It can also fail,
//! flip a bit, be slow, or lie about its size. QEMU reaches it over NBD through
//! a [`Server`].
//!
//! ```
//! use hearth_qemu_tests::nbd::{Disk, Survivors};
//! let disk = Disk::empty(1 << 20)?;
//! disk.write(0, b"flushed", false)?;
//! disk.flush()?;
//! disk.write(4096, b"lost", false)?;
//! disk.cut(Survivors::None);
//! disk.restore_power();
//! assert_eq!(disk.read(0, 7)?, b"flushed");
//! assert_eq!(disk.read(4096, 4)?, [0; 4]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Memory: at most [`CACHE`] of unflushed data a disk (plus a quarter of
//! bookkeeping); older writes then move to the medium early, as in real disks.

mod cache;
mod client;
mod disk;
mod faults;
mod proto;
mod ranges;
mod search;
mod server;
mod store;

pub use cache::CACHE;
pub use client::Client;
pub use disk::{Disk, Stats, Survivors};
pub use faults::{Beyond, Fault, Op, When};
pub use search::find;
pub use server::Server;
