//! SSH before there is any account: a door with one code, for machines whose screen is
//! far away or missing.
//!
//! It exists in setup mode alone. `hearth-claim.service` makes what belongs to it, all of
//! it in memory: the code ([`code`]), the account `setup`, its PAM stack and its line for
//! sudo. Then `hearth-setup-ssh.service` runs an sshd with a configuration of its own
//! (`/usr/share/hearth/setup`), which asks here whether a code is right ([`check`]) and
//! whether anybody is let in at all ([`admit`]), and shows the page ([`session`]).
//! Once a disk is set up nothing of this is ever started, and the usual sshd answers.

mod code;
pub mod command;
mod keys;
mod origin;
mod state;
mod store;

use std::fs::{self, DirBuilder};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use nix::fcntl::Flock;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use code::{Code, CodeHash};
pub use keys::Keys;
pub use origin::Origin;
#[cfg(test)]
pub(crate) use state::tests::state as test_state;
pub use state::{LIMIT, State, Wrong};

use crate::durable;
use crate::exit::{Exit, Kind as _};
use crate::facts::{Facts, Mode, gather};
use crate::layout::ADOPTED;
use crate::machine::{Dev, on_hearth};
use crate::page::{self, Console, Place, Talk as _};
use crate::run::Cmd;
use store::Store;

/// Who logs in before setup.
pub const USER: &str = "setup";

/// The file on HEARTH that holds the hash of the code which `flash --setup-code` printed.
pub const CODE_FILE: &str = "hearth.setup-code";

/// The file on HEARTH that holds public keys. Windows hides the second one's ending.
pub const KEYS_FILE: &str = "authorized_keys";
const KEYS_FILES: [&str; 2] = [KEYS_FILE, "authorized_keys.txt"];

/// What sshd reads: the keys, and what it says before it asks for anything.
const KEYS: &str = "/run/hearth/setup/authorized_keys";
const BANNER: &str = "/run/hearth/setup/banner";

/// The host key that the door's sshd shows, the only one.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// More of a password than this is not read.
const TYPED_LIMIT: u64 = 512;

/// The door, for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// How it stands.
    pub state: State,
    /// Whether somebody is in, and from where.
    pub session: Option<Origin>,
}

impl Door {
    /// The door as it stands now, if there is one. Where it cannot be read nobody comes in, either.
    pub fn look() -> Option<Self> {
        let store = Store::real();
        let state = store.read().ok()??;
        Some(Self { state, session: store.seated().ok().flatten() })
    }
}

/// Makes the door: what its codes and keys are, before sshd asks.
pub fn open() -> Result<()> {
    let facts = gather()?;
    // The unit's conditions say the same; by hand it would open a machine that is set up.
    if facts.mode != Some(Mode::Setup) || Path::new(ADOPTED).exists() {
        return Err(anyhow!("this is for machines that are not set up, and were started for setup"))
            .kind(Exit::Refused);
    }
    let mut found = on_the_medium(&facts);
    let state = State {
        code: Code::draw()?,
        flashed: found.flashed.take(),
        keys: found.keys.good.len(),
        host_key: host_key()?,
        remarks: std::mem::take(&mut found.remarks),
        wrong: Vec::new(),
    };
    Store::real().create(&state)?;
    // Public, and sshd reads the keys as the user they let in.
    let dir = Path::new(KEYS).parent().context("a file needs a folder")?;
    DirBuilder::new().recursive(true).mode(0o755).create(dir).with_context(|| format!("making {}", dir.display()))?;
    durable::write(Path::new(KEYS), &found.keys.to_file())?;
    write_banner(&state)
}

/// What HEARTH holds for the door.
#[derive(Debug, Default)]
struct Found {
    flashed: Option<CodeHash>,
    keys: Keys,
    remarks: Vec<String>,
}

