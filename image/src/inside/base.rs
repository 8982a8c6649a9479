//! Makes a base layer, inside the namespaces: packages to a tree, the tree to an
//! ext4 file system with its initramfs, and beside it what the boot chain needs.
//! The work tree lies on a tmpfs that only these processes see.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _, mark_if_full};
use hearth::run::Cmd;
use hearth::units::Bytes;
use nix::fcntl::{FcntlArg, fcntl};

use super::configure::{Configuring, collect_certificates, in_tree};
use super::dpkgdb::{self, Unpacked};
use super::modules::{self, Kept};
use super::needed::Needed;
use super::normalise::normalise;
use super::rootfs::{self, Entry, Packer};
use super::spec::{BaseFacts, BaseSpec, Damaged};
use super::{add_kernel_views, assemble_root, bind, make_private, mount_tmpfs, unpack};
use crate::store::Store;
use crate::{hashing, presets, progress, treecopy};

/// What the disk stage takes from the tree: from, and the name in the output folder.
const BOOT_FILES: [(&str, &str); 3] = [
    ("usr/lib/shim/shimx64.efi.signed", "shimx64.efi"),
    ("usr/lib/shim/mmx64.efi.signed", "mmx64.efi"),
    ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "grubx64.efi"),
];

/// Room for the initramfs, which is made while the file system is: 40 MiB now.
const INITRAMFS_ROOM: Bytes = Bytes::mib(96);

/// Room for what maintainer scripts make, since the file system is begun before they ran:
/// the hardware database and byte code, 40 MiB now.
const SCRIPTS_ROOM: Bytes = Bytes::mib(64);

/// How much of the file system's content waits in the pipe to mke2fs.
const PIPE: i32 = 1 << 20;

struct Place {
    tree: PathBuf,
    tools: PathBuf,
}

/// Does what the work order at `path` says. A damaged package is named in a file,
/// so that the outer half can fetch it again.
pub fn run(path: &Path) -> Result<()> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let spec: BaseSpec = serde_json::from_slice(&text).context("reading the work order")?;
    let outcome = build(&spec).map_err(|error| match error.downcast_ref() {
        // The outer half says it: it will be repaired, so it is no error yet.
        Some(Damaged(digest)) if fs::write(spec.out.join(crate::base::DAMAGED), digest.to_string()).is_ok() => {
            hearth::exit::reported(Exit::Io.code())
        }
        _ => error,
    });
    if spec.work_dir.is_some() {
        // The files are of many owners, so only this namespace can remove them.
        let _ = fs::remove_dir_all(&place(&spec).tree);
    }
    outcome
}

