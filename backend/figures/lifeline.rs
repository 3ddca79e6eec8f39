//! `lifeline`: how the scores of a few tokens fade, against what their head demanded at its cuts; where they meet, the
//! token is evicted.

use std::fmt::Write as _;

use super::axes::{self, MOST_ACROSS};
use super::axis::{Axis, Scale};
use super::choose::least_like_a_window;
use super::colour::{BLACK, LINES, Rgb, WHITE};
use super::curves::{Curve, Legend, Panel};
use super::fading::{Fading, Life};
use super::fig4::policy;
use super::legend;
use super::paint::{Frame, Painter};
use super::prose;
use super::sheet::{Label, Pen, Sheet};
use super::spec::Spec;
use super::{FigureError, Plot, font, small};
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;

/// More lines than there are colours cannot be told apart.
const MOST: usize = LINES.len();
/// More panels than this are no figure.
const MOST_HEADS: usize = 12;
/// Height of a plot.
const HEIGHT: f32 = 120.0;
/// A token's line.
const LINE: f32 = 1.0;
/// What a head demanded.
const THRESHOLD: Pen = Pen { width: 0.7, rgb: BLACK };
/// Below the threshold nothing stays.
const GONE: Rgb = [226, 226, 226];
/// Radius of the mark at the end of a life.
const END: f32 = 2.2;
/// Scores are shown down to this many times the lowest threshold.
const DEEPEST: f64 = 2.5;
/// Room below the lowest end of a life.
const ROOM: f64 = 1.6;
/// Points of a line that bends.
const BENDS: u32 = 160;
/// Length of a line in the legend.
const SAMPLE: f32 = 12.0;

/// The figure, laid out.
pub struct Lifeline {
    spec: Spec,
    heads: Vec<Head>,
    seen: u32,
    left: f32,
    right: f32,
    policy: String,
}

struct Head {
    fading: Fading,
    panel: Panel,
    lives: Vec<Life>,
    /// What each token says, in few characters.
    texts: Vec<String>,
}

impl Lifeline {
    /// Lays the figure out. Without heads in the spec it takes the one least like a window, without positions those of
    /// [`Fading::telling`] in the first head, and writes both into the spec.
    ///
    /// # Errors
    /// When the trace is empty or has no gates, thresholds or such scores, a head or a position does not exist, or there
    /// are more than can be told apart.
    pub fn new(spec: &mut Spec, manifest: &Manifest, recording: &Recording) -> Result<Self, FigureError> {
        let lifetimes = &recording.lifetimes;
        let seen = lifetimes.seen();
        if seen == 0 {
            return Err(FigureError::Empty);
        }
        let heads = spec.heads_or(lifetimes.shape(), || least_like_a_window(lifetimes, manifest.policy.budget))?;
        let most = |what, given: usize, most: usize| {
            let (value, most) = (given as f64, most as f64);
            if value > most { Err(FigureError::Range { what, value, least: 1.0, most }) } else { Ok(()) }
        };
        most("a number of heads (--heads)", heads.len(), MOST_HEADS)?;
        most("a number of tokens (--position)", spec.positions.len(), MOST)?;
        if let Some(&position) = spec.positions.iter().find(|position| **position >= seen) {
            let (value, most) = (f64::from(position), f64::from(seen - 1));
            return Err(FigureError::Range { what: "a position (--position)", value, least: 0.0, most });
        }
        let fading: Vec<Fading> =
            heads.iter().map(|&head| Fading::of(manifest, recording, head)).collect::<Result<_, _>>()?;
        if spec.positions.is_empty() {
            spec.positions = fading.first().map_or(Vec::new(), Fading::telling);
        }
        let text = |position: &u32| {
            let token = &recording.tokens[*position as usize];
            token
                .text
                .as_deref()
                .map_or_else(|| format!("token {}", token.id), |text| format!("“{}”", prose::alone(text)))
        };
        let texts: Vec<String> = spec.positions.iter().map(text).collect();
        let heads: Vec<Head> = fading
            .into_iter()
            .zip('a'..)
            .map(|(fading, letter)| {
                let lives: Vec<Life> = spec.positions.iter().map(|&position| fading.life(position)).collect();
                let panel = panel(&fading, &lives, spec, letter);
                Head { fading, panel, lives, texts: texts.clone() }
            })
            .collect();
        let tick = Label::new(small(spec.font_pt));
        let left = heads.iter().map(|head| head.panel.ticks_width(spec.font_pt)).fold(0.0, f32::max) + 5.0;
        let right = (tick.width("0000") / 2.0).max(END + 4.0 + tick.width("9"));
        if spec.width_in * 72.0 - left - right < 100.0 {
            return Err(FigureError::TooNarrow(spec.width_in));
        }
        let (spec, policy) = (spec.clone(), policy(manifest));
        Ok(Self { spec, heads, seen, left, right, policy })
    }

