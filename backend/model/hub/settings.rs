//! Where the hub is, where its files are kept and who is asking: the variables that every Hugging Face tool honours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HubError;

/// The hub that is asked when nothing else is set.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Everything that [`Hub`](super::Hub) needs to know before it can fetch.
#[derive(Clone)]
pub struct Settings {
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// Folder shared with the other Hugging Face tools (`models--owner--name/...`).
    pub cache_dir: PathBuf,
    /// Access token; sent to the endpoint's own host and nowhere else.
    pub token: Option<String>,
    /// Whether the cache alone may answer.
    pub network: Network,
    /// How long to wait and how often to try again.
    pub patience: Patience,
}

/// The token is left out: settings end up in logs.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("network", &self.network)
            .field("patience", &self.patience)
            .finish()
    }
}

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Files that are not in the cache are downloaded.
    Online,
    /// Only the cache is looked at (`HF_HUB_OFFLINE=1`).
    Offline,
}

/// How long to wait for an answer, and how often to ask again after a failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts that may fail in a row. An attempt that brought bytes does not count.
    pub retries: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub first_wait: Duration,
    /// Silence after which a connection is given up.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 4, first_wait: Duration::from_millis(500), silence: Duration::from_secs(60) }
    }
}

impl Patience {
    /// Wait before attempt number `failures + 1`.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        self.first_wait * 2u32.saturating_pow(failures.saturating_sub(1)).min(32)
    }
}

impl Settings {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and their older names.
    ///
    /// # Errors
    /// When there is no home folder to keep a cache in, or a value cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_lookup(&|name| std::env::var_os(name), std::env::home_dir())
    }

    /// The same over any set of variables. An empty variable counts as absent.
    fn from_lookup(variable: &dyn Fn(&str) -> Option<OsString>, user_home: Option<PathBuf>) -> Result<Self, HubError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().trim().to_owned());
        let folder = |name: &str| set(name).map(|value| without_tilde(Path::new(&value), user_home.as_deref()));

        let hub_home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|caches| caches.join("huggingface")))
            .or_else(|| user_home.as_ref().map(|home| home.join(".cache").join("huggingface")));
        let cache_dir = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hub_home.as_ref().map(|home| home.join("hub")))
            .ok_or(HubError::NoHome)?;

        let token_file = folder("HF_TOKEN_PATH").or_else(|| hub_home.map(|home| home.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            // No token file is the ordinary case; an unreadable one means going on as a guest, as the hub's own tools do.
            .or_else(|| token_file.and_then(|file| std::fs::read_to_string(file).ok()))
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());

        let offline = text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
        let settings = Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            cache_dir,
            token,
            network: if offline { Network::Offline } else { Network::Online },
            patience: Patience::default(),
        };
        settings.checked()
    }

    /// Brings the endpoint into one form and refuses what could not be sent.
    pub(super) fn checked(mut self) -> Result<Self, HubError> {
        self.endpoint.truncate(self.endpoint.trim_end_matches('/').len());
        let host = self.endpoint.strip_prefix("https://").or_else(|| self.endpoint.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) || self.endpoint.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(HubError::BadEndpoint(self.endpoint));
        }
        if self.token.as_deref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(HubError::BadToken);
        }
        Ok(self)
    }
}

/// `~/x` as a shell would read it: these variables are often set where no shell expands them.
fn without_tilde(path: &Path, user_home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user_home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Settings::from_lookup(&lookup, Some(PathBuf::from("/home/ada")))
    }

    fn cache_of(variables: &[(&str, &str)]) -> PathBuf {
        settings(variables).unwrap().cache_dir
    }

    #[test]
    fn nothing_set_means_the_public_hub_and_the_usual_cache() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.endpoint, DEFAULT_ENDPOINT);
        assert_eq!(settings.cache_dir, Path::new("/home/ada/.cache/huggingface/hub"));
        assert_eq!((settings.token, settings.network), (None, Network::Online));
    }

    #[test]
    fn the_more_specific_cache_variable_wins() {
        let all =
            [("HF_HUB_CACHE", "/a"), ("HUGGINGFACE_HUB_CACHE", "/b"), ("HF_HOME", "/c"), ("XDG_CACHE_HOME", "/d")];
        assert_eq!(cache_of(&all), Path::new("/a"));
        assert_eq!(cache_of(&all[1..]), Path::new("/b"));
        assert_eq!(cache_of(&all[2..]), Path::new("/c/hub"));
        assert_eq!(cache_of(&all[3..]), Path::new("/d/huggingface/hub"));
        assert_eq!(cache_of(&[("HF_HOME", "~/big")]), Path::new("/home/ada/big/hub"));
        assert_eq!(cache_of(&[("HF_HOME", "")]), Path::new("/home/ada/.cache/huggingface/hub"));
    }

    #[test]
    fn the_token_comes_from_its_variable_and_then_from_the_token_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        std::fs::write(home.path().join("other"), " hf_other ").unwrap();
        let [home, other] = [home.path().to_str().unwrap().to_owned(), home.path().join("other").display().to_string()];

        let token = |variables: &[(&str, &str)]| settings(variables).unwrap().token;
        assert_eq!(token(&[("HF_HOME", &home)]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_HOME", &home), ("HF_TOKEN_PATH", &other)]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[("HF_HOME", &home), ("HF_TOKEN", "hf_env\n")]).as_deref(), Some("hf_env"));
    }

    #[test]
    fn offline_is_switched_on_by_any_of_the_usual_words() {
        for (value, expected) in [("1", Network::Offline), ("True", Network::Offline), ("0", Network::Online)] {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).unwrap().network, expected, "{value}");
        }
    }

    #[test]
    fn unusable_values_are_named_and_a_token_is_never_printed() {
        assert!(matches!(settings(&[("HF_ENDPOINT", "ftp://x")]), Err(HubError::BadEndpoint(_))));
        assert!(matches!(settings(&[("HF_TOKEN", "hf_\u{fc}")]), Err(HubError::BadToken)));
        assert_eq!(settings(&[("HF_ENDPOINT", "http://mirror:8080/hf//")]).unwrap().endpoint, "http://mirror:8080/hf");
        assert!(!format!("{:?}", settings(&[("HF_TOKEN", "hf_secret")]).unwrap()).contains("secret"));
        assert!(matches!(Settings::from_lookup(&|_| None, None), Err(HubError::NoHome)));
    }
}
