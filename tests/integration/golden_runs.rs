//! The authors' recorded runs through the program itself: what its files say must be what was recorded.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use trimkv_trace::trace::manifest::Status;
use trimkv_trace::trace::read::Trace;

use crate::golden::{self, Case};
use crate::run::{Folder, arg};

const PREFILL_TOLERANCE: f32 = 3e-4;
const DECODE_TOLERANCE: f32 = 5e-4;
const LOG_BETA_TOLERANCE: f32 = 1e-4;

/// The flags that give a case's settings.
fn flags(case: &Case) -> Vec<String> {
    let mode = &case.mode;
    let mut flags: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([format!("--{name}"), value]);
    if mode.compress_strategy.ends_with("_threshold") {
        flag("threshold", mode.alpha_threshold.to_string());
    } else {
        flag("budget", mode.memory_size.to_string());
        flag("buffer", mode.buffer_size.to_string());
    }
    flag("policy", if mode.compress_strategy.contains("knorm") { "trimkv-knorm" } else { "trimkv" }.to_owned());
    match (mode.cache == "DynamicBudgetTrimKVCache", mode.compress_strategy.starts_with("layer_wise")) {
        (false, _) => flag("scope", "head".to_owned()),
        (true, true) => flag("scope", "layer".to_owned()),
        (true, false) => flag("scope", "global".to_owned()),
    }
    if mode.floor_budget_ratio > 0.0 {
        flag("floor", mode.floor_budget_ratio.to_string());
        flag("floor-counting", "authors".to_owned());
    }
    if mode.sliding_window_size > 0 {
        flag("recent", mode.sliding_window_size.to_string());
    }
    if case.prefill_chunks.len() > 1 {
        flag("prefill-chunk", case.prefill_chunks[0].to_string());
    }
    flag("max-new-tokens", (case.n_decode + 1).to_string());
    flags
}

/// Runs a case into `trace`, with the model and gates that `place` names.
fn run(folder: &Folder, case: &Case, place: &[&str]) {
    folder.write_ids("ids.json", &case.prompt);
    let flags = flags(case);
    let mut args = vec!["--prompt-ids", "ids.json", "--raw", "--ignore-eos", "--greedy", "--record", "logits"];
    args.extend(["--out", "trace"]);
    args.extend(place);
    args.extend(flags.iter().map(String::as_str));
    let said = folder.run(&args).done();
    // Without a tokenizer the ids themselves are the result.
    let ids: Vec<String> = case.tokens.iter().map(u32::to_string).collect();
    assert_eq!(said.stdout.trim_end(), ids.join(" "));
}

fn check(trace: &Trace, case: &Case, checkpoint: &str, name: &str) {
    let recorded = golden::tensors(&format!("cases/{checkpoint}/{name}.safetensors"));
    let Trace { manifest, recording, path } = trace;
    let lives = &recording.lifetimes;
    assert_eq!(manifest.status, Status::Complete);
    assert_eq!(manifest.generated.stop.as_deref(), Some("length"));
    let ids: Vec<u32> = recording.tokens.iter().map(|token| token.id).collect();
    assert_eq!(ids, [case.prompt.as_slice(), &case.tokens].concat());
    assert_eq!(recording.steps.iter().map(|step| step.tokens_seen).collect::<Vec<_>>(), case.seen);

    let mut kept: Vec<Vec<u32>> = vec![Vec::new(); lives.shape().heads()];
    for (pass, &seen) in case.seen.iter().enumerate() {
        let first = if pass == 0 { 0 } else { case.seen[pass - 1] };
        match &case.kept[pass] {
            Some(recorded) => kept = recorded.concat(),
            None => kept.iter_mut().for_each(|kept| kept.extend(first..seen)),
        }
        for (head, expected) in lives.shape().iter().zip(&kept) {
            assert_eq!(&lives.cached_after(head, seen), expected, "{checkpoint}/{name}: {head} after {seen} tokens");
        }
    }

    let log_beta = recorded["log_beta"].flatten(0, 1).unwrap().to_vec2::<f32>().unwrap();
    let largest_of = |largest: f32, pair: (&f32, &f32)| largest.max((pair.0 - pair.1).abs());
    let mut off = 0.0;
    for (head, expected) in lives.shape().iter().zip(&log_beta) {
        assert_eq!(lives.log_beta(head).len(), expected.len());
        off = lives.log_beta(head).iter().zip(expected).fold(off, largest_of);
    }
    let (prefill, decode) = logits_off(path, &recorded, case, checkpoint);
    println!("{checkpoint}/{name}: prefill {prefill:.1e}, decode {decode:.1e}, log_beta {off:.1e}");
    assert!(prefill <= PREFILL_TOLERANCE && decode <= DECODE_TOLERANCE && off <= LOG_BETA_TOLERANCE);
}

