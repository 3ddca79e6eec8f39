//! How long tokens live, with those alive at the end counted as what they are: censored.

/// Kaplan and Meier's estimate (1958): the share of tokens alive beyond an age.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SurvivalCurve {
    /// (age in tokens, share alive beyond it), ascending in age; only ages at which someone left.
    pub steps: Vec<(u32, f64)>,
}

impl SurvivalCurve {
    /// From the tokens' `evicted_at` in order of position, `None` while cached, after `seen` tokens.
    ///
    /// A token's age at its end is `evicted_at - position`: the number of queries that could see it. A cut of a long
    /// prompt ends many lives at once, at ages that are upper bounds.
    pub fn of(departures: &[Option<u32>], seen: u32) -> Self {
        let mut left = vec![0u32; seen as usize + 1];
        let mut censored = vec![0u32; seen as usize + 1];
        for (position, at) in (0u32..).zip(departures) {
            match at {
                Some(at) => left[(at - position) as usize] += 1,
                None => censored[(seen - position) as usize] += 1,
            }
        }
        let (mut at_risk, mut alive, mut steps) = (departures.len() as f64, 1.0, Vec::new());
        for (age, (&left, &censored)) in (0u32..).zip(left.iter().zip(&censored)) {
            if left > 0 {
                alive *= 1.0 - f64::from(left) / at_risk;
                steps.push((age, alive));
            }
            at_risk -= f64::from(left + censored);
        }
        Self { steps }
    }

    /// The age by which a share `gone` of the tokens has left; `None` when fewer ever did (too many are censored).
    pub fn quantile(&self, gone: f64) -> Option<u32> {
        self.steps.iter().find(|(_, alive)| *alive <= 1.0 - gone + 1e-12).map(|&(age, _)| age)
    }

    /// Share alive beyond `age`.
    pub fn alive_beyond(&self, age: u32) -> f64 {
        let after = self.steps.partition_point(|&(step, _)| step <= age);
        if after == 0 { 1.0 } else { self.steps[after - 1].1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_by_hand_counts_the_living_only_as_long_as_they_were_watched() {
        // Ages at the end: left at 1, 3 and 3; alive at 2 (position 3 of 5) and at 1 (position 4 of 5).
        let curve = SurvivalCurve::of(&[Some(3), Some(4), Some(3), None, None], 5);
        // Age 1: 5 at risk, 1 left. Age 3: of the 5, one left and two are censored, 2 at risk, both leave.
        assert_eq!(curve.steps, [(1, 0.8), (3, 0.0)]);
        assert_eq!((curve.quantile(0.2), curve.quantile(0.5), curve.quantile(0.1)), (Some(1), Some(3), Some(1)));
        assert_eq!((curve.alive_beyond(0), curve.alive_beyond(1), curve.alive_beyond(9)), (1.0, 0.8, 0.0));
    }

    #[test]
    fn nobody_left_means_no_quantile() {
        let curve = SurvivalCurve::of(&[None, None], 2);
        assert_eq!((curve.quantile(0.5), curve.alive_beyond(2)), (None, 1.0));
    }
}
