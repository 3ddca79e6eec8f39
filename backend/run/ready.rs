//! From a request to a run that can begin, and the run.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use super::load::{Work, load};
use super::policy::{Chosen, choose};
use super::prompt::{self, Labeller, Prompt};
use super::request::RunRequest;
use super::session::{Observer, Progress, Session};
use crate::engine::device::device_name;
use crate::engine::generation::{Generation, Request};
use crate::engine::sampling::{Sampler, Sampling};
use crate::model::attention::query_block;
use crate::model::load::{Checkpoint, Loaded, Wanted, hex};
use crate::policy::Policy;
use crate::trace::manifest::{Manifest, PromptFacts, SCHEMA, SamplingFacts, Seconds, Status, Tool};
use crate::trace::write::TraceWriter;

/// What the model is to read.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// Text.
    Text(&'a str),
    /// A JSON file of token ids.
    Ids(&'a Path),
}

/// A run that can begin: everything that can be refused has been.
pub struct Ready {
    /// The model and what came with it.
    pub loaded: Loaded,
    /// What people should know before they trust the result.
    pub warnings: Vec<String>,
    /// Which device was chosen, where there was a choice.
    pub note: Option<String>,
    /// The manifest as it is when the run begins.
    pub manifest: Manifest,
    policy: Policy,
    prompt: Prompt,
    request: Request,
    sampling: Sampling,
    seed: u64,
}

impl Ready {
    /// Loads the model, chooses the policy and reads the prompt. `file` is where the prompt came from, for the manifest.
    ///
    /// # Errors
    /// When something is missing, damaged, does not fit, or contradicts itself.
    pub fn new(asked: &RunRequest, given: Given<'_>, file: Option<String>, show_progress: bool) -> Result<Self> {
        let sampling = check(asked)?;
        let start = Instant::now();
        let checkpoint = Checkpoint::open(&Wanted {
            model: asked.model.clone(),
            gates: asked.gates.clone(),
            revision: asked.revision.clone(),
            show_progress,
        })?;
        let context = checkpoint.config().context;
        let Chosen { policy, facts, mut warnings } = choose(asked, checkpoint.gate_config(), context)?;
        let prompt = read_prompt(given, asked.raw, &checkpoint, context)?;
        let work = Work {
            rule: policy.rule.as_ref(),
            evidence: policy.evidence(),
            prompt: prompt.ids.len(),
            prefill_chunk: asked.prefill_chunk.map(|chunk| chunk as usize),
            generate: (asked.max_new_tokens as usize).min(context - prompt.ids.len()),
        };
        let (loaded, note) = load(checkpoint, asked.device, asked.dtype, Some(&work))?;
        let load = start.elapsed().as_secs_f64();
        if let Some(window) = loaded.model.config().sliding_window {
            warnings.push(format!(
                "this model was trained to attend to its last {window} tokens only; as in the authors' code, it attends here to everything cached"
            ));
        }
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            id: String::new(),
            created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            status: Status::Running,
            note: None,
            tool: Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            model: loaded.facts.clone(),
            gates: loaded.gate_facts.clone(),
            policy: facts,
            sampling: sampling_facts(sampling, asked.seed),
            device: device_name(loaded.model.device()).to_owned(),
            prompt: prompt_facts(&prompt, file),
            generated: Default::default(),
            seen: 0,
            seconds: Seconds { load, ..Seconds::default() },
            bytes: Default::default(),
            crc32: Default::default(),
        };
        let record = |what: &str| asked.record.iter().any(|recorded| recorded == what);
        let request = Request {
            prompt: prompt.ids.clone(),
            prefill_chunk: asked.prefill_chunk.map(|chunk| chunk as usize),
            max_new_tokens: asked.max_new_tokens as usize,
            eos: if asked.ignore_eos { Vec::new() } else { loaded.eos.clone() },
            context,
            record_attention: record("attention"),
            record_logits: record("logits"),
            query_block: query_block(loaded.model.device()),
        };
        Ok(Self { loaded, warnings, note, manifest, policy, prompt, request, sampling, seed: asked.seed })
    }

    /// Starts the trace that the run will be written to.
    ///
    /// # Errors
    /// When it exists or cannot be written.
    pub fn writer(&mut self, target: &Path) -> Result<TraceWriter> {
        self.manifest.id = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(TraceWriter::create(target, self.manifest.clone(), self.request.record_logits)?)
    }

    /// Tokens that may be generated at most.
    pub fn max_new_tokens(&self) -> usize {
        self.request.max_new_tokens
    }

    /// Runs to the end and gives the trace's path. What was done until then is in `progress`, errors or not.
    ///
    /// # Errors
    /// When the model fails or the trace cannot be written.
    pub fn run(
        &self,
        writer: TraceWriter,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
        progress: &mut Progress,
    ) -> Result<PathBuf> {
        let sampler = Sampler::new(self.sampling, self.seed);
        let model = &self.loaded.model;
        let generation = Generation::new(model, &self.policy, self.request.clone(), sampler, interrupted)?;
        let labeller = Labeller::new(self.loaded.tokenizer.as_ref(), &self.prompt);
        let session = Session { model, generation, writer, labeller, observer };
        session.run(&self.prompt, self.manifest.clone(), progress)
    }
}

/// Refuses what can be refused without a model.
///
/// # Errors
/// When sampling is impossible, or nothing is to be generated.
pub fn check(asked: &RunRequest) -> Result<Sampling> {
    let sampling = sampling(asked)?;
    ensure!(asked.max_new_tokens > 0, "--max-new-tokens 0 generates nothing; give at least 1");
    Ok(sampling)
}

fn read_prompt(given: Given<'_>, raw: bool, checkpoint: &Checkpoint, context: usize) -> Result<Prompt> {
    let vocab = checkpoint.config().vocab;
    let prompt = match given {
        Given::Ids(path) => prompt::from_ids(prompt::read_ids(path, vocab)?),
        Given::Text(text) => prompt::encode(text, raw, checkpoint.tokenizer(), checkpoint.template(), vocab)?,
    };
    let tokens = prompt.ids.len();
    ensure!(
        tokens <= context,
        "the prompt has {tokens} tokens, and the model's context is {context}; shorten the prompt or use a model with a longer context"
    );
    Ok(prompt)
}

fn sampling(args: &RunRequest) -> Result<Sampling> {
    let temperature = args.temperature.unwrap_or(1.0);
    let top_p = args.top_p.unwrap_or(1.0);
    ensure!(
        temperature >= 0.0 && temperature.is_finite(),
        "--temperature must be 0 (greedy) or more, not {temperature}"
    );
    ensure!(top_p > 0.0 && top_p <= 1.0, "--top-p is a share and must lie in (0, 1], not {top_p}");
    let asked = args.temperature.is_some() || args.top_p.is_some();
    Ok(if asked && temperature > 0.0 { Sampling::Nucleus { temperature, top_p } } else { Sampling::Greedy })
}

fn sampling_facts(sampling: Sampling, seed: u64) -> SamplingFacts {
    match sampling {
        Sampling::Greedy => SamplingFacts { greedy: true, temperature: None, top_p: None, seed },
        Sampling::Nucleus { temperature, top_p } => {
            SamplingFacts { greedy: false, temperature: Some(temperature), top_p: Some(top_p), seed }
        }
    }
}

fn prompt_facts(prompt: &Prompt, file: Option<String>) -> PromptFacts {
    let bytes: Vec<u8> = prompt.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    PromptFacts { tokens: prompt.ids.len() as u32, sha256: hex(&Sha256::digest(bytes)), file }
}
