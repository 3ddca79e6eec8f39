//! `trimkv-trace check`: what looks wrong with a trace. Exit code 0 when nothing is, 1 when something is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::printer::Printer;
use crate::analysis::diagnosis::Severity;
use crate::digest::finding::{FindingRow, damaged, findings};
use crate::digest::readings;
use crate::trace::error::TraceError;
use crate::trace::read::Trace;

/// Exit code of a trace with problems.
const PROBLEMS: u8 = 1;
/// Heads that a finding names before it only counts them.
const NAMED: usize = 8;

/// `trimkv-trace check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The trace's directory
    pub trace: PathBuf,
    /// Print JSON instead of sentences
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    trace: String,
    ok: bool,
    findings: Vec<FindingRow>,
}

/// Checks a trace.
///
/// # Errors
/// When there is no trace to check, or it is of a newer version; a damaged one is a finding.
pub fn run(args: &CheckArgs, printer: &Printer) -> Result<ExitCode> {
    let findings = match Trace::open(&args.trace) {
        Ok(trace) => findings(&trace, &readings(&trace)),
        Err(error @ (TraceError::Row { .. } | TraceError::Table { .. })) => vec![damaged(&error)],
        Err(error @ TraceError::Read { .. }) if args.trace.exists() => vec![damaged(&error)],
        Err(error) => return Err(error.into()),
    };
    let ok = findings.iter().all(|finding| finding.severity != Severity::Problem);
    if args.json {
        let findings = findings.into_iter().map(FindingRow::from).collect();
        printer.line(&serde_json::to_string_pretty(&Report { trace: args.trace.display().to_string(), ok, findings })?);
    } else {
        for finding in findings {
            let row = FindingRow::from(finding);
            let named = row.heads.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
            let more = if row.heads.len() > NAMED { " ..." } else { "" };
            let heads = if named.is_empty() { String::new() } else { format!(": {named}{more}") };
            printer.line(&format!("{:<8} {:<16} {}{heads}", row.severity, row.code, row.message));
        }
        printer.line(if ok { "ok: no problems" } else { "not ok" });
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS) })
}
