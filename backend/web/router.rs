//! Which request goes where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

use super::api;
use super::assets;
use super::guard::{Guard, guard};
use super::library::Library;
use super::pages;

/// Largest request body but for dropped traces.
const BODY_BYTES: usize = 1 << 20;
/// Traces that are analysed as a whole at once: each may take gigabytes.
const ANALYSES: usize = 1;

/// What handlers share.
#[derive(Debug)]
pub struct Shared {
    /// The traces.
    pub library: Library,
    /// Turns for reading columns.
    pub columns: Semaphore,
    /// Turns for analysing whole traces.
    pub analyses: Semaphore,
    /// Becomes true when the server is to end: streams that would go on end then.
    pub ending: watch::Receiver<bool>,
}

/// What handlers get.
pub type Dashboard = Arc<Shared>;

impl Shared {
    /// For a server that ends when `ending` becomes true.
    pub fn new(library: Library, ending: watch::Receiver<bool>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { library, columns: Semaphore::new(processors.max(2)), analyses: Semaphore::new(ANALYSES), ending }
    }
}

/// Everything the server answers.
pub fn router(dashboard: Dashboard, who: Guard) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/t/{key}", get(pages::trace))
        .route("/static/{*file}", get(assets::asset))
        .nest("/api", api::routes())
        .fallback(pages::nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(who, guard))
        .with_state(dashboard)
}
