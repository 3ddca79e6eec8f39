//! A trace's text, token by token.

use axum::extract::State;
use axum::response::Response;

use super::asked::Key;
use super::{Table, columns};
use crate::text::class::TokenClass;
use crate::trace::journal::ROLES;
use crate::trace::step::{Origin, TokenRecord};
use crate::web::arrow::Values;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;

/// The code of a token that has no role.
pub const NO_ROLE: u8 = u8::MAX;

/// `GET /api/traces/KEY/tokens`
pub async fn tokens(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<Response, ApiError> {
    columns(&dashboard, key, "tokens".to_owned(), |library, entry| Ok(table(&library.reader(entry)?.tokens()?))).await
}

fn table(tokens: &[TokenRecord]) -> Table {
    let number = |value: fn(&TokenRecord) -> Option<f32>| {
        Values::F32(tokens.iter().map(|token| value(token).unwrap_or(f32::NAN)).collect())
    };
    Table {
        columns: vec![
            ("position", Values::U32((0..tokens.len() as u32).collect())),
            ("token_id", Values::U32(tokens.iter().map(|token| token.id).collect())),
            ("text", Values::Text(tokens.iter().map(|token| token.text.clone().unwrap_or_default()).collect())),
            ("origin", Values::U8(tokens.iter().map(|token| origin_code(token.origin)).collect())),
            ("role", Values::U8(tokens.iter().map(|token| role_code(token.role)).collect())),
            ("class", Values::U8(tokens.iter().map(|token| class_code(token.class)).collect())),
            ("logprob", number(|token| token.logprob)),
            ("entropy", number(|token| token.entropy)),
        ],
        metadata: vec![
            ("role_names", ROLES.join(",")),
            ("class_names", TokenClass::ALL.map(TokenClass::as_str).join(",")),
        ],
    }
}

/// 0 prompt, 1 generated.
pub fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Prompt => 0,
        Origin::Generated => 1,
    }
}

/// The place of a role among `role_names`.
pub fn role_code(role: Option<&str>) -> u8 {
    ROLES.iter().position(|known| Some(*known) == role).map_or(NO_ROLE, |place| place as u8)
}

/// The place of a class among `class_names`.
pub fn class_code(class: &str) -> u8 {
    let named = |name: &str| TokenClass::ALL.iter().position(|known| known.as_str() == name);
    named(class).or_else(|| named(TokenClass::Other.as_str())).unwrap_or_default() as u8
}
