//! One cut of all heads: deciding on the host, moving the tensors.

use candle_core::{DType, Device, Tensor};
use trimkv_trace::cache::bounded::SequenceCache;
use trimkv_trace::cache::ledger::{Births, Ledger};
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::survivors::survivors;
use trimkv_trace::policy::{CutRule, Policy, Scope};
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::step::Shape;

use crate::{seconds, spread};

const ROUNDS: usize = 15;
const HEAD_DIM: usize = 128;

pub fn run() {
    println!("milliseconds for one cut, median of {ROUNDS}; M + buffer entries a head before it, M after");
    println!(
        "{:24} {:>12} {:>12} {:>14} {:>16} {:>18}",
        "layers x KV heads", "M + buffer", "per head", "over all heads", "full sort (peer)", "moving K and V"
    );
    for (layers, kv_heads, budget, buffer) in [(5, 4, 32, 8), (28, 8, 256, 32), (36, 8, 1024, 128)] {
        let shape = Shape { layers, kv_heads };
        let head = CutRule::per_head(budget, buffer);
        let model = CutRule { scope: Scope::Global, ..head };
        println!(
            "{:24} {:>12} {:>12.3} {:>14.3} {:>16.3} {:>18.3}",
            format!("{layers} x {kv_heads}"),
            format!("{budget} + {buffer}"),
            1e3 * decide(shape, head),
            1e3 * decide(shape, model),
            1e3 * sort(shape, head),
            1e3 * gather(shape, head),
        );
    }
}

fn filled(shape: Shape, slots: usize) -> Ledger {
    let betas: Vec<f32> = (0..shape.heads() * slots).map(|i| -((i * 7919 % 10_007) as f32 + 1.0) / 1e5).collect();
    let grid = Grid::from_cells(shape.heads(), slots, betas).unwrap();
    let mut ledger = Ledger::new(shape);
    ledger.append(Births { count: slots as u32, log_beta: Some(&grid), key_norm: None });
    ledger
}

fn decide(shape: Shape, rule: CutRule) -> f64 {
    let ledger = filled(shape, rule.limit());
    let policy = Policy { scorer: Box::new(Retention::default()), rule: Some(rule) };
    let times = (0..ROUNDS).map(|_| {
        let mut ledger = ledger.clone();
        seconds(|| assert!(ledger.cut(&policy).unwrap().is_some()))
    });
    spread(times.collect()).1
}

/// What ranking alone would cost with a sort of every head instead of a selection.
fn sort(shape: Shape, rule: CutRule) -> f64 {
    let scores: Vec<f32> = (0..rule.limit()).map(|i| -((i * 7919 % 10_007) as f32)).collect();
    assert_eq!(survivors(&scores, rule.budget as usize).unwrap().slots.len(), rule.budget as usize);
    let times = (0..ROUNDS).map(|_| {
        seconds(|| {
            for _ in shape.iter() {
                let mut slots: Vec<usize> = (0..scores.len()).collect();
                slots.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
                slots.truncate(rule.budget as usize);
                slots.sort_unstable();
                std::hint::black_box(slots);
            }
        })
    });
    spread(times.collect()).1
}

fn gather(shape: Shape, rule: CutRule) -> f64 {
    let slots = rule.limit();
    let keys = Tensor::rand(-1f32, 1.0, (shape.kv_heads, slots, HEAD_DIM), &Device::Cpu).unwrap();
    let kept: Vec<u32> = (0..slots as u32).filter(|slot| slot % 9 != 0).take(rule.budget as usize).collect();
    let kept = vec![Some(kept); shape.heads()];
    let times = (0..ROUNDS).map(|_| {
        let Shape { layers, kv_heads } = shape;
        let mut cache = SequenceCache::new(layers, kv_heads, HEAD_DIM, slots, DType::F32, &Device::Cpu).unwrap();
        (0..layers).for_each(|layer| cache.layer_mut(layer).append(&keys, &keys).unwrap());
        seconds(|| cache.keep(&kept).unwrap())
    });
    spread(times.collect()).1
}
