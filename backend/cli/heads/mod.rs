//! `trimkv-trace heads`: what each head kept, its scores and its role.

pub mod args;
mod depth;
mod row;
mod several;
mod table;

use anyhow::Result;

use self::args::HeadsArgs;
use self::row::{Row, csv};
use self::table::table;
use super::printer::Printer;
use crate::analysis::category::{TokenFacts, categorise};
use crate::analysis::reading::{HeadReading, read_run};
use crate::trace::manifest::Status;
use crate::trace::read::Trace;

/// Prints the facts, scores and role of every head of a trace.
///
/// # Errors
/// When the trace cannot be read.
pub fn run(args: &HeadsArgs, printer: &Printer) -> Result<()> {
    if args.trace.len() > 1 {
        return several::run(args, printer);
    }
    let trace = Trace::open(&args.trace[0])?;
    let (manifest, heads) = (&trace.manifest, readings(&trace));
    if args.by_layer {
        return depth::print(args, &heads, printer);
    }
    if args.json || args.csv {
        let rows = rows(&trace, &heads);
        if args.json {
            printer.line(&serde_json::to_string_pretty(&rows)?)
        } else {
            printer.result(&csv(&rows))
        }
        return Ok(());
    }
    printer.result(&table(&heads, manifest.policy.budget, printer.width()));
    if manifest.status != Status::Complete {
        let (path, status) = (trace.path.display(), manifest.status.as_str());
        printer.warning(&format!("{path} is {status}: it ends where recording did"));
    }
    if heads.iter().all(|head| head.facts.evicted == 0) {
        printer.note("nothing was evicted in this run, so no head had to choose");
    }
    Ok(())
}

fn rows(trace: &Trace, heads: &[HeadReading]) -> Vec<Row> {
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
