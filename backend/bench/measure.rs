//! One timed generation of a batch, with or without its traces.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::engine::batch::{Batch, BatchStep};
use crate::engine::generation::{EngineError, Request};
use crate::engine::sampling::{Sampler, Sampling};
use crate::model::attention::query_block;
use crate::model::captured::Manner;
use crate::model::decoder::Decoder;
use crate::policy::Policy;
use crate::trace::error::TraceError;
use crate::trace::manifest::{Manifest, Status};
use crate::trace::step::{Origin, Phase, TokenRecord};
use crate::trace::write::{Ending, TraceWriter};

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model or its policy failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A trace could not be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// What is generated.
pub struct Job<'a> {
    /// The model.
    pub model: &'a Decoder,
    /// Who is evicted.
    pub policy: &'a Policy,
    /// Prompt tokens of every sequence.
    pub context: usize,
    /// Prompt tokens per pass.
    pub prefill_chunk: Option<usize>,
    /// Decoding steps.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Chooses the prompts.
    pub seed: u64,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
}

/// Where traces go, one for each sequence, and what their manifests say.
pub struct Record<'a> {
    /// Their folder.
    pub directory: &'a Path,
    /// For every one of them.
    pub manifest: &'a Manifest,
}

/// What a run took.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    /// Reading all prompts, one after the other, with the cuts that follow.
    pub prefill_seconds: f64,
    /// Each decoding step of the batch: the pass, its cut, the draw, and handing it to the trace if there is one.
    pub step_seconds: Vec<f64>,
    /// Completing the traces after the last step.
    pub finish_seconds: Option<f64>,
    /// Cuts that removed something, over all sequences.
    pub cuts: u64,
    /// Entries they removed.
    pub evicted: u64,
    /// Entries attended over all decoding steps, sequences, layers and KV heads, the new ones included.
    pub attended: u64,
    /// Most bytes that the caches had allocated after a pass.
    pub cache_bytes: u64,
    /// How the last steps were started; see [`Batch::manner`].
    pub manner: Option<Manner>,
}

/// Generates once.
///
/// # Errors
/// When the model fails, a trace cannot be written, or the user stops it.
pub fn generate(job: &Job<'_>, record: Option<&Record<'_>>) -> Result<Timing, BenchError> {
    let prompts: Vec<Vec<u32>> = (0..job.batch).map(|sequence| prompt(job, sequence as u64)).collect();
    let mut writers: Vec<TraceWriter> = match record {
        Some(record) => (0..job.batch).map(|index| record.open(index, &prompts[index])).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let requests = prompts.into_iter().map(|prompt| (request(job, prompt), Sampler::new(Sampling::Greedy, 0)));
    let mut batch = Batch::new(job.model, job.policy, requests.collect(), job.interrupted)?;
    let mut timing = Timing::default();
    let heads = job.model.shape().heads() as u64;
    let mut cached = vec![0; job.batch];
    loop {
        let start = Instant::now();
        let Some(steps) = batch.next() else { break };
        let steps = steps?;
        let phase = steps.first().map_or(Phase::Prefill, |step| step.step.pass.phase);
        for BatchStep { sequence, step } in steps {
            if phase == Phase::Decode {
                timing.attended += cached[sequence] + heads;
            }
            cached[sequence] = step.pass.cached;
            timing.cuts += u64::from(step.pass.cut.is_some());
            timing.evicted += step.pass.cut.as_ref().map_or(0, |cut| cut.evictions.len() as u64);
            if let Some(writer) = writers.get_mut(sequence) {
                writer.pass(step.pass)?;
                if let Some(drawn) = step.drawn {
                    writer.token(token(drawn.id, Origin::Generated, Some((drawn.logprob, drawn.entropy))))?;
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        match phase {
            Phase::Prefill => timing.prefill_seconds += seconds,
            Phase::Decode => timing.step_seconds.push(seconds),
        }
        timing.cache_bytes = timing.cache_bytes.max(batch.cache_bytes());
    }
    timing.manner = batch.manner();
    if timing.step_seconds.len() < job.steps {
        return Err(BenchError::Interrupted);
    }
    if let Some(record) = record {
        let start = Instant::now();
        for (sequence, writer) in writers.into_iter().enumerate() {
            let last_scores = batch.ledger(sequence).last_scores().collect();
            record.close(writer, job, last_scores)?;
        }
        timing.finish_seconds = Some(start.elapsed().as_secs_f64());
    }
    Ok(timing)
}

impl Record<'_> {
    fn path(&self, sequence: usize) -> PathBuf {
        self.directory.join(format!("sequence-{sequence}"))
    }

    fn open(&self, sequence: usize, prompt: &[u32]) -> Result<TraceWriter, TraceError> {
        let mut writer = TraceWriter::create(&self.path(sequence), self.manifest.clone(), false)?;
        prompt.iter().try_for_each(|&id| writer.token(token(id, Origin::Prompt, None)))?;
        writer.flush()?;
        Ok(writer)
    }

    fn close(
        &self,
        writer: TraceWriter,
        job: &Job<'_>,
        last_scores: Vec<(crate::trace::step::KvHead, u32, f32)>,
    ) -> Result<(), TraceError> {
        let mut manifest = Manifest { status: Status::Complete, ..self.manifest.clone() };
        manifest.generated.tokens = job.steps as u32 + 1;
        manifest.generated.stop = Some("length".to_owned());
        manifest.seen = (job.context + job.steps) as u32;
        writer.finish(Ending { manifest, last_scores, text_tail: String::new() }).map(drop)
    }
}

fn token(id: u32, origin: Origin, drawn: Option<(f32, f32)>) -> TokenRecord {
    let (logprob, entropy) = drawn.unzip();
    TokenRecord { id, text: None, origin, role: None, class: "other", logprob, entropy }
}

/// Token ids that mean nothing, other ones for every sequence.
fn prompt(job: &Job<'_>, sequence: u64) -> Vec<u32> {
    let vocab = job.model.config().vocab as u64;
    let first = crate::policy::random::mix(job.seed ^ sequence << 32);
    (0..job.context as u64).map(|i| (crate::policy::random::mix(first ^ i) % vocab) as u32).collect()
}

/// The first token is drawn after the prompt, so one more is asked for than there are steps.
fn request(job: &Job<'_>, prompt: Vec<u32>) -> Request {
    Request {
        prompt,
        prefill_chunk: job.prefill_chunk,
        max_new_tokens: job.steps + 1,
        eos: Vec::new(),
        context: usize::MAX,
        record_attention: false,
        record_logits: false,
        query_block: query_block(job.model.device()),
    }
}
