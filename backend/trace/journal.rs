//! What a run in progress has recorded, in the order it happened.
//!
//! Lifetimes change as tokens leave, so a Parquet table cannot grow with a run. The journal can: one frame per flush,
//! appended, with its length and checksum before it. A kill loses at most the frame being written. When the run ends,
//! the tables are written from memory and the journal goes; when it is killed, the journal is the trace.
//!
//! A frame holds, as Arrow IPC streams one after the other: tokens, passes, births (`log_beta`), cuts, evictions.

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;

use polars::prelude::*;

use super::columns::Table;
use super::error::TraceError;
use super::files::name;
use super::grid::Grid;
use super::recording::{CutRow, Recording, StepRow};
use super::step::{Cut, Eviction, HeadCut, KvHead, Origin, Pass, Phase, Shape, TokenRecord};
use super::tables;
use crate::text::class::{TokenClass, classify};

/// First bytes of a journal: a name and a version.
const MAGIC: &[u8; 8] = b"TKVJRNL1";
/// IPC streams in a frame.
const PARTS: usize = 5;

/// Tokens and passes that are written together.
#[derive(Debug, Default)]
pub struct Batch {
    /// New tokens of the text.
    pub tokens: Vec<TokenRecord>,
    /// New passes.
    pub passes: Vec<Pass>,
}

impl Batch {
    /// Adds what came after.
    pub fn append(&mut self, mut later: Self) {
        self.tokens.append(&mut later.tokens);
        self.passes.append(&mut later.passes);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.passes.is_empty()
    }
}

/// Appends frames. Holds a lock on the file for as long as it lives, by which readers tell a run in progress from one
/// that was killed.
#[derive(Debug)]
pub struct JournalWriter {
    file: File,
    position: u32,
}

impl JournalWriter {
    /// Starts a journal in a trace's directory.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(directory: &Path) -> Result<Self, TraceError> {
        let path = directory.join(name::JOURNAL);
        let failed = |source| TraceError::write(&path, &source);
        let mut file = File::create_new(&path).map_err(failed)?;
        // Some network file systems have no locks; the journal then works all the same, but looks abandoned.
        let _ = file.try_lock();
        file.write_all(MAGIC).map_err(failed)?;
        Ok(Self { file, position: 0 })
    }

    /// Appends one frame.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, batch: &Batch, directory: &Path) -> Result<(), TraceError> {
        let path = directory.join(name::JOURNAL);
        let mut payload = Vec::new();
        for mut part in encode(batch, self.position) {
            let start = payload.len();
            payload.extend_from_slice(&[0; 4]);
            IpcStreamWriter::new(&mut payload)
                .finish(&mut part)
                .map_err(|error| TraceError::write_table(&path, &error))?;
            let length = (payload.len() - start - 4) as u32;
            payload[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        frame.append(&mut payload);
        self.file.write_all(&frame).map_err(|source| TraceError::write(&path, &source))?;
        self.position += batch.tokens.len() as u32;
        Ok(())
    }
}

fn encode(batch: &Batch, first_position: u32) -> [DataFrame; PARTS] {
    let cuts: Vec<&Cut> = batch.passes.iter().filter_map(|pass| pass.cut.as_ref()).collect();
    let rows =
        |cut: &&Cut| cut.heads.iter().map(|&head| CutRow { tokens_seen: cut.tokens_seen, head }).collect::<Vec<_>>();
    let evictions: Vec<Eviction> = cuts.iter().flat_map(|cut| cut.evictions.iter().copied()).collect();
    let births: Vec<f32> =
        batch.passes.iter().filter_map(|pass| pass.log_beta.as_ref()).flat_map(|grid| grid.cells().to_vec()).collect();
    let births = Grid::from_cells(1, births.len(), births).unwrap_or_default();
    [
        tables::tokens(&batch.tokens, first_position),
        passes(&batch.passes),
        tables::births(&births),
        tables::cuts(&cuts.iter().flat_map(rows).collect::<Vec<_>>()),
        tables::evictions(&evictions),
    ]
}

