//! Policies that look at attention and keys: the toy of eight tokens worked out by hand, and whole runs against evidence that is
//! made in another way.

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor};
use trimkv_trace::cache::bounded::SequenceCache;
use trimkv_trace::cache::competition::{Contestant, decide};
use trimkv_trace::cache::ledger::{Births, Ledger};
use trimkv_trace::engine::evidence::weigh;
use trimkv_trace::engine::generation::{Generation, Request};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::decoder::{Decoder, Input, Want};
use trimkv_trace::policy::attention::{HeavyHitters, NewestAttention, Observed};
use trimkv_trace::policy::keys::{KeyDifference, Redundancy, SmallestNorm};
use trimkv_trace::policy::weighing::{LikenessToOthers, attention_to_all, attention_to_past, likeness_to_mean};
use trimkv_trace::policy::{CutRule, EvictionPolicy, HeadView, Policy, PolicyKind, Protect};
use trimkv_trace::trace::recording::Recording;
use trimkv_trace::trace::step::{Pass, Phase};

use crate::golden;

const KEYS: [[f32; 2]; 8] =
    [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.95, 0.05], [0.1, 1.0], [0.7, 0.7], [0.5, -0.5], [0.2, 0.3]];
/// Of query head A and of query head B, at positions 6 and 7.
const QUERIES: [[[f32; 2]; 2]; 2] = [[[1.0, 0.5], [0.5, 1.0]], [[-0.5, 1.0], [1.0, -1.0]]];
const POSITIONS: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// `(group, queries, entries)`.
fn logits() -> Vec<f32> {
    let scale = 2f32.sqrt().recip();
    QUERIES.iter().flatten().flat_map(|&query| KEYS.map(|key| scale * dot(query, key))).collect()
}

fn unit(key: [f32; 2]) -> [f32; 2] {
    let norm = dot(key, key).sqrt();
    key.map(|x| x / norm)
}

fn likeness_to_others(count: usize) -> Vec<f32> {
    let keys: Vec<[f32; 2]> = KEYS[..count].iter().map(|&key| unit(key)).collect();
    let mut likeness = LikenessToOthers::new(count);
    for (entry, &key) in keys.iter().enumerate() {
        likeness.row(entry, keys.iter().map(|&other| dot(key, other)));
    }
    likeness.means()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1.01e-4, "{found:?} is not {expected:?}");
    }
}

/// What five places go to, where `recent` of the newest are protected.
fn kept(scores: &[f32], recent: u32) -> Vec<usize> {
    let rule = CutRule { protect: Protect { sinks: 0, recent }, ..CutRule::per_head(5, 1) };
    decide(&rule, &[Contestant { positions: &POSITIONS, scores }]).unwrap().swap_remove(0).kept
}

fn view() -> HeadView<'static> {
    HeadView { positions: &POSITIONS, tokens_seen: 8, ..HeadView::default() }
}

#[test]
fn snapkv_asks_the_newest_queries_about_the_tokens_before_them() {
    let importance = attention_to_past(&logits(), 2, 8);
    assert_close(&importance[..6], &[0.1692, 0.1551, 0.1692, 0.1619, 0.1693, 0.1753]);
    assert!(importance[6..].iter().all(|value| value.is_nan()), "nothing is known of the queries' own tokens");
    let scores = Observed { queries: 2, pool: 3 }.score(&HeadView { importance: &importance, ..view() });
    assert_close(&scores[..6], &[0.1692, 0.1692, 0.1692, 0.1693, 0.1753, 0.1753]);
    assert_eq!(kept(&scores, 2), [3, 4, 5, 6, 7]);
}

#[test]
fn r_kv_weighs_importance_against_likeness() {
    let likeness = likeness_to_others(8);
    assert_close(&likeness, &[0.5076, 0.5450, 0.2488, 0.4428, 0.3099, 0.4640, 0.0580, -0.0245]);
    let importance = attention_to_past(&logits(), 2, 8);
    let observed = Observed { queries: 2, pool: 3 };
    for (lambda, expected) in [
        (0.1, [-0.1164, -0.12149, -0.0860, -0.10802, -0.09187, -0.11011]),
        (0.07, [-0.12592, -0.13118, -0.0945, -0.11726, -0.10078, -0.11962]),
    ] {
        let policy = Redundancy { lambda, observed };
        let scores = policy.score(&HeadView { importance: &importance, likeness: &likeness, ..view() });
        assert_close(&scores[..6], &expected);
        assert_eq!(kept(&scores, 2), [2, 3, 4, 6, 7]);
    }
}

#[test]
fn of_six_keys_the_last_resembles_none_that_is_not_spared() {
    assert_close(&likeness_to_others(6), &[0.4665, 0.5154, 0.3109, 0.4907, 0.2425, 0.0]);
}

