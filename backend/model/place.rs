//! Where a model or its gates are: in the program, in a directory, on the hub.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::hub::{Hub, RepoId};
use super::{builtin, catalog};

/// A place that a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The model inside the program.
    BuiltIn,
    /// A directory.
    Directory(PathBuf),
    /// A repository on the hub.
    Hub {
        /// Owner and name.
        repo: RepoId,
        /// Branch, tag or commit.
        revision: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str(builtin::NAME),
            Self::Directory(path) => path.display().fmt(f),
            Self::Hub { repo, .. } => f.write_str(repo.as_str()),
        }
    }
}

impl Place {
    /// Finds out what a user's name means: `builtin`, a directory, a known short name, or `owner/name` on the hub.
    ///
    /// # Errors
    /// When it looks like a path and nothing is there, or is no name at all.
    pub fn find(name: &str, revision: Option<&str>) -> Result<Self, ModelError> {
        let path = Path::new(name);
        if name == builtin::NAME || name == "built-in" {
            return Ok(Self::BuiltIn);
        }
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let looks_like_a_path = path.is_absolute() || name.starts_with('.') || name.matches('/').count() > 1;
        if path.exists() || looks_like_a_path {
            let remedy = "give a directory with config.json and weights, or owner/name on the hub";
            return Err(if path.exists() {
                ModelError::Config { path: path.to_owned(), problem: format!("not a directory; {remedy}") }
            } else {
                ModelError::MissingFile { path: path.to_owned(), remedy }
            });
        }
        let repo = catalog::resolve(name).map_err(|error| ModelError::Text(error.to_string()))?;
        Ok(Self::Hub { repo, revision: revision.map(str::to_owned) })
    }

    /// The base model that a gate checkpoint names: a directory relative to the checkpoint, to a directory above it, or
    /// to where we are; else a repository.
    ///
    /// # Errors
    /// As [`Place::find`].
    pub fn base(name: &str, checkpoint: &Path) -> Result<Self, ModelError> {
        // As given first, so that a relative name stays one; but `qwen3-rg` alone hides the directories above it.
        let whole = std::path::absolute(checkpoint).unwrap_or_default();
        let mut above = checkpoint.ancestors().take(3).chain(whole.ancestors().take(3));
        match above.find_map(|directory| Some(directory.join(name)).filter(|path| path.is_dir())) {
            Some(path) => Ok(Self::Directory(path)),
            None => Self::find(name, None),
        }
    }

    /// Brings the named files to a local directory and gives it: all of `required`, and those of `optional` that exist.
    /// `None` for the built-in model, which has no directory.
    ///
    /// # Errors
    /// When the hub cannot give a required file.
    pub fn local(
        &self,
        required: &[&str],
        optional: &[&str],
        hub: &mut dyn FnMut() -> Result<Hub, ModelError>,
    ) -> Result<Option<Local>, ModelError> {
        match self {
            Self::BuiltIn => Ok(None),
            Self::Directory(path) => Ok(Some(Local { directory: path.clone(), revision: None })),
            Self::Hub { repo, revision } => {
                let hub = hub()?;
                let mut local = None;
                for file in required {
                    let path = hub.fetch(repo, revision.as_deref(), file)?;
                    local.get_or_insert_with(|| Local {
                        directory: path.parent().unwrap_or(Path::new("")).to_owned(),
                        revision: Hub::resolved_revision(&path).map(str::to_owned),
                    });
                }
                for file in optional {
                    hub.fetch_optional(repo, revision.as_deref(), file)?;
                }
                Ok(local)
            }
        }
    }
}

/// A directory on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    /// Where the files are.
    pub directory: PathBuf,
    /// Commit they belong to, when they came from the hub.
    pub revision: Option<String>,
}
