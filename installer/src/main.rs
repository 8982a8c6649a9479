//! `hearth`: everything that runs on the appliance.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Args, Parser, Subcommand};
use hearth::exit::{self, Exit, Kind as _};
use hearth::page::text::print;
use hearth::page::{Console, Place};
use hearth::{
    adopt, answers, ask, bootchain, claim, ddns, encryption, facts, notify, page, passphrase, repair, reset, run,
    setup, status, users, web,
};

/// Runs a homelab on this machine.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, max_term_width = 80)]
struct Cli {
    /// Print every command before it runs.
    #[arg(long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what this machine is.
    Facts(FactsArgs),
    /// Show the first page on this terminal.
    Page(PageArgs),
    /// Print the lines that stand above a login: version, address, state.
    Head(HeadArgs),
    /// Run from this disk: grow the system, make data, start normally from then on.
    AdoptDisk(AdoptArgs),
    /// Set the machine up: by questions on this terminal, or as an answer file asks.
    Setup(SetupArgs),
    /// Write the system of another disk anew, and keep everything that is on its data.
    Repair(RepairArgs),
    /// Keep what is answered in setup mode while consoles come and go.
    #[command(hide = true)]
    Session,
    /// Check answer files (hearth.toml), and help to write them.
    #[command(subcommand)]
    Answers(answers::command::Command),
    /// Show how this machine is, on one screen.
    Status(StatusArgs),
    /// Show everything that was looked at, and what to do about what is not as it should be.
    Doctor(StatusArgs),
    /// Look after the people of the portal.
    #[command(subcommand)]
    User(users::Command),
    /// Have the public name lead to where this machine is now.
    Ddns(ddns::DdnsArgs),
    /// Tell the owner something by mail.
    #[command(subcommand)]
    Notify(notify::Command),
    /// Open the encrypted disks: asks for what opens them, then mounts data and starts Docker.
    Unlock(UnlockArgs),
    /// Serve the page of `http://hearth.local` on the socket that systemd gives.
    #[command(hide = true)]
    Web,
    /// Start over: erase all that is the owner's, and have the machine set up anew.
    Reset(ResetArgs),
    /// Keep the boot loaders on the disk in step with their packages.
    BootChain(BootChainArgs),
    /// Keep the door that SSH is before setup.
    #[command(subcommand, hide = true)]
    Claim(claim::command::Command),
}

