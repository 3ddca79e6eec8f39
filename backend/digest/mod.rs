//! What programs are told about a trace: its heads and what looks wrong with them, as the command line and the
//! dashboard both say it.

pub mod finding;
pub mod row;

use crate::analysis::category::TokenFacts;
use crate::analysis::features::RunRule;
use crate::analysis::reading::{HeadReading, read_heads};
use crate::analysis::roles::Thresholds;
use crate::trace::manifest::Manifest;
use crate::trace::read::Trace;
use row::Row;

/// Heads of a trace as rows, by layer and head.
pub fn rows(trace: &Trace, heads: &[HeadReading]) -> Vec<Row> {
    let texts: Vec<&str> = trace.recording.tokens.iter().map(|token| token.text.as_deref().unwrap_or("")).collect();
    let row = |head: &HeadReading| {
        let departures: Vec<_> = trace.recording.lifetimes.departures(head.facts.head).collect();
        Row::new(head, &departures, &texts)
    };
    heads.iter().map(row).collect()
}

/// Reads the heads of a trace.
pub fn readings(trace: &Trace) -> Vec<HeadReading> {
    let tokens: Vec<TokenFacts<'_>> = trace.recording.tokens.iter().map(TokenFacts::of).collect();
    read_heads(&trace.recording.lifetimes, &tokens, &rule(&trace.manifest), &Thresholds::default())
}

/// What a manifest says about cuts.
pub fn rule(manifest: &Manifest) -> RunRule {
    let policy = &manifest.policy;
    RunRule { budget: policy.budget, buffer: policy.buffer, protected_first: policy.sinks.unwrap_or(0) }
}
