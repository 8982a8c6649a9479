//! What a machine is made of, and its start.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hearth::units::Bytes;
use hearth_image::qemu::qmp::Qmp;
use hearth_image::qemu::{Firmware, Machine, Nic, Serial, arguments};
use serde_json::json;
use uuid::Uuid;

use super::Vm;
use crate::agent::{self, Agent};
use crate::cleanup::{Running, WorkDir};
use crate::drive::Drive;
use crate::lab::Lab;
use crate::tpm::Tpm;
use crate::transcript::Transcript;
use crate::wire::Wire;

/// QEMU opens its sockets at once, but a busy machine may start it late.
const SOCKETS: Duration = Duration::from_secs(60);

/// A machine to be started; see [`Lab::vm`].
#[derive(Debug)]
pub struct Builder<'a> {
    lab: &'a Lab,
    name: String,
    machine: Machine,
    drives: Vec<Drive>,
    forwards: Vec<u16>,
    isolated: bool,
    wires: Vec<Nic>,
    tpm: Option<&'a Tpm>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(lab: &'a Lab, name: &str) -> Self {
        Self {
            lab,
            name: name.to_owned(),
            machine: Machine::new(lab.target(), Firmware::Uefi, lab.accel()),
            drives: Vec::new(),
            forwards: vec![22, 80, 443],
            isolated: false,
            wires: Vec::new(),
            tpm: None,
        }
    }

    /// Boots from a throw-away overlay of the image under test, on virtio.
    pub fn boot_image(self) -> Result<Self> {
        let image = self.lab.image()?;
        Ok(self.drive(Drive::overlay(image).boots(0)))
    }

    /// Adds a disk.
    #[must_use]
    pub fn drive(mut self, drive: Drive) -> Self {
        self.drives.push(drive);
        self
    }

    /// How it starts; UEFI unless said.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.machine.firmware = firmware;
        self
    }

    /// Its memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.machine.memory = Bytes::mib(mib);
        self
    }

    /// Its processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.machine.cpus = cpus;
        self
    }

    /// The size of its screen in pixels.
    #[must_use]
    pub fn screen(mut self, width: u32, height: u32) -> Self {
        self.machine.screen = Some((width, height));
        self
    }

    /// A systemd credential, passed by SMBIOS.
    #[must_use]
    pub fn credential(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.machine.smbios.credentials.push((name.to_owned(), value.into()));
        self
    }

    /// The TPM on its board.
    #[must_use]
    pub fn tpm(mut self, tpm: &'a Tpm) -> Self {
        self.tpm = Some(tpm);
        self
    }

    /// The product UUID that SMBIOS shows.
    #[must_use]
    pub fn product_uuid(mut self, uuid: Uuid) -> Self {
        self.machine.smbios.uuid = Some(uuid);
        self
    }

    /// The product's serial number that SMBIOS shows.
    #[must_use]
    pub fn product_serial(mut self, serial: &str) -> Self {
        self.machine.smbios.serial = Some(serial.to_owned());
        self
    }

    /// The guest's TCP ports that a free port on 127.0.0.1 leads to; 22, 80 and 443 unless said.
    #[must_use]
    pub fn forward(mut self, ports: &[u16]) -> Self {
        self.forwards = ports.to_vec();
        self
    }

    /// The guest reaches nothing outside; forwarded ports still work.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// A further network card, plugged into `wire`. `mac` ends in this byte: each card of a wire needs its own.
    #[must_use]
    pub fn wire(mut self, wire: &Wire, mac: u8) -> Self {
        let mac = format!("52:54:00:77:00:{mac:02x}");
        self.wires.push(Nic::Wire { socket: wire.socket().to_owned(), mac });
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Vm<'a>> {
        let name = self.name.clone();
        self.start_inner().with_context(|| format!("starting the machine {name}"))
    }

    fn start_inner(&mut self) -> Result<Vm<'a>> {
        let lab = self.lab;
        let dir = WorkDir::new()?;
        let artifacts = lab.artifacts().join(&self.name);
        std::fs::create_dir_all(&artifacts).with_context(|| format!("making {}", artifacts.display()))?;
        let sockets = Sockets::new(&dir);
        let mut folders = vec![dir.path().to_owned(), artifacts.clone()];
        let mut servers = Vec::new();
        for (number, drive) in self.drives.iter().enumerate() {
            let ready = drive.ready(lab, &dir, number)?;
            self.machine.disks.push(ready.disk);
            folders.extend(ready.folders);
            servers.extend(ready.server);
        }
        if let Some(files) = lab.target().files(self.machine.firmware) {
            let template = lab.tree().join(files.variables.strip_prefix("/").unwrap_or(&files.variables));
            let copy = dir.join("variables.fd");
            std::fs::copy(&template, &copy).with_context(|| format!("copying {}", template.display()))?;
            self.machine.variables = Some(copy);
        }
        self.machine.nics.push(Nic::User { forwards: self.forwards.clone(), isolated: self.isolated });
        for nic in &self.wires {
            if let Nic::Wire { socket, .. } = nic {
                folders.extend(socket.parent().map(Path::to_owned));
            }
        }
        self.machine.nics.append(&mut self.wires);
        let tpm = self.tpm.map(|tpm| tpm.power_on(lab)).transpose()?;
        if let Some((_, socket)) = &tpm {
            folders.extend(socket.parent().map(Path::to_owned));
            self.machine.tpm = Some(socket.clone());
        }
        self.machine.serials.push(Serial::Socket(sockets.serial.clone()));
        self.machine.ports.push((agent::PORT.to_owned(), sockets.agent.clone()));
        self.machine.qmp = Some(sockets.qmp.clone());
        self.machine.paused = true;
        self.machine.smbios.credentials.extend(agent::credentials());

        let args = arguments(lab.target(), &self.machine)?;
        let shown: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        let mut command = lab.tool(&lab.target().program, &shown)?;
        let log = artifacts.join("qemu.log");
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let mut process = Running::start(command).context("starting QEMU")?;

        let mut open = |path: &Path| connect(path, &mut process, &log);
        let serial = open(&sockets.serial)?;
        let port = open(&sockets.agent)?;
        let control = open(&sockets.qmp)?;
        let copy = File::create(artifacts.join("serial.txt")).context("making the transcript")?;
        let keyboard = Mutex::new(serial.try_clone()?);
        let serial = Transcript::follow(serial, copy);
        let agent = Agent::new(port.try_clone()?, port);
        let mut went_down = agent.went_down();
        let on_event = move |event: &str| {
            if event == "RESET" {
                went_down();
            }
        };
        let qmp = Qmp::over(control, on_event)?;
        let forwards = qmp.forwards()?;
        qmp.run("cont", json!({}))?;
        Ok(Vm {
            lab,
            name: self.name.clone(),
            process: Mutex::new(process),
            _tpm: tpm.map(|(running, _)| running),
            qmp,
            serial,
            keyboard,
            agent,
            servers: Mutex::new(servers),
            forwards,
            artifacts,
            dir,
        })
    }
}

struct Sockets {
    serial: PathBuf,
    agent: PathBuf,
    qmp: PathBuf,
}

impl Sockets {
    fn new(dir: &WorkDir) -> Self {
        Self { serial: dir.join("serial"), agent: dir.join("agent"), qmp: dir.join("qmp") }
    }
}

/// Connects to a socket that QEMU is about to open.
fn connect(path: &Path, process: &mut Running, log: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + SOCKETS;
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return Ok(socket),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("connecting to QEMU at {}", path.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        if let Some(status) = process.ended() {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("QEMU ended with {status} before it was ready: {}", said.trim_end());
        }
    }
}
