//! From a [`Machine`] to QEMU's arguments.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::base64::encode;
use super::{Accel, Display, Firmware, Machine, Nic, Refusal, Serial, Smbios, Target};

/// The arguments for `target.program`, in a fixed order.
pub fn arguments(target: &Target, machine: &Machine) -> Result<Vec<String>, Refusal> {
    let mut args = Args(Vec::new());
    args.board(target, machine)?;
    args.consoles(target, machine);
    args.disks(machine)?;
    for (number, nic) in machine.nics.iter().enumerate() {
        args.nic(target, number, nic);
    }
    args.smbios(&machine.smbios);
    Ok(args.0)
}

struct Args(Vec<String>);

impl Args {
    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    fn json(&mut self, option: &str, value: &Value) {
        self.pair(option, value.to_string());
    }

    fn board(&mut self, target: &Target, machine: &Machine) -> Result<(), Refusal> {
        self.0.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
        let secure = machine.firmware == Firmware::SecureBoot;
        // Secure Boot's keys are only safe from the guest where the firmware runs in system management mode.
        self.pair("-machine", format!("{}{}", target.machine, if secure { ",smm=on" } else { "" }));
        match machine.accel {
            Accel::Kvm => self.0.extend(["-accel", "kvm", "-cpu", "host"].map(str::to_owned)),
            Accel::Tcg => self.0.extend(["-accel", "tcg,thread=multi", "-cpu", "max"].map(str::to_owned)),
        }
        self.pair("-smp", machine.cpus.to_string());
        self.pair("-m", format!("{}M", machine.memory.0 >> 20));
        self.pair("-rtc", "base=utc");
        // Only disks with a boot index are booted from, so a decoy never is.
        self.pair("-boot", "strict=on");
        if machine.paused {
            self.0.push("-S".to_owned());
        }
        if let Some(files) = target.files(machine.firmware) {
            let variables = machine.variables.as_ref().ok_or(Refusal::NoVariables)?;
            self.json("-blockdev", &flash("code", &files.code, true));
            self.json("-blockdev", &flash("variables", variables, false));
            self.pair("-machine", "pflash0=code,pflash1=variables");
            if secure {
                self.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
            }
        }
        Ok(())
    }

    fn consoles(&mut self, target: &Target, machine: &Machine) {
        let mut card = json!({"driver": target.display});
        if let Some((width, height)) = machine.screen {
            card["edid"] = json!(true);
            card["xres"] = json!(width);
            card["yres"] = json!(height);
            card["vgamem_mb"] = json!(64);
        }
        self.json("-device", &card);
        match machine.display {
            Display::None => self.pair("-display", "none"),
            Display::Vnc(port) => {
                let first = port.saturating_sub(5900);
                self.pair("-display", format!("vnc=127.0.0.1:{first},to=99,password=on"));
            }
        }
        self.pair("-device", "virtio-rng-pci");
        self.pair("-device", "qemu-xhci,id=xhci");
        // Empty PCIe slots, so that a disk can be plugged in while the machine runs.
        for slot in 0..2 {
            self.pair("-device", format!("pcie-root-port,id=slot{slot},chassis={},slot={}", slot + 1, slot + 1));
        }
        for (number, serial) in machine.serials.iter().enumerate() {
            match serial {
                Serial::Socket(path) => {
                    self.pair("-chardev", format!("socket,id=tty{number},path={},server=on,wait=off", comma(path)));
                    self.pair("-serial", format!("chardev:tty{number}"));
                }
                Serial::Terminal => self.pair("-serial", "mon:stdio"),
                Serial::Nowhere => self.pair("-serial", "null"),
            }
        }
        if !machine.ports.is_empty() {
            self.pair("-device", "virtio-serial-pci");
        }
        for (number, (name, path)) in machine.ports.iter().enumerate() {
            self.pair("-chardev", format!("socket,id=port{number},path={},server=on,wait=off", comma(path)));
            self.pair("-device", format!("virtserialport,chardev=port{number},name={name}"));
        }
        if let Some(path) = &machine.tpm {
            self.pair("-chardev", format!("socket,id=tpm,path={}", comma(path)));
            self.pair("-tpmdev", "emulator,id=tpm0,chardev=tpm");
            self.pair("-device", "tpm-tis,tpmdev=tpm0");
        }
        if let Some(path) = &machine.qmp {
            self.pair("-qmp", format!("unix:{},server=on,wait=off", comma(path)));
        }
    }

    fn disks(&mut self, machine: &Machine) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        let mut sata_port = 0;
        for disk in &machine.disks {
            if !seen.insert(&disk.id) {
                return Err(Refusal::DuplicateId(disk.id.clone()));
            }
            let device = disk.device(&mut sata_port)?;
            self.json("-blockdev", &disk.blockdev());
            self.json("-device", &device);
        }
        Ok(())
    }

    fn nic(&mut self, target: &Target, number: usize, nic: &Nic) {
        // Without the boot ROM the firmware does not try the network.
        let mut card = json!({"driver": target.network, "id": format!("nic{number}"), "netdev": format!("net{number}"), "romfile": ""});
        match nic {
            Nic::User { forwards, isolated } => {
                let restrict = if *isolated { ",restrict=on" } else { "" };
                let forwards: String =
                    forwards.iter().map(|port| format!(",hostfwd=tcp:127.0.0.1:0-:{port}")).collect();
                self.pair("-netdev", format!("user,id=net{number}{restrict}{forwards}"));
            }
            Nic::Wire { socket, mac } => {
                let path = comma(socket);
                self.pair("-netdev", format!("stream,id=net{number},server=off,addr.type=unix,addr.path={path}"));
                card["mac"] = json!(mac);
            }
        }
        self.json("-device", &card);
    }

    fn smbios(&mut self, smbios: &Smbios) {
        let mut product = String::new();
        if let Some(uuid) = smbios.uuid {
            product += &format!(",uuid={uuid}");
        }
        if let Some(serial) = &smbios.serial {
            product += &format!(",serial={}", serial.replace(',', ",,"));
        }
        if !product.is_empty() {
            self.pair("-smbios", format!("type=1{product}"));
        }
        for (name, value) in &smbios.credentials {
            let value = encode(value);
            self.pair("-smbios", format!("type=11,value=io.systemd.credential.binary:{name}={value}"));
        }
    }
}

fn flash(node: &str, path: &Path, read_only: bool) -> Value {
    let file = json!({"driver": "file", "filename": path});
    json!({"driver": "raw", "node-name": node, "read-only": read_only, "file": file})
}

/// A path as a value in a comma-separated option.
fn comma(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests;