/// Looks on the HEARTH of the disk that setup was started from. What is wrong there keeps nobody
/// from the code on the consoles.
fn on_the_medium(facts: &Facts) -> Found {
    let Some(disk) = facts.boot_disk() else { return Found::default() };
    on_hearth(&Dev::hearth(&disk.name), |dir| Ok(look(dir))).unwrap_or_else(|error| Found {
        remarks: vec![format!("HEARTH cannot be read: {error:#}")],
        ..Found::default()
    })
}

fn look(dir: &Path) -> Found {
    let mut found = Found::default();
    let mut remark = |name: &str, why: &str| found.remarks.push(format!("{name} on HEARTH: {why}"));
    match fs::read(dir.join(CODE_FILE)).map(|bytes| CodeHash::from_file(&bytes)) {
        Ok(Ok(hash)) => found.flashed = Some(hash),
        Ok(Err(error)) => remark(CODE_FILE, &format!("{error:#}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => remark(CODE_FILE, &error.to_string()),
    }
    for name in KEYS_FILES {
        match fs::read(dir.join(name)).map(|bytes| Keys::read(&bytes)) {
            Ok(keys) => {
                keys.problems.iter().for_each(|problem| remark(name, problem));
                found.keys.good.extend(keys.good);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => remark(name, &error.to_string()),
        }
    }
    found
}

/// Makes the host key, unless it is there; gives its fingerprint. It lies in memory as all of `/etc` does.
fn host_key() -> Result<String> {
    if !Path::new(HOST_KEY).exists() {
        let make = Cmd::new("making the SSH host key", "ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "setup", "-f", HOST_KEY]).run()?;
    }
    let public = format!("{HOST_KEY}.pub");
    let text = fs::read_to_string(&public).with_context(|| format!("reading {public}"))?;
    fingerprint(&text).with_context(|| format!("{public} is damaged"))
}

/// The fingerprint of a public key, as OpenSSH writes it.
pub fn fingerprint(public: &str) -> Option<String> {
    let blob = STANDARD.decode(public.split_whitespace().nth(1)?).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))))
}

fn write_banner(state: &State) -> Result<()> {
    durable::write(Path::new(BANNER), format!("{}\n", banner(state)).as_bytes())
}

/// What somebody reads who comes to the door.
fn banner(state: &State) -> String {
    if state.is_closed() {
        return format!(
            "SSH is closed: {LIMIT} wrong codes came. Press Enter on this machine's screen or serial console,\n\
             or restart it."
        );
    }
    "This Hearth is not set up yet. Its password is the code on its screen and serial console,\n\
     or the one that was printed when its disk was written."
        .to_owned()
}

/// PAM asks: is what `typed` gives the code? The error says why not. Never says what was typed.
pub fn check(user: Option<&str>, from: Origin, typed: impl std::io::Read) -> Result<()> {
    is_for(user)?;
    let mut bytes = Zeroizing::new(Vec::new());
    typed.take(TYPED_LIMIT).read_to_end(&mut bytes).context("reading what was typed")?;
    // pam_exec ends it as C does.
    let text =
        Zeroizing::new(String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or(&[])).into_owned());
    let right = Store::real().change(|state| {
        let right = state.admits(&text, from);
        if state.is_closed() {
            // Words for whoever comes; what counts is that the count is kept, which follows.
            let _ = write_banner(state);
        }
        Ok(right)
    })?;
    match right {
        Some(true) => Ok(()),
        Some(false) => Err(anyhow!("a wrong code, or SSH is closed")).kind(Exit::Refused),
        None => Err(no_door()),
    }
}

/// PAM asks: is anybody let in now, whatever they brought? The error is for them to read.
pub fn admit(user: Option<&str>) -> Result<()> {
    is_for(user)?;
    match Store::real().read()? {
        Some(state) if state.is_closed() => Err(anyhow!(banner(&state))).kind(Exit::Refused),
        Some(_) => Ok(()),
        None => Err(no_door()),
    }
}

fn is_for(user: Option<&str>) -> Result<()> {
    (user == Some(USER)).then_some(()).context("it is not the account for setup").kind(Exit::Refused)
}

