//! `trimkv-trace bench`: how fast a model of a given shape decodes here, bounded or full, traced or not.

mod kernels;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::report::report;
use super::printer::Printer;
use super::run::{INTERRUPT, INTERRUPTED, stop_on_ctrl_c};
use crate::bench::floor::Floor;
use crate::bench::measure::{BenchError, Job, Record, Timing, generate};
use crate::engine::device::{DTypeChoice, DeviceChoice, Opened, device_name};
use crate::engine::memory::{Forecast, Load, Shortage};
use crate::model::attention::query_block;
use crate::model::builtin;
use crate::model::config::ModelConfig;
use crate::model::decoder::Decoder;
use crate::model::gate_config::GateConfig;
use crate::model::load::{Checkpoint, Wanted};
use crate::model::random::RandomWeights;
use crate::model::shape::ModelShape;
use crate::policy::{Policy, PolicyKind};
use crate::trace::manifest::{Manifest, PolicyFacts, SCHEMA, Tool};

/// Prompt and steps of the run before those that count, which loads kernels and wakes threads.
const WARM_UP: (usize, usize) = (32, 4);

/// `trimkv-trace bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Shape: tiny, qwen3-0.6b, qwen3-1.7b, qwen3-4b or qwen3-8b with random weights, or builtin with its own
    #[arg(long, value_name = "NAME", default_value = "builtin", help_heading = "Model")]
    model: Model,
    /// Where to run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Model")]
    device: DeviceChoice,
    /// Number type: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto", help_heading = "Model")]
    dtype: DTypeChoice,

    /// Prompt tokens of every sequence
    #[arg(long, value_name = "TOKENS", default_value_t = 512, help_heading = "Work")]
    context: usize,
    /// Decoding steps
    #[arg(long, value_name = "TOKENS", default_value_t = 128, help_heading = "Work")]
    generate: usize,
    /// Sequences that decode together
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Work")]
    batch: usize,
    /// Read prompts in passes of this many tokens, with a cut after each
    #[arg(long, value_name = "TOKENS", help_heading = "Work")]
    prefill_chunk: Option<usize>,
    /// Times to repeat everything; medians are told
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Work")]
    rounds: usize,
    /// Seed of weights and prompts
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Work")]
    seed: u64,

    /// Tokens each KV head keeps, or full
    #[arg(long, value_name = "TOKENS|full", default_value = "1024", help_heading = "Cache")]
    budget: Budget,
    /// Tokens it may overrun before a cut
    #[arg(long, value_name = "TOKENS", default_value_t = 128, help_heading = "Cache")]
    buffer: u32,
    /// What to evict: trimkv, trimkv-knorm, full, window, streaming-llm, h2o, snapkv, r-kv, tova, keydiff, knorm or random
    #[arg(long, value_name = "NAME", default_value = "trimkv", help_heading = "Cache")]
    policy: PolicyKind,

    /// Decoding steps as the device does them best (one graph on a GPU), or as tensor operations one by one
    #[arg(long, value_name = "HOW", default_value = "best", help_heading = "Work")]
    steps: Steps,

    /// With the trace written to a temporary folder, without, or both in alternation
    #[arg(long, value_name = "WHETHER", default_value = "both", help_heading = "Output")]
    record: Recorded,
    /// Print one JSON object instead of a table
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Time the kernels of a step alone, each against the tensor operations it stands for; nothing is generated
    #[arg(long, help_heading = "Output", conflicts_with_all = ["generate", "prefill_chunk", "seed", "policy", "record"])]
    kernels: bool,
}

