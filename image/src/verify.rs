//! `hearth-image verify` and `inspect`: is this image what its manifest says, who
//! signed it, and what is in it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::layout::gpt_bytes;
use hearth::manifest::{Bundle, ChunkClass, FORMAT, Manifest};
use hearth::units::Bytes;

use crate::hashing::{self, Hashes};
use crate::progress;
use crate::sign;

/// Where the manifest of the image at `image` lies: beside it.
pub fn manifest_path(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".img.zst").or_else(|| name.strip_suffix(".img")).unwrap_or(&name);
    image.with_file_name(format!("{stem}.manifest.json"))
}

/// Reads a manifest.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("reading {} (the manifest belongs beside its image)", path.display()))
        .kind(Exit::Input)?;
    let manifest: Manifest = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a manifest this version reads", path.display()))
        .kind(Exit::Input)?;
    if manifest.format != FORMAT {
        return Err(anyhow!("{}: manifest format {} is not known here ({FORMAT} is)", path.display(), manifest.format))
            .kind(Exit::Input);
    }
    Ok(manifest)
}

/// Checks the image at `image`: signature, sums, every chunk, the partition table.
pub fn verify(image: &Path, key: Option<&Path>) -> Result<()> {
    let path = manifest_path(image);
    let trust = sign::check(&path, key)?;
    let manifest = read_manifest(&path)?;
    progress::note(&trust.to_string());
    let mut wrong = Vec::new();
    check_sums(image, &manifest, &mut wrong)?;
    check_chunks(image, &manifest, &mut wrong)?;
    if wrong.is_empty() {
        check_table(image, &manifest, &mut wrong)?;
    }
    if wrong.is_empty() {
        println!(
            "{}: all {} chunks, the partition table and the sums are as the manifest says",
            image.display(),
            manifest.chunks.len()
        );
        return Ok(());
    }
    Err(anyhow!("{} is not what its manifest says: {}", image.display(), wrong.join("; "))).kind(Exit::Mismatch)
}

/// Every file that SHA256SUMS names and that is here. The image itself is read for the
/// manifest's sums, so here its line only has to agree with them.
fn check_sums(image: &Path, manifest: &Manifest, wrong: &mut Vec<String>) -> Result<()> {
    let path = image.with_file_name("SHA256SUMS");
    let Ok(sums) = fs::read_to_string(&path) else {
        wrong.push(format!("{} is missing", path.display()));
        return Ok(());
    };
    for line in sums.lines() {
        let parsed = line.split_once("  ").and_then(|(digest, name)| Some((digest.parse::<Digest>().ok()?, name)));
        let Some((digest, name)) = parsed else {
            wrong.push(format!("SHA256SUMS has a line that is no sum: `{line}`"));
            continue;
        };
        let file = image.with_file_name(name);
        if !file.exists() {
            continue;
        }
        let found = if file == image {
            manifest.image.sha256
        } else {
            let opened = File::open(&file).with_context(|| format!("opening {}", file.display()))?;
            Digest::of_reader(opened).with_context(|| format!("reading {}", file.display()))?.0
        };
        if found != digest {
            wrong.push(format!("{name} does not have the sum that SHA256SUMS gives"));
        }
    }
    Ok(())
}

fn check_chunks(image: &Path, manifest: &Manifest, wrong: &mut Vec<String>) -> Result<()> {
    let size =
        Bytes(fs::metadata(image).with_context(|| format!("opening {}", image.display())).kind(Exit::Input)?.len());
    if size != manifest.image.size {
        let (is, should) = (size.0, manifest.image.size.0);
        wrong.push(format!("it has {is} bytes instead of {should}"));
        return Ok(());
    }
    let Hashes { whole, chunks: found } = hashing::image(image, &[], &[], &(0..0))?;
    for (number, (found, listed)) in found.iter().zip(&manifest.chunks).enumerate() {
        let start = manifest.chunk_size * number as u64;
        if found.sha256 != listed.sha256 {
            wrong.push(format!("the first difference lies in the {} from byte {}", manifest.chunk_size, start.0));
            return Ok(());
        }
        if listed.class == ChunkClass::Zero && found.class != ChunkClass::Zero {
            wrong.push(format!("the chunk at byte {} is listed as zeros and is not", start.0));
            return Ok(());
        }
    }
    if whole != manifest.image.sha256 {
        wrong.push(format!("its SHA-256 is {whole} instead of {}", manifest.image.sha256));
    }
    if found.len() != manifest.chunks.len() {
        wrong.push(format!("the manifest lists {} chunks, the image has {}", manifest.chunks.len(), found.len()));
    }
    Ok(())
}

fn check_table(image: &Path, manifest: &Manifest, wrong: &mut Vec<String>) -> Result<()> {
    let mut file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let Ok(gpt) = gptman::GPT::read_from(&mut file, manifest.sector_size.bytes().0) else {
        wrong.push("it has no partition table".into());
        return Ok(());
    };
    if gpt.header.disk_guid != gpt_bytes(manifest.disk_guid) {
        wrong.push("the disk's id is another".into());
    }
    for partition in &manifest.partitions {
        let found = &gpt[partition.number];
        let end = partition.start.0 + partition.size.0 / manifest.sector_size.bytes().0 - 1;
        if found.starting_lba != partition.start.0
            || found.ending_lba != end
            || found.unique_partition_guid != gpt_bytes(partition.guid)
            || found.partition_type_guid != gpt_bytes(partition.type_guid)
        {
            wrong.push(format!("partition {} is not where or what the manifest says", partition.name));
        }
    }
    let mut signature = [0; 2];
    file.read_exact_at(&mut signature, 510).context("reading the boot sector")?;
    if signature != [0x55, 0xaa] {
        wrong.push("it has no boot sector".into());
    }
    Ok(())
}

/// Describes the image at `image` for a person.
pub fn inspect(image: &Path) -> Result<String> {
    let manifest = read_manifest(&manifest_path(image))?;
    let count = |class| manifest.chunks.iter().filter(|chunk| chunk.class == class).count();
    let mut text = format!(
        "Hearth {} for {}\n  image id     {}\n  image        {}, {}\n  sha256       {}\n  packages     {}\n",
        manifest.version,
        manifest.arch,
        manifest.image_id,
        manifest.image.name,
        manifest.image.size,
        manifest.image.sha256,
        manifest.packages.len(),
    );
    text += &format!(
        "  chunks       {} of {}: {} data, {} zero, {} free\n",
        manifest.chunks.len(),
        manifest.chunk_size,
        count(ChunkClass::Data),
        count(ChunkClass::Zero),
        count(ChunkClass::Free),
    );
    let Bundle::Absent { reason } = &manifest.bundle;
    text += &format!("  containers   none bundled: {reason}\n");
    if manifest.test_doubles {
        text += "  NOT FOR USE  it holds stand-ins made for tests\n";
    }
    text += &format!("  {:<3} {:<8} {:>12} {:>10}  id\n", "no", "name", "starts at", "size");
    for partition in &manifest.partitions {
        let start = partition.start.offset(manifest.sector_size);
        text += &format!(
            "  {:<3} {:<8} {:>12} {:>10}  {}\n",
            partition.number, partition.name, start.0, partition.size, partition.guid
        );
    }
    text += "  packages by name:\n";
    for package in &manifest.packages {
        text += &format!("    {} {}\n", package.name, package.version);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_lies_beside_the_image() {
        for image in ["/out/hearth-1-amd64.img", "/out/hearth-1-amd64.img.zst"] {
            assert_eq!(manifest_path(Path::new(image)), Path::new("/out/hearth-1-amd64.manifest.json"));
        }
    }
}
