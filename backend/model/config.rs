//! `config.json` of a base model, brought to one form for the three families.

use std::path::Path;

use serde::Deserialize;

use super::error::ModelError;
use crate::trace::manifest::ModelFacts;

/// The families whose forward pass we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen3: per-head norms on queries and keys.
    Qwen3,
    /// Llama 3.x.
    Llama,
    /// Phi-3: fused projections in its files, longrope.
    Phi3,
}

impl Architecture {
    /// The name in the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
            Self::Phi3 => "phi3",
        }
    }
}

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original / high` are high frequencies.
        high_freq_factor: f64,
        /// Context length of the first training.
        original: usize,
    },
    /// Phi-3: one factor per frequency, one set for short and one for long inputs.
    LongRope {
        /// Divisors up to the original length.
        short: Vec<f64>,
        /// Divisors beyond it.
        long: Vec<f64>,
        /// Context length of the first training.
        original: usize,
        /// Factor on cos and sin.
        attention_factor: f64,
    },
}

/// What the forward pass needs to know about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Family.
    pub architecture: Architecture,
    /// Vocabulary size.
    pub vocab: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Width inside the MLP.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads per layer.
    pub query_heads: usize,
    /// KV heads per layer.
    pub kv_heads: usize,
    /// Dimension of a head.
    pub head_dim: usize,
    /// Dimensions of a head that are rotated.
    pub rotary_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Epsilon of every RMSNorm.
    pub norm_eps: f64,
    /// Norms on queries and keys, per head.
    pub qk_norm: bool,
    /// Biases on the attention projections.
    pub attention_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// The output projection is the embedding.
    pub tied: bool,
    /// Most positions the model was made for.
    pub context: usize,
    /// Attention window narrower than the context, which this program, like the authors' code, does not apply.
    pub sliding_window: Option<usize>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
    /// Type the weights are stored in, where the file says so.
    pub stored_dtype: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawScaling>,
    rope_parameters: Option<RawScaling>,
    partial_rotary_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    max_position_embeddings: usize,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    eos_token_id: Option<TokenIds>,
    dtype: Option<String>,
    torch_dtype: Option<String>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
}

#[derive(Deserialize, Clone, Default)]
struct RawScaling {
    rope_type: Option<String>,
    /// The older spelling; files often hold both.
    r#type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
    attention_factor: Option<f64>,
}

/// One id or several, as configurations have it.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum TokenIds {
    One(u32),
    Many(Vec<u32>),
}

impl TokenIds {
    pub(crate) fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

impl ModelConfig {
    /// What a manifest tells of the model, computed in `dtype`.
    pub fn facts(&self, name: String, source: String, revision: Option<String>, dtype: &str) -> ModelFacts {
        ModelFacts {
            name,
            source,
            revision,
            architecture: self.architecture.as_str().to_owned(),
            layers: self.layers,
            kv_heads: self.kv_heads,
            query_heads: self.query_heads,
            head_dim: self.head_dim,
            hidden: self.hidden,
            vocab: self.vocab,
            dtype: dtype.to_owned(),
        }
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// When it is not JSON, lacks a key, or describes something this program does not run.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::Config { path: path.to_owned(), problem };
        let mut json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| problem(format!("not valid JSON ({error}); fetch it again")))?;
        // Vision-language models keep their text decoder's configuration one level down.
        let outer_tied = json.get("tie_word_embeddings").cloned();
        if let Some(inner) = json.get_mut("text_config").map(serde_json::Value::take) {
            json = inner;
            if let (Some(tied), Some(object)) = (outer_tied, json.as_object_mut()) {
                object.entry("tie_word_embeddings").or_insert(tied);
            }
        }
        let raw: RawConfig =
            serde_json::from_value(json).map_err(|error| problem(format!("not a model configuration ({error})")))?;
        raw.normalise().map_err(problem)
    }

    /// Query heads that share a KV head.
    pub fn group(&self) -> usize {
        self.query_heads / self.kv_heads
    }

    /// Bytes of one token's keys and values over all layers and heads, at `element` bytes a number.
    pub fn cache_bytes_per_token(&self, element: usize) -> u64 {
        (2 * self.layers * self.kv_heads * self.head_dim * element) as u64
    }
}

impl RawConfig {
    fn normalise(self) -> Result<ModelConfig, String> {
        let architecture = match self.model_type.as_deref() {
            Some("qwen3" | "qwen3_vl" | "qwen3_vl_text") => Architecture::Qwen3,
            Some("llama") => Architecture::Llama,
            Some("phi3") => Architecture::Phi3,
            Some(other) => {
                return Err(format!("model_type {other:?} is not supported; qwen3, llama and phi3 are"));
            }
            None => return Err("no model_type; qwen3, llama and phi3 are supported".to_owned()),
        };
        if let Some(act) = self.hidden_act.as_deref().filter(|act| !matches!(*act, "silu" | "swish")) {
            return Err(format!("hidden_act {act:?} is not supported; silu is"));
        }
        let query_heads = self.num_attention_heads;
        let kv_heads = self.num_key_value_heads.unwrap_or(query_heads);
        let sizes =
            [self.vocab_size, self.hidden_size, self.intermediate_size, self.num_hidden_layers, query_heads, kv_heads];
        if sizes.contains(&0) || !query_heads.is_multiple_of(kv_heads) {
            return Err(format!(
                "{query_heads} query heads over {kv_heads} KV heads, or another size of zero, cannot be"
            ));
        }
        if self.num_hidden_layers > usize::from(u16::MAX) || kv_heads > usize::from(u16::MAX) {
            return Err("more than 65,535 layers or heads cannot be traced".to_owned());
        }
        let head_dim = self.head_dim.filter(|&dim| dim > 0).unwrap_or(self.hidden_size / query_heads);
        let rotary_dim = (head_dim as f64 * self.partial_rotary_factor.unwrap_or(1.0)) as usize;
        if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
            return Err(format!("{rotary_dim} rotated dimensions of {head_dim} cannot be"));
        }
        let scaling = self.rope_scaling.clone().or(self.rope_parameters.clone()).unwrap_or_default();
        let phi3 = architecture == Architecture::Phi3;
        Ok(ModelConfig {
            architecture,
            vocab: self.vocab_size,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            query_heads,
            kv_heads,
            head_dim,
            rotary_dim,
            rope_theta: self.rope_theta.or(scaling.rope_theta).unwrap_or(10_000.0),
            rope_scaling: self.scaling(&scaling, rotary_dim)?,
            norm_eps: self.rms_norm_eps,
            qk_norm: architecture == Architecture::Qwen3,
            attention_bias: !phi3 && self.attention_bias.unwrap_or(false),
            mlp_bias: architecture == Architecture::Llama && self.mlp_bias.unwrap_or(false),
            tied: self.tie_word_embeddings.unwrap_or(false),
            context: self.max_position_embeddings,
            eos: self.eos_token_id.map(TokenIds::into_vec).unwrap_or_default(),
            sliding_window: self
                .sliding_window
                .filter(|&window| self.use_sliding_window != Some(false) && window < self.max_position_embeddings),
            stored_dtype: self.dtype.or(self.torch_dtype),
        })
    }

    fn scaling(&self, raw: &RawScaling, rotary_dim: usize) -> Result<RopeScaling, String> {
        let need = |value: Option<f64>, key: &str| value.ok_or(format!("rope_scaling lacks {key}"));
        match raw.rope_type.as_deref().or(raw.r#type.as_deref()).unwrap_or("default") {
            "default" | "mrope" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: need(raw.factor, "factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: need(raw.factor, "factor")?,
                low_freq_factor: need(raw.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(raw.high_freq_factor, "high_freq_factor")?,
                original: raw
                    .original_max_position_embeddings
                    .ok_or("rope_scaling lacks original_max_position_embeddings")?,
            }),
            "longrope" | "su" => self.long_rope(raw, rotary_dim),
            other => Err(format!("rope scaling {other:?} is not supported; linear, llama3, longrope and su are")),
        }
    }

    fn long_rope(&self, raw: &RawScaling, rotary_dim: usize) -> Result<RopeScaling, String> {
        let factors = |list: &Option<Vec<f64>>, key: &str| match list {
            Some(list) if list.len() == rotary_dim / 2 => Ok(list.clone()),
            Some(list) => Err(format!("{key} has {} numbers where {} are needed", list.len(), rotary_dim / 2)),
            None => Err(format!("rope_scaling lacks {key}")),
        };
        let original = self
            .original_max_position_embeddings
            .or(raw.original_max_position_embeddings)
            .unwrap_or(self.max_position_embeddings);
        let stretch = self.max_position_embeddings as f64 / original as f64;
        let attention_factor = raw.attention_factor.unwrap_or(if stretch <= 1.0 {
            1.0
        } else {
            (1.0 + stretch.ln() / (original as f64).ln()).sqrt()
        });
        Ok(RopeScaling::LongRope {
            short: factors(&raw.short_factor, "short_factor")?,
            long: factors(&raw.long_factor, "long_factor")?,
            original,
            attention_factor,
        })
    }
}
