//! What happened at every step of a training of gates, as Parquet: `training.parquet`, one row per step, and
//! `training_layers.parquet`, one per step and layer (feature `tables`). It can be read without the code that trains.

use std::fs;
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame};

use serde::Deserialize;

use crate::trace::columns::Table;
use crate::trace::error::TraceError;
use crate::trace::tables::{frame, read_parquet, write_parquet};

/// Name of the table of steps.
pub const STEPS: &str = "training.parquet";
/// Name of the table of steps and layers.
pub const LAYERS: &str = "training_layers.parquet";
/// Name of the gates' configuration, which holds the budget.
const CONFIG: &str = "config.json";

/// What one layer's gates did on a document.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LayerFacts {
    /// Mean over heads and steps of the soft cache size.
    pub soft_size: f64,
    /// Mean over heads of the soft cache size at the document's end.
    pub last_soft_size: f64,
    /// Mean over heads and tokens of the natural log of the half-life in tokens.
    pub log_half_life: f64,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// From 1.
    pub step: u32,
    /// KL(teacher || student), nats per counted position.
    pub kl: f32,
    /// Next-token loss, nats per counted position.
    pub ntp: f32,
    /// Capacity loss, unweighted.
    pub capacity: f32,
    /// Weighted sum of the three.
    pub total: f32,
    /// Learning rate.
    pub rate: f32,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Tokens read.
    pub tokens: u32,
    /// Seconds since the run began, without those before a resumption.
    pub seconds: f32,
    /// What the gates of every layer did, averaged over the step's documents.
    pub layers: Vec<LayerFacts>,
}

impl LogRow {
    /// Mean over layers.
    fn mean(&self, value: fn(&LayerFacts) -> f64) -> f32 {
        (self.layers.iter().map(value).sum::<f64>() / self.layers.len().max(1) as f64) as f32
    }

    /// Mean soft cache size per head.
    pub fn soft_size(&self) -> f32 {
        self.mean(|layer| layer.soft_size)
    }

    /// Mean soft cache size per head at the documents' ends.
    pub fn last_soft_size(&self) -> f32 {
        self.mean(|layer| layer.last_soft_size)
    }

    /// Mean natural log of the half-life in tokens.
    pub fn log_half_life(&self) -> f32 {
        self.mean(|layer| layer.log_half_life)
    }
}

/// Writes both tables into `directory`.
///
/// # Errors
/// When they cannot be written.
pub fn write(directory: &Path, rows: &[LogRow]) -> Result<(), TraceError> {
    write_parquet(&directory.join(LAYERS), [layers(rows)])?;
    write_parquet(&directory.join(STEPS), [steps(rows)])
}

fn steps(rows: &[LogRow]) -> DataFrame {
    let whole =
        |name: &str, value: fn(&LogRow) -> u32| Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>());
    let number =
        |name: &str, value: fn(&LogRow) -> f32| Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>());
    frame(vec![
        whole("step", |row| row.step),
        number("kl", |row| row.kl),
        number("ntp", |row| row.ntp),
        number("capacity", |row| row.capacity),
        number("total", |row| row.total),
        number("learning_rate", |row| row.rate),
        number("gradient_norm", |row| row.gradient_norm),
        whole("tokens", |row| row.tokens),
        number("seconds", |row| row.seconds),
        number("soft_size", LogRow::soft_size),
        number("last_soft_size", LogRow::last_soft_size),
        number("log_half_life", LogRow::log_half_life),
    ])
}

fn layers(rows: &[LogRow]) -> DataFrame {
    let cells = || rows.iter().flat_map(|row| row.layers.iter().enumerate().map(move |(at, layer)| (row, at, layer)));
    let number = |name: &str, value: fn(&LayerFacts) -> f64| {
        Column::new(name.into(), cells().map(|(_, _, layer)| value(layer) as f32).collect::<Vec<_>>())
    };
    frame(vec![
        Column::new("step".into(), cells().map(|(row, _, _)| row.step).collect::<Vec<_>>()),
        Column::new("layer".into(), cells().map(|(_, at, _)| at as u32).collect::<Vec<_>>()),
        number("soft_size", |layer| layer.soft_size),
        number("last_soft_size", |layer| layer.last_soft_size),
        number("log_half_life", |layer| layer.log_half_life),
    ])
}

