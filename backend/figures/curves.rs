//! Curves over steps: panels with a linear or a logarithmic axis, and how long logs stay small.

use super::axis::{linear_ticks, log_ticks, tick_text};
use super::colour::{Colours, Rgb};
use super::paint::{Frame, Painter};
use super::raster::Raster;
use super::sheet::{AXIS, Label, Pen, Sheet, TICK};
use super::{FigureError, small};

/// Most numbers on the axis of steps, and on that of values.
const MOST_TICKS: [usize; 2] = [5, 6];
/// Columns per point of paper in which a curve keeps its extremes; finer detail cannot be seen.
const COLUMNS_PER_POINT: f32 = 4.0;
/// Length and height of the bar that names the colours of layers, in text sizes.
const BAR: [f32; 2] = [5.0, 0.7];
/// Length of the line before a curve's name.
const SAMPLE: f32 = 8.0;
/// Space after a legend's entry.
const GAP: f32 = 6.0;

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    /// By powers of ten; what is not positive is left out.
    Log,
}

/// One line.
pub struct Curve {
    /// Step and value, by step.
    pub points: Vec<(u32, f64)>,
    /// How it is drawn.
    pub pen: Pen,
}

/// What the line above a panel's plot explains.
pub enum Legend {
    /// Nothing.
    None,
    /// Each curve by name.
    Names(Vec<String>),
    /// The colours from layer 0 to this last one.
    Layers(usize, Colours),
}

/// One plot.
pub struct Panel {
    /// What is plotted, with its unit.
    pub title: &'static str,
    /// Its axis.
    pub scale: Scale,
    /// Its lines; later ones lie above.
    pub curves: Vec<Curve>,
    /// What they are.
    pub legend: Legend,
}

impl Panel {
    fn is_plotted(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    /// The ends of the axis; both are ticks on a short logarithmic one.
    fn range(&self) -> [f64; 2] {
        let values = self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let (low, high) = values
            .filter(|&value| self.is_plotted(value))
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        match self.scale {
            Scale::Linear => [0.0, if high > 0.0 { high * 1.05 } else { 1.0 }],
            Scale::Log if high == 0.0 => [1.0, 10.0],
            Scale::Log => {
                let low = round_down(low);
                let high = round_up(high);
                [low, if high > low { high } else { round_up(high * 1.5) }]
            }
        }
    }

    fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.range();
        match self.scale {
            Scale::Linear => linear_ticks(low, high, MOST_TICKS[1]),
            Scale::Log => {
                let decades = log_ticks(low, high, MOST_TICKS[1]);
                if decades.len() >= 3 { decades } else { round_numbers(low, high) }
            }
        }
    }

    /// Width of the numbers beside the axis.
    pub fn ticks_width(&self, font: f32) -> f32 {
        let label = Label::new(small(font));
        self.ticks().iter().map(|&tick| label.width(&tick_text(tick))).fold(0.0, f32::max)
    }

    /// Width of the legend, which may not be wider than the plot.
    pub fn legend_width(&self, font: f32) -> f32 {
        let label = Label::new(small(font));
        match &self.legend {
            Legend::None => 0.0,
            Legend::Names(names) => {
                names.iter().map(|name| SAMPLE + 3.0 + label.width(name)).sum::<f32>()
                    + GAP * names.len().saturating_sub(1) as f32
            }
            Legend::Layers(last, _) => {
                label.width("layer 0") + BAR[0] * small(font) + 6.0 + label.width(&last.to_string())
            }
        }
    }

