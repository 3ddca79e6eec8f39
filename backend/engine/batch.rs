//! Several generations that decode together: each prompt is read alone, then every pass feeds all sequences one token.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Tensor;

use crate::cache::batch::BatchCache;
use crate::cache::ledger::Ledger;
use crate::model::captured::Manner;
use crate::model::decoder::Decoder;
use crate::model::error::ModelError;
use crate::policy::Policy;
use crate::trace::step::{Pass, Phase};

use super::captured::Captured;
use super::generation::{EngineError, Generation, Request, Step, Stop, want};
use super::sampling::Sampler;
use super::sequence::{Sequence, apart, draw_all};

/// What a pass did to one sequence.
#[derive(Debug)]
pub struct BatchStep {
    /// Which one, as the requests were given.
    pub sequence: usize,
    /// What happened. In a decoding pass `elapsed_us` is the whole pass's time, which its sequences share.
    pub step: Step,
}

/// Running generations. Each step is one pass: of one prompt, or of one token of every sequence that has not ended.
/// It ends by returning `None`; [`Batch::stop`] then says why for each sequence.
pub struct Batch<'a> {
    model: &'a Decoder,
    policy: &'a Policy,
    interrupted: &'a AtomicBool,
    /// Sequences whose prompts are being read; empty once they have moved into the batch.
    readers: Vec<Generation<'a>>,
    /// Sequences in the batch, ended or not.
    sequences: Vec<Sequence>,
    /// Which of them the cache holds, in its order.
    live: Vec<usize>,
    cache: Option<BatchCache>,
    captured: Option<Captured<'a>>,
    stops: Vec<Option<Stop>>,
    failed: bool,
}

impl<'a> Batch<'a> {
    /// Prepares generations; nothing is computed before the first step. All requests must ask for the same attention and
    /// logits to be recorded.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        model: &'a Decoder,
        policy: &'a Policy,
        requests: Vec<(Request, Sampler)>,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, EngineError> {
        let stops = vec![None; requests.len()];
        let captured = requests.first().and_then(|(request, _)| Captured::new(model, policy, request, interrupted));
        let readers = requests
            .into_iter()
            .map(|(request, sampler)| Generation::new(model, policy, request, sampler, interrupted))
            .collect::<Result<_, _>>()?;
        let (sequences, live) = (Vec::new(), Vec::new());
        Ok(Self { model, policy, interrupted, readers, sequences, live, cache: None, captured, stops, failed: false })
    }

    /// Why a sequence ended; `None` while it goes on.
    pub fn stop(&self, sequence: usize) -> Option<Stop> {
        self.stops[sequence]
    }

    /// A sequence's ledger: who is, or was at its end, cached.
    pub fn ledger(&self, sequence: usize) -> &Ledger {
        match self.readers.get(sequence) {
            Some(reader) => reader.ledger(),
            None => self.sequences[sequence].ledger(),
        }
    }

    /// How captured steps are started now; `None` where passes are tensor operations.
    pub fn manner(&self) -> Option<Manner> {
        self.captured.as_ref().and_then(Captured::manner)
    }

    /// Allocated bytes of all caches now.
    pub fn cache_bytes(&self) -> u64 {
        let reading: u64 = self.readers.iter().map(|reader| reader.cache().bytes()).sum();
        reading + self.cache.as_ref().map_or(0, BatchCache::bytes)
    }

    /// One pass.
    fn pass(&mut self) -> Result<Option<Vec<BatchStep>>, EngineError> {
        if let Some(sequence) = self.readers.iter().position(|reader| !reader.prompt_is_read()) {
            let reader = &mut self.readers[sequence];
            return match reader.next().transpose()? {
                Some(step) => Ok(Some(vec![BatchStep { sequence, step }])),
                None => {
                    self.end_all(Stop::Interrupted);
                    Ok(None)
                }
            };
        }
        if !self.readers.is_empty() {
            let (sequences, caches) = self.readers.drain(..).map(Generation::into_parts).unzip();
            self.sequences = sequences;
            self.live = (0..self.sequences.len()).collect();
            self.cache = Some(BatchCache::join(caches)?);
        }
        let Some(tokens) = self.next_tokens()? else { return Ok(None) };
        self.decode(&tokens).map(Some)
    }

