//! `trimkv-trace synth`: a trace of any size with planted roles, through the ledger and the writer of real runs.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::printer::Printer;
use crate::policy::random::Random;
use crate::policy::retention::Retention;
use crate::policy::{CutRule, EvictionPolicy, Policy};
use crate::synth::plant::HeadPlan;
use crate::synth::run::{Recipe, SyntheticRun};
use crate::trace::manifest::{
    GateFacts, GeneratedFacts, Manifest, ModelFacts, PolicyFacts, PromptFacts, SCHEMA, SamplingFacts, Status, Tool,
};
use crate::trace::step::Shape;
use crate::trace::write::{Ending, TraceWriter};

/// More (layer, head, token) entries than this do not fit the memory of a usual machine: 12 bytes each.
const MOST_ENTRIES: u64 = 1 << 30;

/// `trimkv-trace synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Directory of the trace to make
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Layers
    #[arg(long, default_value_t = 5)]
    pub layers: u16,
    /// KV heads per layer
    #[arg(long, default_value_t = 4)]
    pub heads: u16,
    /// Tokens, prompt included
    #[arg(long, default_value_t = 1000)]
    pub tokens: u32,
    /// Tokens of the prompt [default: three tenths of all]
    #[arg(long)]
    pub prompt: Option<u32>,
    /// Tokens of the prompt read in one pass
    #[arg(long, value_name = "TOKENS", default_value_t = 4096)]
    pub prefill_chunk: u32,
    /// Tokens each KV head keeps
    #[arg(long, default_value_t = 32)]
    pub budget: u32,
    /// Tokens it may overrun before a cut
    #[arg(long, default_value_t = 8)]
    pub buffer: u32,
    /// Chooses text and gates
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Share of tokens that a head takes for another kind
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub noise: f64,
    /// Roles, dealt to the heads in turn: sink, window, double-window, gist, content:digit,
    /// content:operator, content:name, selector, front-loaded, frozen, random; sink+gist gives one
    /// head both [default: each in turn]
    #[arg(
        long,
        value_name = "ROLE,...",
        value_delimiter = ',',
        hide_default_value = true,
        default_value = "sink,window,double-window,gist,content:digit,content:name,selector,front-loaded,frozen,random"
    )]
    pub plant: Vec<HeadPlan>,
    /// Evict at random instead of by the planted gates: the control
    #[arg(long)]
    pub random_eviction: bool,
}

/// Makes a trace.
///
/// # Errors
/// When the sizes cannot be, or the trace cannot be written.
pub fn run(args: &SynthArgs, printer: &Printer) -> Result<()> {
    let shape = Shape { layers: args.layers.into(), kv_heads: args.heads.into() };
    ensure!(shape.heads() > 0, "a model has at least one layer and one head; give --layers and --heads of at least 1");
    ensure!(args.tokens > 0 && args.budget > 0, "--tokens and --budget must be at least 1");
    ensure!((0.0..=1.0).contains(&args.noise), "--noise is a share; give a number from 0 to 1");
    let entries = shape.heads() as u64 * u64::from(args.tokens);
    ensure!(
        entries <= MOST_ENTRIES,
        "{entries} entries need more than 12 GiB of memory; give fewer --layers, --heads or --tokens"
    );
    let recipe = Recipe {
        shape,
        tokens: args.tokens,
        prompt: args.prompt.unwrap_or(args.tokens / 10 * 3),
        chunk: args.prefill_chunk,
        rule: CutRule::per_head(args.budget, args.buffer),
        seed: args.seed,
        noise: args.noise,
        plans: args.plant.clone(),
    };
    let scorer: Box<dyn EvictionPolicy> =
        if args.random_eviction { Box::new(Random { seed: args.seed }) } else { Box::new(Retention::default()) };
    let policy = Policy { scorer, rule: Some(recipe.rule) };
    let manifest = manifest(args, &recipe, policy.scorer.name());
    let mut writer = TraceWriter::create(&args.out, manifest.clone(), false)?;
    let mut run = SyntheticRun::new(&recipe, &policy);
    for step in run.by_ref() {
        let (tokens, pass) = step?;
        tokens.into_iter().try_for_each(|token| writer.token(token))?;
        writer.pass(pass)?;
    }
    let last_scores = run.last_scores().collect();
    let path = writer.finish(Ending { manifest, last_scores, text_tail: String::new() })?;
    printer.line(&path.display().to_string());
    let planted = planted(&recipe).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    printer.note(&format!(
        "{} heads x {} tokens, planted in turn: {planted}; see trimkv-trace heads {}",
        shape.heads(),
        args.tokens,
        path.display()
    ));
    if let Some(why) = hidden(args, &recipe) {
        printer.note(&why);
    }
    Ok(())
}

/// The plans that heads got: where there are more plans than heads, not all.
fn planted(recipe: &Recipe) -> &[HeadPlan] {
    &recipe.plans[..recipe.plans.len().min(recipe.shape.heads())]
}

/// Which of the planted roles cannot show in this run, and why.
fn hidden(args: &SynthArgs, recipe: &Recipe) -> Option<String> {
    if args.random_eviction {
        return Some("eviction is random, so none of these roles is to be found".to_owned());
    }
    if args.tokens <= args.budget.saturating_add(args.buffer) {
        return Some(format!(
            "{} tokens fit every head, so nothing is evicted and no role shows; give more --tokens or a smaller --budget",
            args.tokens
        ));
    }
    let plants = planted(recipe).iter().flat_map(|plan| &plan.0);
    let mut needs = plants.filter_map(|plant| Some((plant, plant.tokens_to_show(args.budget)?)));
    let (plant, needed) = needs.find(|(_, needed)| args.tokens < *needed)?;
    Some(format!(
        "{plant} may not show: in {} tokens its own fill a budget of {} late or never; give at least --tokens {needed}, or a \
         smaller --budget",
        args.tokens, args.budget
    ))
}

fn manifest(args: &SynthArgs, recipe: &Recipe, policy: &str) -> Manifest {
    let prompt = recipe.prompt.min(recipe.tokens);
    Manifest {
        schema: SCHEMA.to_owned(),
        id: args.out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        status: Status::Complete,
        note: None,
        tool: Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        model: ModelFacts {
            name: "synthetic".to_owned(),
            source: "synth".to_owned(),
            architecture: "none".to_owned(),
            layers: recipe.shape.layers,
            kv_heads: recipe.shape.kv_heads,
            ..ModelFacts::default()
        },
        gates: Some(GateFacts {
            kind: "planted".to_owned(),
            source: recipe.plans.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            sha256: String::new(),
        }),
        policy: PolicyFacts {
            name: policy.to_owned(),
            budget: Some(args.budget),
            buffer: Some(args.buffer),
            scope: Some("head".to_owned()),
            age_offset: (!args.random_eviction).then_some(1),
            seed: args.random_eviction.then_some(args.seed),
            prefill_chunk: (prompt > args.prefill_chunk).then_some(args.prefill_chunk),
            ..PolicyFacts::default()
        },
        sampling: SamplingFacts { greedy: false, seed: args.seed, ..SamplingFacts::default() },
        device: "none".to_owned(),
        prompt: PromptFacts { tokens: prompt, ..PromptFacts::default() },
        generated: GeneratedFacts { tokens: recipe.tokens - prompt, stop: Some("length".to_owned()) },
        seen: recipe.tokens,
        seconds: Default::default(),
        bytes: Default::default(),
        crc32: Default::default(),
    }
}
