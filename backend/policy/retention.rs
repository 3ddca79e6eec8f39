//! Learned retention: the TRIM-KV family of scores.

use super::{EvictionPolicy, Evidence, HeadView};
use crate::trace::scores::{age, retained};

/// Smallest key norm whose logarithm is taken, as in the authors' ragged cache.
const SMALLEST_NORM: f32 = 1e-12;

/// Scores a token by what is left of it: `log_beta * age`, in nats.
///
/// `age = tokens_seen + age_offset - position`. The authors' code uses an offset of 1, so that the newest token has
/// age 2; the paper's `beta^(t - i)` is an offset of -1. The offset changes which tokens survive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// Added to tokens seen; 1 reproduces the authors' code.
    pub age_offset: i32,
    /// Retention summed over this many future steps; 1 is the plain score.
    pub look_ahead: u32,
    /// Adds the log of the key's norm (`knorm_alpha`).
    pub key_norm: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age_offset: 1, look_ahead: 1, key_norm: false }
    }
}

impl EvictionPolicy for Retention {
    fn name(&self) -> &'static str {
        if self.key_norm { "trimkv-knorm" } else { "trimkv" }
    }

    fn evidence(&self) -> Evidence {
        Evidence { log_beta: true, key_norm: self.key_norm, ..Evidence::default() }
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        let retention = head.positions.iter().zip(head.log_beta).map(|(&position, &log_beta)| {
            match self.look_ahead {
                1 => retained(log_beta, head.tokens_seen, self.age_offset, position),
                // The reference's closed form starts one step later than its plain branch.
                steps => {
                    let age = age(head.tokens_seen, self.age_offset, position);
                    (age + 1.0) * log_beta + log_geometric_sum(log_beta, steps)
                }
            }
        });
        if self.key_norm {
            retention.zip(head.key_norm).map(|(score, norm)| score + norm.max(SMALLEST_NORM).ln()).collect()
        } else {
            retention.collect()
        }
    }

    fn plain_retention(&self) -> Option<i32> {
        (self.look_ahead == 1 && !self.key_norm).then_some(self.age_offset)
    }
}

/// `ln(1 + beta + ... + beta^(steps - 1))` from `log_beta`, stable as beta nears 1.
fn log_geometric_sum(log_beta: f32, steps: u32) -> f32 {
    if log_beta == 0.0 {
        return (steps as f32).ln();
    }
    log_one_minus_exp(log_beta * steps as f32) - log_one_minus_exp(log_beta)
}

/// `ln(1 - exp(x))` for `x < 0`.
fn log_one_minus_exp(x: f32) -> f32 {
    if x > -std::f32::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::survivors::survivors;
    use crate::trace::step::KvHead;

    const LOG_BETA: [f32; 6] = [-0.01, -0.5, -0.2, -0.05, -0.4, -0.3];

    fn scores(policy: Retention) -> Vec<f32> {
        policy.score(&HeadView {
            head: KvHead { layer: 0, head: 0 },
            positions: &[0, 1, 2, 3, 4, 5],
            log_beta: &LOG_BETA,
            key_norm: &[1.0, 2.0, 0.5, 1.0, 1.0, 0.0],
            tokens_seen: 6,
            ..HeadView::default()
        })
    }

    fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= tolerance, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn the_authors_ages_and_the_papers_keep_different_tokens() {
        let authors = scores(Retention::default());
        assert_close(&authors, &[-0.07, -3.0, -1.0, -0.2, -1.2, -0.6], 1e-6);
        assert_eq!(survivors(&authors, 4).unwrap().slots, [0, 2, 3, 5]);
        let paper = scores(Retention { age_offset: -1, ..Retention::default() });
        assert_close(&paper, &[-0.05, -2.0, -0.6, -0.1, -0.4, 0.0], 1e-6);
        assert_eq!(survivors(&paper, 4).unwrap().slots, [0, 3, 4, 5]);
    }

    #[test]
    fn looking_two_steps_ahead_gives_the_recomputed_numbers() {
        let found = scores(Retention { look_ahead: 2, ..Retention::default() });
        assert_close(&found, &[0.6082, -3.0259, -0.6019, 0.4185, -1.0870, -0.3456], 1e-4);
    }

    #[test]
    fn a_token_that_never_fades_counts_every_future_step() {
        assert_close(&[log_geometric_sum(0.0, 5), log_geometric_sum(-1e-9, 5)], &[5f32.ln(), 5f32.ln()], 1e-6);
    }

    #[test]
    fn a_larger_key_norm_keeps_a_token_longer_and_a_zero_norm_stays_finite() {
        let plain = scores(Retention::default());
        let normed = scores(Retention { key_norm: true, ..Retention::default() });
        assert_close(&[normed[1] - plain[1], normed[2] - plain[2]], &[2f32.ln(), 0.5f32.ln()], 1e-6);
        assert!(normed.iter().all(|score| score.is_finite()));
    }
}