fn no_door() -> anyhow::Error {
    crate::exit::mark(anyhow!("this machine is set up, or was not started for setup"), Exit::Refused)
}

/// Shows the page to somebody who came in from `from`, unless somebody is in already.
pub fn session(from: Origin) -> Result<()> {
    if Store::real().read()?.is_none() {
        return Err(no_door());
    }
    let mut console = Console::open()?;
    let _seat: Flock<fs::File> = match Store::real().sit_down(from)? {
        Ok(seat) => seat,
        Err(other) => {
            return console.say(&format!(
                "Somebody from {other} is using SSH here already, and one at a time may. This session ends."
            ));
        }
    };
    page::run(&mut console, Place::Ssh)
}

/// A person at the machine pressed a key: a closed door opens with another code.
pub fn reopen() -> Result<()> {
    let fresh = Code::draw()?;
    let done = Store::real().change(|state| {
        state.reopen(fresh);
        write_banner(state)
    });
    done.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_one_that_openssh_shows() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop\n";
        assert_eq!(fingerprint(key).unwrap(), "SHA256:hw5KQV7roTl6YkM85OvKVxDlKdYfPJanUb4tpatto7A");
        assert_eq!(fingerprint("ssh-ed25519"), None);
    }

    #[test]
    fn files_on_hearth_are_found_and_what_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(dir.path()).remarks.is_empty());
        let code = Code::draw().unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh";
        fs::write(dir.path().join(CODE_FILE), code.hash().unwrap().to_file()).unwrap();
        fs::write(dir.path().join("authorized_keys.txt"), format!("{key}\r\n")).unwrap();
        let found = look(dir.path());
        assert!(found.flashed.unwrap().is_of(&code) && found.keys.good.len() == 1 && found.remarks.is_empty());
        fs::write(dir.path().join(CODE_FILE), "K7QXM").unwrap();
        fs::write(dir.path().join(KEYS_FILE), "nonsense").unwrap();
        let found = look(dir.path());
        assert!(found.flashed.is_none() && found.keys.good.len() == 1, "{found:?}");
        assert_eq!(found.remarks[0], "hearth.setup-code on HEARTH: it is damaged or cut off");
        assert!(found.remarks[1].starts_with("authorized_keys on HEARTH: line 1: it must begin"), "{found:?}");
    }

    #[test]
    fn only_the_account_for_setup_is_asked_about() {
        for user in [None, Some("root"), Some("Setup"), Some("")] {
            let error = check(user, Origin(None), std::io::empty()).unwrap_err();
            assert_eq!(crate::exit::code_of(&error), Exit::Refused.code());
            assert!(admit(user).is_err());
        }
    }

    /// The value of a keyword of the door's sshd.
    fn setting(keyword: &str) -> Vec<&'static str> {
        let config = include_str!("../../../overlays/base/usr/share/hearth/setup/sshd.conf");
        config
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|line| line.0 == keyword)
            .map(|line| line.1)
            .collect()
    }

    #[test]
    fn s9_the_doors_sshd_offers_the_page_and_nothing_else() {
        for (keyword, value) in [
            ("AllowUsers", USER),
            ("ForceCommand", "/usr/share/hearth/setup/session"),
            ("DisableForwarding", "yes"),
            ("PermitTunnel", "no"),
            ("PermitUserRC", "no"),
            ("PermitUserEnvironment", "no"),
            ("PermitRootLogin", "no"),
            ("PermitEmptyPasswords", "no"),
            ("MaxSessions", "1"),
            ("UsePAM", "yes"),
            ("PAMServiceName", "hearth-setup"),
            ("AuthorizedKeysFile", KEYS),
            ("Banner", BANNER),
        ] {
            assert_eq!(setting(keyword), [value], "{keyword}");
        }
        for absent in ["Subsystem", "AcceptEnv", "SetEnv", "Match", "Include"] {
            assert!(setting(absent).is_empty(), "{absent}");
        }
        assert_eq!(setting("HostKey"), [HOST_KEY]);
    }
}
