//! SVG: outlined glyphs, plain attributes, one embedded PNG per matrix.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Frame, Ink, Painter, Segment, TextRun};
use crate::figures::font::{self, Weight};
use crate::figures::paint::png;
use crate::figures::raster::Raster;

/// Collects the drawing; [`SvgPainter::finish`] gives the file.
#[derive(Default)]
pub struct SvgPainter {
    body: String,
    /// Outlines used so far, by weight and glyph.
    glyphs: BTreeMap<(Weight, u32), String>,
}

impl SvgPainter {
    /// The whole file, for a figure of `width` x `height` points that is called `title`.
    pub fn finish(self, width: f32, height: f32, title: &str) -> String {
        let mut file = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" \
             xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{w}pt\" height=\"{h}pt\" viewBox=\"0 0 {w} {h}\" \
             role=\"img\">\n<title>{}</title>\n",
            escape(title),
            w = number(width),
            h = number(height),
        );
        file.push_str("<defs>\n");
        for ((weight, id), path) in &self.glyphs {
            let _ = writeln!(file, "<path id=\"{}\" d=\"{path}\"/>", glyph_name(*weight, *id));
        }
        file.push_str("</defs>\n");
        file.push_str(&self.body);
        file.push_str("</svg>\n");
        file
    }

    /// A line of the body. Writing to a `String` cannot fail.
    fn line(&mut self, text: &str) {
        self.body.push_str(text);
        self.body.push('\n');
    }
}

impl Painter for SvgPainter {
    fn fill(&mut self, path: &[Segment], ink: Ink) {
        self.line(&format!("<path d=\"{}\" fill=\"{}\"{}/>", data(path, 2), hex(ink), opacity("fill", ink)));
    }

    fn stroke(&mut self, path: &[Segment], width: f32, ink: Ink) {
        self.line(&format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{}/>",
            data(path, 2),
            hex(ink),
            number(width),
            opacity("stroke", ink)
        ));
    }

    fn text(&mut self, run: &TextRun<'_>) {
        let [a, b, c, d, e, f] = run.transform().map(number);
        let mut uses = String::new();
        for glyph in font::place(run.text, run.weight) {
            let outline = self
                .glyphs
                .entry((run.weight, glyph.id))
                // Thousandths of an em are hundredths of a point at 8 pt.
                .or_insert_with(|| data(&font::outline(glyph.id, run.weight), 3));
            if !outline.is_empty() {
                let x = decimals(glyph.x, 3);
                let _ = write!(uses, "<use xlink:href=\"#{}\" x=\"{x}\"/>", glyph_name(run.weight, glyph.id));
            }
        }
        self.line(&format!(
            "<g role=\"img\" aria-label=\"{}\" transform=\"matrix({a} {b} {c} {d} {e} {f})\" fill=\"{}\">{uses}</g>",
            escape(run.text),
            hex(run.ink),
        ));
    }

    fn matrix(&mut self, at: Frame, raster: &Raster) {
        let [x, y, width, height] = [at.x, at.y, at.width, at.height].map(number);
        let png = BASE64.encode(png::encode(raster, None));
        self.line(&format!(
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
             image-rendering=\"pixelated\" xlink:href=\"data:image/png;base64,{png}\"/>"
        ));
    }
}

fn glyph_name(weight: Weight, id: u32) -> String {
    match weight {
        Weight::Regular => format!("r{id}"),
        Weight::Bold => format!("b{id}"),
    }
}

fn hex(ink: Ink) -> String {
    let [r, g, b] = ink.rgb;
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn opacity(what: &str, ink: Ink) -> String {
    if ink.opacity >= 1.0 { String::new() } else { format!(" {what}-opacity=\"{}\"", number(ink.opacity)) }
}

fn number(value: f32) -> String {
    decimals(value, 2)
}

/// The shortest text of a number rounded to `places` decimals.
fn decimals(value: f32, places: usize) -> String {
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn data(path: &[Segment], places: usize) -> String {
    let pair = |[x, y]: [f32; 2]| format!("{} {}", decimals(x, places), decimals(y, places));
    let step = |segment: &Segment| match *segment {
        Segment::Move(to) => format!("M{}", pair(to)),
        Segment::Line(to) => format!("L{}", pair(to)),
        Segment::Quad(control, to) => format!("Q{} {}", pair(control), pair(to)),
        Segment::Cubic(from, control, to) => format!("C{} {} {}", pair(from), pair(control), pair(to)),
        Segment::Close => "Z".to_owned(),
    };
    path.iter().map(step).collect()
}

/// Text as data: markup in a token stays text, and what XML cannot hold becomes a space.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!([0.0, -0.001, 1.5, 10.0, 3.25159].map(number), ["0", "0", "1.5", "10", "3.25"]);
    }

    #[test]
    fn markup_in_a_token_stays_text() {
        assert_eq!(escape("<b a=\"1\">&\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp; ");
    }
}
