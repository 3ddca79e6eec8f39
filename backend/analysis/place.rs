//! Scores of where in the text the kept tokens stand: at its very start, in its first part, or where they always stood.

use super::facts::FIRST;
use super::kept::{HeadHistory, Observations};
use super::statistics::{binomial_tail, hypergeometric_tail, normal_tail};

/// Share of the observed cuts at which a first position must be held.
pub const HELD: f64 = 0.95;
/// Positions after the first ones that tell a sink from a head that keeps the beginning.
const NEIGHBOURS: u32 = 16;

/// How a head treats the first [`FIRST`] positions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sink {
    /// Share of the observed cuts at which each was held, in [0, 1].
    pub survival: [f64; FIRST as usize],
    /// The share to expect: the larger of that of the old tokens and that of the 16 positions that follow.
    pub expected: f64,
    /// Percentile rank of `log_beta` at position 0 among all positions, in [0, 1], ties half.
    pub rank: Option<f64>,
    /// Chance of so high ranks at the held positions if gates did not know the start; without gates, chance of so
    /// many of the first positions held at the expected share.
    pub p: Option<f64>,
}

impl Sink {
    /// Measures it, given the share of old tokens that is held.
    pub fn of(history: &HeadHistory<'_>, observed: &Observations, old_rate: f64) -> Self {
        let cuts = observed.cuts.len() as f64;
        if observed.cuts.is_empty() || history.seen <= FIRST {
            return Self::default();
        }
        let survival = |position: u32| {
            let at = history.departures[position as usize];
            observed.cached_from(position + 1, at).len() as f64 / cuts
        };
        let neighbours = FIRST..(FIRST + NEIGHBOURS).min(history.seen);
        let around = neighbours.clone().map(survival).sum::<f64>() / f64::from(neighbours.end - FIRST);
        let mut first = [0.0; FIRST as usize];
        (0u32..).zip(&mut first).for_each(|(position, share)| *share = survival(position));
        let found = Self { survival: first, expected: old_rate.max(around), rank: None, p: None };
        let held = found.held();
        Self {
            rank: rank(history.log_beta),
            p: if held == 0 {
                None
            } else if history.log_beta.is_empty() {
                Some(binomial_tail(FIRST.into(), found.expected, held.into()))
            } else {
                Some(found.p_of_ranks(history.log_beta))
            },
            ..found
        }
    }

    /// Number of first positions held throughout.
    pub fn held(&self) -> u32 {
        self.survival.iter().filter(|&&share| share >= HELD).count() as u32
    }

    /// Whether it is position 0 that is held, or several.
    pub fn is_start(&self) -> bool {
        self.survival[0] >= HELD || self.held() >= 2
    }

    /// Mean survival of the first positions.
    pub fn mean_survival(&self) -> f64 {
        self.survival.iter().sum::<f64>() / f64::from(FIRST)
    }

    /// Either all held positions rank high together, or position 0 alone does: the better of the two, doubled.
    fn p_of_ranks(&self, log_beta: &[f32]) -> f64 {
        let all = log_beta.len() as u64;
        let at_least = |beta: f32| log_beta.iter().filter(|&&other| other >= beta).count() as u64;
        let held = || log_beta.iter().zip(&self.survival).filter(|(_, share)| **share >= HELD).map(|(&beta, _)| beta);
        let together = held().fold(0.0f32, f32::min);
        let marked = at_least(together);
        let together = hypergeometric_tail(all, marked, FIRST.into(), held().count() as u64);
        let alone = if self.survival[0] >= HELD { at_least(log_beta[0]) as f64 / all as f64 } else { 1.0 };
        (2.0 * together.min(alone)).min(1.0)
    }
}

fn rank(log_beta: &[f32]) -> Option<f64> {
    let first = *log_beta.first()?;
    let (below, equal) = log_beta.iter().skip(1).fold((0.0, 0.0), |(below, equal), &other| {
        (below + f64::from(u8::from(other < first)), equal + f64::from(u8::from(other == first)))
    });
    let others = log_beta.len() as f64 - 1.0;
    (others > 0.0).then(|| (below + equal / 2.0) / others)
}

/// Where the last kept set was born.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Front {
    /// Mean of (position + 1/2) / tokens seen over the entries right after the last cut; in [0, 1].
    pub birth_percentile: f64,
    /// Those entries.
    pub entries: u32,
    /// Chance of so early a mean for entries drawn evenly (normal approximation, standard deviation 1 / sqrt(12 n)).
    pub p: f64,
}

