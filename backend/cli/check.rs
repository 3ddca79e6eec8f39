//! `trimkv-trace check`: what looks wrong with a trace. Exit code 0 when nothing is, 1 when something is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::heads::readings;
use super::printer::Printer;
use crate::analysis::diagnosis::{Described, Finding, Severity, diagnose};
use crate::analysis::features::RunRule;
use crate::trace::error::TraceError;
use crate::trace::manifest::{Manifest, Status};
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
    findings: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    code: &'static str,
    severity: &'static str,
    message: String,
    heads: Vec<String>,
}

/// Checks a trace.
///
/// # Errors
/// When there is no trace to check, or it is of a newer version; a damaged one is a finding.
pub fn run(args: &CheckArgs, printer: &Printer) -> Result<ExitCode> {
    let findings = match Trace::open(&args.trace) {
        Ok(trace) => findings(&trace),
        Err(error @ (TraceError::Row { .. } | TraceError::Table { .. })) => vec![damaged(&error)],
        Err(error @ TraceError::Read { .. }) if args.trace.exists() => vec![damaged(&error)],
        Err(error) => return Err(error.into()),
    };
    let ok = findings.iter().all(|finding| finding.severity != Severity::Problem);
    if args.json {
        let findings = findings.into_iter().map(row).collect();
        printer.line(&serde_json::to_string_pretty(&Report { trace: args.trace.display().to_string(), ok, findings })?);
    } else {
        for finding in findings {
            let row = row(finding);
            let named = row.heads.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
            let more = if row.heads.len() > NAMED { " ..." } else { "" };
            let heads = if named.is_empty() { String::new() } else { format!(": {named}{more}") };
            printer.line(&format!("{:<8} {:<16} {}{heads}", row.severity, row.code, row.message));
        }
        printer.line(if ok { "ok: no problems" } else { "not ok" });
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS) })
}

fn damaged(error: &TraceError) -> Finding {
    Finding { code: "damaged", severity: Severity::Problem, message: error.to_string(), heads: Vec::new() }
}

fn findings(trace: &Trace) -> Vec<Finding> {
    let Manifest { policy, status, .. } = &trace.manifest;
    let has_own_budgets = policy.scope.as_deref().is_none_or(|scope| scope == "head") && policy.threshold.is_none();
    let described = Described { policy: &policy.name, rule: RunRule::of(&trace.manifest), has_own_budgets };
    let mut findings = diagnose(&trace.recording, &readings(trace), &described);
    if *status != Status::Complete {
        let message = format!("the run is {}: the trace ends where recording did", status.as_str());
        findings.push(Finding { code: "unfinished", severity: Severity::Note, message, heads: Vec::new() });
    }
    findings
}

fn row(finding: Finding) -> Row {
    let severity = match finding.severity {
        Severity::Problem => "problem",
        Severity::Note => "note",
    };
    let heads = finding.heads.iter().map(ToString::to_string).collect();
    Row { code: finding.code, severity, message: finding.message, heads }
}
