//! What happened at every step, as Parquet: `training.parquet`, one row per step, and `training_layers.parquet`, one per
//! step and layer.

use std::path::Path;

use polars::prelude::{Column, DataFrame};

use super::error::TrainingError;
use super::student::LayerFacts;
use crate::trace::columns::Table;
use crate::trace::tables::{frame, read_parquet, write_parquet};

/// Name of the table of steps.
pub const STEPS: &str = "training.parquet";
/// Name of the table of steps and layers.
pub const LAYERS: &str = "training_layers.parquet";

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
pub fn write(directory: &Path, rows: &[LogRow]) -> Result<(), TrainingError> {
    write_parquet(&directory.join(LAYERS), [layers(rows)])?;
    Ok(write_parquet(&directory.join(STEPS), [steps(rows)])?)
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
pub fn read(directory: &Path, last: u64) -> Result<Vec<LogRow>, TrainingError> {
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
