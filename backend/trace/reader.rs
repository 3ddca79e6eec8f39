//! Reads a trace piece by piece: a long run's lifetimes are looked at a layer at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::check::{self, LayerColumns, RowProblem};
use super::columns::Table;
use super::error::TraceError;
use super::files::name;
use super::journal;
use super::manifest::Manifest;
use super::read::{Trace, check_sum, has_table, read_manifest, standing};
use super::recording::{CutRow, Recording, StepRow};
use super::scores::Following;
use super::step::{KvHead, TokenRecord};
use super::tables::{parquet_rows, read_parquet, read_parquet_rows};

/// What [`LayerLifetimes::evicted_at`] says of a token that is still cached.
pub const STILL_CACHED: u32 = u32::MAX;

/// One layer of `lifetimes`, head by head: row `head * seen + position`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerLifetimes {
    /// KV heads of the layer.
    pub kv_heads: usize,
    /// Tokens that entered.
    pub seen: u32,
    /// Nats, at most 0; NaN where it is not known.
    pub log_beta: Vec<f32>,
    /// Tokens seen at the cut that removed it; [`STILL_CACHED`] while it is there.
    pub evicted_at: Vec<u32>,
    /// Score at its last cut; NaN where there is none.
    pub last_score: Vec<f32>,
}

impl LayerLifetimes {
    /// One layer of a run in memory.
    pub fn of(recording: &Recording, layer: u16) -> Self {
        let lives = &recording.lifetimes;
        let (kv_heads, seen) = (lives.shape().kv_heads, lives.seen());
        let heads = || (0..kv_heads as u16).map(move |head| KvHead { layer, head });
        let log_beta = |head| match lives.log_beta(head) {
            [] => vec![f32::NAN; seen as usize],
            known => known.to_vec(),
        };
        Self {
            kv_heads,
            seen,
            log_beta: heads().flat_map(log_beta).collect(),
            evicted_at: heads().flat_map(|head| lives.departures(head)).map(|at| at.unwrap_or(STILL_CACHED)).collect(),
            last_score: heads()
                .flat_map(|head| lives.last_scores(head))
                .map(|score| score.unwrap_or(f32::NAN))
                .collect(),
        }
    }
}

/// A trace whose manifest has been read and whose tables are read when they are asked for. Each table's checksum is
/// compared once.
#[derive(Debug)]
pub struct TraceReader {
    path: PathBuf,
    manifest: Manifest,
    /// A run that is not finished has no final tables; it is read whole.
    unfinished: Option<Recording>,
    checked: Mutex<BTreeSet<&'static str>>,
    /// Per head, when its entries were last weighed; found once, where scores are left out.
    last_cuts: OnceLock<Vec<Option<u32>>>,
}

