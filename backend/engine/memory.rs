//! The memory a run will need, before any of it is taken.

use std::fmt;

use candle_core::{DType, Device};

use crate::model::attention::score_bytes;
use crate::model::config::ModelConfig;
use crate::model::decoder::MLP_ROWS;
use crate::policy::{CutRule, Evidence};

use super::device::free_memory;
use super::evidence::TILE_BYTES;

/// What a GPU's driver and its libraries take beside our tensors.
const CUDA_LIBRARIES: u64 = 1 << 30;

/// A run as its memory sees it.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The model.
    pub config: &'a ModelConfig,
    /// Bytes of the model's and the gates' weights in the type they are computed in.
    pub weights: u64,
    /// Type of keys, values and activations.
    pub dtype: DType,
    /// When the cache is cut; `None` never.
    pub rule: Option<&'a CutRule>,
    /// What must be known for a cut.
    pub evidence: Evidence,
    /// Tokens of the prompt, of the longest one in a batch.
    pub prompt: usize,
    /// Prompt tokens per pass.
    pub prefill_chunk: Option<usize>,
    /// Tokens to generate at most.
    pub generate: usize,
    /// Sequences that decode together.
    pub sequences: usize,
    /// Queries attended at once.
    pub query_block: usize,
}

/// Bytes that a run takes at its peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Weights and gates.
    pub weights: u64,
    /// Keys and values. Where heads compete for one budget, as if each got its share: padding is not foreseen.
    pub cache: u64,
    /// Activations, scores, logits, and what loading takes for a while.
    pub workspace: u64,
}

impl Forecast {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.cache).saturating_add(self.workspace)
    }

    /// Refuses a run that will not fit. A device that does not tell what is free is taken to have enough.
    ///
    /// # Errors
    /// When less is free than the run needs.
    pub fn check(self, device: &Device) -> Result<(), Shortage> {
        match free_memory(device) {
            Some(free) if self.total() > free => {
                Err(Shortage { forecast: self, free, place: if device.is_cpu() { "" } else { " on the GPU" } })
            }
            _ => Ok(()),
        }
    }
}

/// A run that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this run needs about {} of memory (weights {}, cache {}, workspace {}) and {}{place} are free; use a smaller model, --dtype bf16, a smaller --budget, or fewer tokens",
    Size(.forecast.total()), Size(.forecast.weights), Size(.forecast.cache), Size(.forecast.workspace), Size(.free.to_owned())
)]
pub struct Shortage {
    /// What is needed.
    pub forecast: Forecast,
    /// Bytes that are free.
    pub free: u64,
    place: &'static str,
}

impl Load<'_> {
    /// Bytes this load takes on `device`.
    pub fn forecast(&self, device: &Device) -> Forecast {
        let libraries = if device.is_cpu() { 0 } else { CUDA_LIBRARIES };
        let workspace = self.loading().max(self.running(device)).max(self.weighing()) + libraries;
        Forecast { weights: self.weights, cache: self.cache(), workspace }
    }

    /// Tokens in the widest pass over a prompt.
    fn pass(&self) -> usize {
        self.prefill_chunk.unwrap_or(self.prompt).min(self.prompt).max(1)
    }

    /// Keys and values: every sequence settled but one that reads its prompt, or all decoding, whichever is more; and
    /// one layer twice, while its buffers are replaced.
    fn cache(&self) -> u64 {
        let whole = self.prompt.saturating_add(self.generate);
        let bounded = self.rule.filter(|rule| rule.threshold.is_none());
        let (reading, settled) = match bounded {
            Some(rule) => {
                let limit = rule.limit().min(whole);
                let before_cut = limit.saturating_sub(1).saturating_add(self.pass());
                let reading = if self.prefill_chunk.is_some() { before_cut.min(self.prompt) } else { self.prompt };
                (reading.max(limit), limit)
            }
            // A cache that only grows makes room by eighths.
            None => (self.prompt, whole.saturating_add(whole / 8)),
        };
        let per_token = self.config.cache_bytes_per_token(self.dtype.size_in_bytes());
        let others = (self.sequences.saturating_sub(1) as u64).saturating_mul(settled as u64);
        let entries = (others.saturating_add(reading as u64)).max(others.saturating_add(settled as u64));
        let layer_twice = entries / self.config.layers.max(1) as u64;
        entries.saturating_add(layer_twice).saturating_mul(per_token)
    }

    /// The widest moment of loading: the embedding in two types, or a layer's projections before they are stacked.
    fn loading(&self) -> u64 {
        let ModelConfig { vocab, hidden, intermediate, .. } = *self.config;
        let element = self.dtype.size_in_bytes();
        ((vocab * hidden * DType::F32.size_in_bytes()).max(4 * intermediate * hidden * element)) as u64
    }

    /// What finding out about a layer's keys and queries takes at a cut; see [`weigh`](super::evidence::weigh).
    fn weighing(&self) -> u64 {
        let ModelConfig { query_heads, kv_heads, head_dim, .. } = *self.config;
        if !self.evidence.is_weighed() {
            return 0;
        }
        let entries = self.pass().max(self.rule.map_or(0, CutRule::limit));
        let keys = 3 * kv_heads * head_dim;
        let logits = 3 * query_heads * self.evidence.remembered();
        (entries.saturating_mul((keys + logits) * size_of::<f32>()) as u64).saturating_add(2 * TILE_BYTES as u64)
    }

    /// The widest moment of a pass.
    fn running(&self, device: &Device) -> u64 {
        let ModelConfig { vocab, hidden, intermediate, query_heads, kv_heads, head_dim, .. } = *self.config;
        let element = self.dtype.size_in_bytes();
        let tokens = self.pass().max(self.sequences);
        // Residual, its norm and the two sums; queries, keys and values before and after rotation; what was attended.
        let attention = 2 * (query_heads + 2 * kv_heads) * head_dim + 2 * query_heads * head_dim;
        let rows = tokens * (4 * hidden + attention) * element;
        let mlp = tokens.min(MLP_ROWS) * 4 * intermediate * element + tokens * hidden * element;
        let whole = self.prompt.saturating_add(self.generate);
        let columns = self.prompt.max(self.rule.map_or(whole, CutRule::limit)).min(whole).max(1);
        let row = query_heads.saturating_mul(columns).saturating_mul(DType::F32.size_in_bytes());
        let prompt_scores = self.query_block.min(tokens).saturating_mul(row).min(score_bytes(device).max(row));
        // Scores, their softmax, and that in the values' type.
        let scores = prompt_scores.max(self.sequences.saturating_mul(row)).saturating_mul(3);
        let logits = 6 * self.sequences * vocab * DType::F32.size_in_bytes();
        (rows + logits).saturating_add(mlp.max(scores)) as u64
    }
}

