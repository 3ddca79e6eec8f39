//! `roles`: what the heads of every layer do, as stacked cells, and all heads over two scores.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::axes::{self, MOST_ACROSS};
use super::axis::{Axis, MOST_TICKS, Scale};
use super::colour::WHITE;
use super::fig4::policy;
use super::legend;
use super::make::Run;
use super::mark;
use super::paint::{Frame, Painter};
use super::score::HeadScore;
use super::sheet::{Label, Pen, Sheet};
use super::spec::Spec;
use super::{FigureError, Plot, small};
use crate::analysis::depth::{LayerRoles, roles_by_layer};
use crate::analysis::reading::{HeadReading, read_run};
use crate::analysis::roles::Role;

/// Narrowest figure with both plots side by side, in inches.
const SIDE_BY_SIDE: f32 = 4.5;
/// Height of the plots.
const HEIGHT: f32 = 130.0;
/// Smallest cell of a head that its mark can be seen in, and the largest.
const CELL: [f32; 2] = [4.2, 22.0];
/// Radius of a mark among others.
const MARK: f32 = 2.6;
/// Space between plots.
const GUTTER: f32 = 16.0;
/// What parts the cells of heads.
const SEAM: Pen = Pen { width: 0.4, rgb: WHITE };

/// The figure, laid out.
pub struct Roles {
    spec: Spec,
    rows: Vec<Row>,
    layers: Vec<LayerRoles>,
    scores: [HeadScore; 2],
    axes: [Axis; 2],
    depth: Frame,
    scatter: Frame,
    policy: String,
}

/// One head.
struct Row {
    head: String,
    csv: String,
    role: Role,
    at: [Option<f64>; 2],
}

impl Roles {
    /// Lays the figure out; reads the heads unless the run brings them along.
    ///
    /// # Errors
    /// When the trace is empty or the figure does not fit the width.
    pub fn new(spec: &mut Spec, run: &Run<'_>) -> Result<Self, FigureError> {
        if run.recording.lifetimes.seen() == 0 {
            return Err(FigureError::Empty);
        }
        let heads = run.heads.map_or_else(|| Cow::Owned(read_run(run.manifest, run.recording)), Cow::Borrowed);
        let scores = *spec.scores.get_or_insert(HeadScore::DEFAULT);
        let layers = roles_by_layer(heads.iter());
        let rows: Vec<Row> = heads.iter().map(|reading| row(reading, scores)).collect();
        let axis = |which: usize| {
            let score = scores[which];
            let values = rows.iter().filter_map(|row| row.at[which]);
            if score.is_share() {
                // A little room, so that marks at the ends are whole.
                Axis::between(-0.04, 1.04)
            } else if score == HeadScore::Layer {
                Axis::between(-0.5, layers.len() as f64 - 0.5)
            } else {
                Axis::holding(score.scale(), values)
            }
        };
        let axes = [axis(0), axis(1)];
        let (depth, scatter) = frames(spec, &axes[1], &layers).ok_or(FigureError::TooNarrow(spec.width_in))?;
        let (spec, policy) = (spec.clone(), policy(run.manifest));
        Ok(Self { spec, rows, layers, scores, axes, depth, scatter, policy })
    }

