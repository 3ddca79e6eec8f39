//! The passes of a run.

use axum::extract::State;
use axum::response::Response;

use super::asked::Key;
use super::{Table, columns};
use crate::trace::recording::StepRow;
use crate::trace::step::Phase;
use crate::web::arrow::Values;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;

/// `GET /api/traces/KEY/steps`
pub async fn steps(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    columns(&dashboard, key, "steps".to_owned(), |library, entry| Ok(table(&library.reader(entry)?.steps()?))).await
}

fn table(rows: &[StepRow]) -> Table {
    let large = |value: fn(&StepRow) -> u64| Values::U64(rows.iter().map(value).collect());
    Table {
        columns: vec![
            ("tokens_seen", Values::U32(rows.iter().map(|row| row.tokens_seen).collect())),
            ("phase", Values::U8(rows.iter().map(|row| phase_code(row.phase)).collect())),
            ("elapsed_us", large(|row| row.elapsed_us)),
            ("cached", large(|row| row.cached)),
            ("evicted", large(|row| row.evicted)),
        ],
        metadata: Vec::new(),
    }
}

/// 0 prefill, 1 decode.
pub fn phase_code(phase: Phase) -> u8 {
    match phase {
        Phase::Prefill => 0,
        Phase::Decode => 1,
    }
}
