use proptest::prelude::*;

use super::*;
use crate::machine::fake::{DISK, Fake, image_table};

#[test]
fn a_table_reads_back_for_both_sector_sizes() {
    for sector in [SectorSize(512), SectorSize(4096)] {
        let mut fake = Fake::with(Bytes::gib(64), sector);
        let table = fake.plan().table;
        assert!(!table.is_on(&fake, DISK, fake.size).unwrap());
        for write in table.writes(&fake, DISK, fake.size).unwrap() {
            fake.store(write.offset.0, &write.bytes);
        }
        assert!(table.is_on(&fake, DISK, fake.size).unwrap());
        assert_eq!(Table::read(&fake, DISK, fake.size, sector).unwrap(), table);
        assert_eq!(Table::read_copy(&fake, DISK, fake.size, sector).unwrap(), table);
    }
}

#[test]
fn boot_code_survives_and_the_protective_entry_covers_the_disk() {
    let mut fake = Fake::new(16);
    let mut mbr = fake.read(&Dev::disk(DISK), Bytes::ZERO, 512).unwrap();
    mbr[..440].fill(0xeb);
    fake.store(0, &mbr);
    let table = fake.plan().table;
    let writes = table.writes(&fake, DISK, fake.size).unwrap();
    let last = writes.last().unwrap();
    assert_eq!(last.offset, Bytes::ZERO);
    assert!(last.bytes[..440].iter().all(|byte| *byte == 0xeb));
    assert_eq!(last.bytes[446 + 4], 0xee);
    assert_eq!(last.bytes[458..462], (u32::try_from((16u64 << 30) / 512 - 1).unwrap()).to_le_bytes());
    let huge = Fake::new(4096);
    let writes = huge.plan().table.writes(&huge, DISK, huge.size).unwrap();
    assert_eq!(writes.last().unwrap().bytes[458..462], [0xff; 4]);
}

#[test]
fn an_entry_that_does_not_fit_is_an_error() {
    let fake = Fake::new(16);
    let mut table = fake.plan().table;
    table.entries[4].sectors += 1 << 20;
    assert!(table.writes(&fake, DISK, fake.size).is_err());
    let mut table = fake.plan().table;
    table.entries[4].start = table.entries[3].start;
    assert!(table.writes(&fake, DISK, fake.size).is_err());
    assert!(image_table(SectorSize(512)).writes(&fake, DISK, Bytes::mib(1)).is_err());
}

thread_local! {
    /// A fresh disk and the table that it is to get, for both sector sizes.
    static FRESH: [(Fake, Table); 2] = [512, 4096].map(|sector| {
        let fake = Fake::with(Bytes::gib(64), SectorSize(sector));
        let table = fake.plan().table;
        (fake, table)
    });
}

proptest! {
    /// The rule that the order of the writes exists for.
    #[test]
    fn whatever_is_torn_grub_and_the_kernel_name_the_same_root(cut in 0usize..5, kept in any::<[u64; 4]>(), big in any::<bool>()) {
        let (mut fake, table) = FRESH.with(|fresh| fresh[usize::from(big)].clone());
        for (i, write) in table.writes(&fake, DISK, fake.size).unwrap().into_iter().enumerate() {
            // A sector is written whole or not at all; which ones of an unflushed write are, is chance.
            let unit = fake.sector.0 as usize;
            for (j, sector) in write.bytes.chunks(unit).enumerate() {
                let chance = kept[j / 64 % 4] >> (j % 64) & 1 == 1;
                if i < cut || i == cut && chance {
                    fake.store(write.offset.0 + (j * unit) as u64, sector);
                }
            }
        }
        fake.boot();
        let read = Table::read(&fake, DISK, fake.size, fake.sector).unwrap();
        prop_assert!(read == table || read == image_table(fake.sector));
    }
}
