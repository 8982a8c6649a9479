//! `hearth-image build`: recipe to image, step by step. Everything is written
//! under temporary names; the final ones appear together, at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::layout::{Part, derived_id};
use hearth::manifest::{Bundle, CHUNK, DiskImage, FORMAT, ImageFile, Manifest, Package};
use hearth::units::{Bytes, SectorSize};
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use uuid::Uuid;

use crate::base::{self, Base, SEED};
use crate::cache::Cache;
use crate::disk::{self, Parts};
use crate::interrupt::{self, Unfinished};
use crate::layer::{Body, Item, Layer};
use crate::layout::{Layout, Sizes};
use crate::lock::Lock;
use crate::mirrors::Mirrors;
use crate::outputs::Outputs;
use crate::recipe::Recipe;
use crate::tools::{ToolSet, Tools};
use crate::{compress, hashing, presets, program, progress, resolve, sbom, treehash};

/// The version of images built by this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `build` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The recipe, if not the checkout's own.
    pub recipe: Option<PathBuf>,
    /// A lock to build from, instead of resolving anew.
    pub lock: Option<PathBuf>,
    /// Where the result goes, if not out/ in the checkout.
    pub out: Option<PathBuf>,
}

/// Builds the image; returns where its files lie.
pub fn run(request: &Request) -> Result<Outputs> {
    let cache = Cache::open()?;
    let recipe = Recipe::load(request.recipe.as_deref())?;
    let outputs =
        Outputs::new(&request.out.clone().unwrap_or_else(|| recipe.root.join("out")), VERSION, recipe.arch())?;
    let _alone = only_build_in(outputs.dir())?;
    require_space(outputs.dir())?;
    let tools = Tools::ensure(&cache, ToolSet::Image, recipe.mirror())?;
    let lock = locked(&cache, &tools, &recipe, request.lock.as_deref())?;
    // Reads the overlays before the long work: what is wrong there is said at once.
    let overlays = Layer::from_recipe(&recipe)?;
    let sizes = Sizes::read(&recipe.target_dir())?;
    let (base, layer, image, step, (image_id, bundle)) = loop {
        let base = base::ensure(&cache, &tools, &recipe, &lock)?;
        let program = program::ensure(&cache, &recipe)?;
        let step = progress::step("assembling the disk image");
        let image = Unfinished::new(outputs.partial(&outputs.image()));
        let mut layer = overlays.clone();
        let complete = || complete(&mut layer, &cache, &tools, &recipe, &base, program);
        if let Some(told) = begin(&base, sizes.before_root(), image.path(), complete)? {
            break (base, layer, image, step, told);
        }
        base.discard(&cache)?;
    };
    let layout = Layout::plan(sizes, base.facts.root_size, image_id);
    let parts = Parts {
        base: &base,
        layer: &layer,
        target: recipe.target_dir(),
        layout: &layout,
        image_id,
        epoch: lock.source_date_epoch,
    };
    let assembled = disk::assemble(&tools, &parts, image.path())?;
    step.done(&layout.size.to_string());

    let step = progress::step("hashing");
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let list = DiskImage {
        format: FORMAT,
        version: VERSION.into(),
        arch: recipe.arch().into(),
        image_id,
        size: layout.size,
        disk_guid: layout.disk_guid,
        sector_size: SectorSize::IMAGE,
        partitions: layout.partitions.clone(),
        chunk_size: CHUNK,
        chunks: hashing::chunks(image.path(), &assembled.free, Some(assembled.copied()))?,
    };
    let hearth = list.chunks_of(Part::Hearth).context("HEARTH does not begin and end with a chunk")?;
    assembled.add_hearth(&list.clone().without_hearth())?;
    // The disk is idle while one core hashes.
    let hashes = std::thread::scope(|scope| {
        let written = scope.spawn(|| assembled.write_out());
        let hashes = hashing::image(image.path(), &assembled.free, &list.chunks, &hearth);
        written.join().map_err(|_| anyhow!("writing out the image panicked"))??;
        hashes
    })?;
    let manifest = Manifest {
        format: list.format,
        version: list.version,
        arch: list.arch,
        image_id,
        source_date_epoch: lock.source_date_epoch,
        image: ImageFile { name: name(&outputs.image()), size: list.size, sha256: hashes.whole },
        test_doubles: false,
        bundle,
        disk_guid: list.disk_guid,
        sector_size: list.sector_size,
        partitions: list.partitions,
        chunk_size: list.chunk_size,
        chunks: hashes.chunks,
        packages: packages(&lock),
        overlay: layer.digests()?,
    };
    let manifest_text = serde_json::to_string_pretty(&manifest).context("writing the manifest")? + "\n";
    let sbom_text =
        serde_json::to_string_pretty(&sbom::spdx(&manifest, &lock.suite)).context("writing the SBOM")? + "\n";
    let lock_text = lock.to_text()?;
    let mut sums = format!("{}  {}\n", manifest.image.sha256, name(&outputs.image()));
    let mut files = vec![(image, outputs.image())];
    for (path, text) in [(outputs.manifest(), manifest_text), (outputs.sbom(), sbom_text), (outputs.lock(), lock_text)]
    {
        sums += &format!("{}  {}\n", Digest::of(&text), name(&path));
        files.push((write(&outputs, &path, &text)?, path));
    }
    files.push((write(&outputs, &outputs.sums(), &sums)?, outputs.sums()));
    step.done("");

    // What belonged to an earlier image must not vouch for this one.
    outputs.remove_derived()?;
    interrupt::finish_all(files)?;
    Ok(outputs)
}

