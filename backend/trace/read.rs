//! Reads a trace back: finished, still running, or killed.

use std::path::{Path, PathBuf};

use super::check::{self, LifetimeColumns, RowProblem};
use super::columns::Table;
use super::error::TraceError;
use super::files::{checksum, name, partial};
use super::journal;
use super::manifest::{Manifest, SCHEMA_MAJOR, Status};
use super::recording::Recording;
use super::scores::Following;
use super::step::Shape;
use super::tables::read_parquet;

/// More heads than any model has; a manifest must not make a reader take memory for them.
const MOST_HEADS: usize = 1 << 20;

/// A trace in memory.
#[derive(Debug)]
pub struct Trace {
    /// Where it was read from.
    pub path: PathBuf,
    /// What was run; its status tells a run in progress from one that was killed.
    pub manifest: Manifest,
    /// What happened.
    pub recording: Recording,
}

impl Trace {
    /// Reads and checks a trace. A run that is not finished is found under its final name too.
    ///
    /// # Errors
    /// When it is missing, newer than this program, damaged, or breaks a rule of the format; the file and the row are
    /// named.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let path = &standing(path);
        let mut manifest = read_manifest(path)?;
        let journal = path.join(name::JOURNAL);
        let recording = if journal.exists() {
            manifest.status = if journal::is_being_written(&journal) { Status::Running } else { Status::Interrupted };
            journal::read(&journal, manifest.shape())?
        } else {
            read_tables(path, &manifest)?
        };
        manifest.seen = recording.lifetimes.seen();
        let generated = recording.tokens.iter().filter(|token| token.origin == super::step::Origin::Generated);
        manifest.generated.tokens = generated.count() as u32;
        Ok(Self { path: path.to_owned(), manifest, recording })
    }
}

/// The directory that stands for a trace now: of a run that is not finished, the one with its working name.
pub fn standing(path: &Path) -> PathBuf {
    let unfinished = partial(path);
    if !path.exists() && unfinished.exists() { unfinished } else { path.to_owned() }
}

/// Reads and checks `manifest.json`. A run that says it is running, and whose journal no process holds, was killed: it
/// is [`Status::Interrupted`].
///
/// # Errors
/// When it is missing, not a manifest, or of a newer schema.
pub fn read_manifest(directory: &Path) -> Result<Manifest, TraceError> {
    let path = directory.join(name::MANIFEST);
    let problem = |problem: String| TraceError::Manifest { path: path.clone(), problem };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || !directory.is_dir() => {
            return Err(if directory.exists() {
                TraceError::NotATrace(directory.to_owned())
            } else {
                TraceError::Read { path: directory.to_owned(), problem: "there is no such trace".to_owned() }
            });
        }
        Err(error) => return Err(TraceError::Read { path, problem: error.to_string() }),
    };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| problem(error.to_string()))?;
    let schema = json.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    // The schema first: a newer manifest may hold what this version cannot parse.
    match schema.strip_prefix("trimkv-trace/").and_then(|version| version.split('.').next()?.parse::<u32>().ok()) {
        Some(major) if major > SCHEMA_MAJOR => return Err(TraceError::NewerSchema { path, schema }),
        Some(SCHEMA_MAJOR) => {}
        _ => return Err(problem(format!("its schema is {schema:?}, not trimkv-trace/{SCHEMA_MAJOR}"))),
    }
    let mut manifest: Manifest = serde_json::from_value(json).map_err(|error| problem(error.to_string()))?;
    if manifest.status == Status::Running && !journal::is_being_written(&directory.join(name::JOURNAL)) {
        manifest.status = Status::Interrupted;
    }
    let Shape { layers, kv_heads } = manifest.shape();
    let most = usize::from(u16::MAX);
    if layers == 0 || kv_heads == 0 || layers > most || kv_heads > most || layers * kv_heads > MOST_HEADS {
        return Err(problem(format!("{layers} layers of {kv_heads} KV heads cannot be")));
    }
    Ok(manifest)
}

