//! `just bench`: what building and starting the image costs, measured side by side
//! with Debian's own mkosi on the same packages, and written into docs/benchmarks.md.
//! A benchmark is run by a person on a quiet machine; no test needs it.

mod measure;
mod mkosi;
mod ours;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use hearth_image::cache::Cache;
use hearth_image::progress;
use hearth_image::recipe::Recipe;

use crate::measure::{Cost, middle};
use crate::mkosi::Mkosi;
use crate::ours::Ours;
use crate::table::Results;

/// How often a rebuild is measured; the middle one counts. A clean build is measured once.
const REBUILDS: usize = 3;

/// Measures building and starting the image, side by side with Debian's mkosi
#[derive(Debug, Parser)]
struct Args {
    /// Measure a build with empty caches as well: downloads everything again, about 600 MB
    #[arg(long)]
    cold: bool,
    /// Print the table only, instead of writing it into docs/benchmarks.md
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => hearth::exit::report("bench", &error),
    }
}

fn run(args: &Args) -> Result<()> {
    progress::choose(progress::LogFormat::Plain);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the checkout")?;
    let work = root.join("target/bench");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
    }
    let cache = Cache::open()?;
    let ours = Ours::prepare(root, &work, &cache)?;
    let recipe = Recipe::load(Some(&ours.recipe()))?;
    let mkosi = Mkosi::prepare(&work, &cache, &recipe, &ours.lock()?)?;

    let clean = measured("Hearth, clean build", || ours.clean())?;
    let rebuild = rebuilds("Hearth", |count| ours.rebuild(count))?;
    progress::note("mkosi, filling its caches");
    mkosi.fill()?;
    let mkosi_rebuild = rebuilds("mkosi", |count| mkosi.rebuild(count))?;
    let mkosi_clean = measured("mkosi, clean build", || mkosi.clean())?;
    let results = Results {
        clean: (clean, mkosi_clean),
        rebuild: (rebuild, mkosi_rebuild),
        image: (ours.image()?, mkosi.image()?),
        compressed: ours.compressed()?,
        cold: if args.cold { Some(measured("Hearth, cold build", || ours.cold(root))?) } else { None },
        page: ours.first_page()?,
        packages: ours.lock()?.packages.len(),
        mkosi: mkosi.version()?,
    };
    let table = results.table()?;
    print!("{table}");
    if args.dry_run { Ok(()) } else { table::write(&root.join("docs/benchmarks.md"), &table) }
}

fn rebuilds(who: &str, mut rebuild: impl FnMut(usize) -> Result<Cost>) -> Result<Cost> {
    let costs = (1..=REBUILDS).map(|count| measured(&format!("{who}, rebuild {count}"), || rebuild(count)));
    Ok(middle(costs.collect::<Result<_>>()?))
}

fn measured(what: &str, work: impl FnOnce() -> Result<Cost>) -> Result<Cost> {
    let cost = work().context(what.to_owned())?;
    progress::note(&format!("{:7.1} s  {what}", cost.wall.as_secs_f64()));
    Ok(cost)
}
