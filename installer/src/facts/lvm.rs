//! Reads what LVM reports of its volumes. It is asked in its read-only way, which looks at what lies
//! on the disks and starts nothing.

use serde::Deserialize;

use super::volumes::{Fault, Look, Volume, VolumeKind};
use crate::units::Bytes;

/// What `lvs` is asked for: a row for each segment of a volume.
pub(super) const VOLUMES: &str = "vg_name,vg_uuid,vg_extent_size,vg_missing_pv_count,vg_exported,lv_name,lv_uuid,lv_size,segtype,seg_start_pe,stripe_size,devices";

/// What `pvs` is asked for.
pub(super) const PIECES: &str = "pv_name,vg_uuid,pe_start";

/// How both are asked.
pub(super) const HOW: [&str; 6] = ["--readonly", "--reportformat", "json", "--units", "b", "--nosuffix"];

#[derive(Deserialize)]
struct Answer<T> {
    report: Vec<T>,
}

#[derive(Deserialize)]
struct Segments {
    seg: Vec<Segment>,
}

/// A part of a volume, in LVM's words; every value is a text.
#[derive(Deserialize)]
struct Segment {
    vg_name: String,
    vg_uuid: String,
    vg_extent_size: String,
    vg_missing_pv_count: String,
    vg_exported: String,
    lv_name: String,
    lv_uuid: String,
    lv_size: String,
    segtype: String,
    seg_start_pe: String,
    stripe_size: String,
    devices: String,
}

#[derive(Deserialize)]
struct Pieces {
    pv: Vec<Piece>,
}

/// A disk or partition of a volume group.
#[derive(Deserialize)]
struct Piece {
    pv_name: String,
    vg_uuid: String,
    pe_start: String,
}

/// Every volume, with the place of its first bytes. What cannot be read is not there.
pub(super) fn volumes(lvs: &str, pvs: &str) -> Vec<(Volume, Option<Look>)> {
    let segments: Vec<Segment> = serde_json::from_str(lvs)
        .map(|answer: Answer<Segments>| answer.report.into_iter().flat_map(|part| part.seg).collect())
        .unwrap_or_default();
    let pieces: Vec<Piece> = serde_json::from_str(pvs)
        .map(|answer: Answer<Pieces>| answer.report.into_iter().flat_map(|part| part.pv).collect())
        .unwrap_or_default();
    let mut firsts: Vec<&Segment> =
        segments.iter().filter(|segment| number(&segment.seg_start_pe) == Some(0)).collect();
    firsts.sort_by_key(|first| (&first.vg_name, &first.lv_name, &first.lv_uuid));
    firsts.into_iter().filter_map(|first| volume(first, &segments, &pieces)).collect()
}

fn volume(first: &Segment, segments: &[Segment], pieces: &[Piece]) -> Option<(Volume, Option<Look>)> {
    let own: Vec<&Segment> = segments.iter().filter(|segment| segment.lv_uuid == first.lv_uuid).collect();
    let group: Vec<&Piece> = pieces.iter().filter(|piece| piece.vg_uuid == first.vg_uuid).collect();
    let missing = u32::try_from(number(&first.vg_missing_pv_count)?).ok()?;
    let known: Vec<&&Piece> = group.iter().filter(|piece| piece.pv_name.starts_with("/dev/")).collect();
    let other = own.iter().find(|segment| !["linear", "striped"].contains(&segment.segtype.as_str()));
    let fault = if let Some(segment) = other {
        Some(Fault::Kind(format!("an LVM volume of the kind {}", segment.segtype)))
    } else if missing > 0 {
        let of = u32::try_from(group.len()).ok()?;
        Some(Fault::Missing { there: of.saturating_sub(missing), of })
    } else {
        (!first.vg_exported.is_empty()).then(|| Fault::Kind("of a volume group that was exported".to_owned()))
    };
    let look = look(first, &known).filter(|_| fault.is_none());
    let volume = Volume {
        kind: VolumeKind::Lvm,
        name: format!("{}/{}", first.vg_name, first.lv_name),
        id: first.lv_uuid.clone(),
        level: first.segtype.clone(),
        size: Bytes(number(&first.lv_size)?),
        // All of the group: without one of them LVM starts none of its volumes by itself.
        members: known.iter().map(|piece| kernel_name(&piece.pv_name)).collect(),
        fault,
        active: false,
        content: None,
    };
    Some((volume, look))
}

/// Where the volume's first bytes lie.
fn look(first: &Segment, pieces: &[&&Piece]) -> Option<Look> {
    // "/dev/sdb(0)": a device, and the extent on it. Of a striped one the first stripe.
    let (path, extent) = first.devices.split(',').next()?.strip_suffix(')')?.rsplit_once('(')?;
    let start = number(&pieces.iter().find(|piece| piece.pv_name == path)?.pe_start)?;
    let extent_size = number(&first.vg_extent_size)?;
    let len = if first.segtype == "striped" { number(&first.stripe_size)? } else { number(&first.lv_size)? };
    let offset = Bytes(number(extent)?.checked_mul(extent_size)?.checked_add(start)?);
    Some(Look { device: kernel_name(path), offset, len: Bytes(len) })
}

fn kernel_name(path: &str) -> String {
    path.strip_prefix("/dev/").unwrap_or(path).to_owned()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}
