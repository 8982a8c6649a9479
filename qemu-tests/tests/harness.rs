//! The harness itself, on the image under test: what other tests rely on.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{facts, wait_for_page};
use hearth_qemu_tests::nbd::{Disk, Survivors};
use hearth_qemu_tests::wire::{Station, Wire};
use hearth_qemu_tests::{Bus, Drive, Firmware, scenario};

const SHARE: Duration = Duration::from_secs(90);

/// Where the file systems below lie in the guest.
const CUT: &str = "/dev/disk/by-id/virtio-CUT";

/// Asks the whole wire by mDNS for the address of `hearth.local` (one question, type A, class IN),
/// waits two seconds for who answers, and prints that in hexadecimal.
const ASK_FOR_HEARTH_LOCAL: &str = "ip route replace 224.0.0.0/4 dev lan0
printf '\\0\\1\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6hearth\\5local\\0\\0\\1\\0\\1' \
    | socat -t 2 - UDP4-DATAGRAM:224.0.0.251:5353 | od -An -v -tx1 | tr -d ' \\n'";

/// Four bytes long, and of the wire's own network.
const HEARTH_LOCAL_IS: &str = "00040a4d00";

#[test]
fn a_power_cut_loses_what_was_not_synced_and_keeps_what_was() {
    scenario("harness-power-cut", SHARE, |lab| {
        let (files, raw) = (Disk::empty(Bytes::gib(1).0)?, Disk::empty(Bytes::mib(16).0)?);
        let start = |name| {
            let vm = lab.vm(name).firmware(Firmware::Bios).boot_image()?;
            vm.drive(Drive::served(&files).serial("CUT")).drive(Drive::served(&raw).serial("RAW")).start()
        };
        let vm = start("cut")?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
        let mount = format!("mkdir -p /run/cut; until [ -b {CUT} ]; do sleep 0.5; done; mount {CUT} /run/cut");
        sh(&format!("until [ -b {CUT} ]; do sleep 0.5; done; mkfs.ext4 -q {CUT}; {mount}"))?;
        sh("echo kept > /run/cut/kept; sync; echo lost > /run/cut/lost")?;
        // Past the guest's own cache, to the disk: what killing QEMU alone would leave behind.
        let write = |megabyte: u32, flush| {
            let dd = format!("dd of=/dev/disk/by-id/virtio-RAW bs=4096 seek={} oflag=direct {flush}", megabyte * 256);
            sh(&format!("yes | head -c 4096 | {dd} iflag=fullblock"))
        };
        write(1, "conv=fsync")?;
        write(2, "")?;
        let seen = |disk: &Disk, megabyte| Ok::<_, anyhow::Error>(disk.read(Bytes::mib(megabyte).0, 2)? == b"y\n");
        ensure!(seen(&raw, 1)? && seen(&raw, 2)?, "direct writes did not reach the disk");
        let at_stake = vm.power_cut(Survivors::None);
        ensure!(at_stake >= 4096, "only {at_stake} bytes were unflushed");
        ensure!(seen(&raw, 1)?, "a flushed write was lost");
        ensure!(!seen(&raw, 2)?, "a write that was not flushed was kept");

        let vm = start("after")?;
        let found = vm.root_sh(&format!("{mount}; cat /run/cut/kept; ls /run/cut"), lab.patience(60))?.ok()?;
        ensure!(found.starts_with("kept\n"), "the synced file was lost: {found}");
        ensure!(!found.contains("lost\n"), "the file that was not synced was kept: {found}");
        Ok(())
    });
}

#[test]
fn disks_of_every_kind_a_wire_and_plugging() {
    scenario("harness-hardware", SHARE, |lab| {
        let wire = Wire::new()?;
        let station = lab.step("a station", || Station::start(lab, &wire, "10.77.0.1/24"))?;
        let log = station.serve(
            "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --interface=lan0 \
             --dhcp-range=10.77.0.50,10.77.0.60 --dhcp-leasefile=/tmp/leases --no-ping",
        )?;
        let disk = |bus, serial: &str| Drive::empty(Bytes::gib(1).0).bus(bus).serial(serial);
        let vm = lab
            .vm("main")
            .boot_image()?
            .drive(disk(Bus::Virtio, "VIRTIO1").sector_size(4096))
            .drive(disk(Bus::Sata, "SATA1"))
            .drive(disk(Bus::Nvme, "NVME1").sector_size(4096))
            .drive(Drive::empty(Bytes::gib(4096).0).bus(Bus::Usb).serial("USB1"))
            .product_serial("PRODUCT1")
            .wire(&wire, 1)
            .start()?;
        wait_for_page(lab, &vm)?;
        let product = vm.root_sh("cat /sys/class/dmi/id/product_serial", lab.patience(20))?.ok()?;
        ensure!(product == "PRODUCT1", "the machine calls itself {product}");

        let sector = |serial: &str| {
            let disks = facts(lab, &vm)?.disks;
            let found = disks.into_iter().find(|disk| disk.serial.as_deref() == Some(serial));
            Ok::<_, anyhow::Error>(found.map(|disk| disk.logical_sector.0))
        };
        for (serial, bytes) in [("VIRTIO1", 4096), ("SATA1", 512), ("NVME1", 4096), ("USB1", 512)] {
            let seen = sector(serial)?;
            ensure!(seen == Some(bytes), "the guest sees {serial} with sectors of {seen:?}");
        }
        let until = |what: &str, done: &dyn Fn() -> Result<bool>| {
            let deadline = Instant::now() + lab.patience(20);
            while !done()? {
                if Instant::now() >= deadline {
                    bail!("{what}: not within {} s", lab.patience(20).as_secs());
                }
            }
            Ok(())
        };
        lab.step("plugged in", || {
            vm.plug(&disk(Bus::Usb, "PLUGGED1").id("stick"))?;
            until("a plugged disk is seen", &|| Ok(sector("PLUGGED1")?.is_some()))
        })?;
        lab.step("pulled out", || {
            vm.unplug("stick")?;
            until("a pulled disk is gone", &|| Ok(sector("PLUGGED1")?.is_none()))
        })?;
        lab.step("an address on the wire", || {
            until("the wire's DHCP server is heard", &|| {
                let nics = facts(lab, &vm)?.nics;
                Ok(nics.iter().flat_map(|nic| &nic.addresses).any(|a| a.ip.to_string().starts_with("10.77.0.")))
            })
        })
        .map_err(|error| error.context(std::fs::read_to_string(&log).unwrap_or_default()))?;
        lab.step("hearth.local", || {
            until("a neighbour hears where hearth.local is", &|| {
                let heard = station.sh(ASK_FOR_HEARTH_LOCAL, lab.patience(10))?.ok()?;
                Ok(heard.contains(HEARTH_LOCAL_IS))
            })
        })
    });
}
