//! The command line: one file per verb, and one printer that owns the standard streams.

pub mod args;
pub mod check;
pub mod compare;
#[cfg(feature = "view")]
pub mod figure;
pub mod heads;
#[cfg(feature = "view")]
pub mod open;
pub mod printer;
#[cfg(feature = "view")]
pub mod report;
pub mod synth;

#[cfg(feature = "generate")]
pub mod bench;
#[cfg(feature = "generate")]
pub mod corpus;
#[cfg(feature = "generate")]
pub mod evaluate;
#[cfg(feature = "generate")]
pub mod parity;
#[cfg(feature = "generate")]
pub mod run;
#[cfg(feature = "generate")]
pub mod summary;
#[cfg(feature = "generate")]
pub mod train;
#[cfg(all(feature = "generate", feature = "view"))]
pub mod watched;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Verb};
use printer::Printer;

/// Exit code of a request that cannot be met.
const CANNOT: u8 = 1;
/// Exit code of a bug.
const BUG: u8 = 2;

/// Runs the program: parses what was typed, does it, prints the error once.
pub fn main() -> ExitCode {
    #[cfg(feature = "generate")]
    crate::engine::device::fix_thread_count();
    let outcome = std::panic::catch_unwind(run);
    // The hook has printed what happened.
    outcome.unwrap_or(ExitCode::from(BUG))
}

fn run() -> ExitCode {
    printer::report_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let printer = Printer::new(cli.quiet());
    let done = match cli.verb() {
        Verb::Check(args) => check::run(&args, &printer),
        Verb::Compare(args) => compare::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "view")]
        Verb::Figure(args) => figure::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "view")]
        Verb::Open(args) => open::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "view")]
        Verb::Report(args) => report::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        Verb::Heads(args) => heads::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        Verb::Synth(args) => synth::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "generate")]
        Verb::Bench(args) => bench::run(&args, &printer),
        #[cfg(feature = "generate")]
        Verb::Corpus(args) => corpus::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "generate")]
        Verb::Evaluate(args) => evaluate::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "generate")]
        Verb::Parity(args) => parity::run(&args, &printer),
        #[cfg(feature = "generate")]
        Verb::Train(args) => train::run(*args, &printer),
        #[cfg(feature = "generate")]
        Verb::Run(args) => run::run(*args, &printer),
    };
    done.unwrap_or_else(|error| {
        printer.error(&error);
        ExitCode::from(CANNOT)
    })
}

/// Shows help where it was asked for or nothing was typed; else says in one line what cannot be typed.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nothing is left to do when the terminal is gone.
        let _ = error.print();
    } else {
        Printer::new(false).error(&anyhow::Error::msg(complaint(error)));
    }
    if asked { ExitCode::SUCCESS } else { ExitCode::from(CANNOT) }
}

/// clap's message and tip without its usage lines.
fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let told = paragraphs.filter(|paragraph| ["error:", "tip:"].iter().any(|word| paragraph.starts_with(word)));
    let told = told.map(|paragraph| paragraph.trim_start_matches("error: ").to_owned()).collect::<Vec<_>>().join("; ");
    // A value's own complaint says what to write instead; others need the list of flags.
    match error.kind() {
        ErrorKind::ValueValidation => told,
        _ => format!("{told}; see trimkv-trace --help"),
    }
}
