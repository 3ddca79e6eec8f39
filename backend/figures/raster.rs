//! From intervals to pixels: a head's triangle of (key position, query step), at any size.
//!
//! A pixel stands for a block of cells; blocks are disjoint and cover the whole triangle. Query steps run down, key
//! positions to the right, both from 0. A cell above the diagonal is not born yet.

use serde::{Deserialize, Serialize};

use super::colour::{Colours, Rgb, WHITE};
use crate::trace::lifetimes::Lifetimes;
use crate::trace::step::KvHead;

/// Stands for a token that is not born yet.
pub const NOT_BORN: f32 = f32::NAN;

/// Pixels, row after row from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Their colours.
    pub pixels: Vec<Rgb>,
}

/// What a pixel shows of the cells it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The largest: is there a survivor here, what is remembered best here? A stripe of one token never vanishes.
    #[default]
    Max,
    /// The mean over the cells that are born: coverage, for density. A lone stripe fades with the size of the text.
    Mean,
}

/// One head's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Lives {
    /// `log beta` by position, in nats; empty without gates.
    pub log_beta: Vec<f32>,
    /// First query blind to a position; `u32::MAX` while it is cached.
    pub gone_at: Vec<u32>,
}

impl Lives {
    /// The tokens of one head of a run.
    pub fn of(lifetimes: &Lifetimes, head: KvHead) -> Self {
        Self {
            log_beta: lifetimes.log_beta(head).to_vec(),
            gone_at: lifetimes.departures(head).map(|at| at.unwrap_or(u32::MAX)).collect(),
        }
    }

    /// Number of tokens seen, T.
    pub fn seen(&self) -> usize {
        self.gone_at.len()
    }

    /// Retention `exp(log_beta (t - i))` of every key for every query, whether it was kept or not.
    ///
    /// Returns `side * side` values in [0, 1], row after row, [`NOT_BORN`] where no cell is born; as many zeros when there
    /// are no gates.
    pub fn retention(&self, side: usize, pooling: Pooling) -> Vec<f32> {
        self.pool(side, pooling, |position, from, to| {
            let log_beta = f64::from(self.log_beta.get(position).copied().unwrap_or(f32::NEG_INFINITY));
            let age = (from - position) as f64;
            match pooling {
                // Retention only falls, so the earliest query of the block sees most of it.
                Pooling::Max => {
                    if age == 0.0 {
                        1.0
                    } else {
                        (log_beta * age).exp()
                    }
                }
                Pooling::Mean => sum_of_powers(log_beta, age, to - from),
            }
        })
    }

    /// Whether a key was still cached for a query: 1 or 0, or between for a mean.
    ///
    /// Returns as [`Lives::retention`].
    pub fn kept(&self, side: usize, pooling: Pooling) -> Vec<f32> {
        self.pool(side, pooling, |position, from, to| {
            let seen = to.min(self.gone_at[position] as usize).saturating_sub(from);
            match pooling {
                Pooling::Max => f64::from(u8::from(seen > 0)),
                Pooling::Mean => seen as f64,
            }
        })
    }

    /// `column(position, from, to)` gives the largest value, or the sum, over queries `from..to` of one key; `from` is at
    /// least the position.
    fn pool(&self, side: usize, pooling: Pooling, column: impl Fn(usize, usize, usize) -> f64) -> Vec<f32> {
        let seen = self.seen();
        let block = |pixel: usize| pixel * seen / side..(pixel + 1) * seen / side;
        let mut cells = vec![NOT_BORN; side * side];
        for (row, queries) in (0..side).map(block).enumerate() {
            for (pixel, keys) in (0..side).map(block).enumerate() {
                let (mut largest, mut sum, mut born) = (0.0f64, 0.0, 0);
                for position in keys.start..keys.end.min(queries.end) {
                    let from = position.max(queries.start);
                    let value = column(position, from, queries.end);
                    largest = largest.max(value);
                    sum += value;
                    born += queries.end - from;
                }
                if born > 0 {
                    cells[row * side + pixel] = match pooling {
                        Pooling::Max => largest as f32,
                        Pooling::Mean => (sum / born as f64) as f32,
                    };
                }
            }
        }
        cells
    }
}

/// `sum of exp(log_beta a)` over ages `a` in `age..age + count`.
fn sum_of_powers(log_beta: f64, age: f64, count: usize) -> f64 {
    match log_beta {
        0.0 => count as f64,
        // 0 to the power of 0 is 1, and of anything else 0.
        f64::NEG_INFINITY => f64::from(u8::from(age == 0.0)),
        x => (x * age).exp() * (x * count as f64).exp_m1() / x.exp_m1(),
    }
}

