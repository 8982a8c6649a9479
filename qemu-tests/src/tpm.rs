//! A TPM 2.0 that a machine has on its board, made by swtpm: what is sealed with one opens
//! with no other. It keeps what it holds from one start of a machine to the next.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cleanup::{Running, WorkDir};
use crate::lab::Lab;

/// swtpm opens its socket at once, but a busy machine may start it late.
const SOCKET: Duration = Duration::from_secs(60);

/// A TPM; give it to [`crate::vm::Builder::tpm`], to one machine at a time.
#[derive(Debug)]
pub struct Tpm(WorkDir);

impl Tpm {
    /// A new one, which has never been used.
    pub fn new() -> Result<Self> {
        WorkDir::new().map(Self)
    }

    /// Gives it power: its process, and the socket that QEMU controls it by. It ends with QEMU.
    pub(crate) fn power_on(&self, lab: &Lab) -> Result<(Running, PathBuf)> {
        let (folder, socket) = (self.0.path(), self.0.join("control"));
        let _ = std::fs::remove_file(&socket);
        let mut command = lab.tool("swtpm", &[folder])?;
        command.args(["socket", "--tpm2", "--terminate"]);
        command.arg("--tpmstate").arg(format!("dir={}", folder.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", socket.display()));
        let mut running = Running::start(command).context("starting swtpm")?;
        let deadline = Instant::now() + SOCKET;
        while !socket.exists() {
            ensure!(running.ended().is_none() && Instant::now() < deadline, "swtpm opens no socket");
            thread::sleep(Duration::from_millis(20));
        }
        Ok((running, socket))
    }
}
