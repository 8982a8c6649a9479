//! The NBD server: fixed newstyle handshake, simple replies, any number of
//! connections, one thread each.

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::disk::{Disk, Survivors};
use super::proto::{self, answer, command, option, read_array, read_u16, read_u32, read_u64, read_vec};

/// Serves a [`Disk`] at a Unix socket until dropped.
#[derive(Debug)]
pub struct Server {
    disk: Disk,
    path: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<Vec<UnixStream>>,
    stop: AtomicBool,
}

impl Server {
    /// Listens at `path`, which must not exist yet.
    pub fn start(disk: Disk, path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let (disk, shared) = (disk.clone(), Arc::clone(&shared));
            move || accept(&listener, &disk, &shared)
        });
        Ok(Self { disk, path: path.to_owned(), shared, accepting: Some(accepting) })
    }

    /// The disk served.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts the disk's power and every connection; see [`Disk::cut`].
    pub fn cut(&self, survivors: Survivors) -> u64 {
        let at_stake = self.disk.cut(survivors);
        self.disconnect();
        at_stake
    }

    fn disconnect(&self) {
        for connection in self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // The other end may have gone already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; if that fails the thread ends with the process.
        if UnixStream::connect(&self.path).is_ok() {
            if let Some(thread) = self.accepting.take() {
                let _ = thread.join();
            }
        }
        self.disconnect();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, disk: &Disk, shared: &Shared) {
    for connection in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        let Ok(copy) = connection.try_clone() else { continue };
        shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        let disk = disk.clone();
        // A connection that breaks off has told its client by that.
        thread::spawn(move || serve(&connection, &disk).err());
    }
}

fn serve(connection: &UnixStream, disk: &Disk) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, connection);
    let mut writer = connection;
    if handshake(&mut reader, &mut writer, disk)? {
        while request(&mut reader, &mut writer, disk)? {}
    }
    connection.shutdown(Shutdown::Both)
}

/// True once the client wants to transfer data.
fn handshake(reader: &mut impl io::Read, writer: &mut impl Write, disk: &Disk) -> io::Result<bool> {
    writer.write_all(&[&proto::MAGIC[..], proto::OPTION, &proto::FIXED_NO_ZEROES.to_be_bytes()].concat())?;
    let no_zeroes = read_u32(reader)? & 2 != 0;
    loop {
        proto::expect(&read_array(reader)?, proto::OPTION, "option magic")?;
        let (option, length) = (read_u32(reader)?, read_u32(reader)?);
        if length > 64 << 10 {
            return Err(io::Error::other("NBD: an option longer than any there is"));
        }
        read_vec(reader, length)?;
        let export = [&disk.size().to_be_bytes()[..], &proto::EXPORT_FLAGS.to_be_bytes()].concat();
        match option {
            option::EXPORT_NAME => {
                writer.write_all(&export)?;
                if !no_zeroes {
                    writer.write_all(&[0; 124])?;
                }
                return Ok(true);
            }
            option::INFO | option::GO => {
                let sizes = [1_u32, 4096, proto::LONGEST].map(u32::to_be_bytes).concat();
                reply(writer, option, answer::INFO, &[&[0, 0], &export[..]].concat())?;
                reply(writer, option, answer::INFO, &[&[0, 3], &sizes[..]].concat())?;
                reply(writer, option, answer::ACK, &[])?;
                if option == option::GO {
                    return Ok(true);
                }
            }
            option::ABORT => {
                reply(writer, option, answer::ACK, &[])?;
                return Ok(false);
            }
            _ => reply(writer, option, answer::UNSUPPORTED, &[])?,
        }
    }
}

fn reply(writer: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut bytes = proto::OPTION_REPLY.to_be_bytes().to_vec();
    for word in [option, kind, length] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(data);
    writer.write_all(&bytes)
}

/// One command; false when the client said goodbye.
fn request(reader: &mut impl io::Read, writer: &mut impl Write, disk: &Disk) -> io::Result<bool> {
    proto::expect(&read_u32(reader)?, &proto::REQUEST, "request magic")?;
    let (flags, kind, handle) = (read_u16(reader)?, read_u16(reader)?, read_u64(reader)?);
    let (offset, length) = (read_u64(reader)?, read_u32(reader)?);
    if kind == command::DISCONNECT {
        return Ok(false);
    }
    if length > proto::LONGEST && (kind == command::READ || kind == command::WRITE) {
        return Err(io::Error::other("NBD: a longer transfer than was offered"));
    }
    let payload = if kind == command::WRITE { read_vec(reader, length)? } else { Vec::new() };
    let done = carry_out(disk, kind, flags & proto::FUA != 0, offset, length, &payload);
    let (errno, data) = match done {
        Ok(data) => (0, data),
        Err(error) => (error.raw_os_error().unwrap_or(nix::libc::EIO).unsigned_abs(), Vec::new()),
    };
    let head = [&proto::REPLY.to_be_bytes()[..], &errno.to_be_bytes(), &handle.to_be_bytes()].concat();
    writer.write_all(&head)?;
    writer.write_all(&data)?;
    Ok(true)
}

fn carry_out(disk: &Disk, kind: u16, durable: bool, offset: u64, length: u32, data: &[u8]) -> io::Result<Vec<u8>> {
    let end = offset.checked_add(u64::from(length)).filter(|end| *end <= disk.size());
    let end = end.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::EINVAL))?;
    match kind {
        command::READ => return disk.read(offset, usize::try_from(length).map_err(io::Error::other)?),
        command::WRITE => disk.write(offset, data, durable)?,
        command::FLUSH => disk.flush()?,
        command::TRIM | command::WRITE_ZEROES => disk.zero(offset..end, durable)?,
        _ => return Err(io::Error::from_raw_os_error(nix::libc::EINVAL)),
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests;