/// Begins the image at `file` with `base`, `before` bytes from its start, and does `other` meanwhile.
/// None if `base` turns out to be damaged.
fn begin<T>(base: &Base, before: Bytes, file: &Path, other: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    std::thread::scope(|scope| {
        let copy = scope.spawn(|| disk::begin(base, before, file));
        let look = scope.spawn(|| base.root_is_right());
        let other = other();
        copy.join().map_err(|_| anyhow!("copying the base layer panicked"))??;
        let is_right = look.join().map_err(|_| anyhow!("looking over the base layer panicked"))?;
        if is_right { other.map(Some) } else { Ok(None) }
    })
}

/// Compresses the image that a build left in `outputs`, and adds it to the sums.
pub fn compress(outputs: &Outputs) -> Result<()> {
    let (digest, _) = compress::zstd(&outputs.image(), &outputs.compressed())?;
    let name = outputs.compressed().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = outputs.sums();
    let sums = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let others = sums.lines().filter(|line| !line.ends_with(&format!("  {name}"))).map(|line| format!("{line}\n"));
    let sums = others.chain([format!("{digest}  {name}\n")]).collect::<String>();
    write(outputs, &path, &sums)?.finish(&path)
}

/// Resolves and writes the lock only; returns where it lies.
pub fn lock_only(request: &Request) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let recipe = Recipe::load(request.recipe.as_deref())?;
    let outputs =
        Outputs::new(&request.out.clone().unwrap_or_else(|| recipe.root.join("out")), VERSION, recipe.arch())?;
    let tools = Tools::ensure(&cache, ToolSet::Image, recipe.mirror())?;
    let lock = resolve::resolve(&cache, &tools, &recipe)?;
    write(&outputs, &outputs.lock(), &lock.to_text()?)?.finish(&outputs.lock())?;
    Ok(outputs.lock())
}

fn locked(cache: &Cache, tools: &Tools, recipe: &Recipe, given: Option<&Path>) -> Result<Lock> {
    let mut lock = match given {
        Some(path) => {
            let lock = Lock::read(path)?;
            lock.require_fits(resolve::wanted(recipe), &recipe.file.suite, recipe.arch())?;
            lock
        }
        None => resolve::resolve(cache, tools, recipe)?,
    };
    // reproducible-builds.org/specs/source-date-epoch: it goes before any time of our own.
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        lock.source_date_epoch = text
            .parse()
            .map_err(|_| anyhow!("SOURCE_DATE_EPOCH is `{text}`; it must be a number of seconds since 1970"))
            .kind(Exit::Input)?;
    }
    Ok(lock)
}

