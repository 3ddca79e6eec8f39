//! `training`: how a training of gates went: losses, soft cache size against the budget, half-lives, learning rate.

use std::fmt::Write as _;

use super::axis::Scale;
use super::colour::{GREY, LINES, Rgb};
use super::curves::{Curve, Legend, Panel, layer_colour};
use super::paint::{Frame, Painter};
use super::sheet::{Label, Pen, Sheet};
use super::spec::Spec;
use super::{FigureError, Plot, small};
use crate::training_log::{LogRow, TrainingLog};

/// Narrowest plot worth drawing, in points.
const NARROWEST: f32 = 110.0;
/// Space between panels.
const GUTTER: f32 = 14.0;
/// Width of a curve.
const THIN: f32 = 0.8;

/// The figure, laid out.
pub struct Training {
    spec: Spec,
    log: TrainingLog,
    panels: [Panel; 4],
    columns: usize,
    /// Room for the numbers left of every plot.
    left: f32,
    /// Width and height of every plot.
    plot: [f32; 2],
}

impl Training {
    /// Lays the figure out, two panels in a row where they fit.
    ///
    /// # Errors
    /// When a panel does not fit in the width.
    pub fn new(spec: &Spec, log: TrainingLog) -> Result<Self, FigureError> {
        let mut panels = [losses(&log), soft_sizes(&log), half_lives(&log, spec), rate(&log)];
        if spec.letters {
            panels.iter_mut().zip('a'..).for_each(|(panel, letter)| panel.letter = Some(letter));
        }
        let widest =
            |width: fn(&Panel, f32) -> f32| panels.iter().map(|panel| width(panel, spec.font_pt)).fold(0.0, f32::max);
        let left = widest(Panel::ticks_width) + 5.0;
        let least = widest(Panel::legend_width).max(NARROWEST);
        // The last step's number is centred under the end of its axis.
        let right = Label::new(small(spec.font_pt)).width("00000") / 2.0;
        let width = |columns: usize| {
            let columns = columns as f32;
            (spec.width_in * 72.0 - right - GUTTER * (columns - 1.0)) / columns - left
        };
        let columns = if width(2) >= least { 2 } else { 1 };
        if width(columns) < least {
            return Err(FigureError::TooNarrow(spec.width_in));
        }
        let plot = [width(columns), (width(columns) * 0.6).min(150.0)];
        Ok(Self { spec: spec.clone(), log, panels, columns, left, plot })
    }

    /// Above a plot: its title and its legend.
    fn head(&self) -> f32 {
        self.spec.font_pt * 2.9
    }

    /// From one plot's top to that of the next below.
    fn row_height(&self) -> f32 {
        self.head() + self.plot[1] + small(self.spec.font_pt) + 10.0
    }
}

fn curve(log: &TrainingLog, value: impl Fn(&LogRow) -> f64, rgb: Rgb) -> Curve {
    let points = log.rows.iter().map(|row| (row.step, value(row))).collect();
    Curve { points, pen: Pen { width: THIN, rgb } }
}

fn losses(log: &TrainingLog) -> Panel {
    let curves = vec![
        curve(log, |row| f64::from(row.kl), LINES[0]),
        curve(log, |row| f64::from(row.ntp), LINES[1]),
        curve(log, |row| f64::from(row.capacity), LINES[2]),
    ];
    let names = ["KL", "next token", "capacity"].map(str::to_owned).to_vec();
    Panel::new("loss, unweighted", Scale::Log, curves, Legend::Names(names))
}

fn soft_sizes(log: &TrainingLog) -> Panel {
    let budget = f64::from(log.budget);
    let curves = vec![
        curve(log, |row| f64::from(row.soft_size()), LINES[1]),
        curve(log, |row| f64::from(row.last_soft_size()), LINES[2]),
        curve(log, |_| budget, GREY),
    ];
    let names = vec!["mean".to_owned(), "at the end".to_owned(), format!("budget M = {}", log.budget)];
    Panel::new("soft cache size, tokens per head", Scale::Log, curves, Legend::Names(names))
}

fn half_lives(log: &TrainingLog, spec: &Spec) -> Panel {
    let last = log.rows.first().map_or(0, |row| row.layers.len().saturating_sub(1));
    let layer = |layer: usize| {
        let value = move |row: &LogRow| row.layers.get(layer).map_or(f64::NAN, |facts| facts.log_half_life.exp());
        curve(log, value, layer_colour(layer, last, spec.colours))
    };
    let curves = (0..=last).map(layer).collect();
    Panel::new("half-life, tokens", Scale::Log, curves, Legend::Layers(last, spec.colours))
}

fn rate(log: &TrainingLog) -> Panel {
    let curves = vec![curve(log, |row| f64::from(row.rate), LINES[0])];
    Panel::new("learning rate", Scale::Linear, curves, Legend::None)
}

impl Plot for Training {
    fn size(&self) -> [f32; 2] {
        let rows = self.panels.len().div_ceil(self.columns) as f32;
        [self.spec.width_in * 72.0, rows * self.row_height() + self.spec.font_pt * 1.3]
    }

    fn title(&self) -> String {
        format!("Training of retention gates ({})", self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let [width, height] = self.plot;
        for (place, panel) in self.panels.iter().enumerate() {
            let (row, column) = (place / self.columns, place % self.columns);
            let x = self.left + column as f32 * (width + self.left + GUTTER);
            let y = row as f32 * self.row_height() + self.head();
            panel.draw(sheet, Frame { x, y, width, height }, self.log.steps(), self.spec.font_pt)?;
            if place + self.columns >= self.panels.len() {
                let below = y + height + small(self.spec.font_pt) + 5.0;
                sheet.label("step", [x + width / 2.0, below], Label::new(self.spec.font_pt).centred().below())?;
            }
        }
        Ok(())
    }

    /// One row per step, as the log has it; half-lives as natural logarithms of tokens, a column per layer.
    fn csv(&self) -> String {
        let layers = self.log.rows.first().map_or(0, |row| row.layers.len());
        let mut text = "step,kl,ntp,capacity,soft_size,last_soft_size,learning_rate".to_owned();
        // Writing to a `String` cannot fail.
        for layer in 0..layers {
            let _ = write!(text, ",log_half_life_{layer}");
        }
        text.push('\n');
        for row in &self.log.rows {
            let LogRow { step, kl, ntp, capacity, rate, .. } = row;
            let _ = write!(text, "{step},{kl},{ntp},{capacity},{},{},{rate}", row.soft_size(), row.last_soft_size());
            for facts in &row.layers {
                // The log has 32 bits; more digits would be noise.
                let _ = write!(text, ",{}", facts.log_half_life as f32);
            }
            text.push('\n');
        }
        text
    }

    fn caption(&self) -> String {
        let [first, last] = self.log.steps();
        format!(
            "Training of retention gates, steps {first} to {last}. Losses before weighting: KL divergence from the frozen \
             model and next-token loss in nats per position, and the capacity loss. Soft cache size S_t, the sum of \
             retentions at step t of a text, averaged over heads and layers: its mean over all t and its value at the text's end, against the \
             budget M = {} tokens per KV head. Half-life of retention per layer, the geometric mean over heads and tokens. \
             Learning rate. A logarithmic axis leaves zeros out.",
            self.log.budget
        )
    }
}
