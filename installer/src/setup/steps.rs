//! The steps that are not about disks, each a few lines: what to write comes from
//! [`crate::render`], what has to take it up from [`Refresh`].

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use super::apply::{Job, changed};
use super::approved::SETUP_FILE;
use super::journal::Journal;
use super::plan::Route;
use super::{moved, source};
use crate::answers::{DnsProvider, Domain, KitTarget, Network, Secret, StackName, console_hash};
use crate::ddns;
use crate::digest::Digest;
use crate::encryption::recovery_path;
use crate::layout::PLAN_FILE;
use crate::machine::{Account, Dev, Machine, Refresh, Repository, Verdict};
use crate::render::authelia::{self, Cost, Portal};
use crate::render::docker::lan;
use crate::render::secrets::{self, Draw, Kept, Source};
use crate::render::{self, File, Owner, base_name, docker, firewall, grub, identity, network, present, stacks};

/// What is left of the answer file where it lay.
const DONE_FILE: &str = "hearth.done.toml";

/// How long a router may take to answer under a new address.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// The answers are on `data`: nothing secret of them stays on a partition that every computer reads.
pub(super) fn scrub<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    let facts = machine.facts()?;
    let approved = Digest::of(job.text.as_bytes());
    for dev in source::candidates(&facts) {
        let found = machine.answer_file(&dev);
        let Ok(Some((name, bytes))) = found else { continue };
        // Whoever put another file on another stick wants something else.
        if Digest::of(&*bytes) != approved {
            continue;
        }
        // The power may have gone before the stick that all was started from had its note.
        let is_stick = job.plan.system.route == Route::Write && dev != job.hearth;
        let noted = if is_stick { moved::note(machine, &job.plan, approved, &dev) } else { Ok(()) };
        if let Err(error) = noted.and_then(|()| take_off(machine, &job.text, job.day(), &dev, &name)) {
            if dev == job.hearth {
                return Err(error);
            }
            let text = format!(
                "{name} on {} could not be overwritten ({error:#}): change every password and token in it",
                dev.path()
            );
            journal.warn(machine, "scrub", text)?;
        }
    }
    // Adoption removes its own plan, unless the power went just before that.
    for name in [SETUP_FILE, PLAN_FILE] {
        if machine.hearth_file(&job.hearth, name)?.is_some() {
            machine.remove_hearth_file(&job.hearth, name)?;
        }
    }
    Ok(())
}

/// Overwrites the answers `text` on `dev`; what is left there has no secrets.
pub(super) fn take_off(machine: &mut impl Machine, text: &str, day: &str, dev: &Dev, name: &str) -> Result<()> {
    let left = present::done(text, day).context("taking the secrets out of the answer file")?;
    machine.put_hearth_file(dev, DONE_FILE, left.as_bytes())?;
    machine.scrub_hearth_file(dev, name)
}

/// Name, language, time zone, keyboard, and whom programs trust.
pub(super) fn identity<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    let system = &job.answers.system;
    let hostname = system.hostname.as_ref().context("the answers name no host")?;
    let rendered = identity::render(system, hostname);
    let mut work = changed(machine, &rendered.files)?;
    for link in &rendered.links {
        if machine.link_target(&link.path)?.as_deref() != Some(&link.target) {
            machine.link(&link.path, &link.target)?;
            work = true;
        }
    }
    // What the commands make cannot be told from the files they make it from.
    if work || !journal.is_done("identity") {
        for command in rendered.commands {
            machine.refresh(&Refresh::Run(command))?;
        }
        machine.refresh(&Refresh::Hostname)?;
    }
    Ok(())
}

/// The network, given up again where its router does not answer: nobody is locked out by a
/// mistyped address.
pub(super) fn network<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    let Some(answers) = &job.answers.network else { return Ok(()) };
    if journal.is_done("network") {
        return Ok(());
    }
    let rendered = take_network(machine, answers)?;
    for card in &answers.wired {
        let (Some(gateway), Some(address)) = (card.gateway, &card.address) else { continue };
        if !machine.reaches(gateway.0, PATIENCE)? {
            let wired = rendered.files.iter().filter(|file| file.path.contains("-wired-"));
            for file in wired {
                machine.remove_file(&file.path)?;
            }
            machine.refresh(&Refresh::Network)?;
            let text = format!(
                "no router answered at {} from {address}, so the wired cards went back to DHCP. Correct `network.wired` with `hearth change`",
                gateway.0
            );
            journal.warn(machine, "network", text)?;
            break;
        }
    }
    Ok(())
}

/// Puts the network's files in place and has them taken up.
pub(super) fn take_network(machine: &mut impl Machine, answers: &Network) -> Result<network::Rendered> {
    let facts = machine.facts()?;
    let rendered = network::render(answers, &facts.nics).map_err(|refusals| {
        let told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(told.join("\n"))
    })?;
    if rendered.files.is_empty() {
        return Ok(rendered);
    }
    changed(machine, &rendered.files)?;
    machine.refresh(&Refresh::Network)?;
    if !rendered.units.is_empty() {
        machine.refresh(&Refresh::Enable(rendered.units.clone()))?;
    }
    Ok(rendered)
}

