//! `fig4`: per head, retention `β^(t−i)` above, what was kept and evicted below; both over key position and query step.
//!
//! Redraws Figure 4 of the TRIM-KV paper (arXiv 2512.03324) for any heads of any trace.

use std::fmt::Write as _;

use super::choose::{HEADS, differing_heads};
use super::paint::{Frame, Painter};
use super::raster::{Lives, Pooling, Raster, colour, side};
use super::sheet::{AXIS, Label, Sheet};
use super::spec::Spec;
use super::triangle::{self, Entry, Sides};
use super::{FigureError, Plot, small};
use crate::analysis::facts::half_life;
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::KvHead;

/// Narrowest triangle worth drawing, in points.
const NARROWEST: f32 = 40.0;
/// Space between neighbours.
const GAP: f32 = 6.0;
/// More triangles than this in a row are too small to read.
const MOST_COLUMNS: usize = 8;

/// The figure, laid out.
pub struct Fig4 {
    spec: Spec,
    heads: Vec<Column>,
    seen: usize,
    columns: usize,
    /// Left edge of the first triangle.
    left: f32,
    side_pt: f32,
    policy: String,
}

struct Column {
    head: KvHead,
    lives: Lives,
    retention: Raster,
    kept: Raster,
}

impl Fig4 {
    /// Lays the figure out and computes its pixels. Without heads in the spec it takes those that differ most, and
    /// writes them into the spec.
    ///
    /// # Errors
    /// When the trace is empty or has no gates, or a head does not exist.
    pub fn new(spec: &mut Spec, manifest: &Manifest, recording: &Recording) -> Result<Self, FigureError> {
        let lifetimes = &recording.lifetimes;
        let seen = lifetimes.seen() as usize;
        if seen == 0 {
            return Err(FigureError::Empty);
        }
        let otherwise = || differing_heads(lifetimes, manifest.policy.budget, HEADS);
        let heads = spec.heads_or(lifetimes.shape(), otherwise)?;
        if heads.iter().any(|&head| lifetimes.log_beta(head).is_empty()) {
            return Err(FigureError::NoGates("grid or text"));
        }
        let tick = small(spec.font_pt);
        // Two upright labels (row, axis), then the numbers.
        let left = 2.0 * (spec.font_pt + 2.0) + triangle::left_margin(seen, tick);
        let room = spec.width_in * 72.0 - left - 1.0;
        let fitting = (((room + GAP) / (NARROWEST + GAP)) as usize).clamp(1, MOST_COLUMNS);
        // Rows of equal length: 6 heads that do not fit in one row are 3 + 3, not 5 + 1.
        let columns = heads.len().div_ceil(heads.len().div_ceil(fitting));
        let side_pt = ((room - GAP * (columns - 1) as f32) / columns as f32).min(spec.width_in * 72.0 / 2.0);
        if side_pt < NARROWEST / 2.0 {
            return Err(FigureError::TooNarrow(spec.width_in));
        }
        let pixels = side(seen, side_pt, spec.dpi);
        let column = |head| {
            let lives = Lives::of(lifetimes, head);
            let retention = colour(&lives.retention(pixels, spec.pooling), pixels, spec.colours);
            let kept = colour(&lives.kept(pixels, spec.pooling), pixels, spec.colours);
            Column { head, lives, retention, kept }
        };
        let heads = heads.into_iter().map(column).collect();
        Ok(Self { spec: spec.clone(), heads, seen, columns, left, side_pt, policy: policy(manifest) })
    }

    fn legend_size(&self) -> f32 {
        small(self.spec.font_pt)
    }

    fn width(&self) -> f32 {
        self.spec.width_in * 72.0
    }

    /// Height of the two rows of one block with everything around them.
    fn block_height(&self) -> f32 {
        let font = self.spec.font_pt;
        let [title, axis] = [font * 1.3, self.legend_size() + 5.0 + font * 1.3];
        title + 2.0 * self.side_pt + GAP + axis + self.braces_height()
    }

    fn braces_height(&self) -> f32 {
        if self.spec.braces.is_empty() { 0.0 } else { self.legend_size() + 6.0 }
    }

    fn legend(&self) -> Vec<Vec<Entry>> {
        let entries = [Entry::Retention, Entry::Kept, Entry::Evicted, Entry::NotBorn];
        triangle::legend_lines(&entries, self.legend_size(), self.width())
    }

