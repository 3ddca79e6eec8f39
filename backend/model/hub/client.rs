//! What is said to the hub: one question about a file, and the file itself, continued where it broke off.

use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::HubError;
use super::cache::is_commit;
use super::names::Wanted;
use super::settings::{Patience, Settings};

/// Redirects that are followed for one file; the hub itself needs two.
const MOST_REDIRECTS: usize = 8;

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Talks HTTP to one hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    pub(super) patience: Patience,
}

/// What the hub says about a file before it sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// Names the file's content; a SHA-256 sum where the file is large.
    pub(super) etag: String,
    /// Length in bytes, where the hub says it.
    pub(super) size: Option<u64>,
}

impl Remote {
    /// The content's SHA-256 sum in hexadecimal, which is how the hub tags large files.
    pub(super) fn sha256(&self) -> Option<&str> {
        (self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(self.etag.as_str())
    }
}

/// Why one attempt did not bring the file, and whether another may.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Asking again may help.
    Passing(Trouble),
    /// Asking again would bring the same answer.
    Final(HubError),
}

/// A failure that may pass.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No connection, or a broken one.
    Network(String),
    /// The hub is busy or broken.
    Status(u16),
}

impl From<HubError> for Attempt {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

#[derive(Clone, Copy)]
enum Ask {
    /// For the headers, up to the answer that describes the file.
    Headers,
    /// For the content from this byte on.
    ContentFrom(u64),
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, because the token may go to the endpoint only and the headers that describe
            // a file come with the redirect to its storage.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(settings.patience.silence)))
            .timeout_per_read(Some(settings.patience.silence))
            .timeout_recv_response(Some(settings.patience.silence))
            .user_agent(concat!("trimkv-trace/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { agent, endpoint: settings.endpoint.clone(), token: settings.token.clone(), patience: settings.patience }
    }

    /// Asks what the file is at `revision` (which may be the commit behind the revision that was wanted).
    pub(super) fn describe(&self, wanted: &Wanted, revision: &str) -> Result<Remote, Attempt> {
        let response = self.ask(&self.address(wanted, revision), Ask::Headers)?;
        let status = response.status();
        let headers = response.headers();
        let described = status.is_success() || (status.is_redirection() && text(headers, "x-repo-commit").is_some());
        if !described {
            return Err(self.refusal(status, headers, wanted, revision));
        }
        let commit = text(headers, "x-repo-commit").filter(|commit| is_commit(commit));
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag")).and_then(file_name_of_etag);
        // The length of a redirect's own body says nothing about the file.
        let length = if status.is_success() { text(headers, "content-length") } else { None };
        let size = text(headers, "x-linked-size").or(length);
        match (commit, etag, size.map(str::parse)) {
            (Some(commit), Some(etag), None) => Ok(Remote { commit: commit.to_owned(), etag, size: None }),
            (Some(commit), Some(etag), Some(Ok(size))) => {
                Ok(Remote { commit: commit.to_owned(), etag, size: Some(size) })
            }
            (None, ..) => Err(self.odd("no commit is named").into()),
            (_, None, _) => Err(self.odd("the file has no tag").into()),
            (.., Some(Err(_))) => Err(self.odd("the file's length is no number").into()),
        }
    }

    /// Asks for the file's content from byte `start` on. The answer's status is 200 (from the first byte, whatever was
    /// asked), 206 (from `start`) or 416 (there is no such byte).
    pub(super) fn content(&self, wanted: &Wanted, commit: &str, start: u64) -> Result<Response<Body>, Attempt> {
        let response = self.ask(&self.address(wanted, commit), Ask::ContentFrom(start))?;
        match response.status() {
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), start) => Ok(response),
            StatusCode::PARTIAL_CONTENT => {
                Err(self.odd("it sends another part of the file than it was asked for").into())
            }
            status => Err(self.refusal(status, response.headers(), wanted, commit)),
        }
    }

    fn ask(&self, address: &str, ask: Ask) -> Result<Response<Body>, Attempt> {
        let mut address = address.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let request = match ask {
                Ask::Headers => self.agent.head(&address),
                Ask::ContentFrom(_) => self.agent.get(&address),
            };
            // A compressed answer would have another length than the file.
            let mut request = request.header(header::ACCEPT_ENCODING, "identity");
            if let Ask::ContentFrom(start @ 1..) = ask {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            if let Some(token) = self.token.as_deref().filter(|_| origin(&address) == origin(&self.endpoint)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| self.failed(&error))?;
            let named = |name| text(response.headers(), name).is_some();
            let describes = matches!(ask, Ask::Headers) && named("x-linked-etag") && named("x-repo-commit");
            if !response.status().is_redirection() || describes {
                return Ok(response);
            }
            address = match text(response.headers(), "location") {
                Some(path) if path.starts_with('/') && !path.starts_with("//") => format!("{}{path}", origin(&address)),
                Some(other) if other.starts_with("https://") || other.starts_with("http://") => other.to_owned(),
                _ => return Err(self.odd("it redirects to nowhere").into()),
            };
        }
        Err(self.odd("it redirects in circles").into())
    }

