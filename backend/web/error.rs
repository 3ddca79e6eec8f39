//! What the server says when it cannot do what was asked.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::trace::error::TraceError;

/// Why a request was not met, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// What was asked is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// It comes from somewhere else.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Not now.
    #[error("{0}")]
    Conflict(String),
    /// More than the server takes.
    #[error("{0}")]
    TooLarge(String),
    /// The trace is damaged.
    #[error("{0}")]
    Damaged(String),
    /// A bug.
    #[error("{0}; please report this")]
    Internal(String),
}

impl ApiError {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Damaged(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// No trace has this key.
    pub fn no_trace(key: &str) -> Self {
        Self::NotFound(format!("there is no trace {key:?} here; it may have been moved or deleted"))
    }
}

impl From<TraceError> for ApiError {
    fn from(error: TraceError) -> Self {
        match &error {
            TraceError::WriterGone => Self::Internal(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Body {
    error: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), Json(Body { error: self.to_string() })).into_response()
    }
}
