//! The gradient of the whole loss by every kind of parameter, against differences in f64.

use candle_core::{DType, Device};
use trimkv_trace::model::config::ModelConfig;
use trimkv_trace::model::decoder::Decoder;
use trimkv_trace::model::gate::parameter_specs;
use trimkv_trace::model::gate_config::{GateConfig, GateKind};
use trimkv_trace::model::weights::{Weights as ModelWeights, read_text};
use trimkv_trace::training::capacity::{Capacity, CapacityScope, Normalisation};
use trimkv_trace::training::gates::{TrainableGates, initial};
use trimkv_trace::training::objective::Weights;
use trimkv_trace::training::student::{Lesson, Outcome, Student};

use crate::golden;

/// More than one block of queries, so that the blocks' seams are crossed.
const TOKENS: usize = 70;
const WEIGHTS: Weights = Weights { kl: 0.7, ntp: 0.4, capacity: 1.3 };

pub fn model(name: &str, dtype: DType) -> Decoder {
    let directory = golden::root().join("models").join(name);
    let path = directory.join("config.json");
    let config = ModelConfig::parse(&read_text(&path).unwrap(), &path).unwrap();
    let weights = ModelWeights::open(&directory).unwrap();
    Decoder::load(config, &weights, None, dtype, &Device::Cpu).unwrap()
}

pub fn gate_config(kind: GateKind) -> GateConfig {
    GateConfig { kind, intermediate: 6, base_model: None, memory_size: None, buffer_size: None }
}

/// Gates whose heads forget at different rates: the bias alone would make them all alike.
pub fn gates(model: &Decoder, kind: GateKind, bias: f64, dtype: DType) -> TrainableGates {
    let config = gate_config(kind);
    let specs = parameter_specs(&config, model.config());
    let mut tensors = initial(&specs, bias, 3);
    for (place, spec) in specs.iter().filter(|spec| !spec.names[0].ends_with("retention_gate.bias")).enumerate() {
        let spread = (&tensors[&spec.names[0]] * 15.0).unwrap();
        let spread = (spread + 0.01 * place as f64).unwrap();
        spec.names.iter().for_each(|name| drop(tensors.insert(name.clone(), spread.clone())));
    }
    TrainableGates::new(&tensors, "test".as_ref(), &config, model.config(), dtype, &Device::Cpu).unwrap()
}

pub fn tokens(count: usize, vocab: usize) -> Vec<u32> {
    (0..count).map(|place| ((place * 7919 + 13) % vocab) as u32).collect()
}

/// Every second position counts.
pub fn targets(tokens: &[u32]) -> Vec<(u32, u32)> {
    (0..tokens.len() - 1).step_by(2).map(|place| (place as u32, tokens[place + 1])).collect()
}

fn learn(model: &Decoder, gates: &TrainableGates, capacity: Capacity) -> Outcome {
    let tokens = tokens(TOKENS, model.config().vocab);
    let targets = targets(&tokens);
    let lesson = Lesson { tokens: &tokens, targets: &targets, step_positions: targets.len(), step_documents: 1 };
    Student { model, gates, weights: WEIGHTS, capacity }.learn(&lesson).unwrap()
}

fn total(outcome: &Outcome) -> f64 {
    let positions = targets(&tokens(TOKENS, 10)).len() as f64;
    let quality = WEIGHTS.kl * outcome.quality.kl + WEIGHTS.ntp * outcome.quality.ntp;
    quality / positions + WEIGHTS.capacity * outcome.capacity
}

/// Largest difference between gradient and difference quotient, as a share of the parameter's largest gradient.
fn worst(model: &Decoder, kind: GateKind, capacity: Capacity) -> f64 {
    let gates = gates(model, kind, 2.0, DType::F64);
    let outcome = learn(model, &gates, capacity);
    let start = gates.values::<f64>().unwrap();
    let mut worst = 0.0f64;
    for (at, spec) in gates.specs().iter().enumerate() {
        let gradient = outcome.gradients[at].as_ref().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let most = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        assert!(most > 0.0, "{} has no gradient", spec.names[0]);
        // The largest element, and one of the middle.
        let peak = gradient.iter().position(|g| g.abs() == most).unwrap();
        for element in [peak, gradient.len() / 2] {
            let by = |amount: f64| {
                let mut moved = start.clone();
                moved[at][element] += amount;
                gates.set(&moved).unwrap();
                total(&learn(model, &gates, capacity))
            };
            let difference = (by(1e-5) - by(-1e-5)) / 2e-5;
            worst = worst.max((gradient[element] - difference).abs() / most);
        }
    }
    worst
}

#[test]
fn gradients_are_differences_for_every_gate_family_and_capacity() {
    let capacity = |normalisation, scope| Capacity { normalisation, scope, budget: 3.0 };
    let cases = [
        ("qwen3-tiny", GateKind::Rg, capacity(Normalisation::Authors, CapacityScope::Head)),
        ("qwen3-tiny", GateKind::Rg2, capacity(Normalisation::Paper, CapacityScope::Head)),
        ("qwen3-tiny", GateKind::Rg10, capacity(Normalisation::Authors, CapacityScope::Global)),
        ("llama-bias-tiny", GateKind::Rg3, capacity(Normalisation::Tokens, CapacityScope::Head)),
        ("phi3-long-tiny", GateKind::Rg, capacity(Normalisation::Tokens, CapacityScope::Global)),
    ];
    for (name, kind, capacity) in cases {
        let worst = worst(&model(name, DType::F64), kind, capacity);
        println!("{name} {kind:?} {capacity:?}: {worst:.1e}");
        assert!(worst < 1e-6, "{name} {kind:?} {capacity:?}: gradients are off by {worst:e} of the largest");
    }
}