#[test]
fn tova_asks_the_newest_query_alone() {
    let newest: Vec<f32> = logits().chunks(16).flat_map(|head| head[8..].to_vec()).collect();
    let importance = attention_to_all(&newest, 8);
    assert_close(&importance, &[0.1510, 0.1405, 0.1027, 0.1455, 0.1073, 0.1293, 0.1280, 0.0958]);
    let scores = NewestAttention.score(&HeadView { importance: &importance, ..view() });
    assert_eq!(kept(&scores, 0), [0, 1, 3, 5, 6], "even the newest token may go");
}

#[test]
fn h2o_keeps_what_received_most_and_the_newest() {
    // The sum over all four queries, the first pair of which cannot see token 7.
    let logits = logits();
    let mut received = vec![0.0; 8];
    for (index, row) in logits.chunks(8).enumerate() {
        let seen = if index % 2 == 0 { 7 } else { 8 };
        let weights = attention_to_all(&row[..seen], seen);
        received.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
    }
    assert_close(&received, &[0.5548, 0.5377, 0.5729, 0.5456, 0.5819, 0.5891, 0.4264, 0.1915]);
    let scores = HeavyHitters.score(&HeadView { attention: &received, ..view() });
    assert_eq!(kept(&scores, 2), [2, 4, 5, 6, 7]);
}

#[test]
fn keydiff_keeps_keys_unlike_the_mean_and_knorm_small_ones() {
    let directions: Vec<f32> = KEYS.iter().flat_map(|&key| unit(key)).collect();
    let likeness = likeness_to_mean(&directions, 2);
    let scores = KeyDifference.score(&HeadView { likeness: &likeness, ..view() });
    assert_close(&scores, &[-0.8610, -0.9119, -0.5087, -0.8865, -0.5918, -0.9685, -0.2491, -0.9008]);
    assert_eq!(kept(&scores, 0), [0, 2, 3, 4, 6]);
    let norms = KEYS.map(|key| dot(key, key).sqrt());
    let scores = SmallestNorm.score(&HeadView { key_norm: &norms, ..view() });
    assert_close(&scores, &[-1.0, -0.9055, -1.0, -0.9513, -1.005, -0.9899, -(0.5f32.sqrt()), -0.3606]);
    assert_eq!(kept(&scores, 0), [1, 3, 5, 6, 7]);
}

#[test]
fn a_cache_remembers_the_newest_queries_however_they_came() {
    let queries = Tensor::rand(0f32, 1.0, (4, 13, 3), &Device::Cpu).unwrap();
    for pieces in [vec![13], vec![2, 11], vec![9, 1, 1, 1, 1], vec![1; 13]] {
        let mut cache = SequenceCache::new(1, 2, 3, 0, DType::F32, &Device::Cpu).unwrap();
        let mut first = 0;
        for count in pieces {
            cache.layer_mut(0).remember(&queries.narrow(1, first, count).unwrap(), 8).unwrap();
            first += count;
        }
        let found = cache.layer(0).queries().unwrap().of(0).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(found, queries.narrow(1, 5, 8).unwrap().to_vec3::<f32>().unwrap());
    }
    let mut short = SequenceCache::new(1, 2, 3, 0, DType::F32, &Device::Cpu).unwrap();
    short.layer_mut(0).remember(&queries.narrow(1, 0, 3).unwrap(), 8).unwrap();
    assert_eq!(short.layer(0).queries().unwrap().of(0).unwrap().dims(), [4, 3, 3], "fewer are fewer, not filled up");
}

fn prompt(length: u32) -> Vec<u32> {
    (0..length).map(|i| (i * i * 7 + i * 31 + 11) % 290 + 3).collect()
}

/// Passes of a run whose attention is recorded, and the scores that entries had last.
fn run(model: &Decoder, policy: &Policy) -> (Vec<Pass>, Recording) {
    let request = Request {
        prompt: prompt(33),
        prefill_chunk: None,
        max_new_tokens: 23,
        eos: vec![],
        context: 1024,
        record_attention: true,
        record_logits: false,
        query_block: QUERY_BLOCK,
    };
    let running = AtomicBool::new(false);
    let mut generation = Generation::new(model, policy, request, Sampler::new(Sampling::Greedy, 0), &running).unwrap();
    let passes: Vec<Pass> = (&mut generation).map(|step| step.unwrap().pass).collect();
    let mut recording = Recording::new(model.shape());
    passes.iter().for_each(|pass| recording.apply(pass).unwrap());
    (passes, recording)
}

#[test]
fn h2o_scores_are_the_attention_that_was_recorded() {
    let model = golden::model("qwen3-rg");
    let (passes, recording) = run(&model, &PolicyKind::H2o.policy(12, 5, 0).unwrap());
    let evictions = passes.iter().flat_map(|pass| pass.cut.iter().flat_map(|cut| &cut.evictions));
    let mut seen = 0;
    for eviction in evictions {
        let received = recording.attention[model.shape().index(eviction.head)][eviction.position as usize];
        assert!((received - eviction.score).abs() < 1e-5, "{eviction:?} received {received}");
        seen += 1;
    }
    assert!(seen > 100);
}