    /// Draws axes and curves into `at`, and the title and the legend above it (2.8 text sizes). `steps` are the ends of
    /// the other axis.
    ///
    /// # Errors
    /// As all marks: when plotters refuses one.
    pub fn draw<P: Painter>(
        &self,
        sheet: &Sheet<'_, P>,
        at: Frame,
        steps: [u32; 2],
        font: f32,
    ) -> Result<(), FigureError> {
        let tick = Label::new(small(font));
        sheet.label(self.title, [at.x, at.y - 1.8 * font], Label::new(font).bold())?;
        self.draw_legend(sheet, [at.x, at.y - 0.8 * font], font)?;
        let (bottom, range) = (at.y + at.height, self.range());
        for value in self.ticks() {
            let y = self.y(value, range, at);
            sheet.line(&[[at.x - TICK, y], [at.x, y]], AXIS)?;
            sheet.label(&tick_text(value), [at.x - TICK - 1.5, y], tick.ending().level())?;
        }
        let [first, last] = steps.map(f64::from);
        for value in linear_ticks(first, last, MOST_TICKS[0]).into_iter().filter(|value| value.fract() == 0.0) {
            let x = x(value, steps, at);
            sheet.line(&[[x, bottom], [x, bottom + TICK]], AXIS)?;
            sheet.label(&tick_text(value), [x, bottom + TICK + 1.5], tick.centred().below())?;
        }
        for curve in &self.curves {
            for run in self.runs(curve, steps, at) {
                match run.as_slice() {
                    [alone] => sheet.dot(*alone, curve.pen.width, curve.pen.rgb)?,
                    run => sheet.line(run, curve.pen)?,
                }
            }
        }
        sheet.line(&[[at.x, at.y], [at.x, bottom], [at.x + at.width, bottom]], AXIS)
    }

    fn y(&self, value: f64, range: [f64; 2], at: Frame) -> f32 {
        let scaled = |value: f64| if self.scale == Scale::Log { value.log10() } else { value };
        let [low, high] = range.map(scaled);
        at.y + at.height * (1.0 - ((scaled(value) - low) / (high - low)) as f32)
    }

    /// Unbroken pieces of a curve on paper. Where many steps share a column, only its extremes stay.
    fn runs(&self, curve: &Curve, steps: [u32; 2], at: Frame) -> Vec<Vec<[f32; 2]>> {
        let range = self.range();
        let places = curve.points.split(|point| !self.is_plotted(point.1)).filter(|run| !run.is_empty());
        places
            .map(|run| {
                let run: Vec<[f32; 2]> = run
                    .iter()
                    .map(|&(step, value)| [x(f64::from(step), steps, at), self.y(value, range, at)])
                    .collect();
                thin(&run)
            })
            .collect()
    }

    fn draw_legend<P: Painter>(
        &self,
        sheet: &Sheet<'_, P>,
        [mut x, y]: [f32; 2],
        font: f32,
    ) -> Result<(), FigureError> {
        let size = small(font);
        let label = Label::new(size).level();
        match &self.legend {
            Legend::None => {}
            Legend::Names(names) => {
                for (name, curve) in names.iter().zip(&self.curves) {
                    sheet.line(&[[x, y], [x + SAMPLE, y]], Pen { width: 1.2, ..curve.pen })?;
                    sheet.label(name, [x + SAMPLE + 3.0, y], label)?;
                    x += SAMPLE + 3.0 + label.width(name) + GAP;
                }
            }
            Legend::Layers(last, colours) => {
                sheet.label("layer 0", [x, y], label)?;
                x += label.width("layer 0") + 3.0;
                let [width, height] = BAR.map(|sizes| sizes * size);
                let pixels = (0..=*last).map(|layer| layer_colour(layer, *last, *colours)).collect();
                let bar = Raster { width: *last as u32 + 1, height: 1, pixels };
                sheet.matrix(Frame { x, y: y - height / 2.0, width, height }, &bar)?;
                sheet.label(&last.to_string(), [x + width + 3.0, y], label)?;
            }
        }
        Ok(())
    }
}

