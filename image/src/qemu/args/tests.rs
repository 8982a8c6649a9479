//! Golden tests: the whole command line a firmware gets, and the part a bus gets.

use std::path::PathBuf;

use hearth::units::SectorSize;

use super::*;
use crate::qemu::{Backend, Bus, Disk};

fn target() -> Target {
    Target::parse(include_str!("../../../../firmware/amd64/qemu.toml"), "qemu.toml").unwrap()
}

fn machine(firmware: Firmware) -> Machine {
    let mut machine = Machine::new(&target(), firmware, Accel::Tcg);
    machine.variables = Some(PathBuf::from("/run/x/vars.fd"));
    machine
}

fn line(machine: &Machine) -> String {
    arguments(&target(), machine).unwrap().join(" ")
}

const HEAD: &str = "-accel tcg,thread=multi -cpu max -smp 2 -m 2048M -rtc base=utc -boot strict=on";
const TAIL: &str = "-device {\"driver\":\"VGA\"} -display none -device virtio-rng-pci -device qemu-xhci,id=xhci \
    -device pcie-root-port,id=slot0,chassis=1,slot=1 -device pcie-root-port,id=slot1,chassis=2,slot=2";

fn flash_args(code: &str) -> String {
    format!(
        r#"-blockdev {{"driver":"raw","file":{{"driver":"file","filename":"/usr/share/OVMF/{code}"}},"node-name":"code","read-only":true}} -blockdev {{"driver":"raw","file":{{"driver":"file","filename":"/run/x/vars.fd"}},"node-name":"variables","read-only":false}} -machine pflash0=code,pflash1=variables"#
    )
}

#[test]
fn bios() {
    let expected = format!("-nodefaults -no-user-config -machine q35 {HEAD} {TAIL}");
    assert_eq!(line(&machine(Firmware::Bios)), expected);
}

#[test]
fn uefi() {
    let flash = flash_args("OVMF_CODE_4M.fd");
    let expected = format!("-nodefaults -no-user-config -machine q35 {HEAD} {flash} {TAIL}");
    assert_eq!(line(&machine(Firmware::Uefi)), expected);
}

#[test]
fn secure_boot() {
    let flash = flash_args("OVMF_CODE_4M.secboot.fd") + " -global driver=cfi.pflash01,property=secure,value=on";
    let expected = format!("-nodefaults -no-user-config -machine q35,smm=on {HEAD} {flash} {TAIL}");
    assert_eq!(line(&machine(Firmware::SecureBoot)), expected);
}

#[test]
fn a_tpm_is_controlled_by_its_socket() {
    let mut machine = machine(Firmware::Bios);
    machine.tpm = Some(PathBuf::from("/run/x/control"));
    let tpm =
        "-chardev socket,id=tpm,path=/run/x/control -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-tis,tpmdev=tpm0";
    assert!(line(&machine).ends_with(tpm), "{}", line(&machine));
}

#[test]
fn uefi_without_variables_is_refused() {
    let mut machine = machine(Firmware::Uefi);
    machine.variables = None;
    assert_eq!(arguments(&target(), &machine).unwrap_err().code(), "no-variables");
}

fn disk(bus: Bus) -> Disk {
    let mut disk = Disk::new("d1", Backend::Raw("/a,b.img".into()));
    disk.bus = bus;
    disk
}

#[test]
fn a_disk_on_every_bus() {
    let device = |disk: &Disk| disk.device(&mut 2).unwrap().to_string();
    let mut virtio = disk(Bus::Virtio);
    virtio.serial = Some("S1".into());
    virtio.boot_index = Some(0);
    assert_eq!(
        device(&virtio),
        r#"{"bootindex":0,"drive":"d1-node","driver":"virtio-blk-pci","id":"d1","serial":"S1"}"#
    );
    assert_eq!(device(&disk(Bus::Sata)), r#"{"bus":"ide.2","drive":"d1-node","driver":"ide-hd","id":"d1"}"#);
    let mut nvme = disk(Bus::Nvme);
    nvme.sector_size = SectorSize(4096);
    assert_eq!(
        device(&nvme),
        r#"{"drive":"d1-node","driver":"nvme","id":"d1","logical_block_size":4096,"physical_block_size":4096,"serial":"d1"}"#
    );
    assert_eq!(
        device(&disk(Bus::Usb)),
        r#"{"bus":"xhci.0","drive":"d1-node","driver":"usb-storage","id":"d1","removable":true}"#
    );
}

#[test]
fn backends() {
    let mut disk = disk(Bus::Virtio);
    assert_eq!(
        disk.blockdev().to_string(),
        r#"{"discard":"unmap","driver":"raw","file":{"driver":"file","filename":"/a,b.img"},"node-name":"d1-node"}"#
    );
    disk.backend = Backend::Nbd("/s".into());
    disk.throw_away = true;
    assert_eq!(
        disk.blockdev().to_string(),
        r#"{"cache":{"no-flush":true},"discard":"unmap","driver":"nbd","node-name":"d1-node","server":{"path":"/s","type":"unix"}}"#
    );
}

#[test]
fn impossible_disks_are_refused() {
    let mut sata = disk(Bus::Sata);
    sata.sector_size = SectorSize(4096);
    assert_eq!(sata.device(&mut 0).unwrap_err().code(), "sata-sector-size");
    assert_eq!(disk(Bus::Sata).device(&mut 6).unwrap_err().code(), "sata-ports");
    let mut odd = disk(Bus::Usb);
    odd.sector_size = SectorSize(520);
    assert_eq!(odd.device(&mut 0).unwrap_err().code(), "sector-size");
    let mut twins = machine(Firmware::Bios);
    twins.disks = vec![disk(Bus::Usb), disk(Bus::Nvme)];
    assert_eq!(arguments(&target(), &twins).unwrap_err().code(), "duplicate-disk-id");
}

#[test]
fn ports_are_forwarded_on_loopback_only() {
    let mut machine = machine(Firmware::Bios);
    machine.nics.push(Nic::User { forwards: vec![22, 80], isolated: true });
    let line = line(&machine);
    assert!(
        line.contains(
            "-netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:80 -device \
             {\"driver\":\"virtio-net-pci\",\"id\":\"nic0\",\"netdev\":\"net0\",\"romfile\":\"\"}"
        ),
        "{line}"
    );
    assert_eq!(line.matches("hostfwd=tcp:").count(), line.matches("hostfwd=tcp:127.0.0.1:").count());
}

#[test]
fn a_window_listens_on_loopback_only_and_asks_for_a_password() {
    let mut machine = machine(Firmware::Bios);
    machine.display = Display::Vnc(5901);
    assert!(line(&machine).contains("-display vnc=127.0.0.1:1,to=99,password=on"));
}

#[test]
fn credentials_may_hold_anything() {
    let mut machine = machine(Firmware::Bios);
    machine.smbios.credentials.push(("hearth.adopt".into(), b"a,b\n".to_vec()));
    machine.smbios.serial = Some("a,b".into());
    assert!(line(&machine).ends_with(
        "-smbios type=1,serial=a,,b -smbios type=11,value=io.systemd.credential.binary:hearth.adopt=YSxiCg=="
    ));
}
