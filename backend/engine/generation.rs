//! One generation under a bounded cache, as an iterator.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Tensor;

use crate::cache::bounded::SequenceCache;
use crate::cache::ledger::{Ledger, ScoreError};
use crate::model::decoder::{Decoder, Input, Want};
use crate::model::error::ModelError;
use crate::policy::Policy;
use crate::trace::step::{Pass, Phase};

use super::captured::Captured;
use super::sampling::{Drawn, Sampler};
use super::sequence::{Sequence, draw_all};

/// Why a generation could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The policy's scores cannot be ranked.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The next token's distribution is not one.
    #[error(
        "the logits after {tokens_seen} tokens are not finite; the weights are damaged, or {dtype} is too narrow for this model (try --dtype f32)"
    )]
    NonFiniteLogits {
        /// Tokens seen.
        tokens_seen: u32,
        /// Type the model computes in.
        dtype: &'static str,
    },
}

impl From<candle_core::Error> for EngineError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended its text.
    Eos,
    /// As many tokens as asked for.
    Length,
    /// The model's context is full.
    Context,
    /// The user stopped it.
    Interrupted,
}

impl Stop {
    /// The name in the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Length => "length",
            Self::Context => "context",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What to generate.
#[derive(Debug, Clone)]
pub struct Request {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Prompt tokens per pass, with a cut after each; `None` reads the prompt in one pass.
    pub prefill_chunk: Option<usize>,
    /// Tokens to sample at most.
    pub max_new_tokens: usize,
    /// Tokens that end the text.
    pub eos: Vec<u32>,
    /// Most tokens in all.
    pub context: usize,
    /// Measure the attention each cached entry receives.
    pub record_attention: bool,
    /// Hand out hidden states, from which every position's logits follow.
    pub record_logits: bool,
    /// Queries attended at once.
    pub query_block: usize,
}

/// One pass, and the token that was drawn after it.
#[derive(Debug)]
pub struct Step {
    /// What the pass did.
    pub pass: Pass,
    /// The token drawn after it; `None` in the middle of a chunked prompt.
    pub drawn: Option<Drawn>,
    /// Next-token logits after the pass. Unless logits are recorded, empty in the middle of a chunked prompt and where
    /// the token was drawn on the device.
    pub logits: Vec<f32>,
    /// `(fed, hidden)` states, when logits are recorded and the pass was not a captured step.
    pub hidden: Option<Tensor>,
}

/// A running generation. It ends by returning `None`; [`Generation::stop`] then says why.
pub struct Generation<'a> {
    model: &'a Decoder,
    policy: &'a Policy,
    interrupted: &'a AtomicBool,
    cache: SequenceCache,
    sequence: Sequence,
    captured: Option<Captured<'a>>,
    stop: Option<Stop>,
}

impl<'a> Generation<'a> {
    /// Prepares a generation; nothing is computed before the first step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        model: &'a Decoder,
        policy: &'a Policy,
        request: Request,
        sampler: Sampler,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, EngineError> {
        let captured = Captured::new(model, policy, &request, interrupted);
        let sequence = Sequence::new(model, request, sampler);
        let cache = model.new_cache(sequence.expected(policy))?;
        Ok(Self { model, policy, interrupted, cache, sequence, captured, stop: None })
    }

    /// Why it ended; `None` while it goes on.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// The ledger: who is cached now.
    pub fn ledger(&self) -> &Ledger {
        self.sequence.ledger()
    }

    /// The tensors, for their size.
    pub fn cache(&self) -> &SequenceCache {
        &self.cache
    }

    /// Whether the whole prompt has been fed.
    pub(super) fn prompt_is_read(&self) -> bool {
        self.sequence.prompt_is_read()
    }

    /// Gives up what it holds, to go on in a batch.
    pub(super) fn into_parts(self) -> (Sequence, SequenceCache) {
        (self.sequence, self.cache)
    }

    fn step(&mut self, phase: Phase, tokens: &[u32]) -> Result<Step, EngineError> {
        if let (Phase::Decode, Some(captured)) = (phase, &mut self.captured) {
            return Ok(captured.pass(&mut [&mut self.sequence], &mut self.cache, tokens)?.swap_remove(0));
        }
        let start = Instant::now();
        let request = self.sequence.request();
        let (record_logits, want) = (request.record_logits, want(request, self.policy, self.interrupted));
        let mut outputs = self.model.forward(&mut [Input { tokens, cache: &mut self.cache }], want)?;
        let output = outputs.swap_remove(0);
        self.sequence.append(phase, tokens.len(), output.log_beta.as_ref(), output.key_norm.as_ref());
        let layer = |layer| self.cache.layer(layer);
        let attention = self.sequence.observe(output.attention.as_deref(), self.policy, self.model, 0, layer);
        let decision = self.sequence.cut(self.policy, self.model, 0, layer)?;
        if let Some(decision) = &decision {
            self.cache.keep(&decision.kept)?;
        }
        let (drawn, logits) = if self.sequence.wants_logits() {
            let last = output.hidden.narrow(0, output.hidden.dim(0)? - 1, 1)?;
            draw_all(&mut [&mut self.sequence], &last, self.model)?.swap_remove(0)
        } else {
            (None, Vec::new())
        };
        let pass = Pass {
            elapsed_us: start.elapsed().as_micros() as u64,
            log_beta: output.log_beta,
            cut: decision.map(|decision| decision.cut),
            attention,
            ..self.sequence.pass(phase, tokens.len())
        };
        Ok(Step { pass, drawn, logits, hidden: record_logits.then_some(output.hidden) })
    }
}

/// What a pass must give back.
pub(super) fn want<'a>(request: &Request, policy: &Policy, interrupted: &'a AtomicBool) -> Want<'a> {
    let evidence = policy.evidence();
    Want {
        key_norm: evidence.key_norm,
        attention: request.record_attention || evidence.attention,
        queries: evidence.remembered(),
        query_block: request.query_block,
        interrupted: Some(interrupted),
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Step, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stop.is_some() {
            return None;
        }
        let (phase, tokens) = match self.sequence.next_input(self.interrupted) {
            Ok(input) => input,
            Err(stop) => {
                self.stop = Some(stop);
                return None;
            }
        };
        match self.step(phase, &tokens) {
            Err(EngineError::Model(ModelError::Interrupted)) => {
                self.stop = Some(Stop::Interrupted);
                None
            }
            Err(error) => {
                self.stop = Some(Stop::Interrupted);
                Some(Err(error))
            }
            step => Some(step),
        }
    }
}
