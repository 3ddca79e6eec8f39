//! The command line: one file per verb, and one printer that owns the standard streams.

pub mod args;
pub mod heads;
pub mod printer;

#[cfg(feature = "generate")]
pub mod policy;
#[cfg(feature = "generate")]
pub mod prompt;
#[cfg(feature = "generate")]
pub mod run;
#[cfg(feature = "generate")]
pub mod session;
#[cfg(feature = "generate")]
pub mod summary;

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
    let outcome = std::panic::catch_unwind(run);
    // The hook has printed what happened.
    outcome.unwrap_or(ExitCode::from(BUG))
}

fn run() -> ExitCode {
    printer::report_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing is left to do when the terminal is gone.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(CANNOT) };
        }
    };
    let printer = Printer::new(cli.quiet());
    let done = match cli.verb() {
        Verb::Heads(args) => heads::run(&args, &printer).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "generate")]
        Verb::Run(args) => run::run(*args, &printer),
    };
    done.unwrap_or_else(|error| {
        printer.error(&error);
        ExitCode::from(CANNOT)
    })
}
