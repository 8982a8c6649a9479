//! The `.img.zst`: a step of its own, because a build to try in a virtual machine
//! needs none. The window stays at 8 MiB, so that any reader can unpack it on a
//! small machine.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use hearth::digest::{Digest, Hasher};
use hearth::units::Bytes;

use crate::cache::Cache;
use crate::interrupt::Unfinished;
use crate::progress;

/// 2 to the 23rd is 8 MiB.
const WINDOW_LOG: u32 = 23;

/// Level 3 is quick enough for every build; 19 would save 11 % for 78 times the time.
const LEVEL: i32 = 3;

/// The same number of workers everywhere: the number may change the bytes, the cores may not.
const WORKERS: u32 = 2;

/// Compresses `image` to `to`; returns the digest and size of the result.
pub fn zstd(image: &Path, to: &Path) -> Result<(Digest, Bytes)> {
    let mut source = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let step = progress::bytes_step("compressing", Bytes(source.metadata()?.len()));
    let dir = to.parent().unwrap_or(Path::new("."));
    let part = Unfinished::new(Cache::partial(dir, &to.file_name().unwrap_or_default().to_string_lossy()));
    let file = File::create(part.path()).with_context(|| format!("creating {}", to.display()))?;
    let mut encoder = zstd::Encoder::new(Hasher::new(BufWriter::with_capacity(1 << 20, file)), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    encoder.multithread(WORKERS)?;
    let mut buffer = vec![0; 4 << 20];
    loop {
        let count = source.read(&mut buffer).context("reading the image")?;
        if count == 0 {
            break;
        }
        encoder.write_all(&buffer[..count]).with_context(|| format!("writing {}", to.display()))?;
        step.advance(Bytes(count as u64));
    }
    let (digest, mut writer) = encoder.finish().with_context(|| format!("writing {}", to.display()))?.finish();
    writer.flush().with_context(|| format!("writing {}", to.display()))?;
    let size = Bytes(writer.get_ref().metadata()?.len());
    part.finish(to)?;
    step.done(&size.to_string());
    Ok((digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_unpacks_to_the_same_bytes_in_a_small_window() {
        let dir = tempfile::tempdir().unwrap();
        let (image, packed) = (dir.path().join("i"), dir.path().join("i.zst"));
        let body: Vec<u8> = (0..20_000_000u32).map(|n| (n / 1000).to_le_bytes()[0]).collect();
        std::fs::write(&image, &body).unwrap();
        let (digest, size) = zstd(&image, &packed).unwrap();
        let bytes = std::fs::read(&packed).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (digest, size.0));
        let mut decoder = zstd::Decoder::new(bytes.as_slice()).unwrap();
        decoder.window_log_max(WINDOW_LOG).unwrap();
        let mut found = Vec::new();
        decoder.read_to_end(&mut found).unwrap();
        assert!(found == body);
    }
}
