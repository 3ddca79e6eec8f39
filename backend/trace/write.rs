//! Writes a trace while the run goes, on a thread of its own.
//!
//! The run hands over each token and pass; the thread appends them to the journal at least every 64 tokens or
//! 2 seconds, and now and then writes the tables as they stand, so that other programs can follow. Finishing writes the
//! tables and gives the directory its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io};

use super::error::TraceError;
use super::files::{checksum, name, partial, write_whole};
use super::journal::{Batch, JournalWriter};
use super::logits::LogitsWriter;
use super::manifest::{Manifest, PolicyFacts, Status};
use super::recording::Recording;
use super::scores::Following;
use super::step::{KvHead, Pass, TokenRecord};
use super::tables::{self, write_parquet};

/// Tokens after which the journal is written at the latest.
pub const FLUSH_TOKENS: usize = 64;
/// Time after which the journal is written at the latest.
pub const FLUSH_TIME: Duration = Duration::from_secs(2);
/// Tokens that the run keeps before it hands them to the thread...
const HANDOVER_TOKENS: usize = 16;
/// ...unless it last did so this long ago. Waking the thread costs a fast model a tenth of its time per token; a slow one
/// hands over every pass at once.
const HANDOVER_TIME: Duration = Duration::from_millis(20);
/// The tables of a run in progress are re-written when this many times their last cost has passed.
const SNAPSHOT_SHARE: u32 = 100;
/// Cost of the tables beyond which a run in progress no longer re-writes them.
const LONGEST_SNAPSHOT: Duration = Duration::from_millis(500);
/// Messages that may wait for the thread before the run waits for it.
const QUEUE: usize = 8;

enum Message {
    Batch(Batch),
    Finish(Box<Ending>),
}

/// What is known only when a run is over.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The manifest with its final status and counts.
    pub manifest: Manifest,
    /// Scores of the survivors at the last cut.
    pub last_scores: Vec<(KvHead, u32, f32)>,
    /// Text that no token completed, for the last one.
    pub text_tail: String,
}

/// Writes one trace.
#[derive(Debug)]
pub struct TraceWriter {
    target: PathBuf,
    directory: PathBuf,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<Result<(), TraceError>>>,
    logits: Option<LogitsWriter>,
    pending: Batch,
    handed_over: Instant,
}

