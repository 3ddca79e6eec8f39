//! The pages: facts as HTML that can be read without scripts. What is drawn is fetched by the scripts.

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};

use super::api::asked::Key;
use super::api::blocking;
use super::error::ApiError;
use super::library::Source;
use super::listed::{self, Listed, title};
use super::router::Dashboard;

#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    traces: Vec<Listed>,
}

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    key: String,
    title: String,
    facts: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    heading: &'static str,
    message: String,
}

/// An error as a page.
pub struct PageError(ApiError);

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let heading = match self.0 {
            ApiError::NotFound(_) => "Not here",
            ApiError::Forbidden(_) => "Not allowed",
            ApiError::Damaged(_) => "This trace cannot be read",
            _ => "This did not work",
        };
        let status = self.0.status();
        match (ErrorPage { heading, message: self.0.to_string() }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => self.0.into_response(),
        }
    }
}

fn page(template: &impl Template) -> Result<Html<String>, PageError> {
    template.render().map(Html).map_err(|error| PageError(ApiError::Internal(error.to_string())))
}

/// `GET /`
pub async fn index(State(dashboard): State<Dashboard>) -> Result<Html<String>, PageError> {
    let traces = blocking(&dashboard, |shared| Ok(listed::list(&shared.library))).await?;
    page(&Index { traces })
}

/// `GET /t/KEY`
pub async fn trace(State(dashboard): State<Dashboard>, key: Result<Key, ApiError>) -> Result<Html<String>, PageError> {
    let Key(key) = key?;
    let found = blocking(&dashboard, move |shared| {
        let (name, reader) =
            shared.library.steadily(&key, |entry| Ok((title(entry), shared.library.reader(entry)?)))?;
        let (manifest, mut facts) = (reader.manifest(), Vec::new());
        let model = &manifest.model;
        let heads = format!("{} layers x {} KV heads", model.layers, model.kv_heads);
        let named = if model.name.is_empty() { heads.clone() } else { format!("{} ({heads})", model.name) };
        facts.push(("Model", named));
        let policy = &manifest.policy;
        if !policy.name.is_empty() {
            facts.push(("Policy", policy.name.clone()));
        }
        if let Some(budget) = policy.budget {
            let buffer = policy.buffer.map_or(String::new(), |buffer| format!(" + {buffer}"));
            facts.push(("Budget", format!("{budget}{buffer} tokens per KV head")));
        }
        let (prompt, generated) = (manifest.prompt.tokens, manifest.generated.tokens);
        facts.push(("Tokens", format!("{} read: {prompt} of prompt, {generated} generated", manifest.seen)));
        facts.push(("Status", manifest.status.as_str().to_owned()));
        Ok(TracePage { title: name, facts, key })
    })
    .await?;
    page(&found)
}

/// Whatever else is asked for.
pub async fn nothing(uri: Uri) -> (StatusCode, PageError) {
    let what = uri.path().chars().take(200).collect::<String>();
    (StatusCode::NOT_FOUND, PageError(ApiError::NotFound(format!("there is nothing at {what}"))))
}

/// What the list says of a trace, in words.
impl Listed {
    fn what(&self) -> String {
        match (&self.error, &self.model) {
            (Some(error), _) => error.clone(),
            (None, model) => {
                let model = model.clone().unwrap_or_else(|| "unknown model".to_owned());
                let policy = self.policy.clone().unwrap_or_else(|| "unknown policy".to_owned());
                let budget = self.budget.map_or(String::new(), |budget| format!(", budget {budget}"));
                format!("{model}, {policy}{budget}")
            }
        }
    }

    fn size(&self) -> String {
        self.tokens.map_or("-".to_owned(), |tokens| tokens.to_string())
    }

    fn origin(&self) -> &'static str {
        match self.source {
            Source::Bundled => "bundled",
            Source::Local => "on this machine",
            Source::Live => "run here",
            Source::Dropped => "dropped",
        }
    }
}
