//! Why gates could not be trained.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::error::ModelError;
use crate::trace::error::TraceError;

/// Errors of training. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// Something that was asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// Training data that cannot be used.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// One line of training data that cannot be used.
    #[error("{} line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A loss or a gradient that is not a number.
    #[error(
        "the {what} at step {step} is not finite; the last good gates are kept, try a lower --learning-rate or --clip"
    )]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// The step, from 1.
        step: u64,
    },
    /// A loss far above the recent ones.
    #[error(
        "the loss jumped to {loss:.3} at step {step}, from {usual:.3}; the last good gates are kept, try a lower --learning-rate, or --spike 0 to go on regardless"
    )]
    Spike {
        /// The step, from 1.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The recent average.
        usual: f64,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full; make room and go on with --resume (what was saved before is kept)", .0.display())]
    DiskFull(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {} ({source}); what was saved before is kept", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {} ({source})", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A checkpoint that cannot be resumed.
    #[error("{} cannot be resumed: {problem}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The log.
    #[error(transparent)]
    Log(#[from] TraceError),
}

impl From<candle_core::Error> for TrainingError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl TrainingError {
    /// The failure to write `path`.
    pub fn write(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path.to_owned()),
            _ => Self::Write { path: path.to_owned(), source },
        }
    }
}