    /// The legend's entries: what a number, a colour and a mark stand for.
    fn entries(&self, head: &Head) -> Vec<String> {
        let entry = |(life, text): (&Life, &String)| {
            let end = life.evicted_at.map_or("held".to_owned(), |at| format!("evicted at {at}"));
            format!("{text} at {}, {end}", life.position)
        };
        head.lives.iter().zip(&head.texts).map(entry).collect()
    }

    fn legend(&self, head: &Head) -> Vec<std::ops::Range<usize>> {
        let label = Label::new(small(self.spec.font_pt));
        let width = |text: &String| label.width("9 ") + SAMPLE + 3.0 + label.width(text);
        let widths: Vec<f32> = self.entries(head).iter().map(width).collect();
        legend::lines(&widths, label.width("00"), self.spec.width_in * 72.0 - self.left)
    }

    fn block_height(&self, head: &Head) -> f32 {
        let font = self.spec.font_pt;
        let legend = self.legend(head).len() as f32 * legend::line_height(small(font));
        font * 1.9 + HEIGHT + axes::room_below(font) + legend + 6.0
    }

    fn draw_head<P: Painter>(&self, sheet: &Sheet<'_, P>, head: &Head, top: f32) -> Result<(), FigureError> {
        let (font, size) = (self.spec.font_pt, small(self.spec.font_pt));
        let width = self.spec.width_in * 72.0 - self.left - self.right;
        let at = Frame { x: self.left, y: top + font * 1.9, width, height: HEIGHT };
        let across = Axis::between(0.0, f64::from(self.seen));
        axes::title(sheet, head.panel.letter, &head.panel.title, [at.x, at.y - 0.7 * font], font)?;
        self.draw_threshold(sheet, head, &across, at)?;
        let (lines, _) = head.panel.curves.split_at(head.lives.len());
        for curve in lines {
            head.panel.draw_curve(sheet, curve, &across, at)?;
        }
        axes::left(sheet, &head.panel.axis, at, font)?;
        axes::below(sheet, &across, &across.whole_ticks(MOST_ACROSS), at, font)?;
        axes::corner(sheet, at)?;
        self.draw_ends(sheet, head, &across, at)?;
        axes::name_below(sheet, "tokens seen", at, font)?;
        let entries = self.entries(head);
        let mut y = at.y + at.height + axes::room_below(font) + legend::line_height(size) / 2.0;
        for line in self.legend(head) {
            let mut x = at.x;
            for index in line {
                let label = Label::new(size).level();
                let number = (index + 1).to_string();
                sheet.label(&number, [x, y], label.bold().rgb(LINES[index]))?;
                x += label.width("9 ");
                sheet.line(&[[x, y], [x + SAMPLE, y]], Pen { width: LINE, rgb: LINES[index] })?;
                end(sheet, &head.lives[index], [x + SAMPLE, y], LINES[index])?;
                sheet.label(&entries[index], [x + SAMPLE + END + 3.0, y], label)?;
                x += SAMPLE + 3.0 + label.width(&entries[index]) + label.width("00");
            }
            y += legend::line_height(size);
        }
        Ok(())
    }

    /// What the head demanded, and the grey below it where nothing stays.
    fn draw_threshold<P: Painter>(
        &self,
        sheet: &Sheet<'_, P>,
        head: &Head,
        across: &Axis,
        at: Frame,
    ) -> Result<(), FigureError> {
        let bottom = at.y + at.height;
        for curve in &head.panel.curves[head.lives.len()..] {
            for mut area in head.panel.runs(curve, across, at) {
                if let ([first, ..], [.., last]) = (area.as_slice(), area.as_slice()) {
                    let corners = [[last[0], bottom], [first[0], bottom]];
                    area.extend(corners);
                    sheet.area(&area, GONE)?;
                }
            }
            head.panel.draw_curve(sheet, curve, across, at)?;
        }
        let label = Label::new(small(self.spec.font_pt)).ending();
        sheet.label("grey: evicted", [at.x + at.width, at.y - 0.7 * self.spec.font_pt], label)
    }

    /// A full mark where a life ends, a ring where it goes on, each with its number.
    fn draw_ends<P: Painter>(
        &self,
        sheet: &Sheet<'_, P>,
        head: &Head,
        across: &Axis,
        at: Frame,
    ) -> Result<(), FigureError> {
        let label = Label::new(small(self.spec.font_pt)).level().bold();
        let place = |life: &Life| {
            let t = life.evicted_at.unwrap_or(self.seen);
            let score = shown(head.fading.score(life.position, t), &self.spec);
            let [x, y] = axes::place([across, &head.panel.axis], [t.into(), score], at);
            // Beyond the picture's lower edge the mark stays on it.
            [x, y.min(at.y + at.height)]
        };
        let ends: Vec<[f32; 2]> = head.lives.iter().map(place).collect();
        // Numbers of ends beside each other move apart.
        let mut order: Vec<usize> = (0..ends.len()).collect();
        order.sort_by(|&a, &b| ends[a][0].total_cmp(&ends[b][0]));
        let beside = label.width("9") + 2.0 * END;
        for group in order.chunk_by(|&a, &b| ends[b][0] - ends[a][0] < beside) {
            let heights: Vec<f32> = group.iter().map(|&index| ends[index][1]).collect();
            let x = group.iter().map(|&index| ends[index][0]).fold(0.0, f32::max) + END + 1.5;
            for (&index, y) in group.iter().zip(axes::apart(&heights, small(self.spec.font_pt) * 0.95)) {
                end(sheet, &head.lives[index], ends[index], LINES[index])?;
                // The threshold may run through the number.
                sheet.dot([x + label.width("9") / 2.0, y], small(self.spec.font_pt) * 0.5, WHITE)?;
                sheet.label(&(index + 1).to_string(), [x, y], label.rgb(LINES[index]))?;
            }
        }
        Ok(())
    }
}

