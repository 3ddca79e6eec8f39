//! What a figure is made from: everything that decides its bytes, as a JSON file beside it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::FigureError;
use super::colour::Colours;
pub use super::preset::Preset;
use super::raster::Pooling;
use super::score::HeadScore;
use crate::trace::step::{KvHead, Shape};

/// The schema this version writes and reads.
pub const SCHEMA: &str = "trimkv-figure/1";

/// Kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Vector, for LaTeX.
    Pdf,
    /// Vector, for the web.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// The format that a file name ends in.
    ///
    /// # Errors
    /// When it ends in none of the three.
    pub fn of(name: &str) -> Result<Self, FigureError> {
        match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
            Some("pdf") => Ok(Self::Pdf),
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(FigureError::Extension(name.to_owned())),
        }
    }
}

/// A named range of positions, marked on the position axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brace {
    /// First position.
    pub first: u32,
    /// Last position, included.
    pub last: u32,
    /// What it is called.
    pub label: String,
}

impl FromStr for Brace {
    type Err = FigureError;

    /// Parses `FIRST-LAST:LABEL`.
    fn from_str(text: &str) -> Result<Self, FigureError> {
        let parse = || {
            let (range, label) = text.split_once(':')?;
            let (first, last) = range.split_once('-')?;
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then(|| Self { first, last, label: label.trim().to_owned() })
        };
        parse().ok_or_else(|| FigureError::Brace(text.to_owned()))
    }
}

/// Everything that decides a figure's bytes, given the trace or the log of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// [`SCHEMA`].
    pub schema: String,
    /// Which figure.
    pub preset: Preset,
    /// The trace, or the directory of a training, from the directory of the spec.
    pub trace: String,
    /// The run's name, or the steps of a training, to tell when something else stands there now.
    #[serde(default)]
    pub run: String,
    /// File name of the figure; its ending is the format.
    pub output: String,
    /// Width at final size, in inches.
    pub width_in: f32,
    /// Text size in points; tick labels are one point smaller, at least 7.
    pub font_pt: f32,
    /// Pixels per inch: of a PNG, and the finest that a matrix gets in a PDF or SVG.
    pub dpi: u32,
    /// Colour scale; retention and coverage always span all of it, 0 to 1.
    pub colours: Colours,
    /// What a pixel shows of several cells.
    pub pooling: Pooling,
    /// Heads such as `L1H2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<String>,
    /// Number of tokens seen at the moment shown; the end of the run if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u32>,
    /// Token classes to circle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circle: Vec<String>,
    /// Ranges to mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub braces: Vec<Brace>,
    /// Tokens to follow, by position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<u32>,
    /// Whether a token's retention is shown instead of its logarithm, the score.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retention: bool,
    /// The two scores over which heads are scattered, across and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<[HeadScore; 2]>,
    /// Whether panels carry letters.
    #[serde(default)]
    pub letters: bool,
}

impl Spec {
    /// A spec with every default, for `preset` of the trace at `trace`.
    pub fn new(preset: Preset, trace: &str, output: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            preset,
            trace: trace.to_owned(),
            run: String::new(),
            output: output.to_owned(),
            width_in: 5.5,
            font_pt: 8.0,
            dpi: 300,
            colours: Colours::default(),
            pooling: Pooling::default(),
            heads: Vec::new(),
            at: None,
            circle: Vec::new(),
            braces: Vec::new(),
            positions: Vec::new(),
            retention: false,
            scores: None,
            letters: false,
        }
    }

    /// Refuses what cannot be drawn or read.
    ///
    /// # Errors
    /// When the schema is not ours or a size is out of range.
    pub fn check(&self) -> Result<(), FigureError> {
        let out_of = |what, value: f32, least, most| FigureError::Range { what, value: f64::from(value), least, most };
        if self.schema != SCHEMA {
            return Err(FigureError::Schema { found: self.schema.clone() });
        }
        if !(1.0..=40.0).contains(&self.width_in) {
            return Err(out_of("a width in inches", self.width_in, 1.0, 40.0));
        }
        if !(4.0..=24.0).contains(&self.font_pt) {
            return Err(out_of("a text size in points", self.font_pt, 4.0, 24.0));
        }
        if !(50..=1200).contains(&self.dpi) {
            return Err(out_of("a resolution in dpi", self.dpi as f32, 50.0, 1200.0));
        }
        let asked = [
            ("heads", !self.heads.is_empty()),
            ("at", self.at.is_some()),
            ("circle", !self.circle.is_empty()),
            ("brace", !self.braces.is_empty()),
            ("position", !self.positions.is_empty()),
            ("retention", self.retention),
            ("x", self.scores.is_some()),
            ("letters", self.letters),
        ];
        asked.iter().filter(|(_, is_asked)| *is_asked).try_for_each(|(flag, _)| self.preset.heeds(flag))
    }

    /// The heads asked for.
    ///
    /// # Errors
    /// When one is not written as `L1H2`, or the model has no such head.
    pub fn chosen_heads(&self, shape: Shape) -> Result<Vec<KvHead>, FigureError> {
        self.heads.iter().map(|name| head(name, shape)).collect()
    }

    /// The heads asked for; where none are, those of `otherwise`, which are written into the spec.
    ///
    /// # Errors
    /// As [`Spec::chosen_heads`].
    pub fn heads_or<H: IntoIterator<Item = KvHead>>(
        &mut self,
        shape: Shape,
        otherwise: impl FnOnce() -> H,
    ) -> Result<Vec<KvHead>, FigureError> {
        if self.heads.is_empty() {
            self.heads = otherwise().into_iter().map(|head| head.to_string()).collect();
        }
        self.chosen_heads(shape)
    }
}

