//! Signatures on manifests, in minisign's format, so that `minisign -V` checks
//! what we sign. The secret key is encrypted with a passphrase and never lies in
//! the checkout, in out/ or in an image (S8).

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use minisign::{KeyPair, PublicKey, SecretKeyBox, SignatureBox};

/// The folder of the user's keys: `XDG_CONFIG_HOME/hearth`.
pub fn key_dir() -> Result<PathBuf> {
    std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))
        .map(|dir| dir.join("hearth"))
        .ok_or_else(|| anyhow!("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for keys"))
        .kind(Exit::Environment)
}

/// The user's own secret key, which `keygen` makes.
pub fn secret_key_path() -> Result<PathBuf> {
    Ok(key_dir()?.join("image.key"))
}

/// The user's own public key.
pub fn public_key_path() -> Result<PathBuf> {
    Ok(key_dir()?.join("image.pub"))
}

/// The public key of whoever called `sudo`: flashing needs root, and root has no key of its own.
fn callers_public_key() -> Option<PathBuf> {
    let name = std::env::var_os("SUDO_USER").filter(|_| nix::unistd::geteuid().is_root())?;
    let caller = nix::unistd::User::from_name(name.to_str()?).ok()??;
    Some(caller.dir.join(".config/hearth/image.pub"))
}

/// Makes a key pair; the secret half is encrypted with `passphrase`. Refuses to replace one.
pub fn make_keys(secret: &Path, public: &Path, passphrase: &str) -> Result<()> {
    for path in [secret, public] {
        if path.exists() {
            return Err(anyhow!(
                "{} exists already; a new key would make every image signed with it untrusted. Move it away first",
                path.display()
            ))
            .kind(Exit::Refused);
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
    }
    if passphrase.is_empty() {
        return Err(anyhow!("an empty passphrase would leave the key unprotected; type one")).kind(Exit::Input);
    }
    let KeyPair { pk, sk } =
        KeyPair::generate_encrypted_keypair(Some(passphrase.to_owned())).context("making the key")?;
    let body = sk.to_box(Some("Hearth image signing key")).context("packing the secret key")?.to_string();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(secret)
        .with_context(|| format!("creating {}", secret.display()))?;
    file.write_all(body.as_bytes()).and_then(|()| file.sync_all()).context("writing the secret key")?;
    let body = pk.to_box().context("packing the public key")?.to_string();
    fs::write(public, body).with_context(|| format!("writing {}", public.display()))
}

/// The signature file of `path`.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Signs the file at `path` with the key at `secret`.
pub fn sign(path: &Path, secret: &Path, passphrase: &str) -> Result<PathBuf> {
    let text = fs::read_to_string(secret).with_context(|| format!("reading {}", secret.display())).kind(Exit::Input)?;
    let key = SecretKeyBox::from_string(&text)
        .and_then(|key| key.into_secret_key(Some(passphrase.to_owned())))
        .map_err(|_| anyhow!("{} does not open with this passphrase", secret.display()))
        .kind(Exit::Input)?;
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let comment = format!("file:{name}");
    let made = minisign::sign(None, &key, Cursor::new(bytes), Some(&comment), Some("signature from hearth-image"))
        .context("signing")?;
    let to = signature_path(path);
    fs::write(&to, made.to_string()).with_context(|| format!("writing {}", to.display()))?;
    Ok(to)
}

/// The outcome of looking for a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signed by this trusted key.
    Signed(PathBuf),
    /// Nobody we trust has a key here, or the file has no signature: hashes are all there is.
    Unsigned,
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signed(key) => write!(f, "signed by {}", key.display()),
            Self::Unsigned => f.write_str("not signed, hashes checked"),
        }
    }
}

/// Checks `path` against its signature file. `key` is the user's choice of key, else
/// the user's own one counts; a key beside the image never does. A signature that is
/// wrong, or missing although a key was chosen, is an error.
pub fn check(path: &Path, key: Option<&Path>) -> Result<Trust> {
    let signature = signature_path(path);
    // A service has no HOME, so no key of its own either.
    let own = || public_key_path().ok().into_iter().chain(callers_public_key()).find(|own| own.exists());
    let Some(key) = key.map(Path::to_owned).or_else(own) else { return Ok(Trust::Unsigned) };
    let public =
        PublicKey::from_file(&key).map_err(|error| anyhow!("reading the public key {}: {error}", key.display()));
    let public = public.kind(Exit::Input)?;
    if !signature.exists() {
        return Err(anyhow!(
            "{} is missing, but a trusted key is set ({}): either the image was never signed or the signature was removed",
            signature.display(),
            key.display()
        ))
        .kind(Exit::Mismatch);
    }
    let parsed = SignatureBox::from_file(&signature)
        .map_err(|error| anyhow!("{} is not a minisign signature: {error}", signature.display()))
        .kind(Exit::Mismatch)?;
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    minisign::verify(&public, &parsed, Cursor::new(bytes), true, false, false)
        .map_err(|_| {
            anyhow!("the signature {} is not by {} over this file: do not use it", signature.display(), key.display())
        })
        .kind(Exit::Mismatch)?;
    Ok(Trust::Signed(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        make_keys(&at("k"), &at("k.pub"), "secret words").unwrap();
        fs::write(at("m.json"), "{}").unwrap();
        sign(&at("m.json"), &at("k"), "secret words").unwrap();
        let (file, key) = (at("m.json"), at("k.pub"));
        (dir, file, key)
    }

    #[test]
    fn s8_a_good_signature_is_accepted_and_a_changed_file_is_not() {
        let (_dir, file, key) = signed();
        assert_eq!(check(&file, Some(&key)).unwrap(), Trust::Signed(key.clone()));
        fs::write(&file, "{ }").unwrap();
        assert!(check(&file, Some(&key)).unwrap_err().to_string().contains("do not use it"));
    }

    #[test]
    fn s8_another_key_or_no_signature_is_refused_when_a_key_is_set() {
        let (dir, file, key) = signed();
        make_keys(&dir.path().join("o"), &dir.path().join("o.pub"), "x").unwrap();
        assert!(check(&file, Some(&dir.path().join("o.pub"))).is_err());
        fs::remove_file(signature_path(&file)).unwrap();
        assert!(check(&file, Some(&key)).unwrap_err().to_string().contains("is missing"));
    }

    #[test]
    fn s8_the_secret_key_is_encrypted_private_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, file, _) = signed();
        let secret = dir.path().join("k");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(sign(&file, &secret, "wrong words").unwrap_err().to_string().contains("does not open"));
        assert!(make_keys(&secret, &dir.path().join("new.pub"), "x").is_err());
        assert!(make_keys(&dir.path().join("e"), &dir.path().join("e.pub"), "").is_err());
    }
}
