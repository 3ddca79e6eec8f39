//! `trimkv-trace PROMPT`: one generation, traced.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::args::RunArgs;
use super::load::{Work, load};
use super::policy::{Chosen, choose};
use super::printer::Printer;
use super::prompt::{self, Labeller, Prompt};
use super::session::{Progress, Session, full_cache_bytes};
use super::summary::Summary;
use crate::engine::device::device_name;
use crate::engine::generation::{Generation, Request, Stop};
use crate::engine::sampling::{Sampler, Sampling};
use crate::model::attention::query_block;
use crate::model::load::{Checkpoint, Wanted, hex};
use crate::trace::files::{name, partial};
use crate::trace::manifest::{Manifest, PromptFacts, SCHEMA, SamplingFacts, Seconds, Status, Tool};
use crate::trace::write::TraceWriter;

/// Exit code of a run that the user stopped, as shells count it.
pub(super) const INTERRUPTED: u8 = 130;
/// Directory of traces unless told otherwise.
const TRACES: &str = "traces";

/// Set by the first Ctrl-C; a second one ends the program at once.
pub(super) static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Traces one generation.
///
/// # Errors
/// When the request cannot be met.
pub fn run(args: RunArgs, printer: &Printer) -> Result<ExitCode> {
    let sampling = sampling(&args)?;
    ensure!(args.max_new_tokens > 0, "--max-new-tokens 0 generates nothing; give at least 1");
    // Whatever can be refused without a model is refused before one is loaded.
    let text = args.prompt.as_deref().map(prompt::read_text).transpose()?;
    let target = target(&args)?;
    let spinner = Spinner::start(printer, "loading the model");
    let start = Instant::now();
    let checkpoint = Checkpoint::open(&Wanted {
        model: args.model.clone(),
        gates: args.gates.clone(),
        revision: args.revision.clone(),
        show_progress: printer.is_interactive() && !args.json,
    })?;
    let context = checkpoint.config().context;
    let Chosen { policy, facts, warnings } = choose(&args, checkpoint.gate_config(), context)?;
    let prompt = read_prompt(&args, text.as_deref(), &checkpoint, context)?;
    let work = Work {
        rule: policy.rule.as_ref(),
        prompt: prompt.ids.len(),
        prefill_chunk: args.prefill_chunk.map(|chunk| chunk as usize),
        generate: (args.max_new_tokens as usize).min(context - prompt.ids.len()),
    };
    let loaded = load(checkpoint, args.device, args.dtype, Some(&work), printer)?;
    let load = start.elapsed().as_secs_f64();
    warnings.iter().for_each(|warning| printer.warning(warning));
    if let Some(window) = loaded.model.config().sliding_window {
        printer.warning(&format!(
            "this model was trained to attend to its last {window} tokens only; as in the authors' code, it attends here to everything cached"
        ));
    }

    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        id: target.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        status: Status::Running,
        tool: Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        model: loaded.facts.clone(),
        gates: loaded.gate_facts.clone(),
        policy: facts,
        sampling: sampling_facts(sampling, args.seed),
        device: device_name(loaded.model.device()).to_owned(),
        prompt: prompt_facts(&args, &prompt),
        generated: Default::default(),
        seen: 0,
        seconds: Seconds { load, ..Seconds::default() },
        bytes: Default::default(),
        crc32: Default::default(),
    };
    stop_on_ctrl_c()?;
    let record = |what: &str| args.record.iter().any(|recorded| recorded == what);
    let request = Request {
        prompt: prompt.ids.clone(),
        prefill_chunk: args.prefill_chunk.map(|chunk| chunk as usize),
        max_new_tokens: args.max_new_tokens as usize,
        eos: if args.ignore_eos { Vec::new() } else { loaded.eos.clone() },
        context,
        record_attention: record("attention"),
        record_logits: record("logits"),
        query_block: query_block(loaded.model.device()),
    };
    let sampler = Sampler::new(sampling, args.seed);
    let generation = Generation::new(&loaded.model, &policy, request, sampler, &INTERRUPT)?;
    let writer = TraceWriter::create(&target, manifest.clone(), record("logits"))?;
    spinner.say("reading the prompt");
    let shows_text = !args.json && !args.quiet;
    let show = |text: &str| {
        spinner.stop();
        if shows_text {
            printer.result(text);
        }
    };
    let labeller = Labeller::new(loaded.tokenizer.as_ref(), &prompt);
    let session = Session { model: &loaded.model, generation, writer, labeller, show: &show };
    let mut progress = Progress::default();
    let outcome = session.run(&prompt, manifest.clone(), &mut progress);
    spinner.stop();
    if shows_text {
        let ids = || progress.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        printer.line(&if loaded.tokenizer.is_some() { String::new() } else { ids() });
    }
    let unfinished = partial(&target);
    let summary = Summary {
        manifest: &manifest,
        progress: &progress,
        trace: outcome.as_deref().unwrap_or(&unfinished),
        full_bytes: full_cache_bytes(&loaded.model, progress.seen),
        has_text: loaded.tokenizer.is_some(),
    };
    tell(&args, printer, &summary, outcome.as_ref().err());
    outcome?;
    Ok(if progress.stop == Some(Stop::Interrupted) { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn tell(args: &RunArgs, printer: &Printer, summary: &Summary<'_>, error: Option<&anyhow::Error>) {
    if args.json {
        printer.line(&summary.json(error));
    } else if error.is_none() && args.quiet {
        printer.line(&summary.trace.display().to_string());
    } else if error.is_none() {
        printer.note("");
        summary.print(printer);
    }
}

fn read_prompt(args: &RunArgs, text: Option<&str>, checkpoint: &Checkpoint, context: usize) -> Result<Prompt> {
    let vocab = checkpoint.config().vocab;
    let prompt = match (&args.prompt_ids, text) {
        (Some(path), _) => prompt::from_ids(prompt::read_ids(path, vocab)?),
        (None, Some(text)) => prompt::encode(text, args.raw, checkpoint.tokenizer(), checkpoint.template(), vocab)?,
        (None, None) => bail!("no prompt; name a text file, or - for standard input"),
    };
    let tokens = prompt.ids.len();
    ensure!(
        tokens <= context,
        "the prompt has {tokens} tokens, and the model's context is {context}; shorten the prompt or use a model with a longer context"
    );
    Ok(prompt)
}

fn sampling(args: &RunArgs) -> Result<Sampling> {
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

fn prompt_facts(args: &RunArgs, prompt: &Prompt) -> PromptFacts {
    let bytes: Vec<u8> = prompt.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let file = args.prompt_ids.as_deref().or(args.prompt.as_deref()).filter(|path| *path != Path::new("-"));
    PromptFacts {
        tokens: prompt.ids.len() as u32,
        sha256: hex(&Sha256::digest(bytes)),
        file: file.map(|path| path.display().to_string()),
    }
}

/// Where the trace will be. A directory that exists and is no trace holds the trace inside it.
fn target(args: &RunArgs) -> Result<PathBuf> {
    let parent = match &args.out {
        Some(out) if !out.is_dir() || out.join(name::MANIFEST).exists() => {
            ensure!(out.file_name().is_some(), "--out {} names no directory; give the trace a name", out.display());
            let taken = [out.clone(), partial(out)].into_iter().find(|path| path.exists());
            if let Some(taken) = taken {
                bail!("{} exists; choose another name with --out, or remove it", taken.display());
            }
            return Ok(out.clone());
        }
        Some(out) => out.clone(),
        None => PathBuf::from(TRACES),
    };
    let given = args.prompt_ids.as_deref().or(args.prompt.as_deref()).unwrap_or(Path::new("-"));
    let stem =
        if given == Path::new("-") { "stdin".into() } else { given.file_stem().unwrap_or_default().to_string_lossy() };
    let slug: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let slug = slug.trim_start_matches(['.', '-']);
    let time = chrono::Utc::now().format("%Y%m%d-%H%M%S");
    let base = format!("{}-{time}", if slug.is_empty() { "prompt" } else { slug });
    let names = std::iter::once(base.clone()).chain((2..1000).map(|again| format!("{base}-{again}")));
    let free = names.map(|name| parent.join(name)).find(|path| !path.exists() && !partial(path).exists());
    free.context("too many runs in one second; name the trace with --out")
}

pub(super) fn stop_on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPT.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// Shows that something is going on while there is nothing else to show.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn start(printer: &Printer, message: &'static str) -> Self {
        let bar = printer.is_interactive().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.set_message(message);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self(bar)
    }

    fn say(&self, message: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(message);
        }
    }

    fn stop(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
