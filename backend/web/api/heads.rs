//! Scores and roles of a trace's heads, and what looks wrong with it.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::asked::Key;
use super::{Turn, answer};
use crate::digest::finding::{FindingRow, findings};
use crate::digest::{readings, rows};
use crate::web::error::ApiError;
use crate::web::library::{Entry, Library};
use crate::web::router::Dashboard;

const JSON: &str = "application/json";
const HEADS: &str = "heads";
const CHECK: &str = "check";

#[derive(Serialize)]
struct Heads<T> {
    heads: Vec<T>,
}

#[derive(Serialize)]
struct Diagnoses {
    diagnoses: Vec<FindingRow>,
}

/// `GET /api/traces/KEY/heads`
pub async fn heads(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    analysed(&dashboard, key, HEADS).await
}

/// `GET /api/traces/KEY/check`
pub async fn check(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    analysed(&dashboard, key, CHECK).await
}

async fn analysed(dashboard: &Dashboard, key: String, wanted: &'static str) -> Result<Response, ApiError> {
    answer(dashboard, key, (Turn::Analysis, JSON), wanted.to_owned(), move |library, entry| {
        analyse(library, entry, wanted)
    })
    .await
}

/// Reads a trace and its heads once for both answers, since a page asks for both; the one that is not wanted now is kept.
fn analyse(library: &Library, entry: &Entry, wanted: &str) -> Result<Vec<u8>, ApiError> {
    let stamp = library.stamp(entry);
    let trace = library.whole(entry)?;
    let read = readings(&trace);
    let heads = to_json(&Heads { heads: rows(&trace, &read) })?;
    let found = findings(&trace, &read);
    let check = to_json(&Diagnoses { diagnoses: found.into_iter().map(FindingRow::from).collect() })?;
    let (answer, other, kept) = if wanted == HEADS { (heads, CHECK, check) } else { (check, HEADS, heads) };
    library.remember(entry, stamp, other, &kept.into());
    Ok(answer)
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))
}
