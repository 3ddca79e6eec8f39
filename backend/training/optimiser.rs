//! AdamW on plain numbers, and clipping. The state is a few slices, so that it can be saved and resumed bit for bit.

use rayon::prelude::*;

use crate::model::real::Real;

/// Constants of AdamW (decoupled weight decay).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
    /// Share of a weight taken away per step, times the learning rate. Biases are spared.
    pub decay: f64,
}

/// One parameter and what AdamW remembers of its gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter<T> {
    /// Its values.
    pub values: Vec<T>,
    /// Mean gradient.
    pub mean: Vec<T>,
    /// Mean squared gradient.
    pub square: Vec<T>,
    /// Whether weight decay applies.
    pub decays: bool,
}

impl<T: Real> Parameter<T> {
    /// A parameter without a past.
    pub fn new(values: Vec<T>, decays: bool) -> Self {
        let zeros = vec![T::zero(); values.len()];
        Self { mean: zeros.clone(), square: zeros, values, decays }
    }
}

impl AdamW {
    /// One step with `gradient`, the `step`-th from 1 on.
    pub fn update<T: Real>(&self, parameter: &mut Parameter<T>, gradient: &[T], rate: f64, step: u64) {
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let [beta1, beta2, epsilon] = [self.beta1, self.beta2, self.epsilon].map(T::real);
        let mean_share = T::real((1.0 - self.beta1.powi(power)).recip());
        let square_share = T::real((1.0 - self.beta2.powi(power)).recip());
        let kept = T::real(if parameter.decays { 1.0 - rate * self.decay } else { 1.0 });
        let rate = T::real(rate);
        let cells = parameter.values.par_iter_mut().zip(&mut parameter.mean).zip(&mut parameter.square).zip(gradient);
        cells.with_min_len(1 << 14).for_each(|(((value, mean), square), &gradient)| {
            *mean = beta1 * *mean + (T::one() - beta1) * gradient;
            *square = beta2 * *square + (T::one() - beta2) * gradient * gradient;
            let step = *mean * mean_share / ((*square * square_share).sqrt() + epsilon);
            *value = *value * kept - rate * step;
        });
    }
}

/// Euclidean norm of all gradients together.
pub fn norm<T: Real>(gradients: &[Vec<T>]) -> f64 {
    gradients.iter().flatten().map(|gradient| gradient.as_f64().powi(2)).sum::<f64>().sqrt()
}

/// Scales gradients of norm `norm` down to `most`.
pub fn clip<T: Real>(gradients: &mut [Vec<T>], norm: f64, most: f64) {
    if norm > most {
        let factor = T::real(most / norm);
        gradients.iter_mut().flatten().for_each(|gradient| *gradient *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: AdamW = AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1 };

    /// The first step moves every weight by the learning rate, whatever the gradient's size, after the decay.
    #[test]
    fn the_first_step_is_the_sign_of_the_gradient() {
        let mut weight = Parameter::new(vec![2.0f64, -1.0], true);
        ADAM.update(&mut weight, &[1e-3, -50.0], 0.01, 1);
        let kept = 1.0 - 0.01 * 0.1;
        assert!((weight.values[0] - (2.0 * kept - 0.01)).abs() < 1e-6);
        assert!((weight.values[1] - (-kept + 0.01)).abs() < 1e-9);
        let mut bias = Parameter::new(vec![2.0f64], false);
        ADAM.update(&mut bias, &[0.0], 0.01, 1);
        assert_eq!(bias.values, [2.0]);
    }

    #[test]
    fn a_parabola_is_descended() {
        let mut weight = Parameter::new(vec![3.0f64], false);
        for step in 1..=400 {
            let gradient = 2.0 * (weight.values[0] - 1.0);
            ADAM.update(&mut weight, &[gradient], 0.05, step);
        }
        assert!((weight.values[0] - 1.0).abs() < 1e-2);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let mut gradients = vec![vec![3.0f64], vec![0.0, 4.0]];
        assert_eq!(norm(&gradients), 5.0);
        clip(&mut gradients, 5.0, 10.0);
        assert_eq!(gradients, [vec![3.0], vec![0.0, 4.0]]);
        clip(&mut gradients, 5.0, 1.0);
        assert!((norm(&gradients) - 1.0).abs() < 1e-12);
        assert!((gradients[0][0] / gradients[1][1] - 0.75).abs() < 1e-12);
    }
}
