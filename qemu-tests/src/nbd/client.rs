//! A small NBD client, for looking at a served disk from the host and for
//! testing the server.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::proto::{self, command, option, read_array, read_u16, read_u32, read_u64};

/// A connection to a [`super::Server`].
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    size: u64,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let mut socket = UnixStream::connect(path)?;
        proto::expect(&read_array(&mut socket)?, proto::MAGIC, "magic")?;
        proto::expect(&read_array(&mut socket)?, proto::OPTION, "newstyle magic")?;
        proto::expect(&read_u16(&mut socket)?, &proto::FIXED_NO_ZEROES, "handshake flags")?;
        let mut hello = u32::from(proto::FIXED_NO_ZEROES).to_be_bytes().to_vec();
        hello.extend(proto::OPTION);
        hello.extend(option::EXPORT_NAME.to_be_bytes());
        hello.extend([0; 4]);
        socket.write_all(&hello)?;
        let size = read_u64(&mut socket)?;
        proto::expect(&read_u16(&mut socket)?, &proto::EXPORT_FLAGS, "export flags")?;
        Ok(Self { socket, size })
    }

    /// The size the server claims, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads `length` bytes.
    pub fn read(&mut self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.run(command::READ, 0, offset, length, &[])
    }

    /// Writes `data`; with `durable`, through the cache.
    pub fn write(&mut self, offset: u64, data: &[u8], durable: bool) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        self.run(command::WRITE, if durable { proto::FUA } else { 0 }, offset, length, data).map(drop)
    }

    /// Makes all that was written durable.
    pub fn flush(&mut self) -> io::Result<()> {
        self.run(command::FLUSH, 0, 0, 0, &[]).map(drop)
    }

    /// Gives bytes back; they read as zeros.
    pub fn trim(&mut self, offset: u64, length: u32) -> io::Result<()> {
        self.run(command::TRIM, 0, offset, length, &[]).map(drop)
    }

    /// Writes zeros.
    pub fn write_zeroes(&mut self, offset: u64, length: u32) -> io::Result<()> {
        self.run(command::WRITE_ZEROES, 0, offset, length, &[]).map(drop)
    }

    fn run(&mut self, kind: u16, flags: u16, offset: u64, length: u32, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut request = proto::REQUEST.to_be_bytes().to_vec();
        request.extend(flags.to_be_bytes());
        request.extend(kind.to_be_bytes());
        request.extend(offset.rotate_left(7).to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(length.to_be_bytes());
        request.extend(data);
        self.socket.write_all(&request)?;
        proto::expect(&read_u32(&mut self.socket)?, &proto::REPLY, "reply magic")?;
        let errno = read_u32(&mut self.socket)?;
        proto::expect(&read_u64(&mut self.socket)?, &offset.rotate_left(7), "handle")?;
        if errno != 0 {
            return Err(io::Error::from_raw_os_error(i32::try_from(errno).map_err(io::Error::other)?));
        }
        let mut answer = vec![0; if kind == command::READ { length as usize } else { 0 }];
        self.socket.read_exact(&mut answer)?;
        Ok(answer)
    }
}
