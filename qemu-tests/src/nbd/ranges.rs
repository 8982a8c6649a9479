//! A set of byte ranges, merged where they touch: which parts of a disk were
//! written, however large the disk.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges that do not touch, by start.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `range`.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // All that touch it: from the right, until one ends before it.
        while let Some((&s, &e)) = self.0.range(..=end).next_back() {
            if e < start {
                break;
            }
            start = start.min(s);
            end = end.max(e);
            self.0.remove(&s);
        }
        self.0.insert(start, end);
    }

    /// Splits `range` into pieces, each wholly inside (true) or outside (false) the set.
    pub(crate) fn split(&self, range: Range<u64>) -> Vec<(Range<u64>, bool)> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let first = self.0.range(..=at).next_back().map_or(at, |(s, _)| *s);
        for (&s, &e) in self.0.range(first..range.end) {
            let (s, e) = (s.max(at), e.min(range.end));
            if s >= e {
                continue;
            }
            if at < s {
                pieces.push((at..s, false));
            }
            pieces.push((s..e, true));
            at = e;
        }
        if at < range.end {
            pieces.push((at..range.end, false));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_merge() {
        let mut set = Ranges::default();
        for range in [10..20, 30..40, 20..25, 50..60, 24..31, 5..5] {
            set.insert(range);
        }
        assert_eq!(set.0.into_iter().collect::<Vec<_>>(), [(10, 40), (50, 60)]);
    }

    #[test]
    fn splitting_names_inside_and_outside() {
        let mut set = Ranges::default();
        set.insert(10..20);
        set.insert(30..40);
        assert_eq!(set.split(0..12), [(0..10, false), (10..12, true)]);
        assert_eq!(set.split(15..35), [(15..20, true), (20..30, false), (30..35, true)]);
        assert_eq!(set.split(20..30), [(20..30, false)]);
        assert_eq!(set.split(12..15), [(12..15, true)]);
        assert_eq!(set.split(40..41), [(40..41, false)]);
    }

    /// Against the obvious model: one flag a byte.
    #[test]
    fn it_agrees_with_a_bitmap() {
        let mut set = Ranges::default();
        let mut model = [false; 256];
        let mut random = crate::random::Random::new(7);
        for _ in 0..200 {
            let start = random.below(250);
            let end = start + random.below(6);
            set.insert(start..end);
            model[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(true);
            let seen: Vec<bool> =
                set.split(0..256).into_iter().flat_map(|(range, inside)| range.map(move |_| inside)).collect();
            assert_eq!(seen, model);
            set = if random.below(40) == 0 {
                model.fill(false);
                Ranges::default()
            } else {
                set
            };
        }
    }
}
