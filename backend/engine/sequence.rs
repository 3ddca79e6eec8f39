//! What a generation knows about one sequence, whoever holds its tensors: what to feed next, who is cached, what was
//! drawn.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::bounded::LayerCache;
use crate::cache::ledger::{Births, Decision, Ledger};
use crate::model::decoder::Decoder;
use crate::policy::{Policy, Scope};
use crate::trace::grid::Grid;
use crate::trace::step::{Cut, Pass, Phase};

use super::evidence::{cut, received};
use super::generation::{EngineError, Request, Stop};
use super::sampling::{Drawn, Sampler, greedy_on_device};

/// One sequence of a generation.
#[derive(Debug)]
pub(super) struct Sequence {
    request: Request,
    sampler: Sampler,
    ledger: Ledger,
    read: usize,
    last: Option<u32>,
    sampled: usize,
}

/// What a pass drew for a sequence, and the logits it drew from where the host has them.
pub(super) type Draw = (Option<Drawn>, Vec<f32>);

/// Per head, layer by layer, the slots that stay, or `None` where nothing left.
pub(super) type Kept = Vec<Option<Vec<u32>>>;

/// A decision's part for the trace, and its part for the tensors.
pub(super) fn apart(decision: Option<Decision>) -> (Option<Cut>, Option<Kept>) {
    decision.map(|Decision { cut, kept }| (cut, kept)).unzip()
}

impl Sequence {
    pub(super) fn new(model: &Decoder, request: Request, sampler: Sampler) -> Self {
        Self { ledger: Ledger::new(model.shape()), request, sampler, read: 0, last: None, sampled: 0 }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn prompt_is_read(&self) -> bool {
        self.read == self.request.prompt.len()
    }

    /// Entries that a head holds when it is next cut, 0 where that is not known: what to make room for at once.
    pub(super) fn expected(&self, policy: &Policy) -> usize {
        let Request { prompt, max_new_tokens, context, .. } = &self.request;
        match &policy.rule {
            // No more than the run can hold: a vast buffer must not take memory that is never used.
            Some(rule) if rule.threshold.is_none() && rule.scope == Scope::Head => {
                rule.limit().min(*context).min(prompt.len().saturating_add(*max_new_tokens))
            }
            _ => 0,
        }
    }

    /// The next tokens to feed, or why there are none.
    pub(super) fn next_input(&self, interrupted: &AtomicBool) -> Result<(Phase, Vec<u32>), Stop> {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        let unread = &self.request.prompt[self.read..];
        if !unread.is_empty() {
            let count = self.request.prefill_chunk.unwrap_or(unread.len()).clamp(1, unread.len());
            return Ok((Phase::Prefill, unread[..count].to_vec()));
        }
        match self.last {
            Some(id) if self.request.eos.contains(&id) => Err(Stop::Eos),
            _ if self.sampled >= self.request.max_new_tokens => Err(Stop::Length),
            _ if self.ledger.seen() as usize >= self.request.context => Err(Stop::Context),
            Some(id) => Ok((Phase::Decode, vec![id])),
            None => Err(Stop::Length),
        }
    }

    /// Books a pass's tokens.
    pub(super) fn append(
        &mut self,
        phase: Phase,
        fed: usize,
        log_beta: Option<&Grid<f32>>,
        key_norm: Option<&Grid<f32>>,
    ) {
        self.ledger.append(Births { count: fed as u32, log_beta, key_norm });
        if phase == Phase::Prefill {
            self.read += fed;
        }
    }

    /// Whether someone may have to leave now.
    pub(super) fn is_due(&self, policy: &Policy) -> bool {
        self.ledger.is_due(policy)
    }

    /// A pass as the ledger has it now; what it made and took is filled in by whoever ran it.
    pub(super) fn pass(&self, phase: Phase, fed: usize) -> Pass {
        Pass {
            phase,
            fed: fed as u32,
            tokens_seen: self.ledger.seen(),
            elapsed_us: 0,
            cached: self.ledger.cached(),
            log_beta: None,
            cut: None,
            attention: None,
        }
    }

    /// Decides who leaves. The tensors must follow. `layer` gives a layer's cache, where this sequence's heads begin at
    /// `first`.
    pub(super) fn cut<'c>(
        &mut self,
        policy: &Policy,
        model: &Decoder,
        first: usize,
        layer: impl Fn(usize) -> &'c LayerCache,
    ) -> Result<Option<Decision>, EngineError> {
        cut(&mut self.ledger, policy, model, first, layer)
    }

    /// Takes the attention that a pass measured: books it where the policy goes by it, and gives it where it is recorded.
    pub(super) fn observe<'c>(
        &mut self,
        columns: Option<&[Vec<f32>]>,
        policy: &Policy,
        model: &Decoder,
        first: usize,
        layer: impl Fn(usize) -> &'c LayerCache,
    ) -> Option<Vec<Vec<(u32, f32)>>> {
        let received = received(&self.ledger, columns?, model, first, layer);
        if policy.evidence().attention {
            self.ledger.observe(&received);
        }
        self.request.record_attention.then_some(received)
    }

    /// Whether a pass's last hidden state is needed for logits.
    pub(super) fn wants_logits(&self) -> bool {
        self.prompt_is_read() || self.request.record_logits
    }

    /// Whether the next token may be drawn where the logits are, and they may stay there: copying a vocabulary's worth
    /// to the host and summing it there takes longer than a GPU's whole pass.
    pub(super) fn draws_on_device(&self) -> bool {
        self.sampler.is_greedy() && !self.request.record_logits
    }

    /// Draws from logits on the host.
    pub(super) fn draw(&mut self, logits: Vec<f32>, model: &Decoder) -> Result<Draw, EngineError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(self.non_finite(model));
        }
        let drawn = if self.wants_token() { self.sampler.draw(&logits) } else { None };
        self.take(drawn);
        Ok((drawn, logits))
    }

    /// Takes what was drawn on the device; `None` where logits were not finite.
    pub(super) fn accept(&mut self, drawn: Option<Drawn>, model: &Decoder) -> Result<Draw, EngineError> {
        let drawn = drawn.ok_or_else(|| self.non_finite(model))?;
        let drawn = self.wants_token().then_some(drawn);
        self.take(drawn);
        Ok((drawn, Vec::new()))
    }

    fn wants_token(&self) -> bool {
        self.prompt_is_read() && self.sampled < self.request.max_new_tokens
    }

    fn take(&mut self, drawn: Option<Drawn>) {
        if let Some(drawn) = drawn {
            self.sampled += 1;
            self.last = Some(drawn.id);
        }
    }

    fn non_finite(&self, model: &Decoder) -> EngineError {
        EngineError::NonFiniteLogits { tokens_seen: self.ledger.seen(), dtype: model.dtype().as_str() }
    }
}

/// Draws for several sequences from the hidden states of their newest tokens, in one product.
pub(super) fn draw_all(
    sequences: &mut [&mut Sequence],
    hidden: &candle_core::Tensor,
    model: &Decoder,
) -> Result<Vec<Draw>, EngineError> {
    let logits = model.logits(hidden)?;
    if !model.device().is_cpu() && sequences.iter().all(|sequence| sequence.draws_on_device()) {
        let drawn = greedy_on_device(&logits)?;
        return sequences.iter_mut().zip(drawn).map(|(sequence, drawn)| sequence.accept(drawn, model)).collect();
    }
    let rows = logits.to_vec2::<f32>()?;
    sequences.iter_mut().zip(rows).map(|(sequence, row)| sequence.draw(row, model)).collect()
}