    fn draw_block<P: Painter>(&self, sheet: &Sheet<'_, P>, heads: &[Column], top: f32) -> Result<(), FigureError> {
        let (font, tick) = (self.spec.font_pt, self.legend_size());
        let side = self.side_pt;
        let rows = [top + font * 1.3, top + font * 1.3 + side + GAP];
        for (row, name) in rows.into_iter().zip(["retention", "cache"]) {
            let middle = row + side / 2.0;
            let upright = Label::new(font).centred().upwards();
            sheet.label(name, [font, middle], upright.bold())?;
            sheet.label("query step t", [2.0 * font + 2.0, middle], upright)?;
        }
        for (place, column) in heads.iter().enumerate() {
            let x = self.left + place as f32 * (side + GAP);
            let mut title_x = x;
            if self.spec.letters {
                let letter = self.letter(column.head);
                sheet.label(&letter, [x, top + font], Label::new(font).bold())?;
                title_x += Label::new(font).bold().width(&letter) + 3.0;
            }
            sheet.label(&column.head.to_string(), [title_x, top + font], Label::new(font))?;
            for (row, raster) in [&column.retention, &column.kept].into_iter().enumerate() {
                let at = Frame { x, y: rows[row], width: side, height: side };
                triangle::draw(sheet, at, raster)?;
                let sides = Sides { below: row == 1, left: place == 0 };
                triangle::ticks(sheet, at, self.seen, tick, sides)?;
            }
        }
        let below = rows[1] + side + tick + 5.0;
        self.draw_braces(sheet, heads.len(), below)?;
        let middle = self.left + (heads.len() as f32 * (side + GAP) - GAP) / 2.0;
        let axis = below + self.braces_height();
        sheet.label("key position i", [middle, axis], Label::new(font).centred().below())
    }

    fn letter(&self, head: KvHead) -> String {
        let place = self.heads.iter().position(|column| column.head == head).unwrap_or(0);
        char::from_u32('a' as u32 + (place % 26) as u32).unwrap_or('a').to_string()
    }

    /// Brackets below the key axis of every column.
    fn draw_braces<P: Painter>(&self, sheet: &Sheet<'_, P>, columns: usize, y: f32) -> Result<(), FigureError> {
        for brace in &self.spec.braces {
            for column in 0..columns {
                let x = self.left + column as f32 * (self.side_pt + GAP);
                let place = |position: u32| x + (position as f32 / self.seen as f32).min(1.0) * self.side_pt;
                let (from, to) = (place(brace.first), place(brace.last + 1));
                sheet.line(&[[from, y], [from, y + 2.0], [to, y + 2.0], [to, y]], AXIS)?;
                let label = Label::new(self.legend_size()).centred().below();
                let half = label.width(&brace.label) / 2.0;
                let middle = f32::midpoint(from, to).clamp(x + half, (x + self.side_pt - half).max(x + half));
                sheet.label(&brace.label, [middle, y + 4.0], label)?;
            }
        }
        Ok(())
    }
}

impl Plot for Fig4 {
    fn size(&self) -> [f32; 2] {
        let blocks = self.heads.len().div_ceil(self.columns) as f32;
        let legend = self.legend().len() as f32 * triangle::legend_line_height(self.legend_size());
        [self.width(), blocks * (self.block_height() + 4.0) + legend]
    }

    fn title(&self) -> String {
        format!("Retention and cache of {} ({})", self.spec.heads.join(", "), self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let mut top = 0.0;
        for heads in self.heads.chunks(self.columns) {
            self.draw_block(sheet, heads, top)?;
            top += self.block_height() + 4.0;
        }
        let (size, line) = (self.legend_size(), triangle::legend_line_height(self.legend_size()));
        for entries in self.legend() {
            triangle::legend(sheet, &entries, [0.0, self.width()], top + line / 2.0, size, self.spec.colours)?;
            top += line;
        }
        Ok(())
    }

    /// The intervals that the pixels follow from: one row per head and position.
    fn csv(&self) -> String {
        let mut text = "layer,head,position,log_beta,half_life_tokens,evicted_at\n".to_owned();
        for Column { head, lives, .. } in &self.heads {
            for (position, (&log_beta, &gone)) in lives.log_beta.iter().zip(&lives.gone_at).enumerate() {
                let half_life = half_life(log_beta);
                let half_life = if half_life.is_finite() { half_life.to_string() } else { String::new() };
                let gone = if gone == u32::MAX { String::new() } else { gone.to_string() };
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "{},{},{position},{log_beta},{half_life},{gone}", head.layer, head.head);
            }
        }
        text
    }

    fn caption(&self) -> String {
        let pooled = match self.spec.pooling {
            _ if self.heads[0].retention.width as usize == self.seen => "Every pixel is one token pair.".to_owned(),
            Pooling::Max => "A pixel shows the largest value of the token pairs it stands for.".to_owned(),
            Pooling::Mean => "A pixel shows the mean of the token pairs it stands for.".to_owned(),
        };
        format!(
            "Retention β^(t−i) (top) and cache (bottom) of KV heads {} over {} tokens, {}. Columns are key positions i, rows \
             query steps t. {pooled}",
            self.spec.heads.join(", "),
            self.seen,
            self.policy,
        )
    }
}

/// The policy of a run in words.
pub fn policy(manifest: &Manifest) -> String {
    let policy = &manifest.policy;
    let name = if policy.name.is_empty() { "an unnamed policy" } else { &policy.name };
    let budget = policy.budget.map_or(String::new(), |budget| format!(", budget {budget} per KV head"));
    let buffer = policy.buffer.map_or(String::new(), |buffer| format!(" plus a buffer of {buffer}"));
    let model = if manifest.model.name.is_empty() { "a model" } else { &manifest.model.name };
    format!("{model} under {name}{budget}{buffer}")
}
