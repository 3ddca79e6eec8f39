//! Middle and tails of repeated measurements.

use serde::Serialize;

/// Where the middle of a sample lies, and its tails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// A tenth are below.
    pub p10: f64,
    /// Nine tenths are below.
    pub p90: f64,
}

impl Spread {
    /// Of a sample, by nearest rank; `None` of nothing.
    pub fn of(mut sample: Vec<f64>) -> Option<Self> {
        sample.sort_unstable_by(f64::total_cmp);
        let last = sample.len().checked_sub(1)?;
        let at = |share: f64| sample[(share * last as f64).round() as usize];
        Some(Self { median: at(0.5), p10: at(0.1), p90: at(0.9) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_ranked() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(spread, Spread { median: 50.0, p10: 10.0, p90: 90.0 });
        assert_eq!(Spread::of(vec![3.0]), Some(Spread { median: 3.0, p10: 3.0, p90: 3.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