    /// The next token of every sequence that goes on; those that do not leave the batch.
    fn next_tokens(&mut self) -> Result<Option<Vec<u32>>, EngineError> {
        let inputs = self.live.iter().map(|&index| self.sequences[index].next_input(self.interrupted));
        let inputs: Vec<_> = inputs.collect();
        for (&index, input) in self.live.iter().zip(&inputs) {
            self.stops[index] = input.as_ref().err().copied();
        }
        if inputs.iter().all(Result::is_err) {
            self.live.clear();
            self.cache = None;
            return Ok(None);
        }
        for place in (0..inputs.len()).rev().filter(|&place| inputs[place].is_err()) {
            self.live.remove(place);
            if let Some(cache) = &mut self.cache {
                cache.remove(place)?;
            }
        }
        Ok(Some(inputs.into_iter().flatten().flat_map(|(_, tokens)| tokens).collect()))
    }

    fn decode(&mut self, tokens: &[u32]) -> Result<Vec<BatchStep>, EngineError> {
        let start = Instant::now();
        let Self { model, policy, interrupted, sequences, live, cache: Some(cache), captured, .. } = self else {
            return Ok(Vec::new());
        };
        if let Some(captured) = captured {
            let steps = captured.pass(&mut going(sequences, live), cache, tokens)?;
            return Ok(live.iter().zip(steps).map(|(&sequence, step)| BatchStep { sequence, step }).collect());
        }
        let request = sequences[live[0]].request();
        let (record_logits, want) = (request.record_logits, want(request, policy, interrupted));
        let outputs = model.decode(tokens, cache, want)?;
        let kv_heads = model.shape().kv_heads;
        let mut attention = Vec::with_capacity(live.len());
        let mut decisions = Vec::with_capacity(live.len());
        for (place, (&index, output)) in live.iter().zip(&outputs).enumerate() {
            let sequence = &mut sequences[index];
            sequence.append(Phase::Decode, 1, output.log_beta.as_ref(), output.key_norm.as_ref());
            let layer = |layer| cache.layer(layer);
            attention.push(sequence.observe(output.attention.as_deref(), policy, model, place * kv_heads, layer));
            decisions.push(sequence.cut(policy, model, place * kv_heads, layer)?);
        }
        let (cuts, kept): (Vec<_>, Vec<_>) = decisions.into_iter().map(apart).unzip();
        cache.keep(&kept)?;
        let newest: Vec<&Tensor> = outputs.iter().map(|output| &output.hidden).collect();
        let draws = draw_all(&mut going(sequences, live), &Tensor::cat(&newest, 0)?, model)?;
        let elapsed_us = start.elapsed().as_micros() as u64;
        let made = outputs.into_iter().zip(cuts).zip(attention).zip(draws);
        let steps = live.iter().zip(made).map(|(&sequence, (((output, cut), attention), (drawn, logits)))| {
            let own = sequences[sequence].pass(Phase::Decode, 1);
            let pass = Pass { elapsed_us, log_beta: output.log_beta, cut, attention, ..own };
            let hidden = record_logits.then_some(output.hidden);
            BatchStep { sequence, step: Step { pass, drawn, logits, hidden } }
        });
        Ok(steps.collect())
    }

    fn end_all(&mut self, stop: Stop) {
        self.stops.iter_mut().for_each(|own| *own = own.or(Some(stop)));
    }
}

/// The sequences that have not ended.
fn going<'s>(sequences: &'s mut [Sequence], live: &[usize]) -> Vec<&'s mut Sequence> {
    let all = sequences.iter_mut().enumerate();
    all.filter(|(index, _)| live.contains(index)).map(|(_, sequence)| sequence).collect()
}

impl Iterator for Batch<'_> {
    type Item = Result<Vec<BatchStep>, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.stops.iter().all(Option::is_some) {
            return None;
        }
        match self.pass() {
            Err(EngineError::Model(ModelError::Interrupted)) => {
                self.end_all(Stop::Interrupted);
                None
            }
            Err(error) => {
                self.failed = true;
                self.end_all(Stop::Interrupted);
                Some(Err(error))
            }
            Ok(steps) => steps.map(Ok),
        }
    }
}
