//! Shapes of models by name: everything that speed depends on, without a file.

use std::fmt;
use std::str::FromStr;

use super::config::{Architecture, ModelConfig, RopeScaling};
use super::gate::parameter_specs;
use super::gate_config::{GateConfig, GateKind};

/// A model and its gates, as sizes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Name under which it is asked for.
    pub name: &'static str,
    vocab: usize,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    query_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    tied: bool,
    gate: usize,
}

/// Sizes that all Qwen3 models share.
const QWEN3: ModelShape = ModelShape {
    name: "",
    vocab: 151_936,
    hidden: 0,
    intermediate: 0,
    layers: 28,
    query_heads: 16,
    kv_heads: 8,
    head_dim: 128,
    tied: true,
    gate: 512,
};

impl ModelShape {
    /// Every shape: those of the published Qwen3 models with the gates of their TRIM-KV checkpoints, and a tiny one that
    /// runs anywhere in no time.
    pub const ALL: [Self; 5] = [
        Self {
            name: "tiny",
            vocab: 521,
            hidden: 64,
            intermediate: 192,
            layers: 2,
            query_heads: 4,
            kv_heads: 2,
            head_dim: 16,
            tied: true,
            gate: 32,
        },
        Self { name: "qwen3-0.6b", hidden: 1024, intermediate: 3072, ..QWEN3 },
        Self { name: "qwen3-1.7b", hidden: 2048, intermediate: 6144, ..QWEN3 },
        Self { name: "qwen3-4b", hidden: 2560, intermediate: 9728, layers: 36, query_heads: 32, ..QWEN3 },
        Self {
            name: "qwen3-8b",
            hidden: 4096,
            intermediate: 12_288,
            layers: 36,
            query_heads: 32,
            tied: false,
            ..QWEN3
        },
    ];

    /// The configuration of such a model.
    pub fn config(&self) -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Qwen3,
            vocab: self.vocab,
            hidden: self.hidden,
            intermediate: self.intermediate,
            layers: self.layers,
            query_heads: self.query_heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            rotary_dim: self.head_dim,
            rope_theta: 1e6,
            rope_scaling: RopeScaling::None,
            norm_eps: 1e-6,
            qk_norm: true,
            attention_bias: false,
            mlp_bias: false,
            tied: self.tied,
            context: 40_960,
            sliding_window: None,
            eos: Vec::new(),
            stored_dtype: Some("bfloat16".to_owned()),
        }
    }

    /// The configuration of its gates.
    pub fn gate_config(&self) -> GateConfig {
        GateConfig {
            kind: GateKind::Rg,
            intermediate: self.gate,
            base_model: None,
            memory_size: None,
            buffer_size: None,
        }
    }
}

impl fmt::Display for ModelShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// A name that is no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no model shape {name:?}; choose {}", ModelShape::ALL.map(|shape| shape.name).join(", "))]
pub struct UnknownShape {
    /// The name as given.
    pub name: String,
}

impl FromStr for ModelShape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Self, UnknownShape> {
        let found = Self::ALL.into_iter().find(|shape| shape.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownShape { name: name.to_owned() })
    }
}

/// Numbers that a decoding step multiplies with: all of the model's but, unless the output projection is the embedding,
/// the embedding, of which a step reads one row.
pub fn parameters_per_step(model: &ModelConfig) -> u64 {
    let ModelConfig { hidden, intermediate, query_heads, kv_heads, head_dim, .. } = *model;
    let (query_rows, kv_rows) = (query_heads * head_dim, kv_heads * head_dim);
    let biases = |bias: bool, rows: usize| if bias { rows } else { 0 };
    let attention = (query_rows + 2 * kv_rows) * hidden + hidden * query_rows;
    let attention_biases = biases(model.attention_bias, query_rows + 2 * kv_rows + hidden);
    let mlp = 3 * intermediate * hidden + biases(model.mlp_bias, 2 * intermediate + hidden);
    let norms = 2 * hidden + if model.qk_norm { 2 * head_dim } else { 0 };
    let layer = attention + attention_biases + mlp + norms;
    (model.layers * layer + hidden + model.vocab * hidden) as u64
}

/// Numbers of the gates that a decoding step multiplies with; what layers share is read once for each.
pub fn gate_parameters_per_step(gate: &GateConfig, model: &ModelConfig) -> u64 {
    let specs = parameter_specs(gate, model);
    specs.iter().map(|spec| (spec.names.len() * spec.shape.iter().product::<usize>()) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_qwen3_4b_reads_what_the_published_sizes_say() {
        let shape: ModelShape = "Qwen3-4B".parse().unwrap();
        let (model, gate) = (shape.config(), shape.gate_config());
        assert_eq!(parameters_per_step(&model), 4_022_468_096);
        assert_eq!(gate_parameters_per_step(&gate, &model), 47_352_096);
        assert_eq!(model.cache_bytes_per_token(2), 147_456);
    }

    #[test]
    fn an_embedding_of_its_own_is_not_read_whole() {
        let shape: ModelShape = "qwen3-8b".parse().unwrap();
        let published: u64 = 8_190_735_360;
        assert_eq!(parameters_per_step(&shape.config()), published - 151_936 * 4096);
    }

    #[test]
    fn an_unknown_shape_is_told_the_choices() {
        let error = "gpt2".parse::<ModelShape>().unwrap_err().to_string();
        assert!(ModelShape::ALL.iter().all(|shape| error.contains(shape.name)), "{error}");
    }
}
