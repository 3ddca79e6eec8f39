//! The columns of the trace's tables, and Parquet files of them.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use polars::prelude::*;
use polars_parquet::write::{
    CompressionOptions, Encoding, FileWriter, KeyValue, Version, WriteOptions, get_dtype_encoding, row_group_iter,
};

use super::error::TraceError;
use super::files::{Remembering, write_whole};
use super::grid::Grid;
use super::manifest::SCHEMA;
use super::recording::{CutRow, Recording, StepRow};
use super::step::{Eviction, KvHead, TokenRecord};

/// Builds a frame from columns of equal length.
pub fn frame(columns: Vec<Column>) -> DataFrame {
    // Only our own columns come here; unequal lengths would be a bug of this module.
    DataFrame::new_infer_height(columns).unwrap_or_default()
}

/// `tokens`, from position `first` on.
pub fn tokens(tokens: &[TokenRecord], first: u32) -> DataFrame {
    let column = |name: &str, value: fn(&TokenRecord) -> Option<f32>| {
        Column::new(name.into(), tokens.iter().map(value).collect::<Vec<_>>())
    };
    let text = |name: &str, value: fn(&TokenRecord) -> Option<&str>| {
        Column::new(name.into(), tokens.iter().map(value).collect::<Vec<_>>())
    };
    frame(vec![
        Column::new("position".into(), (first..first + tokens.len() as u32).collect::<Vec<_>>()),
        Column::new("token_id".into(), tokens.iter().map(|token| token.id).collect::<Vec<_>>()),
        text("text", |token| token.text.as_deref()),
        text("origin", |token| Some(token.origin.as_str())),
        text("role", |token| token.role),
        text("class", |token| Some(token.class)),
        column("logprob", |token| token.logprob),
        column("entropy", |token| token.entropy),
    ])
}

/// `steps`.
pub fn steps(rows: &[StepRow]) -> DataFrame {
    frame(vec![
        Column::new("tokens_seen".into(), rows.iter().map(|row| row.tokens_seen).collect::<Vec<_>>()),
        Column::new("phase".into(), rows.iter().map(|row| row.phase.as_str()).collect::<Vec<_>>()),
        Column::new("elapsed_us".into(), rows.iter().map(|row| row.elapsed_us).collect::<Vec<_>>()),
        Column::new("cached".into(), rows.iter().map(|row| row.cached).collect::<Vec<_>>()),
        Column::new("evicted".into(), rows.iter().map(|row| row.evicted).collect::<Vec<_>>()),
    ])
}

/// `cuts`.
pub fn cuts(rows: &[CutRow]) -> DataFrame {
    let column =
        |name: &str, value: fn(&CutRow) -> u32| Column::new(name.into(), rows.iter().map(value).collect::<Vec<u32>>());
    frame(vec![
        column("tokens_seen", |row| row.tokens_seen),
        Column::new("layer".into(), rows.iter().map(|row| row.head.head.layer).collect::<Vec<_>>()),
        Column::new("head".into(), rows.iter().map(|row| row.head.head.head).collect::<Vec<_>>()),
        column("cached_before", |row| row.head.cached_before),
        column("kept", |row| row.head.kept),
        Column::new("threshold".into(), rows.iter().map(|row| row.head.threshold).collect::<Vec<_>>()),
        column("ties", |row| row.head.ties),
    ])
}

/// Evictions, for the journal only; in a finished trace they are columns of `lifetimes`.
pub fn evictions(rows: &[Eviction]) -> DataFrame {
    frame(vec![
        Column::new("layer".into(), rows.iter().map(|row| row.head.layer).collect::<Vec<_>>()),
        Column::new("head".into(), rows.iter().map(|row| row.head.head).collect::<Vec<_>>()),
        Column::new("position".into(), rows.iter().map(|row| row.position).collect::<Vec<_>>()),
        Column::new("at".into(), rows.iter().map(|row| row.at).collect::<Vec<_>>()),
        Column::new("score".into(), rows.iter().map(|row| row.score).collect::<Vec<_>>()),
    ])
}

