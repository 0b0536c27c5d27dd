//! Sets of completion indexes, written `1,3-5,7`.

use std::collections::BTreeSet;
use std::fmt;

/// Ordered, disjoint ranges, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<(i32, i32)>);

impl Intervals {
    /// What is no number is ignored, and so is what is not below `completions`.
    pub fn parse(text: &str, completions: i32) -> Self {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse::<i32>().ok()?, last.parse::<i32>().ok()?.min(completions - 1)))
        };
        let ranges = text.split(',').filter_map(range).filter(|(first, last)| first <= last);
        Self::joined(ranges.collect())
    }

    fn joined(mut ranges: Vec<(i32, i32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    #[must_use]
    pub fn with(&self, indexes: Vec<i32>) -> Self {
        let new: BTreeSet<i32> = indexes.into_iter().collect();
        Self::joined(self.0.iter().copied().chain(new.into_iter().map(|index| (index, index))).collect())
    }

    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        Self::joined(self.0.iter().chain(&other.0).copied().collect())
    }

    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many indexes both have.
    pub fn shared(&self, other: &Self) -> i32 {
        let overlap = |a: &(i32, i32), b: &(i32, i32)| (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
        self.0.iter().flat_map(|a| other.0.iter().map(move |b| overlap(a, b))).sum()
    }

    /// The lowest indexes below `completions` that are not in the set, `count` at most.
    pub fn first_missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let ends = self.0.iter().map(|(first, last)| (*first, last + 1)).chain([(completions, completions)]);
        let mut from = 0;
        let gaps = ends.map(|(first, next)| std::mem::replace(&mut from, next)..first.min(completions));
        gaps.flatten().take(count).collect()
    }
}

impl fmt::Display for Intervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(i32, i32)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_writes_and_joins() {
        for (text, printed, total) in [
            ("", "", 0),
            ("1,3-5,7", "1,3-5,7", 5),
            ("1,2,3", "1-3", 3),
            ("1,2", "1,2", 2),
            ("0-99", "0-9", 10),
            ("12,20-30", "", 0),
            ("x,4", "4", 1),
        ] {
            let set = Intervals::parse(text, 10);
            assert_eq!((set.to_string().as_str(), set.total()), (printed, total), "{text}");
        }
        let set = Intervals::parse("1,3-5", 10).with(vec![2, 8, 8]);
        assert_eq!(set.to_string(), "1-5,8");
        assert_eq!([0, 1, 5, 6, 8, 9].map(|i| set.contains(i)), [false, true, true, false, true, false]);
        assert_eq!(set.first_missing(3, 10), [0, 6, 7]);
        assert_eq!(set.first_missing(9, 10), [0, 6, 7, 9]);
        assert_eq!(set.merged(&Intervals::parse("6-7", 10)).to_string(), "1-8");
        assert_eq!(set.shared(&Intervals::parse("4-9", 10)), 3);
    }
}
