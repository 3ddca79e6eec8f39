//! Plain facts about one head: what it kept, for how long, and how fast its tokens fade.

use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// Positions counted as the start of the text.
pub const FIRST: u32 = 4;

/// Facts about one head over a whole run. A fact that does not apply is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadFacts {
    /// The head.
    pub head: KvHead,
    /// Entries cached at the end.
    pub kept: u32,
    /// Tokens that left.
    pub evicted: u32,
    /// Mean number of queries that could see a token. Tokens alive at the end count up to the end, so this is a lower
    /// bound (their lives are censored). It follows from the occupancy alone: heads with one budget have one mean.
    pub mean_lifetime: Option<f64>,
    /// The same over the tokens that left: how old the head lets them grow.
    pub mean_age_evicted: Option<f64>,
    /// Median of `ln 2 / -log_beta`: tokens until half of a token's retention is gone. Infinite when it never fades.
    pub median_half_life: Option<f64>,
    /// Share of the first [`FIRST`] positions still cached at the end.
    pub first_kept: Option<f64>,
    /// Share of the last M positions still cached at the end, M the budget.
    pub last_kept: Option<f64>,
}

/// The facts of every head, layer by layer. `budget` is M of the run, where it had one.
pub fn head_facts(lives: &Lifetimes, budget: Option<u32>) -> Vec<HeadFacts> {
    lives.shape().iter().map(|head| facts(lives, head, budget)).collect()
}

fn facts(lives: &Lifetimes, head: KvHead, budget: Option<u32>) -> HeadFacts {
    let seen = lives.seen();
    let departures: Vec<Option<u32>> = lives.departures(head).collect();
    let kept = departures.iter().filter(|at| at.is_none()).count() as u32;
    let ages = departures.iter().zip(0u32..).filter_map(|(at, position)| at.map(|at| f64::from(at - position)));
    let lifetimes = departures.iter().zip(0u32..).map(|(at, position)| f64::from(at.unwrap_or(seen) - position));
    let share = |slots: &[Option<u32>]| {
        let kept = slots.iter().filter(|at| at.is_none()).count() as f64;
        (!slots.is_empty()).then(|| kept / slots.len() as f64)
    };
    let last = |m: u32| &departures[departures.len().saturating_sub(m as usize)..];
    HeadFacts {
        head,
        kept,
        evicted: seen - kept,
        mean_lifetime: (seen > 0).then(|| lifetimes.sum::<f64>() / f64::from(seen)),
        mean_age_evicted: (kept < seen).then(|| ages.sum::<f64>() / f64::from(seen - kept)),
        median_half_life: median(lives.log_beta(head).iter().map(|&beta| half_life(beta)).collect()),
        first_kept: share(&departures[..departures.len().min(FIRST as usize)]),
        last_kept: budget.and_then(|m| share(last(m))),
    }
}

/// Tokens until retention has fallen by half, from `log_beta` in nats.
pub fn half_life(log_beta: f32) -> f64 {
    // `abs` so that a zero of either sign never fades.
    std::f64::consts::LN_2 / f64::from(log_beta).abs()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        // The mean of two infinities, or of one and a number, is infinite too.
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::grid::Grid;
    use crate::trace::step::{Eviction, Shape};

    #[test]
    fn facts_of_a_small_run_are_what_one_counts_by_hand() {
        let mut lives = Lifetimes::new(Shape { layers: 1, kv_heads: 1 });
        let betas = [-0.5f32, -0.25, -1.0, -0.125, -0.0625];
        lives.open(5, Grid::from_cells(1, 5, betas.to_vec()).as_ref()).unwrap();
        let head = KvHead { layer: 0, head: 0 };
        for (position, at) in [(1, 3), (2, 5)] {
            lives.close(Eviction { head, position, at, score: 0.0 }).unwrap();
        }
        let facts = head_facts(&lives, Some(2))[0];
        assert_eq!((facts.kept, facts.evicted), (3, 2));
        assert_eq!(facts.mean_lifetime, Some(f64::from(5 + 2 + 3 + 2 + 1) / 5.0));
        assert_eq!(facts.mean_age_evicted, Some(f64::from(2 + 3) / 2.0));
        assert_eq!(facts.median_half_life, Some(std::f64::consts::LN_2 / 0.25));
        assert_eq!((facts.first_kept, facts.last_kept), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn a_run_without_gates_tokens_or_budget_has_no_facts_to_invent() {
        let lives = Lifetimes::new(Shape { layers: 1, kv_heads: 1 });
        let facts = head_facts(&lives, None)[0];
        assert_eq!((facts.mean_lifetime, facts.mean_age_evicted, facts.median_half_life), (None, None, None));
        assert_eq!((facts.first_kept, facts.last_kept), (None, None));
    }

    #[test]
    fn a_token_that_never_fades_has_an_infinite_half_life() {
        assert_eq!(half_life(0.0), f64::INFINITY);
        assert_eq!(median(vec![1.0, f64::INFINITY]), Some(f64::INFINITY));
    }
}
