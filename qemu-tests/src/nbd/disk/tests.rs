//! The disk without a wire: what a cut keeps, what a defect does.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn only_what_was_flushed_survives() {
    let disk = Disk::empty(MIB).unwrap();
    disk.write(0, &[1; 1024], false).unwrap();
    disk.flush().unwrap();
    disk.write(512, &[2; 1024], false).unwrap();
    disk.write(8192, &[3; 512], true).unwrap();
    assert_eq!(disk.read(0, 1536).unwrap()[512..], [2; 1024]);
    assert_eq!(disk.cut(Survivors::None), 1024);
    disk.restore_power();
    assert_eq!(disk.read(0, 1024).unwrap(), [1; 1024]);
    assert_eq!(disk.read(1024, 512).unwrap(), [0; 512]);
    assert_eq!(disk.read(8192, 512).unwrap(), [3; 512]);
}

#[test]
fn a_torn_write_keeps_whole_sectors_and_repeats_by_seed() {
    let torn = |seed| {
        let disk = Disk::empty(MIB).unwrap();
        disk.write(0, &vec![7; 65536], false).unwrap();
        disk.cut(Survivors::Random(seed));
        disk.restore_power();
        disk.read(0, 65536).unwrap()
    };
    let first = torn(1);
    let kept = first.chunks(512).filter(|sector| **sector == [7; 512]).count();
    let lost = first.chunks(512).filter(|sector| **sector == [0; 512]).count();
    assert_eq!(kept + lost, 128, "a sector is torn");
    assert!((32..96).contains(&kept), "{kept} of 128 kept");
    assert_eq!(first, torn(1));
    assert_ne!(first, torn(2));
}

#[test]
fn without_power_nothing_answers() {
    let disk = Disk::empty(MIB).unwrap();
    disk.cut(Survivors::None);
    assert!(disk.read(0, 1).is_err() && disk.write(0, b"x", false).is_err() && disk.flush().is_err());
    disk.restore_power();
    assert_eq!(disk.read(0, 1).unwrap(), [0]);
}

#[test]
fn a_cut_comes_with_the_write_it_waits_for() {
    let disk = Disk::empty(MIB).unwrap();
    disk.cut_when(When::Written(1024), Survivors::None);
    disk.write(0, &[1; 512], true).unwrap();
    assert_eq!(disk.wait_for_cut(Duration::ZERO), None);
    // Even a durable write is lost if the power goes before it is answered.
    assert!(disk.write(512, &[1; 512], true).is_err() && disk.read(0, 1).is_err());
    assert_eq!(disk.wait_for_cut(Duration::ZERO), Some(512));
    disk.restore_power();
    assert_eq!((disk.read(0, 1).unwrap(), disk.read(512, 1).unwrap()), (vec![1], vec![0]));
    disk.cut_when(When::Touched(700), Survivors::None);
    disk.write(0, &[2; 512], false).unwrap();
    assert!(disk.write(512, &[2; 512], false).is_err());
    assert_eq!(disk.wait_for_cut(Duration::ZERO), Some(1024));
}

#[test]
fn a_full_cache_moves_the_oldest_to_the_medium() {
    let disk = Disk::empty(MIB).unwrap();
    disk.set_cache(4 * 4096).unwrap();
    for block in 0..6_u8 {
        disk.write(u64::from(block) * 4096, &[block + 1; 4096], false).unwrap();
    }
    assert_eq!(disk.cut(Survivors::None), 4 * 4096);
    disk.restore_power();
    let firsts: Vec<u8> = (0..6).map(|block| disk.read(block * 4096, 1).unwrap()[0]).collect();
    assert_eq!(firsts, [1, 2, 0, 0, 0, 0]);
}

