//! The fonts in the binary: widths, outlines, and which characters there are. No system font is ever asked for.

use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, GlyphId, MetadataProvider};

use super::paint::Segment;

const REGULAR: &[u8] = include_bytes!("fonts/DejaVuSansCondensed.ttf");
const BOLD: &[u8] = include_bytes!("fonts/DejaVuSansCondensed-Bold.ttf");

/// Drawn for a character that the fonts lack.
pub const MISSING: char = '\u{25a1}';

/// Height of a capital letter, in em.
pub const CAP_HEIGHT: f32 = 0.729;

/// Weight of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Everything else.
    Regular,
    /// Kept tokens, panel letters.
    Bold,
}

/// One character in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    /// Index in the font.
    pub id: u32,
    /// Where it starts, in em from the start of the text.
    pub x: f32,
    /// Its width in em.
    pub advance: f32,
    /// Length in bytes of its character in the text.
    pub bytes: usize,
}

impl Weight {
    /// The font file.
    pub fn data(self) -> &'static [u8] {
        match self {
            Self::Regular => REGULAR,
            Self::Bold => BOLD,
        }
    }

    fn font(self) -> FontRef<'static> {
        FontRef::new(self.data()).expect("the fonts in the binary are whole")
    }
}

/// Whether both fonts have the character. White space needs no glyph.
pub fn has(character: char) -> bool {
    character == ' ' || [Weight::Regular, Weight::Bold].iter().all(|w| w.font().charmap().map(character).is_some())
}

/// The characters of some texts that the fonts lack, each once, in order of appearance.
pub fn missing<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<char> {
    let mut missing = Vec::new();
    for character in texts.into_iter().flat_map(str::chars) {
        if !missing.contains(&character) && !has(character) {
            missing.push(character);
        }
    }
    missing
}

/// Places the characters of one line, left to right; a character the font lacks becomes [`MISSING`].
pub fn place(text: &str, weight: Weight) -> Vec<Glyph> {
    let font = weight.font();
    let (map, metrics) = (font.charmap(), font.glyph_metrics(Size::new(1.0), LocationRef::default()));
    let mut x = 0.0;
    let glyph = |character: char| {
        let id = map.map(character).or_else(|| map.map(MISSING)).unwrap_or_default();
        let advance = metrics.advance_width(id).unwrap_or_default();
        let glyph = Glyph { id: id.to_u32(), x, advance, bytes: character.len_utf8() };
        x += advance;
        glyph
    };
    text.chars().map(glyph).collect()
}

/// Width of one line in points.
pub fn width(text: &str, size: f32, weight: Weight) -> f32 {
    place(text, weight).last().map_or(0.0, |glyph| (glyph.x + glyph.advance) * size)
}

/// The outline of a glyph in em, y pointing up.
pub fn outline(id: u32, weight: Weight) -> Vec<Segment> {
    let mut pen = Pen(Vec::new());
    if let Some(glyph) = weight.font().outline_glyphs().get(GlyphId::new(id)) {
        // A glyph that cannot be drawn is an empty one, such as a space.
        let _ = glyph.draw(DrawSettings::unhinted(Size::new(1.0), LocationRef::default()), &mut pen);
    }
    pen.0
}

struct Pen(Vec<Segment>);

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.push(Segment::Move([x, y]));
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.0.push(Segment::Line([x, y]));
    }
    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        self.0.push(Segment::Quad([cx, cy], [x, y]));
    }
    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        self.0.push(Segment::Cubic([ax, ay], [bx, by], [x, y]));
    }
    fn close(&mut self) {
        self.0.push(Segment::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_figures_write_is_in_both_fonts() {
        let needed =
            "abcxyzABCXYZ0123456789 .,;:!?()[]{}<>+-=*/^_|~%&#@'\"\\$β−·×√≤≥≠≈→∑∞…“”‘’–—éäöüßñçжяλΔ°²½\u{25a1}";
        let missing: String = needed.chars().filter(|&character| !has(character)).collect();
        assert_eq!(missing, "");
    }

    #[test]
    fn a_missing_character_becomes_a_box_and_keeps_its_bytes() {
        let glyphs = place("a猫b", Weight::Regular);
        assert_eq!(glyphs[1].id, place("\u{25a1}", Weight::Regular)[0].id);
        assert_eq!(glyphs.iter().map(|glyph| glyph.bytes).collect::<Vec<_>>(), [1, 3, 1]);
    }

    #[test]
    fn widths_add_up_and_bold_is_wider() {
        let [a, b, ab] = ["reten", "tion", "retention"].map(|text| width(text, 8.0, Weight::Regular));
        assert!((a + b - ab).abs() < 1e-4 && ab > 20.0 && ab < 50.0, "{ab}");
        assert!(width("retention", 8.0, Weight::Bold) > ab);
        assert!(outline(place("i", Weight::Regular)[0].id, Weight::Regular).len() > 8);
    }
}
