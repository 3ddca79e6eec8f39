//! `grid`: what every head kept, as one small triangle per head, layers by heads.

use std::fmt::Write as _;

use super::axis::tick_text;
use super::colour::{BLACK, Rgb, WHITE};
use super::fig4::policy;
use super::paint::{Frame, Painter};
use super::raster::{Lives, Pooling, Raster, colour};
use super::sheet::{Label, Pen, Sheet};
use super::spec::Spec;
use super::triangle::{self, Entry};
use super::{FigureError, Plot, small};
use crate::analysis::facts::{HeadFacts, head_facts};
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::Shape;

/// White pixels between triangles.
const GAP_PIXELS: usize = 3;
/// Fewest pixels in which a triangle can be told from a block.
const FEWEST_PIXELS: usize = 12;

/// Around each triangle.
const EDGE: Pen = Pen { width: 0.3, rgb: BLACK };

/// The figure, laid out.
pub struct Grid {
    spec: Spec,
    facts: Vec<HeadFacts>,
    /// Layers run across where there are more layers than heads, as in every large model.
    across_layers: bool,
    shape: Shape,
    picture: Raster,
    /// Pixels of a triangle's side, and from one triangle to the next.
    cell_and_step: [usize; 2],
    left: f32,
    seen: usize,
    policy: String,
}

impl Grid {
    /// Lays the figure out and computes its pixels.
    ///
    /// # Errors
    /// When the trace is empty, or the heads are too many for the width.
    pub fn new(spec: &Spec, manifest: &Manifest, recording: &Recording) -> Result<Self, FigureError> {
        let lifetimes = &recording.lifetimes;
        let shape = lifetimes.shape();
        let seen = lifetimes.seen() as usize;
        if seen == 0 {
            return Err(FigureError::Empty);
        }
        let across_layers = shape.layers > shape.kv_heads;
        let (columns, rows) =
            if across_layers { (shape.layers, shape.kv_heads) } else { (shape.kv_heads, shape.layers) };
        let tick = small(spec.font_pt);
        let left = spec.font_pt + 4.0 + Label::new(tick).width(&tick_text(rows.saturating_sub(1) as f64)) + 3.0;
        let pixels = ((spec.width_in * 72.0 - left - 1.0) * spec.dpi as f32 / 72.0) as usize;
        let cell = (pixels + GAP_PIXELS) / columns;
        if cell < FEWEST_PIXELS + GAP_PIXELS {
            return Err(FigureError::TooNarrow(spec.width_in));
        }
        let (cell, step) = (cell - GAP_PIXELS, cell);
        // A few heads need not fill the page.
        let most = (1.2 * spec.dpi as f32) as usize;
        let (cell, step) = if cell > most { (most, most + GAP_PIXELS) } else { (cell, step) };
        let (width, height) = (columns * step - GAP_PIXELS, rows * step - GAP_PIXELS);
        let mut pixels: Vec<Rgb> = vec![WHITE; width * height];
        let side = seen.min(cell);
        for head in shape.iter() {
            let (layer, kv) = (usize::from(head.layer), usize::from(head.head));
            let (column, row) = if across_layers { (layer, kv) } else { (kv, layer) };
            let triangle = colour(&Lives::of(lifetimes, head).kept(side, spec.pooling), side, spec.colours);
            for y in 0..cell {
                for x in 0..cell {
                    let from = (y * side / cell) * side + x * side / cell;
                    pixels[(row * step + y) * width + column * step + x] = triangle.pixels[from];
                }
            }
        }
        let picture = Raster { width: width as u32, height: height as u32, pixels };
        let facts = head_facts(lifetimes, manifest.policy.budget);
        Ok(Self {
            spec: spec.clone(),
            facts,
            across_layers,
            shape,
            picture,
            cell_and_step: [cell, step],
            left,
            seen,
            policy: policy(manifest),
        })
    }

