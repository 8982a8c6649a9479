//! `http://hearth.local`: one page that tells in a browser what this machine is doing, how to go on
//! and what to set in the router. It exists before setup and after it, until a stack answers on
//! port 80. There is nothing to fill in on it, and nothing that a neighbour may not know: whoever
//! asks has shown nothing to anybody.
//!
//! systemd holds the port and starts this program for it, as a user of its own that may read what
//! everybody may read and has no network but the socket it was given.

mod doing;
mod html;
mod http;
mod server;

use std::net::TcpListener;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};

use crate::exit::{Exit, Kind as _};
use crate::facts::hostname_now;
use doing::Doing;
use server::Limits;

/// What the page shows.
#[derive(Clone, Debug)]
struct Shown {
    /// The version of Hearth.
    hearth: &'static str,
    /// The name of the machine.
    hostname: String,
    /// What it is doing.
    doing: Doing,
}

impl Shown {
    fn look() -> Self {
        Self { hearth: env!("CARGO_PKG_VERSION"), hostname: hostname_now(), doing: Doing::look() }
    }
}

/// `hearth web`: answers on the socket that systemd gives as standard input, until nobody has asked
/// for a while. The next who asks has it started again.
pub fn run() -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("taking standard input")?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr();
    port.context("standard input is no socket: this is for hearth-web.service").kind(Exit::Input)?;
    server::serve(&listener, &Limits::default(), &|| html::page(&Shown::look()))
}
