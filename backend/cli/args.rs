//! What may be typed.

#[cfg(feature = "generate")]
use std::path::PathBuf;

#[cfg(feature = "generate")]
use clap::Args;
use clap::{Parser, Subcommand};

use super::check::CheckArgs;
use super::heads::args::HeadsArgs;
use super::synth::SynthArgs;

const EXAMPLES: &str = "\
Examples:
  trimkv-trace prompt.txt                       trace the built-in model
  trimkv-trace prompt.txt --budget 24           with a smaller memory
  trimkv-trace prompt.txt --policy window       against a sliding window
  trimkv-trace prompt.txt --model Qwen/Qwen3-4B --gates TrimKV-Qwen3-4B-Math
  echo 'Hello' | trimkv-trace -                 the prompt from standard input
  trimkv-trace heads traces/RUN                 what each head kept
  trimkv-trace train --data docs.jsonl -o gates learn gates from texts
  trimkv-trace figure fig4 traces/RUN -o f.pdf  retention over kept, for a paper";

const ABOUT: &str = "See what a memory-bounded KV cache keeps and forgets, per layer and head.";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "trimkv-trace",
    version,
    about = ABOUT,
    before_help = EXAMPLES,
    max_term_width = 100,
    // Values below zero reach the check that explains the range.
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Named>,
    #[cfg(feature = "generate")]
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Named {
    /// Make a figure of a trace: PDF, SVG or PNG
    #[cfg(feature = "view")]
    Figure(Box<super::figure::FigureArgs>),
    /// Print what each head of a trace kept and what role that gives it
    Heads(HeadsArgs),
    /// Measure how fast a model of a given shape decodes here
    #[cfg(feature = "generate")]
    Bench(Box<super::bench::BenchArgs>),
    /// Write documents of the built-in model's world, one JSON object a line
    #[cfg(feature = "generate")]
    Corpus(super::corpus::CorpusArgs),
    /// Measure how well a model answers under bounded caches, on documents it never saw
    #[cfg(feature = "generate")]
    Evaluate(super::evaluate::EvaluateArgs),
    /// Check a device against recorded runs of the authors' implementation
    #[cfg(feature = "generate")]
    Parity(super::parity::ParityArgs),
    /// Learn retention gates for a model
    #[cfg(feature = "generate")]
    Train(Box<super::train::TrainArgs>),
    /// Say what looks wrong with a trace; exit code 1 when something does
    Check(CheckArgs),
    /// Make a trace with planted roles, without a model
    Synth(SynthArgs),
}

/// What was asked for.
pub enum Verb {
    /// Make a figure.
    #[cfg(feature = "view")]
    Figure(Box<super::figure::FigureArgs>),
    /// Look for what is wrong.
    Check(CheckArgs),
    /// Print scores and roles of heads.
    Heads(HeadsArgs),
    /// Measure speed.
    #[cfg(feature = "generate")]
    Bench(Box<super::bench::BenchArgs>),
    /// Write documents.
    #[cfg(feature = "generate")]
    Corpus(super::corpus::CorpusArgs),
    /// Examine a model.
    #[cfg(feature = "generate")]
    Evaluate(super::evaluate::EvaluateArgs),
    /// Check a device.
    #[cfg(feature = "generate")]
    Parity(super::parity::ParityArgs),
    /// Train gates.
    #[cfg(feature = "generate")]
    Train(Box<super::train::TrainArgs>),
    /// Make a synthetic trace.
    Synth(SynthArgs),
    /// Trace a generation.
    #[cfg(feature = "generate")]
    Run(Box<RunArgs>),
}

impl Cli {
    /// Whether messages are to be withheld.
    pub fn quiet(&self) -> bool {
        #[cfg(feature = "generate")]
        return match &self.verb {
            Some(Named::Train(args)) => args.quiet,
            Some(_) => false,
            None => self.run.quiet,
        };
        #[cfg(not(feature = "generate"))]
        false
    }

    /// What was asked for.
    pub fn verb(self) -> Verb {
        match self.verb {
            Some(Named::Check(args)) => Verb::Check(args),
            #[cfg(feature = "view")]
            Some(Named::Figure(args)) => Verb::Figure(args),
            Some(Named::Heads(args)) => Verb::Heads(args),
            Some(Named::Synth(args)) => Verb::Synth(args),
            #[cfg(feature = "generate")]
            Some(Named::Bench(args)) => Verb::Bench(args),
            #[cfg(feature = "generate")]
            Some(Named::Corpus(args)) => Verb::Corpus(args),
            #[cfg(feature = "generate")]
            Some(Named::Evaluate(args)) => Verb::Evaluate(args),
            #[cfg(feature = "generate")]
            Some(Named::Parity(args)) => Verb::Parity(args),
            #[cfg(feature = "generate")]
            Some(Named::Train(args)) => Verb::Train(args),
            #[cfg(feature = "generate")]
            None => Verb::Run(Box::new(self.run)),
            #[cfg(not(feature = "generate"))]
            None => unreachable!("clap shows help when no verb is given"),
        }
    }
}

