//! Policies that look at attention: H2O, TOVA and SnapKV.

use super::{EvictionPolicy, Evidence, HeadView, NewestQueries};

/// Scores a token by the attention it has received from every query so far, the prompt's included, raw (H2O, arXiv
/// 2306.14048). Query heads of a group count by their mean; who is recent is the rule's to protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeavyHitters;

impl EvictionPolicy for HeavyHitters {
    fn name(&self) -> &'static str {
        "h2o"
    }

    fn evidence(&self) -> Evidence {
        Evidence { attention: true, ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        head.attention.to_vec()
    }
}

/// Scores a token by the newest query's attention to it, the mean over all heads of the layer, so that they keep the same
/// tokens (TOVA, arXiv 2401.06104). It means a cut at every step; with a buffer only the queries before cuts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewestAttention;

impl EvictionPolicy for NewestAttention {
    fn name(&self) -> &'static str {
        "tova"
    }

    fn evidence(&self) -> Evidence {
        Evidence { queries: Some(NewestQueries::Newest), ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        head.importance.to_vec()
    }
}

/// Scores a token by what the newest queries attend to, spread to its neighbours by a maximum (SnapKV, arXiv 2404.14469, in the
/// form that the TRIM-KV paper compares with: at every cut, over the tokens before those queries, the largest logit of a
/// group). The tokens of those queries are the rule's to protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Newest queries that are asked.
    pub queries: usize,
    /// Tokens that share a maximum; odd.
    pub pool: usize,
}

impl Default for Observed {
    fn default() -> Self {
        Self { queries: 8, pool: 7 }
    }
}

impl Observed {
    /// What the newest queries attend to, spread; NaN for their own tokens, which nothing is known of.
    pub(super) fn spread(&self, importance: &[f32]) -> Vec<f32> {
        let past = importance.iter().position(|value| value.is_nan()).unwrap_or(importance.len());
        let (before, after) = (self.pool / 2, self.pool.div_ceil(2));
        let reach = |slot: usize| &importance[slot.saturating_sub(before)..(slot + after).min(past)];
        let largest = |slot: usize| reach(slot).iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (0..importance.len()).map(|slot| if slot < past { largest(slot) } else { f32::NAN }).collect()
    }
}

impl EvictionPolicy for Observed {
    fn name(&self) -> &'static str {
        "snapkv"
    }

    fn evidence(&self) -> Evidence {
        Evidence { queries: Some(NewestQueries::OverPast(self.queries)), ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        self.spread(head.importance)
    }
}
