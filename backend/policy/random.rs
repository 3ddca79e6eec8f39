//! The control: a score that means nothing, fixed at birth.

use super::{EvictionPolicy, HeadView};
use crate::trace::step::KvHead;

/// Scores a token by a hash of (seed, layer, head, position), uniform in [0, 1).
///
/// A counter-based hash makes a run repeat exactly on any device and thread count, and gives every head its own draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// Chooses the draw.
    pub seed: u64,
}

impl EvictionPolicy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        head.positions.iter().map(|&position| uniform(self.seed, head.head, position)).collect()
    }
}

fn uniform(seed: u64, head: KvHead, position: u32) -> f32 {
    let place = u64::from(head.layer) << 48 | u64::from(head.head) << 32 | u64::from(position);
    let bits = mix(mix(seed) ^ place);
    // 24 bits fill an f32's mantissa exactly.
    (bits >> 40) as f32 / (1u32 << 24) as f32
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit moves every output bit.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, head: u16) -> Vec<f32> {
        let positions: Vec<u32> = (0..4096).collect();
        let head = KvHead { layer: 3, head };
        Random { seed }.score(&HeadView { head, positions: &positions, tokens_seen: 4096, ..HeadView::default() })
    }

    #[test]
    fn a_seed_repeats_and_seeds_and_heads_differ() {
        assert_eq!(draws(1, 0), draws(1, 0));
        assert_ne!(draws(1, 0), draws(2, 0));
        assert_ne!(draws(1, 0), draws(1, 1));
    }

    #[test]
    fn draws_fill_the_unit_interval_evenly() {
        let draws = draws(7, 2);
        for tenth in 0..10 {
            let (low, high) = (tenth as f32 / 10.0, (tenth + 1) as f32 / 10.0);
            let share = draws.iter().filter(|&&d| low <= d && d < high).count() as f32 / draws.len() as f32;
            assert!((share - 0.1).abs() < 0.02, "{share} of the draws in [{low}, {high})");
        }
    }
}
