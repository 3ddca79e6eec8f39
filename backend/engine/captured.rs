//! Decoding passes by captured steps: the device draws, one copy brings everything to the host, and the next step runs
//! while the host books the last.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cache::batch::BatchCache;
use crate::cache::bounded::{LayerCache, SequenceCache};
use crate::cache::ledger::Ledger;
use crate::model::captured::Manner;
use crate::model::decoder::{Asked, CapturedStep, Decoder, Feed, RetentionCut};
use crate::policy::{CutRule, Policy, Protect, Scope};
use crate::trace::step::{KvHead, Pass, Phase, Shape};

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
        let step = || CapturedStep::new(asked(model, policy));
        let captures = model.captures(want(request, policy, interrupted));
        captures.then(|| Self { model, policy, interrupted, step: step() })
    }

    /// How steps are started now; `None` before the first.
    pub(super) fn manner(&self) -> Option<Manner> {
        self.step.manner()
    }

    /// One pass, a token of every sequence.
    pub(super) fn pass(
        &mut self,
        sequences: &mut [&mut Sequence],
        cache: &mut impl Cache,
        tokens: &[u32],
    ) -> Result<Vec<Step>, EngineError> {
        let begin = Instant::now();
        let (model, policy) = (self.model, self.policy);
        if !self.step.is_running() {
            self.start(sequences, cache, tokens)?;
        }
        let made = self.step.finish(model)?;
        cache.stepped();
        for ((sequence, log_beta), key_norm) in sequences.iter_mut().zip(&made.log_beta).zip(&made.key_norm) {
            sequence.append(Phase::Decode, 1, log_beta.as_ref(), key_norm.as_ref());
        }
        let draws: Vec<_> = if sequences.iter().all(|own| own.draws_on_device()) {
            let drawn = made.told.into_iter().map(|told| drawn_from(told, model.config().vocab));
            sequences.iter_mut().zip(drawn).map(|(own, drawn)| own.accept(drawn, model)).collect::<Result<_, _>>()?
        } else {
            let rows = self.step.logits()?.to_vec2::<f32>()?;
            sequences.iter_mut().zip(rows).map(|(own, row)| own.draw(row, model)).collect::<Result<_, _>>()?
        };
        let is_cut = self.go_on(sequences, cache)?;
        let kv_heads = model.shape().kv_heads;
        let layers = &*cache.layers_mut();
        let cut = |(place, own): (usize, &mut &mut Sequence)| {
            own.cut(policy, model, place * kv_heads, |layer| &layers[layer])
        };
        let decisions = sequences.iter_mut().enumerate().map(cut).collect::<Result<Vec<_>, _>>()?;
        let (cuts, kept): (Vec<_>, Vec<_>) = decisions.into_iter().map(apart).unzip();
        if !is_cut {
            cache.keep(&kept)?;
        }
        let elapsed_us = begin.elapsed().as_micros() as u64;
        let parts = made.log_beta.into_iter().zip(cuts).zip(draws);
        let steps = sequences.iter().zip(parts).map(|(own, ((log_beta, cut), (drawn, logits)))| {
            let pass = Pass { elapsed_us, log_beta, cut, ..own.pass(Phase::Decode, 1) };
            Step { pass, drawn, logits, hidden: None }
        });
        Ok(steps.collect())
    }

    /// Lets the device work while the host books what happened: it cuts by itself where it can, and starts the next step unless
    /// a sequence ends or the host has to say who leaves. Whether it cut.
    fn go_on(&mut self, sequences: &[&mut Sequence], cache: &mut impl Cache) -> Result<bool, EngineError> {
        let is_due = sequences.iter().any(|own| own.is_due(self.policy));
        let rule = self.policy.rule.as_ref().filter(|_| is_due && self.step.can_cut());
        if let Some(rule) = rule {
            let ledgers: Vec<_> = sequences.iter().map(|own| own.ledger()).collect();
            let (seen, stay) = (cache.seen(), stay(self.model.shape(), rule, &ledgers));
            self.step.cut(cache.layers_mut(), &seen, stay)?;
        }
        // After its own cut the device knows more than the host: a step that would have to be told all of it must wait.
        let seen = cache.seen();
        let can_go_on = !is_due || rule.is_some() && self.step.is_valid(cache.layers_mut(), &seen);
        let next = sequences.iter().map(|own| own.next_input(self.interrupted).ok().map(|(_, tokens)| tokens));
        if let Some(tokens) = next.collect::<Option<Vec<_>>>().filter(|_| can_go_on) {
            self.start(sequences, cache, &tokens.concat())?;
        }
        Ok(rule.is_some())
    }

    fn start(
        &mut self,
        sequences: &[&mut Sequence],
        cache: &mut impl Cache,
        tokens: &[u32],
    ) -> Result<(), EngineError> {
        let ledgers: Vec<_> = sequences.iter().map(|own| own.ledger()).collect();
        let entries = |layer, head| entries(&ledgers, self.model.shape(), layer, head);
        let seen = cache.seen();
        Ok(self.step.start(self.model, cache.layers_mut(), Feed { seen: &seen, tokens, entries: &entries })?)
    }
}

/// What a policy asks of a step.
pub(crate) fn asked(model: &Decoder, policy: &Policy) -> Asked {
    Asked { cut: retention_cut(model, policy), key_norm: policy.evidence().key_norm }
}

/// The cut that a step can carry out by itself; `None` where the host decides.
fn retention_cut(model: &Decoder, policy: &Policy) -> Option<RetentionCut> {
    let rule = policy.rule.filter(|rule| rule.scope == Scope::Head && rule.threshold.is_none())?;
    let age_offset = policy.scorer.plain_retention().filter(|_| model.has_gates())?;
    let Protect { sinks, recent } = rule.protect;
    let (budget, limit) = (rule.budget as usize, rule.limit());
    Some(RetentionCut { budget, limit, sinks: sinks as usize, recent: recent as usize, age_offset })
}

/// Per layer, how many entries a cut will leave of every sequence's heads.
pub(crate) fn stay(shape: Shape, rule: &CutRule, ledgers: &[&Ledger]) -> Vec<Vec<usize>> {
    let heads = ledgers.len() * shape.kv_heads;
    let of_head = |layer, head| rule.stay(entries(ledgers, shape, layer, head).0);
    (0..shape.layers).map(|layer| (0..heads).map(|head| of_head(layer, head)).collect()).collect()
}

/// Positions and log beta of a layer's head, counted through all sequences.
pub(crate) fn entries<'l>(ledgers: &[&'l Ledger], shape: Shape, layer: usize, head: usize) -> (&'l [u32], &'l [f32]) {
    let ledger = ledgers[head / shape.kv_heads];
    let head = KvHead { layer: layer as u16, head: (head % shape.kv_heads) as u16 };
    (ledger.positions(head), ledger.log_beta(head))
}
