//! Why a trace could not be written or read.

use std::path::{Path, PathBuf};

use polars::prelude::PolarsError;

use super::lifetimes::LifetimeError;
use super::manifest::SCHEMA_MAJOR;

/// Errors of traces on disk. Each names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Something is there already.
    #[error("{0} exists; choose another name with --out, or remove it")]
    Exists(PathBuf),
    /// A run of that name did not finish.
    #[error("{0} holds a run of that name that did not finish; choose another name with --out, or remove it")]
    Unfinished(PathBuf),
    /// Not a trace.
    #[error("{0} is not a trace: it has no manifest.json")]
    NotATrace(PathBuf),
    /// A directory cannot be written.
    #[error("cannot create {path} ({source}); choose another place with --out")]
    Create {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error(
        "the disk that holds {0} is full; make room, or write elsewhere with --out (what was recorded before is kept there)"
    )]
    DiskFull(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}: {problem}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A table that a trace needs, or that its manifest names.
    #[error("{0} is missing; copy the trace again from where it is whole")]
    Missing(PathBuf),
    /// The manifest is not one.
    #[error("{path} is not a trace manifest: {problem}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A trace of a later version.
    #[error("{path} has schema {schema}, and this version reads trimkv-trace/{SCHEMA_MAJOR}; update the program")]
    NewerSchema {
        /// The manifest.
        path: PathBuf,
        /// Its schema.
        schema: String,
    },
    /// A table that breaks the format.
    #[error("{}: row {row}: {problem}", .path.display())]
    Row {
        /// The table.
        path: PathBuf,
        /// 0-based row.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A table without a column it needs, or with one of the wrong type.
    #[error("{}: {problem}", .path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Passes that contradict each other.
    #[error("the run contradicts itself: {0}")]
    Lifetime(#[from] LifetimeError),
    /// The thread that writes is gone.
    #[error("the trace writer stopped unexpectedly; please report this")]
    WriterGone,
}

impl TraceError {
    /// A failed write, told apart when the disk is full.
    pub fn write(path: &Path, source: &std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(path.parent().unwrap_or(path).to_owned())
            }
            _ => Self::Write { path: path.to_owned(), problem: source.to_string() },
        }
    }

    /// A failed write of a table.
    pub fn write_table(path: &Path, error: &PolarsError) -> Self {
        match error {
            PolarsError::IO { error, .. } => Self::write(path, error),
            other => Self::Write { path: path.to_owned(), problem: first_line(other) },
        }
    }

    /// A failed read of a table.
    pub fn read_table(path: &Path, error: &PolarsError) -> Self {
        Self::Read { path: path.to_owned(), problem: format!("{}; it is truncated or damaged", first_line(error)) }
    }
}

fn first_line(error: &PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
