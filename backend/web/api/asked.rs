//! What a request names, and one sentence when it names it wrongly.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::web::error::ApiError;

/// The key of a trace, from the path.
pub struct Key(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unreadable = |_| ApiError::NotFound("there is no trace of that name".to_owned());
        let Path(names) = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(unreadable)?;
        let key = names.into_iter().find(|(name, _)| name == "key").map(|(_, key)| key).unwrap_or_default();
        let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        // Keys are looked up, never joined to a path; what cannot be one is not looked up either.
        if key.is_empty() || !is_plain { Err(ApiError::no_trace(&key)) } else { Ok(Self(key)) }
    }
}

/// What the query says.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|error| ApiError::BadRequest(error.body_text()))?;
        Ok(Self(asked))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Json::<T>::from_request(request, state).await;
        let Json(body) = body.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge("the request is too long".to_owned()),
            _ => ApiError::BadRequest(error.body_text()),
        })?;
        Ok(Self(body))
    }
}
