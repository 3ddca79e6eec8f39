//! Which request goes where.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

use super::api;
use super::assets;
use super::guard::{Guard, guard};
use super::library::Library;
use super::live::Feed;
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
    /// Runs of this process that can be followed, by key.
    feeds: Mutex<BTreeMap<String, Arc<Feed>>>,
    /// The run of this process, if one is in progress.
    #[cfg(feature = "generate")]
    pub runs: super::runs::Runs,
    /// Becomes true when the server is to end: streams that would go on end then.
    pub ending: watch::Receiver<bool>,
}

/// What handlers get.
pub type Dashboard = Arc<Shared>;

impl Shared {
    /// For a server that ends when `ending` becomes true.
    pub fn new(library: Library, ending: watch::Receiver<bool>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            library,
            columns: Semaphore::new(processors.max(2)),
            analyses: Semaphore::new(ANALYSES),
            feeds: Mutex::default(),
            #[cfg(feature = "generate")]
            runs: Default::default(),
            ending,
        }
    }

    /// The feed of a run of this process that is not over.
    pub fn feed(&self, key: &str) -> Option<Arc<Feed>> {
        self.feeds().get(key).cloned()
    }

    /// Lets a run be followed under a key.
    pub fn follow(&self, key: &str, feed: Arc<Feed>) {
        self.feeds().insert(key.to_owned(), feed);
    }

    /// Forgets a run whose files are final. Those who follow it have been told.
    pub fn unfollow(&self, key: &str) {
        self.feeds().remove(key);
    }

    fn feeds(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
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
