//! The soft cache size of one head, `S_t = sum over i <= t of exp((t - i) log_beta_i)`, and its gradient (method
//! section 4).
//!
//! Time is O(tokens^2), memory O(tokens). One step multiplies every weight by its beta, which is far cheaper than an
//! exponential; every `RENEWED` steps the weights are computed anew, so that rounding does not add up.

use crate::model::real::{Real, sum};

/// Steps between exact weights.
const RENEWED: usize = 32;

/// Below this a weight counts for nothing. Left alone, fading weights would reach the denormal numbers, with which a
/// processor is a hundred times slower.
const FADED: f64 = 1e-30;

/// Weights of the keys `0..=step` as seen from `step`.
struct Weights<'a, T> {
    log_beta: &'a [T],
    beta: Vec<T>,
    weights: Vec<T>,
}

impl<'a, T: Real> Weights<'a, T> {
    fn new(log_beta: &'a [T]) -> Self {
        let beta = log_beta.iter().map(|&log_beta| log_beta.exp()).collect();
        Self { log_beta, beta, weights: vec![T::zero(); log_beta.len()] }
    }

    /// Steps must be visited in order, from 0 on.
    fn at(&mut self, step: usize) -> &[T] {
        let earlier = &mut self.weights[..step];
        if step.is_multiple_of(RENEWED) {
            for (key, (weight, &log_beta)) in earlier.iter_mut().zip(self.log_beta).enumerate() {
                let exact = (T::real((step - key) as f64) * log_beta).quick_exp();
                *weight = if exact > T::real(FADED) { exact } else { T::zero() };
            }
        } else {
            for (weight, &beta) in earlier.iter_mut().zip(&self.beta) {
                let next = *weight * beta;
                *weight = if next > T::real(FADED) { next } else { T::zero() };
            }
        }
        self.weights[step] = T::one();
        &self.weights[..=step]
    }
}

/// `S_t` at every step of a head with these `log_beta` (nats, at most 0); as many as there are.
pub fn soft_size<T: Real>(log_beta: &[T]) -> Vec<T> {
    let mut weights = Weights::new(log_beta);
    (0..log_beta.len()).map(|step| sum(weights.at(step))).collect()
}

/// Adds to `into` the gradient with respect to `log_beta` when `S_t` has the gradient `upstream[t]`.
pub fn pull_soft_size<T: Real>(log_beta: &[T], upstream: &[T], into: &mut [T]) {
    let Some(last) = upstream.iter().rposition(|&gradient| gradient != T::zero()) else { return };
    let keys: Vec<T> = (0..=last).map(|key| T::real(key as f64)).collect();
    let mut weights = Weights::new(log_beta);
    for (step, &gradient) in upstream[..=last].iter().enumerate() {
        let weights = weights.at(step);
        if gradient == T::zero() {
            continue;
        }
        let now = T::real(step as f64);
        for ((into, &weight), &key) in into.iter_mut().zip(weights).zip(&keys) {
            *into += gradient * (now - key) * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fades_at_beta_one_and_everything_at_beta_zero() {
        assert_eq!(soft_size(&[0.0f32; 5]), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(soft_size(&[-200.0f32; 100]), [1.0; 100]);
    }

    #[test]
    fn sums_and_gradients_are_those_of_the_definition() {
        let log_beta: Vec<f64> = (0..150).map(|i| -0.4 * ((i * 37 % 101) as f64 / 101.0).powi(3)).collect();
        let upstream: Vec<f64> = (0..150).map(|t| if t % 3 == 0 { 0.0 } else { (t as f64).sin() }).collect();
        let weight = |t: usize, i: usize| ((t - i) as f64 * log_beta[i]).exp();
        let sizes: Vec<f64> = (0..150).map(|t| (0..=t).map(|i| weight(t, i)).sum()).collect();
        let gradient = |i: usize| (i..150).map(|t| upstream[t] * (t - i) as f64 * weight(t, i)).sum();
        let gradients: Vec<f64> = (0..150).map(gradient).collect();

        let close = |found: f64, exact: f64, within: f64| (found - exact).abs() <= within * exact.abs().max(1.0);
        let mut pulled = vec![0.0; 150];
        pull_soft_size(&log_beta, &upstream, &mut pulled);
        assert!(soft_size(&log_beta).iter().zip(&sizes).all(|(&s, &e)| close(s, e, 1e-12)));
        assert!(pulled.iter().zip(&gradients).all(|(&g, &e)| close(g, e, 1e-11)));

        let single: Vec<f32> = log_beta.iter().map(|&x| x as f32).collect();
        let upstream: Vec<f32> = upstream.iter().map(|&x| x as f32).collect();
        let mut pulled = vec![0.0; 150];
        pull_soft_size(&single, &upstream, &mut pulled);
        assert!(soft_size(&single).iter().zip(&sizes).all(|(&s, &e)| close(f64::from(s), e, 1e-5)));
        let most = gradients.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        assert!(pulled.iter().zip(&gradients).all(|(&g, &e)| (f64::from(g) - e).abs() < 2e-6 * most));
    }
}
