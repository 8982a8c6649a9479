//! The command line of a QEMU machine, built from plain values, so that
//! `hearth-image boot` and the tests start the same machine and a golden test
//! can read it. Nothing here starts a process; what a target's machine is made
//! of (`firmware/<target>/qemu.toml`) is data, read and checked by [`Target`].

pub mod accel;
mod args;
pub mod base64;
pub mod disk;
pub mod qmp;
mod target;

use std::path::PathBuf;

use hearth::units::Bytes;
use uuid::Uuid;

pub use args::arguments;
pub use disk::{Backend, Bus, Disk, Refusal};
pub use target::{FirmwareFiles, Target};

/// How the machine starts its operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Firmware {
    /// UEFI without Secure Boot.
    #[default]
    Uefi,
    /// UEFI that runs only what Microsoft's keys vouch for.
    SecureBoot,
    /// A PC BIOS.
    Bios,
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The kernel's virtualisation. Only after it was proved to work: `/dev/kvm` alone proves nothing.
    Kvm,
    /// QEMU's translator: slow, works anywhere.
    Tcg,
}

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How it starts.
    pub firmware: Firmware,
    /// What runs it.
    pub accel: Accel,
    /// Its memory.
    pub memory: Bytes,
    /// Its processors.
    pub cpus: u32,
    /// Its own writable copy of the firmware's variables; needed unless it starts by BIOS.
    pub variables: Option<PathBuf>,
    /// Its disks, in the order they are attached.
    pub disks: Vec<Disk>,
    /// Its network cards.
    pub nics: Vec<Nic>,
    /// What its SMBIOS tables say.
    pub smbios: Smbios,
    /// Its serial ports, from ttyS0 on.
    pub serials: Vec<Serial>,
    /// Virtio ports: the guest sees `/dev/virtio-ports/NAME`, the host a Unix socket QEMU listens on.
    pub ports: Vec<(String, PathBuf)>,
    /// Its TPM 2.0: the Unix socket on which `swtpm` lets QEMU control one.
    pub tpm: Option<PathBuf>,
    /// Where its picture goes.
    pub display: Display,
    /// The size of its screen in pixels, if it matters.
    pub screen: Option<(u32, u32)>,
    /// The Unix socket that QMP listens on.
    pub qmp: Option<PathBuf>,
    /// Wait for QMP's `cont` before the first instruction, so that no output can be missed.
    pub paused: bool,
}

/// Where a serial port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// A Unix socket QEMU listens on.
    Socket(PathBuf),
    /// The terminal QEMU was started on; Ctrl-A X ends QEMU, Ctrl-C goes to the guest.
    Terminal,
    /// Nowhere.
    Nowhere,
}

/// Where the picture goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Nowhere; QMP can still take screenshots.
    None,
    /// A VNC server on 127.0.0.1, at this port or one of the next 99 that is free. Other users of the
    /// computer reach it too: it lets nobody in until QMP's `set_password` gives it a password.
    Vnc(u16),
}

/// A network card.
#[derive(Clone, Debug)]
pub enum Nic {
    /// QEMU's own small network: the guest reaches out, nothing reaches in but the forwarded ports.
    User {
        /// Guest TCP ports. The host's end is a free port on 127.0.0.1; ask [`qmp::Qmp::forwards`] which.
        forwards: Vec<u16>,
        /// Keep the guest from reaching anything.
        isolated: bool,
    },
    /// A wire: a Unix socket that frames go through, each after its length as 32 bits, big-endian.
    Wire {
        /// Of the socket a hub listens on.
        socket: PathBuf,
        /// The card's hardware address.
        mac: String,
    },
}

/// What the machine says about itself to the guest.
#[derive(Clone, Debug, Default)]
pub struct Smbios {
    /// The product UUID.
    pub uuid: Option<Uuid>,
    /// The product's serial number.
    pub serial: Option<String>,
    /// systemd's credentials, by name.
    pub credentials: Vec<(String, Vec<u8>)>,
}

impl Machine {
    /// A machine as `target` describes it, without disks, cards or serial ports.
    pub fn new(target: &Target, firmware: Firmware, accel: Accel) -> Self {
        Self {
            firmware,
            accel,
            memory: Bytes::mib(target.memory_mib),
            cpus: target.cpus,
            variables: None,
            disks: Vec::new(),
            nics: Vec::new(),
            smbios: Smbios::default(),
            serials: Vec::new(),
            ports: Vec::new(),
            tpm: None,
            display: Display::None,
            screen: None,
            qmp: None,
            paused: false,
        }
    }
}
