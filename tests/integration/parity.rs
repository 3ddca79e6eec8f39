//! The engine against every recorded run of the authors' implementation: the same tokens, the same kept positions
//! after every pass, logits and log beta within the tolerances that the golden data states.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use candle_core::DType;
use trimkv_trace::engine::generation::{Generation, Request, Step};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::decoder::Decoder;
use trimkv_trace::model::rotary::RotaryEmbedding;

use crate::emulator::{Emulated, Emulator};
use crate::golden::{self, Case, Manifest};

const PREFILL_TOLERANCE: f32 = 3e-4;
const DECODE_TOLERANCE: f32 = 5e-4;
const LOG_BETA_TOLERANCE: f32 = 1e-4;

#[derive(Default)]
struct Largest {
    prefill: f32,
    decode: f32,
    log_beta: f32,
}

fn max_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max)
}

fn request(case: &Case) -> Request {
    Request {
        prompt: case.prompt.clone(),
        prefill_chunk: (case.prefill_chunks.len() > 1).then(|| case.prefill_chunks[0]),
        max_new_tokens: case.n_decode + 1,
        eos: vec![],
        context: 1 << 20,
        record_attention: false,
        record_logits: true,
        query_block: QUERY_BLOCK,
    }
}

/// Logits of every position a step fed, recomputed from its hidden states where it has them.
fn all_logits(model: &Decoder, step: &Step) -> Vec<Vec<f32>> {
    match &step.hidden {
        Some(hidden) => model.logits(hidden).unwrap().to_vec2::<f32>().unwrap(),
        None => vec![step.logits.clone()],
    }
}

fn check(model: &Decoder, checkpoint: &str, run: &str, case: &Case) -> Largest {
    let place = format!("{checkpoint}/{run}");
    let recorded = golden::tensors(&format!("cases/{place}.safetensors"));
    let prefill_in = match case.prefill_logits_in.as_str() {
        "self" => recorded.clone(),
        other => golden::tensors(&format!("cases/{checkpoint}/{other}.safetensors")),
    };
    let prefill = prefill_in["prefill_logits"].to_vec2::<f32>().unwrap();
    let decode = recorded["decode_logits"].to_vec2::<f32>().unwrap();
    let log_beta = recorded["log_beta"].flatten(0, 1).unwrap().to_vec2::<f32>().unwrap();
    let policy = case.mode.policy();
    let running = AtomicBool::new(false);
    let sampler = Sampler::new(Sampling::Greedy, 0);
    let mut generation = Generation::new(model, &policy, request(case), sampler, &running).unwrap();
    let mut largest = Largest::default();
    let mut expected_kept: Vec<Vec<u32>> = vec![Vec::new(); model.shape().heads()];
    let mut tokens = Vec::new();
    for pass in 0..case.seen.len() {
        let step = generation.next().unwrap().unwrap();
        assert_eq!(step.pass.tokens_seen, case.seen[pass], "{place}");
        let first = (step.pass.tokens_seen - step.pass.fed) as usize;
        let grid = step.pass.log_beta.as_ref().unwrap();
        for (head, recorded) in log_beta.iter().enumerate() {
            let expected = &recorded[first..][..step.pass.fed as usize];
            largest.log_beta = largest.log_beta.max(max_difference(grid.row(head), expected));
        }
        for (offset, logits) in all_logits(model, &step).iter().enumerate() {
            let position = first + offset;
            if position < prefill.len() {
                largest.prefill = largest.prefill.max(max_difference(logits, &prefill[position]));
            } else {
                largest.decode = largest.decode.max(max_difference(logits, &decode[position - prefill.len()]));
            }
        }
        match &case.kept[pass] {
            Some(kept) => expected_kept = kept.concat(),
            None => expected_kept.iter_mut().for_each(|kept| kept.extend(first as u32..case.seen[pass])),
        }
        for (head, expected) in model.shape().iter().zip(&expected_kept) {
            assert_eq!(generation.ledger().positions(head), expected, "{place}: {head} after pass {pass}");
        }
        tokens.extend(step.drawn.map(|drawn| drawn.id));
    }
    assert_eq!(tokens, case.tokens, "{place}");
    assert!(generation.next().is_none());
    largest
}

