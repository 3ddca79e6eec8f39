//! A trace's directory, to take away.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::asked::Key;
use super::blocking;
use crate::trace::read::standing;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;
use crate::web::zipped;

/// Pieces that wait for a slow client.
const QUEUE: usize = 4;

/// `GET /api/traces/KEY/download.zip`
pub async fn download(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    let entry = blocking(&dashboard, move |shared| shared.library.entry(&key)).await?;
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let name = entry.key.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = zipped::send(&standing(&entry.path), &entry.key, &pieces) {
            // Breaks the download off, so that half a zip does not look whole. A client that has gone does not hear it.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.zip\"")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}
