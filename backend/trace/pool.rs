//! Fewer rows for a picture with fewer pixels than tokens: the rule is to keep what stays longest.

use std::cmp::Ordering;

use crate::trace::reader::LayerLifetimes;

/// A layer's lifetimes, one row per block of positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Position of the token that stands for its block, head by head.
    pub position: Vec<u32>,
    /// Its nats.
    pub log_beta: Vec<f32>,
    /// When it left.
    pub evicted_at: Vec<u32>,
    /// Its score at its last cut.
    pub last_score: Vec<f32>,
}

/// Lets one token stand for each block of `block` positions of a head: the one that leaves last, so that a survivor is
/// never hidden; of equals the one with the higher `log_beta`, then the older.
pub fn pool(lives: &LayerLifetimes, block: u32) -> Pooled {
    let (seen, block) = (lives.seen as usize, block.max(1) as usize);
    let rows = seen.div_ceil(block) * lives.kv_heads;
    let mut pooled = Pooled {
        position: Vec::with_capacity(rows),
        log_beta: Vec::with_capacity(rows),
        evicted_at: Vec::with_capacity(rows),
        last_score: Vec::with_capacity(rows),
    };
    for head in 0..lives.kv_heads {
        for first in (0..seen).step_by(block) {
            let tokens = (first..seen.min(first + block)).map(|position| head * seen + position);
            // `max_by` takes the last of equals, so the older come last.
            if let Some(row) = tokens.rev().max_by(|&a, &b| by_stay(lives, a, b)) {
                pooled.position.push((row - head * seen) as u32);
                pooled.log_beta.push(lives.log_beta[row]);
                pooled.evicted_at.push(lives.evicted_at[row]);
                pooled.last_score.push(lives.last_score[row]);
            }
        }
    }
    pooled
}

fn by_stay(lives: &LayerLifetimes, a: usize, b: usize) -> Ordering {
    let known = |row: usize| if lives.log_beta[row].is_nan() { f32::NEG_INFINITY } else { lives.log_beta[row] };
    lives.evicted_at[a].cmp(&lives.evicted_at[b]).then(known(a).total_cmp(&known(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::reader::STILL_CACHED;

    fn lives(kv_heads: usize, evicted_at: &[u32], log_beta: &[f32]) -> LayerLifetimes {
        LayerLifetimes {
            kv_heads,
            seen: (evicted_at.len() / kv_heads) as u32,
            log_beta: log_beta.to_vec(),
            evicted_at: evicted_at.to_vec(),
            last_score: (0..evicted_at.len()).map(|row| row as f32).collect(),
        }
    }

    #[test]
    fn a_survivor_is_never_hidden_and_the_last_block_may_be_short() {
        let lives = lives(1, &[4, STILL_CACHED, 9, 7, 8], &[-0.1, -9.0, -0.1, -0.1, -0.2]);
        let pooled = pool(&lives, 3);
        assert_eq!(pooled.position, [1, 4]);
        assert_eq!(pooled.evicted_at, [STILL_CACHED, 8]);
        assert_eq!(pooled.last_score, [1.0, 4.0]);
    }

    #[test]
    fn of_equals_the_higher_log_beta_then_the_older_stands_for_the_block() {
        let nan = f32::NAN;
        let lives = lives(2, &[5, 5, 5, 5, 9, 9, 9, 9], &[-0.2, -0.1, -0.1, nan, nan, nan, nan, -3.0]);
        assert_eq!(pool(&lives, 4).position, [1, 3]);
        assert_eq!(pool(&lives, 2).position, [1, 2, 0, 3]);
    }

    #[test]
    fn blocks_of_one_are_the_layer_itself() {
        let lives = lives(2, &[3, 4, 5, 6, 7, 8], &[-1.0; 6]);
        let pooled = pool(&lives, 1);
        assert_eq!(pooled.evicted_at, lives.evicted_at);
        assert_eq!(pooled.position, [0, 1, 2, 0, 1, 2]);
    }
}