#[test]
fn every_recorded_run_is_reproduced_token_by_token_and_cut_by_cut() {
    assert!(reproduced(golden::model, |_| true) >= 40, "the golden data is incomplete");
}

/// By the very launches that a GPU captures; see `emulator.rs`.
#[test]
fn recorded_runs_are_reproduced_by_captured_steps() {
    if Emulator::new(DType::F32, &[]).is_some() {
        assert!(reproduced(|name| Emulated::run(golden::model(name)), |_| true) >= 40);
    }
}

/// How many recorded runs were looked at, all of which are within the stated tolerance.
fn reproduced(model: impl Fn(&str) -> Decoder, wanted: impl Fn(&str) -> bool) -> usize {
    let manifest: Manifest = golden::json("manifest.json");
    let mut models = BTreeMap::new();
    let mut failures = Vec::new();
    println!("{:32} {:>12} {:>12} {:>12}", "largest difference", "prefill", "decode", "log_beta");
    let cases: Vec<_> = manifest.cases.iter().filter(|files| wanted(&files.run)).collect();
    for files in &cases {
        let model = models.entry(files.checkpoint.clone()).or_insert_with(|| model(&files.checkpoint));
        let case: Case = golden::json(&files.json);
        assert!(case.base_model.contains(files.checkpoint.split("-rg").next().unwrap()));
        let Largest { prefill, decode, log_beta } = check(model, &files.checkpoint, &files.run, &case);
        let name = format!("{}/{}", files.checkpoint, files.run);
        println!("{name:32} {prefill:12.2e} {decode:12.2e} {log_beta:12.2e}");
        if prefill > PREFILL_TOLERANCE || decode > DECODE_TOLERANCE || log_beta > LOG_BETA_TOLERANCE {
            failures.push(name);
        }
    }
    assert!(failures.is_empty(), "outside the stated tolerance: {failures:?}");
    cases.len()
}

#[test]
fn rotary_tables_agree_with_the_recorded_ones() {
    let manifest: Manifest = golden::json("manifest.json");
    for stem in &manifest.rope {
        #[derive(serde::Deserialize)]
        struct Rope {
            arch: String,
            config: serde_json::Map<String, serde_json::Value>,
            positions: Vec<usize>,
            attention_scaling: f64,
        }
        let recorded: Rope = golden::json(&format!("{stem}.json"));
        let tables = golden::tensors(&format!("{stem}.safetensors"));
        let mut config = serde_json::json!({
            "model_type": recorded.arch, "vocab_size": 8, "hidden_size": 4096, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 131072,
        });
        config.as_object_mut().unwrap().extend(recorded.config);
        let config = trimkv_trace::model::config::ModelConfig::parse(&config.to_string(), stem.as_ref()).unwrap();
        let rope = RotaryEmbedding::new(&config);
        let last = *recorded.positions.iter().max().unwrap();
        let expected = tables["inv_freq"].to_vec1::<f32>().unwrap();
        let found = rope.inverse_frequencies(last);
        let relative = found.iter().zip(&expected).map(|(f, e)| ((f - e) / e).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && relative <= 2e-6, "{stem}: inverse frequencies are off by {relative}");
        assert!((f64::from(rope.attention_factor()) - recorded.attention_scaling).abs() < 1e-6, "{stem}");
        let (cos, sin) = (tables["cos"].to_vec2::<f32>().unwrap(), tables["sin"].to_vec2::<f32>().unwrap());
        let mut largest = 0f32;
        for (row, &position) in recorded.positions.iter().enumerate() {
            let tolerance = if position < 4096 { 1e-3 } else { 2e-2 };
            // A one-row table at `position`, with the frequencies that the largest position selects.
            let angles = found.iter().map(|frequency| position as f32 * frequency);
            for (i, angle) in angles.enumerate() {
                let factor = rope.attention_factor();
                let off = (angle.cos() * factor - cos[row][i]).abs().max((angle.sin() * factor - sin[row][i]).abs());
                assert!(off <= tolerance, "{stem}: position {position} is off by {off}");
                largest = largest.max(off);
            }
        }
        println!("{stem:28} inverse frequencies {relative:.1e} (relative), cos and sin {largest:.1e}");
    }
    assert!(manifest.rope.len() >= 5);
}
