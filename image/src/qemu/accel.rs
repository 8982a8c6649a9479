//! Whether the kernel's virtualisation works here. `/dev/kvm` may exist and yet
//! stop every guest ("KVM internal error", seen on nested machines), so it counts
//! only after a Linux kernel has booted with it up to a program of its own. The
//! answer is kept until the host is restarted.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth::digest::Digest;

use super::{Accel, Target};
use crate::cache::Cache;
use crate::tools::Tools;

/// Ten times what a working KVM needs.
const LIMIT: Duration = Duration::from_secs(20);

/// What the guest's program prints.
const MARKER: &str = "hearth: a kernel runs here\n";

/// What to run machines with, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What to use.
    pub accel: Accel,
    /// The reason, for a person.
    pub why: String,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.accel {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG, slow",
        };
        write!(f, "{name}: {}", self.why)
    }
}

/// Finds out, or remembers since the host started.
pub fn prove(cache: &Cache, tools: &Tools, target: &Target) -> Result<Proof> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Proof { accel: Accel::Tcg, why: format!("/dev/kvm: {error}") });
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the host's boot id")?;
    let key = Digest::of(format!("{boot} {}", tools.tree().display())).to_string();
    let path = cache.dir("accel")?.join(&key[..16]);
    let _lock = cache.lock("accel")?;
    if let Some(proof) = fs::read_to_string(&path).ok().as_deref().and_then(remembered) {
        return Ok(proof);
    }
    let Some(kernel) = kernel(tools.tree()) else {
        let why = "the tools tree holds no kernel to try KVM with".to_owned();
        return Ok(Proof { accel: Accel::Tcg, why });
    };
    let proof = try_kvm(tools, target, &kernel)?;
    let text = format!("{}\n{}", if proof.accel == Accel::Kvm { "kvm" } else { "tcg" }, proof.why);
    let partial = Cache::partial(&cache.dir("accel")?, &key[..16]);
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path)).context("keeping what we know of KVM")?;
    Ok(proof)
}

fn remembered(text: &str) -> Option<Proof> {
    let (accel, why) = text.split_once('\n')?;
    let accel = match accel {
        "kvm" => Accel::Kvm,
        "tcg" => Accel::Tcg,
        _ => return None,
    };
    Some(Proof { accel, why: why.to_owned() })
}

fn try_kvm(tools: &Tools, target: &Target, kernel: &Path) -> Result<Proof> {
    let dir = tempfile::tempdir().context("making a folder for the KVM probe")?;
    let initrd = dir.path().join("initrd");
    fs::write(&initrd, initramfs()).context("writing the probe's initramfs")?;
    let mut command = tools.sandbox()?.bind(dir.path()).command(&target.program);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    command.args(["-machine", &target.machine, "-accel", "kvm", "-cpu", "host", "-m", "256M"]);
    command.args(["-append", "console=ttyS0 quiet panic=-1"]).arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    let said = first_words(command)?;
    if said.contains(MARKER.trim_end()) {
        return Ok(Proof { accel: Accel::Kvm, why: "a kernel booted with it".to_owned() });
    }
    let why = "/dev/kvm is there, but no kernel boots with it".to_owned();
    Ok(Proof { accel: Accel::Tcg, why })
}

/// What `command` prints until it shows the marker, ends, or the limit is reached. It is ended then.
fn first_words(mut command: Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting QEMU to try KVM")?;
    let (sender, pieces) = mpsc::channel();
    let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] =
        [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
    for mut pipe in pipes.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(n) = pipe.read(&mut buffer) {
                if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let deadline = std::time::Instant::now() + LIMIT;
    let mut said = Vec::new();
    // QEMU reports a broken KVM and then waits, paused: its words end the probe early.
    while !["runs here", "KVM internal error"].iter().any(|end| String::from_utf8_lossy(&said).contains(end)) {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let Ok(piece) = pieces.recv_timeout(left) else { break };
        said.extend(piece);
    }
    child.kill().context("ending the KVM probe")?;
    child.wait().context("ending the KVM probe")?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// A kernel in the tools tree, as the sandbox sees it.
fn kernel(tree: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(tree.join("boot")).ok()?;
    let name =
        entries.flatten().map(|entry| entry.file_name()).find(|n| n.to_string_lossy().starts_with("vmlinuz-"))?;
    Some(Path::new("/boot").join(name))
}

/// A cpio archive (newc) with nothing but `/init`.
fn initramfs() -> Vec<u8> {
    let mut archive = Vec::new();
    add(&mut archive, "init", 0o100_755, &program());
    add(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

fn add(archive: &mut Vec<u8>, name: &str, mode: usize, data: &[u8]) {
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    // inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, checksum
    let fields = [1, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
    archive.extend(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
    archive.extend(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend(data);
    pad(archive);
}

/// A static x86-64 program that prints the marker and ends.
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut code = Vec::new();
    code.extend([0xb8, 1, 0, 0, 0]); // mov eax, write
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, stdout
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, [rip + 16]: the text behind the code
    code.extend([0xba, u8::try_from(MARKER.len()).unwrap_or(u8::MAX), 0, 0, 0]); // mov edx, length
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 60, 0, 0, 0]); // mov eax, exit: the kernel panics without its first program, and restarts
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x0f, 0x05]); // syscall
    code.extend(MARKER.as_bytes());

    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    elf.extend((BASE + HEADERS).to_le_bytes()); // entry point
    elf.extend(64_u64.to_le_bytes()); // program headers follow this one
    elf.extend([0; 12]); // no section headers, no flags
    elf.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // sizes and counts
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // load; read and execute
    for field in [0, BASE, BASE, size, size, 4096] {
        elf.extend(field.to_le_bytes()); // offset, address, address, sizes, alignment
    }
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_program_is_a_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        fs::write(&path, program()).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(first_words(Command::new(&path)).unwrap(), MARKER);
    }

    #[test]
    fn the_archive_is_aligned_and_ends() {
        let archive = initramfs();
        assert!(archive.starts_with(b"070701") && archive.len() % 4 == 0);
        assert_eq!(archive.windows(10).filter(|window| window == b"TRAILER!!!").count(), 1);
        let data = 110 + "init\0".len() + 1;
        assert_eq!(&archive[data..data + 4], b"\x7fELF");
    }

    #[test]
    fn what_is_remembered_is_what_was_found() {
        let proof = Proof { accel: Accel::Tcg, why: "a\nb".into() };
        assert_eq!(remembered("tcg\na\nb"), Some(proof));
        assert_eq!(remembered("xen\n"), None);
        assert_eq!(remembered(""), None);
    }
}