    fn tick(&self) -> f32 {
        small(self.spec.font_pt)
    }

    fn top(&self) -> f32 {
        self.spec.font_pt * 1.4 + self.tick() + 3.0
    }

    fn picture_frame(&self) -> Frame {
        let points = |pixels: u32| pixels as f32 * 72.0 / self.spec.dpi as f32;
        Frame { x: self.left, y: self.top(), width: points(self.picture.width), height: points(self.picture.height) }
    }

    fn legend() -> [Entry; 2] {
        [Entry::Kept, Entry::Evicted]
    }
}

impl Plot for Grid {
    fn size(&self) -> [f32; 2] {
        let at = self.picture_frame();
        [self.spec.width_in * 72.0, at.y + at.height + 4.0 + triangle::legend_line_height(self.tick())]
    }

    fn title(&self) -> String {
        format!("What every head kept ({})", self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let (at, font, tick) = (self.picture_frame(), self.spec.font_pt, self.tick());
        sheet.matrix(at, &self.picture)?;
        let (layers, heads) = (self.shape.layers, self.shape.kv_heads);
        let (columns, rows) = if self.across_layers { (layers, heads) } else { (heads, layers) };
        let names = if self.across_layers { ("layer", "KV head") } else { ("KV head", "layer") };
        let [width, height] = [at.width / columns as f32, at.height / rows as f32];
        // A grey print shows kept tokens nearly as white as paper: the edge tells them apart.
        let [side, step] = self.cell_and_step.map(|pixels| pixels as f32 * 72.0 / self.spec.dpi as f32);
        for row in 0..rows {
            for column in 0..columns {
                let [x, y] = [at.x + column as f32 * step, at.y + row as f32 * step];
                sheet.line(&[[x, y], [x, y + side], [x + side, y + side], [x, y]], EDGE)?;
            }
        }
        let label = Label::new(tick);
        // Numbers that do not fit are left out, evenly.
        let every = |count: usize, room: f32, length: f32| ((length / room).ceil() as usize).clamp(1, count.max(1));
        let widest = label.width(&(columns - 1).to_string()) + 3.0;
        for column in (0..columns).step_by(every(columns, width, widest)) {
            let x = at.x + (column as f32 + 0.5) * width;
            sheet.label(&column.to_string(), [x, at.y - 3.0], label.centred())?;
        }
        for row in (0..rows).step_by(every(rows, height, tick * 1.1)) {
            let y = at.y + (row as f32 + 0.5) * height;
            sheet.label(&row.to_string(), [at.x - 3.0, y], label.ending().level())?;
        }
        let title = Label::new(font).centred();
        sheet.label(names.0, [at.x + at.width / 2.0, font], title)?;
        sheet.label(names.1, [font, at.y + at.height / 2.0], title.upwards())?;
        let y = at.y + at.height + 4.0 + triangle::legend_line_height(tick) / 2.0;
        triangle::legend(sheet, &Self::legend(), [at.x, at.x + at.width], y, tick, self.spec.colours)
    }

    fn csv(&self) -> String {
        let mut text = "layer,head,kept,evicted,mean_lifetime,mean_age_evicted\n".to_owned();
        for facts in &self.facts {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "{},{},{},{},{},{}",
                facts.head.layer,
                facts.head.head,
                facts.kept,
                facts.evicted,
                number(facts.mean_lifetime),
                number(facts.mean_age_evicted)
            );
        }
        text
    }

    fn caption(&self) -> String {
        let pooled = match self.spec.pooling {
            Pooling::Max => "bright where any of the token pairs it stands for was cached",
            Pooling::Mean => "as bright as the share of its token pairs that was cached",
        };
        format!(
            "What each of {} KV heads held over {} tokens, {}. In every triangle columns are key positions and rows query \
             steps, from the top left; a pixel is {pooled}.",
            self.shape.heads(),
            self.seen,
            self.policy
        )
    }
}