/// Pixels for a square of values in [0, 1]; white where nothing is born.
pub fn colour(cells: &[f32], side: usize, colours: Colours) -> Raster {
    let pixel = |&value: &f32| if value.is_nan() { WHITE } else { colours.at(value) };
    Raster { width: side as u32, height: side as u32, pixels: cells.iter().map(pixel).collect() }
}

/// Pixels of a square that shows `seen` tokens on `points` at `dpi`: one for every token, unless that would make them
/// smaller than the resolution.
pub fn side(seen: usize, points: f32, dpi: u32) -> usize {
    seen.min((points * dpi as f32 / 72.0).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives() -> Lives {
        let log_beta = vec![-0.001, -0.5, 0.0, -2.0, -0.125, -0.03, -0.7];
        Lives { log_beta, gone_at: vec![u32::MAX, 3, 7, 4, u32::MAX, 6, u32::MAX] }
    }

    fn retention(lives: &Lives, position: usize, query: usize) -> f32 {
        (lives.log_beta[position] * (query - position) as f32).exp()
    }

    #[test]
    fn a_pixel_per_token_shows_the_formula() {
        let lives = lives();
        let (retained, kept) = (lives.retention(7, Pooling::Max), lives.kept(7, Pooling::Max));
        for query in 0..7 {
            for position in 0..7 {
                let cell = query * 7 + position;
                if position > query {
                    assert!(retained[cell].is_nan() && kept[cell].is_nan());
                } else {
                    assert!((retained[cell] - retention(&lives, position, query)).abs() < 1e-6);
                    let visible = (query as u32) < lives.gone_at[position];
                    assert_eq!(kept[cell], f32::from(u8::from(visible)), "key {position} query {query}");
                }
            }
        }
        assert_eq!(lives.retention(7, Pooling::Mean).map_nan(), retained.map_nan());
    }

    trait MapNan {
        /// Rounded, with NaN made comparable.
        fn map_nan(&self) -> Vec<i32>;
    }
    impl MapNan for Vec<f32> {
        fn map_nan(&self) -> Vec<i32> {
            self.iter().map(|v| if v.is_nan() { -1 } else { (v * 1e4).round() as i32 }).collect()
        }
    }

    /// Against a loop over all cells, which knows nothing of sums.
    #[test]
    fn pooled_pixels_are_the_largest_and_the_mean_of_their_cells() {
        let lives = lives();
        let side = 3;
        let block = |pixel: usize| pixel * 7 / side..(pixel + 1) * 7 / side;
        for row in 0..side {
            for column in 0..side {
                let cells: Vec<(usize, usize)> =
                    block(row).flat_map(|t| block(column).filter(move |&i| i <= t).map(move |i| (i, t))).collect();
                let retained: Vec<f32> = cells.iter().map(|&(i, t)| retention(&lives, i, t)).collect();
                let kept: Vec<f32> =
                    cells.iter().map(|&(i, t)| f32::from(u8::from((t as u32) < lives.gone_at[i]))).collect();
                for (values, of) in [(retained, true), (kept, false)] {
                    let got = |pooling| match of {
                        true => lives.retention(side, pooling)[row * side + column],
                        false => lives.kept(side, pooling)[row * side + column],
                    };
                    if values.is_empty() {
                        assert!(got(Pooling::Max).is_nan() && got(Pooling::Mean).is_nan());
                        continue;
                    }
                    let largest = values.iter().copied().fold(0.0, f32::max);
                    let mean = values.iter().sum::<f32>() / values.len() as f32;
                    assert!((got(Pooling::Max) - largest).abs() < 1e-6);
                    assert!((got(Pooling::Mean) - mean).abs() < 1e-5, "{} {mean}", got(Pooling::Mean));
                }
            }
        }
    }

    #[test]
    fn one_survivor_among_thousands_leaves_an_unbroken_stripe() {
        let gone_at = (0..4207).map(|position| if position == 1234 { u32::MAX } else { position + 1 }).collect();
        let kept = Lives { log_beta: Vec::new(), gone_at }.kept(225, Pooling::Max);
        let column = (1235usize * 225).div_ceil(4207) - 1;
        assert!((column + 1..225).all(|row| kept[row * 225 + column] == 1.0));
        assert_eq!(kept[224 * 225 + column + 2], 0.0);
    }

    #[test]
    fn pixels_are_never_smaller_than_the_resolution() {
        assert_eq!([side(100, 72.0, 300), side(4207, 72.0, 300), side(0, 72.0, 300)], [100, 300, 1]);
    }
}