    /// The roles that some head has, in order.
    fn present(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.rows.iter().any(|row| row.role == *role)).collect()
    }

    fn count(&self, role: Role) -> usize {
        self.rows.iter().filter(|row| row.role == role).count()
    }

    /// Roles of the legend, line by line, with the text of each.
    fn legend(&self) -> Vec<Vec<(Role, String)>> {
        let size = small(self.spec.font_pt);
        let entry = |role: Role| (role, format!("{} ({})", role.as_str(), self.count(role)));
        let entries: Vec<(Role, String)> = self.present().into_iter().map(entry).collect();
        let widths: Vec<f32> = entries.iter().map(|(_, text)| legend_width(text, size)).collect();
        let lines = legend::lines(&widths, size, self.spec.width_in * 72.0);
        lines.into_iter().map(|line| entries[line].to_vec()).collect()
    }

    fn bottom(&self) -> f32 {
        let bottom = |at: Frame| at.y + at.height;
        bottom(self.depth).max(bottom(self.scatter)) + axes::room_below(self.spec.font_pt) + 3.0
    }

    fn letter(&self, letter: char) -> Option<char> {
        self.spec.letters.then_some(letter)
    }

    fn draw_depth<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let (at, font) = (self.depth, self.spec.font_pt);
        let most = most_heads(&self.layers);
        let cell = [at.width / self.layers.len() as f32, at.height / most as f32];
        axes::title(sheet, self.letter('a'), "KV heads by role", [at.x, at.y - 0.7 * font], font)?;
        let gap = if cell[0] > 3.0 { 0.8 } else { 0.0 };
        let radius = (cell[0].min(cell[1]) * 0.28).min(1.5 * MARK);
        for layer in &self.layers {
            let x = at.x + f32::from(layer.layer) * cell[0];
            let mut bottom = at.y + at.height;
            for (role, count) in Role::ALL.into_iter().zip(layer.counts).filter(|(_, count)| *count > 0) {
                let height = count as f32 * cell[1];
                let frame = Frame { x: x + gap / 2.0, y: bottom - height, width: cell[0] - gap, height };
                sheet.block(frame, mark::colour(role))?;
                for place in 0..count {
                    let y = bottom - (place as f32 + 0.5) * cell[1];
                    if cell[0].min(cell[1]) >= CELL[0] {
                        mark::draw_on_ground(sheet, role, [x + cell[0] / 2.0, y], radius)?;
                    }
                }
                bottom -= height;
                sheet.line(&[[frame.x, bottom], [frame.x + frame.width, bottom]], SEAM)?;
            }
        }
        let up = Axis::between(0.0, most as f64);
        for value in up.whole_ticks(MOST_TICKS) {
            let y = at.y + at.height * (1.0 - up.share(value));
            sheet.label(&value.to_string(), [at.x - 3.5, y], Label::new(small(font)).ending().level())?;
        }
        let across = Axis::between(-0.5, self.layers.len() as f64 - 0.5);
        axes::below(sheet, &across, &across.whole_ticks(MOST_ACROSS + 1), at, font)?;
        axes::corner(sheet, at)?;
        axes::name_below(sheet, "layer", at, font)
    }

    fn draw_scatter<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let (at, font) = (self.scatter, self.spec.font_pt);
        axes::title(sheet, self.letter('b'), self.scores[1].label(), [at.x, at.y - 0.7 * font], font)?;
        axes::left(sheet, &self.axes[1], at, font)?;
        axes::below(sheet, &self.axes[0], &self.axes[0].ticks(MOST_ACROSS), at, font)?;
        axes::corner(sheet, at)?;
        for row in &self.rows {
            if let [Some(x), Some(y)] = row.at {
                let place = axes::place([&self.axes[0], &self.axes[1]], [x, y], at);
                mark::draw(sheet, row.role, place, MARK)?;
            }
        }
        axes::name_below(sheet, self.scores[0].label(), at, font)
    }
}

fn row(reading: &HeadReading, scores: [HeadScore; 2]) -> Row {
    let HeadReading { facts, verdict, .. } = reading;
    let at = scores.map(|score| score.of(reading));
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let also = verdict.also.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" + ");
    let (layer, head) = (facts.head.layer, facts.head.head);
    let csv = format!("{layer},{head},{},{also},{},{}", verdict.role.as_str(), number(at[0]), number(at[1]));
    Row { head: facts.head.to_string(), csv, role: verdict.role, at }
}

fn most_heads(layers: &[LayerRoles]) -> usize {
    layers.iter().map(|layer| layer.heads).max().unwrap_or(1).max(1)
}

