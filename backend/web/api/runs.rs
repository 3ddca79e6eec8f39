//! Runs that the page starts and stops.

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;

use crate::web::error::ApiError;

/// A model that can be run.
#[derive(Debug, Serialize)]
pub struct Model {
    name: &'static str,
    title: &'static str,
    budget: u32,
    buffer: u32,
}

/// A policy by name.
#[derive(Debug, Serialize)]
pub struct Policy {
    name: &'static str,
    title: &'static str,
    needs_gates: bool,
}

/// What a run can be given.
#[derive(Debug, Serialize)]
pub struct Choices {
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    models: Vec<Model>,
    policies: Vec<Policy>,
    device: Option<&'static str>,
}

#[cfg(feature = "generate")]
pub use with_models::{choices, start, stop};
#[cfg(not(feature = "generate"))]
pub use without_models::{choices, start, stop};

#[cfg(feature = "generate")]
mod with_models {
    use axum::extract::State;
    use serde::Deserialize;

    use super::*;
    use crate::policy::PolicyKind;
    use crate::run::offer;
    use crate::run::place::free_target;
    use crate::run::ready::{Given, Ready};
    use crate::run::request::RunRequest;
    use crate::web::api::asked::{Body, Key};
    use crate::web::api::{blocking, json};
    use crate::web::router::Dashboard;
    use crate::web::runs;

    /// Longest prompt, in bytes: more than the context of any model that is offered.
    const LONGEST_PROMPT: usize = 512 << 10;
    /// Letters of the prompt that name its trace.
    const NAME_LETTERS: usize = 24;

    /// What is to be run. What is absent is as on the command line.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Wanted {
        prompt: String,
        model: Option<String>,
        policy: Option<String>,
        budget: Option<u32>,
        buffer: Option<u32>,
        seed: Option<u64>,
        max_new_tokens: Option<u32>,
        temperature: Option<f64>,
        top_p: Option<f64>,
    }

    /// `GET /api/runs`
    pub async fn choices(State(dashboard): State<Dashboard>) -> Result<Json<Choices>, ApiError> {
        let choices = blocking(&dashboard, |_| {
            let device = offer::device();
            let models = offer::models().into_iter();
            Ok(Choices {
                available: device.is_ok(),
                reason: device.clone().err(),
                models: models
                    .map(|offer::OfferedModel { name, title, budget, buffer }| Model { name, title, budget, buffer })
                    .collect(),
                policies: PolicyKind::ALL
                    .map(|kind| Policy {
                        name: kind.as_str(),
                        title: offer::policy_title(kind),
                        needs_gates: kind.needs_gates(),
                    })
                    .into(),
                device: device.ok(),
            })
        });
        Ok(Json(choices.await?))
    }

    /// `POST /api/runs`
    pub async fn start(
        State(dashboard): State<Dashboard>,
        Body(wanted): Body<Wanted>,
    ) -> Result<Json<std::collections::BTreeMap<&'static str, String>>, ApiError> {
        let request = request(&wanted)?;
        dashboard.runs.claim()?;
        let shared = dashboard.clone();
        let started = blocking(&dashboard, move |_| {
            let ready = Ready::new(&request, Given::Text(&wanted.prompt), None, false)
                .map_err(|error| ApiError::BadRequest(error.to_string()))?;
            let target = free_target(&shared.library.home(), &stem(&wanted.prompt))
                .map_err(|error| ApiError::Conflict(error.to_string()))?;
            runs::start(&shared, ready, &target)
        })
        .await;
        // A run that began gives its place free itself.
        if started.is_err() {
            dashboard.runs.release();
        }
        Ok(json("key", started?))
    }

    /// `POST /api/runs/KEY/stop`
    pub async fn stop(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<StatusCode, ApiError> {
        dashboard.runs.stop(&key)?;
        Ok(StatusCode::NO_CONTENT)
    }

    fn request(wanted: &Wanted) -> Result<RunRequest, ApiError> {
        let refused = |sentence: String| Err(ApiError::BadRequest(sentence));
        if wanted.prompt.trim().is_empty() {
            return refused("the prompt is empty; write something into it".to_owned());
        }
        if wanted.prompt.len() > LONGEST_PROMPT || wanted.prompt.contains('\0') {
            return refused(format!("a prompt is text of at most {} KiB without NUL", LONGEST_PROMPT >> 10));
        }
        let known = offer::models();
        if let Some(model) = wanted.model.as_deref().filter(|model| known.iter().all(|known| known.name != *model)) {
            return refused(format!("there is no model {model:?} here; trace it with the command line, --model"));
        }
        let policy = wanted.policy.as_deref().map(str::parse::<PolicyKind>).transpose();
        let mut request = RunRequest {
            model: wanted.model.clone(),
            policy: policy.map_err(|error| ApiError::BadRequest(error.to_string()))?,
            budget: wanted.budget,
            buffer: wanted.buffer,
            temperature: wanted.temperature,
            top_p: wanted.top_p,
            ..RunRequest::default()
        };
        request.seed = wanted.seed.unwrap_or(request.seed);
        request.max_new_tokens = wanted.max_new_tokens.unwrap_or(request.max_new_tokens);
        Ok(request)
    }

    /// The first words of a prompt, to name its trace after.
    fn stem(prompt: &str) -> String {
        let letters = prompt.trim().chars().take(NAME_LETTERS);
        let letters = letters.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let words = letters.collect::<String>();
        words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    }
}

#[cfg(not(feature = "generate"))]
mod without_models {
    use super::*;

    const REASON: &str =
        "this program was built to look at traces only; build it with the feature generate to run models";

    /// `GET /api/runs`
    pub async fn choices() -> Json<Choices> {
        let reason = Some(REASON.to_owned());
        Json(Choices { available: false, reason, models: Vec::new(), policies: Vec::new(), device: None })
    }

    /// `POST /api/runs`
    pub async fn start() -> Result<StatusCode, ApiError> {
        Err(ApiError::Conflict(REASON.to_owned()))
    }

    /// `POST /api/runs/KEY/stop`
    pub async fn stop() -> Result<StatusCode, ApiError> {
        Err(ApiError::Conflict(REASON.to_owned()))
    }
}