#[derive(Debug, Args)]
struct FactsArgs {
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PageArgs {
    /// Only tell by the exit code whether a person could sit at this terminal (ttyS0 …).
    #[arg(long, value_name = "TTY")]
    usable: Option<String>,
}

#[derive(Debug, Args)]
struct HeadArgs {
    /// Keep them in a file that logins show, and have waiting logins show it.
    #[arg(long)]
    publish: bool,
}

#[derive(Debug, Args)]
struct UnlockArgs {
    /// Ask on this console, before its login; do nothing if nothing is locked.
    #[arg(long, hide = true)]
    at_console: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("scope").required(true)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct ResetArgs {
    /// Erase what is the owner's on the system disk; keep the disks for media, downloads and backups.
    #[arg(long, group = "scope")]
    keep_disks: bool,
    /// Erase those disks as well.
    #[arg(long, group = "scope")]
    erase_all: bool,
    /// Carry out the reset that was approved before the restart.
    #[arg(long, group = "scope", hide = true, conflicts_with = "dry_run")]
    resume: bool,
    /// Print the plan and every effect it would have; change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct BootChainArgs {
    #[command(subcommand)]
    action: BootChainAction,
}

#[derive(Debug, Subcommand)]
enum BootChainAction {
    /// Bring the EFI system partition and the BIOS core up to date; what is equal is not written.
    Renew {
        /// Tell what would be written; write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write new kernels through to where GRUB reads them.
    Settle,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct AdoptArgs {
    /// Print the plan and every effect it would have; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Carry out the plan that was approved before the restart.
    #[arg(long)]
    resume: bool,
    /// Take the approval from the systemd credential `hearth.adopt`.
    #[arg(long)]
    unattended: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what")))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct RepairArgs {
    /// The disk, by its name under /dev/disk/by-id, where several could be repaired.
    #[arg(conflicts_with_all = ["unattended", "resume", "keep"])]
    disk: Option<String>,
    /// Print the plan and every effect it would have; change nothing.
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Take the approval from the systemd credential `hearth.repair`.
    #[arg(long, group = "what")]
    unattended: bool,
    /// Make the system that was written anew what it was.
    #[arg(long, group = "what", hide = true)]
    resume: bool,
    /// Keep on data what a repair needs.
    #[arg(long, group = "what", hide = true)]
    keep: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how")))]
struct SetupArgs {
    /// In setup mode: look for an answer file (hearth.toml), and follow it.
    #[arg(long, group = "how")]
    unattended: bool,
    /// Carry on with an approved setup on the disk it was approved for.
    #[arg(long, group = "how")]
    resume: bool,
    /// In setup mode: print the plan for this machine, or all that stands against it; change nothing.
    #[arg(long, group = "how")]
    dry_run: bool,
    /// The answer file for the dry run. Without it the one that setup would find.
    #[arg(long, value_name = "FILE", requires = "dry_run", conflicts_with_all = ["unattended", "resume"])]
    answers: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::set_verbose(cli.verbose);
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report("hearth", &error),
    }
}

fn carry_out(command: Command) -> Result<()> {
    match command {
        Command::Answers(command) => answers::command::run(&command),
        Command::BootChain(BootChainArgs { action: BootChainAction::Renew { dry_run } }) => {
            bootchain::renew::renew(dry_run, &mut |line| println!("{line}"))
        }
        Command::BootChain(BootChainArgs { action: BootChainAction::Settle }) => bootchain::renew::settle(),
        Command::Claim(command) => claim::command::run(command),
        Command::Ddns(args) => ddns::run(&args),
        Command::Facts(args) => show_facts(&args),
        Command::Notify(command) => notify::run(&command),
        Command::Page(args) => show_page(&args),
        Command::Head(args) => page::show_head(args.publish),
        Command::AdoptDisk(args) => adopt_disk(&args),
        Command::Repair(args) => repair_disk(&args),
        Command::Session => ask::keep_session(),
        Command::Setup(args) if args.dry_run => print(&setup::dry_run(args.answers.as_deref())?),
        Command::Setup(args) if args.unattended => setup::unattended(),
        Command::Setup(args) if args.resume => setup::resume(),
        Command::Setup(_) => ask::run(&mut Console::open()?, &mut ask::Replies::default()),
        Command::Reset(args) => reset_machine(&args),
        Command::Status(args) => status::status(args.json),
        Command::Doctor(args) => status::doctor(args.json),
        Command::User(command) => users::run(&command),
        Command::Unlock(args) if args.at_console => encryption::at_console(),
        Command::Unlock(_) => encryption::unlock(),
        Command::Web => web::run(),
    }
}

fn show_facts(args: &FactsArgs) -> Result<()> {
    let facts = facts::gather()?;
    if args.json {
        return print(&[serde_json::to_string_pretty(&facts).context("writing the facts as JSON")?]);
    }
    print(&page::details(&facts))
}

fn show_page(args: &PageArgs) -> Result<()> {
    if let Some(tty) = &args.usable {
        let usable = page::is_usable(tty);
        return usable.then_some(()).with_context(|| format!("{tty} has no hardware")).kind(Exit::Environment);
    }
    page::run(&mut Console::open()?, Place::Console)
}

fn reset_machine(args: &ResetArgs) -> Result<()> {
    if args.resume {
        return reset::resume();
    }
    let scope = if args.erase_all { reset::Scope::EraseAll } else { reset::Scope::KeepDisks };
    if args.dry_run { print(&reset::dry_run(scope)?) } else { reset::run(scope) }
}

fn adopt_disk(args: &AdoptArgs) -> Result<()> {
    if args.dry_run {
        return print(&adopt::dry_run()?);
    }
    if args.resume {
        return adopt::resume();
    }
    if args.unattended {
        return adopt::unattended();
    }
    adopt::ask(&mut Console::open()?)
}

fn repair_disk(args: &RepairArgs) -> Result<()> {
    let disk = args.disk.as_deref();
    if args.dry_run {
        let key = || passphrase::ask("Data is encrypted. Type what opens it", false);
        return print(&repair::dry_run(disk, key)?);
    }
    if args.unattended {
        return repair::unattended();
    }
    if args.resume {
        return repair::resume();
    }
    if args.keep {
        return repair::keep_now();
    }
    repair::ask(&mut Console::open()?, disk)
}