fn legend_width(text: &str, size: f32) -> f32 {
    2.0 * MARK + 4.0 + Label::new(size).width(text)
}

/// Where the two plots lie: side by side, or below each other in a narrow figure. `None` where they do not fit.
fn frames(spec: &Spec, up: &Axis, layers: &[LayerRoles]) -> Option<(Frame, Frame)> {
    let (font, width) = (spec.font_pt, spec.width_in * 72.0);
    let top = font * 1.9;
    let count = Label::new(small(font)).width(&most_heads(layers).to_string()) + 7.0;
    let numbers = axes::numbers_width(&up.ticks(MOST_TICKS), font) + 5.0;
    let right = Label::new(small(font)).width("1000") / 2.0;
    let height = |cell: f32| (most_heads(layers) as f32 * cell).clamp(60.0, HEIGHT);
    let (depth, scatter) = if spec.width_in >= SIDE_BY_SIDE {
        let room = width - count - numbers - GUTTER - right;
        let first = (room * 0.52).min(layers.len() as f32 * CELL[1] * 1.5);
        let depth = Frame { x: count, y: top, width: first, height: HEIGHT };
        let scatter = Frame { x: count + first + GUTTER + numbers, y: top, width: room - first, height: HEIGHT };
        (depth, scatter)
    } else {
        let left = count.max(numbers);
        let room = width - left - right;
        let depth = Frame { x: left, y: top, width: room, height: height(12.0) };
        let y = depth.y + depth.height + axes::room_below(font) + font * 2.1;
        (depth, Frame { x: left, y, width: room, height: HEIGHT })
    };
    (depth.width >= layers.len() as f32 && scatter.width >= 80.0).then_some((depth, scatter))
}

impl Plot for Roles {
    fn size(&self) -> [f32; 2] {
        let legend = self.legend().len() as f32 * legend::line_height(small(self.spec.font_pt));
        [self.spec.width_in * 72.0, self.bottom() + legend]
    }

    fn title(&self) -> String {
        format!("Roles of {} KV heads ({})", self.rows.len(), self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        self.draw_depth(sheet)?;
        self.draw_scatter(sheet)?;
        let size = small(self.spec.font_pt);
        let mut y = self.bottom() + legend::line_height(size) / 2.0;
        for line in self.legend() {
            let total: f32 = line.iter().map(|(_, text)| legend_width(text, size)).sum();
            let mut x = (self.spec.width_in * 72.0 - total - size * (line.len() - 1) as f32) / 2.0;
            for (role, text) in line {
                mark::draw(sheet, role, [x + MARK, y], MARK)?;
                sheet.label(&text, [x + 2.0 * MARK + 4.0, y], Label::new(size).level())?;
                x += legend_width(&text, size) + size;
            }
            y += legend::line_height(size);
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let [x, y] = self.scores.map(HeadScore::as_str);
        let mut text = format!("layer,head,role,also,{x},{y}\n");
        for row in &self.rows {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{}", row.csv);
        }
        text
    }

    fn caption(&self) -> String {
        let lacking: Vec<&str> =
            self.rows.iter().filter(|row| row.at.iter().any(Option::is_none)).map(|row| row.head.as_str()).collect();
        let lacking = match lacking.len() {
            0 => String::new(),
            n if n <= 6 => format!(" Not shown, for lack of a score: {}.", lacking.join(", ")),
            n => format!(" Not shown, for lack of a score: {n} heads."),
        };
        let log = self.scores.iter().any(|score| score.scale() == Scale::Log);
        let log = if log { " Tokens are on logarithmic axes." } else { "" };
        format!(
            "Roles of {} KV heads, {}. Left or above: heads of each layer by role. Right or below: every head by {} and \
             {}.{log}{lacking} A role describes what a head kept in this run, by the rules of trimkv-trace.",
            self.rows.len(),
            self.policy,
            self.scores[0].label(),
            self.scores[1].label(),
        )
    }
}
