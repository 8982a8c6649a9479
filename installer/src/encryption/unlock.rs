//! Opening `data` after a start. Nothing waits for it: SSH and the logins come up while it is
//! locked. Each console asks before it shows its login, and whoever is logged in, by SSH too,
//! says `hearth unlock`. Then what lies on `data` is mounted, and Docker starts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::{DATA_NAME, Encryption, Key, LOCK_FILE, is_recovery_key, mapped};
use crate::answers::{Secret, Unlock};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Mode, gather};
use crate::machine::real::Real;
use crate::machine::{Dev, Machine, Refresh};
use crate::page::text::wrap;
use crate::page::{Console, Input, Talk};
use crate::passphrase;

/// How often somebody may mistype before the login comes.
const TRIES: usize = 3;

/// How often a console looks whether somebody else has opened the disks.
const GLANCE: Duration = Duration::from_secs(2);

/// How long udev may take to find the disk after a start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long `data` may take to be mounted once it is open.
const MOUNTED: Duration = Duration::from_secs(120);

/// Where people's own folders are seen once `data` is mounted.
const HOME: &str = "/home";

/// How `data` is encrypted on this machine, if it is.
pub fn known(machine: &impl Machine) -> Result<Option<Encryption>> {
    let Some(bytes) = machine.read_file(LOCK_FILE)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("reading {LOCK_FILE}"))
}

/// The same as long as it is locked.
pub fn locked(machine: &impl Machine) -> Result<Option<Encryption>> {
    Ok(known(machine)?.filter(|_| !machine.exists(&mapped(DATA_NAME))))
}

/// Why there is nothing to type.
pub fn absent(encryption: Encryption) -> String {
    format!(
        "no disk holds the encrypted container {}. Is a disk unplugged, or its beginning overwritten?",
        encryption.luks
    )
}

/// `hearth unlock`: asks whoever is logged in, and starts what waits for `data`.
pub fn unlock() -> Result<()> {
    let mut machine = Real;
    let encryption = known(&machine)?.context("nothing on this machine is encrypted").kind(Exit::Refused)?;
    if !geteuid().is_root() {
        return Err(anyhow!("only root may open the disks: `sudo hearth unlock`")).kind(Exit::Environment);
    }
    if locked(&machine)?.is_none() {
        println!("The disks are open.");
        return Ok(());
    }
    if !machine.exists(&Dev::of_id(encryption.luks).path()) {
        return Err(anyhow!(absent(encryption))).kind(Exit::Environment);
    }
    for _ in 0..TRIES {
        let typed = passphrase::ask(&format!("Type {} or the recovery key", encryption.typed()), false)?;
        if typed.is_empty() {
            return Err(anyhow!("nothing was typed, and the disks stay locked")).kind(Exit::Input);
        }
        if fits(&mut machine, encryption, typed)? {
            if gather()?.mode != Some(Mode::Normal) {
                let open = mapped(DATA_NAME);
                println!("The disks are open. This start leaves data alone; it is in {open}, to be mounted by hand.");
                return Ok(());
            }
            machine.refresh(&Refresh::Data)?;
            wait_until_mounted(&machine)?;
            println!("The disks are open, and data is mounted. Docker starts now.");
            return Ok(());
        }
        eprintln!("{}", wrong(encryption));
    }
    Err(anyhow!("{TRIES} wrong ones, and the disks stay locked")).kind(Exit::Refused)
}