/// Largest differences of the recorded logits, rows matched by the number of tokens seen before them.
fn logits_off(path: &Path, recorded: &HashMap<String, Tensor>, case: &Case, checkpoint: &str) -> (f32, f32) {
    let file = candle_core::safetensors::load(path.join("logits.safetensors"), &Device::Cpu).unwrap();
    let rows = file["logits"].to_vec2::<f32>().unwrap();
    let seen = file["tokens_seen"].to_vec1::<u32>().unwrap();
    let all: Vec<u32> = (1..=*case.seen.last().unwrap()).collect();
    assert_eq!(seen, all, "a row for every position");
    let full = match case.prefill_logits_in.as_str() {
        "self" => recorded.clone(),
        other => golden::tensors(&format!("cases/{checkpoint}/{other}.safetensors")),
    };
    let prefill = full["prefill_logits"].to_vec2::<f32>().unwrap();
    let decode = recorded["decode_logits"].to_vec2::<f32>().unwrap();
    assert_eq!(rows.len(), prefill.len() + decode.len());
    let off = |rows: &[Vec<f32>], expected: &[Vec<f32>]| {
        rows.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let (before, after) = rows.split_at(prefill.len());
    (off(before, &prefill), off(after, &decode))
}

#[test]
fn recorded_runs_come_out_of_the_files_as_they_went_in() {
    for (checkpoint, name) in [
        ("qwen3-rg", "alpha"),
        ("qwen3-rg", "alpha_chunked"),
        ("qwen3-rg", "alpha_window4"),
        ("qwen3-rg", "knorm_alpha"),
        ("qwen3-rg", "dyn_alpha"),
        ("qwen3-rg", "dyn_layerwise_alpha"),
        ("qwen3-rg", "dyn_alpha_floor50"),
        ("qwen3-rg", "dyn_alpha_threshold"),
        ("qwen3-rg3", "alpha"),
        ("phi3-rg", "dyn_alpha"),
        ("phi3-long-rg", "alpha_cross"),
        ("llama-rg", "alpha"),
    ] {
        let case: Case = golden::json(&format!("cases/{checkpoint}/{name}.json"));
        let folder = Folder::new();
        let [base, gates] = [format!("models/{}", case.base_model), format!("checkpoints/{checkpoint}")]
            .map(|p| golden::root().join(p));
        run(&folder, &case, &["--model", arg(&base), "--gates", arg(&gates)]);
        check(&folder.trace("trace"), &case, checkpoint, name);
    }
}

/// The checkpoint names its base; a checkpoint given as the model brings its gates along.
#[test]
fn a_gate_checkpoint_alone_finds_its_base() {
    let case: Case = golden::json("cases/qwen3-rg/alpha.json");
    let gates = golden::root().join("checkpoints/qwen3-rg");
    for place in [["--gates", arg(&gates)], ["--model", arg(&gates)]] {
        let folder = Folder::new();
        run(&folder, &case, &place);
        let trace = folder.trace("trace");
        check(&trace, &case, "qwen3-rg", "alpha");
        assert_eq!(trace.manifest.model.name, "qwen3-tiny");
        let source = trace.manifest.gates.unwrap();
        assert_eq!((source.kind.as_str(), source.source.as_str()), ("rg", arg(&gates)));
        assert_eq!(source.sha256.len(), 64);
    }
}

/// `base_model` is relative to a folder above the checkpoint, wherever the program is started.
#[test]
fn a_base_is_found_from_within_the_checkpoints_folder() {
    let folder = Folder::new();
    folder.copy(&golden::root().join("models/qwen3-tiny"), "root/models/qwen3-tiny");
    folder.copy(&golden::root().join("checkpoints/qwen3-rg"), "root/checkpoints/qwen3-rg");
    folder.write_ids("root/checkpoints/ids.json", &[1, 2, 3]);
    let args = ["--prompt-ids", "ids.json", "--raw", "--gates", "qwen3-rg", "--max-new-tokens", "2", "--out", "trace"];
    let said = folder.command(&args).current_dir(folder.path("root/checkpoints")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
