//! Decoding passes by captured steps: the device draws, one copy brings everything to the host, and the next step runs
//! while the host books the last.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cache::batch::BatchCache;
use crate::cache::bounded::{LayerCache, SequenceCache};
use crate::model::decoder::{CapturedStep, Decoder};
use crate::policy::Policy;
use crate::trace::step::{Pass, Phase};

use super::generation::{EngineError, Request, Step, want};
use super::sampling::drawn_from;
use super::sequence::{Kept, Sequence, apart};

/// A cache that captured steps write into.
pub(super) trait Cache {
    fn layers_mut(&mut self) -> &mut [LayerCache];

    /// Per sequence, the tokens that entered so far.
    fn seen(&self) -> Vec<usize>;

    /// Counts what a step wrote: a token of every sequence.
    fn stepped(&mut self);

    /// Follows the cuts of a pass, sequence by sequence.
    fn keep(&mut self, kept: &[Option<Kept>]) -> candle_core::Result<()>;
}

impl Cache for SequenceCache {
    fn layers_mut(&mut self) -> &mut [LayerCache] {
        self.layers_mut()
    }

    fn seen(&self) -> Vec<usize> {
        vec![self.seen()]
    }

    fn stepped(&mut self) {
        self.stepped();
    }

    fn keep(&mut self, kept: &[Option<Kept>]) -> candle_core::Result<()> {
        kept.iter().flatten().try_for_each(|kept| self.keep(kept))
    }
}

impl Cache for BatchCache {
    fn layers_mut(&mut self) -> &mut [LayerCache] {
        self.layers_mut()
    }

    fn seen(&self) -> Vec<usize> {
        self.seen().to_vec()
    }

    fn stepped(&mut self) {
        self.stepped();
    }

    fn keep(&mut self, kept: &[Option<Kept>]) -> candle_core::Result<()> {
        self.keep(kept)
    }
}

/// The captured steps of a generation or a batch.
pub(super) struct Captured<'a> {
    model: &'a Decoder,
    policy: &'a Policy,
    interrupted: &'a AtomicBool,
    step: CapturedStep,
}

impl<'a> Captured<'a> {
    /// For generations that ask for what `request` asks for; `None` where their steps cannot be captured.
    pub(super) fn new(
        model: &'a Decoder,
        policy: &'a Policy,
        request: &Request,
        interrupted: &'a AtomicBool,
    ) -> Option<Self> {
        let captures = model.captures(want(request, policy, interrupted));
        captures.then(|| Self { model, policy, interrupted, step: CapturedStep::default() })
    }

    /// How steps are started now; `None` before the first.
    pub(super) fn manner(&self) -> Option<&'static str> {
        self.step.manner()
    }

    /// One pass, a token of every sequence.
    pub(super) fn pass(
        &mut self,
        sequences: &mut [&mut Sequence],
        cache: &mut impl Cache,
        tokens: &[u32],
    ) -> Result<Vec<Step>, EngineError> {
        let Self { model, policy, interrupted, step } = self;
        let start = Instant::now();
        if !step.is_running() {
            let seen = cache.seen();
            step.start(model, cache.layers_mut(), &seen, tokens)?;
        }
        let made = step.finish(model)?;
        cache.stepped();
        for (sequence, log_beta) in sequences.iter_mut().zip(&made.log_beta) {
            sequence.append(Phase::Decode, 1, log_beta.as_ref(), None);
        }
        let on_device = sequences.iter().all(|sequence| sequence.draws_on_device());
        let draws: Vec<_> = if on_device {
            let drawn = made.told.into_iter().map(|told| drawn_from(told, model.config().vocab));
            sequences.iter_mut().zip(drawn).map(|(own, drawn)| own.accept(drawn, model)).collect::<Result<_, _>>()?
        } else {
            let rows = step.logits()?.to_vec2::<f32>()?;
            sequences.iter_mut().zip(rows).map(|(own, row)| own.draw(row, model)).collect::<Result<_, _>>()?
        };
        // Where nobody ends and nobody may leave before it, the next step runs while this one is booked.
        let next = |own: &&mut Sequence| match own.next_input(interrupted) {
            Ok((_, tokens)) if !own.is_due(policy) => Some(tokens),
            _ => None,
        };
        if let Some(tokens) = sequences.iter().map(next).collect::<Option<Vec<_>>>() {
            let seen = cache.seen();
            step.start(model, cache.layers_mut(), &seen, &tokens.concat())?;
        }
        let decisions = sequences.iter_mut().map(|own| own.cut(policy)).collect::<Result<Vec<_>, _>>()?;
        let (cuts, kept): (Vec<_>, Vec<_>) = decisions.into_iter().map(apart).unzip();
        cache.keep(&kept)?;
        let elapsed_us = start.elapsed().as_micros() as u64;
        let parts = made.log_beta.into_iter().zip(cuts).zip(draws);
        let steps = sequences.iter().zip(parts).map(|(own, ((log_beta, cut), (drawn, logits)))| {
            let ledger = own.ledger();
            let pass = Pass {
                phase: Phase::Decode,
                fed: 1,
                tokens_seen: ledger.seen(),
                elapsed_us,
                cached: ledger.cached(),
                log_beta,
                cut,
                attention: None,
            };
            Step { pass, drawn, logits, hidden: None }
        });
        Ok(steps.collect())
    }
}
