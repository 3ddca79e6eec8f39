//! The ledger: which token is in which head's cache, and who leaves at a cut. Pure; the tensors follow it.

use crate::policy::{HeadView, Policy, Weighed};
use crate::trace::grid::Grid;
use crate::trace::step::{Cut, Eviction, HeadCut, KvHead, Shape};

use super::competition::{BadScore, Contestant, Verdict, decide, overflowing};

/// A policy gave a score that cannot be ranked.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "policy {policy} scores position {position} of {head} as {score}, which cannot be ranked; the model's weights or activations are not finite"
)]
pub struct ScoreError {
    /// The policy's name.
    pub policy: &'static str,
    /// Whose cache.
    pub head: KvHead,
    /// Which token.
    pub position: u32,
    /// The offending value.
    pub score: f32,
}

/// What enters with one forward pass. Grids have one row per head and one column per new token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Births<'a> {
    /// Number of new tokens.
    pub count: u32,
    /// Nats; absent without gates.
    pub log_beta: Option<&'a Grid<f32>>,
    /// Norms of the new keys; needed only by policies that ask.
    pub key_norm: Option<&'a Grid<f32>>,
}

/// What a cut decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// For the trace.
    pub cut: Cut,
    /// For the tensors: per head, the slots that stay, or `None` where nothing left.
    pub kept: Vec<Option<Vec<u32>>>,
}

/// What every head holds.
#[derive(Debug, Clone)]
pub struct Ledger {
    shape: Shape,
    seen: u32,
    heads: Vec<HeadEntries>,
}

/// One head's entries in ascending position. Columns nobody gave stay empty.
#[derive(Debug, Clone, Default)]
struct HeadEntries {
    positions: Vec<u32>,
    log_beta: Vec<f32>,
    key_norm: Vec<f32>,
    /// Attention received so far.
    attention: Vec<f32>,
    /// Score at the last cut; NaN before.
    last_score: Vec<f32>,
}

impl HeadEntries {
    fn retain(&mut self, slots: &[usize]) {
        let pick = |column: &mut Vec<f32>| {
            if !column.is_empty() {
                *column = slots.iter().map(|&slot| column[slot]).collect();
            }
        };
        pick(&mut self.log_beta);
        pick(&mut self.key_norm);
        pick(&mut self.attention);
        pick(&mut self.last_score);
        self.positions = slots.iter().map(|&slot| self.positions[slot]).collect();
    }
}

impl Ledger {
    /// Empty caches.
    pub fn new(shape: Shape) -> Self {
        Self { shape, seen: 0, heads: vec![HeadEntries::default(); shape.heads()] }
    }

    /// Tokens seen so far. Positions come from here, never from a cache's length.
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Positions in a head's cache, ascending.
    pub fn positions(&self, head: KvHead) -> &[u32] {
        &self.heads[self.shape.index(head)].positions
    }

    /// Their log betas, nats; empty without gates.
    pub fn log_beta(&self, head: KvHead) -> &[f32] {
        &self.heads[self.shape.index(head)].log_beta
    }

    /// Entries over all heads.
    pub fn cached(&self) -> u64 {
        self.heads.iter().map(|head| head.positions.len() as u64).sum()
    }

