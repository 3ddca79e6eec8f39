//! Colour scales: a value in [0, 1] to a colour. Their lightness is monotone, so a grey print keeps the order.

use serde::{Deserialize, Serialize};

/// Red, green and blue, 0 to 255.
pub type Rgb = [u8; 3];

/// Text, axes and the edge of what is not born yet.
pub const BLACK: Rgb = [0, 0, 0];
/// Lines that must not compete with data.
pub const GREY: Rgb = [140, 140, 140];
/// Evicted tokens in prose, and the hatch over what is not born.
pub const PALE: Rgb = [165, 165, 165];
/// Kept tokens in prose, as in the paper's Figure 21.
pub const BLUE: Rgb = [0, 60, 200];
/// Paper.
pub const WHITE: Rgb = [255, 255, 255];

/// Colours of lines that share a plot, told apart by lightness too (dark to light).
pub const LINES: [Rgb; 6] = [[20, 20, 20], [0, 84, 159], [190, 60, 40], [0, 140, 110], [150, 110, 200], [225, 160, 40]];

/// The tables are matplotlib's (CC0): 256 colours each.
const VIRIDIS: &[u8; 768] = include_bytes!("colours/viridis.rgb");
const CIVIDIS: &[u8; 768] = include_bytes!("colours/cividis.rgb");

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colours {
    /// Dark blue to yellow.
    #[default]
    Viridis,
    /// Dark blue to yellow, made for readers who do not tell red from green.
    Cividis,
    /// Pale grey to black: the more, the darker.
    Grey,
}

impl Colours {
    /// The colour of `value`; what is outside [0, 1] takes the nearer end.
    pub fn at(self, value: f32) -> Rgb {
        let step = (value.clamp(0.0, 1.0) * 255.0).round() as usize;
        let of = |table: &[u8; 768]| [table[3 * step], table[3 * step + 1], table[3 * step + 2]];
        match self {
            Self::Viridis => of(VIRIDIS),
            Self::Cividis => of(CIVIDIS),
            // Not white at 0: an evicted token must not look like paper.
            Self::Grey => [(225.0 - 225.0 * step as f32 / 255.0).round() as u8; 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lightness([r, g, b]: Rgb) -> f32 {
        0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)
    }

    #[test]
    fn a_grey_print_keeps_the_order_of_values() {
        for (colours, sign) in [(Colours::Viridis, 1.0), (Colours::Cividis, 1.0), (Colours::Grey, -1.0)] {
            let steps: Vec<f32> = (0..=16).map(|step| sign * lightness(colours.at(step as f32 / 16.0))).collect();
            assert!(steps.windows(2).all(|pair| pair[1] > pair[0] + 2.0), "{colours:?}: {steps:?}");
        }
    }

    #[test]
    fn the_ends_are_the_known_ones() {
        assert_eq!(Colours::Viridis.at(0.0), [0x44, 0x01, 0x54]);
        assert_eq!(Colours::Viridis.at(7.0), [0xfd, 0xe7, 0x25]);
        assert_eq!(Colours::Cividis.at(-1.0), [0x00, 0x22, 0x4e]);
    }
}