/// The colour of a layer. The brightest tenth of the scale is left out: it cannot be seen as a line on paper.
pub fn layer_colour(layer: usize, last: usize, colours: Colours) -> Rgb {
    let share = layer as f32 / last.max(1) as f32;
    // Grey runs the other way, from pale to black.
    colours.at(if colours == Colours::Grey { 0.25 + 0.75 * share } else { 0.9 * share })
}

fn x(step: f64, [first, last]: [u32; 2], at: Frame) -> f32 {
    let span = f64::from(last - first);
    at.x + at.width * if span > 0.0 { ((step - f64::from(first)) / span) as f32 } else { 0.5 }
}

/// The points of a line, of those in one column only the first, the extremes and the last.
fn thin(run: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let column = |point: &[f32; 2]| (point[0] * COLUMNS_PER_POINT).floor() as i64;
    let mut kept = Vec::new();
    for points in run.chunk_by(|a, b| column(a) == column(b)) {
        let of = |best: Option<(usize, &[f32; 2])>| best.map_or(0, |(place, _)| place);
        let low = of(points.iter().enumerate().min_by(|a, b| a.1[1].total_cmp(&b.1[1])));
        let high = of(points.iter().enumerate().max_by(|a, b| a.1[1].total_cmp(&b.1[1])));
        let mut places = [0, low, high, points.len() - 1];
        places.sort_unstable();
        kept.extend(
            places
                .iter()
                .enumerate()
                .filter(|(at, place)| *at == 0 || places[at - 1] != **place)
                .map(|(_, &place)| points[place]),
        );
    }
    kept
}

/// 1, 2 and 5 times the powers of ten in `[low, high]`.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let numbers = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|lead| lead * 10f64.powi(power)));
    numbers.filter(|&number| number >= low * (1.0 - 1e-9) && number <= high * (1.0 + 1e-9)).collect()
}

fn round_down(value: f64) -> f64 {
    round_numbers(value / 10.0, value).into_iter().next_back().unwrap_or(value)
}

fn round_up(value: f64) -> f64 {
    round_numbers(value, value * 10.0).into_iter().next().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(scale: Scale, values: &[f64]) -> Panel {
        let points = (1..).zip(values.iter().copied()).collect();
        let pen = Pen { width: 1.0, rgb: [0; 3] };
        Panel { title: "", scale, curves: vec![Curve { points, pen }], legend: Legend::None }
    }

    const AT: Frame = Frame { x: 10.0, y: 20.0, width: 100.0, height: 50.0 };

    #[test]
    fn a_logarithmic_axis_has_two_numbers_at_least() {
        assert_eq!(panel(Scale::Log, &[0.3, 0.31]).ticks(), [0.2, 0.5]);
        assert_eq!(panel(Scale::Log, &[2.0]).ticks(), [2.0, 5.0]);
        assert_eq!(panel(Scale::Log, &[0.004, 30.0]).ticks(), [0.01, 0.1, 1.0, 10.0]);
        assert_eq!(panel(Scale::Log, &[0.0]).range(), [1.0, 10.0]);
    }

    #[test]
    fn what_a_logarithm_lacks_breaks_the_line() {
        let panel = panel(Scale::Log, &[1.0, 10.0, 0.0, f64::NAN, 100.0]);
        let runs = panel.runs(&panel.curves[0], [1, 5], AT);
        assert_eq!(runs, [vec![[10.0, 70.0], [35.0, 45.0]], vec![[110.0, 20.0]]]);
    }

    #[test]
    fn a_long_log_keeps_its_extremes() {
        let values: Vec<f64> = (0..50_000).map(|step| if step == 33_333 { 9.0 } else { f64::from(step % 7) }).collect();
        let panel = panel(Scale::Linear, &values);
        let runs = panel.runs(&panel.curves[0], [1, 50_000], AT);
        assert!(runs[0].len() < 1700, "{}", runs[0].len());
        let top = runs[0].iter().map(|point| point[1]).fold(f32::INFINITY, f32::min);
        assert_eq!(top, panel.y(9.0, panel.range(), AT));
    }
}