#[test]
fn a_base_shows_through_and_is_never_written() {
    let mut base = tempfile::NamedTempFile::new().unwrap();
    base.write_all(&[9; 10_000]).unwrap();
    let disk = Disk::over(base.path(), MIB).unwrap();
    let before = disk.digest().unwrap();
    disk.write(5000, &[1; 100], true).unwrap();
    let read = disk.read(4990, 120).unwrap();
    assert_eq!((&read[..10], &read[10..110], &read[110..]), (&[9; 10][..], &[1; 100][..], &[9; 10][..]));
    assert_eq!(disk.read(9_990, 20).unwrap(), [[9; 10], [0; 10]].concat());
    assert_ne!(disk.digest().unwrap(), before);
    disk.zero(0..2 * MIB / 2, false).unwrap();
    assert_eq!(disk.digest().unwrap(), Digest::of(vec![0; 1 << 20]));
    assert_eq!(std::fs::read(base.path()).unwrap(), [9; 10_000]);
}

#[test]
fn a_long_run_of_zeros_beats_older_cached_writes() {
    let disk = Disk::empty(4 * MIB).unwrap();
    disk.write(MIB - 512, &[1; 1024], false).unwrap();
    disk.zero(MIB..3 * MIB + 4096, false).unwrap();
    assert_eq!(disk.read(MIB - 512, 1024).unwrap(), [[1; 512], [0; 512]].concat());
}

#[test]
fn an_error_hits_its_range_and_its_direction_only() {
    let disk = Disk::empty(MIB).unwrap();
    disk.add_fault(Fault::Error(Op::Read, 4096..4097));
    assert!(disk.read(4000, 200).is_err());
    assert!(disk.read(4000, 96).is_ok() && disk.read(4097, 10).is_ok());
    assert!(disk.write(4096, b"x", false).is_ok());
    disk.repair();
    assert_eq!(disk.read(4096, 1).unwrap(), b"x");
}

#[test]
fn a_flipped_bit_is_read_but_not_stored() {
    let disk = Disk::empty(MIB).unwrap();
    let before = disk.digest().unwrap();
    disk.add_fault(Fault::Flip { offset: 1000, bit: 3 });
    assert_eq!(disk.read(999, 3).unwrap(), [0, 8, 0]);
    assert_eq!(disk.read(1001, 3).unwrap(), [0; 3]);
    assert_eq!(disk.digest().unwrap(), before);
}

#[test]
fn a_liar_loses_or_repeats_what_it_cannot_hold() {
    let vanishing = Disk::lying(MIB, 4 * MIB, Beyond::Vanishes).unwrap();
    vanishing.write(MIB - 2, b"abcd", true).unwrap();
    assert_eq!(vanishing.read(MIB - 2, 4).unwrap(), b"ab\0\0");
    let wrapping = Disk::lying(MIB, 4 * MIB, Beyond::Wraps).unwrap();
    wrapping.write(MIB - 2, b"abcd", true).unwrap();
    assert_eq!(wrapping.read(3 * MIB, 2).unwrap(), b"cd");
    assert_eq!(wrapping.read(0, 2).unwrap(), b"cd");
    assert_eq!((vanishing.size(), wrapping.size()), (4 * MIB, 4 * MIB));
}

#[test]
fn a_throttled_disk_takes_its_time() {
    let disk = Disk::empty(MIB).unwrap();
    disk.throttle(None, Some(MIB));
    let start = Instant::now();
    disk.write(0, &vec![1; 1 << 17], false).unwrap();
    disk.write(0, &vec![1; 1 << 17], false).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(240), "{:?}", start.elapsed());
    let start = Instant::now();
    disk.read(0, 1 << 20).unwrap();
    assert!(start.elapsed() < Duration::from_millis(240), "{:?}", start.elapsed());
}

#[test]
fn use_is_counted() {
    let disk = Disk::empty(MIB).unwrap();
    disk.write(0, b"abc", false).unwrap();
    disk.read(0, 2).unwrap();
    disk.flush().unwrap();
    assert_eq!(disk.stats(), Stats { read: 2, written: 3, flushes: 1 });
    disk.reset_stats();
    assert_eq!(disk.stats(), Stats::default());
}
