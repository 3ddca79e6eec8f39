//! One head's kept sets, as they stood right after its cuts, and how they thin out with age.
//!
//! Everything here looks at a head only right after one of its cuts: then every token has been weighed at least once,
//! and a cut of a whole prompt is no different from one of a few tokens. `age` is tokens seen minus position, so the
//! newest token has age 1 and a head that keeps the last M holds exactly the ages 1..=M.

use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// Cuts that are looked at; more are thinned out evenly, the last always among them.
pub const MOST_CUTS: usize = 256;

/// What happened in one head: slices in, nothing else.
#[derive(Debug, Clone)]
pub struct HeadHistory<'a> {
    /// When each position left; `None` while cached.
    pub departures: Vec<Option<u32>>,
    /// Nats, one per position; empty without gates.
    pub log_beta: &'a [f32],
    /// Tokens seen at the end.
    pub seen: u32,
    /// Tokens seen at each cut that removed something, ascending.
    pub cuts: Vec<u32>,
}

impl<'a> HeadHistory<'a> {
    /// The history of one head of a run.
    pub fn of(lives: &'a Lifetimes, head: KvHead) -> Self {
        Self::new(lives.departures(head).collect(), lives.log_beta(head), lives.seen())
    }

    /// From when each position left.
    pub fn new(departures: Vec<Option<u32>>, log_beta: &'a [f32], seen: u32) -> Self {
        let mut cuts: Vec<u32> = departures.iter().flatten().copied().collect();
        cuts.sort_unstable();
        cuts.dedup();
        Self { departures, log_beta, seen, cuts }
    }

    /// Whether a position is cached right after the cut at `cut` tokens seen.
    pub fn is_kept(&self, position: u32, cut: u32) -> bool {
        position < cut && self.departures[position as usize].is_none_or(|at| at > cut)
    }

    /// The cut that first weighed a token once it was at least `age` old.
    pub fn first_cut_from_age(&self, position: u32, age: u32) -> Option<u32> {
        let next = self.cuts.partition_point(|&cut| cut < position + age.max(1));
        self.cuts.get(next).copied()
    }

    /// The cuts that are looked at: all, or [`MOST_CUTS`] of them.
    pub fn observed(&self) -> Vec<u32> {
        let all = self.cuts.len();
        if all <= MOST_CUTS {
            return self.cuts.clone();
        }
        (1..=MOST_CUTS).map(|index| self.cuts[index * all / MOST_CUTS - 1]).collect()
    }
}

/// How many of the observed cuts found each token cached.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observations {
    /// Ascending.
    pub cuts: Vec<u32>,
    /// Entries kept at each.
    pub kept: Vec<u32>,
}

impl Observations {
    /// Looks at a head.
    pub fn of(history: &HeadHistory<'_>) -> Self {
        let cuts = history.observed();
        let mut kept = vec![0u32; cuts.len() + 1];
        let mut ends = vec![0u32; cuts.len() + 1];
        for (position, at) in (0u32..).zip(&history.departures) {
            let span = span(&cuts, position + 1, *at);
            kept[span.start] += 1;
            ends[span.end] += 1;
        }
        let mut alive = 0;
        for (kept, ended) in kept.iter_mut().zip(ends) {
            alive = alive + *kept - ended;
            *kept = alive;
        }
        kept.pop();
        Self { cuts, kept }
    }

    /// Indices of the cuts at which a token that left at `at` was cached, from `seen` tokens seen on.
    pub fn cached_from(&self, seen: u32, at: Option<u32>) -> std::ops::Range<usize> {
        span(&self.cuts, seen, at)
    }
}

fn span(cuts: &[u32], from: u32, at: Option<u32>) -> std::ops::Range<usize> {
    let start = cuts.partition_point(|&cut| cut < from);
    let end = at.map_or(cuts.len(), |at| cuts.partition_point(|&cut| cut < at));
    start..end.max(start)
}

/// The share of tokens that a head still holds, by age, made monotone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgeProfile {
    /// Blocks of equal share: (last age of the block, share), ascending in age, descending in share.
    pub blocks: Vec<(u32, f64)>,
}

