//! `logits.safetensors`, written row by row while a run goes.
//!
//! safetensors puts its header first and the row count in it, so the header's place is kept free and filled at the end.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::TraceError;
use super::files::name;

/// Bytes kept for the JSON header; safetensors pads with spaces.
const HEADER: usize = 248;

/// Ending of the file's name until it is whole: its header is not true before.
const UNFINISHED: &str = ".tmp";

/// Appends rows of logits.
#[derive(Debug)]
pub struct LogitsWriter {
    file: BufWriter<File>,
    path: PathBuf,
    vocab: usize,
    tokens_seen: Vec<u32>,
}

impl LogitsWriter {
    /// Starts the file in a trace's directory.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(directory: &Path, vocab: usize) -> Result<Self, TraceError> {
        let mut path = directory.join(name::LOGITS).into_os_string();
        path.push(UNFINISHED);
        let path = PathBuf::from(path);
        let file = File::create_new(&path).map_err(|source| TraceError::write(&path, &source))?;
        let mut writer = Self { file: BufWriter::new(file), path, vocab, tokens_seen: Vec::new() };
        writer.put(&[0; 8 + HEADER])?;
        writer.write_header()?;
        Ok(writer)
    }

    /// Appends the logits that followed `tokens_seen` tokens.
    ///
    /// # Errors
    /// When the row cannot be written or is not as long as the vocabulary.
    pub fn row(&mut self, tokens_seen: u32, logits: &[f32]) -> Result<(), TraceError> {
        if logits.len() != self.vocab {
            let problem = format!("a row of {} logits for {} tokens", logits.len(), self.vocab);
            return Err(TraceError::Write { path: self.path.clone(), problem });
        }
        self.tokens_seen.push(tokens_seen);
        let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(), TraceError> {
        let seen: Vec<u8> = self.tokens_seen.iter().flat_map(|seen| seen.to_le_bytes()).collect();
        self.put(&seen)?;
        self.write_header()?;
        let failed = |source| TraceError::write(&self.path, &source);
        self.file.flush().map_err(failed)?;
        std::fs::rename(&self.path, self.path.with_file_name(name::LOGITS)).map_err(failed)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        self.file.write_all(bytes).map_err(|source| TraceError::write(&self.path, &source))
    }

    fn write_header(&mut self) -> Result<(), TraceError> {
        let rows = self.tokens_seen.len();
        let (logits, end) = (rows * self.vocab * 4, rows * self.vocab * 4 + rows * 4);
        let json = serde_json::json!({
            "logits": {"dtype": "F32", "shape": [rows, self.vocab], "data_offsets": [0, logits]},
            "tokens_seen": {"dtype": "U32", "shape": [rows], "data_offsets": [logits, end]},
        });
        let mut header = (HEADER as u64).to_le_bytes().to_vec();
        header.extend_from_slice(format!("{:<HEADER$}", json.to_string()).as_bytes());
        let failed = |source| TraceError::write(&self.path, &source);
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.file.write_all(&header).map_err(failed)?;
        self.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(())
    }
}
