//! An isolated Ethernet segment. It needs no rights and no support from the host's
//! kernel: each machine's card sends its frames to a Unix socket (QEMU's `stream`
//! network), and a [`Wire`] repeats every frame to all others, as a hub does. No
//! packet can leave it.
//!
//! A [`Station`] is a network namespace with a card on the wire, for the host's
//! side of a test: a DHCP server, a neighbour, a browser. That one needs
//! `/dev/net/tun`; where it is missing, use one more machine instead.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_image::qemu::base64;

use crate::agent::{self, Agent, Output};
use crate::cleanup::{Running, WorkDir};
use crate::lab::Lab;

/// Frames a slow card may lag behind before it loses some, as on a real wire.
const QUEUE: usize = 512;

/// The longest frame that QEMU sends.
const LONGEST: u32 = 1 << 17;

/// An Ethernet segment.
#[derive(Debug)]
pub struct Wire {
    hub: Arc<Hub>,
    socket: PathBuf,
    _dir: WorkDir,
}

#[derive(Debug, Default)]
struct Hub {
    cards: Mutex<Vec<Card>>,
    frames: AtomicU64,
    next: AtomicU64,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Card {
    number: u64,
    queue: SyncSender<Arc<Vec<u8>>>,
    socket: UnixStream,
}

impl Wire {
    /// A wire with nothing on it.
    pub fn new() -> Result<Self> {
        let dir = WorkDir::new()?;
        let socket = dir.join("wire");
        let listener = UnixListener::bind(&socket).context("making a wire")?;
        let hub = Arc::new(Hub::default());
        let accepting = Arc::clone(&hub);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stop.load(Ordering::SeqCst) {
                    return;
                }
                // A card that breaks off is only itself disconnected.
                let _ = accepting.connect(stream);
            }
        });
        Ok(Self { hub, socket, _dir: dir })
    }

    /// Where cards connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many frames were sent so far.
    pub fn frames(&self) -> u64 {
        self.hub.frames.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.hub.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = UnixStream::connect(&self.socket);
        for card in self.hub.cards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = card.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Hub {
    fn connect(self: &Arc<Self>, socket: UnixStream) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (queue, frames) = sync_channel::<Arc<Vec<u8>>>(QUEUE);
        let mut writer = socket.try_clone()?;
        thread::spawn(move || {
            for frame in frames {
                if writer.write_all(&frame).is_err() {
                    return;
                }
            }
        });
        let mut reader = BufReader::new(socket.try_clone()?);
        self.cards.lock().unwrap_or_else(PoisonError::into_inner).push(Card { number, queue, socket });
        let hub = Arc::clone(self);
        thread::spawn(move || {
            while let Ok(frame) = read_frame(&mut reader) {
                hub.repeat(number, frame);
            }
            hub.cards.lock().unwrap_or_else(PoisonError::into_inner).retain(|card| card.number != number);
        });
        Ok(())
    }

    fn repeat(&self, from: u64, frame: Vec<u8>) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        let frame = Arc::new(frame);
        for card in self.cards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if card.number != from {
                // Full: the frame is lost for this card.
                let _ = card.queue.try_send(Arc::clone(&frame));
            }
        }
    }
}

