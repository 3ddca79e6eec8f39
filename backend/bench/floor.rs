//! The bytes that a decoding step cannot do without, whatever the program.

use candle_core::DType;
use serde::Serialize;

use crate::model::config::ModelConfig;
use crate::model::gate_config::GateConfig;
use crate::model::shape::{gate_parameters_per_step, parameters_per_step};

/// Bytes moved in one step of a batch: every weight is read once, every attended key and value is read once, every new
/// one is written once. Activations, scores, logits and the moves of a cut are left out: a better program could do
/// without most of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Floor {
    /// The model's weights.
    pub weights: u64,
    /// The gates' weights.
    pub gates: u64,
    /// Keys and values, mean over the steps.
    pub cache: f64,
}

impl Floor {
    /// Of a step in which `attended` entries (over all sequences, layers and KV heads, the new ones included) are read
    /// and `new` of them written.
    pub fn of_step(model: &ModelConfig, gate: Option<&GateConfig>, dtype: DType, attended: f64, new: u64) -> Self {
        let element = dtype.size_in_bytes() as u64;
        let entry = (2 * model.head_dim) as u64 * element;
        Self {
            weights: element * parameters_per_step(model),
            gates: gate.map_or(0, |gate| element * gate_parameters_per_step(gate, model)),
            cache: (attended + new as f64) * entry as f64,
        }
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        (self.weights + self.gates) as f64 + self.cache
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::ModelShape;

    /// The target's arithmetic: 8.14 GB of weights and gates, and 4 sequences of 1,088 entries a head on average.
    #[test]
    fn a_step_of_qwen3_4b_in_bf16() {
        let shape: ModelShape = "qwen3-4b".parse().unwrap();
        let (model, gate) = (shape.config(), shape.gate_config());
        let heads = 4 * 36 * 8;
        let floor = Floor::of_step(&model, Some(&gate), DType::BF16, f64::from(heads * 1088), u64::from(heads as u32));
        assert_eq!(floor.weights + floor.gates, 8_139_640_384);
        assert_eq!(floor.cache, f64::from(1152 * (1088 + 1)) * 512.0);
        assert_eq!(floor.total(), 8_139_640_384.0 + floor.cache);
        let ungated = Floor::of_step(&model, None, DType::F32, 0.0, 0);
        assert_eq!((ungated.gates, ungated.weights), (0, 4 * 4_022_468_096));
    }
}
