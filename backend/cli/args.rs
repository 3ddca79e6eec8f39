//! What may be typed.

#[cfg(feature = "generate")]
use std::path::PathBuf;

#[cfg(feature = "generate")]
use clap::Args;
use clap::{Parser, Subcommand};

use super::check::CheckArgs;
use super::compare::CompareArgs;
use super::heads::args::HeadsArgs;
use super::synth::SynthArgs;

const EXAMPLES: &str = "\
Examples:
  trimkv-trace prompt.txt                       trace the built-in model
  trimkv-trace prompt.txt --budget 24           with a smaller memory
  trimkv-trace prompt.txt --policy window       against a sliding window
  trimkv-trace prompt.txt --model Qwen/Qwen3-4B --gates TrimKV-Qwen3-4B-Math
  echo 'Hello' | trimkv-trace -                 the prompt from standard input
  trimkv-trace open                             look at traces in a browser
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
    /// Look at traces in a browser, served on this machine only
    #[cfg(feature = "view")]
    Open(super::open::OpenArgs),
    /// Print what each head of a trace kept and what role that gives it
    Heads(HeadsArgs),
    /// Say what one trace keeps of a text and another forgets
    Compare(CompareArgs),
    /// Make a figure of a trace: PDF, SVG or PNG
    #[cfg(feature = "view")]
    Figure(Box<super::figure::FigureArgs>),
    /// Write one file that shows a trace in any browser, without a server
    #[cfg(feature = "view")]
    Report(super::report::ReportArgs),
    /// Say what looks wrong with a trace; exit code 1 when something does
    Check(CheckArgs),
    /// Learn retention gates for a model
    #[cfg(feature = "generate")]
    Train(Box<super::train::TrainArgs>),
    /// Measure how well a model answers under bounded caches, on documents it never saw
    #[cfg(feature = "generate")]
    Evaluate(super::evaluate::EvaluateArgs),
    /// Measure how fast a model of a given shape decodes here
    #[cfg(feature = "generate")]
    Bench(Box<super::bench::BenchArgs>),
    /// Check a device against recorded runs of the authors' implementation
    #[cfg(feature = "generate")]
    Parity(super::parity::ParityArgs),
    /// Make a trace with planted roles, without a model
    Synth(SynthArgs),
    /// Write documents of the built-in model's world, one JSON object a line
    #[cfg(feature = "generate")]
    Corpus(super::corpus::CorpusArgs),
}

/// What was asked for.
pub enum Verb {
    /// Make a figure.
    #[cfg(feature = "view")]
    Figure(Box<super::figure::FigureArgs>),
    /// Look for what is wrong.
    Check(CheckArgs),
    /// Compare two traces.
    Compare(CompareArgs),
    /// Serve the dashboard.
    #[cfg(feature = "view")]
    Open(super::open::OpenArgs),
    /// Write a report.
    #[cfg(feature = "view")]
    Report(super::report::ReportArgs),
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
            Some(Named::Compare(args)) => Verb::Compare(args),
            #[cfg(feature = "view")]
            Some(Named::Figure(args)) => Verb::Figure(args),
            Some(Named::Heads(args)) => Verb::Heads(args),
            #[cfg(feature = "view")]
            Some(Named::Open(args)) => Verb::Open(args),
            #[cfg(feature = "view")]
            Some(Named::Report(args)) => Verb::Report(args),
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

    /// What is run, and how
    #[command(flatten)]
    pub request: crate::run::request::RunRequest,

    /// Directory of the trace; inside it when it exists already [default: traces/PROMPT-TIME]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of text and summary
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    pub json: bool,
    /// Print the trace's path and nothing else
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// Watch it in the dashboard while it runs; Ctrl-C ends both
    #[cfg(feature = "view")]
    #[arg(long, help_heading = "Dashboard")]
    pub open: bool,
    /// Port of the dashboard; the next free one when it is taken [default: 7878]
    #[cfg(feature = "view")]
    #[arg(long, value_name = "N", requires = "open", help_heading = "Dashboard")]
    pub port: Option<u16>,
    /// Do not open a browser
    #[cfg(feature = "view")]
    #[arg(long, requires = "open", help_heading = "Dashboard")]
    pub no_browser: bool,
}
