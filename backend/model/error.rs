//! Why a model or its gates could not be loaded or run.

use std::path::PathBuf;

/// Errors of loading and running a model. Each says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that must be there is not.
    #[error("{path} is missing; {remedy}")]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A configuration that says something impossible or unsupported.
    #[error("{path}: {problem}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A configuration without any of the keys that make a checkpoint a TRIM-KV one.
    #[error(
        "{0} has no retention gate keys (retention_gate, retention_gate_intermediate_size), so this is not a TRIM-KV checkpoint; give its directory with --model, and the gates' with --gates"
    )]
    NoGateKeys(PathBuf),
    /// Tensors that the architecture needs and the files lack.
    #[error("{path} lacks {}; it was made for another model or is incomplete", list(.names))]
    MissingTensors {
        /// Directory or file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// Gate tensors that the architecture has no place for.
    #[error("{path} holds {}, which this gate does not have; it was made for another model or gate kind", list(.names))]
    ExtraTensors {
        /// Directory or file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor of the wrong shape.
    #[error("{path}: {name} has shape {found:?} where the configuration asks for {expected:?}")]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What the configuration implies.
        expected: Vec<usize>,
        /// What the file holds.
        found: Vec<usize>,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "{path}: {name} holds a value that is not finite (element {element}); the file is damaged or its training diverged"
    )]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Index of the first such element.
        element: usize,
    },
    /// A weights file that cannot be parsed.
    #[error("{path} is truncated or damaged ({problem}); fetch it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A number type that weights do not come in.
    #[error("{path}: {name} is stored as {dtype}, which is not supported; convert it to float32, float16 or bfloat16")]
    UnsupportedType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The stored type.
        dtype: String,
    },
    /// The user stopped the run.
    #[error("interrupted")]
    Interrupted,
    /// A device operation failed.
    #[error("{}", device_problem(.0))]
    Device(#[from] candle_core::Error),
    /// A gate checkpoint in torch's format.
    #[error(transparent)]
    Pth(#[from] super::pth::PthError),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] super::hub::HubError),
    /// The tokenizer or its template.
    #[error("{0}")]
    Text(String),
}

/// The first few names, and how many more.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// candle's message without its backtrace, which it appends when backtraces are on.
fn device_problem(error: &candle_core::Error) -> String {
    let text = error.to_string();
    format!("the computation failed: {}", text.lines().next().unwrap_or("unknown reason"))
}