/// A score as the axis has it.
fn shown(score: f64, spec: &Spec) -> f64 {
    if spec.retention { score.exp() } else { score }
}

fn end<P: Painter>(sheet: &Sheet<'_, P>, life: &Life, at: [f32; 2], rgb: Rgb) -> Result<(), FigureError> {
    sheet.dot(at, END, rgb)?;
    if life.evicted_at.is_none() { sheet.dot(at, END - 0.9, WHITE) } else { Ok(()) }
}

/// The curves of the tokens, and after them the thresholds.
fn panel(fading: &Fading, lives: &[Life], spec: &Spec, letter: char) -> Panel {
    let line = |(life, rgb): (&Life, Rgb)| {
        let last = life.evicted_at.unwrap_or(fading.seen);
        // A token is there from the moment it is seen itself.
        let first = life.position + 1;
        let steps = if spec.retention { BENDS.min(last - first).max(1) } else { 1 };
        let at = |step: u32| first + (u64::from(last - first) * u64::from(step) / u64::from(steps)) as u32;
        let points = (0..=steps).map(at).map(|t| (t, shown(fading.score(life.position, t), spec))).collect();
        Curve { points, pen: Pen { width: LINE, rgb } }
    };
    let mut curves: Vec<Curve> = lives.iter().zip(LINES).map(line).collect();
    let demanded = fading.standing().into_iter().map(|(t, score)| (t, shown(score, spec))).collect();
    curves.push(Curve { points: demanded, pen: THRESHOLD });
    let (name, axis) = if spec.retention {
        ("retention β^age", Axis::between(0.0, 1.0))
    } else {
        // The first cuts demand little, far below the tokens' lives: what counts is where the lines end.
        let last = fading.thresholds.last().map_or(0.0, |cut| cut.1);
        let lowest = fading.thresholds.iter().map(|cut| cut.1).fold(0.0, f64::min);
        let ends = lives.iter().map(|life| fading.score(life.position, life.evicted_at.unwrap_or(fading.seen)));
        let deepest = ends.fold(last, f64::min).max(DEEPEST * lowest);
        ("score log β · age, nats", Axis { ends: [deepest * ROOM, 0.0], scale: Scale::Linear })
    };
    let title = format!("{}: {name}", fading.head);
    Panel { title, letter: spec.letters.then_some(letter), axis, curves, legend: Legend::None }
}

impl Plot for Lifeline {
    fn size(&self) -> [f32; 2] {
        [self.spec.width_in * 72.0, self.heads.iter().map(|head| self.block_height(head)).sum()]
    }

    fn title(&self) -> String {
        format!(
            "Life lines of {} tokens in {} ({})",
            self.spec.positions.len(),
            self.spec.heads.join(", "),
            self.spec.run
        )
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let mut top = 0.0;
        for head in &self.heads {
            self.draw_head(sheet, head, top)?;
            top += self.block_height(head);
        }
        Ok(())
    }

    /// At every cut of a head: its threshold, and the score of each token that it weighed.
    fn csv(&self) -> String {
        let mut text = "layer,head,tokens_seen,threshold".to_owned();
        // Writing to a `String` cannot fail.
        for position in &self.spec.positions {
            let _ = write!(text, ",score_{position}");
        }
        text.push('\n');
        for Head { fading, lives, .. } in &self.heads {
            for &(t, threshold) in &fading.thresholds {
                let _ = write!(text, "{},{},{t},{threshold}", fading.head.layer, fading.head.head);
                for life in lives {
                    let is_weighed = life.position < t && life.evicted_at.is_none_or(|at| t <= at);
                    let score = if is_weighed { fading.score(life.position, t).to_string() } else { String::new() };
                    let _ = write!(text, ",{score}");
                }
                text.push('\n');
            }
        }
        text
    }

    fn caption(&self) -> String {
        let what = if self.spec.retention { "Retention β^age" } else { "Score log β · age (nats)" };
        format!(
            "{what} of {} tokens in KV head {} over {} tokens, {}. Black: the lowest score that stayed at a cut, drawn until the next. A line \
             ends with a full mark where a cut found the token below it and evicted it, with a ring where the token is held \
             at the end.",
            self.spec.positions.len(),
            self.spec.heads.join(", "),
            self.seen,
            self.policy
        )
    }

    fn missing_characters(&self) -> Vec<char> {
        font::missing(self.heads.iter().flat_map(|head| head.texts.iter().map(String::as_str)))
    }
}
