//! `hearth-image flash` against broken disks and broken images: each defect is found, told with
//! its place, and leaves a disk that starts nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::exit::Exit;
use hearth::manifest::{ChunkClass, Manifest};
use hearth::units::Bytes;
use hearth_qemu_tests::flashed::{has_no_table, make_used};
use hearth_qemu_tests::nbd::{Beyond, Disk, Fault, Op};
use hearth_qemu_tests::workstation::{IMAGE, MANIFEST, PROGRAM, Workstation};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};

const SIZE: Bytes = Bytes::gib(4);

/// Counterfeit disks keep so much: what comes later is lost, or lands on what came first.
const FORGETS_FROM: Bytes = Bytes::mib(300);
const WRAPS_AT: Bytes = Bytes::mib(512);

#[test]
fn defects_are_found_and_leave_a_disk_that_starts_nothing() {
    scenario("flash-faults", Duration::from_secs(400), |lab| {
        let station = lab.step("the workstation's disk", || Workstation::make(lab))?;
        let disk = Disk::empty(SIZE.0)?;
        make_used(&disk, &station.manifest)?;
        let forgets = Disk::lying(FORGETS_FROM.0, SIZE.0, Beyond::Vanishes)?;
        let wraps = Disk::lying(WRAPS_AT.0, SIZE.0, Beyond::Wraps)?;
        let vm = lab
            .vm("main")
            .drive(Drive::overlay(&station.image).bus(Bus::Usb).serial("STICK").boots(0))
            .drive(station.drive())
            .drive(Drive::served(&disk).serial("DISK"))
            .drive(Drive::served(&forgets).serial("FORGETS"))
            .drive(Drive::served(&wraps).serial("WRAPS"))
            .start()?;
        lab.step("started from a stick", || station.mount(lab, &vm))?;
        // A place in the middle of a chunk of data, and one that begins a sector.
        let at = data_chunk(&station.manifest, Bytes::mib(200))?.0 + 12_345;
        let sector = at / 512 * 512;
        let bench = Bench { lab, vm: &vm };
        // What is there already is not written, so each time something else must be there.
        let broken = |fault| {
            make_used(&disk, &station.manifest)?;
            disk.add_fault(fault);
            Ok::<_, anyhow::Error>(())
        };

        lab.step("a bit that flips when it is read", || {
            broken(Fault::Flip { offset: at, bit: 4 })?;
            let byte = image_byte(&station, at)?;
            let told = format!("at byte {at} it has 0x{:02x} instead of 0x{byte:02x}", byte ^ 0x10);
            bench.fails(&disk, &format!("{IMAGE} {}", to("DISK")), Exit::Mismatch, &told)
        })?;
        lab.step("a sector that cannot be written", || {
            broken(Fault::Error(Op::Write, sector..sector + 512))?;
            let told = format!("writing to the disk at byte {sector}");
            bench.fails(&disk, &format!("{IMAGE} {}", to("DISK")), Exit::Io, &told)
        })?;
        lab.step("a sector that cannot be read", || {
            broken(Fault::Error(Op::Read, sector..sector + 512))?;
            let told = format!("reading back from the disk at byte {sector}");
            bench.fails(&disk, &format!("{IMAGE} {}", to("DISK")), Exit::Io, &told)
        })?;

        let packed = "$(stat -c %s /run/workstation/hearth.img.zst)";
        let piped = format!("- {} --manifest {MANIFEST}", to("DISK"));
        lab.step("an image that is cut short", || {
            let source = format!("head -c $(({packed} / 4)) {IMAGE}");
            bench.pipe_fails(&disk, &source, &piped, "the image is cut short: it ends before byte ")
        })?;
        lab.step("a compressed image with a flipped bit", || {
            let place = format!("$(({packed} / 5))");
            let source = flip(IMAGE, &place);
            bench.pipe_fails(&disk, &source, &piped, "the image ")
        })?;
        lab.step("an image with a flipped bit", || {
            // The stick holds the image as it is.
            let source = flip("/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_STICK-0:0", &at.to_string());
            let chunk = Bytes(at).round_down(station.manifest.chunk_size);
            let told =
                format!("the image is damaged: its {} from byte {} are not", station.manifest.chunk_size, chunk.0);
            bench.pipe_fails(&disk, &source, &piped, &told)
        })?;

        for (name, lying) in [("FORGETS", &forgets), ("WRAPS", &wraps)] {
            lab.step(&format!("a disk that lies about its size: {name}, asked"), || {
                let words = format!("{IMAGE} {} --check-capacity", to(name));
                bench.fails(
                    lying,
                    &words,
                    Exit::Mismatch,
                    "the disk says that it has 4.0 GiB, but what is written at byte ",
                )?;
                // Found before the long write.
                let written = Bytes(lying.stats().written);
                ensure!(written < Bytes::mib(8), "{written} were written before it was found out");
                Ok(())
            })?;
            lab.step(&format!("a disk that lies about its size: {name}, not asked"), || {
                bench.fails(lying, &format!("{IMAGE} {}", to(name)), Exit::Mismatch, "smaller than it says")
            })?;
        }
        Ok(())
    });
}

