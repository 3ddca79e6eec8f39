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
    answer(&dashboard, key, (Turn::Analysis, JSON), "heads".to_owned(), |library, entry| {
        let trace = library.whole(entry)?;
        to_json(&Heads { heads: rows(&trace, &readings(&trace)) })
    })
    .await
}

/// `GET /api/traces/KEY/check`
pub async fn check(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    answer(&dashboard, key, (Turn::Analysis, JSON), "check".to_owned(), diagnoses).await
}

fn diagnoses(library: &Library, entry: &Entry) -> Result<Vec<u8>, ApiError> {
    let trace = library.whole(entry)?;
    let found = findings(&trace, &readings(&trace));
    to_json(&Diagnoses { diagnoses: found.into_iter().map(FindingRow::from).collect() })
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))
}
