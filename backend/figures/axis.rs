//! Axes: from values to places, which numbers an axis names, and how they are written.

/// Most numbers on an axis of values.
pub const MOST_TICKS: usize = 6;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, with 0 on the axis.
    Linear,
    /// By powers of ten; what is not positive is left out.
    Log,
}

/// From values to a share of a length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// How values become places.
    pub scale: Scale,
    /// Values at its start and its end.
    pub ends: [f64; 2],
}

impl Axis {
    /// An even axis between two values.
    pub fn between(low: f64, high: f64) -> Self {
        Self { scale: Scale::Linear, ends: [low, high] }
    }

    /// An axis that holds all values that it can show: an even one with 0 and a little room, or one by powers of ten
    /// between round numbers.
    pub fn holding(scale: Scale, values: impl IntoIterator<Item = f64>) -> Self {
        let shown = values.into_iter().filter(|&value| is_shown(scale, value));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), value| (l.min(value), h.max(value)));
        let ends = match scale {
            Scale::Linear if low > high || (low == 0.0 && high == 0.0) => [0.0, 1.0],
            Scale::Linear => [low.min(0.0) * 1.05, high.max(0.0) * 1.05],
            Scale::Log if low > high => [1.0, 10.0],
            Scale::Log => {
                let (low, high) = (round_down(low), round_up(high));
                [low, if high > low { high } else { round_up(high * 1.5) }]
            }
        };
        Self { scale, ends }
    }

    /// Whether the axis can show a value at all.
    pub fn is_shown(&self, value: f64) -> bool {
        is_shown(self.scale, value)
    }

    /// Where a value lies: 0 at the start, 1 at the end; in the middle of an axis without length.
    pub fn share(&self, value: f64) -> f32 {
        let scaled = |value: f64| if self.scale == Scale::Log { value.log10() } else { value };
        let [low, high] = self.ends.map(scaled);
        if high == low { 0.5 } else { ((scaled(value) - low) / (high - low)) as f32 }
    }

    /// Round numbers on the axis, at most `most` (by powers of ten [`MOST_TICKS`]).
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        let [low, high] = self.ends;
        match self.scale {
            Scale::Linear => linear_ticks(low, high, most),
            Scale::Log => {
                let decades = log_ticks(low, high, most.min(MOST_TICKS));
                if decades.len() >= 3 { decades } else { round_numbers(low, high) }
            }
        }
    }

    /// The whole numbers among the round ones, for what is counted.
    pub fn whole_ticks(&self, most: usize) -> Vec<f64> {
        self.ticks(most).into_iter().filter(|tick| tick.fract() == 0.0).collect()
    }
}

fn is_shown(scale: Scale, value: f64) -> bool {
    value.is_finite() && (scale == Scale::Linear || value > 0.0)
}

/// 1, 2 and 5 times the powers of ten in `[low, high]`.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let numbers = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|lead| lead * 10f64.powi(power)));
    numbers.filter(|&number| number >= low * (1.0 - 1e-9) && number <= high * (1.0 + 1e-9)).collect()
}

fn round_down(value: f64) -> f64 {
    round_numbers(value / 10.0, value).into_iter().next_back().unwrap_or(value)
}

fn round_up(value: f64) -> f64 {
    round_numbers(value, value * 10.0).into_iter().next().unwrap_or(value)
}

/// Round numbers in `[low, high]`, steps of 1, 2 or 5 times a power of ten, at most `most` of them (at least one step).
pub fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) {
        return vec![low];
    }
    let rough = span / most.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let ticks = |step: f64| {
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect::<Vec<_>>()
    };
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|factor| ticks(factor * power));
    let fits = steps.iter().position(|ticks| ticks.len() <= most.max(2)).unwrap_or(steps.len() - 1);
    match (&steps[fits][..], fits.checked_sub(1).map(|finer| &steps[finer][..])) {
        // One number alone gives no scale: the ends of the next finer step do.
        ([] | [_], Some([first, .., last])) => vec![*first, *last],
        (ticks, _) => ticks.to_vec(),
    }
}

