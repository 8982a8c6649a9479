//! A throw-away key that signs a test's archive.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::run;

const OWNER: &str = "test@hearth.example";

/// A home of gpg with one key in it, gone when dropped.
#[derive(Debug)]
pub struct Key {
    home: tempfile::TempDir,
}

impl Key {
    pub fn new() -> Self {
        let key =
            Self { home: tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap() };
        run(key.gpg().args(["--passphrase", "", "--quick-generate-key", OWNER, "ed25519", "sign", "never"]));
        key
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path()).args(["--batch", "--quiet", "--yes"]);
        gpg
    }

    /// `text` with its signature around it, as an archive's `InRelease` is.
    pub fn clear_sign(&self, text: &str) -> Vec<u8> {
        let mut child = self
            .gpg()
            .args(["--digest-algo", "SHA512", "--clear-sign"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        out.stdout
    }

    /// Makes the public half the only key in `file`.
    pub fn write_public(&self, file: &Path) {
        let public = run(self.gpg().args(["--export", OWNER])).stdout;
        assert!(!public.is_empty());
        // Never into the file that is there: it may be a hard link to a real one.
        let _ = fs::remove_file(file);
        fs::write(file, public).unwrap();
    }

    /// A tools tree of a test trusts this key instead of Debian's.
    pub fn trust_in(&self, tree: &Path) {
        self.write_public(&tree.join(hearth_image::mirrors::KEYRING.trim_start_matches('/')));
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).output();
    }
}