    /// Each entry's score at the last cut that weighed it, for entries still cached.
    pub fn last_scores(&self) -> impl Iterator<Item = (KvHead, u32, f32)> + '_ {
        self.shape.iter().zip(&self.heads).flat_map(|(head, entries)| {
            let scored = entries.positions.iter().zip(&entries.last_score);
            scored.filter(|(_, score)| !score.is_nan()).map(move |(&position, &score)| (head, position, score))
        })
    }

    /// Lets the next tokens enter every head.
    pub fn append(&mut self, births: Births<'_>) {
        let born = self.seen..self.seen + births.count;
        for (index, head) in self.heads.iter_mut().enumerate() {
            head.positions.extend(born.clone());
            if let Some(grid) = births.log_beta {
                head.log_beta.extend_from_slice(grid.row(index));
            }
            if let Some(grid) = births.key_norm {
                head.key_norm.extend_from_slice(grid.row(index));
            }
            head.last_score.resize(head.positions.len(), f32::NAN);
        }
        self.seen = born.end;
    }

    /// Adds the attention that entries received in a pass: per head, layer by layer, in the order of slots.
    pub fn observe(&mut self, received: &[Vec<(u32, f32)>]) {
        for (entries, received) in self.heads.iter_mut().zip(received) {
            entries.attention.resize(entries.positions.len(), 0.0);
            entries.attention.iter_mut().zip(received).for_each(|(sum, (_, mass))| *sum += mass);
        }
    }

    /// Whether some competition would be held now; with a threshold there always is one.
    pub fn is_due(&self, policy: &Policy) -> bool {
        policy.rule.as_ref().is_some_and(|rule| !overflowing(rule, self.shape.kv_heads, &self.sizes()).is_empty())
    }

    fn sizes(&self) -> Vec<usize> {
        self.heads.iter().map(|head| head.positions.len()).collect()
    }

    /// Cuts whatever overflows, or gives `None` when nothing leaves.
    ///
    /// # Errors
    /// When the policy gives a contested entry a score that is NaN or infinite.
    pub fn cut(&mut self, policy: &Policy) -> Result<Option<Decision>, ScoreError> {
        self.cut_weighed(policy, &[])
    }

    /// [`Ledger::cut`], where the policy was told what it asks of keys and queries: per head, layer by layer.
    ///
    /// # Errors
    /// As [`Ledger::cut`].
    pub fn cut_weighed(&mut self, policy: &Policy, weighed: &[Weighed]) -> Result<Option<Decision>, ScoreError> {
        let Some(rule) = &policy.rule else { return Ok(None) };
        let mut decision =
            Decision { cut: Cut { tokens_seen: self.seen, ..Cut::default() }, kept: vec![None; self.heads.len()] };
        for range in overflowing(rule, self.shape.kv_heads, &self.sizes()) {
            let scores: Vec<Vec<f32>> =
                range.clone().map(|index| policy.scorer.score(&self.view(index, weighed.get(index)))).collect();
            let contestants: Vec<_> = range
                .clone()
                .zip(&scores)
                .map(|(index, scores)| Contestant { positions: &self.heads[index].positions, scores })
                .collect();
            let verdicts = decide(rule, &contestants).map_err(|bad| self.name_bad_score(policy, range.start, bad))?;
            for ((index, scores), verdict) in range.zip(scores).zip(verdicts) {
                self.execute(index, scores, &verdict, &mut decision);
            }
        }
        Ok((!decision.cut.heads.is_empty()).then_some(decision))
    }

    fn view<'v>(&'v self, index: usize, weighed: Option<&'v Weighed>) -> HeadView<'v> {
        let entries = &self.heads[index];
        HeadView {
            head: self.shape.head(index),
            positions: &entries.positions,
            log_beta: &entries.log_beta,
            key_norm: &entries.key_norm,
            attention: &entries.attention,
            importance: weighed.map_or(&[], |weighed| &weighed.importance),
            likeness: weighed.map_or(&[], |weighed| &weighed.likeness),
            tokens_seen: self.seen,
        }
    }

    fn name_bad_score(&self, policy: &Policy, first_head: usize, bad: BadScore) -> ScoreError {
        let index = first_head + bad.contestant;
        ScoreError {
            policy: policy.scorer.name(),
            head: self.shape.head(index),
            position: self.heads[index].positions[bad.slot],
            score: bad.score,
        }
    }

    fn execute(&mut self, index: usize, scores: Vec<f32>, verdict: &Verdict, decision: &mut Decision) {
        let head = self.shape.head(index);
        let entries = &mut self.heads[index];
        let before = entries.positions.len();
        if verdict.kept.len() < before {
            let mut staying = verdict.kept.iter().copied().peekable();
            let mut ties = 0;
            for (slot, (&position, &score)) in entries.positions.iter().zip(&scores).enumerate() {
                if staying.next_if_eq(&slot).is_some() {
                    continue;
                }
                ties += u32::from(verdict.threshold == Some(score));
                decision.cut.evictions.push(Eviction { head, position, at: self.seen, score });
            }
            decision.cut.heads.push(HeadCut {
                head,
                cached_before: before as u32,
                kept: verdict.kept.len() as u32,
                threshold: verdict.threshold,
                ties,
            });
            decision.kept[index] = Some(verdict.kept.iter().map(|&slot| slot as u32).collect());
        }
        entries.last_score = scores;
        if verdict.kept.len() < before {
            entries.retain(&verdict.kept);
        }
    }
}
