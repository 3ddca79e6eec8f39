//! Who wins a place when a cache is cut: per head, pooled over a layer or the model, with a floor, or by threshold.

use std::cmp::Ordering;

use crate::policy::survivors::{NonFiniteScore, Survivors, best_of};
use crate::policy::{CutRule, FloorCounting, Scope};

/// One head's entries in a competition.
#[derive(Debug, Clone, Copy)]
pub struct Contestant<'a> {
    /// Ascending positions of all its entries.
    pub positions: &'a [u32],
    /// A score for each.
    pub scores: &'a [f32],
}

/// What one head keeps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Slots that stay, ascending, protected ones included.
    pub kept: Vec<usize>,
    /// Lowest contested score that stayed, in the competition the head took part in.
    pub threshold: Option<f32>,
}

/// A score that cannot be ranked, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BadScore {
    /// Place of the head among the contestants.
    pub contestant: usize,
    /// Slot within the head.
    pub slot: usize,
    /// The offending value.
    pub score: f32,
}

/// Which of `heads` (all heads, layer by layer) compete with each other under `rule`, given their sizes: one range
/// of heads per competition. Empty when nothing overflows.
pub fn overflowing(rule: &CutRule, kv_heads: usize, sizes: &[usize]) -> Vec<std::ops::Range<usize>> {
    let total = |range: &std::ops::Range<usize>| sizes[range.clone()].iter().sum::<usize>();
    let singles = (0..sizes.len()).map(|head| head..head + 1);
    if rule.threshold.is_some() {
        return singles.collect();
    }
    match rule.scope {
        Scope::Head => singles.filter(|head| total(head) >= rule.limit()).collect(),
        // The authors' layer-wise form waits for one more token than the others; `>` is theirs.
        Scope::Layer => (0..sizes.len() / kv_heads)
            .map(|layer| layer * kv_heads..(layer + 1) * kv_heads)
            .filter(|layer| total(layer) > kv_heads * rule.limit())
            .collect(),
        Scope::Global => {
            let model = 0..sizes.len();
            if total(&model) >= sizes.len() * rule.limit() { std::iter::once(model).collect() } else { Vec::new() }
        }
    }
}