/// Powers of ten in `[low, high]`, thinned to at most `most`.
pub fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    if !(low > 0.0 && high >= low && high.is_finite()) {
        return Vec::new();
    }
    let (first, last) = ((low.log10() - 1e-9).ceil() as i32, (high.log10() + 1e-9).floor() as i32);
    let every = ((last - first + 1).max(1) as usize).div_ceil(most.max(1));
    (first..=last).step_by(every).map(|power| 10f64.powi(power)).collect()
}

/// A tick's number in few characters: `2000`, `0.05`, `10⁶`.
pub fn tick_text(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        let power = size.log10().floor();
        let lead = value / 10f64.powf(power);
        let lead = if (lead - 1.0).abs() < 1e-6 { String::new() } else { format!("{}·", short(lead)) };
        return format!("{lead}10{}", superscript(power as i32));
    }
    short(value)
}

fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    // A true minus sign is as wide as a plus.
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

fn superscript(power: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        c => char::from_u32(0x2070 + c.to_digit(10).unwrap_or(0)).unwrap_or(c),
    };
    power.to_string().chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_inside_and_few() {
        assert_eq!(linear_ticks(0.0, 4207.0, 3), [0.0, 2000.0, 4000.0]);
        assert_eq!(linear_ticks(0.0, 153.0, 4), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!(linear_ticks(-0.3, 0.31, 4), [-0.2, 0.0, 0.2]);
        assert_eq!(linear_ticks(5.0, 5.0, 4), [5.0]);
        for high in [1.0, 3.0, 7.0, 19.0, 1e-4, 8.1e7] {
            let ticks = linear_ticks(0.0, high, 4);
            assert!((2..=4).contains(&ticks.len()) && ticks.iter().all(|&tick| tick <= high * 1.000_001), "{ticks:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_has_two_numbers_at_least() {
        let axis = |values: &[f64]| Axis::holding(Scale::Log, values.iter().copied());
        assert_eq!(axis(&[0.3, 0.31]).ticks(6), [0.2, 0.5]);
        assert_eq!(axis(&[2.0]).ticks(6), [2.0, 5.0]);
        assert_eq!(axis(&[0.004, 30.0]).ticks(6), [0.01, 0.1, 1.0, 10.0]);
        assert_eq!(axis(&[0.0, f64::NAN]).ends, [1.0, 10.0]);
    }

    #[test]
    fn an_even_axis_has_zero_on_it_and_values_in_their_order() {
        for (values, ends) in [(&[2.0, 8.0][..], [0.0, 8.4]), (&[-4.0, -2.0], [-4.2, 0.0]), (&[], [0.0, 1.0])] {
            let axis = Axis::holding(Scale::Linear, values.iter().copied());
            assert!(axis.ends.iter().zip(ends).all(|(a, b)| (a - b).abs() < 1e-9), "{axis:?}");
        }
        assert_eq!([3.0, 5.0].map(|value| Axis::between(3.0, 5.0).share(value)), [0.0, 1.0]);
        assert_eq!(Axis::between(3.0, 3.0).share(3.0), 0.5);
    }

    #[test]
    fn a_narrow_axis_still_names_two_numbers() {
        assert_eq!(linear_ticks(0.0, 4115.0, 1), [0.0, 4000.0]);
        assert_eq!(linear_ticks(0.0, 4115.0, 2), [0.0, 4000.0]);
        assert_eq!(linear_ticks(0.0, 4115.0, 3), [0.0, 2000.0, 4000.0]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten() {
        assert_eq!(log_ticks(0.5, 2000.0, 9), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(log_ticks(1.0, 1e8, 5), [1.0, 1e2, 1e4, 1e6, 1e8]);
        assert!(log_ticks(0.0, 5.0, 5).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 2000.0, -0.05, 1e6, 2.5e-5, 0.1 + 0.2].map(tick_text);
        assert_eq!(texts, ["0", "2000", "−0.05", "10⁶", "2.5·10⁻⁵", "0.3"]);
    }
}