struct Bench<'a> {
    lab: &'a Lab,
    vm: &'a Vm<'a>,
}

impl Bench<'_> {
    /// Flashes, which must fail as said, on a disk whose defects are then repaired.
    fn fails(&self, disk: &Disk, words: &str, exit: Exit, told: &str) -> Result<()> {
        self.shell_fails(disk, &format!("{PROGRAM} flash {words}"), exit, told)
    }

    /// The same with the image from a pipe.
    fn pipe_fails(&self, disk: &Disk, source: &str, words: &str, told: &str) -> Result<()> {
        self.shell_fails(disk, &format!("{source} | {PROGRAM} flash {words}"), Exit::Mismatch, told)
    }

    fn shell_fails(&self, disk: &Disk, command: &str, exit: Exit, told: &str) -> Result<()> {
        // A boot signature and a table, as a disk has that something starts from.
        disk.write(510, &[0x55, 0xaa], true)?;
        disk.write(512, b"EFI PART", true)?;
        let output = self.vm.root_sh(command, self.lab.patience(200))?;
        disk.repair();
        let right = output.code == i32::from(exit.code()) && output.stderr.contains(told);
        self.vm.keep(right.then_some(()).with_context(|| format!("it should fail with `{told}`: {output:?}")))?;
        has_no_table(disk)
    }
}

/// The disk with this serial number, approved.
fn to(serial: &str) -> String {
    format!("/dev/disk/by-id/virtio-{serial} --erase virtio-{serial}")
}

/// A shell command that gives `file` with the lowest bits of the byte at `place` turned.
fn flip(file: &str, place: &str) -> String {
    format!(
        "{{ at={place}; dd if={file} bs=1M count=$at iflag=count_bytes status=none; \
         byte=$(dd if={file} bs=1M skip=$at count=1 iflag=skip_bytes,count_bytes status=none | od -An -tu1); \
         printf \"\\\\$(printf %o $((byte ^ 1)))\"; \
         dd if={file} bs=1M skip=$((at + 1)) iflag=skip_bytes status=none; }}"
    )
}

/// Where the first chunk with data from `from` on begins.
fn data_chunk(manifest: &Manifest, from: Bytes) -> Result<Bytes> {
    let mut chunks =
        manifest.chunks.iter().enumerate().map(|(index, chunk)| (manifest.chunk_size * index as u64, chunk.class));
    let found = chunks.find(|(at, class)| *at >= from && *class == ChunkClass::Data);
    Ok(found.context("an image without data")?.0)
}

fn image_byte(station: &Workstation, at: u64) -> Result<u8> {
    use std::os::unix::fs::FileExt as _;
    let mut byte = [0];
    std::fs::File::open(&station.image)?.read_exact_at(&mut byte, at).context("reading the image")?;
    Ok(byte[0])
}
