//! `trimkv-trace train`: learns retention gates for a frozen model.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::printer::Printer;
use super::run::{INTERRUPT, INTERRUPTED, stop_on_ctrl_c};
use crate::engine::device::{DTypeChoice, DeviceChoice};
use crate::model::builtin;
use crate::model::config::Architecture;
use crate::model::gate_config::{GateConfig, GateKind};
use crate::model::load::{Checkpoint, Loaded, Wanted};
use crate::run::load::load;
use crate::training::capacity::{CapacityScope, Normalisation};
use crate::training::checkpoint::{Description, SavedState};
use crate::training::documents::{Document, Reader};
use crate::training::settings::{LossOn, Settings};
use crate::training::trainer::Trainer;
use crate::training_log::LogRow;

const EXAMPLES: &str = "\
Examples:
  gates for the built-in model, as its own were made:
    trimkv-trace train --data builtin --max-documents 1200 \\
        --loss-on answers --budget 16 --buffer 8 --gate-bias 2.8 \\
        --weight-decay 0.5 --learning-rate 3e-3 --steps 250 --seed 1 -o gates
  from a folder of text files:
    trimkv-trace train --data texts/ --pack --budget 32 -o gates
  for another model:
    trimkv-trace train --data chats.jsonl --loss-on answers \\
        --model Qwen/Qwen3-0.6B --context 4096 --budget 512 --steps 2000 \\
        -o gates
  go on after an interruption:
    trimkv-trace train --resume gates
  trace with the new gates:
    trimkv-trace prompt.txt --gates gates

