//! Where figures are drawn: one plotters backend, [`Paper`], over three painters (SVG, PDF, PNG).
//!
//! plotters' own backends draw on whole pixels, name fonts that a reader may not have, and copy bitmaps pixel by pixel.
//! A figure for print needs hundredths of a point, fonts of its own, and a matrix that stays one small bitmap however
//! large it is shown.

pub mod pdf;
pub mod png;
pub mod svg;

use std::convert::Infallible;

use plotters::element::{Drawable, PointCollection};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{FontStyle, FontTransform};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

use super::colour::Rgb;
use super::font::{self, Weight};
use super::raster::Raster;

/// Units of the plotters lattice in one point (1/72 in).
pub const UNITS: f32 = 100.0;

/// One step of an outline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Segment {
    /// Starts a contour.
    Move([f32; 2]),
    /// A straight line.
    Line([f32; 2]),
    /// A quadratic curve: control point, end.
    Quad([f32; 2], [f32; 2]),
    /// A cubic curve: two control points, end.
    Cubic([f32; 2], [f32; 2], [f32; 2]),
    /// Back to the contour's start.
    Close,
}

/// A colour and how opaque it is, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    /// The colour.
    pub rgb: Rgb,
    /// 1 hides what is below.
    pub opacity: f32,
}

impl From<BackendColor> for Ink {
    fn from(BackendColor { alpha, rgb: (r, g, b) }: BackendColor) -> Self {
        Self { rgb: [r, g, b], opacity: alpha as f32 }
    }
}

/// One line of text in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextRun<'a> {
    /// What it says.
    pub text: &'a str,
    /// Its font.
    pub weight: Weight,
    /// Size in points.
    pub size: f32,
    /// Start of the baseline, in points from the top left.
    pub at: [f32; 2],
    /// Whether it runs upwards instead of to the right.
    pub upwards: bool,
    /// Its colour.
    pub ink: Ink,
}

impl TextRun<'_> {
    /// The transform from em (y up) to points (y down): x' = a x + c y + e, y' = b x + d y + f.
    pub fn transform(&self) -> [f32; 6] {
        let ([x, y], size) = (self.at, self.size);
        if self.upwards { [0.0, -size, -size, 0.0, x, y] } else { [size, 0.0, 0.0, -size, x, y] }
    }
}

/// Corners of an upright rectangle, in points from the top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// Puts ink in one kind of file. Lengths are points, y points down.
pub trait Painter {
    /// Fills an outline.
    fn fill(&mut self, path: &[Segment], ink: Ink);
    /// Strokes an open or closed outline.
    fn stroke(&mut self, path: &[Segment], width: f32, ink: Ink);
    /// Writes one line of text.
    fn text(&mut self, run: &TextRun<'_>);
    /// Shows a bitmap, each of its pixels as one rectangle of even colour.
    fn matrix(&mut self, at: Frame, raster: &Raster);
}

/// A sheet of paper as a plotters backend.
pub struct Paper<'a, P> {
    painter: &'a mut P,
    size: (u32, u32),
}

impl<'a, P: Painter> Paper<'a, P> {
    /// A sheet of `width` x `height` points.
    pub fn new(painter: &'a mut P, width: f32, height: f32) -> Self {
        Self { painter, size: ((width * UNITS).round() as u32, (height * UNITS).round() as u32) }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

fn point((x, y): BackendCoord) -> [f32; 2] {
    [x as f32 / UNITS, y as f32 / UNITS]
}

fn polyline(points: impl IntoIterator<Item = BackendCoord>) -> Vec<Segment> {
    let place = |(index, at)| if index == 0 { Segment::Move(point(at)) } else { Segment::Line(point(at)) };
    points.into_iter().enumerate().map(place).collect()
}

fn closed(mut path: Vec<Segment>) -> Vec<Segment> {
    path.push(Segment::Close);
    path
}

/// Four cubic curves that differ from a circle by less than 0.03 % of its radius.
fn circle([x, y]: [f32; 2], r: f32) -> Vec<Segment> {
    let k = r * 0.552_284_8;
    vec![
        Segment::Move([x + r, y]),
        Segment::Cubic([x + r, y + k], [x + k, y + r], [x, y + r]),
        Segment::Cubic([x - k, y + r], [x - r, y + k], [x - r, y]),
        Segment::Cubic([x - r, y - k], [x - k, y - r], [x, y - r]),
        Segment::Cubic([x + k, y - r], [x + r, y - k], [x + r, y]),
        Segment::Close,
    ]
}

impl<P: Painter> Paper<'_, P> {
    fn shape<S: BackendStyle>(&mut self, path: &[Segment], style: &S, fill: bool) {
        match fill {
            true => self.painter.fill(path, style.color().into()),
            false => self.painter.stroke(path, style.stroke_width() as f32 / UNITS, style.color().into()),
        }
    }
}

impl<P: Painter> DrawingBackend for Paper<'_, P> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.shape(&polyline([from, to]), style, false);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn {
        let corners = [from, (to.0, from.1), to, (from.0, to.1)];
        self.shape(&closed(polyline(corners)), style, fill);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        self.shape(&polyline(path), style, false);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        self.shape(&circle(point(center), radius as f32 / UNITS), style, fill);
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, corners: I, style: &S) -> Drawn {
        self.shape(&closed(polyline(corners)), style, true);
        Ok(())
    }

    /// Writes one line. Vertically a text is anchored by its capital letters: `Bottom` is the baseline.
    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, pos: BackendCoord) -> Drawn {
        let weight = weight_of(style);
        let size = style.size() as f32 / UNITS;
        let upwards = matches!(style.transform(), FontTransform::Rotate270);
        let back = font::width(text, size, weight)
            * match style.anchor().h_pos {
                HPos::Left => 0.0,
                HPos::Center => 0.5,
                HPos::Right => 1.0,
            };
        let down = size
            * font::CAP_HEIGHT
            * match style.anchor().v_pos {
                VPos::Top => 1.0,
                VPos::Center => 0.5,
                VPos::Bottom => 0.0,
            };
        let [x, y] = point(pos);
        let at = if upwards { [x + down, y + back] } else { [x - back, y + down] };
        self.painter.text(&TextRun { text, weight, size, at, upwards, ink: style.color().into() });
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = style.size() as f32;
        Ok((font::width(text, size, weight_of(style)).ceil() as u32, (size * font::CAP_HEIGHT).ceil() as u32))
    }
}

fn weight_of<S: BackendTextStyle>(style: &S) -> Weight {
    if matches!(style.style(), FontStyle::Bold) { Weight::Bold } else { Weight::Regular }
}

/// A bitmap in a rectangle, as a plotters element.
pub struct Matrix<'a> {
    /// Upper left and lower right corner, on the lattice.
    pub corners: [BackendCoord; 2],
    /// What it shows.
    pub raster: &'a Raster,
}

impl<'a> PointCollection<'a, BackendCoord> for &'a Matrix<'_> {
    type Point = &'a BackendCoord;
    type IntoIter = &'a [BackendCoord];

    fn point_iter(self) -> Self::IntoIter {
        &self.corners
    }
}

impl<P: Painter> Drawable<Paper<'_, P>> for Matrix<'_> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        mut corners: I,
        paper: &mut Paper<'_, P>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        if let (Some(from), Some(to)) = (corners.next(), corners.next()) {
            let ([x, y], [right, bottom]) = (point(from), point(to));
            paper.painter.matrix(Frame { x, y, width: right - x, height: bottom - y }, self.raster);
        }
        Ok(())
    }
}
