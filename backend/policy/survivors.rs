//! Who stays: the best scores, with ties broken so that runs repeat exactly.

use std::cmp::Ordering;

/// A score that is NaN or infinite, which no ranking can use.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("entry {index} has the score {score}, which cannot be ranked")]
pub struct NonFiniteScore {
    /// Place in the ranked list.
    pub index: usize,
    /// The offending value.
    pub score: f32,
}

/// The winners of one competition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Survivors {
    /// Places of the winners, ascending.
    pub slots: Vec<usize>,
    /// Lowest winning score; `None` without winners.
    pub threshold: Option<f32>,
}

/// The `budget` best of `scores`, in slot order. Ties go to the later slot, which holds the newer token.
///
/// # Errors
/// When a score is NaN or infinite.
pub fn survivors(scores: &[f32], budget: usize) -> Result<Survivors, NonFiniteScore> {
    best_of(scores, budget, |a, b| b.cmp(&a))
}

/// The `budget` best of `scores`; `tie` orders places of equal score, those to keep first.
///
/// # Errors
/// When a score is NaN or infinite.
pub fn best_of(
    scores: &[f32],
    budget: usize,
    tie: impl Fn(usize, usize) -> Ordering,
) -> Result<Survivors, NonFiniteScore> {
    if let Some((index, &score)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        return Err(NonFiniteScore { index, score });
    }
    let mut slots: Vec<usize> = (0..scores.len()).collect();
    // `partial_cmp` on finite numbers, so that -0.0 and 0.0 tie as they do in the references.
    let better =
        |&a: &usize, &b: &usize| scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal).then_with(|| tie(a, b));
    if budget == 0 {
        slots.clear();
    } else if budget < slots.len() {
        slots.select_nth_unstable_by(budget - 1, better);
        slots.truncate(budget);
    }
    slots.sort_unstable();
    let threshold = slots.iter().map(|&slot| scores[slot]).min_by(f32::total_cmp);
    Ok(Survivors { slots, threshold })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_newer_token() {
        let kept = survivors(&[0.5, 0.5, 0.5, 0.9], 2).unwrap();
        assert_eq!((kept.slots, kept.threshold), (vec![2, 3], Some(0.5)));
        assert_eq!(survivors(&[0.0, -0.0], 1).unwrap().slots, [1]);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_an_error() {
        let error = survivors(&[1.0, f32::NAN], 1).unwrap_err();
        assert_eq!(error.index, 1);
        assert!(survivors(&[f32::NEG_INFINITY], 1).is_err());
    }

    #[test]
    fn no_budget_keeps_nothing_and_an_ample_one_everything() {
        assert_eq!(survivors(&[1.0, 2.0], 0).unwrap(), Survivors::default());
        assert_eq!(survivors(&[1.0, 2.0], 9).unwrap().slots, [0, 1]);
    }

    proptest! {
        #[test]
        fn survivors_are_the_prefix_of_a_full_sort(scores in prop::collection::vec(-4i8..4, 0..60), budget in 0usize..70) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
            order.truncate(budget);
            order.sort_unstable();
            prop_assert_eq!(survivors(&scores, budget).unwrap().slots, order);
        }
    }
}
