//! `hearth-image boot`: try the image in a virtual machine before it is flashed.
//! The image file is never written to, nobody but this computer can reach the
//! machine, and nobody but who started it can see its screen.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;
use hearth::units::Bytes;
use serde_json::json;

use crate::cache::{self, Cache};
use crate::interrupt::Unfinished;
use crate::qemu::qmp::Qmp;
use crate::qemu::{self, Backend, Disk, Display, Firmware, Machine, Nic, Serial, Target, accel};
use crate::recipe::Recipe;
use crate::tools::{ToolSet, Tools};

/// The machine's ports that can be reached, and what they are for.
const PORTS: [(u16, &str); 3] = [(22, "SSH"), (80, "http"), (443, "https")];

/// The machine of the target that is used where no checkout is in sight.
const BUILT_IN: &str = include_str!("../../firmware/amd64/qemu.toml");

/// What `boot` can be told
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The image to start [default: the newest in out/]
    image: Option<PathBuf>,
    /// How the machine starts
    #[arg(long, value_enum, default_value = "uefi")]
    firmware: Firmware,
    /// Where to see it
    #[arg(long, value_enum, default_value = "terminal")]
    display: Show,
    /// The size of its disk; what is written to it is thrown away in the end
    #[arg(long, default_value = "32GiB")]
    disk: Bytes,
    /// The disk's serial number, of which setup asks the last four characters
    #[arg(long, default_value = "HEARTH0001")]
    serial: String,
    /// Its memory [default: as the target's qemu.toml says]
    #[arg(long)]
    memory: Option<Bytes>,
    /// Its processors [default: as the target's qemu.toml says]
    #[arg(long)]
    cpus: Option<u32>,
}

/// Where the machine can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Show {
    /// Its serial console, here
    Terminal,
    /// That, and its screen by VNC on 127.0.0.1, with a password made for this run
    Window,
    /// Nowhere: only its ports can be reached
    None,
}

/// Starts the machine and waits for its end.
pub fn run(args: &Args) -> Result<()> {
    let recipe = Recipe::load(None).ok();
    let image = match &args.image {
        Some(path) => path.clone(),
        None => newest(recipe.as_ref())?,
    };
    let image =
        image.canonicalize().with_context(|| format!("opening the image {}", image.display())).kind(Exit::Input)?;
    let size = fits(&image, args.disk)?;
    let target = match &recipe {
        Some(recipe) => Target::read(&recipe.target_dir().join("qemu.toml"))?,
        None => Target::parse(BUILT_IN, "the built-in qemu.toml")?,
    };
    let cache = Cache::open()?;
    let tools = Tools::ensure(&cache, ToolSet::Vm, recipe.as_ref().and_then(Recipe::mirror))?;
    let proof = accel::prove(&cache, &tools, &target)?;

    let files = Files::new(&cache)?;
    let folder = image.parent().context("an image file lies in a folder")?;
    let sandbox = tools.sandbox()?.bind(&files.dir).bind(folder);
    Cmd::from_command("making the throw-away disk", sandbox.command("qemu-img"))
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(&image)
        .arg(files.overlay.path())
        .arg(size.0.to_string())
        .run()?;

    let mut machine = Machine::new(&target, args.firmware, proof.accel);
    machine.memory = args.memory.unwrap_or(machine.memory);
    machine.cpus = args.cpus.unwrap_or(machine.cpus);
    if let Some(firmware) = target.files(args.firmware) {
        let template = tools.tree().join(firmware.variables.strip_prefix("/").unwrap_or(&firmware.variables));
        fs::copy(&template, files.variables.path()).with_context(|| format!("copying {}", template.display()))?;
        machine.variables = Some(files.variables.path().to_owned());
    }
    machine.disks.push(throw_away(files.overlay.path(), &args.serial));
    machine.nics.push(Nic::User { forwards: PORTS.map(|(port, _)| port).to_vec(), isolated: false });
    machine.serials.push(if args.display == Show::None { Serial::Nowhere } else { Serial::Terminal });
    machine.display = if args.display == Show::Window { Display::Vnc(5900) } else { Display::None };
    machine.qmp = Some(files.control.path().to_owned());
    // Its ports are told before its console takes the terminal.
    machine.paused = true;
    let words = qemu::arguments(&target, &machine).kind(Exit::Input)?;

    let mut child =
        sandbox.command(&target.program).args(words).spawn().context("starting QEMU").kind(Exit::Environment)?;
    let qmp = connect(files.control.path(), &mut child)?;
    println!("Starting {} in a virtual machine ({proof}).", image.display());
    print!("{}", facts(args, size, &qmp.forwards()?, Screen::open(&qmp, args.display)?.as_ref()));
    qmp.run("cont", json!({}))?;
    let status = child.wait().context("waiting for QEMU")?;
    if !status.success() {
        return Err(anyhow!("QEMU ended with {status}")).kind(Exit::Environment);
    }
    println!("The machine is off, and its disk is thrown away. The image is as it was.");
    Ok(())
}

