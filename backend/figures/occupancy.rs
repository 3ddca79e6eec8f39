//! How many entries a head holds as the text grows: pure counting over lifetimes.

use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// One head's entries over the number of tokens seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Occupancy {
    /// Entries that the query at position `t` saw, its own among them, at index `t`.
    pub entries: Vec<u32>,
    /// Tokens seen at each cut that removed something, and entries left by it.
    pub cuts: Vec<(u32, u32)>,
}

impl Occupancy {
    /// Counts one head.
    pub fn of(lifetimes: &Lifetimes, head: KvHead) -> Self {
        let seen = lifetimes.seen() as usize;
        // Entries leave after the query at `at - 1`.
        let mut left = vec![0u32; seen + 1];
        lifetimes.departures(head).flatten().for_each(|at| left[(at as usize).min(seen)] += 1);
        let mut cached = 0;
        let (mut entries, mut cuts) = (Vec::with_capacity(seen), Vec::new());
        for (at, &left) in left.iter().enumerate().skip(1) {
            cached += 1;
            entries.push(cached);
            if left > 0 {
                cached -= left;
                cuts.push((at as u32, cached));
            }
        }
        Self { entries, cuts }
    }

    /// A line through the counts: at every cut straight down, and on the way up points enough for a logarithmic axis,
    /// where an even rise is no straight line.
    pub fn line(&self) -> Vec<(u32, f64)> {
        let seen = self.entries.len() as u32;
        let mut line = Vec::new();
        let (mut from, mut held) = (0, 0);
        let end = self.entries.last().map(|&entries| (seen, entries));
        for (at, left) in self.cuts.iter().copied().chain(end.filter(|_| self.cuts.last().is_none_or(|c| c.0 < seen))) {
            let top = self.entries[at as usize - 1];
            let mut next = held.max(1);
            while next < top {
                line.push((from + next - held, f64::from(next)));
                next += (next / 4).max(1);
            }
            line.push((at, f64::from(top)));
            if left < top {
                line.push((at, f64::from(left)));
            }
            (from, held) = (at, left);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::step::{Eviction, Shape};

    #[test]
    fn entries_are_those_that_each_query_sees() {
        let mut lives = Lifetimes::new(Shape { layers: 1, kv_heads: 1 });
        lives.open(9, None).unwrap();
        let head = KvHead { layer: 0, head: 0 };
        for (position, at) in [(0, 4), (2, 4), (1, 7), (6, 7), (3, 9)] {
            lives.close(Eviction { head, position, at, score: 0.0 }).unwrap();
        }
        let found = Occupancy::of(&lives, head);
        let seen = |query: u32| (0..=query).filter(|&key| lives.is_visible(head, key, query)).count() as u32;
        assert_eq!(found.entries, (0..9).map(seen).collect::<Vec<_>>());
        let left: Vec<u32> = [4, 7, 9].map(|at| lives.cached_after(head, at).len() as u32).into();
        assert_eq!(found.cuts, [4, 7, 9].into_iter().zip(left).collect::<Vec<_>>());
        let corners = [(1, 1.0), (4, 4.0), (4, 2.0), (7, 5.0), (7, 3.0), (9, 5.0), (9, 4.0)];
        let line = found.line();
        assert!(corners.iter().all(|corner| line.contains(corner)), "{line:?}");
        for (at, entries) in line {
            let after = found.cuts.iter().find(|cut| cut.0 == at).map(|cut| f64::from(cut.1));
            assert!(f64::from(found.entries[at as usize - 1]) == entries || after == Some(entries), "{at} {entries}");
        }
    }
}
