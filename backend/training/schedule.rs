//! The learning rate over a run: a linear warm-up, then half a cosine down to a floor (method section 4).

/// A learning-rate schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// The last rate.
    pub floor: f64,
    /// Steps before the peak.
    pub warmup: u64,
    /// Steps of the run.
    pub steps: u64,
}

impl Schedule {
    /// The rate of a step, counted from 1.
    pub fn rate(&self, step: u64) -> f64 {
        if step <= self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let left = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / left as f64).min(1.0);
        self.floor + (self.peak - self.floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_the_peak_and_ends_at_the_floor() {
        let schedule = Schedule { peak: 1.0, floor: 0.1, warmup: 4, steps: 24 };
        assert_eq!(schedule.rate(1), 0.25);
        assert_eq!(schedule.rate(4), 1.0);
        assert!((schedule.rate(14) - 0.55).abs() < 1e-12);
        assert!((schedule.rate(24) - 0.1).abs() < 1e-12);
        assert!((5..24).all(|step| schedule.rate(step + 1) < schedule.rate(step)));
        let no_warmup = Schedule { warmup: 0, ..schedule };
        assert!(no_warmup.rate(1) < 1.0 && no_warmup.rate(1) > 0.99);
    }
}
