//! A trace's directory as a zip, made while it is sent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use axum::body::Bytes;
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use crate::trace::files::name;

/// Bytes of a piece.
const PIECE: usize = 1 << 17;
/// From here on a zip needs wider numbers for a file.
const LARGE: u64 = u32::MAX as u64;

/// Pieces on their way to a client.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// Every file that a trace may consist of.
pub fn files() -> impl Iterator<Item = &'static str> {
    [name::MANIFEST, name::LOGITS, name::JOURNAL].into_iter().chain(name::TABLES)
}

/// Packs a trace below `folder` and sends it in pieces. Tables are compressed already, so they are stored.
///
/// # Errors
/// When a file cannot be read, or nobody waits for the pieces any more.
pub fn send(directory: &Path, folder: &str, pieces: &Pieces) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(Outgoing { pieces, waiting: Vec::with_capacity(PIECE) });
    for name in files() {
        let path = directory.join(name);
        // A link may lead anywhere; a trace's files are files.
        let Some(about) = fs::symlink_metadata(&path).ok().filter(|about| about.is_file()) else { continue };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(about.len() >= LARGE);
        zip.start_file(format!("{folder}/{name}"), options)?;
        // What a run in progress writes after this moment is not part of it.
        io::copy(&mut File::open(&path)?.take(about.len()), &mut zip)?;
    }
    zip.finish()?.into_inner().flush()
}

/// Gathers pieces and waits for the client to take them.
struct Outgoing<'a> {
    pieces: &'a Pieces,
    waiting: Vec<u8>,
}

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE));
        if piece.is_empty() {
            return Ok(());
        }
        let sent = self.pieces.blocking_send(Ok(Bytes::from(piece)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone"))
    }
}