/// The account of the person who looks after the machine, and the keys that may use it.
pub(super) fn admin<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    let admin = job.answers.admin.as_ref().context("the answers name no admin")?;
    let wanted = render::admin::account(admin);
    let now = machine.account(&wanted.login)?;
    let groups: Vec<String> = wanted.groups.iter().map(|group| (*group).to_owned()).collect();
    let hash = match &wanted.password_hash {
        Some(hash) => Secret::new(hash.expose().to_string()),
        None => drawn_password(machine, now.as_ref())?,
    };
    let account = Account { login: wanted.login, groups, hash };
    if now.as_ref() != Some(&account) {
        machine.set_account(&account)?;
    }
    if changed(machine, &render::admin::files(admin))? {
        machine.refresh(&Refresh::Ssh)?;
    }
    Ok(())
}

/// The name of the console password that Hearth made, for the recovery kit.
const CONSOLE: &str = "admin.password";

/// The name of the boot menu's password.
const BOOT_MENU: &str = "boot-menu.password";

/// The hash of the console password that Hearth made, once.
fn drawn_password(machine: &mut impl Machine, now: Option<&Account>) -> Result<Secret<String>> {
    let kept = Kept::drawn(CONSOLE, Draw::Typed);
    let known = machine.exists(&kept.path());
    if let (true, Some(account)) = (known, now) {
        return Ok(account.hash.clone());
    }
    keep(machine, &kept)?;
    Ok(Secret::new(console_hash(kept_text(machine, &kept)?.expose())?))
}

/// A secret that is there.
fn kept_text(machine: &impl Machine, kept: &Kept) -> Result<Secret<String>> {
    secret(machine, &kept.path())
}

/// The secret in the file at `path`.
pub(super) fn secret(machine: &impl Machine, path: &str) -> Result<Secret<String>> {
    let bytes = Zeroizing::new(machine.read_file(path)?.with_context(|| format!("{path} is gone"))?);
    Ok(Secret::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Every secret that the machine keeps; those that are drawn, once.
pub(super) fn secrets<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    for kept in secrets::list(&job.answers) {
        keep(machine, &kept)?;
    }
    Ok(())
}

/// Keeps one secret.
fn keep(machine: &mut impl Machine, kept: &Kept) -> Result<()> {
    machine.ensure_dir(secrets::DIR, 0o711, Owner::ROOT)?;
    let value = match &kept.source {
        Source::Given(value) => value.clone(),
        Source::Drawn(_) if machine.exists(&kept.path()) => return Ok(()),
        Source::Drawn(draw) => draw.make(&machine.draw(draw.bytes())?),
    };
    changed(machine, &[kept.file(&value)])?;
    Ok(())
}

/// The public name is kept up to date from now on. Whether that can work is said now, not when a
/// certificate runs out; the rest of setup does not need it.
pub(super) fn domain<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    let Some(Domain { dns: DnsProvider::DuckDns, name, token, .. }) = &job.answers.domain else { return Ok(()) };
    if journal.is_done("domain") {
        return Ok(());
    }
    follow_name(machine)?;
    let token = Secret::new(token.expose().to_string());
    let text = match machine.ask_duckdns(&name.to_string(), &token)? {
        Verdict::Belong => return Ok(()),
        Verdict::Refused => format!(
            "DuckDNS refuses `domain.token` for {name}: one of the two is mistyped. Compare both with your page at \
             duckdns.org. The right token goes into {}/{}",
            secrets::DIR,
            secrets::DOMAIN
        ),
        Verdict::Unknown(why) => format!(
            "whether `domain.token` is right for {name} could not be checked ({why}). Setting up went on without"
        ),
    };
    journal.warn(machine, "domain", text)
}

/// Has the public name kept up to date from now on.
pub(super) fn follow_name(machine: &mut impl Machine) -> Result<()> {
    machine.refresh(&Refresh::Enable(vec![ddns::TIMER.to_owned()]))
}

/// The portal's configuration and its people. Once made, the list of people is the portal's own.
pub(super) fn portal<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    if !job.answers.stacks.contains(&StackName::Core) || journal.is_done("portal") {
        return Ok(());
    }
    let facts = machine.facts()?;
    let hostname = job.answers.system.hostname.as_ref().context("the answers name no host")?;
    let memory = facts.memory.unwrap_or_default();
    let pass = machine.time_to_hash(Cost::single_pass(memory))?;
    let base = base_name(hostname, job.answers.domain.as_ref());
    let lan = lan(&facts.nics, job.answers.network.as_ref());
    let portal = Portal {
        base: &base,
        lan: &lan,
        cost: Cost::calibrated(memory, pass),
        mail: job.answers.mail.as_ref(),
        users: &job.answers.users,
    };
    machine.ensure_dir("/opt/stacks/core", 0o755, Owner::ROOT)?;
    machine.ensure_dir(authelia::DIR, 0o700, Owner::AUTHELIA)?;
    changed(machine, &authelia::files(&portal)?)?;
    Ok(())
}

