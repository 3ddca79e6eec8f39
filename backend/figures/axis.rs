//! Ticks: which numbers an axis names, and how they are written.

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
