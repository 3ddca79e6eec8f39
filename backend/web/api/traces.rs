//! The list of traces, and what one of them is.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::asked::Key;
use super::{blocking, json};
use crate::trace::manifest::Manifest;
use crate::web::error::ApiError;
use crate::web::library::Source;
use crate::web::listed::{self, Listed, shown_path, title};
use crate::web::router::Dashboard;

/// `GET /api/traces`
pub async fn list(
    State(dashboard): State<Dashboard>,
) -> Result<Json<std::collections::BTreeMap<&'static str, Vec<Listed>>>, ApiError> {
    let all = blocking(&dashboard, |shared| Ok(listed::list(&shared.library))).await?;
    Ok(json("traces", all))
}

/// One trace.
#[derive(Debug, Serialize)]
pub struct One {
    key: String,
    title: String,
    source: Source,
    path: String,
    manifest: Manifest,
    text_known: bool,
    gates_known: bool,
}

/// `GET /api/traces/KEY`
pub async fn one(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Json<One>, ApiError> {
    let _turn = dashboard.columns.acquire().await;
    let one = blocking(&dashboard, move |shared| {
        shared.library.steadily(&key, |entry| {
            let reader = shared.library.reader(entry)?;
            Ok(One {
                title: title(entry),
                source: entry.source,
                path: shown_path(entry),
                manifest: reader.manifest().clone(),
                text_known: reader.tokens()?.iter().any(|token| token.text.is_some()),
                gates_known: reader.layer(0)?.log_beta.iter().any(|log_beta| !log_beta.is_nan()),
                key: key.clone(),
            })
        })
    })
    .await?;
    Ok(Json(one))
}
