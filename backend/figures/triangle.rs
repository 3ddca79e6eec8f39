//! One head's triangle with its axes, and the legend that names its three states.

use super::FigureError;
use super::axis::{linear_ticks, tick_text};
use super::colour::{BLACK, Colours, PALE};
use super::legend;
use super::paint::{Frame, Painter};
use super::raster::Raster;
use super::sheet::{AXIS, HAIRLINE, Label, Pen, Sheet, TICK};

/// Lines over what is not born: thin and pale, for they are no data.
const HATCH: Pen = Pen { width: 0.3, rgb: PALE };
/// Distance between them, in points, across.
const HATCH_STEP: f32 = 7.0;

/// Draws the bitmap and, above the diagonal, the hatch; then the triangle's edge.
///
/// # Errors
/// When a mark is refused.
pub fn draw<P: Painter>(sheet: &Sheet<'_, P>, at: Frame, raster: &Raster) -> Result<(), FigureError> {
    sheet.matrix(at, raster)?;
    hatch(sheet, at)?;
    // Around the bitmap, not on it: the first token is its first column, and often the one that is kept.
    let out = AXIS.width / 2.0;
    let far = out * (1.0 + std::f32::consts::SQRT_2);
    let (left, top, right, bottom) = (at.x - out, at.y - far, at.x + at.width + far, at.y + at.height + out);
    sheet.line(&[[left, top], [left, bottom], [right, bottom], [left, top]], AXIS)
}

/// Rising lines over the upper right triangle of a rectangle.
fn hatch<P: Painter>(sheet: &Sheet<'_, P>, at: Frame) -> Result<(), FigureError> {
    let lines = (at.width * 2.0 / HATCH_STEP).floor() as usize;
    for line in 1..=lines {
        // Across the square, x + y is constant along a rising line; it starts on the diagonal.
        let sum = line as f32 * HATCH_STEP / at.width;
        let place = |x: f32| [at.x + x * at.width, at.y + (sum - x) * at.height];
        if sum < 2.0 {
            sheet.line(&[place(sum / 2.0), place(sum.min(1.0))], HATCH)?;
        }
    }
    Ok(())
}

/// Which sides of a triangle carry numbers.
#[derive(Debug, Clone, Copy)]
pub struct Sides {
    /// Key positions below.
    pub below: bool,
    /// Query steps on the left.
    pub left: bool,
}

/// Ticks from 0 to `seen`; numbers on the sides that carry them.
///
/// # Errors
/// When a mark is refused.
pub fn ticks<P: Painter>(
    sheet: &Sheet<'_, P>,
    at: Frame,
    seen: usize,
    size: f32,
    sides: Sides,
) -> Result<(), FigureError> {
    let most = ((at.width / (size * 3.2)) as usize).clamp(2, 6);
    let label = Label::new(size);
    for tick in linear_ticks(0.0, seen as f64, most) {
        let (share, text) = ((tick / seen as f64) as f32, tick_text(tick));
        let (x, y) = (at.x + share * at.width, at.y + share * at.height);
        let bottom = at.y + at.height;
        sheet.line(&[[x, bottom], [x, bottom + TICK]], AXIS)?;
        sheet.line(&[[at.x, y], [at.x - TICK, y]], AXIS)?;
        if sides.below {
            // Inside the triangle's own width, so that neighbours do not touch.
            let half = label.width(&text) / 2.0;
            let x = x.clamp(at.x + half - 1.0, (at.x + at.width - half + 1.0).max(at.x + half - 1.0));
            sheet.label(&text, [x, bottom + TICK + 1.5], label.centred().below())?;
        }
        if sides.left {
            sheet.label(&text, [at.x - TICK - 1.5, y], label.ending().level())?;
        }
    }
    Ok(())
}

/// Width that numbers up to `seen` take on the left, with ticks.
pub fn left_margin(seen: usize, size: f32) -> f32 {
    let widest = linear_ticks(0.0, seen as f64, 6).into_iter().map(tick_text);
    widest.map(|text| Label::new(size).width(&text)).fold(0.0, f32::max) + TICK + 5.0
}