#[test]
fn tova_scores_are_what_the_newest_query_attended_to() {
    let model = golden::model("qwen3-rg");
    let kv_heads = model.shape().kv_heads;
    let (passes, _) = run(&model, &PolicyKind::Tova.policy(12, 1, 0).unwrap());
    let mut seen = 0;
    for pass in passes.iter().filter(|pass| pass.phase == Phase::Decode) {
        let attention = pass.attention.as_ref().unwrap();
        for eviction in pass.cut.iter().flat_map(|cut| &cut.evictions) {
            let heads = &attention[usize::from(eviction.head.layer) * kv_heads..][..kv_heads];
            let of =
                |head: &Vec<(u32, f32)>| head.iter().find(|(position, _)| *position == eviction.position).unwrap().1;
            let mean = heads.iter().map(of).sum::<f32>() / kv_heads as f32;
            assert!((mean - eviction.score).abs() < 1e-5, "{eviction:?} received {mean}");
            seen += 1;
        }
    }
    assert!(seen > 50);
}

/// Evidence of a cache that was cut, against plain arithmetic in f64 on its keys and queries.
#[test]
fn what_is_found_out_for_a_cut_is_plain_arithmetic() {
    let model = golden::model("qwen3-rg");
    let shape = model.shape();
    let tokens = prompt(31);
    for kind in [PolicyKind::SnapKv, PolicyKind::RKv, PolicyKind::KeyDiff] {
        let policy = kind.policy(12, 1, 0).unwrap();
        let evidence = policy.scorer.evidence();
        let (mut cache, mut ledger) = (model.new_cache(0).unwrap(), Ledger::new(shape));
        let mut looked_at = 0;
        for piece in [&tokens[..20], &tokens[20..27], &tokens[27..]] {
            let want = Want { queries: evidence.remembered(), ..Want::default() };
            let mut input = [Input { tokens: piece, cache: &mut cache }];
            let output = model.forward(&mut input, want).unwrap().swap_remove(0);
            let births = Births { count: piece.len() as u32, log_beta: output.log_beta.as_ref(), key_norm: None };
            ledger.append(births);
            let weighed = weigh(&model, evidence, &ledger, 0, |layer| cache.layer(layer)).unwrap();
            for (head, weighed) in shape.iter().zip(&weighed) {
                let layer = cache.layer(usize::from(head.layer));
                let rows = |tensor: &Tensor, index: usize| -> Vec<Vec<f64>> {
                    tensor.get(index).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
                };
                let (keys, _) = layer.view(layer.columns()).unwrap();
                let keys = rows(&keys, usize::from(head.head));
                assert_eq!(keys.len(), ledger.positions(head).len(), "one head's budget each: no unused columns");
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                let near = |found: &[f32], expected: &[f64]| {
                    let off = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs()).fold(0.0, f64::max);
                    assert!(off < 1e-5, "{kind}, {head}: off by {off}");
                };
                if let Some(queries) = layer.queries() {
                    let queries = queries.of(0).unwrap();
                    let group = model.config().query_heads / shape.kv_heads;
                    let heads: Vec<_> =
                        (0..group).map(|index| rows(&queries, usize::from(head.head) * group + index)).collect();
                    let count = heads[0].len();
                    let past = keys.len() - count;
                    let mut expected = vec![0.0; past];
                    for query in 0..count {
                        let logit = |key: &Vec<f64>| {
                            heads.iter().map(|head| model.scale() * dot(&head[query], key)).fold(f64::MIN, f64::max)
                        };
                        let weights: Vec<f64> = keys[..past].iter().map(|key| logit(key).exp()).collect();
                        let total: f64 = weights.iter().sum();
                        expected.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w / total / count as f64);
                    }
                    near(&weighed.importance[..past], &expected);
                }
                let unit: Vec<Vec<f64>> =
                    keys.iter().map(|key| key.iter().map(|x| x / dot(key, key).sqrt()).collect()).collect();
                let expected: Vec<f64> = match kind {
                    PolicyKind::SnapKv => continue,
                    PolicyKind::KeyDiff => {
                        let mean: Vec<f64> = (0..unit[0].len()).map(|i| unit.iter().map(|key| key[i]).sum()).collect();
                        keys.iter().map(|key| cosine(key, &mean)).collect()
                    }
                    _ => {
                        let row = |(i, key): (usize, &Vec<f64>)| {
                            let mut row: Vec<f64> = keys.iter().map(|other| cosine(key, other)).collect();
                            row[i] = 0.0;
                            if let Some(last) = row.iter().rposition(|&cosine| cosine > 0.5) {
                                row[last] = 0.0;
                            }
                            row
                        };
                        let table: Vec<Vec<f64>> = keys.iter().enumerate().map(row).collect();
                        let mean = |j: usize| table.iter().map(|row| row[j]).sum::<f64>() / keys.len() as f64;
                        (0..keys.len()).map(mean).collect()
                    }
                };
                near(&weighed.likeness, &expected);
                looked_at += 1;
            }
            if let Some(decision) = ledger.cut_weighed(&policy, &weighed).unwrap() {
                cache.keep(&decision.kept).unwrap();
            }
        }
        assert!(kind == PolicyKind::SnapKv || looked_at == 3 * shape.heads());
    }
}
