//! Attention over a bounded cache against the same written out entry by entry.

use candle_core::{DType, Device, Tensor};
use trimkv_trace::cache::bounded::SequenceCache;
use trimkv_trace::model::attention::Attend;

const KV_HEADS: usize = 3;
const GROUP: usize = 2;
const DIM: usize = 5;

/// Numbers that repeat on every machine, about -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `(heads, tokens, DIM)`.
    fn tensor(&mut self, heads: usize, tokens: usize) -> Tensor {
        let values: Vec<f32> = (0..heads * tokens * DIM).map(|_| self.next()).collect();
        Tensor::from_vec(values, (heads, tokens, DIM), &Device::Cpu).unwrap()
    }
}

/// One KV head's entries, oldest first: key and value.
type Entries = Vec<(Vec<f32>, Vec<f32>)>;

/// What query head `head` gets, and what each entry of its KV head gets from it, at the `query`-th of `tokens` new tokens.
fn attend(query: &[f32], entries: &[(Vec<f32>, Vec<f32>)], scale: f32) -> (Vec<f32>, Vec<f32>) {
    let dot = |key: &[f32]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() * scale;
    let scores: Vec<f32> = entries.iter().map(|(key, _)| dot(key).exp()).collect();
    let total: f32 = scores.iter().sum();
    let weights: Vec<f32> = scores.iter().map(|score| score / total).collect();
    let blend = |at: usize| entries.iter().zip(&weights).map(|((_, value), weight)| value[at] * weight).sum();
    ((0..DIM).map(blend).collect(), weights)
}

fn rows(tensor: &Tensor) -> Vec<Vec<Vec<f32>>> {
    tensor.to_vec3::<f32>().unwrap()
}

/// Appends `tokens` to cache and entries, attends with both, and compares.
fn check(cache: &mut SequenceCache, entries: &mut [Entries], tokens: usize, block: usize, numbers: &mut Numbers) {
    let [keys, values] = [(); 2].map(|()| numbers.tensor(KV_HEADS, tokens));
    let queries = numbers.tensor(KV_HEADS * GROUP, tokens);
    cache.layer_mut(0).append(&keys, &values).unwrap();
    for (head, (keys, values)) in rows(&keys).into_iter().zip(rows(&values)).enumerate() {
        entries[head].extend(keys.into_iter().zip(values));
    }
    let scale = 0.7;
    let layer = cache.layer(0);
    let attended = Attend { cache: layer, scale, block, record: true }.run(&queries).unwrap();
    let output = attended.output.to_vec2::<f32>().unwrap();
    let received = attended.received.unwrap();
    let mut expected_mass: Vec<Vec<f32>> = entries.iter().map(|entries| vec![0.0; entries.len()]).collect();
    for (head, queries) in rows(&queries).iter().enumerate() {
        let own = &entries[head / GROUP];
        for (place, query) in queries.iter().enumerate() {
            let visible = &own[..own.len() - tokens + place + 1];
            let (expected, weights) = attend(query, visible, scale as f32);
            let found = &output[place][head * DIM..][..DIM];
            let off = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "query head {head}, token {place} is off by {off}");
            let mass = expected_mass[head / GROUP].iter_mut();
            mass.zip(weights).for_each(|(total, weight)| *total += weight / GROUP as f32);
        }
    }
    for (head, mass) in expected_mass.iter().enumerate() {
        for (slot, expected) in mass.iter().enumerate() {
            let found = received[head][layer.column(head, slot)];
            assert!((found - expected).abs() < 1e-4, "KV head {head}, slot {slot} received {found}, not {expected}");
        }
        // What no entry uses gets nothing.
        let total: f32 = received[head].iter().sum();
        assert!((total - mass.iter().sum::<f32>()).abs() < 1e-4);
    }
}

/// Heads keep different numbers of entries, one of them none, again and again.
#[test]
fn grouped_attention_over_ragged_caches_is_attention_written_out() {
    for (block, expected) in [(1, 0), (2, 12), (128, 64)] {
        let mut numbers = Numbers(block as u64);
        let mut cache = SequenceCache::new(1, KV_HEADS, DIM, expected, DType::F32, &Device::Cpu).unwrap();
        let mut entries: Vec<Entries> = vec![Vec::new(); KV_HEADS];
        check(&mut cache, &mut entries, 9, block, &mut numbers);
        let cuts: [[Option<&[u32]>; KV_HEADS]; 4] = [
            [Some(&[0, 3, 8]), Some(&[1, 2, 4, 5, 7]), Some(&[6])],
            [None, Some(&[0, 6]), Some(&[])],
            [Some(&[0]), None, None],
            [Some(&[]), Some(&[]), Some(&[])],
        ];
        for (kept, tokens) in cuts.into_iter().zip([5, 1, 4, 70]) {
            let kept: Vec<Option<Vec<u32>>> = kept.iter().map(|slots| slots.map(<[u32]>::to_vec)).collect();
            cache.keep(&kept).unwrap();
            for (entries, kept) in entries.iter_mut().zip(&kept) {
                if let Some(slots) = kept {
                    *entries = slots.iter().map(|&slot| entries[slot as usize].clone()).collect();
                }
            }
            check(&mut cache, &mut entries, tokens, block, &mut numbers);
            check(&mut cache, &mut entries, 1, block, &mut numbers);
        }
    }
}