fn head(name: &str, shape: Shape) -> Result<KvHead, FigureError> {
    let parse = || {
        let (layer, head) = name.strip_prefix(['L', 'l'])?.split_once(['H', 'h'])?;
        Some(KvHead { layer: layer.parse().ok()?, head: head.parse().ok()? })
    };
    let head = parse().ok_or_else(|| FigureError::HeadName(name.to_owned()))?;
    let Shape { layers, kv_heads } = shape;
    shape.has(head).then_some(head).ok_or(FigureError::NoSuchHead { head, layers, kv_heads })
}

/// A width with its unit, in inches: `3.25in`, `82.5mm`, `8.25cm`, `234pt`; without a unit inches.
///
/// # Errors
/// When it is not a number with one of these units.
pub fn inches(text: &str) -> Result<f32, FigureError> {
    let text = text.trim();
    let units = [("in", 1.0), ("mm", 25.4), ("cm", 2.54), ("pt", 72.0)];
    let split = units.iter().find_map(|(unit, per_inch)| Some((text.strip_suffix(unit)?, per_inch)));
    let (number, per_inch) = split.unwrap_or((text, &1.0));
    number.trim().parse::<f32>().map(|value| value / per_inch).map_err(|_| FigureError::Width(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { layers: 5, kv_heads: 4 };

    #[test]
    fn a_spec_survives_its_file() {
        let mut spec = Spec::new(Preset::Fig4, "../traces/a", "fig4.pdf");
        spec.heads = vec!["L1H2".to_owned()];
        spec.braces = vec!["0-31: prompt".parse().unwrap()];
        let json = serde_json::to_string_pretty(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
        assert!(serde_json::from_str::<Spec>(&json.replace("\"dpi\"", "\"dots\"")).is_err());
    }

    #[test]
    fn heads_are_named_and_must_exist() {
        let with = |name: &str| Spec { heads: vec![name.to_owned()], ..Spec::new(Preset::Fig4, "", "") };
        assert_eq!(with("L4H3").chosen_heads(SHAPE).unwrap(), [KvHead { layer: 4, head: 3 }]);
        for name in ["L5H0", "L0H4", "4.3", "L-1H0", "L1", ""] {
            assert!(with(name).chosen_heads(SHAPE).is_err(), "{name}");
        }
    }

    #[test]
    fn widths_have_units() {
        assert_eq!(inches("3.25in").unwrap(), 3.25);
        assert_eq!(inches("5.5").unwrap(), 5.5);
        assert!((inches("82.55 mm").unwrap() - 3.25).abs() < 1e-4);
        assert!(inches("wide").is_err());
        assert!(Spec { width_in: f32::NAN, ..Spec::new(Preset::Grid, "", "") }.check().is_err());
    }

    #[test]
    fn formats_follow_the_ending() {
        assert_eq!(Format::of("a.b/fig.PDF").unwrap(), Format::Pdf);
        assert!(Format::of("fig.jpg").is_err() && Format::of("pdf").is_err());
    }
}