/// Two builds into one folder would overwrite each other's files.
fn only_build_in(dir: &Path) -> Result<Flock<File>> {
    let path = dir.join(".building");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display())).kind(Exit::Environment)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| {
            anyhow!("another build is writing to {}: wait for it, or give another folder with --out", dir.display())
        })
        .kind(Exit::Environment)
}

/// What a build needs at most beside its caches; checked before the long work.
const NEEDED: Bytes = Bytes::gib(3);

fn require_space(dir: &Path) -> Result<()> {
    let stat =
        nix::sys::statvfs::statvfs(dir).with_context(|| format!("asking for the free space of {}", dir.display()))?;
    let free = Bytes(stat.blocks_available() * stat.fragment_size());
    if free >= NEEDED {
        return Ok(());
    }
    Err(anyhow!(
        "{} has {free} free and an image needs up to {NEEDED}: free some, or give another folder with --out",
        dir.display()
    ))
    .kind(Exit::Environment)
}

fn write(outputs: &Outputs, path: &Path, text: &str) -> Result<Unfinished> {
    let file = Unfinished::new(outputs.partial(path));
    fs::write(file.path(), text).with_context(|| format!("writing {}", path.display()))?;
    Ok(file)
}

/// Adds to the overlays' files what follows from everything else; returns the image's id and
/// what is bundled.
fn complete(
    layer: &mut Layer,
    cache: &Cache,
    tools: &Tools,
    recipe: &Recipe,
    base: &Base,
    program: PathBuf,
) -> Result<(Uuid, Bundle)> {
    presets::apply(tools, base, layer)?;
    add_generated(layer, cache, recipe, program)?;
    let image_id = image_id(base, layer, recipe)?;
    let bundle = Bundle::Absent { reason: "this build has no container images to bundle".into() };
    add_about(layer, image_id, &bundle)?;
    Ok((image_id, bundle))
}

/// Files that follow from the recipe and the target instead of lying in overlays/.
fn add_generated(layer: &mut Layer, cache: &Cache, recipe: &Recipe, program: PathBuf) -> Result<()> {
    layer.put("/usr/bin/hearth", Item { body: Body::File(program), mode: 0o755 });
    let menu = recipe.target_dir().join("boot/grub.cfg");
    layer.put("/boot/hearth/grub.cfg", Item { body: Body::File(menu), mode: 0o644 });
    // `hearth boot-chain renew` makes the boot partitions anew from these.
    for name in ["esp-grub.cfg", "bios-core.cfg"] {
        let from = recipe.target_dir().join("boot").join(name);
        layer.put(format!("/usr/share/hearth/boot/{name}"), Item { body: Body::File(from), mode: 0o644 });
    }
    let suite = &recipe.file.suite;
    let mirrors = match recipe.runtime_mirror() {
        Some(mirrors) => mirrors,
        None => Mirrors::bootstrap_default(cache, suite)?,
    };
    layer.put_bytes("/etc/apt/sources.list.d/debian.sources", mirrors.deb822(suite, &recipe.file.components), 0o644);
    Ok(())
}

/// What the image says about itself.
fn add_about(layer: &mut Layer, image_id: Uuid, bundle: &Bundle) -> Result<()> {
    let about = json!({ "version": VERSION, "image-id": image_id, "bundle": bundle });
    let text = serde_json::to_string_pretty(&about).context("writing image.json")? + "\n";
    layer.put_bytes("/usr/share/hearth/image.json", text, 0o644);
    Ok(())
}

/// Follows from everything that goes in, so that another image never has the same.
fn image_id(base: &Base, layer: &Layer, recipe: &Recipe) -> Result<Uuid> {
    let target = recipe.target_dir();
    let inputs = format!(
        "{VERSION} {} {} {} {} {}",
        base.key,
        layer.digest()?,
        treehash::of(&target.join("boot"))?,
        treehash::of(&target.join("hearth-partition"))?,
        fs::read_to_string(target.join("partitions.toml")).context("reading partitions.toml")?,
    );
    Ok(derived_id(SEED, &format!("image {}", Digest::of(inputs))))
}

fn packages(lock: &Lock) -> Vec<Package> {
    let package = |package: &crate::lock::Locked| Package {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.arch.clone(),
        sha256: package.sha256,
    };
    lock.packages.iter().map(package).collect()
}