impl TraceWriter {
    /// Starts a trace that will be called `target`; until it is finished it is `<target>.partial`.
    ///
    /// # Errors
    /// When either exists, or the directory cannot be created.
    pub fn create(target: &Path, manifest: Manifest, record_logits: bool) -> Result<Self, TraceError> {
        if target.exists() {
            return Err(TraceError::Exists(target.to_owned()));
        }
        let directory = partial(target);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => TraceError::DiskFull(directory.clone()),
            _ => TraceError::Create { path: directory.clone(), source },
        };
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::create_dir(&directory).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => TraceError::Unfinished(directory.clone()),
            _ => failed(source),
        })?;
        write_manifest(&directory, &manifest)?;
        let journal = JournalWriter::create(&directory)?;
        let logits = record_logits.then(|| LogitsWriter::create(&directory, manifest.model.vocab)).transpose()?;
        let (sender, receiver) = sync_channel(QUEUE);
        let scribe = Scribe {
            recording: Recording::new(manifest.shape()),
            directory: directory.clone(),
            policy: manifest.policy.clone(),
            journal,
            pending: Batch::default(),
            next_snapshot: Instant::now() + FLUSH_TIME,
        };
        let thread = std::thread::Builder::new()
            .name("trace-writer".to_owned())
            .spawn(move || scribe.run(&receiver))
            .map_err(|source| TraceError::Create { path: directory.clone(), source })?;
        Ok(Self {
            target: target.to_owned(),
            directory,
            sender: Some(sender),
            thread: Some(thread),
            logits,
            pending: Batch::default(),
            handed_over: Instant::now(),
        })
    }

    /// Adds one token of the text.
    ///
    /// # Errors
    /// When what came before could not be written.
    pub fn token(&mut self, token: TokenRecord) -> Result<(), TraceError> {
        self.pending.tokens.push(token);
        if self.is_due() { self.flush() } else { Ok(()) }
    }

    /// Adds one forward pass.
    ///
    /// # Errors
    /// When what came before could not be written.
    pub fn pass(&mut self, pass: Pass) -> Result<(), TraceError> {
        self.pending.passes.push(pass);
        if self.is_due() {
            // The token drawn after this pass is to follow at once, so the clock is left as it is.
            let handed_over = self.handed_over;
            self.flush()?;
            self.handed_over = handed_over;
        }
        Ok(())
    }

    /// Whether logits are part of this trace.
    pub fn records_logits(&self) -> bool {
        self.logits.is_some()
    }

    /// Adds the logits that followed `tokens_seen` tokens, if logits are recorded.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn logits(&mut self, tokens_seen: u32, logits: &[f32]) -> Result<(), TraceError> {
        self.logits.as_mut().map_or(Ok(()), |writer| writer.row(tokens_seen, logits))
    }

    /// Completes the trace and gives it its name.
    ///
    /// # Errors
    /// When something could not be written; what was flushed before stays readable.
    pub fn finish(mut self, ending: Ending) -> Result<PathBuf, TraceError> {
        if let Some(logits) = self.logits.take() {
            logits.finish()?;
        }
        self.flush()?;
        self.send(Message::Finish(Box::new(ending)))?;
        self.join()?;
        fs::rename(&self.directory, &self.target).map_err(|source| TraceError::write(&self.target, &source))?;
        Ok(self.target.clone())
    }

    fn is_due(&self) -> bool {
        self.pending.tokens.len() >= HANDOVER_TOKENS || self.handed_over.elapsed() >= HANDOVER_TIME
    }

    /// Hands everything to the thread now: before something that may take long.
    ///
    /// # Errors
    /// When what came before could not be written.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.handed_over = Instant::now();
        let batch = std::mem::take(&mut self.pending);
        self.send(Message::Batch(batch))
    }

    fn send(&mut self, message: Message) -> Result<(), TraceError> {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(message).is_ok());
        // A thread that no longer listens has ended with an error.
        if sent { Ok(()) } else { self.join().and(Err(TraceError::WriterGone)) }
    }

    fn join(&mut self) -> Result<(), TraceError> {
        self.sender = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Err(TraceError::WriterGone))).unwrap_or(Err(TraceError::WriterGone))
    }
}