/// The boot menu's password: drawn once, and known to the recovery kit.
pub(super) fn boot_menu<M: Machine>(machine: &mut M, _: &Job, journal: &mut Journal) -> Result<()> {
    if journal.is_done("boot-menu") && machine.exists(grub::PATH) {
        return Ok(());
    }
    let kept = Kept::drawn(BOOT_MENU, Draw::Typed);
    keep(machine, &kept)?;
    let password = kept_text(machine, &kept)?;
    let file = grub::password(&password, &machine.draw(grub::SALT)?)?;
    machine.put_file(&file)?;
    // GRUB replays no journal: to it a file exists once the journal is written back.
    machine.settle("/")?;
    Ok(())
}

/// What opens the machine again, on a role disk, for its owner to move to a safe place.
pub(super) fn kit<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    let Some(path) = job.answers.recovery_kit.as_ref().and_then(KitTarget::file) else { return Ok(()) };
    let hostname = job.answers.system.hostname.as_ref().context("the answers name no host")?;
    let admin = job.answers.admin.as_ref().context("the answers name no admin")?;
    let mut text = Zeroizing::new(format!(
        "What opens {hostname} (install {}). Keep it where neither fire nor thief reaches both.\n\n",
        job.plan.install
    ));
    if admin.password_hash.is_none() {
        let password = kept_text(machine, &Kept::drawn(CONSOLE, Draw::Typed))?;
        text.push_str(&secrets::console_line(&admin.login.to_string(), &password));
    }
    if job.plan.encryption.is_some() {
        let key = secret(machine, &recovery_path())?;
        text.push_str(&format!("Recovery key of the encrypted disks:\n    {}\n", key.expose()));
    }
    let menu = kept_text(machine, &Kept::drawn(BOOT_MENU, Draw::Typed))?;
    text.push_str(&format!("Password of {} in the boot menu: {}\n", grub::USER, menu.expose()));
    changed(machine, &[File::private(path, Owner::ROOT, text.as_bytes())])?;
    Ok(())
}

/// What is reachable from outside. The stacks open their ports when they are deployed. Nobody is
/// there to confirm that the machine can still be reached, so a neighbour made for it tries.
pub(super) fn firewall<M: Machine>(machine: &mut M, _: &Job, journal: &mut Journal) -> Result<()> {
    if journal.is_done("firewall") {
        return Ok(());
    }
    changed(machine, &firewall::files(&firewall::table(false, false)))?;
    let Some(why) = shut_out(machine)? else { return Ok(()) };
    changed(machine, &firewall::of_image())?;
    machine.refresh(&Refresh::Firewall).context("taking the former rules of the firewall back")?;
    let text =
        format!("{why}, so the firewall has the rules again that Hearth's image came with: 80 and 443 are not shut");
    journal.warn(machine, "firewall", text)
}

/// Loads the firewall's rules, and tells what speaks against keeping them.
fn shut_out(machine: &mut impl Machine) -> Result<Option<String>> {
    if let Err(error) = machine.refresh(&Refresh::Firewall) {
        return Ok(Some(format!("the firewall's new rules could not be loaded ({error:#})")));
    }
    let shut = machine.admits(SSH)? == Some(false);
    Ok(shut.then(|| format!("with the firewall's new rules nobody could come to port {SSH} (SSH)")))
}

/// The port of SSH.
const SSH: u16 = 22;

/// Docker's addresses, and the networks that the stacks take for granted.
pub(super) fn docker<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    if docker_addresses(machine, job)? {
        machine.refresh(&Refresh::Restart("docker.service".to_owned()))?;
    }
    for network in docker::networks(&job.plan.containers) {
        machine.ensure_network(&network)?;
    }
    Ok(())
}

/// Docker's addresses alone; true if they were others.
pub(super) fn docker_addresses(machine: &mut impl Machine, job: &Job) -> Result<bool> {
    let now = machine.read_file(docker::PATH)?.context("Docker's configuration is gone")?;
    changed(machine, &[docker::daemon(&String::from_utf8_lossy(&now), &job.plan.containers)?])
}

/// The history of the stacks' folder begins with what setup made.
pub(super) fn history<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    let hostname = job.answers.system.hostname.as_ref().context("the answers name no host")?;
    let named = format!("{}/{}", stacks::DIR, stacks::NAMED);
    let repository = Repository {
        dir: stacks::DIR.to_owned(),
        named: if machine.exists(&named) { vec![stacks::NAMED.to_owned()] } else { Vec::new() },
        email: format!("hearth@{hostname}"),
        message: format!("Set up by Hearth {}", job.plan.hearth),
    };
    if machine.exists(&repository.path()) {
        return Ok(());
    }
    changed(machine, &[stacks::ignore()])?;
    machine.make_repository(&repository)
}

/// The present truth, that later changes start from.
pub(super) fn truth<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    let truth = present::truth(&job.answers).context("writing down what this machine is")?;
    changed(machine, &[truth])?;
    Ok(())
}
