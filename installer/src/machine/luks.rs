//! LUKS containers on the real machine. Keys reach the programs on standard input or in files of
//! a folder in memory that only root may enter: never in arguments, which everybody can read.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::answers::Secret;
use crate::durable;
use crate::encryption::{Key, Keys, mapped};
use crate::exit::{Exit, Kind as _};
use crate::layout::DATA_LABEL;
use crate::run::Cmd;
use crate::units::Bytes;

/// Where keys lie while a program reads them: in memory.
const FOLDER: &str = "/run/hearth/keys";

/// What cryptsetup ends with if no key slot takes the key.
const NO_KEY_FITS: i32 = 2;

/// Keys in files, for as long as a program needs them.
struct Files(PathBuf);

impl Files {
    fn new() -> Result<Self> {
        let folder = PathBuf::from(format!("{FOLDER}-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&folder);
        made.with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn keep(&self, name: &str, secret: &Secret<String>) -> Result<PathBuf> {
        let path = self.0.join(name);
        durable::write_private(&path, secret.expose().as_bytes())?;
        Ok(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It is in memory, and root's alone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a container with the id `id` in `device` that both keys open. A passphrase costs whoever
/// guesses it as much memory as a machine with `memory` can spare.
pub(super) fn make(device: &str, id: &str, keys: &Keys, memory: Bytes) -> Result<()> {
    let files = Files::new()?;
    let recovery = files.keep("recovery", &keys.recovery)?;
    let format = Cmd::new(format!("encrypting {device}"), "cryptsetup");
    format
        .args(["luksFormat", "--batch-mode", "--type", "luks2", "--uuid", id, "--label", DATA_LABEL])
        .args(DRAWN)
        .args(["--key-file=-", device])
        .input(keys.recovery.expose().as_bytes())
        .run()?;
    let add = || {
        let add = Cmd::new(format!("adding the key that opens {device}"), "cryptsetup");
        add.args(["luksAddKey", "--batch-mode", "--key-file"]).arg(&recovery)
    };
    match &keys.everyday {
        Key::Passphrase(text) => {
            let cost = format!("--pbkdf-memory={}", spared(memory).0 >> 10);
            add().args(["--pbkdf=argon2id", &cost, device, "-"]).input(text.expose().as_bytes()).run()?;
        }
        Key::Drawn(text) => add().args(DRAWN).args([device, "-"]).input(text.expose().as_bytes()).run()?,
        Key::Pin(pin) => {
            files.keep("cryptenroll.new-tpm2-pin", pin)?;
            // Bound to no measurement: initrd and root are not measured, so one would keep nobody
            // out, and an update of the firmware would lock the owner out.
            let enroll = Cmd::new("having the TPM keep a key", "systemd-cryptenroll");
            enroll
                .env("CREDENTIALS_DIRECTORY", files.path())
                .arg(format!("--unlock-key-file={}", recovery.display()))
                .args(["--tpm2-device=auto", "--tpm2-with-pin=yes", "--tpm2-pcrs=", device])
                .run()?;
        }
    }
    durable::flush_device(device)
}

/// How a key is kept that cannot be guessed: nothing is gained by making each try slow.
const DRAWN: [&str; 2] = ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"];

/// The memory that one try of a passphrase takes: an eighth, so that the machine can open its own
/// disks beside whatever runs, and at most what a small machine has that the disk may move to.
fn spared(memory: Bytes) -> Bytes {
    Bytes((memory.0 / 8).clamp(Bytes::mib(32).0, Bytes::mib(512).0))
}

/// Opens the container in `device` as `name`; false if the key does not fit.
pub(super) fn open(device: &str, name: &str, key: &Key) -> Result<bool> {
    match key {
        Key::Passphrase(text) | Key::Drawn(text) => {
            let open = Cmd::new(format!("opening {device}"), "cryptsetup");
            let open = open.args(["open", "--type", "luks2", "--key-file=-", device, name]);
            match open.input(text.expose().as_bytes()).answer()?.0 {
                Some(0) => Ok(true),
                Some(NO_KEY_FITS) => Ok(false),
                other => {
                    let code = other.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
                    let text =
                        format!("cryptsetup could not open {device} and ended with {code}: is its header damaged?");
                    Err(anyhow!(text)).kind(Exit::Io)
                }
            }
        }
        Key::Pin(pin) => {
            // Not by systemd-cryptsetup, which would try a wrong PIN five times, and the TPM counts them.
            let open = Cmd::new(format!("opening {device} with the TPM"), "cryptsetup");
            open.args(["open", "--type", "luks2", "--tries=1", "--token-only", "--token-type=systemd-tpm2"])
                .args([device, name])
                .input(pin.expose().as_bytes())
                .succeeds()
        }
    }
}

/// Closes the container `name`, if it is open.
pub(super) fn close(name: &str) -> Result<()> {
    if !Path::new(&mapped(name)).exists() {
        return Ok(());
    }
    Cmd::new(format!("closing {name}"), "cryptsetup").args(["close", name]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_can_open_its_own_disks_and_those_of_a_large_one() {
        assert_eq!(spared(Bytes::gib(2)), Bytes::mib(256));
        assert_eq!(spared(Bytes::gib(64)), Bytes::mib(512));
        assert_eq!(spared(Bytes::ZERO), Bytes::mib(32));
    }
}
