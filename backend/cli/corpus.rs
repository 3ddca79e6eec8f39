//! `trimkv-trace corpus`: documents of the built-in model's world.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use super::printer::Printer;
use crate::corpus::{Document, Plan};

/// `trimkv-trace corpus`.
#[derive(Debug, Args)]
pub struct CorpusArgs {
    /// Documents to write
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub documents: u64,
    /// Seed of the first; each document has the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Tokens of a document, at most
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    pub tokens: usize,
    /// Questions a document asks, at most
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub turns: usize,
    /// Facts told of each kind, at least
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub fewest_facts: usize,
    /// Facts told of each kind, at most
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub facts: usize,
}

/// Prints documents as lines of `{"messages": [...]}`.
///
/// # Errors
/// When a document cannot hold a question.
pub fn run(args: &CorpusArgs, printer: &Printer) -> Result<()> {
    ensure!(
        args.tokens >= 64,
        "a document of {} tokens has no room for a question; give --tokens 64 or more",
        args.tokens
    );
    ensure!(
        args.fewest_facts <= args.facts,
        "--fewest-facts {} is more than --facts {}; swap them",
        args.fewest_facts,
        args.facts
    );
    let plan =
        Plan { tokens: args.tokens, turns: args.turns, fewest_facts: args.fewest_facts, facts: args.facts, only: None };
    for index in 0..args.documents {
        let document = Document::new(plan, args.seed.wrapping_add(index));
        printer.line(&json!({ "messages": document.messages() }).to_string());
    }
    Ok(())
}