/// Decides one competition between `heads`, one verdict each.
///
/// # Errors
/// When a contested score is NaN or infinite.
pub fn decide(rule: &CutRule, heads: &[Contestant<'_>]) -> Result<Vec<Verdict>, BadScore> {
    if let Some(threshold) = rule.threshold {
        return heads.iter().enumerate().map(|(i, head)| above(rule, i, head, threshold.ln() as f32)).collect();
    }
    let budget = rule.budget as usize * heads.len();
    if rule.scope == Scope::Global && rule.floor > 0.0 {
        return with_floor(rule, heads);
    }
    let pool = Pool::new(rule, heads);
    let winners = pool.winners(budget.saturating_sub(pool.protected))?;
    Ok(pool.verdicts(&winners))
}

/// Keeps every contested score of at least `bar`.
fn above(rule: &CutRule, index: usize, head: &Contestant<'_>, bar: f32) -> Result<Verdict, BadScore> {
    let contested = rule.protect.contested(head.positions);
    let mut verdict = Verdict::default();
    for (slot, &score) in head.scores.iter().enumerate() {
        let open = contested.contains(&slot);
        if open && !score.is_finite() {
            return Err(BadScore { contestant: index, slot, score });
        }
        if !open || score >= bar {
            verdict.kept.push(slot);
        }
        if open && score >= bar {
            verdict.threshold = Some(verdict.threshold.map_or(score, |lowest| lowest.min(score)));
        }
    }
    Ok(verdict)
}

/// A share of the places goes to the best overall, but only as counts: each head then fills its count and its floor
/// with its own best (DBTrimKV's `floor_budget_ratio`). Protected entries fill a head's floor first; those beyond it take
/// from the open places.
fn with_floor(rule: &CutRule, heads: &[Contestant<'_>]) -> Result<Vec<Verdict>, BadScore> {
    let places = heads.len() as f64 * f64::from(rule.budget);
    let open_places = (places * (1.0 - rule.floor)).trunc() as usize;
    let floor = (f64::from(rule.budget) * rule.floor).trunc() as usize;
    let held = |head: &Contestant<'_>| head.positions.len() - rule.protect.contested(head.positions).len();
    let beyond_floor: usize = heads.iter().map(|head| held(head).saturating_sub(floor)).sum();
    let pool = Pool::new(rule, heads);
    let winners = pool.winners(open_places.saturating_sub(beyond_floor))?;
    let mut counts = vec![0usize; heads.len()];
    match rule.floor_counting {
        FloorCounting::Exact => winners.slots.iter().for_each(|&w| counts[pool.entries[w].contestant] += 1),
        FloorCounting::Authors => {
            // Their bucket search takes the first head whose exclusive end is >= the entry's place in the flat cache.
            let ends: Vec<usize> = heads
                .iter()
                .scan(0, |end, head| {
                    *end += head.positions.len();
                    Some(*end)
                })
                .collect();
            for &winner in &winners.slots {
                let Entry { contestant, slot } = pool.entries[winner];
                let flat = ends[contestant] - heads[contestant].positions.len() + slot;
                counts[ends.partition_point(|&end| end < flat)] += 1;
            }
        }
    }
    heads
        .iter()
        .enumerate()
        .map(|(index, head)| {
            let alone = Pool::new(rule, std::slice::from_ref(head));
            let own = alone
                .winners(counts[index] + floor.saturating_sub(held(head)))
                .map_err(|bad| BadScore { contestant: index, ..bad })?;
            Ok(alone.verdicts(&own).swap_remove(0))
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Entry {
    contestant: usize,
    slot: usize,
}

/// The contested entries of several heads in one list.
struct Pool<'a> {
    heads: &'a [Contestant<'a>],
    entries: Vec<Entry>,
    protected: usize,
    rule: &'a CutRule,
}

impl<'a> Pool<'a> {
    fn new(rule: &'a CutRule, heads: &'a [Contestant<'a>]) -> Self {
        let entries: Vec<Entry> = heads
            .iter()
            .enumerate()
            .flat_map(|(contestant, head)| {
                rule.protect.contested(head.positions).map(move |slot| Entry { contestant, slot })
            })
            .collect();
        let total: usize = heads.iter().map(|head| head.positions.len()).sum();
        Self { heads, protected: total - entries.len(), entries, rule }
    }

    /// Ties go to the newer position, then to the earlier head.
    fn winners(&self, places: usize) -> Result<Survivors, BadScore> {
        let scores: Vec<f32> = self.entries.iter().map(|e| self.heads[e.contestant].scores[e.slot]).collect();
        let position = |place: usize| {
            let entry = self.entries[place];
            self.heads[entry.contestant].positions[entry.slot]
        };
        let tie = |a: usize, b: usize| -> Ordering { position(b).cmp(&position(a)).then(a.cmp(&b)) };
        best_of(&scores, places, tie).map_err(|NonFiniteScore { index, score }| {
            let Entry { contestant, slot } = self.entries[index];
            BadScore { contestant, slot, score }
        })
    }

    fn verdicts(&self, winners: &Survivors) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = self
            .heads
            .iter()
            .map(|head| {
                let contested = self.rule.protect.contested(head.positions);
                let kept = (0..head.positions.len()).filter(|slot| !contested.contains(slot)).collect();
                Verdict { kept, threshold: winners.threshold }
            })
            .collect();
        for &winner in &winners.slots {
            let Entry { contestant, slot } = self.entries[winner];
            verdicts[contestant].kept.push(slot);
        }
        verdicts.iter_mut().for_each(|verdict| verdict.kept.sort_unstable());
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Protect;

    const POSITIONS: [u32; 5] = [0, 1, 2, 3, 4];
    const HEADS: [[f32; 5]; 2] = [[-0.1, -0.2, -0.3, -0.4, -0.5], [-0.25, -0.9, -1.0, -1.1, -1.2]];

    fn kept_counts(rule: &CutRule) -> Vec<usize> {
        let heads: Vec<_> = HEADS.iter().map(|scores| Contestant { positions: &POSITIONS, scores }).collect();
        decide(rule, &heads).unwrap().iter().map(|verdict| verdict.kept.len()).collect()
    }

    fn global(floor: f64, floor_counting: FloorCounting) -> CutRule {
        CutRule { scope: Scope::Global, floor, floor_counting, ..CutRule::per_head(2, 1) }
    }

    #[test]
    fn pooled_heads_share_by_merit() {
        assert_eq!(kept_counts(&global(0.0, FloorCounting::Exact)), [3, 1]);
        assert_eq!(kept_counts(&global(0.5, FloorCounting::Exact)), [3, 1]);
    }

    #[test]
    fn the_authors_counting_credits_a_heads_oldest_entry_to_the_head_before_it() {
        // Of the two open places both go to the first head either way; with three, the second head's sink wins one.
        let heads: Vec<_> = HEADS.iter().map(|scores| Contestant { positions: &POSITIONS, scores }).collect();
        let pooled = |counting| {
            let rule = CutRule { budget: 4, ..global(0.5, counting) };
            decide(&rule, &heads).unwrap().iter().map(|verdict| verdict.kept.len()).collect::<Vec<_>>()
        };
        assert_eq!(pooled(FloorCounting::Exact), [5, 3]);
        assert_eq!(pooled(FloorCounting::Authors), [5, 2]);
    }

    #[test]
    fn per_head_overflow_is_reached_at_budget_plus_buffer_and_layer_wise_one_later() {
        let rule = CutRule::per_head(4, 2);
        assert_eq!(overflowing(&rule, 2, &[6, 5, 6, 6]), [0..1, 2..3, 3..4]);
        let layer = CutRule { scope: Scope::Layer, ..rule };
        assert_eq!(overflowing(&layer, 2, &[6, 6, 7, 6]), vec![2..4]);
        let model = CutRule { scope: Scope::Global, ..rule };
        assert_eq!(overflowing(&model, 2, &[6, 6, 7, 5]), vec![0..4]);
        assert!(overflowing(&model, 2, &[6, 6, 6, 5]).is_empty());
    }

    #[test]
    fn protected_entries_take_their_places_from_the_budget() {
        let rule = CutRule { protect: Protect { sinks: 1, recent: 2 }, ..CutRule::per_head(4, 1) };
        let head = Contestant { positions: &POSITIONS, scores: &[-9.0, -2.0, -1.0, -8.0, -7.0] };
        let verdict = decide(&rule, &[head]).unwrap().swap_remove(0);
        assert_eq!(verdict, Verdict { kept: vec![0, 2, 3, 4], threshold: Some(-1.0) });
    }

    #[test]
    fn a_threshold_keeps_by_score_alone() {
        let rule = CutRule { threshold: Some((-0.3f64).exp()), ..CutRule::per_head(1, 1) };
        let head = Contestant { positions: &POSITIONS, scores: &HEADS[0] };
        assert_eq!(decide(&rule, &[head]).unwrap()[0].kept, [0, 1, 2]);
    }

    #[test]
    fn a_bad_score_names_its_head_and_slot() {
        let bad = [-0.1, f32::NAN, -0.3, -0.4, -0.5];
        let heads = [
            Contestant { positions: &POSITIONS, scores: &HEADS[0] },
            Contestant { positions: &POSITIONS, scores: &bad },
        ];
        let error = decide(&global(0.0, FloorCounting::Exact), &heads).unwrap_err();
        assert_eq!((error.contestant, error.slot), (1, 1));
    }
}
