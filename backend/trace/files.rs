//! Names and places of a trace's files, and writing them so that a name never stands for half a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::error::TraceError;

/// File names within a trace.
pub mod name {
    /// What was run.
    pub const MANIFEST: &str = "manifest.json";
    /// One row per token.
    pub const TOKENS: &str = "tokens.parquet";
    /// One row per (layer, head, position).
    pub const LIFETIMES: &str = "lifetimes.parquet";
    /// One row per (cut, layer, head).
    pub const CUTS: &str = "cuts.parquet";
    /// One row per pass.
    pub const STEPS: &str = "steps.parquet";
    /// One row per (layer, head, position).
    pub const ATTENTION: &str = "attention.parquet";
    /// All tables.
    pub const TABLES: [&str; 5] = [TOKENS, LIFETIMES, CUTS, STEPS, ATTENTION];
    /// Logits of every position.
    pub const LOGITS: &str = "logits.safetensors";
    /// What a run in progress has recorded; gone once it is finished.
    pub const JOURNAL: &str = "journal.bin";
}

/// Where a trace is while it is being written: `<name>.partial`.
pub fn partial(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    target.with_file_name(name)
}

/// Writes a file under a temporary name and gives it its own once it is whole.
///
/// # Errors
/// When it cannot be written; the name then stands for what it stood for before.
pub fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, TraceError>,
) -> Result<T, TraceError> {
    let failed = |source: io::Error| TraceError::write(path, &source);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let attempt = || {
        let mut file = BufWriter::new(File::create(&temporary).map_err(failed)?);
        let value = write(&mut file)?;
        file.flush().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        Ok(value)
    };
    attempt().inspect_err(|_| {
        // The first error is the one to report; a leftover is named .tmp and harms nobody.
        let _ = fs::remove_file(&temporary);
    })
}

/// Passes writes on, and remembers the system's first complaint: encoders of tables tell it in words of their own.
pub struct Remembering<W> {
    inner: W,
    complaint: Option<io::Error>,
}

impl<W: Write> Remembering<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, complaint: None }
    }

    /// The first error, if there was one.
    pub fn into_complaint(self) -> Option<io::Error> {
        self.complaint
    }

    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            let again = || error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            self.complaint.get_or_insert_with(again);
        })
    }
}

impl<W: Write> Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.inner.flush();
        self.note(done)
    }
}

/// CRC-32 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn checksum(path: &Path) -> Result<u32, TraceError> {
    let failed = |error: io::Error| TraceError::Read { path: path.to_owned(), problem: error.to_string() };
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut chunk) = (crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_leftover() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_whole(&path, |file| file.write_all(b"old").map_err(|e| TraceError::write(&path, &e))).unwrap();
        let failing = write_whole::<()>(&path, |file| {
            file.write_all(b"new").map_err(|e| TraceError::write(&path, &e))?;
            Err(TraceError::WriterGone)
        });
        assert!(failing.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
