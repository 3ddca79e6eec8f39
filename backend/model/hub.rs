//! Files from the Hugging Face hub, kept in the cache that all of its tools share.
//!
//! The transfer is our own. The `hf-hub` crate gives no time limit, loses the header that says why a file is refused,
//! appends a whole file to half of one when a server ignores a range or the first retry fails before a byte arrives, and
//! checks neither length nor sum; a model is gigabytes over a link that breaks, so each of these happens.
//!
//! What is in the cache is used without asking the hub, and what is missing is fetched from the commit that the cache has
//! seen, so that a model is never put together from the files of two commits. To move on, name the newer commit as the
//! revision, or delete the model's folder from the cache.

mod cache;
mod client;
mod download;
mod error;
mod names;
mod settings;

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use cache::{Lookup, RepoCache};
use client::{Client, Remote};

pub use error::HubError;
pub use names::{NameError, RepoId, Wanted};
pub use settings::{DEFAULT_ENDPOINT, Network, Patience, Settings};

/// Whether downloads draw a bar on standard error. Nothing is drawn where standard error is no terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Draw a bar.
    Show,
    /// Draw nothing.
    Hide,
}

/// Fetches files from one hub into one cache.
///
/// ```no_run
/// # use trimkv_trace::model::hub::{Hub, Progress};
/// let hub = Hub::from_env(Progress::Show)?;
/// let config = hub.fetch(&"ngocbh/TrimKV-Qwen3-4B-Math".parse()?, None, "config.json")?;
/// println!("{} at {:?}", config.display(), Hub::resolved_revision(&config));
/// # Ok::<(), trimkv_trace::model::hub::HubError>(())
/// ```
pub struct Hub {
    settings: Settings,
    client: Client,
    progress: Progress,
}

impl Hub {
    /// A hub as the environment describes it: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HUB_OFFLINE`, and the token file that logging in leaves behind.
    ///
    /// # Errors
    /// When a variable cannot be used, or there is no home folder to keep the cache in.
    pub fn from_env(progress: Progress) -> Result<Self, HubError> {
        Self::new(Settings::from_env()?, progress)
    }

    /// A hub with explicit settings.
    ///
    /// # Errors
    /// When the endpoint is no address or the token cannot be sent.
    pub fn new(settings: Settings, progress: Progress) -> Result<Self, HubError> {
        let settings = settings.checked()?;
        Ok(Self { client: Client::new(&settings), settings, progress })
    }

    /// Returns the path of `file`, downloading it unless the cache has it. No revision means `main`.
    ///
    /// # Errors
    /// Any [`HubError`]; each says what to do about it.
    pub fn fetch(&self, repo: &RepoId, revision: Option<&str>, file: &str) -> Result<PathBuf, HubError> {
        let wanted = Wanted::new(repo, revision, file)?;
        let cache = RepoCache::new(&self.settings.cache_dir, repo);
        match (cache.look_up(&wanted.revision, file), self.settings.network) {
            (Lookup::Here(path), _) => Ok(path),
            (Lookup::NotInCommit { commit }, _) => {
                Err(HubError::FileNotFound { wanted: Wanted { revision: commit, ..wanted } })
            }
            (Lookup::Unknown { .. }, Network::Offline) => {
                Err(HubError::NotCached { wanted, cache_dir: self.settings.cache_dir.clone() })
            }
            (Lookup::Unknown { commit }, Network::Online) => self.download(&cache, &wanted, commit.as_deref()),
        }
    }

    /// As [`fetch`](Self::fetch), but `None` where the repository exists and has no such file, and where the network is
    /// switched off and the cache does not have it.
    ///
    /// # Errors
    /// Any other [`HubError`]: a repository or revision that does not exist, no network, a full disk.
    pub fn fetch_optional(
        &self,
        repo: &RepoId,
        revision: Option<&str>,
        file: &str,
    ) -> Result<Option<PathBuf>, HubError> {
        match self.fetch(repo, revision, file) {
            Ok(path) => Ok(Some(path)),
            Err(HubError::FileNotFound { .. } | HubError::NotCached { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commit that a fetched file belongs to, read from its path.
    pub fn resolved_revision(path: &Path) -> Option<&str> {
        cache::commit_in(path)
    }

    /// Asks the hub for a file. `seen` is the commit that the cache has seen for the wanted revision.
    fn download(&self, cache: &RepoCache, wanted: &Wanted, seen: Option<&str>) -> Result<PathBuf, HubError> {
        let Wanted { revision, file, .. } = wanted;
        let in_cache = |error| HubError::disk(&self.settings.cache_dir, error);
        let remote = match self.client.describe_patiently(wanted, seen.unwrap_or(revision)) {
            Ok(remote) => remote,
            Err(absent @ HubError::FileNotFound { .. }) => {
                if let Some(commit) = seen {
                    // Only saves the next run a question: a cache that cannot be written is no reason to fail here.
                    let _ = cache.note_absence(commit, file);
                }
                return Err(absent);
            }
            Err(error) => return Err(error),
        };
        let _alone = cache.lock(&remote.etag).map_err(in_cache)?;
        let blob = cache.blob(&remote.etag);
        // Another process may have fetched it while we waited; another name may have the same content.
        if !blob.is_file() {
            let part = cache.part(&remote.etag);
            let bar = self.bar(file, &remote);
            let fetched = self.client.download(wanted, &remote, &part, &bar);
            bar.finish_and_clear();
            fetched?;
            std::fs::rename(&part, &blob).map_err(|error| HubError::disk(&blob, error))?;
        }
        let path = cache.link(&remote.commit, file, &remote.etag).map_err(in_cache)?;
        if seen.is_none() {
            cache.note_commit(revision, &remote.commit).map_err(in_cache)?;
        }
        Ok(path)
    }

    fn bar(&self, file: &str, remote: &Remote) -> ProgressBar {
        if self.progress == Progress::Hide {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(remote.size.unwrap_or_default()).with_message(file.to_owned());
        match ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
