//! What a trace holds, as columns and JSON: one kind of thing a file.

pub mod asked;
pub mod changes;
pub mod cuts;
pub mod download;
pub mod events;
pub mod exports;
pub mod heads;
pub mod lifetimes;
pub mod runs;
pub mod steps;
pub mod tokens;
pub mod traces;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::arrow::{self, ArrowError, Values};
use super::error::ApiError;
use super::library::{Entry, Library};
use super::router::{Dashboard, Shared};

/// Requests below `/api`.
pub fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/traces", get(traces::list))
        .route("/traces/{key}", get(traces::one).delete(changes::delete))
        .route("/traces/{key}/restore", post(changes::restore))
        .route("/traces/{key}/events", get(events::events))
        .route("/traces/{key}/download.zip", get(download::download))
        .route("/traces/{key}/figure/{file}", get(exports::figure))
        .route("/traces/{key}/report.html", get(exports::report))
        .route("/open", post(changes::open))
        .route("/dropped", post(changes::dropped).layer(DefaultBodyLimit::max(changes::DROPPED_BYTES)))
        .route("/runs", get(runs::choices).post(runs::start))
        .route("/runs/{key}/stop", post(runs::stop))
        .route("/traces/{key}/tokens", get(tokens::tokens))
        .route("/traces/{key}/lifetimes", get(lifetimes::lifetimes))
        .route("/traces/{key}/cuts", get(cuts::cuts))
        .route("/traces/{key}/steps", get(steps::steps))
        .route("/traces/{key}/heads", get(heads::heads))
        .route("/traces/{key}/check", get(heads::check))
        .fallback(async || ApiError::NotFound("there is no such thing in this interface".to_owned()))
}

impl From<ArrowError> for ApiError {
    fn from(error: ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Runs what blocks on a thread that may.
pub async fn blocking<T: Send + 'static>(
    dashboard: &Dashboard,
    work: impl FnOnce(&Shared) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = dashboard.clone();
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.unwrap_or_else(|_| Err(ApiError::Internal("the server stumbled over this request".to_owned())))
}

/// Which turn work has to wait for.
#[derive(Clone, Copy)]
pub enum Turn {
    /// Reads some columns.
    Columns,
    /// Analyses a whole trace.
    Analysis,
}

/// Works an answer about a trace out, or gives the one that was worked out before. Of many who ask for the same, one
/// works and the others wait for a turn and find it done.
pub async fn answer(
    dashboard: &Dashboard,
    key: String,
    (turn, media_type): (Turn, &'static str),
    what: String,
    work: impl Fn(&Library, &Entry) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let turns: &Semaphore = match turn {
        Turn::Columns => &dashboard.columns,
        Turn::Analysis => &dashboard.analyses,
    };
    // It is never closed.
    let _turn = turns.acquire().await.map_err(|_| ApiError::Internal("the server has no turns left".to_owned()))?;
    let bytes = blocking(dashboard, move |shared| {
        let library = &shared.library;
        library.steadily(&key, |entry| {
            if let Some(known) = library.known_answer(entry, &what) {
                return Ok(known);
            }
            let stamp = library.stamp(entry);
            let bytes = Bytes::from(work(library, entry)?);
            library.remember(entry, stamp, &what, &bytes);
            Ok(bytes)
        })
    })
    .await?;
    Ok(([(CONTENT_TYPE, media_type)], bytes).into_response())
}

/// Columns of a trace as an Arrow stream.
pub async fn columns(
    dashboard: &Dashboard,
    key: String,
    what: String,
    work: impl Fn(&Library, &Entry) -> Result<Table, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    answer(dashboard, key, (Turn::Columns, arrow::MEDIA_TYPE), what, move |library, entry| {
        let Table { columns, metadata } = work(library, entry)?;
        Ok(arrow::stream(columns, &metadata)?)
    })
    .await
}

/// A table to be sent.
pub struct Table {
    /// Its columns, in order.
    pub columns: Vec<(&'static str, Values)>,
    /// What goes with its schema.
    pub metadata: Vec<(&'static str, String)>,
}

/// An object with one field.
fn json<T: serde::Serialize>(name: &'static str, value: T) -> Json<std::collections::BTreeMap<&'static str, T>> {
    Json([(name, value)].into())
}
