//! Assembles the disk image: the base layer with the overlay laid over it, the
//! two FAT partitions, GRUB's core and the partition table, each written straight
//! to its place in one sparse file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::bootchain;
use hearth::layout::{ESP_LABEL, HEARTH_LABEL, Part, derived_id};
use hearth::manifest::{DiskImage, MEDIUM_FILE};
use hearth::run::Cmd;
use hearth::units::{Bytes, SectorSize};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use uuid::Uuid;

use crate::base::Base;
use crate::hashing::Copied;
use crate::interrupt::Scratch;
use crate::layer::Layer;
use crate::layout::Layout;
use crate::sandbox::Sandbox;
use crate::sparse::{self, Extent};
use crate::tools::Tools;
use crate::{debugfs, ext4};

/// What goes into an image.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The base layer.
    pub base: &'a Base,
    /// What lies over it.
    pub layer: &'a Layer,
    /// The target's folder: `boot/` and `hearth-partition/`.
    pub target: PathBuf,
    /// Where everything goes.
    pub layout: &'a Layout,
    /// The image's id.
    pub image_id: Uuid,
    /// The time stamp of every file, in seconds since 1970.
    pub epoch: u64,
}

/// Begins the image at `file` with the base layer, `before` bytes from the start: nothing
/// else need be known yet.
pub fn begin(base: &Base, before: Bytes, file: &Path) -> Result<()> {
    let image = File::create(file).with_context(|| format!("creating {}", file.display()))?;
    let path = base.root_image();
    let from = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    // A file that grows with each write takes twice as long.
    image.set_len((before + base.facts.root_size).0).with_context(|| format!("sizing {}", file.display()))?;
    sparse::copy(&from, &image, before)
}

/// An image that is complete but for `HEARTH`, which tells of all the rest.
#[derive(Debug)]
pub struct Assembled<'a> {
    work: Work<'a>,
    /// The runs of it that belong to nothing.
    pub free: Vec<Extent>,
    edited: Vec<Extent>,
}

/// Puts everything but `HEARTH` into the image begun at `file`.
pub fn assemble<'a>(tools: &Tools, parts: &'a Parts<'a>, file: &'a Path) -> Result<Assembled<'a>> {
    let image = File::options().read(true).write(true).open(file);
    let image = image.with_context(|| format!("opening {}", file.display()))?;
    image.set_len(parts.layout.size.0).with_context(|| format!("sizing {}", file.display()))?;
    let scratch = Scratch::new()?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let sandbox = tools.sandbox()?.bind(scratch.path()).bind(folder).bind(&parts.base.dir);
    let work = Work { parts, scratch, sandbox, file, image };
    let edited = std::thread::scope(|scope| {
        let small = scope.spawn(|| work.small_parts());
        let edited = work.root();
        small.join().map_err(|_| anyhow::anyhow!("assembling the boot partitions panicked"))??;
        edited
    })?;
    let free = ext4::free_extents(&work.image, parts.layout.offset(Part::RootA))?;
    let (head, tail) = parts.layout.table()?;
    // The MBR's first 440 bytes are GRUB's; the table's own begin behind them.
    sparse::put(&work.image, &head[bootchain::MBR_CODE..], Bytes(bootchain::MBR_CODE as u64))?;
    sparse::put(&work.image, &tail, parts.layout.size.saturating_sub(Bytes(tail.len() as u64)))?;
    Ok(Assembled { work, free, edited })
}

impl Assembled<'_> {
    /// What of the image is known from the base layer.
    pub fn copied(&self) -> Copied<'_> {
        let parts = self.work.parts;
        Copied { start: parts.layout.offset(Part::RootA), digests: &parts.base.facts.chunks, edited: &self.edited }
    }

    /// Has the disk hold all of the image, so that not even a power cut leaves less under its final name.
    pub fn write_out(&self) -> Result<()> {
        self.work.image.sync_data().context("writing out the image")
    }

    /// Puts `HEARTH` into the image, with `list` as a file beside the target's own.
    pub fn add_hearth(&self, list: &DiskImage) -> Result<()> {
        let text = serde_json::to_string(list).context("writing what HEARTH says of the disk")? + "\n";
        let path = self.work.dir().join(MEDIUM_FILE);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        set_times(&path, self.work.parts.epoch)?;
        self.work.fill(Part::Hearth, &[path])?;
        self.work.put(Part::Hearth)
    }
}

#[derive(Debug)]
struct Work<'a> {
    parts: &'a Parts<'a>,
    scratch: Scratch,
    sandbox: Sandbox,
    file: &'a Path,
    image: File,
}

