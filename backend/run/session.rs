//! One run: the generation's steps, recorded and shown as they come.

use std::path::PathBuf;

use anyhow::{Error, Result};

use super::prompt::{Labeller, Prompt, drawn_record};
use crate::engine::generation::{Generation, Step, Stop};
use crate::model::decoder::Decoder;
use crate::trace::manifest::{Manifest, Status};
use crate::trace::step::{Pass, Phase, TokenRecord};
use crate::trace::write::{Ending, TraceWriter};

/// Rows of logits computed at once when every position's are recorded.
const LOGIT_ROWS: usize = 32;

/// What a run has come to, so far or at its end.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Generated token ids.
    pub ids: Vec<u32>,
    /// Their text, where there is a tokenizer.
    pub text: String,
    /// Tokens seen.
    pub seen: u32,
    /// Entries evicted over all heads.
    pub evicted: u64,
    /// Cuts that removed something.
    pub cuts: u32,
    /// Entries cached now over all heads.
    pub cached: u64,
    /// Allocated cache bytes now.
    pub cache_bytes: u64,
    /// Most cache bytes ever allocated.
    pub cache_peak_bytes: u64,
    /// Bytes of the cache had every token been kept.
    pub full_bytes: u64,
    /// Seconds spent on the prompt.
    pub prefill_seconds: f64,
    /// Seconds spent on generated tokens.
    pub decode_seconds: f64,
    /// Passes over generated tokens.
    pub decode_passes: u32,
    /// Why it ended.
    pub stop: Option<Stop>,
}

/// Watches a run, step by step. A step is told as its pass, then its token, then what the run has come to.
pub trait Observer {
    /// The next token of the text, prompt first.
    fn token(&mut self, _token: &TokenRecord) {}
    /// A forward pass and its cut.
    fn pass(&mut self, _pass: &Pass) {}
    /// A piece of generated text, special tokens left out.
    fn text(&mut self, _text: &str) {}
    /// The step is over.
    fn step(&mut self, _progress: &Progress) {}
}

/// A run that is being recorded.
pub struct Session<'a> {
    /// The model, for logits.
    pub model: &'a Decoder,
    /// What happens.
    pub generation: Generation<'a>,
    /// Where it is written.
    pub writer: TraceWriter,
    /// Gives tokens their text.
    pub labeller: Labeller<'a>,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

impl Session<'_> {
    /// Runs to the end, or to the first error. What was done until then is in `progress` either way.
    ///
    /// # Errors
    /// When the model fails or the trace cannot be written.
    pub fn run(mut self, prompt: &Prompt, mut manifest: Manifest, progress: &mut Progress) -> Result<PathBuf> {
        for token in &prompt.records {
            self.record(token.clone())?;
        }
        self.writer.flush()?;
        while let Some(step) = self.generation.next() {
            self.step(step?, progress)?;
        }
        let stop = self.generation.stop().unwrap_or(Stop::Interrupted);
        progress.stop = Some(stop);
        manifest.status = if stop == Stop::Interrupted { Status::Interrupted } else { Status::Complete };
        manifest.generated.tokens = progress.ids.len() as u32;
        manifest.generated.stop = Some(stop.as_str().to_owned());
        manifest.seen = progress.seen;
        manifest.seconds.prefill = progress.prefill_seconds;
        manifest.seconds.decode = progress.decode_seconds;
        manifest.bytes.cache_now = progress.cache_bytes;
        manifest.bytes.cache_peak = progress.cache_peak_bytes;
        manifest.bytes.cache_full = progress.full_bytes;
        let text_tail = self.labeller.finish();
        self.observer.text(&text_tail);
        progress.text.push_str(&text_tail);
        let last_scores = self.generation.ledger().last_scores().collect();
        self.writer.finish(Ending { manifest, last_scores, text_tail }).map_err(Error::from)
    }

    fn step(&mut self, step: Step, progress: &mut Progress) -> Result<()> {
        self.record_logits(&step)?;
        let Step { pass, drawn, .. } = step;
        let seconds = pass.elapsed_us as f64 / 1e6;
        match pass.phase {
            Phase::Prefill => progress.prefill_seconds += seconds,
            Phase::Decode => {
                progress.decode_seconds += seconds;
                progress.decode_passes += 1;
            }
        }
        progress.seen = pass.tokens_seen;
        progress.cached = pass.cached;
        progress.evicted += pass.cut.as_ref().map_or(0, |cut| cut.evictions.len() as u64);
        progress.cuts += u32::from(pass.cut.is_some());
        progress.cache_bytes = self.generation.cache().bytes();
        progress.cache_peak_bytes = self.generation.cache().peak_bytes();
        progress.full_bytes = full_cache_bytes(self.model, progress.seen);
        self.observer.pass(&pass);
        self.writer.pass(pass)?;
        if let Some(drawn) = drawn {
            progress.ids.push(drawn.id);
            let token = self.record(drawn_record(drawn))?;
            let text = token.text.unwrap_or_default();
            if token.class != "special" {
                self.observer.text(&text);
            }
            progress.text.push_str(&text);
        }
        self.observer.step(progress);
        Ok(())
    }

    fn record(&mut self, mut token: TokenRecord) -> Result<TokenRecord> {
        self.labeller.label(&mut token)?;
        self.observer.token(&token);
        self.writer.token(token.clone())?;
        Ok(token)
    }

    /// Every position the pass fed: the last one's logits are there already, the others follow from hidden states.
    fn record_logits(&mut self, step: &Step) -> Result<()> {
        if !self.writer.records_logits() {
            return Ok(());
        }
        if let Some(hidden) = &step.hidden {
            let before = step.pass.tokens_seen - step.pass.fed;
            let earlier = step.pass.fed as usize - 1;
            for start in (0..earlier).step_by(LOGIT_ROWS) {
                let count = LOGIT_ROWS.min(earlier - start);
                let rows = self.model.logits(&hidden.narrow(0, start, count)?)?.to_vec2::<f32>()?;
                for (offset, row) in rows.iter().enumerate() {
                    self.writer.logits(before + (start + offset) as u32 + 1, row)?;
                }
            }
        }
        Ok(self.writer.logits(step.pass.tokens_seen, &step.logits)?)
    }
}

/// Bytes of keys and values had every one of `seen` tokens been kept.
fn full_cache_bytes(model: &Decoder, seen: u32) -> u64 {
    u64::from(seen) * model.config().cache_bytes_per_token(model.dtype().size_in_bytes())
}