impl Front {
    /// Measures it.
    pub fn of(history: &HeadHistory<'_>) -> Self {
        let Some(&last) = history.cuts.last() else { return Self { p: 1.0, ..Self::default() } };
        let kept = (0..last).filter(|&position| history.is_kept(position, last));
        let (sum, entries) = kept.fold((0.0, 0u32), |(sum, n), position| (sum + f64::from(position) + 0.5, n + 1));
        if entries == 0 {
            return Self { p: 1.0, ..Self::default() };
        }
        let birth_percentile = sum / f64::from(entries) / f64::from(last);
        let z = (0.5 - birth_percentile) * (12.0 * f64::from(entries)).sqrt();
        Self { birth_percentile, entries, p: normal_tail(z) }
    }
}

/// Since when a head's kept set no longer changes, but for tokens that come and go within one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Frozen {
    /// Tokens seen when it last took in or lost a settled token.
    pub since: u32,
    /// Share of the tokens seen that came after, in [0, 1].
    pub share: f64,
    /// Cuts after.
    pub cuts: u32,
    /// Chance that a head which keeps a random choice takes in nothing for so long: (since / last cut)^entries.
    pub p: f64,
}

impl Frozen {
    /// Measures it; a token is settled once it is `settled` old.
    pub fn of(history: &HeadHistory<'_>, settled: u32) -> Self {
        let Some(&last) = history.cuts.last() else { return Self { p: 1.0, ..Self::default() } };
        let (mut since, mut entries) = (0, 0);
        for (position, at) in (0u32..last).zip(&history.departures) {
            match at.filter(|&at| at <= last) {
                Some(at) if at - position > settled && history.cuts.first() != Some(&at) => since = since.max(at),
                Some(_) => {}
                None if last - position > settled => {
                    since = since.max(position + 1);
                    entries += 1;
                }
                None => {}
            }
        }
        let since = since.max(history.cuts.first().copied().unwrap_or(0)).min(last);
        let still = f64::from(since) / f64::from(last.max(1));
        Self {
            since,
            share: 1.0 - still,
            cuts: history.cuts.iter().filter(|&&cut| cut > since).count() as u32,
            p: if entries == 0 { 1.0 } else { still.powi(entries) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps `kept`, drops every other token at the next multiple of `gap`.
    fn history(seen: u32, gap: u32, log_beta: &[f32], kept: impl Fn(u32) -> bool) -> HeadHistory<'_> {
        let leaves = |position: u32| Some((position / gap + 1) * gap).filter(|&at| at <= seen && !kept(position));
        HeadHistory::new((0..seen).map(leaves).collect(), log_beta, seen)
    }

    #[test]
    fn a_sink_stands_out_from_its_neighbours_and_its_gates_know_it() {
        let gates: Vec<f32> =
            (0..400).map(|position| if position < 4 { -1e-6 } else { -0.1 - position as f32 * 1e-4 }).collect();
        let history = history(400, 8, &gates, |position| position < 4);
        let sink = Sink::of(&history, &Observations::of(&history), 0.0);
        assert_eq!((sink.held(), sink.survival, sink.expected), (4, [1.0; 4], 0.0));
        assert!(sink.rank.unwrap() > 0.99 && sink.p.unwrap() < 1e-8, "{sink:?}");
    }

    #[test]
    fn position_zero_alone_is_a_sink_only_as_surely_as_its_rank() {
        let gates: Vec<f32> = (0..400).map(|position| -0.1 - (position * 7 % 400) as f32 * 1e-4).collect();
        let history = history(400, 8, &gates, |position| position == 0);
        let sink = Sink::of(&history, &Observations::of(&history), 0.0);
        assert_eq!((sink.held(), sink.is_start(), sink.rank), (1, true, Some(1.0)));
        assert!((sink.p.unwrap() - 2.0 / 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_head_that_keeps_the_beginning_expects_the_first_positions_too() {
        let history = history(400, 8, &[], |position| position < 32);
        let sink = Sink::of(&history, &Observations::of(&history), 0.1);
        assert!(sink.expected > 0.9, "{sink:?}");
        let front = Front::of(&history);
        assert!(front.birth_percentile < 0.05 && front.entries == 32 && front.p < 1e-9, "{front:?}");
    }

    #[test]
    fn a_kept_set_that_stands_still_is_frozen_and_one_that_moves_is_not() {
        let still = Frozen::of(&history(400, 8, &[], |position| position < 100 && position % 3 == 0), 16);
        assert_eq!((still.since, still.cuts), (100, 38));
        assert!(still.share > 0.7 && still.p < 1e-9, "{still:?}");
        let moving = Frozen::of(&history(400, 8, &[], |position| position % 9 == 0), 16);
        assert!(moving.share < 0.1 && moving.p > 1e-3, "{moving:?}");
    }

    #[test]
    fn a_run_without_cuts_has_no_places() {
        let history = HeadHistory::new(vec![None; 9], &[], 9);
        assert_eq!(Sink::of(&history, &Observations::of(&history), 0.0), Sink::default());
        assert_eq!((Front::of(&history).entries, Frozen::of(&history, 8).p), (0, 1.0));
    }
}
