//! What programs are told about a trace: its heads and what looks wrong with them, as the command line and the
//! dashboard both say it.

pub mod finding;
pub mod row;

use crate::analysis::category::{TokenFacts, categorise};
use crate::analysis::reading::{HeadReading, read_run};
use crate::trace::read::Trace;
use row::Row;

/// Heads of a trace as rows, by layer and head.
pub fn rows(trace: &Trace, heads: &[HeadReading]) -> Vec<Row> {
    let facts: Vec<TokenFacts<'_>> = trace.recording.tokens.iter().map(TokenFacts::of).collect();
    let categories = categorise(&facts);
    let texts: Vec<&str> = trace.recording.tokens.iter().map(|token| token.text.as_deref().unwrap_or("")).collect();
    let row = |head: &HeadReading| {
        let departures: Vec<_> = trace.recording.lifetimes.departures(head.facts.head).collect();
        Row::new(head, &departures, &texts, &categories)
    };
    heads.iter().map(row).collect()
}

/// Reads the heads of a trace.
pub fn readings(trace: &Trace) -> Vec<HeadReading> {
    read_run(&trace.manifest, &trace.recording)
}
