//! The workstation's side of Hearth inside a machine: a disk with `hearth-image` as it was
//! built here, the libraries it was linked with (the guest's may be older), and the
//! compressed image with its manifest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::manifest::Manifest;
use hearth::run::Cmd;
use hearth::units::Bytes;
use hearth_image::sandbox;
use hearth_image::tools::{ToolSet, Tools};
use hearth_image::verify::{manifest_path, read_manifest};

use crate::agent::Output;
use crate::drive::{Drive, make_empty};
use crate::lab::Lab;
use crate::vm::Vm;

/// Starts `hearth-image` in a guest.
pub const PROGRAM: &str = "/run/workstation/hearth-image";

/// The compressed image in a guest; its manifest lies beside it.
pub const IMAGE: &str = "/run/workstation/hearth.img.zst";

/// The manifest in a guest.
pub const MANIFEST: &str = "/run/workstation/hearth.manifest.json";

const SERIAL: &str = "WORKSTATION";

/// With its own loader a program finds its own libraries, whatever else the guest has.
const START: &str = r#"#!/bin/sh
at=${0%/*}/lib
exec "$at"/ld-linux* --library-path "$at" "$at/hearth-image" "$@"
"#;

/// A disk with the workstation's program and an image to flash.
#[derive(Debug)]
pub struct Workstation {
    disk: PathBuf,
    /// The raw image, on the host.
    pub image: PathBuf,
    /// What the image is.
    pub manifest: Manifest,
}

impl Workstation {
    /// Makes the disk.
    pub fn make(lab: &Lab) -> Result<Self> {
        let image = lab.image()?;
        let packed = image.with_extension("img.zst");
        ensure!(packed.exists(), "{} is missing: make it with `hearth-image compress`", packed.display());
        let manifest = manifest_path(&image);
        let tree = lab.dir().join("workstation");
        let lib = tree.join("lib");
        fs::create_dir_all(&lib).with_context(|| format!("making {}", lib.display()))?;
        let mut files =
            vec![(packed.clone(), tree.join("hearth.img.zst")), (manifest.clone(), tree.join("hearth.manifest.json"))];
        let program = sandbox::launcher()?;
        files.extend(libraries(&program)?.into_iter().map(|file| {
            let to = lib.join(file.file_name().unwrap_or_default());
            (file, to)
        }));
        files.push((program, lib.join("hearth-image")));
        for (from, to) in files {
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
        let start = tree.join("hearth-image");
        fs::write(&start, START).and_then(|()| make_executable(&start)).context("making the program's start")?;
        let disk = lab.dir().join("workstation.raw");
        make_empty(&disk, Bytes::mib(64).0 + fs::metadata(&packed)?.len() * 11 / 10)?;
        let mke2fs = Tools::ensure(lab.cache(), ToolSet::Image, None)?.sandbox()?.bind(lab.dir().path());
        Cmd::from_command("making the workstation's disk", mke2fs.command("mke2fs"))
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
            .arg(&tree)
            .arg(&disk)
            .run()?;
        fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
        Ok(Self { disk, manifest: read_manifest(&manifest)?, image })
    }

    /// The disk, to put into a machine.
    pub fn drive(&self) -> Drive {
        Drive::overlay(&self.disk).serial(SERIAL)
    }

    /// Mounts it in the guest, as soon as that is up so far.
    pub fn mount(&self, lab: &Lab, vm: &Vm) -> Result<()> {
        let disk = format!("/dev/disk/by-id/virtio-{SERIAL}");
        let at = Path::new(PROGRAM).parent().unwrap_or(Path::new("/")).display();
        let command = format!("until [ -b {disk} ]; do sleep 0.5; done; mkdir -p {at}; mount -o ro {disk} {at}");
        vm.root_sh(&command, lab.patience(60))?.ok().context("mounting the workstation's disk").map(drop)
    }

    /// Runs `hearth-image` with `words`, which a shell reads.
    pub fn run(&self, vm: &Vm, words: &str, timeout: Duration) -> Result<Output> {
        vm.root_sh(&format!("{PROGRAM} {words}"), timeout)
    }
}

/// The loader and all libraries that `program` needs.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Cmd::new("listing the libraries of hearth-image", "ldd").arg(program).stdout()?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
