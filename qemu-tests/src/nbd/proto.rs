//! The numbers of the NBD protocol that both ends use, and its integers
//! (big-endian).

use std::io::{self, Read};

pub(crate) const MAGIC: &[u8; 8] = b"NBDMAGIC";
pub(crate) const OPTION: &[u8; 8] = b"IHAVEOPT";
pub(crate) const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
pub(crate) const REQUEST: u32 = 0x2560_9513;
pub(crate) const REPLY: u32 = 0x6744_6698;

/// Handshake flags: fixed newstyle, no padding of zeros.
pub(crate) const FIXED_NO_ZEROES: u16 = 3;

pub(crate) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
}

pub(crate) mod answer {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const UNSUPPORTED: u32 = 0x8000_0001;
}

/// Transmission flags: flags are there, FLUSH, FUA, TRIM, WRITE ZEROES, several connections.
pub(crate) const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8;

pub(crate) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISCONNECT: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const WRITE_ZEROES: u16 = 6;
}

/// Command flag: durable before the answer.
pub(crate) const FUA: u16 = 1;

/// The longest READ or WRITE.
pub(crate) const LONGEST: u32 = 32 << 20;

pub(crate) fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn read_u16(reader: &mut impl Read) -> io::Result<u16> {
    read_array(reader).map(u16::from_be_bytes)
}

pub(crate) fn read_u32(reader: &mut impl Read) -> io::Result<u32> {
    read_array(reader).map(u32::from_be_bytes)
}

pub(crate) fn read_u64(reader: &mut impl Read) -> io::Result<u64> {
    read_array(reader).map(u64::from_be_bytes)
}

pub(crate) fn read_vec(reader: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn expect<T: PartialEq>(got: &T, wanted: &T, what: &str) -> io::Result<()> {
    if got == wanted { Ok(()) } else { Err(io::Error::other(format!("NBD: bad {what}"))) }
}
