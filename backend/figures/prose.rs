//! Sets tokens as prose: breaks lines at white space and remembers which token each piece belongs to.

use super::font::{self, Weight};

/// One token as prose shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Word<'a> {
    /// Its share of the text.
    pub text: &'a str,
    /// Whether it is set in bold, and shown even when it is white space.
    pub kept: bool,
}

/// A part of a token on one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Index of the token.
    pub token: usize,
    /// What is written.
    pub text: String,
    /// Line, from 0.
    pub line: usize,
    /// Start in points from the left edge of the column.
    pub x: f32,
    /// Width in points.
    pub width: f32,
}

/// Stands for a kept line break, which would not be seen otherwise.
const BREAK: &str = "¶";
/// Stands for a kept space.
const SPACE: &str = "·";

/// Characters of a token on its own.
const LONGEST: usize = 16;

/// A unit that is not broken unless it is wider than the column.
enum Unit {
    Text { token: usize, text: String, bold: bool },
    Space,
    Break,
}

/// Breaks `words` into lines of at most `column` points; the pieces in reading order, and the number of lines.
pub fn set(words: &[Word<'_>], column: f32, size: f32) -> (Vec<Piece>, usize) {
    let units: Vec<Unit> = words.iter().enumerate().flat_map(|(token, word)| units(token, word)).collect();
    let space = font::width(" ", size, Weight::Regular);
    let (mut pieces, mut line, mut x, mut pending) = (Vec::new(), 0, 0.0, 0.0);
    for group in units.chunk_by(|a, b| matches!((a, b), (Unit::Text { .. }, Unit::Text { .. }))) {
        let width = |unit: &Unit| match unit {
            Unit::Text { text, bold, .. } => font::width(text, size, weight(*bold)),
            _ => 0.0,
        };
        match &group[0] {
            Unit::Space => pending += space,
            Unit::Break => (line, x, pending) = (line + 1, 0.0, 0.0),
            Unit::Text { .. } => {
                let total: f32 = group.iter().map(width).sum();
                if x > 0.0 && x + pending + total > column {
                    (line, x) = (line + 1, 0.0);
                } else {
                    // An indent at the start of a line is part of the text.
                    x += pending;
                }
                pending = 0.0;
                for unit in group {
                    let Unit::Text { token, text, bold } = unit else { continue };
                    for part in parts(text, weight(*bold), size, column) {
                        let width = font::width(&part, size, weight(*bold));
                        if x > 0.0 && x + width > column + 0.01 {
                            (line, x) = (line + 1, 0.0);
                        }
                        pieces.push(Piece { token: *token, text: part, line, x, width });
                        x += width;
                    }
                }
            }
        }
    }
    let lines = pieces.last().map_or(0, |piece| piece.line + 1);
    (pieces, lines)
}

/// A token on its own, in few characters: without white space around it, unless it is nothing else.
pub fn alone(text: &str) -> String {
    let core: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match core.chars().count() {
        0 if text.contains('\n') => BREAK.to_owned(),
        0 => SPACE.to_owned(),
        n if n > LONGEST => core.chars().take(LONGEST - 1).chain(['…']).collect(),
        _ => core,
    }
}

/// The weight of a token.
pub fn weight(kept: bool) -> Weight {
    if kept { Weight::Bold } else { Weight::Regular }
}

fn units(token: usize, word: &Word<'_>) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut text = String::new();
    let bold = word.kept;
    let blank = word.text.chars().all(char::is_whitespace);
    let flush = |text: &mut String, units: &mut Vec<Unit>| {
        if !text.is_empty() {
            units.push(Unit::Text { token, text: std::mem::take(text), bold });
        }
    };
    if bold && blank && !word.text.is_empty() {
        let mark = if word.text.contains('\n') { BREAK } else { SPACE };
        units.push(Unit::Text { token, text: mark.to_owned(), bold });
    }
    for character in word.text.chars() {
        match character {
            '\n' => {
                flush(&mut text, &mut units);
                units.push(Unit::Break);
            }
            c if c.is_whitespace() => {
                flush(&mut text, &mut units);
                units.push(Unit::Space);
            }
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    flush(&mut text, &mut units);
    units
}

/// A text in parts no wider than the column: itself, unless it is wider.
fn parts(text: &str, weight: Weight, size: f32, column: f32) -> Vec<String> {
    let (mut parts, mut part, mut start) = (Vec::new(), String::new(), 0.0);
    for (glyph, character) in font::place(text, weight).iter().zip(text.chars()) {
        if !part.is_empty() && (glyph.x + glyph.advance - start) * size > column {
            parts.push(std::mem::take(&mut part));
            start = glyph.x;
        }
        part.push(character);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str], column: f32) -> Vec<String> {
        let words: Vec<Word<'_>> = texts.iter().map(|&text| Word { text, kept: false }).collect();
        let (pieces, count) = set(&words, column, 8.0);
        let line = |line| pieces.iter().filter(|piece| piece.line == line).map(|piece| piece.text.as_str()).collect();
        (0..count).map(line).collect()
    }

    #[test]
    fn lines_break_between_words_and_never_inside_one_that_fits() {
        let texts = ["The", " bri", "dge", " is", " open", ".\n", "Tom", " took", " it"];
        assert_eq!(lines(&texts, 1000.0), ["Thebridgeisopen.", "Tomtookit"]);
        let narrow = lines(&texts, 34.0);
        assert!(narrow.len() > 3 && narrow.concat() == lines(&texts, 1000.0).concat(), "{narrow:?}");
        assert!(narrow.iter().any(|line| line.contains("bridge")), "{narrow:?}");
    }

    #[test]
    fn nothing_leaves_the_column_and_nothing_overlaps() {
        let long = "antidisestablishmentarianism".repeat(4);
        let words = [long.as_str(), " a", " b", &long, " c"].map(|text| Word { text, kept: true });
        let (pieces, _) = set(&words, 60.0, 8.0);
        assert!(pieces.iter().all(|piece| piece.x >= 0.0 && piece.x + piece.width <= 60.1), "{pieces:?}");
        let overlap = |pair: &[Piece]| pair[0].line == pair[1].line && pair[0].x + pair[0].width > pair[1].x + 0.01;
        assert!(!pieces.windows(2).any(overlap));
    }

    #[test]
    fn kept_white_space_leaves_a_mark() {
        let words = [("a", false), ("\n", true), (" ", true), ("\n", false)].map(|(text, kept)| Word { text, kept });
        let (pieces, _) = set(&words, 100.0, 8.0);
        assert_eq!(
            pieces.iter().map(|piece| (piece.token, piece.text.as_str())).collect::<Vec<_>>(),
            [(0, "a"), (1, BREAK), (2, SPACE)]
        );
    }
}
