//! One layer's lifetimes.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::asked::{Asked, Key};
use super::{Table, columns};
use crate::trace::pool::pool;
use crate::web::arrow::Values;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;

/// A layer, and how many positions share a row.
#[derive(Debug, Deserialize)]
pub struct AtLayer {
    layer: u16,
    #[serde(default = "one")]
    pool: u32,
}

fn one() -> u32 {
    1
}

/// `GET /api/traces/KEY/lifetimes?layer=L&pool=K`
pub async fn lifetimes(
    State(dashboard): State<Dashboard>,
    Key(key): Key,
    Asked(AtLayer { layer, pool: block }): Asked<AtLayer>,
) -> Result<Response, ApiError> {
    if block == 0 {
        return Err(ApiError::BadRequest("pool is a number of positions; give at least 1".to_owned()));
    }
    columns(&dashboard, key, format!("lifetimes {layer} {block}"), move |library, entry| {
        let reader = library.reader(entry)?;
        check_layer(layer, reader.manifest().model.layers)?;
        let lives = reader.layer(layer)?;
        let metadata = vec![
            ("layer", layer.to_string()),
            ("kv_heads", lives.kv_heads.to_string()),
            ("seen", lives.seen.to_string()),
            ("pool", block.to_string()),
        ];
        let columns = if block == 1 {
            named(lives.log_beta, lives.evicted_at, lives.last_score)
        } else {
            let pooled = pool(&lives, block);
            let mut columns = named(pooled.log_beta, pooled.evicted_at, pooled.last_score);
            columns.push(("position", Values::U32(pooled.position)));
            columns
        };
        Ok(Table { columns, metadata })
    })
    .await
}

fn named(log_beta: Vec<f32>, evicted_at: Vec<u32>, last_score: Vec<f32>) -> Vec<(&'static str, Values)> {
    vec![
        ("log_beta", Values::F32(log_beta)),
        ("evicted_at", Values::U32(evicted_at)),
        ("last_score", Values::F32(last_score)),
    ]
}

/// Refuses a layer that the model lacks.
///
/// # Errors
/// When it does.
pub fn check_layer(layer: u16, layers: usize) -> Result<(), ApiError> {
    if usize::from(layer) < layers {
        return Ok(());
    }
    Err(ApiError::BadRequest(format!("there is no layer {layer}; the model has layers 0 to {}", layers - 1)))
}
