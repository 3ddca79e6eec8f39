//! Curves over steps or tokens: panels with a linear or a logarithmic axis, and how long logs stay small.

use super::axes::{self, MOST_ACROSS};
use super::axis::{Axis, MOST_TICKS, Scale};
use super::colour::{Colours, Rgb};
use super::paint::{Frame, Painter};
use super::raster::Raster;
use super::sheet::{Label, Pen, Sheet};
use super::{FigureError, small};

/// Columns per point of paper in which a curve keeps its extremes; finer detail cannot be seen.
const COLUMNS_PER_POINT: f32 = 4.0;
/// Length and height of the bar that names the colours of layers, in text sizes.
const BAR: [f32; 2] = [5.0, 0.7];
/// Length of the line before a curve's name.
const SAMPLE: f32 = 8.0;
/// Space after a legend's entry.
const GAP: f32 = 6.0;

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
    pub title: String,
    /// Its letter among the panels, where panels carry letters.
    pub letter: Option<char>,
    /// The axis of values; what lies beyond its ends is cut off.
    pub axis: Axis,
    /// Its lines; later ones lie above.
    pub curves: Vec<Curve>,
    /// What they are.
    pub legend: Legend,
}

impl Panel {
    /// A panel without a letter whose axis holds every value.
    pub fn new(title: &str, scale: Scale, curves: Vec<Curve>, legend: Legend) -> Self {
        let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        Self { title: title.to_owned(), letter: None, axis: Axis::holding(scale, values), curves, legend }
    }

    /// Width of the numbers beside the axis.
    pub fn ticks_width(&self, font: f32) -> f32 {
        axes::numbers_width(&self.axis.ticks(MOST_TICKS), font)
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
        axes::title(sheet, self.letter, &self.title, [at.x, at.y - 1.8 * font], font)?;
        self.draw_legend(sheet, [at.x, at.y - 0.8 * font], font)?;
        axes::left(sheet, &self.axis, at, font)?;
        let across = Axis::between(f64::from(steps[0]), f64::from(steps[1]));
        axes::below(sheet, &across, &across.whole_ticks(MOST_ACROSS), at, font)?;
        for curve in &self.curves {
            self.draw_curve(sheet, curve, &across, at)?;
        }
        axes::corner(sheet, at)
    }

    /// Draws one curve.
    ///
    /// # Errors
    /// As all marks.
    pub fn draw_curve<P: Painter>(
        &self,
        sheet: &Sheet<'_, P>,
        curve: &Curve,
        across: &Axis,
        at: Frame,
    ) -> Result<(), FigureError> {
        for run in self.runs(curve, across, at) {
            match run.as_slice() {
                [alone] => sheet.dot(*alone, curve.pen.width, curve.pen.rgb)?,
                run => sheet.line(run, curve.pen)?,
            }
        }
        Ok(())
    }

    /// Unbroken pieces of a curve on paper. Where many steps share a column, only its extremes stay.
    pub fn runs(&self, curve: &Curve, across: &Axis, at: Frame) -> Vec<Vec<[f32; 2]>> {
        let places = curve.points.split(|point| !self.axis.is_shown(point.1)).filter(|run| !run.is_empty());
        places
            .flat_map(|run| {
                let place = |&(step, value): &(u32, f64)| axes::place([across, &self.axis], [step.into(), value], at);
                let run: Vec<[f32; 2]> = run.iter().map(place).collect();
                inside(&thin(&run), [at.y, at.y + at.height])
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

/// The parts of a line between two heights.
fn inside(line: &[[f32; 2]], [top, bottom]: [f32; 2]) -> Vec<Vec<[f32; 2]>> {
    let is_in = |point: &[f32; 2]| (top - 0.01..=bottom + 0.01).contains(&point[1]);
    if line.iter().all(is_in) {
        return vec![line.to_vec()];
    }
    let mut parts: Vec<Vec<[f32; 2]>> = Vec::new();
    let mut open = false;
    for pair in line.windows(2) {
        // A segment as a + s (b - a): the range of s in which it lies between the heights.
        let ([ax, ay], [bx, by]) = (pair[0], pair[1]);
        let cross = |y: f32| (y - ay) / (by - ay);
        let (from, to) = match by - ay {
            0.0 if is_in(&pair[0]) => (0.0, 1.0),
            0.0 => (1.0, 0.0),
            _ => {
                let ends = [cross(top), cross(bottom)];
                (ends[0].min(ends[1]).max(0.0), ends[0].max(ends[1]).min(1.0))
            }
        };
        if from >= to {
            open = false;
            continue;
        }
        let on = |s: f32| [ax + s * (bx - ax), ay + s * (by - ay)];
        if !open || from > 0.0 {
            parts.push(vec![on(from)]);
        }
        if let Some(part) = parts.last_mut() {
            part.push(on(to));
        }
        open = to == 1.0;
    }
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(scale: Scale, values: &[f64]) -> Panel {
        let points = (1..).zip(values.iter().copied()).collect();
        let pen = Pen { width: 1.0, rgb: [0; 3] };
        Panel::new("", scale, vec![Curve { points, pen }], Legend::None)
    }

    const AT: Frame = Frame { x: 10.0, y: 20.0, width: 100.0, height: 50.0 };

    #[test]
    fn what_a_logarithm_lacks_breaks_the_line() {
        let panel = panel(Scale::Log, &[1.0, 10.0, 0.0, f64::NAN, 100.0]);
        let runs = panel.runs(&panel.curves[0], &Axis::between(1.0, 5.0), AT);
        assert_eq!(runs, [vec![[10.0, 70.0], [35.0, 45.0]], vec![[110.0, 20.0]]]);
    }

    #[test]
    fn a_long_log_keeps_its_extremes() {
        let values: Vec<f64> = (0..50_000).map(|step| if step == 33_333 { 9.0 } else { f64::from(step % 7) }).collect();
        let panel = panel(Scale::Linear, &values);
        let runs = panel.runs(&panel.curves[0], &Axis::between(1.0, 50_000.0), AT);
        assert!(runs[0].len() < 1700, "{}", runs[0].len());
        let top = runs[0].iter().map(|point| point[1]).fold(f32::INFINITY, f32::min);
        assert_eq!(top, AT.y + AT.height * (1.0 - panel.axis.share(9.0)));
    }

    #[test]
    fn what_lies_beyond_the_axis_is_cut_at_its_edge() {
        let line = [[0.0, 10.0], [10.0, 30.0], [20.0, 10.0], [30.0, 10.0]];
        let parts = inside(&line, [0.0, 20.0]);
        assert_eq!(parts, [vec![[0.0, 10.0], [5.0, 20.0]], vec![[15.0, 20.0], [20.0, 10.0], [30.0, 10.0]]]);
        assert!(inside(&[[0.0, 30.0], [9.0, 40.0]], [0.0, 20.0]).is_empty());
    }
}
