//! The ledger alone against the authors' caches on synthetic tensors.

use candle_core::{DType, Tensor};
use serde::Deserialize;
use trimkv_trace::cache::ledger::{Births, Ledger};
use trimkv_trace::policy::survivors::survivors;
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::step::Shape;

use crate::golden::{self, Manifest, Mode};

#[derive(Deserialize)]
struct UnitCase {
    tensors: String,
    cache: String,
    #[serde(default)]
    sliding_window_size: u32,
    compress: Compress,
    steps: Vec<UnitStep>,
}

#[derive(Deserialize)]
struct Compress {
    strategy: String,
    memory_size: u32,
    buffer_size: u32,
    #[serde(default)]
    floor_budget_ratio: f64,
    #[serde(default)]
    alpha_threshold: f64,
    #[serde(default)]
    skip_layers: usize,
}

#[derive(Deserialize)]
struct UnitStep {
    n_new: usize,
    seen: usize,
    /// `[layer][batch][head]`
    kept: Vec<Vec<Vec<Vec<u32>>>>,
}

fn grid(tensor: &Tensor, row: usize, layers: &std::ops::Range<usize>, first: usize, count: usize) -> Grid<f32> {
    let part = tensor.narrow(0, layers.start, layers.len()).unwrap();
    let part = part.narrow(1, row, 1).unwrap().narrow(3, first, count).unwrap();
    let cells = part.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    Grid::from_cells(layers.len() * tensor.dim(2).unwrap(), count, cells).unwrap()
}

#[test]
fn the_ledger_keeps_what_the_authors_caches_keep() {
    let manifest: Manifest = golden::json("manifest.json");
    for stem in &manifest.cache_unit {
        let case: UnitCase = golden::json(&format!("{stem}.json"));
        let tensors = golden::tensors(&case.tensors);
        let (log_beta, key) = (&tensors["log_beta"], &tensors["key"]);
        let key_norm = key.sqr().unwrap().sum(4).unwrap().sqrt().unwrap();
        let (layers, batch, kv_heads, _) = log_beta.dims4().unwrap();
        // Layers that the reference skips are never cut, which is the same as leaving them out.
        let cut_layers = case.compress.skip_layers..layers;
        let mode = Mode {
            cache: case.cache.clone(),
            compress_memory: true,
            compress_strategy: case.compress.strategy.clone(),
            memory_size: case.compress.memory_size,
            buffer_size: case.compress.buffer_size,
            floor_budget_ratio: case.compress.floor_budget_ratio,
            alpha_threshold: case.compress.alpha_threshold,
            sliding_window_size: case.sliding_window_size,
        };
        let policy = mode.policy();
        let shape = Shape { layers: cut_layers.len(), kv_heads };
        for row in 0..batch {
            let mut ledger = Ledger::new(shape);
            for step in &case.steps {
                let first = step.seen - step.n_new;
                let betas = grid(log_beta, row, &cut_layers, first, step.n_new);
                let norms = grid(&key_norm, row, &cut_layers, first, step.n_new);
                let count = step.n_new as u32;
                ledger.append(Births { count, log_beta: Some(&betas), key_norm: Some(&norms) });
                ledger.cut(&policy).unwrap();
                for head in shape.iter() {
                    let layer = usize::from(head.layer) + case.compress.skip_layers;
                    let expected = &step.kept[layer][row][usize::from(head.head)];
                    assert_eq!(ledger.positions(head), expected, "{stem}: batch {row}, {head} at {}", step.seen);
                }
            }
        }
    }
    assert!(manifest.cache_unit.len() >= 15);
}

#[test]
fn policies_that_must_differ_keep_different_tokens() {
    use trimkv_trace::policy::random::Random;
    use trimkv_trace::policy::recency::Recency;
    use trimkv_trace::policy::retention::Retention;
    use trimkv_trace::policy::{EvictionPolicy, HeadView, Protect};
    let positions: Vec<u32> = (0..40).collect();
    let log_beta: Vec<f32> = positions.iter().map(|&p| -0.05 - ((p * 7) % 11) as f32 / 10.0).collect();
    let key_norm: Vec<f32> = positions.iter().map(|&p| 1.0 + ((p * 5) % 13) as f32).collect();
    let head = trimkv_trace::trace::step::KvHead { layer: 1, head: 0 };
    let view = HeadView {
        head,
        positions: &positions,
        log_beta: &log_beta,
        key_norm: &key_norm,
        tokens_seen: 40,
        ..HeadView::default()
    };
    let kept = |policy: &dyn EvictionPolicy, sinks: u32| {
        let contested = Protect { sinks, recent: 0 }.contested(&positions);
        let best = survivors(&policy.score(&view)[contested.clone()], 10 - contested.start).unwrap();
        let mut kept: Vec<usize> = (0..contested.start).collect();
        kept.extend(best.slots.iter().map(|slot| slot + contested.start));
        kept
    };
    let sets = [
        kept(&Retention::default(), 0),
        kept(&Retention { key_norm: true, ..Retention::default() }, 0),
        kept(&Retention { look_ahead: 8, ..Retention::default() }, 0),
        kept(&Recency::window(), 0),
        kept(&Recency::streaming_llm(), 4),
        kept(&Random { seed: 1 }, 0),
    ];
    let distinct: std::collections::BTreeSet<_> = sets.iter().collect();
    assert_eq!(distinct.len(), sets.len(), "{sets:?}");
}