/// `steps`, and how many tokens each pass fed.
fn passes(passes: &[Pass]) -> DataFrame {
    let rows: Vec<StepRow> = passes
        .iter()
        .map(|pass| StepRow {
            tokens_seen: pass.tokens_seen,
            phase: pass.phase,
            elapsed_us: pass.elapsed_us,
            cached: pass.cached,
            evicted: pass.cut.as_ref().map_or(0, |cut| cut.evictions.len() as u64),
        })
        .collect();
    let mut frame = tables::steps(&rows);
    let fed = Column::new("fed".into(), passes.iter().map(|pass| pass.fed).collect::<Vec<_>>());
    // A column of the same length cannot be refused.
    let _ = frame.with_column(fed);
    frame
}

/// Whether a process still holds the journal.
pub fn is_being_written(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Everything up to the last whole frame. A torn last frame is what a kill leaves, and is passed over.
///
/// # Errors
/// When the file is not a journal, or a frame whose checksum is right contradicts itself.
pub fn read(path: &Path, shape: Shape) -> Result<Recording, TraceError> {
    let problem = |problem: &str| TraceError::Read { path: path.to_owned(), problem: problem.to_owned() };
    let bytes = std::fs::read(path).map_err(|error| problem(&error.to_string()))?;
    let mut recording = Recording::new(shape);
    if MAGIC.starts_with(&bytes) {
        return Ok(recording); // killed as it began
    }
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return Err(problem("it is not a journal of this version"));
    };
    while let Some((payload, after)) = next_frame(rest) {
        let batch = decode(payload, path, shape)?;
        recording.tokens.extend(batch.tokens);
        let applied = batch.passes.iter().try_for_each(|pass| recording.apply(pass));
        applied.map_err(|error| problem(&error.to_string()))?;
        rest = after;
    }
    Ok(recording)
}

fn next_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, after) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    // Zeros are what some file systems leave after a power cut, and the checksum of nothing is zero.
    let is_whole = !payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(*checksum);
    is_whole.then_some((payload, after))
}

fn decode(mut payload: &[u8], path: &Path, shape: Shape) -> Result<Batch, TraceError> {
    let torn =
        || TraceError::Read { path: path.to_owned(), problem: "a frame is not one of this version's".to_owned() };
    let mut parts = Vec::with_capacity(PARTS);
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(torn)?;
        let frame = IpcStreamReader::new(Cursor::new(part)).finish();
        parts.push(frame.map_err(|error| TraceError::read_table(path, &error))?);
        payload = rest;
    }
    let [tokens, passes, births, cuts, evictions] = parts.as_slice() else { return Err(torn()) };
    let table = |frame| Table::new(frame, path);
    let mut evictions = evictions_of(&table(evictions))?.into_iter().peekable();
    let mut cuts = cuts_of(&table(cuts))?.into_iter().peekable();
    let births = table(births).f32("log_beta")?;
    let mut births = births.as_slice();
    let steps = table(passes);
    let fed = steps.u32("fed")?;
    let born = shape.heads() * fed.iter().map(|&fed| fed as usize).sum::<usize>();
    if !births.is_empty() && births.len() != born {
        let problem = format!("{} births where the manifest's heads need {born}", births.len());
        return Err(TraceError::Read { path: path.to_owned(), problem });
    }
    let passes = steps_of(&steps)?.into_iter().zip(fed).map(|(step, fed)| {
        let cells = births.split_at_checked(shape.heads() * fed as usize);
        let log_beta = cells.and_then(|(own, rest)| {
            births = rest;
            Grid::from_cells(shape.heads(), fed as usize, own.to_vec())
        });
        let at = step.tokens_seen;
        let heads: Vec<HeadCut> =
            std::iter::from_fn(|| cuts.next_if(|row| row.tokens_seen == at)).map(|row| row.head).collect();
        let evictions: Vec<_> = std::iter::from_fn(|| evictions.next_if(|eviction| eviction.at == at)).collect();
        let cut = (!heads.is_empty()).then_some(Cut { tokens_seen: at, evictions, heads });
        Pass {
            phase: step.phase,
            fed,
            tokens_seen: at,
            elapsed_us: step.elapsed_us,
            cached: step.cached,
            log_beta,
            cut,
            attention: None,
        }
    });
    Ok(Batch { passes: passes.collect(), tokens: tokens_of(&table(tokens))? })
}

