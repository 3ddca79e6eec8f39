//! PDF: real text in subsets of the embedded fonts, lossless bitmaps that readers are told not to smooth.

use std::sync::Arc;

use krilla::Document;
use krilla::geom::{Path, PathBuilder, Point, Size, Transform};
use krilla::image::{BitsPerComponent, CustomImage, Image, ImageColorspace};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, LineJoin, Stroke};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};

use super::{Frame, Ink, Painter, Segment, TextRun};
use crate::figures::FigureError;
use crate::figures::font::{self, Weight};
use crate::figures::raster::Raster;

/// Draws on one page.
pub struct PdfPainter<'a, 'b> {
    surface: &'a mut Surface<'b>,
    fonts: [Font; 2],
}

/// A PDF of one page of `width` x `height` points. It holds no date, so the same drawing gives the same bytes.
///
/// # Errors
/// When the page has no area, or the library cannot write it.
pub fn document(
    width: f32,
    height: f32,
    title: &str,
    draw: impl FnOnce(&mut PdfPainter<'_, '_>) -> Result<(), FigureError>,
) -> Result<Vec<u8>, FigureError> {
    let failed = |problem: &str| FigureError::Pdf(problem.to_owned());
    let settings = PageSettings::from_wh(width, height).ok_or_else(|| failed("the page has no area"))?;
    let mut document = Document::new();
    document.set_metadata(Metadata::new().title(title.to_owned()).creator("trimkv-trace".to_owned()));
    let mut page = document.start_page_with(settings);
    let mut surface = page.surface();
    let load = |weight: Weight| Font::new(weight.data().into(), 0).ok_or_else(|| failed("a font does not load"));
    let fonts = [load(Weight::Regular)?, load(Weight::Bold)?];
    draw(&mut PdfPainter { surface: &mut surface, fonts })?;
    surface.finish();
    page.finish();
    document.finish().map_err(|error| FigureError::Pdf(format!("{error:?}")))
}

impl Painter for PdfPainter<'_, '_> {
    fn fill(&mut self, path: &[Segment], ink: Ink) {
        if let Some(path) = build(path) {
            self.surface.set_stroke(None);
            self.surface.set_fill(Some(fill_of(ink)));
            self.surface.draw_path(&path);
        }
    }

    fn stroke(&mut self, path: &[Segment], width: f32, ink: Ink) {
        if let Some(path) = build(path) {
            let Fill { paint, opacity, .. } = fill_of(ink);
            self.surface.set_fill(None);
            self.surface.set_stroke(Some(Stroke {
                paint,
                opacity,
                width,
                line_join: LineJoin::Round,
                ..Stroke::default()
            }));
            self.surface.draw_path(&path);
        }
    }

    fn text(&mut self, run: &TextRun<'_>) {
        let font = self.fonts[usize::from(run.weight == Weight::Bold)].clone();
        let mut from = 0;
        let mut glyph = |glyph: font::Glyph| {
            let range = from..from + glyph.bytes;
            from = range.end;
            KrillaGlyph::new(GlyphId::new(glyph.id), glyph.advance, 0.0, 0.0, 0.0, range, None)
        };
        let glyphs: Vec<KrillaGlyph> = font::place(run.text, run.weight).into_iter().map(&mut glyph).collect();
        self.surface.set_stroke(None);
        self.surface.set_fill(Some(fill_of(run.ink)));
        let [x, y] = run.at;
        let turn =
            if run.upwards { Transform::from_row(0.0, -1.0, 1.0, 0.0, x, y) } else { Transform::from_translate(x, y) };
        self.surface.push_transform(&turn);
        self.surface.draw_glyphs(Point::from_xy(0.0, 0.0), &glyphs, font, run.text, run.size, false);
        self.surface.pop();
    }

    fn matrix(&mut self, at: Frame, raster: &Raster) {
        let bitmap = Bitmap { pixels: raster.pixels.as_flattened().into(), size: (raster.width, raster.height) };
        let size = Size::from_wh(at.width, at.height);
        // `false`: readers must not smooth. An empty rectangle shows nothing.
        if let (Ok(image), Some(size)) = (Image::from_custom(bitmap, false), size) {
            self.surface.push_transform(&Transform::from_translate(at.x, at.y));
            self.surface.draw_image(image, size);
            self.surface.pop();
        }
    }
}

/// Pixels as krilla takes them: cheap to clone.
#[derive(Clone, Hash)]
struct Bitmap {
    pixels: Arc<[u8]>,
    size: (u32, u32),
}

impl CustomImage for Bitmap {
    fn color_channel(&self) -> &[u8] {
        &self.pixels
    }
    fn alpha_channel(&self) -> Option<&[u8]> {
        None
    }
    fn bits_per_component(&self) -> BitsPerComponent {
        BitsPerComponent::Eight
    }
    fn size(&self) -> (u32, u32) {
        self.size
    }
    fn icc_profile(&self) -> Option<&[u8]> {
        None
    }
    fn color_space(&self) -> ImageColorspace {
        ImageColorspace::Rgb
    }
}

fn fill_of(ink: Ink) -> Fill {
    let [r, g, b] = ink.rgb;
    Fill {
        paint: krilla::color::rgb::Color::new(r, g, b).into(),
        opacity: NormalizedF32::new(ink.opacity).unwrap_or(NormalizedF32::ONE),
        ..Fill::default()
    }
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
