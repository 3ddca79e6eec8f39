//! Names that go into addresses and into paths of the cache, so none of them may step out of its place.

use std::fmt;
use std::str::FromStr;

/// Longest repository name that the hub gives out.
const LONGEST_NAME: usize = 96;

/// A model's name on the hub, `owner/name`.
///
/// ```
/// # use trimkv_trace::model::hub::RepoId;
/// let repo: RepoId = "ngocbh/TrimKV-Qwen3-4B-Math".parse()?;
/// assert_eq!((repo.owner(), repo.name()), ("ngocbh", "TrimKV-Qwen3-4B-Math"));
/// assert!("../x/y".parse::<RepoId>().is_err());
/// # Ok::<(), trimkv_trace::model::hub::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId(String);

impl RepoId {
    /// The name in full, `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who publishes the model.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The model's name without its owner.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.as_str(), |(_, name)| name)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let valid = text.len() <= LONGEST_NAME
            && text.split_once('/').is_some_and(|(owner, name)| is_repo_part(owner) && is_repo_part(name));
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::Repo(text.to_owned())) }
    }
}

/// The hub's own rules for one half of a repository name. `--` is refused because the cache writes `/` that way.
fn is_repo_part(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !part.starts_with(['.', '-'])
        && !part.ends_with(['.', '-'])
        && !part.contains("--")
        && !part.contains("..")
}

/// One file of one revision of one repository, its names known to be harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The repository.
    pub repo: RepoId,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The file's path inside the repository, with `/` between folders.
    pub file: String,
}

impl Wanted {
    /// Checks the names; no revision means `main`.
    ///
    /// # Errors
    /// When the revision or the file could lead out of the repository's folder.
    pub fn new(repo: &RepoId, revision: Option<&str>, file: &str) -> Result<Self, NameError> {
        let revision = revision.unwrap_or("main");
        if !is_relative_path(revision) || revision.contains(char::is_whitespace) {
            return Err(NameError::Revision(revision.to_owned()));
        }
        if !is_relative_path(file) {
            return Err(NameError::File(file.to_owned()));
        }
        Ok(Self { repo: repo.clone(), revision: revision.to_owned(), file: file.to_owned() })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repo, revision, file } = self;
        write!(f, "{file} of {repo}")?;
        if revision == "main" { Ok(()) } else { write!(f, " at {revision}") }
    }
}

/// Whether every step of `path` goes down into a folder or names a file. Backslashes and drive letters are refused on
/// every system, so that a repository which is harmless here is not harmful on Windows.
fn is_relative_path(path: &str) -> bool {
    path.split('/').all(|step| !matches!(step, "" | "." | ".."))
        && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
}

/// Why a name was refused before anything was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `owner/name`.
    #[error("{0:?} is not a model name on the hub: write owner/name, for example ngocbh/TrimKV-Qwen3-4B-Math")]
    Repo(String),
    /// Not a branch, tag or commit.
    #[error("{0:?} is not a revision: give a branch, a tag or a commit of the model's repository")]
    Revision(String),
    /// Not a path inside a repository.
    #[error("{0:?} is not a file inside a model's repository: give a relative path without \"..\"")]
    File(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_hub_gives_them_out_are_accepted() {
        for name in ["ngocbh/TrimKV-Qwen3-1.7B-Math", "Qwen/Qwen3-4B-Instruct-2507", "a/b", "o_o/x.y_z-1"] {
            assert_eq!(name.parse::<RepoId>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn hostile_repository_names_are_refused() {
        let long = format!("a/{}", "x".repeat(LONGEST_NAME));
        let hostile = [
            "",
            "x",
            "/x",
            "x/",
            "../x/y",
            "../x",
            "x/..",
            "x/y/z",
            "/etc/passwd",
            "a b/c",
            "a/b c",
            "a/b?c",
            "a/b#c",
            "a\\b/c",
            "C:/x",
            "a/b\n",
            "a/ü",
            "a--b/c",
            "-a/b",
            "a/.b",
            "a/b.",
            "a/b..c",
            "a%2F/b",
            "a@b/c",
            &long,
        ];
        for name in hostile {
            let refused = name.parse::<RepoId>();
            assert_eq!(refused, Err(NameError::Repo(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn files_and_revisions_may_have_folders_but_stay_inside() {
        let repo: RepoId = "a/b".parse().unwrap();
        assert!(Wanted::new(&repo, Some("refs/pr/3"), "gates/layer 1/weights.pth").is_ok());
        for file in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", "C:x", "a\0b", "a\nb"] {
            assert_eq!(Wanted::new(&repo, None, file), Err(NameError::File(file.to_owned())));
        }
        for revision in ["", "/main", "../main", "ma in", "main/", "a\\b"] {
            assert_eq!(Wanted::new(&repo, Some(revision), "x"), Err(NameError::Revision(revision.to_owned())));
        }
    }
}