/// The newest image of the checkout.
fn newest(recipe: Option<&Recipe>) -> Result<PathBuf> {
    let out = recipe.map_or_else(|| PathBuf::from("out"), |recipe| recipe.root.join("out"));
    let entries = fs::read_dir(&out).into_iter().flatten().flatten();
    let images = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "img"));
    let dated = images.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    dated
        .max()
        .map(|(_, path)| path)
        .ok_or_else(|| {
            anyhow!("no image lies in {}: build one first (`./bootstrap image`), or name one", out.display())
        })
        .kind(Exit::Input)
}

/// The size of the disk, once it is sure that the image fits.
fn fits(image: &Path, disk: Bytes) -> Result<Bytes> {
    let length = Bytes(fs::metadata(image).with_context(|| format!("looking at {}", image.display()))?.len());
    if image.extension().is_some_and(|extension| extension == "zst") {
        return Err(anyhow!("{} is compressed: `zstd -d` it first", image.display())).kind(Exit::Input);
    }
    if length > disk {
        return Err(anyhow!("a disk of {disk} is too small for an image of {length}: give a larger --disk"))
            .kind(Exit::Input);
    }
    Ok(disk.round_up(Bytes::mib(1)))
}

fn throw_away(overlay: &Path, serial: &str) -> Disk {
    let mut disk = Disk::new("system", Backend::Qcow2(overlay.to_owned()));
    disk.serial = Some(serial.to_owned());
    disk.boot_index = Some(0);
    disk.throw_away = true;
    disk
}

/// Files of one run, gone with it.
struct Files {
    dir: PathBuf,
    overlay: Unfinished,
    variables: Unfinished,
    control: Unfinished,
}

impl Files {
    fn new(cache: &Cache) -> Result<Self> {
        let dir = cache.dir("boot")?;
        cache::sweep(&dir)?;
        let file = |name| Unfinished::new(Cache::partial(&dir, name));
        let files =
            Self { overlay: file("disk"), variables: file("variables"), control: file("qmp"), dir: dir.clone() };
        // The longest name that a Unix socket can have.
        if files.control.path().as_os_str().len() > 107 {
            let text = "the cache's path is too long for a socket in it; set XDG_CACHE_HOME to a shorter one";
            return Err(anyhow!("{}: {text}", dir.display())).kind(Exit::Environment);
        }
        Ok(files)
    }
}

/// QEMU opens its socket as soon as it is up; if it ends instead it has said why.
fn connect(path: &Path, child: &mut Child) -> Result<Qmp> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(socket) = UnixStream::connect(path) {
            return Qmp::over(socket, |_| {});
        }
        if let Some(status) = child.try_wait().context("waiting for QEMU")? {
            bail!("QEMU ended with {status} before it started the machine");
        }
        if Instant::now() >= deadline {
            child.kill().context("ending QEMU")?;
            bail!("QEMU did not start within 60 s");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How a person gets to see the machine's screen.
struct Screen {
    port: u16,
    password: String,
}

impl Screen {
    /// Lets whoever knows the password in, if a screen was asked for.
    fn open(qmp: &Qmp, show: Show) -> Result<Option<Self>> {
        if show != Show::Window {
            return Ok(None);
        }
        let password = password()?;
        qmp.run("set_password", json!({"protocol": "vnc", "password": password}))?;
        let answer = qmp.run("query-vnc", json!({}))?;
        let port = answer["service"].as_str().and_then(|port| port.parse().ok());
        let port = port.context("QEMU did not say where its screen is")?;
        Ok(Some(Self { port, password }))
    }
}

/// As long as VNC takes them; 40 bits, of characters that nobody mistakes for others.
fn password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 8];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("reading /dev/urandom")?;
    Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// What a person needs to know.
fn facts(args: &Args, size: Bytes, forwards: &[(u16, u16)], screen: Option<&Screen>) -> String {
    let mut text = format!(
        "The image is not changed: what is written goes to a throw-away disk of {size}, serial number {}.\n",
        args.serial
    );
    for (host, guest) in forwards {
        let name = PORTS.iter().find(|port| port.0 == *guest).map_or("other", |port| port.1);
        let how = match guest {
            22 => format!("ssh -p {host} USER@127.0.0.1"),
            443 => format!("https://127.0.0.1:{host}"),
            _ => format!("http://127.0.0.1:{host}"),
        };
        // A String takes everything.
        let _ = writeln!(text, "  {name:<6} {how}  (its port {guest}; only from this computer)");
    }
    if let Some(Screen { port, password }) = screen {
        let _ =
            writeln!(text, "  screen point a VNC viewer at 127.0.0.1:{port}; its password for this run: {password}");
    }
    text += match args.display {
        Show::None => "To end it: Ctrl-C.\n",
        Show::Terminal | Show::Window if std::io::stdin().is_terminal() => {
            "Its serial console follows. To leave: Ctrl-A, then X.\n\n"
        }
        Show::Terminal | Show::Window => "Its serial console follows.\n\n",
    };
    text
}

#[cfg(test)]
mod tests;
