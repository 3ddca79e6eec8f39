//! Reads the recorded outputs of the authors' reference implementation (`tests/fixtures/golden`).

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use trimkv_trace::model::config::ModelConfig;
use trimkv_trace::model::decoder::Decoder;
use trimkv_trace::model::gate::load_gates;
use trimkv_trace::model::gate_config::GateConfig;
use trimkv_trace::model::pth;
use trimkv_trace::model::weights::{Weights, read_text};
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, FloorCounting, Policy, Protect, Scope};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden")
}

pub fn json<T: for<'a> Deserialize<'a>>(path: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

#[derive(Deserialize)]
pub struct Manifest {
    pub cases: Vec<CaseFiles>,
    pub rope: Vec<String>,
    pub cache_unit: Vec<String>,
}

#[derive(Deserialize)]
pub struct CaseFiles {
    pub checkpoint: String,
    pub run: String,
    pub json: String,
}

#[derive(Deserialize, Clone)]
pub struct Mode {
    pub cache: String,
    pub compress_memory: bool,
    pub compress_strategy: String,
    pub memory_size: u32,
    pub buffer_size: u32,
    pub floor_budget_ratio: f64,
    pub alpha_threshold: f64,
    pub sliding_window_size: u32,
}

#[derive(Deserialize)]
pub struct Case {
    pub base_model: String,
    pub mode: Mode,
    pub prompt: Vec<u32>,
    pub prefill_chunks: Vec<usize>,
    pub n_decode: usize,
    pub tokens: Vec<u32>,
    pub seen: Vec<u32>,
    pub kept: Vec<Option<Vec<Vec<Vec<u32>>>>>,
    pub prefill_logits_in: String,
}

impl Mode {
    /// The policy that reproduces the reference in this mode, its counting quirk included.
    pub fn policy(&self) -> Policy {
        if !self.compress_memory {
            return Policy::full();
        }
        let dynamic = self.cache == "DynamicBudgetTrimKVCache";
        let threshold = self.compress_strategy.ends_with("_threshold").then_some(self.alpha_threshold);
        let scope = match (dynamic, self.compress_strategy.starts_with("layer_wise")) {
            (false, _) => Scope::Head,
            (true, true) => Scope::Layer,
            (true, false) => Scope::Global,
        };
        let rule = CutRule {
            scope,
            floor: self.floor_budget_ratio,
            floor_counting: FloorCounting::Authors,
            threshold,
            protect: Protect { sinks: 0, recent: if dynamic { 0 } else { self.sliding_window_size } },
            ..CutRule::per_head(self.memory_size, self.buffer_size)
        };
        let key_norm = self.compress_strategy.contains("knorm");
        Policy { scorer: Box::new(Retention { key_norm, ..Retention::default() }), rule: Some(rule) }
    }
}

pub fn tensors(path: &str) -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(root().join(path), &Device::Cpu).unwrap()
}

/// A golden checkpoint's model in f32 on the CPU.
pub fn model(checkpoint: &str) -> Decoder {
    model_in(checkpoint, DType::F32)
}

/// A golden checkpoint's model in a number type on the CPU.
pub fn model_in(checkpoint: &str, dtype: DType) -> Decoder {
    let directory = root().join("checkpoints").join(checkpoint);
    let text = read_text(&directory.join("config.json")).unwrap();
    let gate = GateConfig::parse(&text, &directory).unwrap();
    let base = root().join(gate.base_model.as_deref().unwrap());
    let config = ModelConfig::parse(&read_text(&base.join("config.json")).unwrap(), &base).unwrap();
    let path = directory.join("trimkv_weights.pth");
    let gates = load_gates(&pth::read(&path).unwrap(), &path, &gate, &config, dtype, &Device::Cpu).unwrap();
    let weights = Weights::open(&base).unwrap();
    Decoder::load(config, &weights, Some((gate.kind, gates)), dtype, &Device::Cpu).unwrap()
}