impl Work<'_> {
    fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A tool that does not wait for the disk: each would have the whole image written out,
    /// although the next changes it again. libeatmydata answers for `fsync`.
    fn tool(&self, program: &str) -> std::process::Command {
        let mut command = self.sandbox.command("env");
        command.args(["LD_PRELOAD=libeatmydata.so", program]);
        command.env("SOURCE_DATE_EPOCH", self.parts.epoch.to_string()).env("TZ", "UTC");
        command
    }

    /// The image as e2fsprogs' programs are told of the file system inside it.
    fn device(&self) -> String {
        format!("{}?offset={}", self.file.display(), self.parts.layout.offset(Part::RootA).0)
    }

    /// Lays the overlay over the base layer; returns what of the image was written to.
    fn root(&self) -> Result<Vec<Extent>> {
        let staged = self.dir().join("overlay");
        fs::create_dir(&staged).context("making the overlay's scratch folder")?;
        let script = self.dir().join("overlay.debugfs");
        fs::write(&script, self.parts.layer.script(&self.parts.base.facts.paths, &staged, &staged)?)
            .context("writing the overlay's script")?;
        let undo = self.dir().join("overlay.e2undo");
        let mut edit = self.tool("debugfs");
        edit.arg("-z").arg(&undo);
        debugfs::run(edit, &script, &self.device())?;
        let start = self.parts.layout.offset(Part::RootA);
        let block = ext4::block_size(&self.image, start)?;
        let written = debugfs::written(self.tool("e2undo"), &undo, self.file, block)?;
        let superblock = Extent { start: Bytes::ZERO, end: block };
        let in_image = |extent: Extent| Extent { start: start + extent.start, end: start + extent.end };
        Ok([superblock].into_iter().chain(written).map(in_image).collect())
    }

    fn small_parts(&self) -> Result<()> {
        self.boot_code()?;
        let boot = self.parts.base.dir.join("boot");
        let esp = self.dir().join("esp");
        for (from, to) in [
            (boot.join("shimx64.efi"), "EFI/BOOT/BOOTX64.EFI"),
            (boot.join("grubx64.efi"), "EFI/BOOT/grubx64.efi"),
            (boot.join("mmx64.efi"), "EFI/BOOT/mmx64.efi"),
            (self.parts.target.join("boot/esp-grub.cfg"), "EFI/debian/grub.cfg"),
        ] {
            stage(&from, &esp.join(to))?;
        }
        self.format(Part::Esp, ESP_LABEL)?;
        self.fill(Part::Esp, &self.staged(&esp)?)?;
        self.put(Part::Esp)?;
        let hearth = self.dir().join("hearth");
        let source = self.parts.target.join("hearth-partition");
        for entry in fs::read_dir(&source).with_context(|| format!("reading {}", source.display()))? {
            let entry = entry?;
            stage(&entry.path(), &hearth.join(entry.file_name()))?;
        }
        self.format(Part::Hearth, HEARTH_LABEL)?;
        self.fill(Part::Hearth, &self.staged(&hearth)?)
    }

    /// GRUB for BIOS: its core in the first partition, the code that finds it in the MBR.
    fn boot_code(&self) -> Result<()> {
        let core = self.dir().join("core.img");
        let modules = self.parts.base.dir.join("boot/i386-pc");
        let config = self.dir().join("bios-core.cfg");
        fs::copy(self.parts.target.join("boot/bios-core.cfg"), &config)
            .context("taking the BIOS core's configuration")?;
        Cmd::from_command("making GRUB's BIOS core", self.tool("grub-mkimage"))
            .args(bootchain::grub_mkimage_args(&modules, &config, &core))
            .run()?;
        let start = hearth::units::Sector::at(self.parts.layout.offset(Part::Bios), SectorSize::IMAGE);
        let core = fs::read(&core).context("reading GRUB's core")?;
        let boot = fs::read(modules.join("boot.img")).context("reading GRUB's boot.img")?;
        let made = bootchain::bios_boot_images(&boot, &core, start)?;
        sparse::put(&self.image, &made.mbr_code, Bytes::ZERO)?;
        sparse::put(&self.image, &made.core, self.parts.layout.offset(Part::Bios))
    }

    /// The file system for `part`, before it is put into the image.
    fn fat(&self, part: Part) -> PathBuf {
        self.dir().join(format!("{}.fat", part.name()))
    }

    /// Makes a FAT32 file system, the same bytes every time.
    fn format(&self, part: Part, label: &str) -> Result<()> {
        let file = self.fat(part);
        let made = File::create(&file).with_context(|| format!("creating {}", file.display()))?;
        made.set_len(self.parts.layout.size_of(part).0)?;
        let id = &derived_id(self.parts.image_id, label).simple().to_string()[..8];
        Cmd::from_command(format!("making the {label} file system"), self.tool("mkfs.fat"))
            .args(["--invariant", "-F", "32", "-s", "1", "-i", id, "-n", label])
            .arg(&file)
            .run()
    }

    /// What lies in the folder `from`, in a fixed order and with the time of all files.
    fn staged(&self, from: &Path) -> Result<Vec<PathBuf>> {
        set_times(from, self.parts.epoch)?;
        let mut paths: Vec<PathBuf> =
            fs::read_dir(from)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.sort();
        Ok(paths)
    }

    /// Copies files and folders to the top of the file system for `part`.
    fn fill(&self, part: Part, paths: &[PathBuf]) -> Result<()> {
        Cmd::from_command(format!("filling the {} file system", part.name()), self.tool("mcopy"))
            .args(["-s", "-p", "-m", "-Q", "-i"])
            .arg(self.fat(part))
            .args(paths)
            .arg("::/")
            .run()
    }

    fn put(&self, part: Part) -> Result<()> {
        sparse::copy(&File::open(self.fat(part))?, &self.image, self.parts.layout.offset(part))
    }
}

fn stage(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display())).map(drop)
}

fn set_times(path: &Path, epoch: u64) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), epoch)?;
        }
    }
    let time = TimeSpec::new(i64::try_from(epoch)?, 0);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::FollowSymlink)
        .with_context(|| format!("setting the time of {}", path.display()))
}
