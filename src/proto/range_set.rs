//! A set of `u64` kept as sorted, disjoint, half-open ranges.
//!
//! Packet numbers received, bytes acknowledged, bytes lost: all of them arrive almost in order, so the
//! set is fast where the end grows: extending or following the last range is O(1). A change in the middle
//! costs a binary search and the move of the shorter side.
//!
//! It must not know what the numbers mean. Members must be below `u64::MAX` (packet numbers and offsets
//! end at 2^62 - 1, RFC 9000 section 16).

use std::collections::VecDeque;
use std::ops::Range;

/// Sorted, disjoint ranges; two ranges never touch.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: VecDeque<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self {
            ranges: VecDeque::new(),
        }
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of ranges, not of members.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Adds all of `range`; true if anything in it was new.
    pub fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let Some(last) = self.ranges.back_mut() else {
            self.ranges.push_back(range);
            return true;
        };
        if range.start > last.end {
            self.ranges.push_back(range);
            return true;
        }
        if range.start >= last.start {
            let grows = range.end > last.end;
            last.end = last.end.max(range.end);
            return grows;
        }

        // The ranges first..after overlap or touch the new one.
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let after = self.ranges.partition_point(|r| r.start <= range.end);
        if first == after {
            self.ranges.insert(first, range);
            return true;
        }
        let end = self.ranges[after - 1].end.max(range.end);
        let target = &mut self.ranges[first];
        if target.start <= range.start && range.end <= target.end {
            return false;
        }
        target.start = target.start.min(range.start);
        target.end = end;
        self.ranges.drain(first + 1..after);
        true
    }

    /// Adds one member; true if it was new.
    pub fn insert_one(&mut self, value: u64) -> bool {
        self.insert(value..value + 1)
    }

    /// Removes all of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // The ranges first..after share at least one member with `range`.
        let mut first = self.ranges.partition_point(|r| r.end <= range.start);
        let mut after = self.ranges.partition_point(|r| r.start < range.end);
        if first >= after {
            return;
        }
        let left = self.ranges[first].start..range.start;
        let right = range.end..self.ranges[after - 1].end;
        if !left.is_empty() && !right.is_empty() && after - first == 1 {
            self.ranges[first] = left;
            self.ranges.insert(after, right);
            return;
        }
        if !left.is_empty() {
            self.ranges[first] = left;
            first += 1;
        }
        if !right.is_empty() {
            after -= 1;
            self.ranges[after] = right;
        }
        match (first, after - first) {
            (_, 0) => {}
            (0, 1) => drop(self.ranges.pop_front()),
            (_, _) => drop(self.ranges.drain(first..after)),
        }
    }

    /// Removes all members below `bound`.
    pub fn remove_below(&mut self, bound: u64) {
        while let Some(first) = self.ranges.front_mut() {
            if first.end > bound {
                first.start = first.start.max(bound);
                return;
            }
            self.ranges.pop_front();
        }
    }

    /// Forgets the lowest ranges beyond `n`.
    pub fn keep_highest(&mut self, n: usize) {
        let surplus = self.ranges.len().saturating_sub(n);
        self.ranges.drain(..surplus);
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Gives back memory that is kept for speed only.
    pub fn shrink_to_fit(&mut self) {
        self.ranges.shrink_to_fit();
    }

    /// Adds all members of `other`.
    pub fn extend(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range);
        }
    }

    /// Whether `value` is a member.
    pub fn contains(&self, value: u64) -> bool {
        self.range_of(value).is_some()
    }

    /// Whether all of `range` are members; true for an empty range.
    pub fn contains_range(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.range_of(range.start).is_some_and(|r| range.end <= r.end)
    }

    /// The range that holds `value`.
    pub fn range_of(&self, value: u64) -> Option<Range<u64>> {
        let index = self.ranges.partition_point(|r| r.end <= value);
        self.ranges.get(index).filter(|r| r.start <= value).cloned()
    }

    /// The lowest part of `range` that is missing here.
    pub fn first_missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        let index = self.ranges.partition_point(|r| r.end <= range.start);
        let (start, end) = match self.ranges.get(index) {
            None => (range.start, range.end),
            Some(next) if next.start > range.start => (range.start, range.end.min(next.start)),
            // Two ranges never touch, so at least one member is missing behind this one.
            Some(next) => {
                let following = self.ranges.get(index + 1).map_or(u64::MAX, |r| r.start);
                (next.end, range.end.min(following))
            }
        };
        (start < end).then_some(start..end)
    }

    /// Whether `range` overlaps a range here or is its direct neighbour: inserting it adds no range.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        let index = self.ranges.partition_point(|r| r.end < range.start);
        self.ranges.get(index).is_some_and(|r| r.start <= range.end)
    }

    /// Lowest member.
    pub fn min(&self) -> Option<u64> {
        self.ranges.front().map(|r| r.start)
    }

    /// Highest member (not one past it).
    pub fn max(&self) -> Option<u64> {
        self.ranges.back().map(|r| r.end - 1)
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    /// Takes the lowest range out.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.ranges.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Range<u64>),
        InsertOne(u64),
        Remove(Range<u64>),
        RemoveBelow(u64),
        KeepHighest(usize),
        PopFirst,
    }

    fn range() -> impl Strategy<Value = Range<u64>> {
        (0..120u64, 0..12u64).prop_map(|(start, len)| start..start + len)
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => range().prop_map(Op::Insert),
            3 => (0..120u64).prop_map(Op::InsertOne),
            4 => range().prop_map(Op::Remove),
            1 => (0..120u64).prop_map(Op::RemoveBelow),
            1 => (0..10usize).prop_map(Op::KeepHighest),
            1 => Just(Op::PopFirst),
        ]
    }

    /// The model's members as maximal ranges.
    fn ranges_of(model: &BTreeSet<u64>) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for &value in model {
            match ranges.last_mut() {
                Some(last) if last.end == value => last.end += 1,
                _ => ranges.push(value..value + 1),
            }
        }
        ranges
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(ops in prop::collection::vec(op(), 0..60), probe in range()) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for op in ops {
                match op {
                    Op::Insert(r) => {
                        let new = r.clone().filter(|&v| model.insert(v)).count() > 0;
                        prop_assert_eq!(set.insert(r), new);
                    }
                    Op::InsertOne(v) => prop_assert_eq!(set.insert_one(v), model.insert(v)),
                    Op::Remove(r) => {
                        model.retain(|v| !r.contains(v));
                        set.remove(r);
                    }
                    Op::RemoveBelow(bound) => {
                        model.retain(|&v| v >= bound);
                        set.remove_below(bound);
                    }
                    Op::KeepHighest(n) => {
                        let ranges = ranges_of(&model);
                        let kept = &ranges[ranges.len().saturating_sub(n)..];
                        model.retain(|v| kept.iter().any(|r| r.contains(v)));
                        set.keep_highest(n);
                    }
                    Op::PopFirst => {
                        let first = ranges_of(&model).first().cloned();
                        model.retain(|v| first.as_ref().is_some_and(|f| !f.contains(v)));
                        prop_assert_eq!(set.pop_first(), first);
                    }
                }
                let expected = ranges_of(&model);
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(set.len(), expected.len());
                prop_assert_eq!(set.is_empty(), model.is_empty());
                prop_assert_eq!(set.min(), model.first().copied());
                prop_assert_eq!(set.max(), model.last().copied());
                prop_assert_eq!(set.contains(probe.start), model.contains(&probe.start));
                prop_assert_eq!(
                    set.contains_range(&probe),
                    probe.clone().all(|v| model.contains(&v))
                );
                let missing = probe.clone().find(|v| !model.contains(v));
                let run = missing.map(|from| {
                    let len = (from..probe.end).take_while(|v| !model.contains(v)).count();
                    from..from + len as u64
                });
                prop_assert_eq!(set.first_missing(probe.clone()), run);
                if !probe.is_empty() {
                    let mut grown = set.clone();
                    grown.insert(probe.clone());
                    prop_assert_eq!(set.touches(&probe), grown.len() <= set.len());
                }
            }
        }

        #[test]
        fn extend_is_the_union(a in prop::collection::vec(range(), 0..12), b in prop::collection::vec(range(), 0..12)) {
            let set_of = |ranges: &[Range<u64>]| {
                let mut set = RangeSet::new();
                for r in ranges {
                    set.insert(r.clone());
                }
                set
            };
            let mut union = set_of(&a);
            union.extend(&set_of(&b));
            prop_assert_eq!(union, set_of(&[a, b].concat()));
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        let mut set = RangeSet::new();
        for value in [5, 7, 6, 1, 0] {
            assert!(set.insert_one(value));
        }
        assert!(!set.insert_one(6));
        assert_eq!(set.iter().rev().collect::<Vec<_>>(), [5..8, 0..2]);
    }

    #[test]
    fn an_empty_range_changes_nothing() {
        let mut set = RangeSet::new();
        assert!(!set.insert(3..3));
        set.remove(3..3);
        assert!(set.is_empty());
        assert!(set.contains_range(&(9..9)));
    }
}
