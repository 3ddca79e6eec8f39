//! `text`: the run as prose; what one head holds is bold and blue, what it evicted grey.
//!
//! Redraws Figure 21 of the TRIM-KV paper (arXiv 2512.03324) for any head at any moment.

use std::fmt::Write as _;

use super::choose::least_like_a_window;
use super::colour::{BLACK, BLUE, GREY, PALE};
use super::fig4::policy;
use super::paint::Painter;
use super::prose::{self, Piece, Word};
use super::sheet::{Label, Pen, Sheet};
use super::spec::Spec;
use super::{FigureError, Plot, font};
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::{KvHead, TokenRecord};

/// Space between columns.
const GUTTER: f32 = 14.0;
/// Narrowest figure with two columns, in inches.
const TWO_COLUMNS: f32 = 4.5;
/// Baseline distance in text sizes.
const LEADING: f32 = 1.32;
/// A ring around a token of a class asked for.
const RING: Pen = Pen { width: 0.6, rgb: [200, 30, 30] };

/// The figure, laid out.
pub struct Text {
    spec: Spec,
    head: KvHead,
    tokens: Vec<TokenRecord>,
    gone_at: Vec<Option<u32>>,
    at: u32,
    pieces: Vec<Piece>,
    lines_per_column: usize,
    column: f32,
    policy: String,
}

impl Text {
    /// Sets the text. Without a head in the spec it takes the one that keeps least of the last M positions (the least
    /// like a window), and writes it into the spec.
    ///
    /// # Errors
    /// When the trace has no tokens or no text, the head does not exist, more than one is given, or `at` is not in the run.
    pub fn new(spec: &mut Spec, manifest: &Manifest, recording: &Recording) -> Result<Self, FigureError> {
        let lifetimes = &recording.lifetimes;
        let seen = lifetimes.seen();
        if seen == 0 {
            return Err(FigureError::Empty);
        }
        let heads = spec.heads_or(lifetimes.shape(), || least_like_a_window(lifetimes, manifest.policy.budget))?;
        let &[head] = heads.as_slice() else {
            return Err(FigureError::Lacks(format!("text shows one head, and {} are given", heads.len())));
        };
        let at = spec.at.unwrap_or(seen);
        if at == 0 || at > seen {
            let (value, most) = (f64::from(at), f64::from(seen));
            return Err(FigureError::Range { what: "a number of tokens seen (--at)", value, least: 1.0, most });
        }
        let tokens: Vec<TokenRecord> = recording.tokens.iter().take(at as usize).cloned().collect();
        if tokens.iter().all(|token| token.text.is_none()) {
            return Err(FigureError::Lacks("the trace has no text, only token ids; try fig4 or grid".to_owned()));
        }
        let gone_at: Vec<Option<u32>> = lifetimes.departures(head).take(at as usize).collect();
        let width = spec.width_in * 72.0;
        let columns = if spec.width_in >= TWO_COLUMNS { 2 } else { 1 };
        let column = (width - GUTTER * (columns - 1) as f32) / columns as f32;
        let words: Vec<Word<'_>> = tokens
            .iter()
            .zip(&gone_at)
            .map(|(token, gone)| Word { text: token.text.as_deref().unwrap_or(""), kept: is_kept(*gone, at) })
            .collect();
        let (pieces, lines) = prose::set(&words, column, spec.font_pt);
        let lines_per_column = lines.div_ceil(columns).max(1);
        let (spec, policy) = (spec.clone(), policy(manifest));
        Ok(Self { spec, head, tokens, gone_at, at, pieces, lines_per_column, column, policy })
    }

    fn kept(&self, token: usize) -> bool {
        is_kept(self.gone_at[token], self.at)
    }

    fn kept_count(&self) -> usize {
        (0..self.tokens.len()).filter(|&token| self.kept(token)).count()
    }

    fn top(&self) -> f32 {
        self.spec.font_pt * 2.0
    }
}

/// Cached after the pass that ended with `at` tokens seen.
fn is_kept(gone: Option<u32>, at: u32) -> bool {
    gone.is_none_or(|gone| gone > at)
}

impl Plot for Text {
    fn size(&self) -> [f32; 2] {
        let lines = self.lines_per_column as f32 * LEADING + 0.4;
        [self.spec.width_in * 72.0, self.top() + lines * self.spec.font_pt]
    }

    fn title(&self) -> String {
        format!("What {} holds of the text ({})", self.head, self.spec.run)
    }

    fn draw<P: Painter>(&self, sheet: &Sheet<'_, P>) -> Result<(), FigureError> {
        let size = self.spec.font_pt;
        let heading = format!("{}: {} of {} tokens kept", self.head, self.kept_count(), self.tokens.len());
        sheet.label(&heading, [0.0, size], Label::new(size).bold().rgb(BLACK))?;
        let rule = size * 1.45;
        sheet.line(&[[0.0, rule], [self.spec.width_in * 72.0, rule]], Pen { width: 0.4, rgb: GREY })?;
        for piece in &self.pieces {
            let column = piece.line / self.lines_per_column;
            let line = piece.line % self.lines_per_column;
            let x = column as f32 * (self.column + GUTTER) + piece.x;
            let y = self.top() + (line as f32 * LEADING + 0.9) * size;
            let label = Label::new(size);
            let label = if self.kept(piece.token) { label.bold().rgb(BLUE) } else { label.rgb(PALE) };
            sheet.label(&piece.text, [x, y], label)?;
            if self.spec.circle.iter().any(|class| class == self.tokens[piece.token].class) {
                sheet
                    .line(&ring([x + piece.width / 2.0, y - size * 0.3], piece.width / 2.0 + 2.0, size * 0.62), RING)?;
            }
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let mut text = "position,token_id,text,class,kept,evicted_at\n".to_owned();
        for (position, (token, gone)) in self.tokens.iter().zip(&self.gone_at).enumerate() {
            let quoted = token.text.as_deref().unwrap_or("").replace('"', "\"\"");
            let gone = gone.map_or(String::new(), |gone| gone.to_string());
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "{position},{},\"{quoted}\",{},{},{gone}",
                token.id,
                token.class,
                u8::from(self.kept(position))
            );
        }
        text
    }

    fn caption(&self) -> String {
        let circled = match self.spec.circle.as_slice() {
            [] => String::new(),
            classes => format!(" Tokens of class {} are circled.", classes.join(", ")),
        };
        format!(
            "The {} of {} tokens that KV head {} holds when {} tokens have been read (bold, blue); the others were evicted \
             (grey). {}.{circled} ¶ and · stand for kept line breaks and spaces.",
            self.kept_count(),
            self.tokens.len(),
            self.head,
            self.at,
            self.policy
        )
    }

    fn missing_characters(&self) -> Vec<char> {
        font::missing(self.pieces.iter().map(|piece| piece.text.as_str()))
    }
}

/// An ellipse as a closed line.
fn ring([x, y]: [f32; 2], a: f32, b: f32) -> Vec<[f32; 2]> {
    let steps = 32;
    let at = |step: usize| {
        let (sin, cos) = (step as f32 * std::f32::consts::TAU / steps as f32).sin_cos();
        [x + a * cos, y + b * sin]
    };
    (0..=steps).map(at).collect()
}
