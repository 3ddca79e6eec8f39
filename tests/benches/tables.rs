//! Writing and reading traces of the paper's size.

use std::path::Path;

use trimkv_trace::cache::ledger::{Births, Ledger};
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, Policy};
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::manifest::Manifest;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::recording::Recording;
use trimkv_trace::trace::step::{Origin, Pass, Phase, Shape, TokenRecord};
use trimkv_trace::trace::write::write_recording;

use crate::{seconds, spread};

const ROUNDS: usize = 5;
pub const SHAPE: Shape = Shape { layers: 36, kv_heads: 8 };

pub fn run() {
    println!("36 layers x 8 KV heads, M = 256 + 32; median of {ROUNDS}");
    println!(
        "{:>8} {:>9} {:>9} {:>10} {:>30} {:>22}",
        "tokens", "write", "read", "size", "bytes per (layer, head, token)", "of it in lifetimes"
    );
    for tokens in [4_207, 8_192] {
        let recording = record(tokens);
        let directory = tempfile::tempdir().unwrap();
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "schema": "trimkv-trace/1", "seen": tokens,
            "model": {"layers": SHAPE.layers, "kv_heads": SHAPE.kv_heads},
            "policy": {"name": "trimkv", "scope": "head", "age_offset": 1},
        }))
        .unwrap();
        let place = |round: usize| directory.path().join(format!("trace-{round}"));
        let write = (0..ROUNDS).map(|round| seconds(|| write_recording(&place(round), &manifest, &recording).unwrap()));
        let (_, write, _) = spread(write.collect());
        let read = (0..ROUNDS).map(|round| {
            seconds(|| assert_eq!(Trace::open(&place(round)).unwrap().recording.lifetimes.seen(), tokens))
        });
        let (_, read, _) = spread(read.collect());
        let cells = f64::from(tokens) * SHAPE.heads() as f64;
        let bytes: u64 = std::fs::read_dir(place(0)).unwrap().map(|entry| size(&entry.unwrap().path())).sum();
        println!(
            "{tokens:>8} {:>7.2} s {:>7.2} s {:>6.1} MB {:>30.2} {:>22.2}",
            write,
            read,
            bytes as f64 / 1e6,
            bytes as f64 / cells,
            size(&place(0).join("lifetimes.parquet")) as f64 / cells,
        );
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// A run with gates whose log betas have as many digits as real ones.
pub fn record(tokens: u32) -> Recording {
    const PROMPT: u32 = 200;
    let policy = Policy { scorer: Box::new(Retention::default()), rule: Some(CutRule::per_head(256, 32)) };
    let mut ledger = Ledger::new(SHAPE);
    let mut recording = Recording::new(SHAPE);
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32
    };
    while ledger.seen() < tokens {
        let fed = if ledger.seen() == 0 { PROMPT } else { 1 };
        let betas = (0..SHAPE.heads() * fed as usize).map(|_| -(-9.0 * random()).exp()).collect();
        let grid = Grid::from_cells(SHAPE.heads(), fed as usize, betas).unwrap();
        ledger.append(Births { count: fed, log_beta: Some(&grid), key_norm: None });
        let cut = ledger.cut(&policy).unwrap().map(|decision| decision.cut);
        let phase = if fed > 1 { Phase::Prefill } else { Phase::Decode };
        let (tokens_seen, cached) = (ledger.seen(), ledger.cached());
        let pass = Pass { phase, fed, tokens_seen, elapsed_us: 1, cached, log_beta: Some(grid), cut, attention: None };
        recording.apply(&pass).unwrap();
    }
    for (head, position, score) in ledger.last_scores() {
        recording.lifetimes.set_last_score(head, position, score);
    }
    recording.tokens = (0..tokens)
        .map(|id| TokenRecord {
            id,
            text: Some(format!(" token{}", id % 977)),
            origin: Origin::Prompt,
            role: None,
            class: "word",
            logprob: None,
            entropy: None,
        })
        .collect();
    recording
}