/// `trimkv-trace PROMPT`.
#[cfg(feature = "generate")]
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Text file with the prompt; - reads standard input
    #[arg(value_name = "PROMPT", required_unless_present = "prompt_ids")]
    pub prompt: Option<PathBuf>,
    /// JSON list of token ids to use as the prompt, as they are
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_ids: Option<PathBuf>,

    /// Model: builtin, a directory, or owner/name on the Hugging Face hub [default: builtin]
    #[arg(long, value_name = "NAME|DIR|REPO", help_heading = "Model")]
    pub model: Option<String>,
    /// Retention gates: a directory or a repository; alone, their own base model is used
    #[arg(long, value_name = "DIR|REPO", help_heading = "Model")]
    pub gates: Option<String>,
    /// Branch, tag or commit of what comes from the hub
    #[arg(long, value_name = "REV", help_heading = "Model")]
    pub revision: Option<String>,
    /// Where to run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Model")]
    pub device: crate::engine::device::DeviceChoice,
    /// Number type: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto", help_heading = "Model")]
    pub dtype: crate::engine::device::DTypeChoice,

    /// What to evict: trimkv, trimkv-knorm, full, window, streaming-llm or random [default: trimkv with gates, else full]
    #[arg(long, value_name = "NAME", help_heading = "Cache")]
    pub policy: Option<crate::policy::PolicyKind>,
    /// Tokens each KV head keeps [default: what the gates were made for, else 256]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub budget: Option<u32>,
    /// Tokens it may overrun before a cut [default: what the gates were made for, else 32]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub buffer: Option<u32>,
    /// Who shares a budget: head, layer or global [default: head; global for rg10 gates]
    #[arg(long, value_name = "WHO", help_heading = "Cache")]
    pub scope: Option<crate::policy::Scope>,
    /// Newest tokens that are never evicted
    #[arg(long, value_name = "TOKENS", default_value_t = 0, help_heading = "Cache")]
    pub recent: u32,
    /// First tokens that are never evicted [default: 4 for streaming-llm, else 0]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub sinks: Option<u32>,
    /// Share of the budget every head keeps when all heads compete
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Cache")]
    pub floor: f64,
    /// Count winners under a floor exactly, or as the authors' first release did
    #[arg(long, value_name = "HOW", default_value = "exact", value_parser = ["exact", "authors"], help_heading = "Cache")]
    pub floor_counting: String,
    /// Keep tokens whose retention is at least this, in (0, 1), instead of a budget
    #[arg(long, value_name = "RETENTION", help_heading = "Cache")]
    pub threshold: Option<f64>,
    /// Future steps over which retention is summed
    #[arg(long, value_name = "STEPS", default_value_t = 1, help_heading = "Cache")]
    pub look_ahead: u32,
    /// Added to tokens seen to form a token's age: 1 as in the authors' code, -1 as in their paper
    #[arg(long, value_name = "TOKENS", default_value_t = 1, help_heading = "Cache")]
    pub age_offset: i32,
    /// Read the prompt in passes of this many tokens, with a cut after each
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub prefill_chunk: Option<u32>,

    /// Tokens to generate at most
    #[arg(long, value_name = "TOKENS", default_value_t = 256, help_heading = "Generation")]
    pub max_new_tokens: u32,
    /// Always take the most likely token (the default unless --temperature is given)
    #[arg(long, conflicts_with_all = ["temperature", "top_p"], help_heading = "Generation")]
    pub greedy: bool,
    /// Sample at this temperature
    #[arg(long, value_name = "T", help_heading = "Generation")]
    pub temperature: Option<f64>,
    /// Sample from the most likely tokens that hold this mass
    #[arg(long, value_name = "P", help_heading = "Generation")]
    pub top_p: Option<f64>,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Generation")]
    pub seed: u64,
    /// Wrap the prompt in the model's chat template (the default)
    #[arg(long, conflicts_with = "raw", help_heading = "Generation")]
    pub chat: bool,
    /// Send the prompt as it is, without a chat template
    #[arg(long, help_heading = "Generation")]
    pub raw: bool,
    /// Go on after tokens that end a text
    #[arg(long, help_heading = "Generation")]
    pub ignore_eos: bool,

    /// Record more: attention (mass each entry received), logits (of every position; 4 bytes x vocabulary each)
    #[arg(long, value_name = "WHAT,...", value_delimiter = ',', value_parser = ["attention", "logits"], help_heading = "Output")]
    pub record: Vec<String>,
    /// Directory of the trace; inside it when it exists already [default: traces/PROMPT-TIME]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of text and summary
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    pub json: bool,
    /// Print the trace's path and nothing else
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}