fn heads(table: &Table<'_>) -> Result<Vec<KvHead>, TraceError> {
    let narrow = |name| -> Result<Vec<u16>, TraceError> {
        // Checked against the model's shape where it matters; a layer beyond u16 fits no model.
        Ok(table.u32(name)?.into_iter().map(|value| u16::try_from(value).unwrap_or(u16::MAX)).collect())
    };
    Ok(narrow("layer")?.into_iter().zip(narrow("head")?).map(|(layer, head)| KvHead { layer, head }).collect())
}

fn evictions_of(table: &Table<'_>) -> Result<Vec<Eviction>, TraceError> {
    let (positions, at, scores) = (table.u32("position")?, table.u32("at")?, table.f32("score")?);
    let rows = heads(table)?.into_iter().zip(positions).zip(at).zip(scores);
    Ok(rows.map(|(((head, position), at), score)| Eviction { head, position, at, score }).collect())
}

/// Rows of a `cuts` table.
///
/// # Errors
/// When a column is missing or of another type.
pub fn cuts_of(table: &Table<'_>) -> Result<Vec<CutRow>, TraceError> {
    let optional = |name| if table.has(name) { table.u32(name) } else { Ok(vec![0; table.rows()]) };
    let (seen, before, kept, ties) =
        (table.u32("tokens_seen")?, optional("cached_before")?, optional("kept")?, optional("ties")?);
    let thresholds = if table.has("threshold") { table.optional_f32("threshold")? } else { vec![None; table.rows()] };
    let heads = heads(table)?;
    Ok((0..table.rows())
        .map(|row| CutRow {
            tokens_seen: seen[row],
            head: HeadCut {
                head: heads[row],
                cached_before: before[row],
                kept: kept[row],
                threshold: thresholds[row],
                ties: ties[row],
            },
        })
        .collect())
}

/// Rows of a `steps` table.
///
/// # Errors
/// When a column is missing or of another type.
pub fn steps_of(table: &Table<'_>) -> Result<Vec<StepRow>, TraceError> {
    let optional = |name| if table.has(name) { table.u64(name) } else { Ok(vec![0; table.rows()]) };
    let (seen, elapsed, cached, evicted) =
        (table.u32("tokens_seen")?, optional("elapsed_us")?, optional("cached")?, optional("evicted")?);
    let phases = if table.has("phase") { table.optional_str("phase")? } else { vec![None; table.rows()] };
    Ok((0..table.rows())
        .map(|row| StepRow {
            tokens_seen: seen[row],
            phase: if phases[row].as_deref() == Some("prefill") { Phase::Prefill } else { Phase::Decode },
            elapsed_us: elapsed[row],
            cached: cached[row],
            evicted: evicted[row],
        })
        .collect())
}

/// Rows of a `tokens` table. Only `position` and one of `token_id` and `text` are needed.
///
/// # Errors
/// When a needed column is missing, or one is of another type.
pub fn tokens_of(table: &Table<'_>) -> Result<Vec<TokenRecord>, TraceError> {
    let rows = table.rows();
    let text = |name| if table.has(name) { table.optional_str(name) } else { Ok(vec![None; rows]) };
    let number = |name| if table.has(name) { table.optional_f32(name) } else { Ok(vec![None; rows]) };
    let ids = if table.has("token_id") || !table.has("text") { table.u32("token_id")? } else { vec![0; rows] };
    let (texts, origins, roles, classes) = (text("text")?, text("origin")?, text("role")?, text("class")?);
    let (logprobs, entropies) = (number("logprob")?, number("entropy")?);
    Ok((0..rows)
        .map(|row| TokenRecord {
            id: ids[row],
            text: texts[row].clone(),
            origin: if origins[row].as_deref() == Some("generated") { Origin::Generated } else { Origin::Prompt },
            role: roles[row].as_deref().and_then(known_role),
            class: class_of(classes[row].as_deref(), texts[row].as_deref()).as_str(),
            logprob: logprobs[row],
            entropy: entropies[row],
        })
        .collect())
}

/// Every role that a token can have.
pub const ROLES: [&str; 5] = ["system", "user", "assistant", "think", "template"];

fn known_role(name: &str) -> Option<&'static str> {
    ROLES.into_iter().find(|role| *role == name)
}

/// The class a writer gave; where it gave none that is known, the text's own.
fn class_of(name: Option<&str>, text: Option<&str>) -> TokenClass {
    let known = name.and_then(TokenClass::named);
    known.unwrap_or_else(|| classify(text.unwrap_or(""), false))
}
