//! Seeded draws that do not depend on the order in which they are asked for.

use crate::policy::random::mix;

/// A draw for every (seed, place), by the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Other dice for every number.
    pub fn at(self, place: u64) -> Self {
        Self(mix(self.0 ^ mix(place)))
    }

    /// Even in [0, 1).
    pub fn even(self) -> f64 {
        (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(self) -> f64 {
        let (u, v) = (1.0 - self.at(1).even(), self.at(2).even());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// One of these.
    pub fn pick<T: Copy>(self, from: &[T]) -> T {
        from[(self.even() * from.len() as f64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_have_the_moments_they_should() {
        let normals: Vec<f64> = (0..20_000).map(|place| Dice::new(7).at(place).normal()).collect();
        assert_eq!(normals[3], Dice::new(7).at(3).normal());
        let mean = normals.iter().sum::<f64>() / 20_000.0;
        let variance = normals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
