//! Weights that mean nothing, made where they are used: how fast a model runs does not depend on what it knows.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::config::ModelConfig;
use super::error::ModelError;
use super::gate::{RetentionGate, load_gates, parameter_specs};
use super::gate_config::GateConfig;
use super::weights::TensorSource;

/// Mean and spread of the bias of random gates: half-lives of some ten to some thousand tokens, other ones in each head.
const GATE_BIAS: (f64, f64) = (6.0, 1.5);

/// Random weights of any name and shape, made on the device. The same seed gives the same tensor under the same name on
/// the same kind of device; a GPU has a generator of its own.
///
/// Matrices keep the scale of what they are applied to (deviation `1 / sqrt(columns)`), norms are 1, biases 0: so
/// activations stay finite in any number type and depth.
#[derive(Debug, Clone, Copy)]
pub struct RandomWeights {
    /// Chooses the numbers.
    pub seed: u64,
}

impl TensorSource for RandomWeights {
    fn contains(&self, name: &str) -> bool {
        // Names of a plain decoder; those of vision models' parts do not exist.
        !name.starts_with("model.language_model.")
    }

    fn take(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
        if name.ends_with("norm.weight") {
            return Ok(Tensor::ones(shape, dtype, device)?);
        }
        match *shape {
            [_, columns] => self.numbers(name, shape, (0.0, (columns as f64).sqrt().recip()), dtype, device),
            _ => Ok(Tensor::zeros(shape, dtype, device)?),
        }
    }
}

impl RandomWeights {
    /// Gates for every layer of `model`.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn gates(
        &self,
        gate: &GateConfig,
        model: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Vec<RetentionGate>, ModelError> {
        let mut tensors = BTreeMap::new();
        for spec in parameter_specs(gate, model) {
            let Some(name) = spec.names.first() else { continue };
            let tensor = if name.ends_with("retention_gate.bias") {
                self.numbers(name, &spec.shape, GATE_BIAS, dtype, device)?
            } else {
                self.take(name, &spec.shape, dtype, device)?
            };
            tensors.insert(name.clone(), tensor);
        }
        load_gates(&tensors, Path::new("random gates"), gate, model, dtype, device)
    }

    /// Numbers of the given mean and deviation.
    fn numbers(
        &self,
        name: &str,
        shape: &[usize],
        (mean, deviation): (f64, f64),
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, ModelError> {
        let seed = name.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
        });
        let numbers = if device.is_cpu() {
            // Uniform rather than normal: a fifth of the time, and products sum many of them anyway.
            let half_width = (deviation * 3f64.sqrt()) as f32;
            let mut rng = StdRng::seed_from_u64(seed);
            let mut number = || mean as f32 + (2.0 * rng.random::<f32>() - 1.0) * half_width;
            let count = shape.iter().product();
            Tensor::from_vec((0..count).map(|_| number()).collect::<Vec<f32>>(), shape, device)?
        } else {
            device.set_seed(seed)?;
            Tensor::randn(mean as f32, deviation as f32, shape, device)?
        };
        Ok(numbers.to_dtype(dtype)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_seed_give_the_same_numbers_of_the_stated_scale() {
        let take = |seed, name| {
            let tensor = RandomWeights { seed }.take(name, &[40, 900], DType::F32, &Device::Cpu).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let numbers = take(3, "a.weight");
        assert_eq!(numbers, take(3, "a.weight"));
        assert_ne!(numbers, take(4, "a.weight"));
        assert_ne!(numbers, take(3, "b.weight"));
        let mean_square = numbers.iter().map(|x| f64::from(x * x)).sum::<f64>() / numbers.len() as f64;
        assert!((mean_square.sqrt() * 30.0 - 1.0).abs() < 0.02, "deviation {}", mean_square.sqrt());
    }

    #[test]
    fn norms_are_one_and_biases_nothing() {
        let take = |name| {
            let tensor = RandomWeights { seed: 0 }.take(name, &[5], DType::BF16, &Device::Cpu).unwrap();
            tensor.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(take("model.layers.0.input_layernorm.weight"), [1.0; 5]);
        assert_eq!(take("model.layers.0.self_attn.q_proj.bias"), [0.0; 5]);
    }
}
