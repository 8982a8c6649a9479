//! A virtual disk: on which bus, with which sectors, backed by what.

use std::path::{Path, PathBuf};

use hearth::units::SectorSize;
use serde_json::{Value, json};

/// How a disk is connected; the guest's driver and device name follow from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// `/dev/vdX`.
    #[default]
    Virtio,
    /// `/dev/sdX` by AHCI: at most six, 512-byte sectors only.
    Sata,
    /// `/dev/nvmeXn1`.
    Nvme,
    /// `/dev/sdX`, a removable stick on USB 3.
    Usb,
}

/// What holds a disk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A raw file, written to.
    Raw(PathBuf),
    /// A `qcow2` file, written to; the file it is based on is not.
    Qcow2(PathBuf),
    /// An NBD server's Unix socket.
    Nbd(PathBuf),
}

impl Backend {
    /// The file or socket.
    pub fn path(&self) -> &Path {
        match self {
            Self::Raw(path) | Self::Qcow2(path) | Self::Nbd(path) => path,
        }
    }
}

/// A virtual disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Names it to QEMU, for unplugging: letters, digits, `-`.
    pub id: String,
    /// How it is connected.
    pub bus: Bus,
    /// What holds it.
    pub backend: Backend,
    /// The serial number it shows; an `nvme` disk cannot do without, its `id` stands in.
    pub serial: Option<String>,
    /// The size of its logical sectors.
    pub sector_size: SectorSize,
    /// Its place in the firmware's boot order, lowest first; none: not booted from.
    pub boot_index: Option<u32>,
    /// What is on it is thrown away in the end, so the host need not make it durable.
    pub throw_away: bool,
}

/// Why a machine cannot be built like this.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// AHCI in QEMU knows 512-byte sectors only.
    #[error("disk `{0}`: a SATA disk in QEMU has 512-byte sectors; use NVMe, virtio or USB for 4096")]
    SataSectors(String),
    /// The board has six ports.
    #[error("disk `{0}`: the machine has six SATA ports and they are taken")]
    SataPorts(String),
    /// Sector sizes in use are 512 and 4096.
    #[error("disk `{0}`: a sector has 512 or 4096 bytes, not {1}")]
    SectorSize(String, u32),
    /// Two disks with one id.
    #[error("two disks are called `{0}`")]
    DuplicateId(String),
    /// UEFI needs a writable copy of its variables.
    #[error("a machine that starts by UEFI needs its own copy of the variables file")]
    NoVariables,
}

impl Refusal {
    /// A stable name for scripts and tests.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SataSectors(_) => "sata-sector-size",
            Self::SataPorts(_) => "sata-ports",
            Self::SectorSize(..) => "sector-size",
            Self::DuplicateId(_) => "duplicate-disk-id",
            Self::NoVariables => "no-variables",
        }
    }
}

impl Disk {
    /// A virtio disk with 512-byte sectors that is not booted from.
    pub fn new(id: impl Into<String>, backend: Backend) -> Self {
        let sector_size = SectorSize(512);
        let id = id.into();
        Self { id, bus: Bus::Virtio, backend, serial: None, sector_size, boot_index: None, throw_away: false }
    }

    /// QEMU's description of the backend: the value of `-blockdev`, or QMP's `blockdev-add`.
    pub fn blockdev(&self) -> Value {
        let mut node = match &self.backend {
            Backend::Raw(path) => json!({"driver": "raw", "file": {"driver": "file", "filename": path}}),
            Backend::Qcow2(path) => json!({"driver": "qcow2", "file": {"driver": "file", "filename": path}}),
            Backend::Nbd(path) => json!({"driver": "nbd", "server": {"type": "unix", "path": path}}),
        };
        node["node-name"] = json!(self.node());
        node["discard"] = json!("unmap");
        if self.throw_away {
            node["cache"] = json!({"no-flush": true});
        }
        node
    }

    /// The name of the backend's block node.
    pub fn node(&self) -> String {
        format!("{}-node", self.id)
    }

    /// QEMU's description of the device: the value of `-device`, or QMP's `device_add`.
    /// `sata_port` is the next free port; it moves on when this disk takes it.
    pub fn device(&self, sata_port: &mut u32) -> Result<Value, Refusal> {
        let sector = self.sector_size.0;
        if sector != 512 && sector != 4096 {
            return Err(Refusal::SectorSize(self.id.clone(), sector));
        }
        let mut device = match self.bus {
            Bus::Virtio => json!({"driver": "virtio-blk-pci"}),
            Bus::Nvme => json!({"driver": "nvme"}),
            Bus::Usb => json!({"driver": "usb-storage", "bus": "xhci.0", "removable": true}),
            Bus::Sata => {
                if sector != 512 {
                    return Err(Refusal::SataSectors(self.id.clone()));
                }
                if *sata_port >= 6 {
                    return Err(Refusal::SataPorts(self.id.clone()));
                }
                *sata_port += 1;
                json!({"driver": "ide-hd", "bus": format!("ide.{}", *sata_port - 1)})
            }
        };
        device["id"] = json!(self.id);
        device["drive"] = json!(self.node());
        let stand_in = (self.bus == Bus::Nvme).then(|| self.id.clone());
        if let Some(serial) = self.serial.clone().or(stand_in) {
            device["serial"] = json!(serial);
        }
        if sector != 512 {
            device["logical_block_size"] = json!(sector);
            device["physical_block_size"] = json!(sector);
        }
        if let Some(index) = self.boot_index {
            device["bootindex"] = json!(index);
        }
        Ok(device)
    }
}