/// Reads both tables back, up to and with `last`.
///
/// # Errors
/// When one is missing or damaged.
pub fn read(directory: &Path, last: u64) -> Result<Vec<LogRow>, TraceError> {
    let path = directory.join(STEPS);
    let steps = read_parquet(&path)?;
    let steps = Table::new(&steps, &path);
    let number = |name: &str| steps.f32(name);
    let [kl, ntp, capacity, total] = [number("kl")?, number("ntp")?, number("capacity")?, number("total")?];
    let [rate, gradient_norm, seconds] = [number("learning_rate")?, number("gradient_norm")?, number("seconds")?];
    let tokens = steps.u32("tokens")?;
    let numbered = steps.u32("step")?.into_iter().enumerate();
    let mut rows: Vec<LogRow> = numbered
        .take_while(|(_, step)| u64::from(*step) <= last)
        .map(|(at, step)| LogRow {
            step,
            kl: kl[at],
            ntp: ntp[at],
            capacity: capacity[at],
            total: total[at],
            rate: rate[at],
            gradient_norm: gradient_norm[at],
            tokens: tokens[at],
            seconds: seconds[at],
            layers: Vec::new(),
        })
        .collect();
    let path = directory.join(LAYERS);
    let layers = read_parquet(&path)?;
    let layers = Table::new(&layers, &path);
    let [soft, soft_at_end, half_life] =
        [layers.f32("soft_size")?, layers.f32("last_soft_size")?, layers.f32("log_half_life")?];
    let first = rows.first().map_or(1, |row| row.step);
    for (at, step) in layers.u32("step")?.into_iter().enumerate() {
        if let Some(row) = step.checked_sub(first).and_then(|place| rows.get_mut(place as usize)) {
            row.layers.push(LayerFacts {
                soft_size: f64::from(soft[at]),
                last_soft_size: f64::from(soft_at_end[at]),
                log_half_life: f64::from(half_life[at]),
            });
        }
    }
    Ok(rows)
}

/// Why the log of a training cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No log.
    #[error("{} has no {STEPS}, the log of a training; name the directory that trimkv-trace train wrote", .0.display())]
    Missing(PathBuf),
    /// A log of no steps, or of no layers.
    #[error("the log of the training in {} is empty; train at least one step", .0.display())]
    Empty(PathBuf),
    /// Tables that do not belong together.
    #[error("{}: step {step} has {found} layers in {LAYERS} and the first has {expected}; train again into a new directory", directory.display())]
    Layers {
        /// The directory.
        directory: PathBuf,
        /// The step.
        step: u32,
        /// Its layers.
        found: usize,
        /// Layers of the first step.
        expected: usize,
    },
    /// No configuration, or one that is damaged.
    #[error("{}: {problem}; name the directory that trimkv-trace train wrote", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The tables.
    #[error(transparent)]
    Table(#[from] TraceError),
}

/// A training as its directory tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingLog {
    /// Tokens that the gates learnt to keep per KV head: `memory_size` of `config.json`.
    pub budget: u32,
    /// At least one step; all have equally many layers, at least one.
    pub rows: Vec<LogRow>,
}

#[derive(Deserialize)]
struct Config {
    memory_size: u32,
}

impl TrainingLog {
    /// Opens the log in the directory of a checkpoint.
    ///
    /// # Errors
    /// When there is no log, it is empty or damaged, has other columns, or the configuration lacks the budget.
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        if !directory.join(STEPS).is_file() {
            return Err(LogError::Missing(directory.to_owned()));
        }
        let rows = read(directory, u64::MAX)?;
        let expected = rows.first().map_or(0, |row| row.layers.len());
        if expected == 0 {
            return Err(LogError::Empty(directory.to_owned()));
        }
        if let Some(row) = rows.iter().find(|row| row.layers.len() != expected) {
            let (directory, step, found) = (directory.to_owned(), row.step, row.layers.len());
            return Err(LogError::Layers { directory, step, found, expected });
        }
        let path = directory.join(CONFIG);
        let problem = |problem: String| LogError::Config { path: path.clone(), problem };
        let text = fs::read_to_string(&path).map_err(|error| problem(format!("it cannot be read ({error})")))?;
        let Config { memory_size } =
            serde_json::from_str(&text).map_err(|error| problem(format!("it is no gates' configuration ({error})")))?;
        Ok(Self { budget: memory_size, rows })
    }

    /// The first and the last step.
    pub fn steps(&self) -> [u32; 2] {
        [self.rows.first(), self.rows.last()].map(|row| row.map_or(0, |row| row.step))
    }

    /// A training has no name and goes by its steps, so that one that went on since is told apart.
    pub fn name(&self) -> String {
        let [first, last] = self.steps();
        format!("steps {first} to {last}")
    }
}