impl TraceReader {
    /// Reads the manifest. A run that is not finished is found under its final name too.
    ///
    /// # Errors
    /// When the trace is missing, newer than this program, or its manifest or journal is damaged.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let path = standing(path);
        if path.join(name::JOURNAL).exists() {
            let Trace { path, manifest, recording } = Trace::open(&path)?;
            return Ok(Self::new(path, manifest, Some(recording)));
        }
        let mut manifest = read_manifest(&path)?;
        if manifest.seen == 0 {
            // A foreign manifest need not say how many tokens were seen; the table does.
            let rows = parquet_rows(&path.join(name::LIFETIMES))? / manifest.shape().heads();
            manifest.seen = u32::try_from(rows).unwrap_or(u32::MAX);
        }
        Ok(Self::new(path, manifest, None))
    }

    fn new(path: PathBuf, manifest: Manifest, unfinished: Option<Recording>) -> Self {
        Self { path, manifest, unfinished, checked: Mutex::default(), last_cuts: OnceLock::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was run; its status tells a run in progress from one that was killed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of memory that it holds, about.
    pub fn resident_bytes(&self) -> usize {
        let entries = self.manifest.shape().heads() * self.manifest.seen as usize;
        self.unfinished.as_ref().map_or(1 << 12, |recording| entries * 12 + recording.tokens.len() * 96)
    }

    /// The text, prompt first.
    ///
    /// # Errors
    /// When the table is damaged or breaks a rule of the format.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, TraceError> {
        if let Some(recording) = &self.unfinished {
            return Ok(recording.tokens.clone());
        }
        let path = self.checked(name::TOKENS)?;
        let frame = read_parquet(&path)?;
        let table = Table::new(&frame, &path);
        check::positions_are_dense(&table.u32("position")?).map_err(|problem| at_row(&path, problem))?;
        journal::tokens_of(&table)
    }

    /// The layer's lifetimes. Those of a foreign trace whose rows are one group are found by decoding that group.
    ///
    /// # Errors
    /// When the model has no such layer, or the table is damaged or breaks a rule of the format.
    pub fn layer(&self, layer: u16) -> Result<LayerLifetimes, TraceError> {
        let (shape, seen) = (self.manifest.shape(), self.manifest.seen);
        if usize::from(layer) >= shape.layers {
            let problem = format!("there is no layer {layer}; the model has {}", shape.layers);
            return Err(TraceError::Table { path: self.path.clone(), problem });
        }
        if let Some(recording) = &self.unfinished {
            return Ok(LayerLifetimes::of(recording, layer));
        }
        let path = self.checked(name::LIFETIMES)?;
        let rows = shape.kv_heads * seen as usize;
        let first = rows * usize::from(layer);
        let whole = parquet_rows(&path)?;
        if whole != rows * shape.layers {
            let problem = check::row_count(whole, shape, seen);
            return Err(at_row(&path, problem));
        }
        let frame = read_parquet_rows(&path, first..first + rows)?;
        let table = Table::new(&frame, &path);
        let optional = |name| if table.has(name) { table.f32_or_nan(name) } else { Ok(vec![f32::NAN; rows]) };
        let columns = LayerColumns {
            layer: table.u32("layer")?,
            head: table.u32("head")?,
            position: table.u32("position")?,
            log_beta: optional("log_beta")?,
            evicted_at: table.u32_or("evicted_at", STILL_CACHED)?,
        };
        check::layer(&columns, layer, shape.kv_heads, seen)
            .map_err(|RowProblem { row, problem }| at_row(&path, RowProblem { row: row + first, problem }))?;
        let LayerColumns { log_beta, evicted_at, .. } = columns;
        let last_score = match Following::of(&self.manifest.policy).filter(|_| !table.has("last_score")) {
            Some(rule) => self.following_scores(rule, layer, &log_beta, &evicted_at)?,
            None => optional("last_score")?,
        };
        Ok(LayerLifetimes { kv_heads: shape.kv_heads, seen, log_beta, evicted_at, last_score })
    }

    /// Every cut, by tokens seen, layer and head.
    ///
    /// # Errors
    /// When the table is damaged, or is missing although the manifest names it. A trace need not have it.
    pub fn cuts(&self) -> Result<Vec<CutRow>, TraceError> {
        match &self.unfinished {
            Some(recording) => Ok(recording.cuts.clone()),
            None => self.optional(name::CUTS, journal::cuts_of),
        }
    }

    /// Every pass, in order.
    ///
    /// # Errors
    /// As [`TraceReader::cuts`].
    pub fn steps(&self) -> Result<Vec<StepRow>, TraceError> {
        match &self.unfinished {
            Some(recording) => Ok(recording.steps.clone()),
            None => self.optional(name::STEPS, journal::steps_of),
        }
    }

    /// The last scores of a layer that were left out, because they follow from the rest.
    fn following_scores(
        &self,
        rule: Following,
        layer: u16,
        log_beta: &[f32],
        evicted_at: &[u32],
    ) -> Result<Vec<f32>, TraceError> {
        let (shape, seen) = (self.manifest.shape(), self.manifest.seen as usize);
        let last_cuts = match self.last_cuts.get() {
            Some(known) => known,
            None => {
                let found = rule.last_cuts(shape, &self.cuts()?);
                self.last_cuts.get_or_init(|| found)
            }
        };
        let of_head = |head: usize| {
            let rows = head * seen..(head + 1) * seen;
            let left = evicted_at[rows.clone()].iter().map(|&at| (at != STILL_CACHED).then_some(at));
            let last_cut = last_cuts[usize::from(layer) * shape.kv_heads + head];
            rule.scores(&log_beta[rows], left, last_cut).collect::<Vec<_>>()
        };
        Ok((0..shape.kv_heads).flat_map(of_head).collect())
    }

    fn optional<T>(
        &self,
        name: &'static str,
        rows: impl Fn(&Table<'_>) -> Result<Vec<T>, TraceError>,
    ) -> Result<Vec<T>, TraceError> {
        if !has_table(&self.path, name, &self.manifest)? {
            return Ok(Vec::new());
        }
        let path = self.checked(name)?;
        rows(&Table::new(&read_parquet(&path)?, &path))
    }

    /// The table's file, whose checksum is the manifest's.
    fn checked(&self, name: &'static str) -> Result<PathBuf, TraceError> {
        let path = self.path.join(name);
        let is_known = || self.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        if !is_known() {
            check_sum(&path, name, &self.manifest)?;
            self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
        Ok(path)
    }
}

fn at_row(path: &Path, RowProblem { row, problem }: RowProblem) -> TraceError {
    TraceError::Row { path: path.to_owned(), row, problem }
}