#[derive(Debug, Clone, Copy)]
enum Model {
    BuiltIn,
    Shape(ModelShape),
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == builtin::NAME {
            return Ok(Self::BuiltIn);
        }
        name.parse().map(Self::Shape).map_err(|error| format!("{error}, or {}", builtin::NAME))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budget {
    Full,
    Tokens(u32),
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("full", _) => Ok(Self::Full),
            (_, Ok(tokens)) if tokens > 0 => Ok(Self::Tokens(tokens)),
            _ => Err(format!("a budget is a number of tokens, at least 1, or full, not {text:?}")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Steps {
    Best,
    Operations,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recorded {
    On,
    Off,
    Both,
}

/// A model that is ready, and what is told about it.
struct Ready {
    model: Decoder,
    gate: Option<GateConfig>,
    name: String,
    weights: &'static str,
    load_seconds: f64,
    foreseen: Forecast,
}

/// Measures and prints.
///
/// # Errors
/// When the request cannot be met.
pub fn run(args: &BenchArgs, printer: &Printer) -> Result<ExitCode> {
    ensure!(args.context > 0, "--context 0 leaves nothing to continue; give at least 1");
    ensure!(args.generate > 0, "--generate 0 times nothing; give at least 1");
    ensure!(args.batch > 0, "--batch 0 is no sequence; give at least 1");
    ensure!(args.rounds > 0, "--rounds 0 measures nothing; give at least 1");
    if args.kernels {
        return kernels::run(args, printer);
    }
    ensure!(args.prefill_chunk != Some(0), "--prefill-chunk 0 reads nothing; give at least 1");
    let tokens = args.context.saturating_add(args.generate);
    ensure!(u32::try_from(tokens).is_ok(), "{tokens} tokens are more than a trace can count; ask for fewer");
    let (kind, budget) = match args.budget {
        Budget::Tokens(budget) if args.policy != PolicyKind::Full => (args.policy, Some(budget)),
        _ => (PolicyKind::Full, None),
    };
    let policy = kind.policy(budget.unwrap_or_default(), args.buffer, args.seed)?;
    let limit = policy.rule.as_ref().map(|rule| rule.limit());
    if let Some(limit) = limit.filter(|&limit| tokens < limit) {
        printer.warning(&format!("{tokens} tokens never fill a budget and buffer of {limit}, so nothing is evicted"));
    }
    stop_on_ctrl_c()?;
    let ready = load(args, kind, &policy, printer)?;
    let timings = match measure(args, &policy, &ready, printer) {
        Err(error) if INTERRUPT.load(Ordering::Relaxed) => {
            printer.note(&format!("stopped before anything was measured in full ({error})"));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        timings => timings?,
    };
    let report = report(args, kind, budget, ready, &timings)?;
    printer.line(&if args.json { serde_json::to_string_pretty(&report)? } else { report.table() });
    Ok(ExitCode::SUCCESS)
}

/// Puts the model on its device, if everything that follows fits. Gates that nothing reads are left out: a full cache
/// must not pay for them.
fn load(args: &BenchArgs, kind: PolicyKind, policy: &Policy, printer: &Printer) -> Result<Ready> {
    let Opened { device, note } = args.device.open()?;
    note.iter().for_each(|note| printer.note(note));
    let start = Instant::now();
    let fits = |config: &ModelConfig, weights, dtype| -> Result<Forecast, Shortage> {
        let load = Load {
            config,
            weights,
            dtype,
            rule: policy.rule.as_ref(),
            evidence: policy.evidence(),
            prompt: args.context,
            prefill_chunk: args.prefill_chunk,
            generate: args.generate,
            sequences: args.batch,
            query_block: query_block(&device),
        };
        let forecast = load.forecast(&device);
        forecast.check(&device).map(|()| forecast)
    };
    let (model, gate, name, weights, foreseen) = match args.model {
        Model::BuiltIn => {
            let mut checkpoint = Checkpoint::open(&Wanted::default())?;
            if !kind.needs_gates() {
                checkpoint.take_gates();
            }
            let dtype = args.dtype.resolve(&device, checkpoint.config().stored_dtype.as_deref());
            let foreseen = fits(checkpoint.config(), checkpoint.weight_bytes(dtype), dtype)?;
            let loaded = checkpoint.load(dtype, &device)?;
            (loaded.model, loaded.gate_config, builtin::NAME, "trained", foreseen)
        }
        Model::Shape(shape) => {
            let config = shape.config();
            let dtype = args.dtype.resolve(&device, config.stored_dtype.as_deref());
            let gate = kind.needs_gates().then(|| shape.gate_config());
            let floor = Floor::of_step(&config, gate.as_ref(), dtype, 0.0, 0);
            let embedding = if config.tied { 0 } else { config.vocab * config.hidden * dtype.size_in_bytes() };
            let foreseen = fits(&config, floor.weights + floor.gates + embedding as u64, dtype)?;
            let random = RandomWeights { seed: args.seed };
            let gates = match &gate {
                Some(gate) => Some((gate.kind, random.gates(gate, &config, dtype, &device)?)),
                None => None,
            };
            (Decoder::load(config, &random, gates, dtype, &device)?, gate, shape.name, "random", foreseen)
        }
    };
    let model = if args.steps == Steps::Operations { model.on_machine(None) } else { model };
    device.synchronize()?;
    Ok(Ready { model, gate, name: name.to_owned(), weights, load_seconds: start.elapsed().as_secs_f64(), foreseen })
}

/// Per round, the run without a trace and the one with.
type Rounds = Vec<(Option<Timing>, Option<Timing>)>;

fn measure(args: &BenchArgs, policy: &Policy, ready: &Ready, printer: &Printer) -> Result<Rounds, BenchError> {
    let job = Job {
        model: &ready.model,
        policy,
        context: args.context,
        prefill_chunk: args.prefill_chunk,
        steps: args.generate,
        batch: args.batch,
        seed: args.seed,
        interrupted: &INTERRUPT,
    };
    generate(&Job { context: WARM_UP.0.min(args.context), steps: WARM_UP.1, ..job }, None)?;
    let bar = printer.progress(args.rounds as u64, "measuring");
    let manifest = manifest(ready);
    let traced = |round: usize| -> Result<Timing, BenchError> {
        let folder = Scratch::new(round);
        generate(&job, Some(&Record { directory: &folder.0, manifest: &manifest }))
    };
    let rounds = (0..args.rounds).map(|round| {
        let off = (args.record != Recorded::On).then(|| generate(&job, None)).transpose()?;
        let on = (args.record != Recorded::Off).then(|| traced(round)).transpose()?;
        bar.set(round as u64 + 1);
        Ok((off, on))
    });
    rounds.collect()
}

/// A folder of our own among the system's temporary ones, removed with everything in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(round: usize) -> Self {
        Self(std::env::temp_dir().join(format!("trimkv-trace-bench-{}-{round}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn manifest(ready: &Ready) -> Manifest {
    Manifest {
        schema: SCHEMA.to_owned(),
        id: "bench".to_owned(),
        created: String::new(),
        status: Default::default(),
        note: None,
        tool: Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        model: ready.model.config().facts(
            ready.name.clone(),
            format!("{} weights", ready.weights),
            None,
            ready.model.dtype().as_str(),
        ),
        gates: None,
        policy: PolicyFacts::default(),
        sampling: Default::default(),
        device: device_name(ready.model.device()).to_owned(),
        prompt: Default::default(),
        generated: Default::default(),
        seen: 0,
        seconds: Default::default(),
        bytes: Default::default(),
        crc32: Default::default(),
    }
}