A line of docs.jsonl is {\"text\": ...}, {\"messages\": [{\"role\": ..., \"content\": ...}, ...]} or {\"ids\": [...]}.";

/// Seconds between lines of progress where nothing can move.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Steps over which the first and last losses of the summary are averaged.
const AVERAGED: usize = 10;

/// `trimkv-trace train`.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, allow_negative_numbers = true)]
pub struct TrainArgs {
    /// Training data: a JSONL file, a directory of text files, or builtin (generated documents)
    #[arg(long, value_name = "FILE|DIR|builtin", required_unless_present = "resume", help_heading = "Data")]
    data: Option<PathBuf>,
    /// Positions the quality loss is taken at: all, or answers (the assistant's tokens)
    #[arg(long, value_name = "WHICH", default_value = "all", help_heading = "Data")]
    loss_on: LossOn,
    /// Join documents to rows of the full context
    #[arg(long, help_heading = "Data")]
    pack: bool,
    /// Most tokens of a row; longer documents become several [default: 512, or the model's context if shorter]
    #[arg(long, value_name = "TOKENS", help_heading = "Data")]
    context: Option<usize>,
    /// Use this many documents, from the first on
    #[arg(long, value_name = "N", help_heading = "Data")]
    max_documents: Option<usize>,

    /// Frozen model: builtin, a directory, or owner/name on the Hugging Face hub [default: builtin]
    #[arg(long, value_name = "NAME|DIR|REPO", help_heading = "Model")]
    model: Option<String>,
    /// Gates to start from, instead of new ones: a directory or a repository
    #[arg(long, value_name = "DIR|REPO", help_heading = "Model")]
    gates: Option<String>,
    /// Branch, tag or commit of what comes from the hub
    #[arg(long, value_name = "REV", help_heading = "Model")]
    revision: Option<String>,
    /// Where to run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Model")]
    device: DeviceChoice,
    /// Number type of the frozen model: auto, f32 or bf16; gates, scores and losses are f32
    #[arg(long, default_value = "auto", help_heading = "Model")]
    dtype: DTypeChoice,

    /// Form of the gates: rg, rg2, rg3 or rg10 [default: rg, or that of --gates]
    #[arg(long, value_name = "KIND", help_heading = "Gates")]
    gate: Option<GateKind>,
    /// Width inside a gate [default: 512; 1024 for Phi-3, 64 for models narrower than 512]
    #[arg(long, value_name = "N", help_heading = "Gates")]
    gate_width: Option<usize>,
    /// First bias of new gates: larger remembers longer [default: ln(4 x context), at most 18]
    #[arg(long, value_name = "LOGIT", help_heading = "Gates")]
    gate_bias: Option<f64>,
    /// Tokens each KV head should get by with [default: an eighth of the context]
    #[arg(long, value_name = "TOKENS", help_heading = "Gates")]
    budget: Option<u32>,
    /// Overrun before a cut, for runs with these gates [default: a quarter of the budget, at most 128]
    #[arg(long, value_name = "TOKENS", help_heading = "Gates")]
    buffer: Option<u32>,

    /// Normalisation of the capacity loss: authors, paper or tokens
    #[arg(long, value_name = "HOW", default_value = "authors", help_heading = "Loss")]
    capacity: Normalisation,
    /// Who shares a budget in the capacity loss: head or global [default: head; global for rg10 gates]
    #[arg(long, value_name = "WHO", help_heading = "Loss")]
    scope: Option<CapacityScope>,
    /// Weight of KL(frozen model || gated model)
    #[arg(long, value_name = "W", default_value_t = 0.5, help_heading = "Loss")]
    kl_weight: f64,
    /// Weight of the next-token loss
    #[arg(long, value_name = "W", default_value_t = 0.5, help_heading = "Loss")]
    ntp_weight: f64,
    /// Weight of the capacity loss
    #[arg(long, value_name = "W", default_value_t = 1.0, help_heading = "Loss")]
    capacity_weight: f64,

    /// Steps of the run
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Optimisation")]
    steps: u64,
    /// Rows per step
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Optimisation")]
    rows: usize,
    /// Highest learning rate [default: 2e-4; 5e-3 for gates narrower than 256]
    #[arg(long, value_name = "RATE", help_heading = "Optimisation")]
    learning_rate: Option<f64>,
    /// Learning rate at the end of its cosine
    #[arg(long, value_name = "RATE", default_value_t = 1e-6, help_heading = "Optimisation")]
    floor_rate: f64,
    /// Steps of warm-up [default: 100, at most a tenth of the run]
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    warmup: Option<u64>,
    /// Decoupled decay of weights; biases are spared
    #[arg(long, value_name = "RATE", default_value_t = 0.01, help_heading = "Optimisation")]
    weight_decay: f64,
    /// Largest norm of a step's gradient
    #[arg(long, value_name = "NORM", default_value_t = 1.0, help_heading = "Optimisation")]
    clip: f64,
    /// End the run when KL and capacity loss are this many times their recent average; 0 never does
    #[arg(long, value_name = "TIMES", default_value_t = 5.0, help_heading = "Optimisation")]
    spike: f64,
    /// Seed of new gates and of the order of documents
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Optimisation")]
    seed: u64,

    /// Directory of the gates
    #[arg(short, long, value_name = "DIR", required_unless_present = "resume", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Go on with the run saved in this directory, with its settings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "out", "model", "gates"], help_heading = "Output")]
    resume: Option<PathBuf>,
    /// Steps between saves
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Output")]
    save_every: u64,
    /// Print one JSON object instead of a summary
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    json: bool,
    /// Print the gates' path and nothing else
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// Trains gates.
///
/// # Errors
/// When the request cannot be met.
pub fn run(args: TrainArgs, printer: &Printer) -> Result<ExitCode> {
    match args.resume.clone() {
        Some(directory) => resume(&args, &directory, printer),
        None => begin(&args, printer),
    }
}

fn begin(args: &TrainArgs, printer: &Printer) -> Result<ExitCode> {
    let (Some(data), Some(out)) = (&args.data, &args.out) else { bail!("give --data and -o, or --resume") };
    ensure!(
        !out.exists(),
        "{} exists; choose another name with -o, remove it, or go on with it by --resume",
        out.display()
    );
    ensure!(out.file_name().is_some(), "-o {} names no directory; give the gates a name", out.display());
    let wanted = Wanted {
        model: args.model.clone().or_else(|| args.gates.is_none().then(|| builtin::NAME.to_owned())),
        gates: args.gates.clone(),
        revision: args.revision.clone(),
        show_progress: printer.is_interactive() && !args.json,
    };
    let mut checkpoint = Checkpoint::open(&wanted)?;
    let gates = checkpoint.take_gates().filter(|_| args.gates.is_some());
    let known = gates.as_ref().map(|gates| &gates.config);
    let mut settings = settings(args, data, &checkpoint, known);
    settings.check(checkpoint.config().context)?;
    let description =
        Description { base_config: checkpoint.config_text().to_owned(), base_model: checkpoint.base_name() };
    let loaded = load_said(checkpoint, args.device, args.dtype, printer)?;
    settings.dtype = loaded.model.dtype().as_str().to_owned();
    let documents = read(&settings, &loaded)?;
    let trainer = Trainer::begin(&loaded.model, &documents, settings, gates.as_ref())?;
    // The first save finds out before hours of work whether there is a place for its result.
    trainer.save(out, &description)?;
    train(trainer, out, &description, args, printer)
}

/// Puts the model on its device, and says which where there was a choice.
fn load_said(checkpoint: Checkpoint, device: DeviceChoice, dtype: DTypeChoice, printer: &Printer) -> Result<Loaded> {
    let (loaded, note) = load(checkpoint, device, dtype, None)?;
    note.iter().for_each(|note| printer.note(note));
    Ok(loaded)
}

fn resume(args: &TrainArgs, directory: &Path, printer: &Printer) -> Result<ExitCode> {
    let saved = SavedState::open(directory)?;
    let settings = saved.settings().clone();
    let wanted = Wanted {
        model: settings.model.clone().or_else(|| settings.gates.is_none().then(|| builtin::NAME.to_owned())),
        gates: settings.gates.clone(),
        revision: settings.revision.clone(),
        show_progress: printer.is_interactive() && !args.json,
    };
    let mut checkpoint = Checkpoint::open(&wanted)?;
    checkpoint.take_gates();
    let description =
        Description { base_config: checkpoint.config_text().to_owned(), base_model: checkpoint.base_name() };
    let dtype = settings.dtype.parse().map_err(anyhow::Error::msg)?;
    let loaded = load_said(checkpoint, args.device, dtype, printer)?;
    let documents = read(&settings, &loaded)?;
    let trainer = Trainer::resume(&loaded.model, &documents, saved, directory)?;
    train(trainer, directory, &description, args, printer)
}

/// The one place that knows where training documents come from.
fn read(settings: &Settings, loaded: &Loaded) -> Result<Vec<Document>> {
    let reader = Reader {
        tokenizer: loaded.tokenizer.as_ref(),
        template: &loaded.template,
        vocab: loaded.model.config().vocab,
        loss_on: settings.loss_on,
        pack: settings.pack,
        context: settings.context,
        max_documents: settings.max_documents,
    };
    Ok(reader.read(Path::new(&settings.data))?)
}

fn settings(args: &TrainArgs, data: &Path, checkpoint: &Checkpoint, gates: Option<&GateConfig>) -> Settings {
    let model = checkpoint.config();
    let context = args.context.unwrap_or(model.context.min(512));
    let kind = args.gate.or(gates.map(|gates| gates.kind)).unwrap_or(GateKind::Rg);
    let usual_width = match (model.architecture, model.hidden) {
        (_, ..512) => 64,
        (Architecture::Phi3, _) => 1024,
        _ => 512,
    };
    let gate_width = args.gate_width.or(gates.map(|gates| gates.intermediate)).unwrap_or(usual_width);
    let budget = args.budget.unwrap_or((context / 8).max(1) as u32);
    let usual_scope = if kind == GateKind::Rg10 { CapacityScope::Global } else { CapacityScope::Head };
    Settings {
        model: args.model.clone(),
        gates: args.gates.clone(),
        revision: args.revision.clone(),
        data: data.display().to_string(),
        loss_on: args.loss_on,
        pack: args.pack,
        context,
        max_documents: args.max_documents,
        gate: kind.as_str().to_owned(),
        gate_width,
        gate_bias: args.gate_bias.unwrap_or((4.0 * context as f64).ln().min(18.0)),
        budget,
        buffer: args.buffer.unwrap_or((budget / 4).clamp(1, 128)),
        capacity: args.capacity.as_str().to_owned(),
        scope: args.scope.unwrap_or(usual_scope).as_str().to_owned(),
        kl_weight: args.kl_weight,
        ntp_weight: args.ntp_weight,
        capacity_weight: args.capacity_weight,
        steps: args.steps,
        rows: args.rows,
        learning_rate: args.learning_rate.unwrap_or(if gate_width < 256 { 5e-3 } else { 2e-4 }),
        floor_rate: args.floor_rate,
        warmup: args.warmup.unwrap_or((args.steps / 10).min(100)),
        weight_decay: args.weight_decay,
        clip: args.clip,
        spike: args.spike,
        save_every: args.save_every,
        seed: args.seed,
        dtype: String::new(),
    }
}

fn train(
    mut trainer: Trainer<'_>,
    out: &Path,
    description: &Description,
    args: &TrainArgs,
    printer: &Printer,
) -> Result<ExitCode> {
    stop_on_ctrl_c()?;
    let first = trainer.rows().len();
    let mut progress = Progress::start(printer, &trainer, args.json);
    while !trainer.is_done() && !INTERRUPT.load(Ordering::Relaxed) {
        let row = trainer.step()?.clone();
        progress.step(printer, &row);
        if trainer.step_count().is_multiple_of(trainer.settings().save_every) || trainer.is_done() {
            trainer.save(out, description)?;
        }
    }
    progress.stop();
    let interrupted = !trainer.is_done();
    if interrupted {
        trainer.save(out, description)?;
    }
    tell(&trainer, first, out, args, printer);
    Ok(if interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The end of a run, for programs.
#[derive(Serialize)]
struct Told {
    gates: String,
    status: &'static str,
    steps: u64,
    kl: Option<f32>,
    ntp: Option<f32>,
    capacity: Option<f32>,
    soft_size: Option<f32>,
    last_soft_size: Option<f32>,
    tokens: u64,
    seconds: f32,
    tokens_per_second: f32,
}

fn tell(trainer: &Trainer<'_>, first: usize, out: &Path, args: &TrainArgs, printer: &Printer) {
    let rows = &trainer.rows()[first..];
    let mean = |rows: &[LogRow], value: fn(&LogRow) -> f32| {
        (!rows.is_empty()).then(|| rows.iter().map(value).sum::<f32>() / rows.len() as f32)
    };
    let (start, end) = (&rows[..rows.len().min(AVERAGED)], &rows[rows.len().saturating_sub(AVERAGED)..]);
    let seconds = rows.last().map_or(0.0, |row| row.seconds);
    let tokens: u64 = rows.iter().map(|row| u64::from(row.tokens)).sum();
    let status = if trainer.is_done() { "complete" } else { "interrupted" };
    let told = Told {
        gates: out.display().to_string(),
        status,
        steps: trainer.step_count(),
        kl: mean(end, |row| row.kl),
        ntp: mean(end, |row| row.ntp),
        capacity: mean(end, |row| row.capacity),
        soft_size: mean(end, LogRow::soft_size),
        last_soft_size: mean(end, LogRow::last_soft_size),
        tokens,
        seconds,
        tokens_per_second: if seconds > 0.0 { tokens as f32 / seconds } else { 0.0 },
    };
    if args.json {
        printer.line(&serde_json::to_string(&told).unwrap_or_default());
        return;
    }
    printer.line(&told.gates);
    let change = |name: &str, value: fn(&LogRow) -> f32, digits: usize| {
        if let (Some(from), Some(to)) = (mean(start, value), mean(end, value)) {
            printer.row(name, &format!("{from:.digits$} -> {to:.digits$}"));
        }
    };
    change("kl", |row| row.kl, 4);
    change("next", |row| row.ntp, 3);
    change("capacity", |row| row.capacity, 4);
    change("size", LogRow::last_soft_size, 1);
    let rate = told.tokens_per_second;
    let word = if trainer.is_done() { "steps" } else { "steps (interrupted)" };
    printer.row("run", &format!("{} {word}, {tokens} tokens in {seconds:.1} s, {rate:.0} tokens/s", told.steps));
    let next = if trainer.is_done() { "trimkv-trace prompt.txt --gates" } else { "trimkv-trace train --resume" };
    printer.row("next", &format!("{next} {}", told.gates));
}

/// Shows how far a run is: a bar on a terminal, else a line now and then.
struct Progress {
    bar: Option<ProgressBar>,
    said: Instant,
    began: Instant,
    first: u64,
    steps: u64,
    silent: bool,
}

impl Progress {
    fn start(printer: &Printer, trainer: &Trainer<'_>, silent: bool) -> Self {
        let (first, steps) = (trainer.step_count(), trainer.settings().steps);
        let bar = (printer.is_interactive() && !silent).then(|| {
            let bar = ProgressBar::new(steps).with_position(first);
            // Without a style of ours the bar has its own.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} step {pos}/{len}  {msg}  {eta} left") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, said: Instant::now(), began: Instant::now(), first, steps, silent }
    }

    fn step(&mut self, printer: &Printer, row: &LogRow) {
        let facts = format!(
            "kl {:.4}  next {:.3}  capacity {:.4}  size {:.1}",
            row.kl,
            row.ntp,
            row.capacity,
            row.last_soft_size()
        );
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(row.step));
            bar.set_message(facts);
        } else if !self.silent && (self.said.elapsed() >= LINE_EVERY || u64::from(row.step) == self.steps) {
            let done = u64::from(row.step) - self.first;
            let left = self.began.elapsed().as_secs_f64() / done as f64 * (self.steps - u64::from(row.step)) as f64;
            printer.note(&format!("step {}/{}  {facts}  {left:.0} s left", row.step, self.steps));
            self.said = Instant::now();
        }
    }

    fn stop(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
