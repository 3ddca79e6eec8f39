//! The cuts of one layer.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::asked::{Asked, Key};
use super::lifetimes::check_layer;
use super::{Table, columns};
use crate::trace::recording::CutRow;
use crate::web::arrow::Values;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;

/// A layer.
#[derive(Debug, Deserialize)]
pub struct OfLayer {
    layer: u16,
}

/// `GET /api/traces/KEY/cuts?layer=L`
pub async fn cuts(
    State(dashboard): State<Dashboard>,
    Key(key): Key,
    Asked(OfLayer { layer }): Asked<OfLayer>,
) -> Result<Response, ApiError> {
    columns(&dashboard, key, format!("cuts {layer}"), move |library, entry| {
        check_layer(layer, library.reader(entry)?.manifest().model.layers)?;
        let all = library.cuts(entry)?;
        let mut rows: Vec<&CutRow> = all.iter().filter(|row| row.head.head.layer == layer).collect();
        // Another writer's rows may come in another order.
        rows.sort_by_key(|row| (row.tokens_seen, row.head.head.head));
        Ok(table(&rows))
    })
    .await
}

fn table(rows: &[&CutRow]) -> Table {
    let count = |value: fn(&CutRow) -> u32| Values::U32(rows.iter().map(|row| value(row)).collect());
    Table {
        columns: vec![
            ("tokens_seen", count(|row| row.tokens_seen)),
            ("head", Values::U16(rows.iter().map(|row| row.head.head.head).collect())),
            ("cached_before", count(|row| row.head.cached_before)),
            ("kept", count(|row| row.head.kept)),
            ("threshold", Values::F32(rows.iter().map(|row| row.head.threshold.unwrap_or(f32::NAN)).collect())),
            ("ties", count(|row| row.head.ties)),
        ],
        metadata: Vec::new(),
    }
}
