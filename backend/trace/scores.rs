//! Last scores that need not be written down, because they follow from the rest of a trace.

use super::lifetimes::Lifetimes;
use super::manifest::PolicyFacts;
use super::recording::CutRow;
use super::scope::Scope;
use super::step::{KvHead, Shape};

/// The plain score of learned retention, nats: `log_beta * (tokens_seen + age_offset - position)` (TRIM-KV paper,
/// section 3.2; an offset of -1 is the paper's, 1 the authors' code's).
pub fn retained(log_beta: f32, tokens_seen: u32, age_offset: i32, position: u32) -> f32 {
    age(tokens_seen, age_offset, position) * log_beta
}

/// How old a token is when a cut weighs it.
pub fn age(tokens_seen: u32, age_offset: i32, position: u32) -> f32 {
    (i64::from(tokens_seen) + i64::from(age_offset) - i64::from(position)) as f32
}

/// How the last scores of a run follow from its gates and its cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    age_offset: i32,
    scope: Scope,
}

impl Following {
    /// For a policy whose scores are plain retention and whose cuts weigh every entry that competes; `None` for others.
    pub fn of(policy: &PolicyFacts) -> Option<Self> {
        let is_plain = policy.name == "trimkv" && policy.look_ahead.is_none_or(|steps| steps == 1);
        let scope = policy.scope.as_deref()?.parse().ok()?;
        let age_offset = policy.age_offset.filter(|_| is_plain && policy.threshold.is_none())?;
        Some(Self { age_offset, scope })
    }

    /// Tokens seen at the last cut that weighed each head, layer by layer; `None` where there was none.
    pub fn last_cuts(&self, shape: Shape, cuts: &[CutRow]) -> Vec<Option<u32>> {
        let mut last = vec![None; shape.heads()];
        for cut in cuts {
            let index = shape.index(cut.head.head);
            let weighed = self.scope.competitors(index, shape.kv_heads, shape.heads());
            last[weighed].iter_mut().for_each(|at| *at = (*at).max(Some(cut.tokens_seen)));
        }
        last
    }

    /// Last scores of one head's positions from the first on, NaN where none was weighed yet. `evicted_at` is when each
    /// left, `last_cut` as in [`Following::last_cuts`].
    pub fn scores<'a>(
        &'a self,
        log_beta: &'a [f32],
        evicted_at: impl Iterator<Item = Option<u32>> + 'a,
        last_cut: Option<u32>,
    ) -> impl Iterator<Item = f32> + 'a {
        (0u32..).zip(log_beta).zip(evicted_at).map(move |((position, &log_beta), evicted_at)| {
            let weighed_at = evicted_at.or(last_cut.filter(|&at| position < at));
            weighed_at.map_or(f32::NAN, |at| retained(log_beta, at, self.age_offset, position))
        })
    }

    /// Notes every last score in a history that was read without them.
    pub fn fill(&self, lives: &mut Lifetimes, cuts: &[CutRow]) {
        let shape = lives.shape();
        let last_cuts = self.last_cuts(shape, cuts);
        for head in shape.iter() {
            let last_cut = last_cuts[shape.index(head)];
            let scores: Vec<f32> = self.scores(lives.log_beta(head), lives.departures(head), last_cut).collect();
            let weighed = (0u32..).zip(scores).filter(|(_, score)| !score.is_nan());
            weighed.for_each(|(position, score)| lives.set_last_score(head, position, score));
        }
    }

    /// Whether every last score of a run is, to the bit, what would follow.
    pub fn holds(&self, lives: &Lifetimes, cuts: &[CutRow]) -> bool {
        let shape = lives.shape();
        let last_cuts = self.last_cuts(shape, cuts);
        let of_head = |head: KvHead| {
            let log_beta = lives.log_beta(head);
            let follows = self.scores(log_beta, lives.departures(head), last_cuts[shape.index(head)]);
            let recorded = lives.last_scores(head).map(|score| score.unwrap_or(f32::NAN));
            log_beta.len() == lives.seen() as usize
                && follows.zip(recorded).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
        };
        shape.iter().all(of_head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::step::HeadCut;

    fn policy(scope: &str) -> PolicyFacts {
        let (name, scope) = ("trimkv".to_owned(), Some(scope.to_owned()));
        PolicyFacts { name, scope, age_offset: Some(1), ..PolicyFacts::default() }
    }

    #[test]
    fn scores_of_other_policies_follow_from_nothing() {
        assert!(Following::of(&policy("head")).is_some());
        assert_eq!(Following::of(&PolicyFacts { name: "trimkv-knorm".to_owned(), ..policy("head") }), None);
        assert_eq!(Following::of(&PolicyFacts { look_ahead: Some(8), ..policy("head") }), None);
        assert_eq!(Following::of(&PolicyFacts { threshold: Some(0.1), ..policy("head") }), None);
        assert_eq!(Following::of(&PolicyFacts { age_offset: None, ..policy("head") }), None);
    }

    #[test]
    fn a_cut_weighs_the_heads_that_compete_in_it() {
        let shape = Shape { layers: 2, kv_heads: 2 };
        let row = |tokens_seen, layer, head| CutRow {
            tokens_seen,
            head: HeadCut { head: KvHead { layer, head }, cached_before: 9, kept: 8, threshold: None, ties: 0 },
        };
        let cuts = [row(9, 1, 0), row(10, 0, 1)];
        let last = |scope| Following::of(&policy(scope)).unwrap().last_cuts(shape, &cuts);
        assert_eq!(last("head"), [None, Some(10), Some(9), None]);
        assert_eq!(last("layer"), [Some(10), Some(10), Some(9), Some(9)]);
        assert_eq!(last("global"), [Some(10); 4]);
    }

    #[test]
    fn a_token_that_no_cut_has_weighed_has_no_score() {
        let rule = Following::of(&policy("head")).unwrap();
        let scores: Vec<f32> = rule.scores(&[-0.5; 3], [Some(2), None, None].into_iter(), Some(2)).collect();
        assert_eq!(scores[..2], [-1.5, -1.0]);
        assert!(scores[2].is_nan());
    }
}
