//! What looks wrong with a trace, for machines.

use serde::Serialize;

use crate::analysis::diagnosis::{Described, Finding, Severity, diagnose};
use crate::analysis::features::RunRule;
use crate::analysis::reading::HeadReading;
use crate::trace::error::TraceError;
use crate::trace::manifest::{Manifest, Status};
use crate::trace::read::Trace;

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingRow {
    /// A stable name, e.g. `never-cut`.
    pub code: &'static str,
    /// `problem` or `note`.
    pub severity: &'static str,
    /// One sentence.
    pub message: String,
    /// The heads concerned, as `L1H2`; empty when it is the run.
    pub heads: Vec<String>,
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        let severity = match finding.severity {
            Severity::Problem => "problem",
            Severity::Note => "note",
        };
        let heads = finding.heads.iter().map(ToString::to_string).collect();
        Self { code: finding.code, severity, message: finding.message, heads }
    }
}

/// A trace that cannot be read, as a finding.
pub fn damaged(error: &TraceError) -> Finding {
    Finding { code: "damaged", severity: Severity::Problem, message: error.to_string(), heads: Vec::new() }
}

/// What looks wrong with a trace whose heads have been read.
pub fn findings(trace: &Trace, heads: &[HeadReading]) -> Vec<Finding> {
    let Manifest { policy, status, .. } = &trace.manifest;
    let has_own_budgets = policy.scope.as_deref().is_none_or(|scope| scope == "head") && policy.threshold.is_none();
    let shares_scores = policy.pool.is_some_and(|pool| pool > 1);
    let described =
        Described { policy: &policy.name, rule: RunRule::of(&trace.manifest), has_own_budgets, shares_scores };
    let mut findings = diagnose(&trace.recording, heads, &described);
    if *status != Status::Complete {
        let message = format!("the run is {}: the trace ends where recording did", status.as_str());
        findings.push(Finding { code: "unfinished", severity: Severity::Note, message, heads: Vec::new() });
    }
    findings
}