/// New log betas, for the journal only.
pub fn births(grid: &Grid<f32>) -> DataFrame {
    frame(vec![Column::new("log_beta".into(), grid.cells())])
}

/// Layer, head and position of every row of one layer's part of `lifetimes` and `attention`.
fn layer_keys(recording: &Recording, layer: u16) -> Vec<Column> {
    let (seen, heads) = (recording.lifetimes.seen(), recording.lifetimes.shape().kv_heads as u16);
    let rows = seen as usize * usize::from(heads);
    vec![
        Column::new("layer".into(), vec![layer; rows]),
        Column::new("head".into(), (0..heads).flat_map(|head| (0..seen).map(move |_| head)).collect::<Vec<_>>()),
        Column::new("position".into(), (0..heads).flat_map(|_| 0..seen).collect::<Vec<_>>()),
    ]
}

fn heads_of(recording: &Recording, layer: u16) -> impl Iterator<Item = KvHead> + use<> {
    (0..recording.lifetimes.shape().kv_heads as u16).map(move |head| KvHead { layer, head })
}

/// One layer of `lifetimes`, with or without its last scores.
pub fn lifetimes(recording: &Recording, layer: u16, scored: bool) -> DataFrame {
    let lives = &recording.lifetimes;
    let seen = lives.seen() as usize;
    let log_beta = |head| match lives.log_beta(head) {
        [] => vec![None; seen],
        values => values.iter().copied().map(Some).collect::<Vec<_>>(),
    };
    let heads = || heads_of(recording, layer);
    let mut columns = layer_keys(recording, layer);
    columns.extend([
        Column::new("log_beta".into(), heads().flat_map(log_beta).collect::<Vec<_>>()),
        Column::new("evicted_at".into(), heads().flat_map(|head| lives.departures(head)).collect::<Vec<_>>()),
    ]);
    if scored {
        let scores = heads().flat_map(|head| lives.last_scores(head)).collect::<Vec<_>>();
        columns.push(Column::new("last_score".into(), scores));
    }
    frame(columns)
}

/// One layer of `attention`.
pub fn attention(recording: &Recording, layer: u16) -> DataFrame {
    let shape = recording.lifetimes.shape();
    let seen = recording.lifetimes.seen();
    let mass = |head| recording.attention.get(shape.index(head)).cloned().unwrap_or_default();
    let queries = |head| (0..seen).map(move |position| recording.queries(head, position));
    let mut columns = layer_keys(recording, layer);
    columns.extend([
        Column::new("mass".into(), heads_of(recording, layer).flat_map(mass).collect::<Vec<_>>()),
        Column::new("queries".into(), heads_of(recording, layer).flat_map(queries).collect::<Vec<_>>()),
    ]);
    frame(columns)
}

/// Writes frames of one schema as a Parquet file, a row group each, under its name only once it is whole.
///
/// # Errors
/// When the file cannot be written.
pub fn write_parquet(path: &Path, frames: impl IntoIterator<Item = DataFrame>) -> Result<(), TraceError> {
    let mut frames = frames.into_iter();
    let Some(first) = frames.next() else {
        return Err(TraceError::Write { path: path.to_owned(), problem: "a table needs a schema".to_owned() });
    };
    write_whole(path, |file| {
        let mut file = Remembering::new(file);
        let encoded = encode(&mut file, first, frames);
        match file.into_complaint() {
            Some(error) => Err(TraceError::write(path, &error)),
            None => encoded.map_err(|error| TraceError::write_table(path, &error)),
        }
    })
}

fn encode(file: impl Write, first: DataFrame, others: impl Iterator<Item = DataFrame>) -> PolarsResult<()> {
    let said = |key: &str, value: String| KeyValue { key: key.to_owned(), value: Some(value) };
    let metadata = vec![said("schema", SCHEMA.to_owned()), said("ARROW:schema", arrow_schema(&first)?)];
    let options = WriteOptions {
        statistics: StatisticsOptions::default(),
        version: Version::V1,
        compression: CompressionOptions::Zstd(None),
        data_page_size: None,
    };
    let schema = first.schema().to_arrow(CompatLevel::newest());
    let encodings: Vec<Vec<Encoding>> = schema.iter_values().map(|field| encoding(&field.name, &field.dtype)).collect();
    let mut writer = FileWriter::try_new(file, schema, options)?;
    for mut frame in std::iter::once(first).chain(others) {
        frame.rechunk_mut();
        let rows = frame.height() as u64;
        for batch in frame.iter_chunks(CompatLevel::newest(), false).filter(|batch| !batch.is_empty()) {
            let fields = writer.parquet_schema().fields().to_vec();
            writer.write(rows, row_group_iter(batch, encodings.iter().cloned().collect(), fields, options))?;
        }
    }
    writer.end(Some(metadata)).map(drop)
}

