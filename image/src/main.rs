//! `hearth-image`: the workstation's side of Hearth.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use hearth_image::cache::Cache;
use hearth_image::inside::{self, Enter};
use hearth_image::progress;
use hearth_image::tools::{ToolSet, Tools};

const PROGRAM: &str = "hearth-image";

/// Builds, checks, boots and flashes the Hearth appliance image
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, max_term_width = 100)]
struct Cli {
    /// How to show progress
    #[arg(long, global = true, value_enum, default_value = "auto")]
    log_format: progress::LogFormat,
    /// Print every command before it runs
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What `hearth-image` runs of itself inside a sandbox
    #[command(subcommand, hide = true)]
    Internal(Internal),
}

#[derive(Debug, Subcommand)]
enum Internal {
    Enter(EnterArgs),
    Untar {
        from: PathBuf,
        to: PathBuf,
    },
    /// Runs a program out of a tools tree, with the current folder shown inside
    Tool {
        set: ToolSet,
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct EnterArgs {
    #[arg(long)]
    tree: PathBuf,
    #[arg(long)]
    at: PathBuf,
    #[arg(long, num_args = 2, action = clap::ArgAction::Append)]
    bind: Vec<PathBuf>,
    #[arg(last = true)]
    argv: Vec<OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => hearth::exit::report(PROGRAM, &error),
    }
}

fn run(cli: Cli) -> Result<()> {
    progress::choose(cli.log_format);
    hearth::run::set_verbose(cli.verbose);
    match cli.command {
        Command::Internal(internal) => run_internal(internal),
    }
}

fn run_internal(command: Internal) -> Result<()> {
    match command {
        Internal::Enter(args) => {
            let binds = args.bind.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            inside::enter(&Enter { tree: args.tree, at: args.at, binds, argv: args.argv })
        }
        Internal::Untar { from, to } => inside::untar(&from, &to),
        Internal::Tool { set, argv } => run_tool(set, &argv),
    }
}

fn run_tool(set: ToolSet, argv: &[OsString]) -> Result<()> {
    let tools = Tools::ensure(&Cache::open()?, set, None)?;
    let here = std::env::current_dir().context("finding the current folder")?;
    let error = tools.sandbox()?.bind(here).command(&argv[0]).args(&argv[1..]).exec();
    Err(error).context("starting the sandbox")
}
