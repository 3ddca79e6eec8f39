//! Lengths in points over plotters' lattice, and the few marks that every figure is made of.

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Drawable, PathElement, PointCollection, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};

use super::FigureError;
use super::colour::{BLACK, Rgb};
use super::font::{self, Weight};
use super::paint::{Frame, Matrix, Painter, Paper, UNITS};
use super::raster::Raster;

/// Width of axes and frames, in points.
pub const HAIRLINE: f32 = 0.5;
/// Length of a dash, and of the gap after it.
const DASH: f32 = 3.0;
/// Length of a tick.
pub const TICK: f32 = 2.0;

/// A colour and a width.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    /// In points.
    pub width: f32,
    /// Of the line.
    pub rgb: Rgb,
}

/// Axes, frames and ticks.
pub const AXIS: Pen = Pen { width: HAIRLINE, rgb: BLACK };

/// How a text is set; see the builders.
#[derive(Clone, Copy)]
pub struct Label {
    size: f32,
    weight: Weight,
    rgb: Rgb,
    h: HPos,
    v: VPos,
    upwards: bool,
}

impl Label {
    /// Black, starting at its place, on its baseline.
    pub fn new(size: f32) -> Self {
        Self { size, weight: Weight::Regular, rgb: BLACK, h: HPos::Left, v: VPos::Bottom, upwards: false }
    }
    /// In bold.
    pub fn bold(self) -> Self {
        Self { weight: Weight::Bold, ..self }
    }
    /// In another colour.
    pub fn rgb(self, rgb: Rgb) -> Self {
        Self { rgb, ..self }
    }
    /// Centred on its place.
    pub fn centred(self) -> Self {
        Self { h: HPos::Center, ..self }
    }
    /// Ending at its place.
    pub fn ending(self) -> Self {
        Self { h: HPos::Right, ..self }
    }
    /// Hanging below its place.
    pub fn below(self) -> Self {
        Self { v: VPos::Top, ..self }
    }
    /// At the height of its place.
    pub fn level(self) -> Self {
        Self { v: VPos::Center, ..self }
    }
    /// Running upwards.
    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
    /// Width of a text set like this, in points.
    pub fn width(self, text: &str) -> f32 {
        font::width(text, self.size, self.weight)
    }
}

/// A page to draw on. Places are points from the top left.
pub struct Sheet<'a, P: Painter> {
    area: DrawingArea<Paper<'a, P>, Shift>,
}

fn lattice([x, y]: [f32; 2]) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn plotters_colour([r, g, b]: Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

impl Pen {
    fn style(self) -> ShapeStyle {
        plotters_colour(self.rgb).stroke_width((self.width * UNITS).round() as u32)
    }
}

impl<'a, P: Painter> Sheet<'a, P> {
    /// A sheet on a painter.
    pub fn new(painter: &'a mut P, [width, height]: [f32; 2]) -> Self {
        Self { area: Paper::new(painter, width, height).into_drawing_area() }
    }

    fn draw<E>(&self, element: &E) -> Result<(), FigureError>
    where
        for<'e> &'e E: PointCollection<'e, (i32, i32)>,
        E: Drawable<Paper<'a, P>>,
    {
        self.area.draw(element).map_err(|error| FigureError::Drawing(error.to_string()))
    }

    /// A line through points.
    ///
    /// # Errors
    /// As all marks: when plotters refuses it.
    pub fn line(&self, points: &[[f32; 2]], pen: Pen) -> Result<(), FigureError> {
        self.draw(&PathElement::new(points.iter().map(|&at| lattice(at)).collect::<Vec<_>>(), pen.style()))
    }

    /// A straight line in dashes of three points.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn dashes(&self, [from, to]: [[f32; 2]; 2], pen: Pen) -> Result<(), FigureError> {
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        let at = |distance: f32| {
            let share = if length > 0.0 { (distance / length).min(1.0) } else { 0.0 };
            [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]
        };
        let dashes = (length / (2.0 * DASH)).ceil() as usize;
        (0..dashes)
            .map(|dash| dash as f32 * 2.0 * DASH)
            .try_for_each(|start| self.line(&[at(start), at(start + DASH)], pen))
    }

    /// A filled rectangle.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn block(&self, Frame { x, y, width, height }: Frame, rgb: Rgb) -> Result<(), FigureError> {
        self.draw(&Rectangle::new([lattice([x, y]), lattice([x + width, y + height])], plotters_colour(rgb).filled()))
    }

    /// The edge of a rectangle.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn frame(&self, Frame { x, y, width, height }: Frame, pen: Pen) -> Result<(), FigureError> {
        self.draw(&Rectangle::new([lattice([x, y]), lattice([x + width, y + height])], pen.style()))
    }

    /// A filled area.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn area(&self, corners: &[[f32; 2]], rgb: Rgb) -> Result<(), FigureError> {
        self.draw(&Polygon::new(
            corners.iter().map(|&at| lattice(at)).collect::<Vec<_>>(),
            plotters_colour(rgb).filled(),
        ))
    }

    /// A filled disc.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn dot(&self, at: [f32; 2], radius: f32, rgb: Rgb) -> Result<(), FigureError> {
        self.draw(&Circle::new(lattice(at), (radius * UNITS).round() as i32, plotters_colour(rgb).filled()))
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn label(&self, text: &str, at: [f32; 2], label: Label) -> Result<(), FigureError> {
        let style = if label.weight == Weight::Bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::SansSerif, f64::from(label.size * UNITS), style);
        let font = if label.upwards { font.transform(FontTransform::Rotate270) } else { font };
        let colour = plotters_colour(label.rgb);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(label.h, label.v));
        self.draw(&Text::new(text.to_owned(), lattice(at), style))
    }

    /// A bitmap.
    ///
    /// # Errors
    /// As [`Sheet::line`].
    pub fn matrix(&self, Frame { x, y, width, height }: Frame, raster: &Raster) -> Result<(), FigureError> {
        self.draw(&Matrix { corners: [lattice([x, y]), lattice([x + width, y + height])], raster })
    }
}
