//! Which heads to show when nobody says: those that differ most.

use crate::analysis::facts::{HeadFacts, head_facts};
use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// Heads shown unless asked otherwise, as many as the paper's Figure 4 has.
pub const HEADS: usize = 6;

/// Up to `most` heads that differ most in what they keep, layer by layer.
///
/// The first is the one that keeps most of the last M positions (the best window); each further one is the head farthest
/// from those already chosen, by four facts scaled to [0, 1]: the shares of the first four and of the last M positions kept
/// at the end, the logarithm of the mean age at eviction, and the logarithm of the median half-life. Ties go to the lower
/// layer and head.
pub fn differing_heads(lives: &Lifetimes, budget: Option<u32>, most: usize) -> Vec<KvHead> {
    let facts = head_facts(lives, budget);
    let raw: Vec<[f64; 4]> = facts
        .iter()
        .map(|f| {
            [
                f.first_kept.unwrap_or(0.0),
                f.last_kept.unwrap_or(0.0),
                f.mean_age_evicted.map_or(0.0, f64::ln_1p),
                // A half-life beyond any text is as good as infinite.
                f.median_half_life.map_or(0.0, |tokens| tokens.min(1e6).ln_1p()),
            ]
        })
        .collect();
    let points = scaled(&raw);
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < most.min(points.len()) {
        let value = |index: usize| match chosen.as_slice() {
            [] => points[index][1],
            chosen => {
                chosen.iter().map(|&other| distance(&points[index], &points[other])).fold(f64::INFINITY, f64::min)
            }
        };
        let free = (0..points.len()).filter(|index| !chosen.contains(index));
        let best = free.max_by(|&a, &b| value(a).total_cmp(&value(b)).then(b.cmp(&a)));
        chosen.extend(best);
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|index| lives.shape().head(index)).collect()
}

/// The head that keeps least of the last M positions at the end, the least like a window; of equals the first.
pub fn least_like_a_window(lives: &Lifetimes, budget: Option<u32>) -> Option<KvHead> {
    let facts = head_facts(lives, budget);
    let kept = |facts: &HeadFacts| facts.last_kept.unwrap_or(0.0);
    facts.iter().min_by(|a, b| kept(a).total_cmp(&kept(b))).map(|facts| facts.head)
}

fn scaled(raw: &[[f64; 4]]) -> Vec<[f64; 4]> {
    let range = |axis: usize| {
        let values = raw.iter().map(move |point| point[axis]);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ranges = [0, 1, 2, 3].map(range);
    let scale = |point: &[f64; 4]| {
        std::array::from_fn(|axis| {
            let (low, high) = ranges[axis];
            if high > low { (point[axis] - low) / (high - low) } else { 0.0 }
        })
    };
    raw.iter().map(scale).collect()
}

fn distance(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::step::{Eviction, Shape};

    /// Heads 0, 1, 2 are windows of one width; head 3 keeps the first tokens only.
    #[test]
    fn a_window_and_the_odd_one_out_are_chosen_first() {
        let mut lives = Lifetimes::new(Shape { layers: 2, kv_heads: 2 });
        lives.open(20, None).unwrap();
        for head in lives.shape().iter() {
            let sink = head == KvHead { layer: 1, head: 1 };
            for position in if sink { 5..19 } else { 0..15 } {
                lives.close(Eviction { head, position, at: position + 1, score: 0.0 }).unwrap();
            }
        }
        let names = |most| differing_heads(&lives, Some(5), most).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(2), ["L0H0", "L1H1"]);
        assert_eq!(names(9).len(), 4);
    }
}
