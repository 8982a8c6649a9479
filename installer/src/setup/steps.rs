//! The steps that are not about disks, each a few lines: what to write comes from
//! [`crate::render`], what has to take it up from [`Refresh`].

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use super::apply::{Did, Job, changed, on_hearth};
use super::approved::SETUP_FILE;
use super::journal::Journal;
use crate::answers::{Secret, console_hash};
use crate::machine::{Account, Machine, Refresh};
use crate::render::{File, Owner, admin as render_admin};

/// The console password, if Hearth made it: on `data`, for the recovery kit.
pub const CONSOLE_PASSWORD: &str = "/etc/hearth/secrets/console-password";

/// What people type: no characters that look alike, none that keyboards move about.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxy2345678923";

/// The answers are on `data`: nothing of them stays on a partition that every computer reads.
pub(super) fn scrub<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<Did> {
    if !on_hearth(machine, &job.hearth)? {
        return Ok(Did::Nothing);
    }
    if let Some((name, _)) = machine.answer_file(&job.hearth)? {
        machine.scrub_hearth_file(&job.hearth, &name)?;
    }
    // Last: as long as it is there, this step knows that it is not finished.
    machine.remove_hearth_file(&job.hearth, SETUP_FILE)?;
    Ok(Did::Work)
}

/// The account of the person who looks after the machine, and the keys that may use it.
pub(super) fn admin<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<Did> {
    let admin = job.answers.admin.as_ref().context("the answers name no admin")?;
    let wanted = render_admin::account(admin);
    let now = machine.account(&wanted.login)?;
    let groups: Vec<String> = wanted.groups.iter().map(|group| (*group).to_owned()).collect();
    let hash = match &wanted.password_hash {
        Some(hash) => Secret::new(hash.expose().to_string()),
        None => made(machine, now.as_ref())?,
    };
    let account = Account { login: wanted.login, groups, hash };
    let mut work = false;
    if now.as_ref() != Some(&account) {
        machine.set_account(&account)?;
        work = true;
    }
    if changed(machine, &render_admin::files(admin))? {
        machine.refresh(&Refresh::Ssh)?;
        work = true;
    }
    Ok(work.into())
}

/// The hash of the console password that Hearth made, once.
fn made(machine: &mut impl Machine, now: Option<&Account>) -> Result<Secret<String>> {
    let known = machine.read_file(CONSOLE_PASSWORD)?;
    if let (Some(_), Some(account)) = (&known, now) {
        return Ok(account.hash.clone());
    }
    let password = if let Some(bytes) = known {
        Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned())
    } else {
        let password = words(&machine.draw(20)?);
        let line = format!("{}\n", &*password);
        machine.put_file(&File::private(CONSOLE_PASSWORD, Owner::ROOT, line.into_bytes()))?;
        password
    };
    Ok(Secret::new(console_hash(&password)?))
}

/// Random bytes as something to type: five bits a letter, in groups of five.
fn words(bytes: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            out.push('-');
        }
        out.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    out
}