fn build(spec: &BaseSpec) -> Result<()> {
    let place = prepare(spec)?;
    let tree = place.tree.as_path();
    let store = Store::at(&spec.store);

    let step = progress::step("unpacking packages");
    let lists = unpack::unpack_all(&store, &spec.packages, tree)?;
    let mut unpacked = Vec::with_capacity(lists.len());
    for (package, files) in spec.packages.iter().zip(lists) {
        unpacked.push(Unpacked { package, control: unpack::control_members(&store, package)?, files });
    }
    dpkgdb::write(tree, &unpacked)?;
    treecopy::copy(&spec.rootfs, tree, &|_| Ok(true))?;
    step.done(&format!("{} packages", unpacked.len()));

    let step = progress::step("configuring packages, making the initramfs");
    let early = rootfs::list(tree)?;
    let root_size = rootfs::file_system_size(&early, spec.slack + INITRAMFS_ROOM + SCRIPTS_ROOM);
    let early = rootfs::settled(early);
    add_kernel_views(tree)?;
    let kernel = kernel_version(tree)?;
    let needed = Needed::among(&unpacked)?;
    let mut file_system = std::thread::scope(|scope| -> Result<FileSystem<'_>> {
        let beside = scope.spawn(|| -> Result<_> {
            let kept = Kept { dir: &spec.module_indexes, tools: &spec.tools };
            modules::index(tree, &place.tools, &kernel, &unpacked, kept)?;
            Ok(scope.spawn(|| FileSystem::begin(&place, root_size, spec)?.add(&early)))
        });
        let mut configuring = Configuring::begin(tree, &unpacked, spec.epoch)?;
        configuring.first(&needed)?;
        let packing = join(beside)?;
        let initramfs = scope.spawn(|| make_initramfs(&place, &kernel, spec));
        let certificates = scope.spawn(|| collect_certificates(tree, spec.epoch));
        configuring.rest()?;
        join(certificates)?;
        join(initramfs)?;
        join(packing)
    })?;
    dpkgdb::register_hearth(tree, &spec.dpkg_info, &spec.version, &spec.arch)?;
    normalise(tree)?;
    step.done("");

    let step = progress::step("making the root file system");
    let entries = rootfs::list(tree)?;
    if !rootfs::still_there(&early, &entries) {
        progress::note("a maintainer script changed what was packed already; packing it again");
        file_system.abandon()?;
        file_system = FileSystem::begin(&place, root_size, spec)?;
    }
    file_system.add(&entries)?.finish()?;
    add_initramfs(&place, &kernel, spec)?;
    take_boot_files(tree, &spec.out)?;
    for dir in presets::UNIT_DIRS {
        treecopy::copy(&tree.join(dir), &spec.out.join("units").join(dir), &presets::is_about_units)?;
    }
    let mut paths = rootfs::nodes(&entries);
    paths.insert(format!("/boot/initrd.img-{kernel}"), super::spec::Node::File);
    let chunks = hashing::digests(&spec.out.join("root.ext4"))?;
    let facts = BaseFacts { kernel, root_size, chunks, paths };
    let text = serde_json::to_vec(&facts).context("writing base.json")?;
    fs::write(spec.out.join("base.json"), text).context("writing base.json")?;
    step.done(&root_size.to_string());
    Ok(())
}

fn place(spec: &BaseSpec) -> Place {
    Place { tree: spec.mount_point.join("tree"), tools: spec.mount_point.join("tools") }
}

fn prepare(spec: &BaseSpec) -> Result<Place> {
    make_private()?;
    match &spec.work_dir {
        None => mount_tmpfs(&spec.mount_point, 0)?,
        Some(dir) => {
            // What a killed run left there is of owners only this namespace may remove.
            if dir.exists() {
                fs::remove_dir_all(dir)
                    .with_context(|| format!("removing what an earlier run left in {}", dir.display()))?;
            }
            bind_fresh(dir, &spec.mount_point)?;
        }
    }
    let place = place(spec);
    fs::create_dir(&place.tree).context("making the work tree")?;
    fs::create_dir(&place.tools).context("making the tools root")?;
    assemble_root(&spec.tools, &place.tools)?;
    bind(&spec.out, &place.tools.join("out"))?;
    bind(&place.tree, &place.tools.join("tree"))?;
    Ok(place)
}

fn bind_fresh(dir: &Path, at: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    bind(dir, at)
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a worker thread panicked"))?
}

/// A program of the tools tree; it sees the work tree as /tree and the output as /out.
fn tool(place: &Place, spec: &BaseSpec, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(&place.tools).arg(program);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command.env("SOURCE_DATE_EPOCH", spec.epoch.to_string());
    command
}

fn kernel_version(tree: &Path) -> Result<String> {
    let dir = tree.join("usr/lib/modules");
    let entries =
        dir.exists().then(|| fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))).transpose()?;
    let mut found: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    match (found.pop(), found.is_empty()) {
        (Some(kernel), true) => Ok(kernel),
        (None, _) => {
            Err(anyhow!("the packages hold no kernel; the target's packages.toml must name one")).kind(Exit::Input)
        }
        (Some(_), false) => Err(anyhow!("the packages hold several kernels; an image has one")).kind(Exit::Input),
    }
}

