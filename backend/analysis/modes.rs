//! Two windows in one head: two ages at which its tokens leave (the paper's Figure 4, L0H0).

use super::kept::HeadHistory;
use super::statistics::quantile;

/// Fewest departures at a known age.
const FEWEST: usize = 24;
/// Smallest share of the departures that makes a mode.
const LEAST_SHARE: f64 = 0.15;
/// The older mode is at least this much older.
const LEAST_RATIO: f64 = 1.5;

/// An age at which tokens leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// Median age.
    pub age: f64,
    /// Interquartile range over the median, freed of what the distance of cuts adds.
    pub crispness: f64,
    /// Share of the departures.
    pub share: f64,
}

/// The two modes of the ages at eviction, split where the spread of `ln age` within both sides is smallest; `None` when
/// there are too few departures, or one side is small or close to the other.
///
/// Only departures between two cuts at most a buffer apart count: the cut of a prompt tells no age.
pub fn two_modes(history: &HeadHistory<'_>, buffer: u32) -> Option<[Mode; 2]> {
    let mut ages: Vec<f64> = (0u32..)
        .zip(&history.departures)
        .filter_map(|(position, at)| {
            let at = (*at)?;
            let before =
                history.cuts.partition_point(|&cut| cut < at).checked_sub(1).map_or(0, |cut| history.cuts[cut]);
            let known_alive = before.max(position);
            (at - known_alive <= buffer.max(1) + 1)
                .then(|| f64::midpoint(f64::from(at), f64::from(known_alive)) - f64::from(position))
        })
        .collect();
    ages.sort_unstable_by(f64::total_cmp);
    if ages.len() < FEWEST {
        return None;
    }
    let split = split(&ages);
    let (near, far) = ages.split_at(split);
    let mode = |side: &[f64]| {
        let [low, age, high] = [0.25, 0.5, 0.75].map(|at| quantile(side, at).unwrap_or(0.0));
        // Cuts `buffer` apart spread even a perfect age evenly over that many: a quartile range of half of it.
        let gap = f64::from(buffer.max(1)) / 2.0;
        let spread = ((high - low).powi(2) - gap * gap).max(0.0).sqrt();
        Mode { age, crispness: spread / age.max(1.0), share: side.len() as f64 / ages.len() as f64 }
    };
    let (near, far) = (mode(near), mode(far));
    let apart = far.age >= LEAST_RATIO * near.age && near.share.min(far.share) >= LEAST_SHARE;
    apart.then_some([near, far])
}

/// Where to split ascending ages so that the logarithms vary least within the sides (Otsu 1979).
fn split(ages: &[f64]) -> usize {
    let logs: Vec<f64> = ages.iter().map(|age| age.max(0.5).ln()).collect();
    let total: f64 = logs.iter().sum();
    let (mut low, mut best) = (0.0, (0.0, 1));
    for (index, x) in logs.iter().enumerate().take(logs.len() - 1) {
        low += x;
        let (n, m) = ((index + 1) as f64, (logs.len() - index - 1) as f64);
        let between = n * m * ((total - low) / m - low / n).powi(2);
        if between > best.0 {
            best = (between, index + 1);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_leave_at_two_ages_make_two_modes() {
        let leaves = |position: u32| Some(position + if position % 4 == 0 { 90 } else { 20 }).filter(|&at| at <= 600);
        let history = HeadHistory::new((0..600).map(leaves).collect(), &[], 600);
        let [near, far] = two_modes(&history, 1).unwrap();
        assert!((near.age - 20.0).abs() < 2.0 && (far.age - 90.0).abs() < 2.0, "{near:?} {far:?}");
        assert!(near.crispness < 0.05 && far.crispness < 0.05);
        assert!((far.share - 0.23).abs() < 0.03, "{far:?}");
    }

    #[test]
    fn one_age_is_one_window() {
        let leaves = |position: u32| Some(position + 20).filter(|&at| at <= 600);
        let history = HeadHistory::new((0..600).map(leaves).collect(), &[], 600);
        assert_eq!(two_modes(&history, 1), None);
    }

    #[test]
    fn the_cut_of_a_prompt_tells_no_ages() {
        let history = HeadHistory::new((0..600).map(|position| (position < 560).then_some(600)).collect(), &[], 600);
        assert_eq!(two_modes(&history, 8), None);
    }
}