impl Drop for TraceWriter {
    /// An unfinished run keeps what it recorded: the thread writes what it has and ends.
    fn drop(&mut self) {
        if self.sender.is_some() {
            // Whatever fails here is a consequence of what made the run end.
            let _ = self.flush();
        }
        if let Some(logits) = self.logits.take() {
            let _ = logits.finish();
        }
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Scribe {
    recording: Recording,
    directory: PathBuf,
    policy: PolicyFacts,
    journal: JournalWriter,
    pending: Batch,
    next_snapshot: Instant,
}

impl Scribe {
    fn run(mut self, receiver: &Receiver<Message>) -> Result<(), TraceError> {
        let mut due = Instant::now() + FLUSH_TIME;
        loop {
            let message = receiver.recv_timeout(due.saturating_duration_since(Instant::now()));
            match message {
                Ok(Message::Batch(batch)) => self.pending.append(batch),
                Ok(Message::Finish(ending)) => return self.finish(*ending),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if self.pending.tokens.len() + HANDOVER_TOKENS > FLUSH_TOKENS || Instant::now() >= due {
                self.flush()?;
                self.snapshot_if_cheap()?;
                due = Instant::now() + FLUSH_TIME;
            }
        }
    }

    fn flush(&mut self) -> Result<(), TraceError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.pending);
        self.journal.append(&batch, &self.directory)?;
        self.recording.tokens.extend(batch.tokens);
        batch.passes.iter().try_for_each(|pass| self.recording.apply(pass))?;
        Ok(())
    }

    fn snapshot_if_cheap(&mut self) -> Result<(), TraceError> {
        let start = Instant::now();
        if start < self.next_snapshot {
            return Ok(());
        }
        write_tables(&self.directory, &self.recording, &self.policy)?;
        let cost = start.elapsed();
        // The journal waits while tables are written; a run whose tables take long is left to its journal.
        let pause = if cost > LONGEST_SNAPSHOT { Duration::from_secs(1 << 30) } else { cost * SNAPSHOT_SHARE };
        self.next_snapshot = Instant::now() + FLUSH_TIME.max(pause);
        Ok(())
    }

    fn finish(mut self, ending: Ending) -> Result<(), TraceError> {
        self.flush()?;
        for (head, position, score) in ending.last_scores {
            self.recording.lifetimes.set_last_score(head, position, score);
        }
        if let Some(last) = self.recording.tokens.last_mut().filter(|_| !ending.text_tail.is_empty()) {
            last.text.get_or_insert_default().push_str(&ending.text_tail);
        }
        write_tables(&self.directory, &self.recording, &self.policy)?;
        write_manifest(&self.directory, &Manifest { crc32: checksums(&self.directory)?, ..ending.manifest })?;
        let journal = self.directory.join(name::JOURNAL);
        fs::remove_file(&journal).map_err(|source| TraceError::write(&journal, &source))
    }
}

/// Writes a recording as a finished trace with no journal: for tests and for programs that make traces.
///
/// # Errors
/// When the target exists or cannot be written.
pub fn write_recording(target: &Path, manifest: &Manifest, recording: &Recording) -> Result<(), TraceError> {
    if target.exists() {
        return Err(TraceError::Exists(target.to_owned()));
    }
    let directory = partial(target);
    fs::create_dir_all(&directory).map_err(|source| TraceError::Create { path: directory.clone(), source })?;
    write_tables(&directory, recording, &manifest.policy)?;
    let crc32 = checksums(&directory)?;
    write_manifest(&directory, &Manifest { status: Status::Complete, crc32, ..manifest.clone() })?;
    fs::rename(&directory, target).map_err(|source| TraceError::write(target, &source))
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), TraceError> {
    let path = directory.join(name::MANIFEST);
    write_whole(&path, |file| {
        serde_json::to_writer_pretty(file, manifest).map_err(|error| TraceError::write(&path, &error.into()))
    })
}

fn checksums(directory: &Path) -> Result<BTreeMap<String, u32>, TraceError> {
    let tables = name::TABLES.into_iter().filter(|table| directory.join(table).exists());
    tables.map(|table| Ok((table.to_owned(), checksum(&directory.join(table))?))).collect()
}

fn write_tables(directory: &Path, recording: &Recording, policy: &PolicyFacts) -> Result<(), TraceError> {
    let layers = || 0..recording.lifetimes.shape().layers as u16;
    let write = |name: &str, frames: &mut dyn Iterator<Item = polars::frame::DataFrame>| {
        write_parquet(&directory.join(name), frames)
    };
    write(name::TOKENS, &mut std::iter::once(tables::tokens(&recording.tokens, 0)))?;
    write(name::CUTS, &mut std::iter::once(tables::cuts(&recording.cuts)))?;
    write(name::STEPS, &mut std::iter::once(tables::steps(&recording.steps)))?;
    if !recording.attention.is_empty() {
        write(name::ATTENTION, &mut layers().map(|layer| tables::attention(recording, layer)))?;
    }
    // A score that a reader can work out to the bit takes a third of the table.
    let follows = Following::of(policy).is_some_and(|rule| rule.holds(&recording.lifetimes, &recording.cuts));
    write(name::LIFETIMES, &mut layers().map(|layer| tables::lifetimes(recording, layer, !follows)))
}
