//! What runs inside the namespaces that [`crate::sandbox`] makes: it takes the
//! mounts out of the host's sight, assembles a root, and becomes the program
//! asked for. Mounts made here vanish with the last process of the namespace,
//! whatever ended it.

pub mod base;
mod configure;
mod dpkgdb;
mod modules;
mod needed;
mod normalise;
mod rootfs;
pub mod spec;
mod unpack;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, mark};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, fchdir};

/// Mounts from now on are ours alone.
pub fn make_private() -> Result<()> {
    let private = || mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>);
    match private() {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => from_outside_the_chroot(|| private().context("making mounts private")),
        Err(errno) => Err(mark(errno, Exit::Environment).context("making mounts private")),
    }
}

/// In a chroot "/" is no mount point, so its propagation cannot be changed by name, and
/// mounts would leak to the host. Root can step outside, act on the real root, and return.
fn from_outside_the_chroot(act: impl FnOnce() -> Result<()>) -> Result<()> {
    let home = File::open("/").context("opening our root")?;
    chdir("/").context("going to our root")?;
    // Any folder does. None is made for it: whoever ends us meanwhile would leave it behind.
    chroot("/usr").context("stepping out of the chroot")?;
    for _ in 0..64 {
        chdir("..").context("stepping out of the chroot")?;
    }
    chroot(".").context("standing on the real root")?;
    let acted = act();
    fchdir(&home).context("returning to our root")?;
    chroot(".").context("returning to our root")?;
    acted
}

/// Mounts a tmpfs of at most `size` bytes (half the memory if 0) at `at`.
pub fn mount_tmpfs(at: &Path, size: u64) -> Result<()> {
    let options = format!("mode=0755,size={}", if size == 0 { "50%".to_owned() } else { size.to_string() });
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mounting a tmpfs at {}", at.display()))
}

/// Shows `from` (a folder or a file) at `to` too.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("showing {} as {}", from.display(), to.display());
    if from.is_dir() {
        fs::create_dir_all(to).with_context(what)?;
    } else if !to.exists() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(what)?;
        }
        File::create(to).with_context(what)?;
    }
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).with_context(what)
}

/// Gives the root at `root` the devices every program expects, and /proc.
pub fn add_kernel_views(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    fs::create_dir_all(&dev).context("making dev")?;
    mount_tmpfs(&dev, 0)?;
    for name in ["null", "zero", "full", "random", "urandom", "tty", "kvm", "net/tun", "vhost-net"] {
        let node = Path::new("/dev").join(name);
        if node.exists() {
            // A node may exist and yet be out of reach (/dev/tty without a terminal): not needed then.
            let _ = bind(&node, &dev.join(name));
        }
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(target, dev.join(name)).with_context(|| format!("making dev/{name}"))?;
    }
    let shm = dev.join("shm");
    fs::create_dir(&shm).context("making dev/shm")?;
    mount_tmpfs(&shm, 0)?;
    let pts = dev.join("pts");
    fs::create_dir(&pts).context("making dev/pts")?;
    let options = Some("newinstance,ptmxmode=0666,mode=620");
    if mount(Some("devpts"), &pts, Some("devpts"), MsFlags::empty(), options).is_ok() {
        symlink("pts/ptmx", dev.join("ptmx")).context("making dev/ptmx")?;
    }
    let proc = root.join("proc");
    fs::create_dir_all(&proc).context("making proc")?;
    // A container may hide parts of /proc; then the kernel refuses a fresh one and the hidden one must do.
    mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), None::<&str>)
        .or_else(|_| mount(Some("/proc"), &proc, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>))
        .context("mounting proc")
}

/// Makes at `root` (an empty folder) a root that shows the tools tree `tree` and has its own /tmp, /run and /dev.
pub fn assemble_root(tree: &Path, root: &Path) -> Result<()> {
    let entries = fs::read_dir(tree).with_context(|| format!("reading the tools tree {}", tree.display()))?;
    for entry in entries {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        let name = entry.file_name();
        if ["dev", "proc", "sys", "tmp", "run"].iter().any(|own| name == *own) {
            fs::create_dir(&to).with_context(|| format!("making {}", to.display()))?;
        } else if entry.file_type()?.is_symlink() {
            let target = fs::read_link(&from)?;
            symlink(target, &to).with_context(|| format!("making {}", to.display()))?;
        } else {
            bind(&from, &to)?;
        }
    }
    add_kernel_views(root)?;
    // Some tools look here for block devices; without it they manage.
    let _ = bind(Path::new("/sys"), &root.join("sys"));
    for (host, inside) in [
        ("/etc/resolv.conf", "etc/resolv.conf"),
        ("/etc/hosts", "etc/hosts"),
        ("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt"),
    ] {
        let (host, inside) = (Path::new(host), root.join(inside));
        if host.exists() && inside.exists() {
            bind(host, &inside)?;
        }
    }
    Ok(())
}

/// What `internal enter` was asked for.
#[derive(Debug)]
pub struct Enter {
    /// The tools tree.
    pub tree: PathBuf,
    /// An empty folder to mount things on.
    pub at: PathBuf,
    /// Host paths and where to show them.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
}

/// Assembles the root and becomes the program. Returns only on failure.
pub fn enter(request: &Enter) -> Result<()> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    make_private()?;
    mount_tmpfs(&request.at, 0)?;
    assemble_root(&request.tree, &request.at)?;
    for (from, to) in &request.binds {
        let inside = request.at.join(to.strip_prefix("/").unwrap_or(to));
        bind(from, &inside)?;
    }
    chroot(&request.at).context("entering the sandbox")?;
    // The same folder if it is shown inside, so that relative paths keep their meaning.
    chdir(&here).or_else(|_| chdir("/")).context("entering the sandbox")?;
    let (program, args) = request.argv.split_first().ok_or_else(|| anyhow!("no program to run in the sandbox"))?;
    let error = Command::new(program)
        .args(args)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/root")
        .env("TMPDIR", "/tmp")
        .exec();
    Err(mark(error, Exit::Environment).context(format!("starting {} in the sandbox", program.to_string_lossy())))
}

/// Unpacks the tar file `from` as `to`, which is emptied first, owners and all.
pub fn untar(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("removing what an earlier run left of {}", to.display()))?;
    }
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    let file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 20, file));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Device nodes come from the sandbox itself; a user namespace may not make them.
        if matches!(entry.header().entry_type(), tar::EntryType::Char | tar::EntryType::Block) {
            continue;
        }
        entry.unpack_in(to).with_context(|| format!("unpacking to {}", to.display()))?;
    }
    Ok(())
}