fn make_initramfs(place: &Place, kernel: &str, spec: &BaseSpec) -> Result<()> {
    let mut command = in_tree(&place.tree, spec.epoch, "mkinitramfs");
    // Below /run, which is not part of the image.
    command.env("TMPDIR", "/run").args(["-o", "/run/initrd.img", kernel]);
    Cmd::from_command("making the initramfs", command).run()?;
    let made = place.tree.join("run/initrd.img");
    fs::copy(&made, spec.out.join("initrd.img")).context("taking the initramfs").map(drop)
}

/// The root file system in the making: mke2fs reads what is added.
struct FileSystem<'a> {
    mke2fs: Child,
    packer: Packer<'a, BufWriter<ChildStdin>>,
}

impl<'a> FileSystem<'a> {
    fn begin(place: &'a Place, size: Bytes, spec: &BaseSpec) -> Result<Self> {
        let id = spec.root_uuid.to_string();
        let mut command = tool(place, spec, "mke2fs");
        command
            .args(["-q", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "1"])
            .args(["-L", hearth::layout::ROOT_LABEL, "-U", &id, "-J", &format!("size={}", rootfs::JOURNAL.0 >> 20)])
            // Nothing may be left for the first mount to do: setup mode never writes.
            .args(["-E", &format!("hash_seed={id},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard")])
            .args(["-d", "-", "/out/root.ext4", &format!("{}k", size.0 >> 10)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut mke2fs = command.spawn().context("starting mke2fs")?;
        let pipe = mke2fs.stdin.take().ok_or_else(|| anyhow!("mke2fs has no standard input"))?;
        // Fewer, longer turns for both ends; how long, the kernel may forbid.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE));
        let packer = Packer::new(&place.tree, spec.epoch, BufWriter::with_capacity(1 << 20, pipe));
        Ok(Self { mke2fs, packer })
    }

    /// Adds what was not added before.
    fn add(mut self, entries: &[Entry]) -> Result<Self> {
        match self.packer.add(entries) {
            Ok(()) => Ok(self),
            // mke2fs's own words explain a broken pipe better than the pipe does.
            Err(error) if is_broken_pipe(&error) => Err(self.finish().err().unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    fn finish(self) -> Result<()> {
        let written = self.packer.finish();
        let out = self.mke2fs.wait_with_output().context("waiting for mke2fs")?;
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        if !out.status.success() || said.contains("rror") {
            let error = anyhow!("making the root file system failed: mke2fs ended with {}: {said}", out.status);
            return Err(mark_if_full(error, &said));
        }
        written
    }

    /// Ends it without a result.
    fn abandon(mut self) -> Result<()> {
        self.mke2fs.kill().context("ending mke2fs")?;
        self.mke2fs.wait().context("waiting for mke2fs").map(drop)
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().map(std::io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

/// Adds the initramfs where `update-initramfs` looks for it.
fn add_initramfs(place: &Place, kernel: &str, spec: &BaseSpec) -> Result<()> {
    let script =
        format!("write /out/initrd.img /boot/initrd.img-{kernel}\nsif /boot/initrd.img-{kernel} mode 0100644\n");
    fs::write(spec.out.join("debugfs"), script).context("writing debugfs's script")?;
    let command = tool(place, spec, "debugfs");
    crate::debugfs::run(command, Path::new("/out/debugfs"), "/out/root.ext4")?;
    for name in ["debugfs", "initrd.img"] {
        fs::remove_file(spec.out.join(name)).with_context(|| format!("removing {name}"))?;
    }
    Ok(())
}

fn take_boot_files(tree: &Path, out: &Path) -> Result<()> {
    let boot = out.join("boot");
    fs::create_dir_all(boot.join("i386-pc")).context("making the folder for boot files")?;
    for (from, name) in BOOT_FILES {
        fs::copy(tree.join(from), boot.join(name))
            .with_context(|| format!("taking {from}: is its package in the target's list?"))?;
    }
    let grub = tree.join("usr/lib/grub/i386-pc");
    for entry in fs::read_dir(&grub).with_context(|| format!("reading {}", grub.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), boot.join("i386-pc").join(entry.file_name())).context("taking GRUB's modules")?;
    }
    Ok(())
}
