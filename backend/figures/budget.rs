//! `budget`: entries that every KV head holds as the text grows, against budget and buffer; and when it was cut.

use std::fmt::Write as _;

use super::axes::{self, MOST_ACROSS};
use super::axis::{Axis, Scale, tick_text};
use super::colour::Rgb;
use super::curves::{Curve, Legend, Panel};
use super::fig4::policy;
use super::occupancy::Occupancy;
use super::paint::{Frame, Painter};
use super::raster::{Pooling, Raster};
use super::sheet::{AXIS, Label, Pen, Sheet, TICK};
use super::spec::Spec;
use super::{FigureError, Plot, small};
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::Shape;

/// More different lines than this cannot be told apart.
const MOST_LINES: usize = 32;
/// A head's line.
const LINE: Pen = Pen { width: 0.5, rgb: [0, 84, 159] };
/// Budget, and budget with buffer.
const LIMIT: Pen = Pen { width: 0.6, rgb: [20, 20, 20] };
/// Height of the upper plot.
const LINES_HEIGHT: f32 = 100.0;
/// Height of a head in the strip where there is room, and of the whole strip at most.
const ROW: [f32; 2] = [5.0, 150.0];
/// Peaks beyond this many times what a head should hold call for powers of ten.
const TOWERS: f64 = 4.0;
/// Length of a cut's tick.
const CUT: f32 = 4.0;
/// Length of the colour bar.
const BAR: f32 = 40.0;

/// The figure, laid out.
pub struct Budget {
    spec: Spec,
    shape: Shape,
    heads: Vec<Occupancy>,
    seen: u32,
    lines: Panel,
    /// What the line of each drawn curve is.
    drawn: String,
    /// Value and name of the dashed lines.
    limits: Vec<(u32, String)>,
    /// Tokens seen at all cuts, ascending.
    cuts: Vec<u32>,
    strip: Raster,
    /// Entries at the end of the colour scale.
    full: u32,
    left: f32,
    right: f32,
    policy: String,
}

