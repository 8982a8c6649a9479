//! `hearth-image`: the workstation's side of Hearth.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use hearth::exit::{Exit, Kind as _};
use hearth::manifest::Bundle;
use hearth::passphrase;
use hearth::units::Bytes;
use hearth_image::build::{self, Request};
use hearth_image::cache::Cache;
use hearth_image::inside::{self, Enter};
use hearth_image::outputs::Outputs;
use hearth_image::recipe::Recipe;
use hearth_image::tools::{ToolSet, Tools};
use hearth_image::{interrupt, progress, sign, verify};

const PROGRAM: &str = "hearth-image";

/// Builds, checks, boots and flashes the Hearth appliance image
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, max_term_width = 100, after_help = exit_codes())]
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
    /// Resolve the packages and write the lock only
    Lock(BuildArgs),
    /// Build the image: needs no flags
    Build {
        #[command(flatten)]
        args: BuildArgs,
        /// Compress it, too
        #[arg(long)]
        compress: bool,
    },
    /// Try an image in a virtual machine
    Boot(hearth_image::boot::Args),
    /// List the disks of this computer
    Disks(DisksArgs),
    /// Write an image to a disk, and read it back
    Flash(hearth_image::flash::Args),
    /// Compress the image that was built
    Compress(OutArgs),
    /// Describe an image: ids, partitions, packages
    Inspect(ImageArgs),
    /// Check an image against its manifest, its sums and its signature
    Verify(VerifyArgs),
    /// Make the key pair that signs images
    Keygen,
    /// Sign the manifest of the image that was built
    Sign(OutArgs),
    /// Check answer files (hearth.toml), and help to write them
    #[command(subcommand)]
    Answers(hearth::answers::command::Command),
    /// What `hearth-image` runs of itself inside a sandbox
    #[command(subcommand, hide = true)]
    Internal(Internal),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The recipe to build [default: recipe.toml of the checkout]
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Build exactly what this lock names
    #[arg(long)]
    lock: Option<PathBuf>,
    /// The folder for the result [default: out/ in the checkout]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DisksArgs {
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OutArgs {
    /// The folder that holds the image [default: out/ in the checkout]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ImageArgs {
    /// The image [default: the one in out/ of the checkout]
    image: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// The public key that must have signed it [default: your own, if you made one]
    #[arg(long)]
    key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// Assembles a root from a tools tree and becomes a program on it
    Enter(EnterArgs),
    /// Makes all mounts private and becomes a program
    Private {
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
    /// Unpacks a tools tree
    Untar { from: PathBuf, to: PathBuf },
    /// Makes a base layer
    Base { spec: PathBuf },
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
        Err(error) => {
            interrupt::settle();
            hearth::exit::report(PROGRAM, &error)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    progress::choose(cli.log_format);
    hearth::run::set_verbose(cli.verbose);
    match cli.command {
        Command::Internal(_) => interrupt::install_quietly()?,
        _ => interrupt::install(PROGRAM)?,
    }
    match cli.command {
        Command::Lock(args) => {
            println!("{}", build::lock_only(&request(args))?.display());
            Ok(())
        }
        Command::Build { args, compress } => build_image(args, compress),
        Command::Boot(args) => hearth_image::boot::run(&args),
        Command::Disks(args) => hearth_image::disks::run(args.json),
        Command::Flash(args) => hearth_image::flash::run(&args),
        Command::Compress(args) => {
            let outputs = outputs(args.out)?;
            build::compress(&outputs)?;
            summary(&outputs)
        }
        Command::Inspect(args) => {
            print!("{}", verify::inspect(&image(args)?)?);
            Ok(())
        }
        Command::Verify(args) => verify::verify(&image(args.image)?, args.key.as_deref()),
        Command::Keygen => keygen(),
        Command::Sign(args) => sign_manifest(&outputs(args.out)?),
        Command::Answers(command) => hearth::answers::command::run(&command),
        Command::Internal(internal) => run_internal(internal),
    }
}

fn exit_codes() -> String {
    let rows = hearth::exit::TABLE.iter().map(|(_, code, meaning)| format!("\n  {code:>3}  {meaning}"));
    format!("Exit codes:\n    0  done{}", rows.collect::<String>())
}

fn request(args: BuildArgs) -> Request {
    Request { recipe: args.recipe, lock: args.lock, out: args.out }
}

fn outputs(out: Option<PathBuf>) -> Result<Outputs> {
    let recipe = Recipe::load(None)?;
    Outputs::new(&out.unwrap_or_else(|| recipe.root.join("out")), build::VERSION, recipe.arch())
}

fn image(args: ImageArgs) -> Result<PathBuf> {
    match args.image {
        Some(image) => Ok(image),
        None => Ok(outputs(None)?.image()),
    }
}

fn build_image(args: BuildArgs, compress: bool) -> Result<()> {
    let outputs = build::run(&request(args))?;
    if compress {
        build::compress(&outputs)?;
    }
    summary(&outputs)
}

/// The last lines of a build: where the image is, how big, and what to type next.
fn summary(outputs: &Outputs) -> Result<()> {
    let manifest = verify::read_manifest(&outputs.manifest())?;
    println!();
    for path in [outputs.image(), outputs.compressed()] {
        if let Ok(found) = std::fs::metadata(&path) {
            println!("{}  {}", path.display(), Bytes(found.len()));
        }
    }
    let Bundle::Absent { reason } = &manifest.bundle;
    println!("No container images are in it ({reason}): the services will be pulled from the internet.");
    println!("Next, try it in a virtual machine:  ./bootstrap boot");
    println!("Then write it to a stick or a disk: docs/flash.md says how.");
    Ok(())
}

fn keygen() -> Result<()> {
    let (secret, public) = (sign::secret_key_path()?, sign::public_key_path()?);
    let passphrase = passphrase::ask("A passphrase for the new key", true)?;
    sign::make_keys(&secret, &public, &passphrase)?;
    println!("The secret key is {}: keep a copy of it and its passphrase in a safe place.", secret.display());
    println!("The public key is {}: give it to whoever checks your images.", public.display());
    Ok(())
}

fn sign_manifest(outputs: &Outputs) -> Result<()> {
    let manifest = outputs.manifest();
    verify::read_manifest(&manifest)?;
    let signature = sign::sign(&manifest, &sign::secret_key_path()?, &passphrase::ask("The key's passphrase", false)?)?;
    println!("{}", signature.display());
    Ok(())
}

fn run_internal(command: Internal) -> Result<()> {
    match command {
        Internal::Enter(args) => {
            let binds = args.bind.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            inside::enter(&Enter { tree: args.tree, at: args.at, binds, argv: args.argv })
        }
        Internal::Private { argv } => {
            inside::make_private()?;
            let error = std::process::Command::new(&argv[0]).args(&argv[1..]).exec();
            Err(error).with_context(|| format!("starting {}", argv[0].to_string_lossy())).kind(Exit::Environment)
        }
        Internal::Untar { from, to } => inside::untar(&from, &to),
        Internal::Base { spec } => inside::base::run(&spec),
        Internal::Tool { set, argv } => {
            run_tool(set, &argv, &std::env::current_dir().context("finding the current folder")?)
        }
    }
}

fn run_tool(set: ToolSet, argv: &[OsString], here: &Path) -> Result<()> {
    let tools = Tools::ensure(&Cache::open()?, set, None)?;
    let error = tools.sandbox()?.bind(here).command(&argv[0]).args(&argv[1..]).exec();
    Err(error).context("starting the sandbox")
}