/// Bytes as people read them, in powers of ten as memory is sold.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ ..1_000_000 => write!(f, "{} kB", bytes.div_ceil(1000)),
            bytes @ ..1_000_000_000 => write!(f, "{} MB", bytes.div_ceil(1_000_000)),
            bytes => write!(f, "{:.1} GB", bytes as f64 / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::{ModelShape, gate_parameters_per_step, parameters_per_step};
    use crate::policy::PolicyKind;

    fn forecast(load: impl FnOnce(Load<'_>) -> Forecast) -> Forecast {
        let shape: ModelShape = "qwen3-4b".parse().unwrap();
        let config = shape.config();
        let weights = 2 * (parameters_per_step(&config) + gate_parameters_per_step(&shape.gate_config(), &config));
        load(Load {
            config: &config,
            weights,
            dtype: DType::BF16,
            rule: None,
            evidence: Evidence::default(),
            prompt: 32_768,
            prefill_chunk: None,
            generate: 1024,
            sequences: 4,
            query_block: 512,
        })
    }

    const TOKEN: u64 = 147_456;

    #[test]
    fn a_full_cache_holds_every_token_and_room_to_grow() {
        let full = forecast(|load| load.forecast(&Device::Cpu));
        let tokens = 4 * (32_768 + 1024) as u64;
        assert!(full.cache >= tokens * TOKEN && full.cache < tokens * TOKEN * 5 / 4, "{full:?}");
        assert_eq!(full.weights, 8_139_640_384);
    }

    #[test]
    fn a_bounded_cache_holds_one_prompt_and_budgets_for_the_rest() {
        let rule = CutRule::per_head(1024, 128);
        let bounded = forecast(|load| Load { rule: Some(&rule), ..load }.forecast(&Device::Cpu));
        let entries = 32_768 + 3 * 1152;
        assert!(bounded.cache >= entries * TOKEN && bounded.cache < entries * TOKEN * 11 / 10, "{bounded:?}");
        let chunked =
            forecast(|load| Load { rule: Some(&rule), prefill_chunk: Some(2048), ..load }.forecast(&Device::Cpu));
        let entries = 1151 + 2048 + 3 * 1152;
        assert!(chunked.cache >= entries * TOKEN && chunked.cache < entries * TOKEN * 11 / 10, "{chunked:?}");
        assert!(chunked.workspace < bounded.workspace);
    }

    #[test]
    fn policies_that_look_at_keys_need_room_for_a_layers() {
        let rule = CutRule::per_head(1024, 128);
        let shape: ModelShape = "qwen3-4b".parse().unwrap();
        let config = shape.config();
        let load = |kind: PolicyKind| Load {
            config: &config,
            weights: 0,
            dtype: DType::BF16,
            rule: Some(&rule),
            evidence: kind.scorer(0).evidence(),
            prompt: 32_768,
            prefill_chunk: None,
            generate: 1024,
            sequences: 1,
            query_block: 512,
        };
        assert_eq!(load(PolicyKind::H2o).weighing(), 0);
        let keys = 32_768 * 8 * 128 * 4;
        let needed = load(PolicyKind::RKv).weighing();
        assert!((3 * keys..6 * keys).contains(&needed), "{needed}");
    }

    #[test]
    fn no_number_of_tokens_overflows() {
        let vast = forecast(|load| Load { generate: usize::MAX, ..load }.forecast(&Device::Cpu));
        assert_eq!(vast.total(), u64::MAX);
    }

    #[test]
    fn a_shortage_says_what_is_needed_what_is_free_and_what_to_do() {
        let forecast = Forecast { weights: 8_140_000_000, cache: 650_000_000, workspace: 1_200_000_000 };
        let shortage = Shortage { forecast, free: 4_000_000_000, place: " on the GPU" };
        insta::assert_snapshot!(shortage.to_string(), @"this run needs about 10.0 GB of memory (weights 8.1 GB, cache 650 MB, workspace 1.2 GB) and 4.0 GB on the GPU are free; use a smaller model, --dtype bf16, a smaller --budget, or fewer tokens");
    }
}