/// What polars would choose, but for positions and times: of a position the difference takes 0.01 bytes, where a
/// dictionary takes 2.
fn encoding(name: &str, dtype: &ArrowDataType) -> Vec<Encoding> {
    match name {
        "position" | "tokens_seen" | "evicted_at" => vec![Encoding::DeltaBinaryPacked],
        _ => get_dtype_encoding(dtype),
    }
}

/// What readers that know Arrow are told about a frame's types. polars alone would tell them of its string views, which
/// pyarrow can load but not filter, take or join.
fn arrow_schema(frame: &DataFrame) -> PolarsResult<String> {
    let mut stream = Vec::new();
    let mut writer = IpcStreamWriter::new(&mut stream).with_compat_level(CompatLevel::oldest());
    writer.finish(&mut frame.clear())?;
    // A stream begins with its schema: a marker, the schema's length, and the schema.
    let length = stream.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    Ok(BASE64.encode(&stream[..stream.len().min(8 + length as usize)]))
}

/// Rows that no encoding packs into a byte.
const MOST_ROWS_PER_BYTE: u64 = 4096;

/// Files being decoded now. A count for the process, as the decoder panics on threads of its own.
static DECODING: AtomicUsize = AtomicUsize::new(0);

/// Whether a panic now may come from the decoder of a damaged file, and is no news to anyone.
pub fn is_decoding() -> bool {
    DECODING.load(Ordering::Relaxed) > 0
}

/// Reads a whole Parquet file.
///
/// # Errors
/// When it is missing, truncated or damaged.
pub fn read_parquet(path: &Path) -> Result<DataFrame, TraceError> {
    with_parquet(path, ParquetReader::finish)
}

/// Reads a stretch of a Parquet file's rows; row groups that it does not touch are not decoded. Rows past the end are
/// not there.
///
/// # Errors
/// As [`read_parquet`].
pub fn read_parquet_rows(path: &Path, rows: Range<usize>) -> Result<DataFrame, TraceError> {
    with_parquet(path, |reader| {
        // By columns, polars would decode every row group and then drop what is outside.
        reader.with_slice(Some((rows.start, rows.len()))).read_parallel(ParallelStrategy::RowGroups).finish()
    })
}

/// The number of rows that a Parquet file says it has.
///
/// # Errors
/// As [`read_parquet`].
pub fn parquet_rows(path: &Path) -> Result<usize, TraceError> {
    with_parquet(path, |mut reader| reader.num_rows())
}

fn with_parquet<T>(path: &Path, read: impl FnOnce(ParquetReader<File>) -> PolarsResult<T>) -> Result<T, TraceError> {
    let failed = |problem: String| TraceError::Read { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let length = file.metadata().map_err(|error| failed(error.to_string()))?.len();
    // A damaged file may make the decoder panic; for the user that is a damaged file, not a bug of ours.
    DECODING.fetch_add(1, Ordering::Relaxed);
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut reader = ParquetReader::new(file);
        // The decoder takes memory for as many rows as a file claims.
        let rows = reader.num_rows()? as u64;
        polars_ensure!(rows <= length.saturating_mul(MOST_ROWS_PER_BYTE), ComputeError: "it claims {rows} rows");
        read(reader)
    }));
    DECODING.fetch_sub(1, Ordering::Relaxed);
    match done {
        Ok(read) => read.map_err(|error| TraceError::read_table(path, &error)),
        Err(_) => Err(failed("it is truncated or damaged".to_owned())),
    }
}
