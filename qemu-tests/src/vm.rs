//! A running machine.

mod builder;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use hearth_image::qemu::qmp::Qmp;
use serde_json::json;

pub use builder::Builder;

use crate::agent::{Agent, Output};
use crate::cleanup::{Running, WorkDir};
use crate::drive::Drive;
use crate::http::{self, Response};
use crate::keyboard;
use crate::lab::Lab;
use crate::nbd::{Server, Survivors};
use crate::screen::Screen;
use crate::transcript::Transcript;

/// A machine; dropping it ends it as if its plug were pulled. Use
/// [`Vm::power_cut`] if what was not flushed should be lost too.
#[derive(Debug)]
pub struct Vm<'a> {
    lab: &'a Lab,
    name: String,
    // Before `dir`: QEMU ends before its files go.
    process: Mutex<Running>,
    _tpm: Option<Running>,
    qmp: Qmp,
    serial: Transcript,
    keyboard: Mutex<UnixStream>,
    agent: Agent,
    servers: Mutex<Vec<Server>>,
    forwards: Vec<(u16, u16)>,
    artifacts: PathBuf,
    dir: WorkDir,
}

impl Vm<'_> {
    /// Its serial console.
    pub fn serial(&self) -> &Transcript {
        &self.serial
    }

    /// QEMU's control channel.
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// Waits for `text` on the serial console, after what was waited for before;
    /// gives what came before it. A failure shows the last 40 lines, and keeps a screenshot
    /// and the guest's journal among the artifacts.
    pub fn wait_for_text(&self, text: &str, timeout: Duration) -> Result<String> {
        self.keep(self.serial.wait_for(text, timeout))
    }

    /// Waits for one of `texts`; gives the index of the one that came.
    pub fn wait_for_any(&self, texts: &[&str], timeout: Duration) -> Result<usize> {
        self.keep(self.serial.wait_for_any(texts, timeout).map(|found| found.0))
    }

    /// Types `line` and Enter on the serial console.
    pub fn type_line(&self, line: &str) -> Result<()> {
        self.type_text(&format!("{line}\r"))
    }

    /// Types `text` on the serial console; control characters and escape sequences as they are.
    pub fn type_text(&self, text: &str) -> Result<()> {
        let mut keyboard = self.keyboard.lock().unwrap_or_else(PoisonError::into_inner);
        keyboard.write_all(text.as_bytes()).with_context(|| format!("typing on the console of {}", self.name))
    }

    /// Types `line` and Enter on the keyboard that belongs to the screen, a US keyboard.
    pub fn type_on_screen(&self, line: &str) -> Result<()> {
        line.chars().chain(['\r']).try_for_each(|character| self.press(character))
    }

    /// Presses what gives `character` on the keyboard that belongs to the screen.
    pub fn press(&self, character: char) -> Result<()> {
        self.qmp.run("send-key", json!({"keys": keyboard::keys(character)?, "hold-time": 20})).map(drop)
    }

    /// Waits until the screen shows `text`.
    pub fn wait_for_screen(&self, text: &str, timeout: Duration) -> Result<()> {
        self.wait_for_prompt(text, "", timeout)
    }

    /// Waits until the screen shows `text`, and its last line begins with `prompt`.
    pub fn wait_for_prompt(&self, text: &str, prompt: &str, timeout: Duration) -> Result<()> {
        // What the console holds, a line as long as the screen is wide.
        let script = format!(
            "screen() {{ fold -w \"$(stty -F /dev/tty1 size | cut -d' ' -f2)\" /dev/vcs1; }}\n\
             for i in $(seq {}); do now=$(screen); last=$(echo \"$now\" | grep '[^ ]' | tail -n 1)\n\
             case $now in *'{text}'*) case $last in '{prompt}'*) exit ;; esac ;; esac; sleep 0.3; done; screen; exit 1",
            timeout.as_secs()
        );
        let output = self.root_sh(&script, timeout + Duration::from_secs(60))?;
        let missing = || anyhow!("no `{text}` above a last line `{prompt}` on the screen:\n{}", output.stdout);
        self.keep(if output.code == 0 { Ok(()) } else { Err(missing()) })
    }

    /// Runs `command` as root with `/bin/sh`, as soon as the guest is up that far.
    /// The image needs nothing for this; see [`crate::agent`].
    pub fn root_sh(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.keep(self.agent.run(command, timeout).with_context(|| format!("in machine {}", self.name)))
    }

    /// The host's port on 127.0.0.1 that leads to the guest's TCP port `guest`.
    pub fn port(&self, guest: u16) -> Result<u16> {
        let found = self.forwards.iter().find(|forward| forward.1 == guest);
        found.map(|forward| forward.0).ok_or_else(|| anyhow!("port {guest} of {} is not forwarded", self.name))
    }

    /// Asks the guest's web server on TCP port `port` for `path` as `host`.
    pub fn http_get(&self, port: u16, host: &str, path: &str, timeout: Duration) -> Result<Response> {
        http::get(self.port(port)?, host, path, timeout)
    }

    /// Runs `command` in the guest by SSH; the code is 255 if SSH itself fails.
    pub fn ssh(&self, user: &str, key: &Path, command: &str, timeout: Duration) -> Result<Output> {
        let port = self.port(22)?.to_string();
        let destination = format!("{user}@127.0.0.1");
        let key = key.to_string_lossy();
        let mut args = vec!["-F", "none", "-i", &*key, "-p", &*port];
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=30",
        ] {
            args.extend(["-o", option]);
        }
        args.extend([&*destination, "--", command]);
        self.lab.run("ssh", &args, timeout)
    }

    /// Saves the screen as `NAME.png` among the artifacts and gives its pixels.
    pub fn screenshot(&self, name: &str) -> Result<Screen> {
        self.qmp.screenshot(&self.artifacts.join(format!("{name}.png")))?;
        let pixels = self.dir.join("screen.ppm");
        self.qmp.run("screendump", json!({"filename": pixels}))?;
        Screen::read(&pixels)
    }

    /// Saves the screen as the next page of the lab's album, which is kept whatever becomes of the test.
    pub fn picture(&self, name: &str) -> Result<()> {
        let page = self.dir.join("page.png");
        self.qmp.screenshot(&page)?;
        std::fs::copy(&page, self.lab.album_page(name)?).context("keeping a picture").map(drop)
    }

    /// What QEMU says of the machine: `running`, `paused`, `shutdown` …
    pub fn status(&self) -> Result<String> {
        let answer = self.qmp.run("query-status", json!({}))?;
        Ok(answer["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Plugs a virtio or USB disk in while the machine runs.
    pub fn plug(&self, drive: &Drive) -> Result<()> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = drive.ready(self.lab, &self.dir, 100 + servers.len())?;
        for folder in &ready.folders {
            // QEMU sees the folders it was started with.
            anyhow::ensure!(
                ready.disk.backend.path().starts_with(self.dir.path()),
                "only overlays, empty and served disks can be plugged in, not files of {}",
                folder.display()
            );
        }
        let mut device = ready.disk.device(&mut 6)?;
        if device["driver"] == "virtio-blk-pci" {
            device["bus"] = json!("slot0");
        }
        self.qmp.run("blockdev-add", ready.disk.blockdev())?;
        self.qmp.run("device_add", device)?;
        servers.extend(ready.server);
        Ok(())
    }

    /// Pulls the disk `id` out.
    pub fn unplug(&self, id: &str) -> Result<()> {
        self.qmp.run("device_del", json!({"id": id})).map(drop)
    }

    /// Presses reset.
    pub fn reset(&self) -> Result<()> {
        self.qmp.run("system_reset", json!({})).map(drop)
    }

    /// Presses the power button and waits until the guest has shut down.
    pub fn power_down(self, timeout: Duration) -> Result<()> {
        self.qmp.run("system_powerdown", json!({}))?;
        self.wait_for_end(timeout)
    }

    /// Waits until the guest has switched the machine off.
    pub fn wait_for_end(self, timeout: Duration) -> Result<()> {
        let ended = self.process.lock().unwrap_or_else(PoisonError::into_inner).wait(timeout);
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("QEMU of {} ended with {status}: {}", self.name, self.said()),
            None => {
                let error = anyhow!("{} was not switched off within {} s", self.name, timeout.as_secs());
                self.keep(Err(error))
            }
        }
    }

    /// Pulls the plug: every served disk loses what was not flushed but for
    /// `survivors`, then has power again for the next machine. Gives how many bytes were at stake.
    pub fn power_cut(self, survivors: Survivors) -> u64 {
        let servers = std::mem::take(&mut *self.servers.lock().unwrap_or_else(PoisonError::into_inner));
        // The disks first: nothing that QEMU does while it dies may reach them.
        let at_stake = servers.iter().map(|server| server.cut(survivors)).sum();
        self.process.lock().unwrap_or_else(PoisonError::into_inner).kill();
        for server in servers {
            let disk = server.disk().clone();
            drop(server);
            disk.restore_power();
        }
        at_stake
    }

    /// What QEMU itself said.
    fn said(&self) -> String {
        std::fs::read_to_string(self.artifacts.join("qemu.log")).unwrap_or_default().trim_end().to_owned()
    }

    /// Keeps a screenshot and what the guest says of itself if `result` is a failure. What the
    /// machine itself refuses is kept anyway; this is for a test's own judgement of it.
    pub fn keep<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // The failure matters, not whether the machine could still tell more.
            let _ = self.qmp.screenshot(&self.artifacts.join("failure.png"));
            let command = "systemctl list-jobs --no-pager; systemctl --failed --no-pager; journalctl -b --no-pager";
            if let Some(Ok(output)) = self.agent.is_up().then(|| self.agent.run(command, self.lab.patience(10))) {
                let _ = std::fs::write(self.artifacts.join("journal.txt"), output.stdout);
            }
        }
        result
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        if self.process.get_mut().unwrap_or_else(PoisonError::into_inner).ended().is_none() {
            let _ = self.qmp.screenshot(&self.artifacts.join("last.png"));
        }
    }
}