fn wait_until_mounted(machine: &impl Machine) -> Result<()> {
    let until = Instant::now() + MOUNTED;
    while !machine.is_mounted(HOME)? {
        if Instant::now() >= until {
            let text = "the disks are open, but data is not mounted: `hearth head` says why";
            return Err(anyhow!(text)).kind(Exit::Io);
        }
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Asks on a console, before its login. Whatever comes of it, the login follows.
pub fn at_console() -> Result<()> {
    let mut machine = Real;
    let Some(encryption) = locked(&machine)? else { return Ok(()) };
    // Recovery leaves data alone.
    if gather()?.mode != Some(Mode::Normal) {
        return Ok(());
    }
    let mut console = Console::open()?;
    let dev = Dev::of_id(encryption.luks).path();
    let until = Instant::now() + PATIENCE;
    while !machine.exists(&dev) && Instant::now() < until {
        sleep(Duration::from_secs(1));
    }
    if !machine.exists(&dev) {
        return console.say_all(&wrap("data is MISSING: ", &absent(encryption)));
    }
    console.show_typing(false)?;
    ask(&mut console, &mut machine, encryption)
}

fn ask(talk: &mut impl Talk, machine: &mut impl Machine, encryption: Encryption) -> Result<()> {
    let what = encryption.typed();
    talk.say("")?;
    let text = format!(
        "The disks of this machine are locked. Type {what} or the recovery key, which are not shown, and press Enter. \
         Enter alone leads to the login, where `sudo hearth unlock` asks again."
    );
    talk.say_all(&wrap("", &text))?;
    for _ in 0..TRIES {
        talk.ask("Unlock: ")?;
        let typed = loop {
            match talk.hear(Some(GLANCE))? {
                Input::Closed => return Ok(()),
                Input::Nothing if locked(machine)?.is_none() => return talk.say("\nThe disks were opened elsewhere."),
                Input::Nothing => {}
                Input::Interrupted => break Zeroizing::new(String::new()),
                Input::Line(line) => break Zeroizing::new(line),
            }
        };
        talk.say("")?;
        if typed.is_empty() {
            return talk.say("The disks stay locked, and Docker stays down.");
        }
        if locked(machine)?.is_none() {
            return talk.say("The disks were opened elsewhere.");
        }
        talk.say("Opening ...")?;
        match fits(machine, encryption, typed) {
            Ok(true) => {
                machine.refresh(&Refresh::Data)?;
                return talk.say("The disks are open. Docker starts now.");
            }
            Ok(false) => talk.say(wrong(encryption))?,
            Err(error) => return talk.say_all(&wrap("", &format!("{error:#}"))),
        }
    }
    talk.say_all(&wrap("", &format!("{TRIES} wrong ones: the disks stay locked. `sudo hearth unlock` asks again.")))
}

/// Whether what was typed opens `data`.
fn fits(machine: &mut impl Machine, encryption: Encryption, mut typed: Zeroizing<String>) -> Result<bool> {
    let key = match (is_recovery_key(&typed), encryption.unlock) {
        // Never as a PIN: the TPM counts wrong ones.
        (Some(key), _) => Key::Drawn(key),
        (None, Unlock::Passphrase) => Key::Passphrase(Secret::new(std::mem::take(&mut *typed))),
        (None, Unlock::TpmPin) => Key::Pin(Secret::new(std::mem::take(&mut *typed))),
    };
    machine.open_luks(&Dev::of_id(encryption.luks), DATA_NAME, &key)
}

fn wrong(encryption: Encryption) -> &'static str {
    match encryption.unlock {
        Unlock::Passphrase => "That does not open the disks.",
        Unlock::TpmPin => {
            "That does not open the disks. After several wrong PINs the TPM takes none for a while; the recovery key always works."
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::encryption::{Keys, recovery_form};
    use crate::machine::fake::Fake;
    use crate::page::script::Script;
    use crate::render::File;

    const PASSPHRASE: &str = "open sesame please";

    /// A machine whose `data` is locked.
    fn machine(unlock: Unlock, everyday: Key) -> (Fake, Encryption) {
        let mut fake = Fake::new(64);
        let encryption = Encryption { unlock, luks: Uuid::from_u128(7) };
        let file = File::public(LOCK_FILE, serde_json::to_string(&encryption).unwrap());
        fake.put_file(&file).unwrap();
        let keys = Keys { recovery: recovery_form(&[5; 32]), everyday };
        fake.make_luks(&Dev::of_id(encryption.luks), encryption.luks, &keys).unwrap();
        (fake, encryption)
    }

    fn with_passphrase() -> (Fake, Encryption) {
        machine(Unlock::Passphrase, Key::Passphrase(Secret::new(PASSPHRASE.to_owned())))
    }

    fn asked(fake: &mut Fake, encryption: Encryption, answers: &[&str]) -> Vec<String> {
        let mut talk = Script::new(answers);
        ask(&mut talk, fake, encryption).unwrap();
        talk.said
    }

    #[test]
    fn the_passphrase_opens_and_starts_what_waits() {
        let (mut fake, encryption) = with_passphrase();
        assert_eq!(locked(&fake).unwrap(), Some(encryption));
        let said = asked(&mut fake, encryption, &["wrong one, alas", PASSPHRASE]);
        assert!(said.contains(&wrong(encryption).to_owned()) && said.last().unwrap().contains("are open"), "{said:?}");
        assert_eq!((locked(&fake).unwrap(), fake.refreshed.as_slice()), (None, [Refresh::Data].as_slice()));
        assert!(!said.iter().any(|line| line.contains(PASSPHRASE) || line.contains("alas")));
    }

    #[test]
    fn three_wrong_ones_or_enter_alone_lead_to_the_login() {
        for answers in [["one", "two", "three", PASSPHRASE], ["", PASSPHRASE, "", ""]] {
            let (mut fake, encryption) = with_passphrase();
            let said = asked(&mut fake, encryption, &answers);
            assert!(said.last().unwrap().contains("locked"), "{said:?}");
            assert!(locked(&fake).unwrap().is_some() && fake.refreshed.is_empty());
        }
    }

    #[test]
    fn the_recovery_key_opens_however_it_is_typed_and_is_never_a_pin() {
        let pin = Key::Pin(Secret::new("314159".to_owned()));
        let recovery = recovery_form(&[5; 32]).expose().replace('-', " ").to_uppercase();
        for typed in ["314159", recovery.as_str()] {
            let (mut fake, encryption) = machine(Unlock::TpmPin, pin.clone());
            asked(&mut fake, encryption, &[typed]);
            assert_eq!(locked(&fake).unwrap(), None, "{typed}");
        }
    }

    #[test]
    fn a_machine_without_encryption_has_nothing_to_unlock() {
        assert_eq!(known(&Fake::new(64)).unwrap(), None);
    }
}
