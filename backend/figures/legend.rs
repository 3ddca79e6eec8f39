//! Legends that break into lines.

use std::ops::Range;

/// Height of one line of a legend, from the size of its text.
pub fn line_height(size: f32) -> f32 {
    size * 1.5
}

/// Entries side by side, as many in a line as fit in `room`, in order; each line holds at least one.
pub fn lines(widths: &[f32], gap: f32, room: f32) -> Vec<Range<usize>> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    let mut taken = 0.0;
    for (index, width) in widths.iter().enumerate() {
        match lines.last_mut().filter(|_| taken + gap + width <= room) {
            Some(line) => {
                line.end = index + 1;
                taken += gap + width;
            }
            None => {
                lines.push(index..index + 1);
                taken = *width;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_what_fits_and_lose_nothing() {
        assert_eq!(lines(&[30.0, 30.0, 30.0, 90.0, 5.0], 5.0, 70.0), [0..2, 2..3, 3..4, 4..5]);
        assert!(lines(&[], 5.0, 70.0).is_empty());
    }
}
