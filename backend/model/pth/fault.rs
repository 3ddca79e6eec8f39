//! Why a checkpoint is refused.

use std::io;

use zip::result::ZipError;

/// Why a checkpoint cannot be read. The message is one sentence that begins with the file's name.
#[derive(Debug, thiserror::Error)]
#[error("{file} {fault}")]
pub struct PthError {
    /// The file's name, without its folder.
    pub file: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a checkpoint, as the second half of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be opened or read at all.
    #[error("cannot be read ({0})")]
    Io(#[from] io::Error),
    /// A placeholder that Git keeps in the place of a large file.
    #[error("is a Git LFS pointer and not the weights: fetch them with \"git lfs pull\"")]
    LfsPointer,
    /// torch's format before version 1.6.
    #[error("is in torch's old format: load it with torch and save it again to get the zip format")]
    OldFormat,
    /// Any other file.
    #[error("is not a torch checkpoint: it does not begin like a zip archive")]
    NotZip,
    /// A zip archive that stops early or contradicts itself.
    #[error("is a damaged or truncated zip archive ({0}): download it again")]
    Damaged(String),
    /// Entries which together are longer than the file.
    #[error("is not to be trusted: its entries claim {claimed} bytes and the file has {held}")]
    Bomb {
        /// Sum of the entries' lengths.
        claimed: u64,
        /// Length of the file.
        held: u64,
    },
    /// torch stores entries as they are.
    #[error("has a compressed or encrypted entry {0:?}, which torch never writes: save it again with torch")]
    Compressed(String),
    /// No `data.pkl`, or several.
    #[error("has {0} entries data.pkl where a torch checkpoint has one")]
    DataPkl(usize),
    /// Saved on a machine with the other byte order.
    #[error("was saved with byte order {0:?}: only \"little\" is supported")]
    ByteOrder(String),

    /// The pickle names something that could be run.
    #[error("refers to {0}, which is code and not a tensor; refused without running it")]
    Code(String),
    /// The pickle is broken or uses what no checkpoint needs.
    #[error("has a damaged list of tensors: {problem} at byte {at} of data.pkl")]
    Pickle {
        /// What is wrong.
        problem: String,
        /// Where the offending instruction begins.
        at: usize,
    },
    /// The list of tensors is larger than any real one.
    #[error("has a list of tensors of {bytes} bytes, more than the {most} that are read")]
    LongList {
        /// Its length.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The pickle is sound and holds something else.
    #[error("holds {0} where a dictionary of tensors is expected")]
    NotTensors(&'static str),
    /// One tensor cannot be made.
    #[error("holds {name:?}, {problem}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it, as a relative clause.
        problem: String,
    },
}

impl From<ZipError> for Fault {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error)
                if error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::InvalidData =>
            {
                Self::Io(error)
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl Fault {
    /// A fault of the tensor called `name`; a name that fills the screen is cut.
    pub(super) fn tensor(name: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { name: name.chars().take(160).collect(), problem: problem.into() }
    }
}
