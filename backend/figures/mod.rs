//! Figures for papers: PDF, SVG and PNG of a trace or of a training, the same bytes every time.
//!
//! A preset is a [`Plot`]: it lays itself out in points from plain values, then draws on any [`paint::Painter`] through
//! plotters. Axes and labels are vectors; a matrix is one small lossless bitmap ([`raster`]) that readers must not
//! smooth. Text uses the [`font`]s in the binary.

pub mod ask;
pub mod axes;
pub mod axis;
pub mod budget;
pub mod choose;
pub mod colour;
pub mod curves;
pub mod fading;
pub mod fig4;
pub mod font;
pub mod grid;
pub mod legend;
pub mod lifeline;
pub mod make;
pub mod mark;
pub mod occupancy;
pub mod paint;
pub mod preset;
pub mod prose;
pub mod raster;
pub mod roles;
pub mod score;
pub mod sheet;
pub mod spec;
pub mod tex;
pub mod text;
pub mod training;
pub mod triangle;

use paint::pdf;
use paint::png::PngPainter;
use paint::svg::SvgPainter;
use paint::{Painter, UNITS};
use preset::Preset;
use sheet::Sheet;
use spec::{Format, Spec};

use crate::trace::step::KvHead;

/// Longest figure, in points; one more is a mistake, not a page.
const TALLEST: f32 = 5000.0;

/// Why a figure could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FigureError {
    /// A head the model lacks.
    #[error("there is no head {head}: the model has layers 0 to {} of KV heads 0 to {}", .layers - 1, .kv_heads - 1)]
    NoSuchHead {
        /// What was asked for.
        head: KvHead,
        /// Layers of the model.
        layers: usize,
        /// KV heads per layer.
        kv_heads: usize,
    },
    /// A head written in another way.
    #[error("{0:?} is not a head; write heads as L1H2,L3H0")]
    HeadName(String),
    /// No such figure.
    #[error("there is no figure {0:?}; there are fig4, grid, text, lifeline, roles, budget and training")]
    Preset(String),
    /// No such flag.
    #[error("figures know no --{0}; see trimkv-trace figure --help")]
    Flag(String),
    /// A flag that would be ignored.
    #[error("{} makes no use of --{flag}, which is for {users}; leave it out", preset.as_str())]
    Unused {
        /// The flag.
        flag: String,
        /// The figure.
        preset: Preset,
        /// Those that use it.
        users: String,
    },
    /// A value that is no number.
    #[error("{value:?} is no number that --{flag} can take")]
    Number {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
    },
    /// A value that is none of those there are.
    #[error("{value:?} is nothing that --{flag} can be; choose from {choices}")]
    Choice {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
        /// What can be given.
        choices: String,
    },
    /// A class that no token has.
    #[error("{0:?} is no token class; there are {1}")]
    Class(String, String),
    /// A layer without a head, or a head without a layer.
    #[error("--layer and --head name a head together; give both, or --heads L1H2")]
    HalfAHead,
    /// The figure of a training, of a run.
    #[error("training shows a training of gates; name the directory that trimkv-trace train wrote, not a trace")]
    NotOfARun,
    /// The figure of a run, of a training.
    #[error("{} shows a trace, not a training of gates", .0.as_str())]
    OfARun(Preset),
    /// A file name that ends in no known format.
    #[error("{0} ends in no format that figures have; call it .pdf, .svg or .png")]
    Extension(String),
    /// A width that cannot be read.
    #[error("{0:?} is not a width; write 3.25in, 82.5mm or 234pt")]
    Width(String),
    /// A brace that cannot be read.
    #[error("{0:?} is not a range; write FIRST-LAST:LABEL, such as 0-31:prompt")]
    Brace(String),
    /// A number outside its range.
    #[error("{value} is no use as {what}; take one from {least} to {most}")]
    Range {
        /// What it is for.
        what: &'static str,
        /// What was given.
        value: f64,
        /// Least useful value.
        least: f64,
        /// Largest useful value.
        most: f64,
    },
    /// A spec of another version, or none.
    #[error("its schema is {found:?}, and this version reads {}; make the figure anew", spec::SCHEMA)]
    Schema {
        /// What it says.
        found: String,
    },
    /// A trace without tokens.
    #[error("the trace has no tokens, so there is nothing to draw")]
    Empty,
    /// A trace without gates.
    #[error("the trace has no log_beta (it was made without gates), so there is no retention to draw; try {0}")]
    NoGates(&'static str),
    /// Too many rows for a page.
    #[error("the figure would be {0:.0} in tall; show less of the trace, or make it wider")]
    TooTall(f32),
    /// Too narrow for what it shows.
    #[error("{0} in is too narrow for this figure; make it wider with --width, or the text smaller with --font-size")]
    TooNarrow(f32),
    /// Something else that the trace lacks.
    #[error("{0}")]
    Lacks(String),
    /// Too many pixels, or none.
    #[error("a picture of {width} x {height} pixels cannot be made; lower --dpi or --width")]
    Pixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The PDF library refused.
    #[error("the PDF cannot be written: {0}; please report this")]
    Pdf(String),
    /// plotters refused.
    #[error("the figure cannot be drawn: {0}; please report this")]
    Drawing(String),
}

/// A figure that is laid out and ready to draw.
pub trait Plot {
    /// Width and height in points.
    fn size(&self) -> [f32; 2];
    /// What it is, in a few words.
    fn title(&self) -> String;
    /// Puts it on paper.
    ///
    /// # Errors
    /// When plotters refuses a mark.
    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError>;
    /// The plotted values, with a header line.
    fn csv(&self) -> String;
    /// A caption that says what is shown and by which rules, as plain text.
    fn caption(&self) -> String;
    /// Characters that the fonts lack, each once, in order of appearance.
    fn missing_characters(&self) -> Vec<char> {
        Vec::new()
    }
}

/// The bytes of a figure.
///
/// # Errors
/// When it is too tall or has too many pixels, or a library refuses.
pub fn render(plot: &impl Plot, format: Format, spec: &Spec) -> Result<Vec<u8>, FigureError> {
    // On the lattice, so that all formats are of one size.
    let [width, height] = plot.size().map(|points| (points * UNITS).round() / UNITS);
    if height > TALLEST {
        return Err(FigureError::TooTall(height / 72.0));
    }
    let title = plot.title();
    match format {
        Format::Svg => {
            let mut painter = SvgPainter::default();
            plot.draw(&Sheet::new(&mut painter, [width, height]))?;
            Ok(painter.finish(width, height, &title).into_bytes())
        }
        Format::Pdf => pdf::document(width, height, &title, |painter| plot.draw(&Sheet::new(painter, [width, height]))),
        Format::Png => {
            let mut painter = PngPainter::new(width, height, spec.dpi)?;
            plot.draw(&Sheet::new(&mut painter, [width, height]))?;
            Ok(painter.finish(spec.dpi))
        }
    }
}

/// Size of tick labels and legends for a text size: one point less, at least 7 (the smallest print that papers allow),
/// unless the text itself is smaller.
pub fn small(font_pt: f32) -> f32 {
    (font_pt - 1.0).max(7.0_f32.min(font_pt))
}