impl Budget {
    /// Lays the figure out and computes its pixels.
    ///
    /// # Errors
    /// When the trace is empty or the figure does not fit the width.
    pub fn new(spec: &Spec, manifest: &Manifest, recording: &Recording) -> Result<Self, FigureError> {
        let lifetimes = &recording.lifetimes;
        let (shape, seen) = (lifetimes.shape(), lifetimes.seen());
        if seen == 0 {
            return Err(FigureError::Empty);
        }
        let heads: Vec<Occupancy> = shape.iter().map(|head| Occupancy::of(lifetimes, head)).collect();
        let most = heads.iter().flat_map(|head| &head.entries).copied().max().unwrap_or(0);
        let (budget, buffer) = (manifest.policy.budget, manifest.policy.buffer);
        let limits: Vec<(u32, String)> = match (budget, buffer) {
            (Some(m), Some(b)) if b > 1 => vec![(m, format!("M = {m}")), (m + b, format!("M + {b}"))],
            (Some(m), _) => vec![(m, format!("M = {m}"))],
            (None, _) => Vec::new(),
        };
        let full = limits.last().map_or(most, |limit| limit.0).max(1);
        let (curves, drawn) = curves(&heads, seen);
        let towers = f64::from(most) > TOWERS * f64::from(full);
        let mut lines =
            Panel::new("entries per KV head", if towers { Scale::Log } else { Scale::Linear }, curves, Legend::None);
        if !towers {
            lines.axis = Axis::holding(Scale::Linear, [f64::from(most), f64::from(full)]);
        }
        lines.letter = spec.letters.then_some('a');
        let mut cuts: Vec<u32> = heads.iter().flat_map(|head| &head.cuts).map(|cut| cut.0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let tick = Label::new(small(spec.font_pt));
        let last_layer = tick_text(shape.layers.saturating_sub(1) as f64);
        let left = (lines.ticks_width(spec.font_pt)).max(tick.width(&last_layer)) + 5.0 + spec.font_pt * 1.2;
        let named = limits.iter().map(|(_, name)| tick.width(name)).fold(0.0, f32::max);
        let right = named.max(tick.width("0000") / 2.0) + 4.0;
        let width = spec.width_in * 72.0 - left - right;
        if width < 80.0 {
            return Err(FigureError::TooNarrow(spec.width_in));
        }
        let columns = (seen as usize).min((width * spec.dpi as f32 / 72.0) as usize).max(1);
        let strip = strip(&heads, columns, full, spec);
        let (spec, policy) = (spec.clone(), policy(manifest));
        Ok(Self { spec, shape, heads, seen, lines, drawn, limits, cuts, strip, full, left, right, policy })
    }

    fn plots(&self) -> [Frame; 2] {
        let font = self.spec.font_pt;
        let (x, width) = (self.left, self.spec.width_in * 72.0 - self.left - self.right);
        let upper = Frame { x, y: font * 1.6 + CUT + 2.0, width, height: LINES_HEIGHT };
        let y = upper.y + upper.height + small(font) + 6.0 + font * 1.8;
        [upper, Frame { x, y, width, height: (ROW[0] * self.heads.len() as f32).min(ROW[1]) }]
    }

    fn draw_limits<P: Painter>(&self, sheet: &Sheet<'_, P>, at: Frame) -> Result<(), FigureError> {
        let y = |value: u32| at.y + at.height * (1.0 - self.lines.axis.share(value.into()));
        let size = small(self.spec.font_pt);
        let wanted: Vec<f32> = self.limits.iter().map(|limit| y(limit.0)).collect();
        for ((value, name), label_y) in self.limits.iter().zip(axes::apart(&wanted, size * 1.05)) {
            let (y, right) = (y(*value), at.x + at.width);
            sheet.dashes([[at.x, y], [right, y]], LIMIT)?;
            sheet.label(name, [right + 3.0, label_y], Label::new(size).level())?;
        }
        Ok(())
    }

    /// Ticks over the upper plot, one per cut; those that share a quarter of a point are one.
    fn draw_cuts<P: Painter>(&self, sheet: &Sheet<'_, P>, across: &Axis, at: Frame) -> Result<(), FigureError> {
        let places = self.cuts.iter().map(|&cut| ((at.x + at.width * across.share(cut.into())) * 4.0).round());
        let mut last = f32::NEG_INFINITY;
        for place in places {
            if place > last {
                let x = place / 4.0;
                sheet.line(&[[x, at.y - CUT - 1.0], [x, at.y - 1.0]], Pen { width: 0.3, ..AXIS })?;
                last = place;
            }
        }
        if self.cuts.is_empty() {
            return Ok(());
        }
        // At the end of the title's line, for the ticks stand right below it.
        let label = Label::new(small(self.spec.font_pt)).ending();
        let y = at.y - CUT - 3.0 - self.spec.font_pt * 0.3;
        sheet.label("ticks: cuts", [at.x + at.width, y], label)
    }

    fn draw_strip<P: Painter>(&self, sheet: &Sheet<'_, P>, at: Frame) -> Result<(), FigureError> {
        let (font, size) = (self.spec.font_pt, small(self.spec.font_pt));
        let letter = self.spec.letters.then_some('b');
        axes::title(sheet, letter, "entries by head", [at.x, at.y - 0.6 * font], font)?;
        self.draw_bar(sheet, [at.x + at.width, at.y - 0.6 * font - size * 0.36])?;
        sheet.matrix(at, &self.strip)?;
        sheet.frame(at, AXIS)?;
        let row = at.height / self.shape.layers as f32;
        let every = ((size * 1.1 / row).ceil() as usize).max(1);
        for layer in (0..self.shape.layers).step_by(every) {
            let y = at.y + (layer as f32 + 0.5) * row;
            sheet.line(&[[at.x - TICK, y], [at.x, y]], AXIS)?;
            sheet.label(&layer.to_string(), [at.x - TICK - 1.5, y], Label::new(size).ending().level())?;
        }
        sheet.label("layer", [font, at.y + at.height / 2.0], Label::new(font).centred().upwards())
    }

    /// The colours' scale, ending at a place.
    fn draw_bar<P: Painter>(&self, sheet: &Sheet<'_, P>, [right, y]: [f32; 2]) -> Result<(), FigureError> {
        let size = small(self.spec.font_pt);
        let label = Label::new(size).level();
        let most = self.heads.iter().flat_map(|head| &head.entries).any(|&entries| entries > self.full);
        let end = format!("{}{}", self.full, if most { " or more" } else { "" });
        sheet.label(&end, [right, y], label.ending())?;
        let bar = Frame { x: right - label.width(&end) - 3.0 - BAR, y: y - size * 0.4, width: BAR, height: size * 0.8 };
        let pixels = (0..256).map(|step| self.spec.colours.at(step as f32 / 255.0)).collect();
        sheet.matrix(bar, &Raster { width: 256, height: 1, pixels })?;
        sheet.frame(bar, AXIS)?;
        sheet.label("0", [bar.x - 3.0, y], label.ending())
    }
}

/// One line for heads that agree throughout; fewest, median and most where there are too many lines.
fn curves(heads: &[Occupancy], seen: u32) -> (Vec<Curve>, String) {
    let mut lines: Vec<Vec<(u32, f64)>> = Vec::new();
    for head in heads {
        let line = head.line();
        // Only as many are told apart as can be drawn.
        if lines.len() <= MOST_LINES && !lines.contains(&line) {
            lines.push(line);
        }
    }
    let several = match (lines.len(), heads.len()) {
        (1, 1) => "A line shows the one head.".to_owned(),
        (1, n) => format!("All {n} heads share one line."),
        (lines, n) if lines <= MOST_LINES => format!("{n} heads make {lines} different lines."),
        (_, n) => format!("Lines show the fewest, the median and the most entries over {n} heads."),
    };
    if lines.len() > MOST_LINES {
        let mut sorted: Vec<u32> = Vec::new();
        let mut spread = [(); 3].map(|()| Vec::with_capacity(seen as usize));
        for at in 0..seen as usize {
            sorted.clear();
            sorted.extend(heads.iter().map(|head| head.entries[at]));
            sorted.sort_unstable();
            for (line, place) in spread.iter_mut().zip([0, sorted.len() / 2, sorted.len() - 1]) {
                line.push((at as u32 + 1, f64::from(sorted[place])));
            }
        }
        lines = spread.into();
    }
    (lines.into_iter().map(|points| Curve { points, pen: LINE }).collect(), several)
}

/// A row per head, a column for every pixel of text.
fn strip(heads: &[Occupancy], columns: usize, full: u32, spec: &Spec) -> Raster {
    let colour = |entries: &[u32]| -> Rgb {
        let value = match spec.pooling {
            Pooling::Max => f64::from(entries.iter().copied().max().unwrap_or(0)),
            Pooling::Mean => entries.iter().map(|&n| f64::from(n)).sum::<f64>() / entries.len().max(1) as f64,
        };
        spec.colours.at((value / f64::from(full)) as f32)
    };
    let row = |head: &Occupancy| {
        let seen = head.entries.len();
        (0..columns)
            .map(|pixel| colour(&head.entries[pixel * seen / columns..(pixel + 1) * seen / columns]))
            .collect::<Vec<_>>()
    };
    Raster { width: columns as u32, height: heads.len() as u32, pixels: heads.iter().flat_map(row).collect() }
}

impl Plot for Budget {
    fn size(&self) -> [f32; 2] {
        let strip = self.plots()[1];
        [self.spec.width_in * 72.0, strip.y + strip.height + axes::room_below(self.spec.font_pt)]
    }