/// A frame with its length before it, as it is sent on.
fn read_frame(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let bytes = u32::from_be_bytes(length);
    if bytes > LONGEST {
        return Err(io::Error::other("a frame longer than any"));
    }
    let mut frame = vec![0; 4 + usize::try_from(bytes).map_err(io::Error::other)?];
    frame[..4].copy_from_slice(&length);
    reader.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// A network namespace with a card, `lan0`, on a wire. Programs come from the tools tree.
#[derive(Debug)]
pub struct Station {
    agent: Agent,
    // Before `dir`: the programs end before their files go.
    _process: Running,
    dir: WorkDir,
}

impl Station {
    /// A station with this address, such as `10.77.0.1/24`.
    pub fn start(lab: &Lab, wire: &Wire, address: &str) -> Result<Self> {
        let dir = WorkDir::new()?;
        let mut folders = vec![dir.path()];
        folders.extend(wire.socket().parent());
        // QEMU without a machine joins the two: it has both kinds of network and is there anyway.
        let script = format!(
            "d={dir}/agent; exec 3<&0 4>&1 1>&2\nset -e\nip link set lo up\nip tuntap add lan0 mode tap\n\
             ip addr add {address} dev lan0\nip link set lan0 up\n\
             {qemu} -M none -nodefaults -display none -netdev tap,id=t,ifname=lan0,script=no,downscript=no \
             -netdev stream,id=s,server=off,addr.type=unix,addr.path={wire} \
             -netdev hubport,id=ht,hubid=0,netdev=t -netdev hubport,id=hs,hubid=0,netdev=s 3<&- 4>&- &\n\
             until ip link show lan0 | grep -q LOWER_UP; do kill -0 $!; sleep 0.05; done\nset +e\n{loop_}",
            dir = dir.path().display(),
            qemu = lab.target().program,
            wire = wire.socket().display(),
            loop_ = agent::SCRIPT,
        );
        // Inside the sandbox we may make a network namespace, also as a plain user.
        let mut command = lab.tool("unshare", &folders)?;
        let log = dir.join("log");
        let file = std::fs::File::create(&log).context("making a station's log")?;
        command.args(["--net", "--", "sh", "-c"]).arg(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Running::start(command).context("starting a station")?;
        let pipes = process.child().stdin.take().zip(process.child().stdout.take());
        let (stdin, stdout) = pipes.context("a station without pipes")?;
        let agent = Agent::new(stdout, stdin);
        agent.wait(Duration::from_secs(60)).with_context(|| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            format!("starting a station on the wire; it said: {}", said.trim_end())
        })?;
        Ok(Self { agent, _process: process, dir })
    }

    /// Runs a shell command here.
    pub fn sh(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.agent.run(command, timeout)
    }

    /// Starts a server here that runs until the station is dropped; its output goes to the
    /// file whose path is returned.
    pub fn serve(&self, command: &str) -> Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let log = self.dir.join(format!("server{}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let coded = base64::encode(command.as_bytes());
        let line = format!("(eval \"$(echo {coded} | base64 -d)\") >{} 2>&1 </dev/null &", log.display());
        self.sh(&line, Duration::from_secs(20))?.ok()?;
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    }

    fn connect(wire: &Wire, cards: usize) -> Vec<UnixStream> {
        let sockets: Vec<UnixStream> = (0..cards).map(|_| UnixStream::connect(wire.socket()).unwrap()).collect();
        while wire.hub.cards.lock().unwrap().len() < cards {
            thread::sleep(Duration::from_millis(1));
        }
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        sockets
    }

    #[test]
    fn a_frame_reaches_all_but_its_sender() {
        let wire = Wire::new().unwrap();
        let mut cards = connect(&wire, 3);
        // In two pieces: a stream knows no frames.
        cards[0].write_all(&frame("hello")[..6]).unwrap();
        cards[0].write_all(&frame("hello")[6..]).unwrap();
        for card in &mut cards[1..] {
            assert_eq!(read_frame(card).unwrap(), frame("hello"));
        }
        assert!(read_frame(&mut cards[0]).is_err());
        assert_eq!(wire.frames(), 1);
    }

    #[test]
    fn a_card_that_leaves_or_talks_nonsense_harms_nobody() {
        let wire = Wire::new().unwrap();
        let mut cards = connect(&wire, 4);
        drop(cards.remove(3));
        cards[2].write_all(&[0xff; 8]).unwrap();
        cards[0].write_all(&frame("a")).unwrap();
        assert_eq!(read_frame(&mut cards[1]).unwrap(), frame("a"));
    }

    #[test]
    fn two_wires_know_nothing_of_each_other() {
        let (one, two) = (Wire::new().unwrap(), Wire::new().unwrap());
        let mut here = connect(&one, 1);
        let mut there = connect(&two, 1);
        here[0].write_all(&frame("secret")).unwrap();
        assert!(read_frame(&mut there[0]).is_err());
    }
}
