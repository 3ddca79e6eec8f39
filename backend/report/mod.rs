//! One file that shows a trace: the dashboard with its data inside, opened by double click, asking nobody for anything.

pub mod columns;
pub mod pack;
pub mod page;

use crate::digest::finding::{FindingRow, findings};
use crate::digest::{readings, rows};
use crate::trace::error::TraceError;
use crate::trace::manifest::Manifest;
use crate::trace::read::Trace;
use crate::trace::reader::TraceReader;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The page cannot be put together.
    #[error(transparent)]
    Page(#[from] page::PageError),
}

/// The report of a trace as one HTML page. Runs of at most 8,192 tokens are told whole; of longer ones every layer is
/// told for the overview and `layers` token by token. `asset` reads a file of the front end.
///
/// # Errors
/// When a table of the trace cannot be read, or the front end is not in this program.
pub fn of_trace(
    reader: &TraceReader,
    title: Option<&str>,
    layers: &[u16],
    asset: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<String, ReportError> {
    let trace = Trace::open(reader.path())?;
    let heads = readings(&trace);
    let found: Vec<FindingRow> = findings(&trace, &heads).into_iter().map(FindingRow::from).collect();
    let title = title.unwrap_or(&reader.manifest().id);
    let data = columns::packed(reader, title, &rows(&trace, &heads), &found, layers)?;
    Ok(page::page(title, &sentence(reader.manifest()), &data, asset)?)
}

/// The run in one sentence.
fn sentence(manifest: &Manifest) -> String {
    let Manifest { model, policy, seen, .. } = manifest;
    let budget = policy.budget.map_or_else(String::new, |budget| format!(" with a budget of {budget} tokens per head"));
    format!(
        "{} under {}{budget}: {seen} tokens seen by {} heads.",
        model.name,
        policy.name,
        model.layers * model.kv_heads
    )
}