    /// `{endpoint}/{owner}/{name}/resolve/{revision}/{file}`
    fn address(&self, wanted: &Wanted, revision: &str) -> String {
        let file: Vec<String> = wanted.file.split('/').map(escaped).collect();
        format!("{}/{}/resolve/{}/{}", self.endpoint, wanted.repo, escaped(revision), file.join("/"))
    }

    /// Gives the hub's refusal its reason. The hub names it in a header, because a status alone is ambiguous: it answers
    /// 401 for a model that does not exist when nobody is logged in.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, wanted: &Wanted, revision: &str) -> Attempt {
        let Wanted { repo, file, .. } = wanted;
        let page = format!("{}/{repo}", self.endpoint);
        let code = text(headers, "x-error-code").unwrap_or_default();
        Attempt::Final(match (status.as_u16(), code) {
            (408 | 429 | 500..=599, _) => return Attempt::Passing(Trouble::Status(status.as_u16())),
            (404, "EntryNotFound") => {
                HubError::FileNotFound { wanted: Wanted { revision: revision.to_owned(), ..wanted.clone() } }
            }
            (404, "RevisionNotFound") => {
                HubError::RevisionNotFound { repo: repo.clone(), revision: revision.to_owned() }
            }
            (401 | 403, _) if self.token.is_none() => HubError::NeedsToken { repo: repo.clone(), page },
            (401 | 403, "GatedRepo") | (403, _) => HubError::NeedsLicence { repo: repo.clone(), page },
            (401, _) => HubError::TokenRefused { page },
            (404, _) => HubError::RepoNotFound { repo: repo.clone(), endpoint: self.endpoint.clone() },
            (status, _) => HubError::Status { endpoint: self.endpoint.clone(), status, file: file.clone() },
        })
    }

    fn failed(&self, error: &ureq::Error) -> Attempt {
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            other => other.to_string(),
        };
        match error {
            ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => {
                Attempt::Passing(Trouble::Network(reason))
            }
            _ => Attempt::Final(HubError::NoNetwork { endpoint: self.endpoint.clone(), reason }),
        }
    }

    /// What to report once a passing trouble has not passed.
    pub(super) fn given_up(&self, trouble: Trouble, file: &str) -> HubError {
        let endpoint = self.endpoint.clone();
        match trouble {
            Trouble::Network(reason) => HubError::NoNetwork { endpoint, reason },
            Trouble::Status(status) => HubError::Status { endpoint, status, file: file.to_owned() },
        }
    }

    fn odd(&self, oddity: &str) -> HubError {
        HubError::NotAHub { endpoint: self.endpoint.clone(), oddity: oddity.to_owned() }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(reason) => f.write_str(reason),
            Self::Status(status) => write!(f, "the hub answered {status}"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Whether a partial answer begins where it should: `Content-Range: bytes <start>-<end>/<size>`.
fn starts_at(headers: &HeaderMap, start: u64) -> bool {
    let range = text(headers, "content-range").and_then(|range| range.strip_prefix("bytes "));
    range.and_then(|range| range.split_once('-')).is_some_and(|(first, _)| first.parse() == Ok(start))
}

/// The tag without its quotes, if it can be a file's name.
fn file_name_of_etag(etag: &str) -> Option<String> {
    let tag = etag.trim_start_matches("W/").trim_matches('"');
    let harmless =
        (1..=128).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    harmless.then(|| tag.to_owned())
}

/// `https://host:port` of an address.
fn origin(address: &str) -> &str {
    let host = address.find("://").map_or(0, |scheme| scheme + 3);
    let end = address[host..].find(['/', '?', '#']).map_or(address.len(), |path| host + path);
    &address[..end]
}

/// One step of a path in an address, with everything but letters, digits and `-._~` escaped.
fn escaped(step: &str) -> String {
    step.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_scheme_host_and_port() {
        assert_eq!(origin("https://hub.example/a/b?c=https://x/"), "https://hub.example");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_ne!(origin("http://hub.example/a"), origin("https://hub.example/a"));
        assert_ne!(origin("https://hub.example.evil/a"), origin("https://hub.example/a"));
        assert_ne!(origin("https://hub.example@evil/a"), origin("https://hub.example/a"));
    }

    #[test]
    fn only_a_tag_that_is_a_plain_name_is_taken() {
        assert_eq!(file_name_of_etag("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(file_name_of_etag("W/\"abc\"").as_deref(), Some("abc"));
        for tag in ["", "\"\"", "../x", "\"a/b\"", "\"..\"", "a.lock"] {
            assert_eq!(file_name_of_etag(tag), None, "{tag}");
        }
    }

    #[test]
    fn names_are_escaped_in_addresses() {
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escaped("layer 1?#%.json"), "layer%201%3F%23%25.json");
    }
}
