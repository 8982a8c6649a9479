//! Keeping the record up to date: at the end of setup, at every start, and whenever what it is
//! made from changes. It is made from what the machine is now, and written only if it differs.

use anyhow::{Context as _, Result, anyhow, ensure};
use toml::{Table, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::apply::PENDING;
use super::record::{FOLDER, FORMAT, NAME, Record, Setup};
use crate::adopt::storage::{data_in, install_in, unit_name};
use crate::answers::STARS;
use crate::encryption;
use crate::exit::{Exit, Kind as _};
use crate::layout::{ADOPTED, DATA_DIR};
use crate::machine::real::Real;
use crate::machine::{Machine, table};
use crate::render::{File, Owner, present};
use crate::setup::{APPROVED, Approved, SEALED};
use crate::truth;

/// What of the answers is about root.
const ABOUT_ROOT: [&str; 5] = ["version", "recovery-kit", "system", "network", "admin"];

/// The same by a command of its own: not while root is not yet what it should be.
pub fn keep_now() -> Result<()> {
    let mut machine = Real;
    let is_unfinished = machine.exists(PENDING) || machine.exists(APPROVED) && !machine.exists(SEALED);
    if is_unfinished || !machine.exists(ADOPTED) {
        return Err(anyhow!("nothing is kept before this machine is set up, or while it is repaired"))
            .kind(Exit::Refused);
    }
    keep(&mut machine).map(drop)
}

/// Keeps on `data` what a repair needs to know of this machine as it is now; true if that was something new.
pub fn keep(machine: &mut impl Machine) -> Result<bool> {
    ensure!(machine.is_mounted(DATA_DIR)?, "data is not mounted, so what a repair needs cannot be kept there");
    let record = record(machine)?;
    let folder = format!("{DATA_DIR}/{FOLDER}");
    let file = File::private(format!("{folder}/{NAME}"), Owner::ROOT, record.to_bytes()?.to_vec());
    if machine.has_file(&file)? {
        return Ok(false);
    }
    machine.ensure_dir(&folder, 0o700, Owner::ROOT)?;
    machine.put_file(&file)?;
    // A repair looks at data without reading the log of what was written last.
    machine.settle(DATA_DIR)?;
    Ok(true)
}

/// The record of this machine.
fn record(machine: &impl Machine) -> Result<Record> {
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let text = |path: &str| -> Result<String> {
        let bytes = machine.read_file(path)?.with_context(|| format!("{path} is gone"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let install = install_in(&text(ADOPTED)?).with_context(|| format!("{ADOPTED} names no install id"))?;
    let unit = format!("/etc/systemd/system/{}", unit_name(DATA_DIR, "mount"));
    let data: Option<Uuid> = data_in(&text(&unit)?).and_then(|id| id.parse().ok());
    Ok(Record {
        format: FORMAT,
        hearth: facts.version().to_owned(),
        install,
        table: table::Table::read(machine, &disk.name, disk.size, disk.logical_sector)?,
        data: data.with_context(|| format!("{unit} names no file system"))?,
        encryption: encryption::known(machine)?,
        files: Record::kept(|path| machine.read_file(path))?,
        setup: setup(machine)?,
    })
}

fn setup(machine: &impl Machine) -> Result<Option<Setup>> {
    let Some(bytes) = machine.read_file(APPROVED)? else { return Ok(None) };
    let approved = Approved::from_bytes(&bytes)?;
    let mut setup = Setup { approved, answers: about_root(machine)?.to_string(), password: String::new() };
    let answers = setup.read().with_context(|| format!("reading {} and its secrets", present::PATH))?;
    let admin = answers.admin.as_ref().context("the answers name no admin")?;
    let login = admin.login.to_string();
    let account = machine.account(&login)?.with_context(|| format!("the account {login} is gone"))?;
    account.hash.expose().clone_into(&mut setup.password);
    Ok(Some(setup))
}

/// The part of the present truth that is about root, with its secrets in their places.
fn about_root(machine: &impl Machine) -> Result<Zeroizing<String>> {
    let mut truth: Table = truth::read(machine)?;
    truth.retain(|key, _| ABOUT_ROOT.contains(&key));
    fill(machine, &mut truth, "")?;
    toml::to_string(&truth).map(Zeroizing::new).context("writing down what is about root")
}

/// Puts each secret where stars stand for it; its file has the name of its place.
fn fill(machine: &impl Machine, table: &mut Table, above: &str) -> Result<()> {
    for (key, value) in table.iter_mut() {
        let place = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        match value {
            Value::Table(inner) => fill(machine, inner, &place)?,
            Value::String(text) if text == STARS => {
                truth::secret(machine, &place)?.expose().clone_into(text);
            }
            _ => {}
        }
    }
    Ok(())
}
