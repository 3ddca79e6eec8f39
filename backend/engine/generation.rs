//! One generation under a bounded cache, as an iterator.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;

use crate::cache::bounded::SequenceCache;
use crate::cache::ledger::{Births, Ledger, ScoreError, evidence};
use crate::model::decoder::{Decoder, Input, Output, Want};
use crate::model::error::ModelError;
use crate::policy::{Policy, Scope};
use crate::trace::step::{Cut, KvHead, Pass, Phase};

use super::sampling::{Drawn, Sampler};

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
    /// Next-token logits after the pass; empty in the middle of a chunked prompt unless logits are recorded.
    pub logits: Vec<f32>,
    /// `(fed, hidden)` states, when logits are recorded.
    pub hidden: Option<Tensor>,
}

/// A running generation. It ends by returning `None`; [`Generation::stop`] then says why.
pub struct Generation<'a> {
    model: &'a Decoder,
    policy: &'a Policy,
    request: Request,
    sampler: Sampler,
    interrupted: &'a AtomicBool,
    cache: SequenceCache,
    ledger: Ledger,
    read: usize,
    last: Option<u32>,
    sampled: usize,
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
        let expected = match &policy.rule {
            // No more than the run can hold: a vast buffer must not take memory that is never used.
            Some(rule) if rule.threshold.is_none() && rule.scope == Scope::Head => {
                rule.limit().min(request.context).min(request.prompt.len() + request.max_new_tokens)
            }
            _ => 0,
        };
        Ok(Self {
            cache: model.new_cache(expected)?,
            ledger: Ledger::new(model.shape()),
            model,
            policy,
            request,
            sampler,
            interrupted,
            read: 0,
            last: None,
            sampled: 0,
            stop: None,
        })
    }

    /// Why it ended; `None` while it goes on.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// The ledger: who is cached now.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The tensors, for their size.
    pub fn cache(&self) -> &SequenceCache {
        &self.cache
    }

    /// The next tokens to feed, or why there are none.
    fn next_input(&self) -> Result<(Phase, Vec<u32>), Stop> {
        if self.interrupted.load(Ordering::Relaxed) {
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
            _ if self.cache.seen() >= self.request.context => Err(Stop::Context),
            Some(id) => Ok((Phase::Decode, vec![id])),
            None => Err(Stop::Length),
        }
    }

    fn step(&mut self, phase: Phase, tokens: &[u32]) -> Result<Step, EngineError> {
        let start = Instant::now();
        let want = Want {
            key_norm: evidence(self.policy).key_norm,
            attention: self.request.record_attention,
            query_block: self.request.query_block,
            interrupted: Some(self.interrupted),
        };
        let mut outputs = self.model.forward(&mut [Input { tokens, cache: &mut self.cache }], want)?;
        let output = outputs.swap_remove(0);
        let births = Births {
            count: tokens.len() as u32,
            log_beta: output.log_beta.as_ref(),
            key_norm: output.key_norm.as_ref(),
        };
        self.ledger.append(births);
        let attention = output.attention.as_ref().map(|columns| self.attention_by_position(columns));
        let cut = self.cut()?;
        if phase == Phase::Prefill {
            self.read += tokens.len();
        }
        let (drawn, logits) = self.draw(&output)?;
        let pass = Pass {
            phase,
            fed: tokens.len() as u32,
            tokens_seen: self.ledger.seen(),
            elapsed_us: start.elapsed().as_micros() as u64,
            cached: self.ledger.cached(),
            log_beta: output.log_beta,
            cut,
            attention,
        };
        let hidden = self.request.record_logits.then_some(output.hidden);
        Ok(Step { pass, drawn, logits, hidden })
    }

    fn cut(&mut self) -> Result<Option<Cut>, EngineError> {
        let Some(decision) = self.ledger.cut(self.policy)? else { return Ok(None) };
        self.cache.keep(&decision.kept)?;
        Ok(Some(decision.cut))
    }

    fn draw(&mut self, output: &Output) -> Result<(Option<Drawn>, Vec<f32>), EngineError> {
        let prompt_is_read = self.read == self.request.prompt.len();
        if !prompt_is_read && !self.request.record_logits {
            return Ok((None, Vec::new()));
        }
        let last = output.hidden.narrow(0, output.hidden.dim(0)? - 1, 1)?;
        let logits = self.model.logits(&last)?.squeeze(0)?.to_vec1::<f32>()?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            let dtype = self.model.dtype().as_str();
            return Err(EngineError::NonFiniteLogits { tokens_seen: self.ledger.seen(), dtype });
        }
        let wanted = prompt_is_read && self.sampled < self.request.max_new_tokens;
        let drawn = if wanted { self.sampler.draw(&logits) } else { None };
        if let Some(drawn) = drawn {
            self.sampled += 1;
            self.last = Some(drawn.id);
        }
        Ok((drawn, logits))
    }

    /// From cache columns to positions, before the cut moves them.
    fn attention_by_position(&self, columns: &[Vec<f32>]) -> Vec<Vec<(u32, f32)>> {
        let head_mass = |(head, mass): (KvHead, &Vec<f32>)| {
            let layer = self.cache.layer(usize::from(head.layer));
            let column = |slot| layer.column(usize::from(head.head), slot);
            self.ledger
                .positions(head)
                .iter()
                .enumerate()
                .map(|(slot, &position)| (position, mass[column(slot)]))
                .collect()
        };
        self.model.shape().iter().zip(columns).map(head_mass).collect()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Step, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stop.is_some() {
            return None;
        }
        let (phase, tokens) = match self.next_input() {
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
