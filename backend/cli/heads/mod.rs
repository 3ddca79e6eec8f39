//! `trimkv-trace heads`: what each head kept, its scores and its role.

pub mod args;
mod depth;
mod several;
mod table;

use anyhow::Result;

use self::args::HeadsArgs;
use self::table::table;
use super::printer::Printer;
use crate::digest::readings;
use crate::digest::row::csv;
use crate::digest::rows;
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
    let policy = &manifest.policy.name;
    let ranks_by_gates = policy.is_empty() || policy.starts_with("trimkv");
    if !ranks_by_gates && heads.iter().any(|head| head.facts.median_half_life.is_some()) {
        printer.note(&format!("half-lives are those of the gates, which the policy {policy} does not look at"));
    }
    if heads.iter().all(|head| head.facts.evicted == 0) {
        printer.note("nothing was evicted in this run, so no head had to choose");
    }
    Ok(())
}
