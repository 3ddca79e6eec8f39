//! Policies that look at keys: KeyDiff, key norms, and R-KV, which weighs attention against likeness.

use super::attention::Observed;
use super::{EvictionPolicy, Evidence, HeadView, Likeness};

/// Keeps the keys that point elsewhere: a token's score is minus the cosine between its key and the mean direction of all
/// that are cached (KeyDiff, arXiv 2504.15364).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDifference;

impl EvictionPolicy for KeyDifference {
    fn name(&self) -> &'static str {
        "keydiff"
    }

    fn evidence(&self) -> Evidence {
        Evidence { likeness: Some(Likeness::ToMean), ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        head.likeness.iter().map(|likeness| -likeness).collect()
    }
}

/// Keeps the keys of the smallest norm (Devoto and others 2024, arXiv 2406.11430). `trimkv-knorm` keeps large ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallestNorm;

impl EvictionPolicy for SmallestNorm {
    fn name(&self) -> &'static str {
        "knorm"
    }

    fn evidence(&self) -> Evidence {
        Evidence { key_norm: true, ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        head.key_norm.iter().map(|norm| -norm).collect()
    }
}

/// Importance minus redundancy (R-KV, arXiv 2505.24133): what the newest queries attend to, as [`Observed`] has it, against how
/// much a key resembles the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Redundancy {
    /// Weight of importance; the rest is redundancy's.
    pub lambda: f64,
    /// How importance is found.
    pub observed: Observed,
}

impl Default for Redundancy {
    fn default() -> Self {
        Self { lambda: 0.1, observed: Observed::default() }
    }
}

impl EvictionPolicy for Redundancy {
    fn name(&self) -> &'static str {
        "r-kv"
    }

    fn evidence(&self) -> Evidence {
        Evidence { likeness: Some(Likeness::ToOthers), ..self.observed.evidence() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        let importance = self.observed.spread(head.importance);
        let largest = head.likeness.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = head.likeness.iter().map(|&likeness| f64::from(likeness - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let score = |(&importance, weight): (&f32, &f64)| {
            (self.lambda * f64::from(importance) - (1.0 - self.lambda) * weight / total) as f32
        };
        importance.iter().zip(&weights).map(score).collect()
    }
}