/// Parts of the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The colour bar of retention.
    Retention,
    /// A swatch of a kept token.
    Kept,
    /// A swatch of an evicted token.
    Evicted,
    /// A swatch of the hatch.
    NotBorn,
}

const BAR: f32 = 40.0;

impl Entry {
    fn text(self) -> &'static str {
        match self {
            Self::Retention => "retention β",
            Self::Kept => "kept",
            Self::Evicted => "evicted",
            Self::NotBorn => "not yet born",
        }
    }

    fn width(self, size: f32) -> f32 {
        let label = Label::new(size);
        match self {
            Self::Retention => {
                let words = label.width(self.text()) + Label::new(size * 0.75).width("t−i");
                words + 4.0 + label.width("0") + 3.0 + BAR + 3.0 + label.width("1")
            }
            _ => size * 1.4 + 3.0 + label.width(self.text()),
        }
    }
}

/// Lines of a legend: entries side by side, as many as fit in `width` points.
pub fn legend_lines(entries: &[Entry], size: f32, width: f32) -> Vec<Vec<Entry>> {
    let widths: Vec<f32> = entries.iter().map(|entry| entry.width(size)).collect();
    let lines = legend::lines(&widths, gap(size), width);
    lines.into_iter().map(|line| entries[line].to_vec()).collect()
}

fn gap(size: f32) -> f32 {
    size * 1.5
}

/// Height of one line of a legend.
pub use super::legend::line_height as legend_line_height;

/// Draws one line of a legend, centred on `[left, right]`, its middle at `y`.
///
/// # Errors
/// When a mark is refused.
pub fn legend<P: Painter>(
    sheet: &Sheet<'_, P>,
    line: &[Entry],
    [left, right]: [f32; 2],
    y: f32,
    size: f32,
    colours: Colours,
) -> Result<(), FigureError> {
    let label = Label::new(size).level();
    let total = line.iter().map(|entry| entry.width(size)).sum::<f32>() + gap(size) * (line.len() - 1) as f32;
    let mut x = left + (right - left - total) / 2.0;
    for &entry in line {
        if entry == Entry::Retention {
            retention_bar(sheet, [x, y], size, colours)?;
        } else {
            let swatch = Frame { x, y: y - size * 0.4, width: size * 1.4, height: size * 0.8 };
            match entry {
                Entry::Kept => sheet.block(swatch, colours.at(1.0))?,
                Entry::Evicted => sheet.block(swatch, colours.at(0.0))?,
                _ => {
                    for step in 1..=4 {
                        let x = swatch.x + swatch.width * step as f32 / 5.0;
                        let lean = swatch.height / 2.0;
                        sheet.line(&[[x - lean, swatch.y + swatch.height], [x + lean, swatch.y]], HATCH)?;
                    }
                }
            }
            sheet.frame(swatch, Pen { width: HAIRLINE, rgb: BLACK })?;
            sheet.label(entry.text(), [x + size * 1.4 + 3.0, y], label)?;
        }
        x += entry.width(size) + gap(size);
    }
    Ok(())
}

fn retention_bar<P: Painter>(
    sheet: &Sheet<'_, P>,
    [mut x, y]: [f32; 2],
    size: f32,
    colours: Colours,
) -> Result<(), FigureError> {
    let label = Label::new(size).level();
    sheet.label(Entry::Retention.text(), [x, y], label)?;
    x += label.width(Entry::Retention.text());
    let raised = Label::new(size * 0.75);
    sheet.label("t−i", [x, y - size * 0.1], raised)?;
    x += raised.width("t−i") + 4.0;
    sheet.label("0", [x, y], label)?;
    x += label.width("0") + 3.0;
    let steps = 256;
    let pixels = (0..steps).map(|step| colours.at(step as f32 / (steps - 1) as f32)).collect();
    let bar = Frame { x, y: y - size * 0.4, width: BAR, height: size * 0.8 };
    sheet.matrix(bar, &Raster { width: steps, height: 1, pixels })?;
    sheet.frame(bar, AXIS)?;
    sheet.label("1", [x + BAR + 3.0, y], label)
}