    fn title(&self) -> String {
        format!("Entries per KV head ({})", self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let font = self.spec.font_pt;
        let [upper, strip] = self.plots();
        let across = Axis::between(0.0, f64::from(self.seen));
        axes::title(sheet, self.lines.letter, &self.lines.title, [upper.x, upper.y - CUT - 3.0 - font * 0.3], font)?;
        for curve in &self.lines.curves {
            self.lines.draw_curve(sheet, curve, &across, upper)?;
        }
        self.draw_limits(sheet, upper)?;
        axes::left(sheet, &self.lines.axis, upper, font)?;
        axes::corner(sheet, upper)?;
        self.draw_cuts(sheet, &across, upper)?;
        let ticks = across.whole_ticks(MOST_ACROSS);
        axes::below(sheet, &across, &ticks, upper, font)?;
        self.draw_strip(sheet, strip)?;
        axes::below(sheet, &across, &ticks, strip, font)?;
        axes::name_below(sheet, "tokens seen", strip, font)
    }

    /// One row per head and cut, and one for the end of every head that was not cut there.
    fn csv(&self) -> String {
        let mut text = "layer,head,tokens_seen,entries,kept\n".to_owned();
        for (head, held) in self.shape.iter().zip(&self.heads) {
            let last = held.entries.last().copied().unwrap_or(0);
            let end = held.cuts.last().is_none_or(|cut| cut.0 < self.seen).then_some((self.seen, last));
            for (at, kept) in held.cuts.iter().copied().chain(end) {
                let entries = held.entries[at as usize - 1];
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "{},{},{at},{entries},{kept}", head.layer, head.head);
            }
        }
        text
    }

    fn caption(&self) -> String {
        let limits = match self.limits.as_slice() {
            [] => "",
            [_] => " Dashed: the budget.",
            _ => " Dashed: the budget M, and M with the buffer.",
        };
        let pooled = match self.spec.pooling {
            Pooling::Max => "the most entries over the tokens it stands for",
            Pooling::Mean => "the mean over the tokens it stands for",
        };
        format!(
            "Entries that the query of each token sees in each of {} KV heads over {} tokens, {}. {}{limits} Ticks above: \
             the {} cuts. Below, a row per head, layer by layer; a pixel shows {pooled}.",
            self.heads.len(),
            self.seen,
            self.policy,
            self.drawn,
            self.cuts.len()
        )
    }
}