impl AgeProfile {
    /// Over all observed cuts: of the tokens that had reached an age, the share that was cached, smoothed to the
    /// nearest curve that never rises (pool adjacent violators, weighted by the number of tokens).
    pub fn of(history: &HeadHistory<'_>, seen: &Observations) -> Self {
        let longest = seen.cuts.last().copied().unwrap_or(0) as usize;
        let mut kept = vec![0.0f64; longest + 1];
        for (position, at) in (0u32..).zip(&history.departures) {
            for &cut in &seen.cuts[seen.cached_from(position + 1, *at)] {
                kept[(cut - position) as usize] += 1.0;
            }
        }
        // (last age, kept, reached) of each block.
        let mut blocks: Vec<(u32, f64, f64)> = Vec::new();
        let mut younger = 0;
        for age in 1..=longest as u32 {
            while younger < seen.cuts.len() && seen.cuts[younger] < age {
                younger += 1;
            }
            let mut block = (age, kept[age as usize], (seen.cuts.len() - younger) as f64);
            while let Some(&(_, kept, reached)) = blocks.last() {
                if kept / reached > block.1 / block.2 {
                    break;
                }
                blocks.pop();
                block = (age, block.1 + kept, block.2 + reached);
            }
            blocks.push(block);
        }
        Self { blocks: blocks.into_iter().map(|(age, kept, reached)| (age, kept / reached)).collect() }
    }

    /// The last age at which at least `share` of the tokens is still held; 0 when no age is.
    pub fn last_age(&self, share: f64) -> u32 {
        self.blocks.iter().take_while(|block| block.1 >= share).last().map_or(0, |block| block.0)
    }

    /// The share held at an age.
    pub fn share_at(&self, age: u32) -> f64 {
        self.blocks.iter().find(|block| age <= block.0).map_or(0.0, |block| block.1)
    }

    /// Width and crispness of the recent window: the age at which half is gone, and the ages between which the share
    /// falls from three quarters to one quarter, over that width. Crispness is `None` when a quarter never goes.
    pub fn window(&self) -> (u32, Option<f64>) {
        let [near, middle, far] = [0.75, 0.5, 0.25].map(|share| self.last_age(share));
        let falls = self.blocks.last().is_some_and(|block| block.1 < 0.25);
        (middle, (falls && middle > 0).then(|| f64::from(far - near) / f64::from(middle)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last `m` of `seen` tokens, cut every `gap`.
    pub fn window(m: u32, gap: u32, seen: u32) -> Vec<Option<u32>> {
        let leaves =
            |position: u32| (1..).map(|k| m + k * gap).find(|cut| cut - m > position).filter(|&cut| cut <= seen);
        (0..seen).map(leaves).collect()
    }

    #[test]
    fn a_perfect_window_has_its_width_and_the_crispest_edge_whatever_the_gap() {
        for (m, gap) in [(16, 1), (16, 8), (7, 23)] {
            let history = HeadHistory::new(window(m, gap, 400), &[], 400);
            let seen = Observations::of(&history);
            assert!(seen.kept.iter().all(|&kept| kept == m), "{:?}", seen.kept);
            assert_eq!(AgeProfile::of(&history, &seen).window(), (m, Some(0.0)));
        }
    }

    #[test]
    fn one_cut_of_a_whole_prompt_is_enough_to_see_a_window() {
        let departures = (0..500).map(|position| (position < 460).then_some(500)).collect();
        let history = HeadHistory::new(departures, &[], 500);
        let seen = Observations::of(&history);
        assert_eq!((seen.cuts.as_slice(), seen.kept.as_slice()), (&[500][..], &[40][..]));
        assert_eq!(AgeProfile::of(&history, &seen).window(), (40, Some(0.0)));
    }

    #[test]
    fn first_tokens_that_stay_do_not_hide_a_window() {
        let mut departures = window(16, 8, 400);
        departures[..4].fill(None);
        let history = HeadHistory::new(departures, &[], 400);
        let profile = AgeProfile::of(&history, &Observations::of(&history));
        assert_eq!(profile.window(), (16, Some(0.0)));
        assert!(profile.share_at(300) < 0.2);
    }

    #[test]
    fn many_cuts_are_thinned_out_with_the_last_among_them() {
        let history = HeadHistory::new(window(16, 1, 3000), &[], 3000);
        let observed = history.observed();
        assert_eq!((observed.len(), observed.last()), (MOST_CUTS, history.cuts.last()));
        assert_eq!(history.first_cut_from_age(5, 100), Some(105));
        assert!(history.is_kept(2999, 3000) && !history.is_kept(0, 17));
    }
}
