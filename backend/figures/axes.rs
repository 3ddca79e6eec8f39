//! Draws axes: ticks, numbers, the corner of a plot, its title, and marks of values beside it.

use super::axis::{Axis, MOST_TICKS, tick_text};
use super::paint::{Frame, Painter};
use super::sheet::{AXIS, Label, Sheet, TICK};
use super::{FigureError, small};

/// Most numbers on an axis that runs across.
pub const MOST_ACROSS: usize = 5;

/// Width of an axis's numbers.
pub fn numbers_width(ticks: &[f64], font: f32) -> f32 {
    let label = Label::new(small(font));
    ticks.iter().map(|&tick| label.width(&tick_text(tick))).fold(0.0, f32::max)
}

/// Where a pair of values lies in a plot.
pub fn place([across, up]: [&Axis; 2], [x, y]: [f64; 2], at: Frame) -> [f32; 2] {
    [at.x + at.width * across.share(x), at.y + at.height * (1.0 - up.share(y))]
}

/// A panel's title, after its letter where it has one; `at` is the start of the baseline.
///
/// # Errors
/// As all marks: when plotters refuses one.
pub fn title<P: Painter>(
    sheet: &Sheet<'_, P>,
    letter: Option<char>,
    text: &str,
    at: [f32; 2],
    font: f32,
) -> Result<(), FigureError> {
    let text = letter.map_or(text.to_owned(), |letter| format!("{letter}  {text}"));
    sheet.label(&text, at, Label::new(font).bold())
}

/// Ticks and numbers of the axis on the left of a plot.
///
/// # Errors
/// As all marks.
pub fn left<P: Painter>(sheet: &Sheet<'_, P>, axis: &Axis, at: Frame, font: f32) -> Result<(), FigureError> {
    for value in axis.ticks(MOST_TICKS) {
        let y = at.y + at.height * (1.0 - axis.share(value));
        sheet.line(&[[at.x - TICK, y], [at.x, y]], AXIS)?;
        sheet.label(&tick_text(value), [at.x - TICK - 1.5, y], Label::new(small(font)).ending().level())?;
    }
    Ok(())
}

/// Ticks and numbers below a plot.
///
/// # Errors
/// As all marks.
pub fn below<P: Painter>(
    sheet: &Sheet<'_, P>,
    axis: &Axis,
    ticks: &[f64],
    at: Frame,
    font: f32,
) -> Result<(), FigureError> {
    let bottom = at.y + at.height;
    for &value in ticks {
        let x = at.x + at.width * axis.share(value);
        sheet.line(&[[x, bottom], [x, bottom + TICK]], AXIS)?;
        sheet.label(&tick_text(value), [x, bottom + TICK + 1.5], Label::new(small(font)).centred().below())?;
    }
    Ok(())
}

/// The two edges of a plot that are its axes.
///
/// # Errors
/// As all marks.
pub fn corner<P: Painter>(sheet: &Sheet<'_, P>, at: Frame) -> Result<(), FigureError> {
    let bottom = at.y + at.height;
    sheet.line(&[[at.x, at.y], [at.x, bottom], [at.x + at.width, bottom]], AXIS)
}

/// What stands below the numbers, in the middle.
///
/// # Errors
/// As all marks.
pub fn name_below<P: Painter>(sheet: &Sheet<'_, P>, name: &str, at: Frame, font: f32) -> Result<(), FigureError> {
    let y = at.y + at.height + small(font) + 5.0;
    sheet.label(name, [at.x + at.width / 2.0, y], Label::new(font).centred().below())
}

/// Room that numbers and a name take below a plot.
pub fn room_below(font: f32) -> f32 {
    small(font) + 5.0 + font * 1.3
}

/// Heights of labels, moved apart so that none is nearer than `least` to the next. Their order stays; the middle of
/// those that touch stays where it was.
pub fn apart(heights: &[f32], least: f32) -> Vec<f32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    // (sum of wanted places, members) of each heap of labels that touch.
    let mut heaps: Vec<(f32, Vec<usize>)> = Vec::new();
    let top = |heap: &(f32, Vec<usize>)| heap.0 / heap.1.len() as f32 - least * (heap.1.len() - 1) as f32 / 2.0;
    for index in order {
        let mut heap = (heights[index], vec![index]);
        while let Some(before) = heaps.pop_if(|before| top(before) + least * before.1.len() as f32 > top(&heap)) {
            heap = (before.0 + heap.0, before.1.into_iter().chain(heap.1).collect());
        }
        heaps.push(heap);
    }
    let mut places = vec![0.0; heights.len()];
    for heap in &heaps {
        heap.1.iter().enumerate().for_each(|(rank, &index)| places[index] = top(heap) + least * rank as f32);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_would_touch_move_apart_and_the_others_stay() {
        assert_eq!(apart(&[50.0, 10.0, 12.0], 8.0), [50.0, 7.0, 15.0]);
        let crowd = apart(&[5.0, 5.0, 5.0, 14.0], 6.0);
        assert!(crowd.windows(2).all(|pair| pair[1] - pair[0] >= 6.0 - 1e-4), "{crowd:?}");
        assert!((crowd.iter().sum::<f32>() - 29.0).abs() < 1e-3);
    }
}
