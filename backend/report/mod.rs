//! One file that shows a trace: the dashboard with its data inside, opened by double click, asking nobody for anything.

pub mod columns;
pub mod pack;
pub mod page;

use crate::digest::finding::{FindingRow, findings};
use crate::digest::{readings, rows};
use crate::trace::manifest::Manifest;
use crate::trace::read::Trace;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A layer that the model lacks was asked for.
    #[error("there is no layer {layer}; the model has layers 0 to {}", .layers.saturating_sub(1))]
    NoLayer {
        /// What was asked for.
        layer: u16,
        /// Layers of the model.
        layers: usize,
    },
    /// The page cannot be put together.
    #[error(transparent)]
    Page(#[from] page::PageError),
}

/// The report of a trace as one HTML page. Runs of at most 8,192 tokens are told whole; of longer ones every layer is
/// told for the overview and `layers` token by token. `asset` reads a file of the front end.
///
/// # Errors
/// When the model has no such layer, or the front end is not in this program.
pub fn of_trace(
    trace: &Trace,
    title: Option<&str>,
    layers: &[u16],
    asset: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<String, ReportError> {
    let manifest = &trace.manifest;
    if let Some(&layer) = layers.iter().find(|layer| usize::from(**layer) >= manifest.model.layers) {
        return Err(ReportError::NoLayer { layer, layers: manifest.model.layers });
    }
    let heads = readings(trace);
    let found: Vec<FindingRow> = findings(trace, &heads).into_iter().map(FindingRow::from).collect();
    let title = title.unwrap_or(&manifest.id);
    let data = columns::packed(trace, title, &rows(trace, &heads), &found, layers);
    Ok(page::page(title, &sentence(manifest), &data, asset)?)
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
