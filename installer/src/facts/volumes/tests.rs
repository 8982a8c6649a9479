use std::collections::BTreeMap;

use super::*;
use crate::facts::zoo;

/// What `mdadm --examine` says of the members of the zoo's mirror.
fn mirror() -> BTreeMap<String, String> {
    let mut told = zoo::raw("raid").md;
    told.retain(|device, _| ["sda1", "sdb1"].contains(&device.as_str()));
    told
}

fn array(told: &BTreeMap<String, String>) -> (Volume, Option<Look>) {
    let mut found = md::arrays(told);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_mirror_is_known_by_its_members_and_read_where_its_data_begins() {
    let (volume, look) = array(&mirror());
    assert_eq!((volume.name.as_str(), volume.level.as_str()), ("oldnas:0", "raid1"));
    assert_eq!(volume.id, "9d3c5b7a:1f2e4c6d:8b9a0c1d:2e3f4a5b");
    assert_eq!((volume.size, &volume.fault), (Bytes(2_930_134_016 << 10), &None));
    assert_eq!(volume.members, ["sda1", "sdb1"]);
    let look = look.unwrap();
    assert_eq!((look.device.as_str(), look.offset), ("sda1", Bytes(264_192 * 512)));
    let facts = zoo::facts("raid");
    let content = facts.volumes[0].content.as_ref().unwrap();
    assert_eq!((content.kind.as_str(), facts.volumes[0].active), ("ext4", false));
}

#[test]
fn an_array_that_is_not_whole_says_why() {
    let fault = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut told = mirror();
        change(&mut told);
        let (volume, look) = array(&told);
        assert_eq!(look, None, "nothing is read of what is not whole");
        volume.fault.unwrap()
    };
    let edit = |told: &mut BTreeMap<String, String>, from: &str, to: &str| {
        let text = told.get_mut("sdb1").unwrap();
        assert!(text.contains(from));
        *text = text.replace(from, to);
    };
    assert_eq!(fault(&|told| drop(told.remove("sdb1"))), Fault::Missing { there: 1, of: 2 });
    assert_eq!(fault(&|told| edit(told, "Events : 4711", "Events : 4709")), Fault::Lags { device: "sdb1".to_owned() });
    assert_eq!(fault(&|told| edit(told, "Events : 4711", "Events : 4800")), Fault::Lags { device: "sda1".to_owned() });
    assert_eq!(fault(&|told| edit(told, "device 1", "device 0")), Fault::Twice { device: "sdb1".to_owned() });
    assert_eq!(
        fault(&|told| edit(told, "Update Time", "Recovery Offset : 8 sectors\n    Update Time")),
        Fault::Unsettled
    );
    assert!(matches!(fault(&|told| edit(told, "Active device 1", "Journal")), Fault::Kind(_)));
    // Written to alone: the newest one knows that the other is gone.
    let alone = fault(&|told| {
        edit(told, "Array State : AA", "Array State : .A");
        edit(told, "Events : 4711", "Events : 4712");
    });
    assert_eq!(alone, Fault::Missing { there: 1, of: 2 });
    // A power cut between two writes is no reason.
    let mut told = mirror();
    edit(&mut told, "Events : 4711", "Events : 4712");
    assert_eq!(array(&told).0.fault, None);
}

#[test]
fn the_first_chunk_lies_where_the_layout_puts_it() {
    let first = |level: &str, layout: &str| {
        let mut told = BTreeMap::new();
        for (i, device) in ["sda1", "sdb1", "sdc1", "sdd1"].into_iter().enumerate() {
            let text = mirror()["sda1"]
                .replace("raid1", level)
                .replace(
                    "Raid Devices : 2",
                    &format!("Raid Devices : 4\n         Layout : {layout}\n     Chunk Size : 64K"),
                )
                .replace("device 0", &format!("device {i}"))
                .replace("AA (", "AAAA (");
            told.insert(device.to_owned(), text);
        }
        let look = array(&told).1?;
        assert_eq!(look.len, Bytes::kib(64));
        Some(look.device)
    };
    let is = |device: &str| Some(device.to_owned());
    assert_eq!(first("raid5", "left-symmetric"), is("sda1"));
    assert_eq!(first("raid5", "right-symmetric"), is("sdb1"));
    assert_eq!(first("raid6", "left-symmetric"), is("sdb1"));
    assert_eq!(first("raid6", "right-asymmetric"), is("sdc1"));
    assert_eq!(first("raid10", "near=2"), is("sda1"));
    assert_eq!(first("raid5", "something-new"), None);
}

#[test]
fn lvm_tells_its_volumes_and_which_cannot_be_used() {
    let facts = zoo::facts("lvm");
    let names: Vec<(&str, bool)> = facts.volumes.iter().map(|v| (v.name.as_str(), v.fault.is_none())).collect();
    let expected = [("attic/films", true), ("attic/machines", false), ("attic/old-mail", true), ("server/root", false)];
    assert_eq!(names, expected);
    let films = &facts.volumes[0];
    assert_eq!((films.members.as_slice(), films.size), (["sda".to_owned()].as_slice(), Bytes::gib(600)));
    assert_eq!(films.content.as_ref().unwrap().kind, "xfs");
    assert_eq!(facts.volumes[3].fault, Some(Fault::Missing { there: 1, of: 2 }));
}

#[test]
fn what_runs_is_seen_by_its_holders() {
    let mut raw = zoo::raw("nas");
    raw.md = mirror();
    assert!(zoo::facts("nas").volumes.is_empty(), "nothing was asked there");
    assert!(crate::facts::Facts::from_raw(&raw).unwrap().volumes[0].active);
}
