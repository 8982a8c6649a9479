//! The tools trees: small Debian 13 roots that hold every program Hearth uses, so
//! that the host's versions never matter. Made once by mmdebstrap, kept in the
//! cache under a name that follows from what they hold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;

use crate::cache::Cache;
use crate::interrupt::Unfinished;
use crate::mirrors::Mirrors;
use crate::sandbox::{self, Sandbox};
use crate::{cache, progress};

/// The Debian release the tools come from, the image's own.
pub const SUITE: &str = "trixie";

/// Raise when trees made before must not be used any more.
const GENERATION: u32 = 1;

/// Which tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ToolSet {
    /// What makes an image: apt, file systems, GRUB.
    Image,
    /// The compiler for the `hearth` program that goes into the image.
    Compiler,
    /// Virtual machines and the servers that tests talk to.
    Vm,
    /// What benchmarks compare us with.
    Bench,
}

impl ToolSet {
    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Compiler => "compiler",
            Self::Vm => "vm",
            Self::Bench => "bench",
        }
    }

    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Image => &[
                "ca-certificates",
                "debian-archive-keyring",
                "dosfstools",
                "e2fsprogs",
                "grub-common",
                "grub-pc-bin",
                "kmod",
                "libarchive13t64",
                "libeatmydata1",
                "mtools",
                "systemd",
                "zstd",
            ],
            Self::Compiler => &["ca-certificates", "cargo", "gcc", "libc6-dev", "rustc"],
            Self::Vm => &[
                "ca-certificates",
                "curl",
                "dnsmasq-base",
                "iproute2",
                // Its kernel proves whether KVM works.
                "linux-image-cloud-amd64",
                "minisign",
                "nmap",
                "openssh-client",
                "ovmf",
                "qemu-system-x86",
                "qemu-utils",
                "socat",
                "swtpm",
            ],
            Self::Bench => &[
                "ca-certificates",
                "cpio",
                "debian-archive-keyring",
                "dosfstools",
                "e2fsprogs",
                "grub-common",
                "grub-pc-bin",
                "kmod",
                "mkosi",
                "mtools",
                "systemd",
                "systemd-repart",
                "zstd",
            ],
        }
    }
}

/// A tools tree that exists.
#[derive(Clone, Debug)]
pub struct Tools {
    cache: Cache,
    tree: PathBuf,
}

impl Tools {
    /// Opens the tree for `set`, making it first if it is missing. `mirror` is
    /// the recipe's choice of archive, if it makes one.
    pub fn ensure(cache: &Cache, set: ToolSet, mirror: Option<Mirrors>) -> Result<Self> {
        let recipe = format!("{GENERATION} {SUITE} {}", set.packages().join(" "));
        let name = format!("{}-{}", set.name(), &Digest::of(&recipe).to_string()[..16]);
        // Here and not only before a tree is made: a host may lose them later.
        sandbox::require_namespaces()?;
        let dir = cache.dir("tools")?;
        let tree = dir.join(&name);
        let _lock = cache.lock(&format!("tools-{name}"))?;
        if !tree.exists() {
            let mirrors = Mirrors::for_building(cache, SUITE, mirror)?;
            cache::sweep(&dir)?;
            make(&dir, &tree, set, &mirrors)?;
        }
        Ok(Self { cache: cache.clone(), tree })
    }

    /// Where the tree lies on the host.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// The tree's name, which changes whenever what it holds is chosen otherwise.
    pub fn name(&self) -> String {
        self.tree.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A sandbox to run these tools in.
    pub fn sandbox(&self) -> Result<Sandbox> {
        Sandbox::new(&self.cache, &self.tree)
    }
}

fn make(dir: &Path, tree: &Path, set: ToolSet, mirrors: &Mirrors) -> Result<()> {
    let step = progress::step(format!("tools: Debian's {} programs (once)", set.name()));
    let tar = Unfinished::new(cache::Cache::partial(dir, set.name()));
    let mut command = Cmd::from_command("making the tools tree", sandbox::with_private_mounts("mmdebstrap")?)
        .args(["--variant=apt", "--format=tar"])
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=force-unsafe-io"])
        .args(["man", "doc", "locale", "info"].map(|kind| format!("--dpkgopt=path-exclude=/usr/share/{kind}/*")))
        .arg(format!("--include={}", set.packages().join(",")))
        // Empty files for the host's own to be shown on.
        .arg("--customize-hook=mkdir -p \"$1/etc/ssl/certs\"; touch \"$1/etc/resolv.conf\" \"$1/etc/hosts\" \"$1/etc/ssl/certs/ca-certificates.crt\"")
        .arg(SUITE)
        .arg(tar.path());
    command = command.input(mirrors.sources(SUITE, "main")).arg("-");
    command
        .run()
        .context(format!(
            "Debian's {} programs cannot be taken from {}: check the network, the clock, or the recipe's `mirror`",
            set.name(),
            mirrors.debian
        ))
        .kind(Exit::Dependency)?;
    let new = tree.with_extension("new");
    let unpack = sandbox::internal(&["untar"])?;
    let unpacked = Cmd::from_command("unpacking the tools tree", unpack).arg(tar.path()).arg(&new).run();
    unpacked?;
    fs::rename(&new, tree).with_context(|| format!("renaming to {}", tree.display()))?;
    step.done("");
    Ok(())
}
