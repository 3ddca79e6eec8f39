//! Runs a policy over recorded gates, without a model.
//!
//! Exact for the policy and rule that were recorded. For any other it is an estimate: the gates of later layers depend
//! on hidden states, which depend on what had been evicted.

use crate::policy::Policy;
use crate::trace::grid::Grid;
use crate::trace::lifetimes::{LifetimeError, Lifetimes};

use super::ledger::{Births, Ledger, ScoreError};

/// Why a recorded run cannot be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The policy ranks by something a trace does not hold.
    #[error("policy {0} cannot be replayed: it needs evidence that a trace does not record")]
    NeedsEvidence(&'static str),
    /// The policy ranks by retention and the run had no gates.
    #[error("policy {0} cannot be replayed: the trace was recorded without retention gates")]
    NeedsGates(&'static str),
    /// The passes do not cover the recorded tokens in order.
    #[error("the passes end at {found} tokens, but the lifetimes cover {expected}")]
    PassesDoNotFit {
        /// Tokens in the lifetimes.
        expected: u32,
        /// Tokens the passes cover.
        found: u32,
    },
    /// A score that cannot be ranked.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// An interval that cannot be.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
}

/// The lifetimes that `policy` gives the recorded tokens, when they enter in passes that end at `tokens_seen`.
///
/// # Errors
/// When the policy needs what the trace does not hold, or the passes do not fit the lifetimes.
pub fn replay(recorded: &Lifetimes, tokens_seen: &[u32], policy: &Policy) -> Result<Lifetimes, ReplayError> {
    let (shape, needs) = (recorded.shape(), policy.evidence());
    let has_gates = shape.iter().all(|head| recorded.log_beta(head).len() == recorded.seen() as usize);
    if needs.key_norm || needs.attention || needs.is_weighed() {
        return Err(ReplayError::NeedsEvidence(policy.scorer.name()));
    }
    if needs.log_beta && !has_gates {
        return Err(ReplayError::NeedsGates(policy.scorer.name()));
    }
    let mut ledger = Ledger::new(shape);
    let mut lives = Lifetimes::new(shape);
    for &seen in tokens_seen {
        let first = ledger.seen();
        if seen < first || seen > recorded.seen() {
            return Err(ReplayError::PassesDoNotFit { expected: recorded.seen(), found: seen });
        }
        let columns = (seen - first) as usize;
        let grid = has_gates.then(|| {
            let births = first as usize..seen as usize;
            shape.iter().flat_map(|head| recorded.log_beta(head)[births.clone()].to_vec()).collect()
        });
        let grid = grid.and_then(|cells| Grid::from_cells(shape.heads(), columns, cells));
        lives.open(seen - first, grid.as_ref())?;
        ledger.append(Births { count: seen - first, log_beta: grid.as_ref(), key_norm: None });
        if let Some(decision) = ledger.cut(policy)? {
            lives.apply(&decision.cut)?;
        }
    }
    if ledger.seen() != recorded.seen() {
        return Err(ReplayError::PassesDoNotFit { expected: recorded.seen(), found: ledger.seen() });
    }
    for (head, position, score) in ledger.last_scores() {
        lives.set_last_score(head, position, score);
    }
    Ok(lives)
}
