//! Gate checkpoints in all the forms they come in.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use trimkv_trace::model::config::ModelConfig;
use trimkv_trace::model::decoder::{Decoder, Input, Want};
use trimkv_trace::model::gate::{RetentionGate, load_gates, log_sigmoid};
use trimkv_trace::model::gate_config::GateConfig;
use trimkv_trace::model::load::{Checkpoint, Wanted};
use trimkv_trace::model::weights::read_text;

use crate::golden;

const INNER: usize = 5;

fn tiny_config() -> ModelConfig {
    let path = golden::root().join("models/qwen3-tiny/config.json");
    ModelConfig::parse(&read_text(&path).unwrap(), &path).unwrap()
}

fn name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.self_attn.retention_gate.{part}")
}

/// Numbers that differ everywhere and need no seed.
fn numbers(shape: &[usize], salt: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 + salt * 101) as f32).sin() * 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A DBTrimKV checkpoint: the last projection and the bias are one tensor for all layers.
fn rg10(config: &ModelConfig, saved_once: bool) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    for layer in 0..config.layers {
        tensors.insert(name(layer, "linear1.weight"), numbers(&[INNER, config.hidden], layer * 4));
        tensors.insert(name(layer, "linear1.bias"), numbers(&[INNER], layer * 4 + 1));
        tensors.insert(name(layer, "linear2.weight"), numbers(&[INNER, INNER], layer * 4 + 2));
        tensors.insert(name(layer, "linear2.bias"), numbers(&[INNER], layer * 4 + 3));
        if layer == 0 || !saved_once {
            tensors.insert(name(layer, "linear3.weight"), numbers(&[config.kv_heads, INNER], 901));
            tensors.insert(name(layer, "bias"), numbers(&[config.kv_heads], 902));
        }
    }
    tensors
}

fn load(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Vec<RetentionGate> {
    let text = format!(r#"{{"retention_gate": "rg10", "retention_gate_intermediate_size": {INNER}}}"#);
    let path = Path::new("gates.pth");
    let gate = GateConfig::parse(&text, path).unwrap();
    load_gates(tensors, path, &gate, config, DType::F32, &Device::Cpu).unwrap()
}

fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

fn affine(x: &[f32], weight: &Tensor, bias: Option<&Tensor>) -> Vec<f32> {
    let rows = weight.to_vec2::<f32>().unwrap();
    let bias = bias.map_or(vec![0.0; rows.len()], |bias| bias.to_vec1::<f32>().unwrap());
    rows.iter().zip(bias).map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b).collect()
}

#[test]
fn the_two_layer_gate_computes_its_formula_and_shares_its_last_layer() {
    let config = tiny_config();
    let tensors = rg10(&config, true);
    let input = numbers(&[1, config.hidden], 7);
    let x = input.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (shared, own) = (load(&config, &tensors), load(&config, &rg10(&config, false)));
    for layer in 0..config.layers {
        let part = |part: &str| &tensors[&name(layer, part)];
        let inner: Vec<f32> =
            affine(&x, part("linear1.weight"), Some(part("linear1.bias"))).into_iter().map(silu).collect();
        let inner: Vec<f32> =
            affine(&inner, part("linear2.weight"), Some(part("linear2.bias"))).into_iter().map(silu).collect();
        let expected = affine(&inner, &tensors[&name(0, "linear3.weight")], Some(&tensors[&name(0, "bias")]));
        for gates in [&shared, &own] {
            let found = gates[layer].logits(&input).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 1e-5 && (log_sigmoid(*f) - log_sigmoid(*e)).abs() < 1e-5);
            }
        }
    }
}

fn first_logits(model: &Decoder) -> Vec<f32> {
    let mut cache = model.new_cache(0).unwrap();
    let outputs =
        model.forward(&mut [Input { tokens: &[3, 141, 59, 26], cache: &mut cache }], Want::default()).unwrap();
    assert!(outputs[0].log_beta.is_some());
    model.logits(&outputs[0].hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Vision-language checkpoints keep the text decoder one level down, in names and in the configuration.
#[test]
fn the_text_decoder_of_a_vision_language_model_loads() {
    let directory = tempfile::tempdir().unwrap();
    let (base, gates) = (directory.path().join("base"), directory.path().join("gates"));
    std::fs::create_dir(&base).unwrap();
    std::fs::create_dir(&gates).unwrap();
    let nested = |json: serde_json::Value| {
        let mut text = json.clone();
        text["model_type"] = "qwen3_vl_text".into();
        text["rope_scaling"] = serde_json::json!({"rope_type": "default", "mrope_section": [4, 4, 4]});
        let mut outer = serde_json::json!({"model_type": "qwen3_vl", "tie_word_embeddings": true});
        for key in ["retention_gate", "retention_gate_intermediate_size", "base_model"] {
            if let Some(value) = json.get(key) {
                outer[key] = value.clone();
            }
        }
        outer["text_config"] = text;
        outer.to_string()
    };
    std::fs::write(base.join("config.json"), nested(golden::json("models/qwen3-tiny/config.json"))).unwrap();
    std::fs::write(gates.join("config.json"), nested(golden::json("checkpoints/qwen3-rg/config.json"))).unwrap();
    let rename = |tensors: Vec<(String, Tensor)>| -> std::collections::HashMap<String, Tensor> {
        let inner = |name: String| name.replacen("model.", "model.language_model.", 1);
        tensors.into_iter().map(|(name, tensor)| (inner(name), tensor)).collect()
    };
    let weights = golden::tensors("models/qwen3-tiny/model.safetensors").into_iter().collect();
    candle_core::safetensors::save(&rename(weights), base.join("model.safetensors")).unwrap();
    let path = golden::root().join("checkpoints/qwen3-rg/trimkv_weights.pth");
    let tensors = trimkv_trace::model::pth::read(&path).unwrap().into_iter().collect();
    candle_core::safetensors::save(&rename(tensors), gates.join("trimkv_weights.safetensors")).unwrap();
    let wanted = Wanted {
        model: Some(base.display().to_string()),
        gates: Some(gates.display().to_string()),
        ..Wanted::default()
    };
    let loaded = Checkpoint::open(&wanted).unwrap().load(DType::F32, &Device::Cpu).unwrap();
    assert_eq!(first_logits(&loaded.model), first_logits(&golden::model("qwen3-rg")));
}

#[test]
fn the_embedded_model_loads_and_its_gates_differ_between_heads() {
    let loaded = Checkpoint::open(&Wanted::default()).unwrap().load(DType::F32, &Device::Cpu).unwrap();
    let mut cache = loaded.model.new_cache(0).unwrap();
    let tokens: Vec<u32> = (300..340).collect();
    let outputs = loaded.model.forward(&mut [Input { tokens: &tokens, cache: &mut cache }], Want::default()).unwrap();
    let grid = outputs[0].log_beta.as_ref().unwrap();
    assert!(grid.cells().iter().all(|beta| beta.is_finite() && *beta <= 0.0));
    let heads: std::collections::BTreeSet<String> =
        loaded.model.shape().iter().enumerate().map(|(row, _)| format!("{:?}", grid.row(row))).collect();
    assert_eq!(heads.len(), loaded.model.shape().heads(), "some heads forget alike");
}
