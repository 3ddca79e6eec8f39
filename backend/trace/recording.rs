//! A run so far, in memory: what the writer accumulates and the reader gives back.

use super::lifetimes::{LifetimeError, Lifetimes};
use super::step::{HeadCut, KvHead, Pass, Phase, Shape, TokenRecord};

/// One row of `steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepRow {
    /// Tokens seen after the pass.
    pub tokens_seen: u32,
    /// Prompt or decode.
    pub phase: Phase,
    /// Wall time of the pass, in microseconds.
    pub elapsed_us: u64,
    /// Entries cached over all heads after the cut.
    pub cached: u64,
    /// Entries its cut removed.
    pub evicted: u64,
}

/// One row of `cuts`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutRow {
    /// Tokens seen at the cut.
    pub tokens_seen: u32,
    /// What happened to the head.
    pub head: HeadCut,
}

/// Tokens, lifetimes, cuts and passes of one run, and the attention entries received if it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The text, prompt first.
    pub tokens: Vec<TokenRecord>,
    /// Birth and death in every head.
    pub lifetimes: Lifetimes,
    /// Who lost what, when.
    pub cuts: Vec<CutRow>,
    /// One row per forward pass.
    pub steps: Vec<StepRow>,
    /// Per head, layer by layer: attention mass per position. Empty unless recorded.
    pub attention: Vec<Vec<f32>>,
}

impl Recording {
    /// A run with no tokens.
    pub fn new(shape: Shape) -> Self {
        Self {
            tokens: Vec::new(),
            lifetimes: Lifetimes::new(shape),
            cuts: Vec::new(),
            steps: Vec::new(),
            attention: Vec::new(),
        }
    }

    /// Adds one forward pass.
    ///
    /// # Errors
    /// When it contradicts what was recorded before.
    pub fn apply(&mut self, pass: &Pass) -> Result<(), LifetimeError> {
        self.lifetimes.open(pass.fed, pass.log_beta.as_ref())?;
        if let Some(cut) = &pass.cut {
            self.lifetimes.apply(cut)?;
            self.cuts.extend(cut.heads.iter().map(|&head| CutRow { tokens_seen: cut.tokens_seen, head }));
        }
        if let Some(received) = &pass.attention {
            self.attention.resize(received.len(), Vec::new());
            for (total, received) in self.attention.iter_mut().zip(received) {
                total.resize(pass.tokens_seen as usize, 0.0);
                received.iter().for_each(|&(position, mass)| total[position as usize] += mass);
            }
        }
        self.steps.push(StepRow {
            tokens_seen: pass.tokens_seen,
            phase: pass.phase,
            elapsed_us: pass.elapsed_us,
            cached: pass.cached,
            evicted: pass.cut.as_ref().map_or(0, |cut| cut.evictions.len() as u64),
        });
        Ok(())
    }

    /// Number of queries that could see a token: from its own to the last before it left.
    pub fn queries(&self, head: KvHead, position: u32) -> u32 {
        self.lifetimes.evicted_at(head, position).unwrap_or(self.lifetimes.seen()) - position
    }
}