fn read_tables(directory: &Path, manifest: &Manifest) -> Result<Recording, TraceError> {
    let table = |name: &str| {
        let path = directory.join(name);
        // Before the decoder sees a file: damage can make it ask for more memory than there is.
        check_sum(&path, name, manifest)?;
        let frame = read_parquet(&path)?;
        Ok::<_, TraceError>((path, frame))
    };
    let (path, frame) = table(name::TOKENS)?;
    let tokens = Table::new(&frame, &path);
    let at_row = |path: &Path, RowProblem { row, problem }| TraceError::Row { path: path.to_owned(), row, problem };
    check::positions_are_dense(&tokens.u32("position")?).map_err(|problem| at_row(&path, problem))?;
    let mut recording = Recording::new(manifest.shape());
    recording.tokens = journal::tokens_of(&tokens)?;

    let (path, frame) = table(name::LIFETIMES)?;
    let lifetimes = Table::new(&frame, &path);
    let columns = lifetime_columns(&lifetimes)?;
    let heads = manifest.shape().heads();
    // A foreign manifest need not say how many tokens were seen; the table does.
    let seen = if manifest.seen > 0 { manifest.seen } else { (columns.position.len() / heads) as u32 };
    recording.lifetimes =
        check::lifetimes(&columns, manifest.shape(), seen).map_err(|problem| at_row(&path, problem))?;
    let are_scores_left_out = !lifetimes.has("last_score");

    if has_table(directory, name::CUTS, manifest)? {
        let (path, frame) = table(name::CUTS)?;
        recording.cuts = journal::cuts_of(&Table::new(&frame, &path))?;
    }
    if let Some(rule) = Following::of(&manifest.policy).filter(|_| are_scores_left_out) {
        rule.fill(&mut recording.lifetimes, &recording.cuts);
    }
    if has_table(directory, name::STEPS, manifest)? {
        let (path, frame) = table(name::STEPS)?;
        recording.steps = journal::steps_of(&Table::new(&frame, &path))?;
    }
    if has_table(directory, name::ATTENTION, manifest)? {
        let (path, frame) = table(name::ATTENTION)?;
        let table = Table::new(&frame, &path);
        check::keys(&keys(&table)?, manifest.shape(), seen).map_err(|problem| at_row(&path, problem))?;
        let mass = table.f32("mass")?;
        recording.attention = mass.chunks(seen.max(1) as usize).map(<[f32]>::to_vec).collect();
    }
    Ok(recording)
}

/// Whether a table's file is there.
///
/// # Errors
/// When it is not, and should be: the manifest has its checksum.
pub fn has_table(directory: &Path, name: &str, manifest: &Manifest) -> Result<bool, TraceError> {
    let path = directory.join(name);
    match path.exists() {
        false if manifest.crc32.contains_key(name) => Err(TraceError::Missing(path)),
        is_there => Ok(is_there),
    }
}

/// Compares a finished trace's files with its manifest: whether all tables that it needs or names are there.
///
/// # Errors
/// When one is not.
pub fn tables_are_there(directory: &Path, manifest: &Manifest) -> Result<(), TraceError> {
    for table in name::TABLES {
        let is_needed = [name::TOKENS, name::LIFETIMES].contains(&table);
        if !has_table(directory, table, manifest)? && is_needed {
            return Err(TraceError::Missing(directory.join(table)));
        }
    }
    Ok(())
}

/// Compares a table's file with the checksum that the manifest has of it, if it has one.
///
/// # Errors
/// When they differ, or the file is missing or cannot be read.
pub fn check_sum(path: &Path, name: &str, manifest: &Manifest) -> Result<(), TraceError> {
    if !path.exists() {
        return Err(TraceError::Missing(path.to_owned()));
    }
    let sum = manifest.crc32.get(name).map(|_| checksum(path)).transpose()?;
    if sum.as_ref() == manifest.crc32.get(name) {
        return Ok(());
    }
    let problem = "it is truncated or damaged: its checksum is not the manifest's".to_owned();
    Err(TraceError::Read { path: path.to_owned(), problem })
}

fn lifetime_columns(table: &Table<'_>) -> Result<LifetimeColumns, TraceError> {
    let optional = |name| if table.has(name) { table.optional_f32(name) } else { Ok(Vec::new()) };
    Ok(LifetimeColumns {
        log_beta: optional("log_beta")?,
        evicted_at: table.optional_u32("evicted_at")?,
        last_score: optional("last_score")?,
        ..keys(table)?
    })
}

/// Whose every row is, without what it says.
fn keys(table: &Table<'_>) -> Result<LifetimeColumns, TraceError> {
    Ok(LifetimeColumns {
        layer: table.u32("layer")?,
        head: table.u32("head")?,
        position: table.u32("position")?,
        ..LifetimeColumns::default()
    })
}
