//! PNG: the figure as pixels, with its resolution written in the file.

use png::{BitDepth, ColorType, Compression, Encoder, PixelDimensions, Unit};
use tiny_skia::{FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Stroke, Transform};

use super::{Frame, Ink, Painter, Segment, TextRun};
use crate::figures::FigureError;
use crate::figures::font;
use crate::figures::raster::Raster;

/// Draws on pixels.
pub struct PngPainter {
    pixels: Pixmap,
    /// Pixels in a point.
    scale: f32,
}

impl PngPainter {
    /// A white sheet of `width` x `height` points at `dpi` pixels per inch.
    ///
    /// # Errors
    /// When the picture has no pixels, or more than memory can address.
    pub fn new(width: f32, height: f32, dpi: u32) -> Result<Self, FigureError> {
        let scale = dpi as f32 / 72.0;
        let [width, height] = [width, height].map(|points| (points * scale).round() as u32);
        let mut pixels = Pixmap::new(width, height).ok_or(FigureError::Pixels { width, height })?;
        pixels.fill(tiny_skia::Color::WHITE);
        Ok(Self { pixels, scale })
    }

    /// The file.
    pub fn finish(self, dpi: u32) -> Vec<u8> {
        let opaque = |pixel: &PremultipliedColorU8| [pixel.red(), pixel.green(), pixel.blue()];
        let pixels = self.pixels.pixels().iter().map(opaque).collect();
        encode(&Raster { width: self.pixels.width(), height: self.pixels.height(), pixels }, Some(dpi))
    }

    fn to_pixels(&self) -> Transform {
        Transform::from_scale(self.scale, self.scale)
    }
}

impl Painter for PngPainter {
    fn fill(&mut self, path: &[Segment], ink: Ink) {
        if let Some(path) = build(path) {
            self.pixels.fill_path(&path, &paint(ink), FillRule::Winding, self.to_pixels(), None);
        }
    }

    fn stroke(&mut self, path: &[Segment], width: f32, ink: Ink) {
        let Some(path) = build(path).and_then(|path| path.transform(self.to_pixels())) else {
            return;
        };
        // An upright hairline between two pixels would be two pixels of grey.
        let path = snapped(&path).unwrap_or(path);
        let stroke = Stroke { width: (width * self.scale).max(1.0), line_join: LineJoin::Round, ..Stroke::default() };
        self.pixels.stroke_path(&path, &paint(ink), &stroke, Transform::identity(), None);
    }

    fn text(&mut self, run: &TextRun<'_>) {
        let [a, b, c, d, e, f] = run.transform();
        let run_to_pixels = Transform::from_row(a, b, c, d, e, f).post_scale(self.scale, self.scale);
        for glyph in font::place(run.text, run.weight) {
            if let Some(path) = build(&font::outline(glyph.id, run.weight)) {
                let to_pixels = run_to_pixels.pre_translate(glyph.x, 0.0);
                self.pixels.fill_path(&path, &paint(run.ink), FillRule::Winding, to_pixels, None);
            }
        }
    }

    fn matrix(&mut self, at: Frame, raster: &Raster) {
        let edge = |points: f32| (points * self.scale).round().max(0.0) as u32;
        let (left, top) = (edge(at.x), edge(at.y));
        let (right, bottom) = (edge(at.x + at.width), edge(at.y + at.height));
        let (width, height, sheet) = (right - left, bottom - top, self.pixels.width());
        for y in 0..height.min(self.pixels.height().saturating_sub(top)) {
            for x in 0..width.min(sheet.saturating_sub(left)) {
                let (column, row) = (x * raster.width / width, y * raster.height / height);
                let [r, g, b] = raster.pixels[(row * raster.width + column) as usize];
                if let Some(pixel) = PremultipliedColorU8::from_rgba(r, g, b, 255) {
                    self.pixels.pixels_mut()[((top + y) * sheet + left + x) as usize] = pixel;
                }
            }
        }
    }
}

fn paint(ink: Ink) -> Paint<'static> {
    let [r, g, b] = ink.rgb;
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, (ink.opacity * 255.0).round() as u8);
    paint
}

/// A path of upright lines only, moved to the middle of pixels.
fn snapped(path: &Path) -> Option<Path> {
    use tiny_skia::PathSegment as Step;
    let middle = |value: f32| value.floor() + 0.5;
    let mut last: Option<tiny_skia::Point> = None;
    let mut builder = PathBuilder::new();
    for step in path.segments() {
        match step {
            Step::MoveTo(to) => builder.move_to(middle(to.x), middle(to.y)),
            Step::LineTo(to) if last.is_some_and(|from| from.x == to.x || from.y == to.y) => {
                builder.line_to(middle(to.x), middle(to.y));
            }
            Step::Close => builder.close(),
            _ => return None,
        }
        last = match step {
            Step::MoveTo(to) | Step::LineTo(to) => Some(to),
            _ => None,
        };
    }
    builder.finish()
}

fn build(path: &[Segment]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for segment in path {
        match *segment {
            Segment::Move([x, y]) => builder.move_to(x, y),
            Segment::Line([x, y]) => builder.line_to(x, y),
            Segment::Quad([cx, cy], [x, y]) => builder.quad_to(cx, cy, x, y),
            Segment::Cubic([ax, ay], [bx, by], [x, y]) => builder.cubic_to(ax, ay, bx, by, x, y),
            Segment::Close => builder.close(),
        }
    }
    builder.finish()
}

/// Lossless pixels; `dpi` is how large they are.
pub fn encode(raster: &Raster, dpi: Option<u32>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, raster.width, raster.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_pixel_dims(dpi.map(|dpi| {
        let per_metre = (f64::from(dpi) / 0.0254).round() as u32;
        PixelDimensions { xppu: per_metre, yppu: per_metre, unit: Unit::Meter }
    }));
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(raster.pixels.as_flattened())?;
        writer.finish()
    });
    debug_assert!(written.is_ok(), "memory takes every byte, and the pixels fill the picture");
    file
}
