//! A neighbour made of the machine itself: what the firewall lets in is tried from outside,
//! from a network of its own with a cable to this machine. Nothing that is seen from inside
//! tells it, because a machine always answers itself.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::spawn;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::run::Cmd;

/// The name of the network, and of this machine's end of the cable.
const NAME: &str = "hearth-probe";

/// This machine's end, from the addresses that are good on one link only.
const HERE: Ipv4Addr = Ipv4Addr::new(169, 254, 18, 1);

/// The neighbour's end.
const THERE: Ipv4Addr = Ipv4Addr::new(169, 254, 18, 2);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a neighbour gets an answer on a TCP port. Nothing where nobody listens on it,
/// so that there is nothing to try.
pub(super) fn admitted(port: u16) -> Result<Option<bool>> {
    if !answers(Ipv4Addr::LOCALHOST, port) {
        return Ok(None);
    }
    let _cable = Cable::plug()?;
    let tried = spawn(move || -> Result<bool> {
        let path = format!("/run/netns/{NAME}");
        let there = File::open(&path).with_context(|| format!("opening {path}"))?;
        // Only this thread moves, and it ends here.
        setns(there, CloneFlags::CLONE_NEWNET).context("going over to the neighbour")?;
        Ok(answers(HERE, port))
    });
    tried.join().map_err(|_| anyhow!("the neighbour came to grief"))?.map(Some)
}

fn answers(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE).is_ok()
}

/// The neighbour's network and the cable to it; dropping it takes both away.
struct Cable;

impl Cable {
    fn plug() -> Result<Self> {
        // One that a power cut would have left is gone with it, but a process may be stopped.
        drop(Self);
        let ip = |words: &str| Cmd::new("making a neighbour", "ip").args(words.split(' ')).run();
        ip(&format!("netns add {NAME}"))?;
        let cable = Self;
        ip(&format!("link add {NAME} type veth peer name there netns {NAME}"))?;
        ip(&format!("address add {HERE}/30 dev {NAME}"))?;
        ip(&format!("link set {NAME} up"))?;
        ip(&format!("-n {NAME} address add {THERE}/30 dev there"))?;
        ip(&format!("-n {NAME} link set there up"))?;
        Ok(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // With its network one end of the cable goes, and so the other; none may be there.
        let _ = Cmd::new("removing the neighbour", "ip").args(["netns", "delete", NAME]).succeeds();
    }
}
