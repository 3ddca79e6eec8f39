//! Why a file could not be fetched, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::names::{NameError, RepoId, Wanted};

/// Why the hub or its cache could not provide a file. Each message is one sentence that says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name was refused before anything was asked.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No folder to keep downloads in.
    #[error("there is no home folder to keep downloads in: set HF_HOME to a folder")]
    NoHome,
    /// `HF_ENDPOINT` is not an address.
    #[error("HF_ENDPOINT is {0:?}, which is not an address that starts with https:// or http://")]
    BadEndpoint(String),
    /// The token cannot be sent in a header. Its value is not shown.
    #[error("the access token holds characters that no token has: set HF_TOKEN again, without spaces or line breaks")]
    BadToken,

    /// The hub wants to know who is asking. It answers the same for models that do not exist.
    #[error("{repo} is private, gated or does not exist: accept its licence at {page} if it has one, and set HF_TOKEN")]
    NeedsToken {
        /// The model.
        repo: RepoId,
        /// Its page.
        page: String,
    },
    /// The hub does not know the token, or the token may not see the model.
    #[error("the access token does not open {page}: check the name, renew HF_TOKEN, or unset it for a public model")]
    TokenRefused {
        /// The model's page.
        page: String,
    },
    /// The account has not accepted the licence.
    #[error("{repo} is gated: accept its licence at {page} with the account that HF_TOKEN belongs to")]
    NeedsLicence {
        /// The model.
        repo: RepoId,
        /// Its page.
        page: String,
    },

    /// No such repository.
    #[error("there is no model {repo} at {endpoint}: check its name, or give a model on disk with --model DIR")]
    RepoNotFound {
        /// The model asked for.
        repo: RepoId,
        /// The hub that was asked.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision {revision}: check the branch, tag or commit")]
    RevisionNotFound {
        /// The model.
        repo: RepoId,
        /// The revision asked for.
        revision: String,
    },
    /// The repository has no such file.
    #[error("there is no {wanted}: check that it is the right model")]
    FileNotFound {
        /// The file asked for.
        wanted: Wanted,
    },

    /// The hub cannot be reached.
    #[error(
        "cannot reach {endpoint} ({reason}): check the network and HF_ENDPOINT, give a model on disk with --model DIR, or \
         set HF_HUB_OFFLINE=1 if the model is in the cache"
    )]
    NoNetwork {
        /// The hub that was asked.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// The network is switched off and the cache does not have the file.
    #[error("HF_HUB_OFFLINE is set and {wanted} is not in {cache_dir}: unset it for one run, or give --model DIR")]
    NotCached {
        /// The file asked for.
        wanted: Wanted,
        /// Where it was looked for.
        cache_dir: PathBuf,
    },
    /// The hub answered with a status that says nothing about the file.
    #[error("{endpoint} answered {status} when asked for {file}: try again later")]
    Status {
        /// The hub that was asked.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// The file asked for.
        file: String,
    },
    /// The answer is not what a hub says.
    #[error("{endpoint} does not answer as a Hugging Face hub does ({oddity}): check HF_ENDPOINT")]
    NotAHub {
        /// The hub that was asked.
        endpoint: String,
        /// What is odd about the answer.
        oddity: String,
    },

    /// The connection broke too often. What arrived is kept.
    #[error("the download of {file} stopped after {received} bytes ({reason}): run again and it goes on from there")]
    Interrupted {
        /// The file asked for.
        file: String,
        /// Bytes on disk.
        received: u64,
        /// What the network said last.
        reason: String,
    },
    /// What arrived is not what the hub has. It was thrown away.
    #[error("{wanted} arrived damaged ({damage}) and was thrown away: run again to download it anew")]
    Damaged {
        /// The file asked for.
        wanted: Wanted,
        /// How it differs.
        damage: String,
    },

    /// The disk is full.
    #[error("no space is left for the download at {path}: make room, or set HF_HOME to a folder on a larger disk")]
    DiskFull {
        /// Where the download is kept.
        path: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error(
        "cannot use the download cache at {path} ({source}): check its permissions, or set HF_HOME to another folder"
    )]
    Cache {
        /// The file or folder at fault.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    /// A failure of the disk at `path`.
    pub(super) fn disk(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Cache { path, source },
        }
    }
}
