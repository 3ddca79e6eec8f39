//! Kernels in both their forms, the host's and the GPU's, against plain arithmetic in f64. The GPU's source is compiled
//! for the CPU and run there, thread by thread, so this holds its logic, not its speed.

use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trimkv_trace::cache::competition::{Contestant, decide};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::captured::{Launch, address};
use trimkv_trace::model::kernels::{AttendOne, HeadLayout, arrange_heads, attend_one, gate_tail, swiglu};
use trimkv_trace::policy::{CutRule, Protect};
use trimkv_trace::trace::scores::retained;

use crate::emulator::Emulator;

/// Number types, with what one rounding may cost.
const TYPES: [(DType, f64); 3] = [(DType::F32, 2e-6), (DType::BF16, 4.5e-3), (DType::F16, 6e-4)];

/// Random numbers of a type, and the same in f64.
struct Numbers {
    tensor: Tensor,
    exact: Vec<f64>,
}

fn numbers(random: &mut ChaCha8Rng, dtype: DType, shape: &[usize]) -> Numbers {
    let count = shape.iter().product();
    let cells: Vec<f32> = (0..count).map(|_| random.random_range(-2.0..2.0)).collect();
    let tensor = Tensor::from_vec(cells, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let exact = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    Numbers { tensor, exact }
}

fn cells(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference, over the size of what is expected where that is above one.
fn off(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let each = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    each.fold(0.0, larger)
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Room for a kernel's result.
fn room(dtype: DType, count: usize) -> Tensor {
    Tensor::zeros(count, dtype, &Device::Cpu).unwrap()
}

/// Addresses of tensors, in order; `None` is null.
fn at<const COUNT: usize>(tensors: [Option<&Tensor>; COUNT]) -> [u64; COUNT] {
    tensors.map(|tensor| tensor.map_or(0, |tensor| address(tensor).unwrap()))
}

fn counts(numbers: &[usize]) -> Tensor {
    Tensor::new(numbers.iter().map(|&number| number as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

/// By how much a kernel's two forms are off at most.
#[derive(Default)]
struct Worst {
    host: f64,
    gpu: Option<f64>,
}

impl Worst {
    /// Takes in one comparison with the exact result.
    fn see(&mut self, exact: &[f64], host: &Tensor, gpu: Option<Vec<f64>>) {
        self.host = larger(self.host, off(&cells(host), exact));
        if let Some(gpu) = gpu {
            self.gpu = Some(larger(self.gpu.unwrap_or_default(), off(&gpu, exact)));
        }
    }

    /// Prints what was seen and holds it to what one rounding may cost.
    fn hold(self, what: &str, (dtype, allowed): (DType, f64)) {
        let gpu = self.gpu.map_or_else(|| "not looked at".to_owned(), |gpu| format!("{gpu:.1e}"));
        println!("{what} in {dtype:?}: largest difference of the host's form {:.1e}, of the GPU's {gpu}", self.host);
        assert!(self.host <= allowed && self.gpu.is_none_or(|gpu| gpu <= allowed), "{what} in {dtype:?}");
    }
}

/// The larger of two; not a number is larger than any.
fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

#[test]
fn swiglu_is_the_product_of_a_gate_and_its_input() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (dtype, allowed) in TYPES {
        let mut worst = Worst::default();
        let emulator = Emulator::new(dtype, &[]);
        for (tokens, width) in [(1, 1), (3, 37), (2, 300)] {
            let inner = numbers(&mut random, dtype, &[tokens, 2 * width]);
            let rows = inner.exact.chunks(2 * width);
            let exact: Vec<f64> = rows.flat_map(|row| (0..width).map(|i| silu(row[i]) * row[width + i])).collect();
            let count = tokens * width;
            let gpu = emulator.as_ref().map(|emulator| {
                let made = room(dtype, count);
                let launch = Launch::new("swiglu", [count.div_ceil(256), 1], 256);
                emulator.launch(&launch.at(&at([Some(&inner.tensor), None, Some(&made)])).sizes(&[width, count]));
                cells(&made)
            });
            worst.see(&exact, &swiglu(&inner.tensor).unwrap(), gpu);
        }
        worst.hold("swiglu", (dtype, allowed));
    }
}

#[test]
fn heads_are_split_normalised_and_rotated() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for (dtype, allowed) in TYPES {
        let mut worst = Worst::default();
        let emulator = Emulator::new(dtype, &[]);
        // Widths below and beyond a warp; a part of a head rotated; with and without norms.
        for (tokens, query_heads, kv_heads, dim, half, normed) in
            [(1, 4, 2, 8, 4, true), (3, 2, 1, 40, 20, true), (2, 3, 3, 64, 16, false), (5, 4, 2, 96, 48, true)]
        {
            let layout = HeadLayout { query_heads, kv_heads, head_dim: dim, norm_eps: 1e-6 };
            let heads = query_heads + 2 * kv_heads;
            let qkv = numbers(&mut random, dtype, &[tokens, heads * dim]);
            let (cos, sin) =
                (numbers(&mut random, dtype, &[tokens, half]), numbers(&mut random, dtype, &[tokens, half]));
            let norms = numbers(&mut random, dtype, &[2, dim]);
            let mut exact = Vec::new();
            for head in 0..heads {
                for token in 0..tokens {
                    let mut row = qkv.exact[(token * heads + head) * dim..][..dim].to_vec();
                    if head < query_heads + kv_heads {
                        if normed {
                            let mean = row.iter().map(|x| x * x).sum::<f64>() / dim as f64;
                            let weights = &norms.exact[if head < query_heads { 0 } else { dim }..][..dim];
                            row.iter_mut().zip(weights).for_each(|(x, w)| *x *= w / (mean + 1e-6).sqrt());
                        }
                        for i in 0..half {
                            let (c, s) = (cos.exact[token * half + i], sin.exact[token * half + i]);
                            let (a, b) = (row[i], row[half + i]);
                            (row[i], row[half + i]) = (a * c - b * s, b * c + a * s);
                        }
                    }
                    exact.extend(row);
                }
            }
            let weights = normed.then_some(&norms.tensor);
            let host = arrange_heads(layout, &qkv.tensor, &cos.tensor, &sin.tensor, weights).unwrap();
            let gpu = emulator.as_ref().map(|emulator| {
                let made = room(dtype, exact.len());
                let launch = Launch::new("arrange_heads", [(tokens * heads).div_ceil(4), 1], 128)
                    .at(&at([Some(&qkv.tensor), Some(&cos.tensor), Some(&sin.tensor), weights, Some(&made)]))
                    .sizes(&[tokens, query_heads, kv_heads, dim, half])
                    .real(1e-6);
                emulator.launch(&launch);
                cells(&made)
            });
            worst.see(&exact, &host, gpu);
        }
        worst.hold("arrange_heads", (dtype, allowed));
    }
}

#[test]
fn a_gates_end_is_bias_silu_product_bias() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for (dtype, allowed) in TYPES {
        let mut worst = Worst::default();
        let emulator = Emulator::new(dtype, &[]);
        for (tokens, inner, heads) in [(1, 8, 2), (3, 100, 4), (70, 48, 3)] {
            let up = numbers(&mut random, dtype, &[tokens, inner]);
            let up_bias = numbers(&mut random, dtype, &[inner]);
            let down = numbers(&mut random, dtype, &[heads, inner]);
            let bias = numbers(&mut random, dtype, &[heads]);
            let exact: Vec<f64> = (0..tokens * heads)
                .map(|item| {
                    let (token, head) = (item / heads, item % heads);
                    let part =
                        |i: usize| silu(up.exact[token * inner + i] + up_bias.exact[i]) * down.exact[head * inner + i];
                    (0..inner).map(part).sum::<f64>() + bias.exact[head]
                })
                .collect();
            let host = gate_tail(&up.tensor, &up_bias.tensor, &down.tensor, &bias.tensor).unwrap();
            let gpu = emulator.as_ref().map(|emulator| {
                let made = room(dtype, exact.len());
                let operands = [&up, &up_bias, &down, &bias].map(|operand| address(&operand.tensor).unwrap());
                let launch = Launch::new("gate_tail", [(tokens * heads).div_ceil(4), 1], 128)
                    .at(&operands)
                    .at(&at([Some(&made)]))
                    .sizes(&[tokens, inner, heads]);
                emulator.launch(&launch);
                cells(&made)
            });
            worst.see(&exact, &host, gpu);
        }
        worst.hold("gate_tail", (dtype, allowed));
    }
}

#[test]
fn one_query_of_every_head_attends_to_what_its_head_holds() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for (dtype, allowed) in TYPES {
        let mut worst = Worst::default();
        for (kv_heads, group, dim) in [(2, 2, 40), (3, 1, 8), (2, 4, 64)] {
            let emulator = Emulator::new(dtype, &[("HEAD_DIM", dim), ("GROUP", group)]);
            // Columns in use, those right after the last cut, and per head those of them that it uses.
            for (columns, packed, fewest, splits) in [(1, 0, 0, 1), (9, 6, 0, 2), (150, 140, 50, 3), (150, 130, 130, 1)]
            {
                let capacity = columns + 5;
                let survivors: Vec<usize> = (0..kv_heads).map(|head| (fewest + head * 3).min(packed)).collect();
                let queries = numbers(&mut random, dtype, &[kv_heads * group, dim]);
                let keys = numbers(&mut random, dtype, &[kv_heads, capacity, dim]);
                let values = numbers(&mut random, dtype, &[kv_heads, capacity, dim]);
                let scale = 1.0 / (dim as f64).sqrt();
                let mut exact = Vec::new();
                let mut mass = vec![0.0; kv_heads * columns];
                for query in 0..kv_heads * group {
                    let head = query / group;
                    let row = |buffer: &'_ Numbers, column: usize| {
                        buffer.exact[(head * capacity + column) * dim..][..dim].to_vec()
                    };
                    let used: Vec<usize> = (0..columns).filter(|&c| c < survivors[head] || c >= packed).collect();
                    let logit = |&column: &usize| {
                        let query = &queries.exact[query * dim..][..dim];
                        scale * row(&keys, column).iter().zip(query).map(|(k, q)| k * q).sum::<f64>()
                    };
                    let weights: Vec<f64> = used.iter().map(|column| logit(column).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    let mut sum = vec![0.0; dim];
                    for (&column, weight) in used.iter().zip(&weights) {
                        sum.iter_mut().zip(row(&values, column)).for_each(|(sum, v)| *sum += weight / total * v);
                    }
                    exact.extend(sum);
                    used.iter().zip(&weights).for_each(|(c, w)| mass[head * columns + c] += w / total / group as f64);
                }
                let received: Vec<_> = (0..kv_heads).map(|_| Mutex::new(vec![0.0; columns])).collect();
                let cache = AttendOne { scale, packed, survivors: &survivors, uneven: None, received: Some(&received) };
                let view = |buffer: &Numbers| buffer.tensor.narrow(1, 0, columns).unwrap();
                let host = attend_one(cache, &queries.tensor, &view(&keys), &view(&values)).unwrap();
                // The numbers of columns by value, and as a captured step has them: in memory, its own not counted yet.
                let told = counts(&survivors);
                let kept = counts(&[&[packed, columns - 1], &survivors[..]].concat());
                let even = survivors.iter().all(|&count| count == packed);
                for in_memory in [false, true] {
                    let gpu = emulator.as_ref().map(|emulator| {
                        let parts = room(DType::F32, kv_heads * group * splits * (2 + dim));
                        let made = room(dtype, exact.len());
                        let (told, kept) =
                            if in_memory { (None, Some(&kept)) } else { ((!even).then_some(&told), None) };
                        let sizes = if in_memory { [0, 0] } else { [packed, columns] };
                        let operands = [Some(&queries.tensor), Some(&keys.tensor), Some(&values.tensor)];
                        let part = Launch::new("attend_part", [kv_heads, splits], 128)
                            .at(&at(operands))
                            .at(&at([told, kept, Some(&parts)]))
                            .sizes(&[capacity * dim, capacity * dim, sizes[0], sizes[1], splits])
                            .real(scale);
                        emulator.launch(&part);
                        let whole = Launch::new("attend_whole", [kv_heads * group, 1], 128);
                        emulator.launch(&whole.at(&at([Some(&parts), Some(&made)])).sizes(&[splits]));
                        cells(&made)
                    });
                    worst.see(&exact, &host, gpu);
                }
                let received: Vec<f64> =
                    received.iter().flat_map(|head| head.lock().unwrap().clone()).map(f64::from).collect();
                assert!(off(&received, &mass) < 1e-6, "what columns received is off by {:e}", off(&received, &mass));
            }
        }
        worst.hold("attend_one", (dtype, allowed));
    }
}

#[test]
fn a_token_enters_its_column_of_the_cache() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for (dtype, _) in TYPES {
        let Some(emulator) = Emulator::new(dtype, &[]) else { return };
        for (biased, normed, dim, half) in [(false, true, 40, 20), (true, false, 8, 2), (true, true, 64, 32)] {
            let (sequences, query_heads, kv_heads, capacity, column, first) = (3, 4, 2, 7, 5, 11);
            let heads = query_heads + 2 * kv_heads;
            let layout = HeadLayout { query_heads, kv_heads, head_dim: dim, norm_eps: 1e-6 };
            let positions = [13usize, 11, 12];
            let qkv = numbers(&mut random, dtype, &[sequences, heads * dim]).tensor;
            let bias = numbers(&mut random, dtype, &[heads * dim]).tensor;
            let (cos, sin) =
                (numbers(&mut random, dtype, &[4, half]).tensor, numbers(&mut random, dtype, &[4, half]).tensor);
            let norms = numbers(&mut random, dtype, &[2, dim]).tensor;
            let buffers = [0, 1].map(|_| numbers(&mut random, dtype, &[sequences * kv_heads, capacity, dim]).tensor);
            let before = buffers.each_ref().map(cells);
            let queries = room(dtype, sequences * query_heads * dim);
            let both = room(dtype, sequences * kv_heads * 2 * dim);
            let norms_made = room(DType::F32, sequences * kv_heads);
            let seen = counts(&positions);
            let state = counts(&[[3, column].as_slice(), &vec![3; sequences * kv_heads]].concat());
            let (bias, norms) = (biased.then_some(&bias), normed.then_some(&norms));
            let launch = Launch::new("enter_cache", [(sequences * heads).div_ceil(4), 1], 128)
                .at(&at([Some(&qkv), bias, Some(&cos), Some(&sin), norms, Some(&seen), Some(&state)]))
                .at(&at([Some(&queries), Some(&buffers[0]), Some(&buffers[1]), Some(&both), Some(&norms_made)]))
                .sizes(&[sequences, query_heads, kv_heads, dim, half, first, capacity * dim])
                .real(1e-6);
            emulator.launch(&launch);

            // What the host's form makes of the same, token by token.
            let rows = counts(&positions.map(|position| position - first));
            let turned = |table: &Tensor| table.index_select(&rows, 0).unwrap();
            let qkv = bias.map_or(qkv.clone(), |bias| qkv.broadcast_add(bias).unwrap());
            let made = arrange_heads(layout, &qkv, &turned(&cos), &turned(&sin), norms).unwrap();
            let row = |head: usize, sequence: usize| cells(&made.get(head).unwrap().get(sequence).unwrap());
            let found = cells(&queries);
            let after = buffers.each_ref().map(cells);
            let entries = cells(&both);
            let near = |found: &[f64], expected: &[f64]| assert!(off(found, expected) < 1e-2, "{dtype:?}");
            for sequence in 0..sequences {
                for head in 0..query_heads {
                    near(&found[(sequence * query_heads + head) * dim..][..dim], &row(head, sequence));
                }
                for (kind, (before, after)) in before.iter().zip(&after).enumerate() {
                    for head in 0..kv_heads {
                        let expected = row(query_heads + kind * kv_heads + head, sequence);
                        let plane = (sequence * kv_heads + head) * capacity * dim..;
                        let (before, after) =
                            (&before[plane.clone()][..capacity * dim], &after[plane][..capacity * dim]);
                        let own = column * dim..(column + 1) * dim;
                        near(&after[own.clone()], &expected);
                        assert_eq!(after[..own.start], before[..own.start], "other columns stay");
                        assert_eq!(after[own.end..], before[own.end..], "other columns stay");
                        let copy = ((sequence * kv_heads + head) * 2 + kind) * dim;
                        assert_eq!(entries[copy..][..dim], after[own.clone()]);
                        let norm = after[own].iter().map(|x| x * x).sum::<f64>().sqrt();
                        near(&cells(&norms_made)[sequence * kv_heads + head..][..1 - kind], &[norm][..1 - kind]);
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_layer_made_is_added_and_the_sum_normalised() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for (dtype, allowed) in TYPES {
        let Some(emulator) = Emulator::new(dtype, &[]) else { return };
        for (tokens, width, adds, biased) in [(1, 5, false, false), (2, 300, true, false), (3, 64, true, true)] {
            let stream = numbers(&mut random, dtype, &[tokens, width]);
            let made = numbers(&mut random, dtype, &[tokens, width]).tensor;
            let (bias, weight) = (numbers(&mut random, dtype, &[width]).tensor, numbers(&mut random, dtype, &[width]));
            let expected = match (adds, biased) {
                (false, _) => stream.tensor.copy().unwrap(),
                (true, false) => (&stream.tensor + &made).unwrap(),
                (true, true) => (&stream.tensor + made.broadcast_add(&bias).unwrap()).unwrap(),
            };
            let normed = room(dtype, tokens * width);
            let operands = [Some(&stream.tensor), adds.then_some(&made), biased.then_some(&bias)];
            let launch = Launch::new("add_norm", [tokens, 1], 256)
                .at(&at(operands))
                .at(&at([Some(&weight.tensor), Some(&normed)]))
                .sizes(&[width])
                .real(1e-6);
            emulator.launch(&launch);
            assert_eq!(cells(&stream.tensor), cells(&expected), "{dtype:?}");
            let expected = cells(&expected);
            let exact = expected.chunks(width).map(<[f64]>::to_vec).flat_map(|row| {
                let mean = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
                row.into_iter().zip(weight.exact.clone()).map(move |(x, w)| x * w / (mean + 1e-6).sqrt())
            });
            let found = off(&cells(&normed), &exact.collect::<Vec<_>>());
            println!("add_norm in {dtype:?}: largest difference {found:.1e}");
            assert!(found <= allowed);
        }
    }
}

#[test]
fn rows_of_the_embedding_are_copied_by_token() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for (dtype, _) in TYPES {
        let Some(emulator) = Emulator::new(dtype, &[]) else { return };
        let table = numbers(&mut random, dtype, &[9, 70]).tensor;
        let (ids, made) = (counts(&[8, 0, 3]), room(dtype, 3 * 70));
        let launch = Launch::new("embed", [3, 1], 64).at(&at([Some(&ids), Some(&table), Some(&made)])).sizes(&[70]);
        emulator.launch(&launch);
        assert_eq!(cells(&made), cells(&table.index_select(&ids, 0).unwrap()));
    }
}

/// Ties included: the rows hold the highest logit several times.
#[test]
fn a_kernel_draws_as_the_host_does() {
    for (dtype, _) in TYPES {
        let Some(emulator) = Emulator::new(dtype, &[]) else { return };
        for (vocab, threads) in [(1, 32), (31, 64), (1031, 1024), (5000, 256)] {
            let logit = |row: u64, i: u64| ((i * 7919 + row * 104_729) % 97) as f32 * 0.125 - 6.0;
            let mut rows: Vec<Vec<f32>> = (0..3).map(|row| (0..vocab).map(|i| logit(row, i)).collect()).collect();
            rows[1][vocab as usize / 2] = f32::NAN;
            let logits = Tensor::new(rows.clone(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let (ids, told) = (counts(&[77, 77, 77]), room(DType::F32, 12));
            let launch = Launch::new("draw", [3, 1], threads)
                .at(&at([Some(&logits), Some(&ids), Some(&told)]))
                .sizes(&[vocab as usize]);
            emulator.launch(&launch);
            let told = told.to_vec1::<f32>().unwrap();
            let ids = ids.to_vec1::<u32>().unwrap();
            for row in [0, 2] {
                let drawn = Sampler::new(Sampling::Greedy, 0).draw(&rows[row]).unwrap();
                let [id, below, entropy, odd] = [0, 1, 2, 3].map(|i| told[row * 4 + i]);
                assert_eq!((id as u32, ids[row], odd), (drawn.id, drawn.id, 0.0), "{vocab} tokens");
                assert!((below + drawn.logprob).abs() < 1e-5 && (entropy - drawn.entropy).abs() < 1e-4);
            }
            assert!(told[7].is_nan(), "a row that is not finite says so");
            assert!(u64::from(ids[1]) < vocab, "and its token can be fed all the same");
        }
    }
}

#[test]
fn a_steps_end_counts_a_token_and_a_column() {
    let Some(emulator) = Emulator::new(DType::F32, &[]) else { return };
    let (positions, state) = (counts(&[4, 9]), counts(&[3, 6, 3, 2, 5, 5, 5, 5]));
    let launch = Launch::new("advance", [1, 1], 32).at(&at([Some(&positions), Some(&state)])).sizes(&[2, 2, 4]);
    emulator.launch(&launch);
    assert_eq!(positions.to_vec1::<u32>().unwrap(), [5, 10]);
    assert_eq!(state.to_vec1::<u32>().unwrap(), [3, 7, 3, 2, 5, 6, 5, 5]);
}

/// One head of the cut below: which columns it uses, and what they hold.
struct Held {
    columns: Vec<usize>,
    positions: Vec<u32>,
    log_beta: Vec<f32>,
}

/// Sizes that differ, so that some heads are due and others are not; log betas with many ties; protected ends.
#[test]
fn a_cut_on_the_device_is_the_hosts() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut evicted = 0;
    for (dtype, _) in TYPES {
        let Some(emulator) = Emulator::new(dtype, &[]) else { return };
        for round in 0..12 {
            let (layers, sequences, kv_heads, dim) = (2, 2, 2, 5);
            let (heads, limit) = (sequences * kv_heads, 40);
            let protect = Protect { sinks: [0, 3][round % 2], recent: [0, 6, 50][round % 3] };
            let rule = CutRule { protect, ..CutRule::per_head(30, 10) };
            assert_eq!(rule.limit(), limit);
            let age_offset = [1, -1][round % 2];
            let (packed, columns, stride) = (25, 45, 51);
            let seen = [170u32, 300];
            let mut state: Vec<u32> = seen.to_vec();
            let mut all: Vec<Held> = Vec::new();
            for _ in 0..layers {
                // With 20 columns since the last cut, heads of 20 survivors or more are due.
                let survivors: Vec<usize> = (0..heads).map(|_| random.random_range(10..=packed)).collect();
                state.extend([packed, columns].iter().chain(&survivors).map(|&count| count as u32));
                for (head, &count) in survivors.iter().enumerate() {
                    let columns: Vec<usize> = (0..count).chain(packed..columns).collect();
                    let mut positions: Vec<u32> = Vec::new();
                    while positions.len() < columns.len() {
                        let position = random.random_range(0..seen[head / kv_heads]);
                        if !positions.contains(&position) {
                            positions.push(position);
                        }
                    }
                    positions.sort_unstable();
                    let log_beta =
                        columns.iter().map(|_| -[0.0, 0.25, 0.0625, 1e-3][random.random_range(0..4)]).collect();
                    all.push(Held { columns, positions, log_beta });
                }
            }
            let (mut position, mut log_beta) = (vec![0u32; all.len() * stride], vec![0f32; all.len() * stride]);
            for (plane, held) in all.iter().enumerate() {
                for (slot, column) in held.columns.iter().enumerate() {
                    position[plane * stride + column] = held.positions[slot];
                    log_beta[plane * stride + column] = held.log_beta[slot];
                }
            }
            let tensor = |numbers: Vec<f32>| Tensor::new(numbers, &Device::Cpu).unwrap();
            let (state, position, log_beta) = (Tensor::new(state, &Device::Cpu).unwrap(), position, tensor(log_beta));
            let position = Tensor::new(position, &Device::Cpu).unwrap();
            let (scores, flags, kept) = (
                room(DType::F32, all.len() * stride),
                room(DType::U32, all.len() * stride),
                room(DType::U32, all.len() * stride),
            );
            let count = room(DType::U32, all.len());
            let state_at = address(&state).unwrap();
            let select = Launch::new("select_kept", [heads, layers], 64)
                .at(&[state_at, state_at + 4 * sequences as u64])
                .at(&at([Some(&log_beta), Some(&position), Some(&scores), Some(&flags), Some(&kept), Some(&count)]))
                .sizes(&[
                    heads,
                    kv_heads,
                    2 + heads,
                    stride,
                    30,
                    limit,
                    protect.sinks as usize,
                    protect.recent as usize,
                ])
                .integer(age_offset);
            emulator.launch(&select);

            let buffers: Vec<Tensor> =
                (0..2 * layers).map(|_| numbers(&mut random, dtype, &[heads, stride, dim]).tensor).collect();
            let before: Vec<Vec<f64>> = buffers.iter().map(cells).collect();
            let addresses: Vec<i64> = buffers.iter().map(|buffer| address(buffer).unwrap() as i64).collect();
            let addresses = Tensor::new(addresses, &Device::Cpu).unwrap();
            let strides = counts(&vec![stride; layers]);
            let pack = Launch::new("pack_kept", [heads, 2 * layers], 32)
                .at(&at([Some(&addresses), Some(&strides), Some(&kept), Some(&count)]))
                .sizes(&[heads, stride, dim]);
            emulator.launch(&pack);

            let (count, position) = (count.to_vec1::<u32>().unwrap(), position.to_vec1::<u32>().unwrap());
            let log_beta = log_beta.to_vec1::<f32>().unwrap();
            let after: Vec<Vec<f64>> = buffers.iter().map(cells).collect();
            for (plane, held) in all.iter().enumerate() {
                let seen = seen[plane % heads / kv_heads];
                let score = |(&position, &beta): (&u32, &f32)| retained(beta, seen, age_offset as i32, position);
                let scores: Vec<f32> = held.positions.iter().zip(&held.log_beta).map(score).collect();
                let slots = if held.positions.len() < limit {
                    (0..held.positions.len()).collect()
                } else {
                    let contestant = Contestant { positions: &held.positions, scores: &scores };
                    decide(&rule, &[contestant]).unwrap().swap_remove(0).kept
                };
                evicted += held.positions.len() - slots.len();
                assert_eq!(rule.stay(&held.positions), slots.len());
                assert_eq!(count[plane] as usize, slots.len());
                let found = plane * stride..plane * stride + slots.len();
                let expected: Vec<u32> = slots.iter().map(|&slot| held.positions[slot]).collect();
                assert_eq!(position[found.clone()], expected, "round {round}, head {plane}");
                let expected: Vec<f32> = slots.iter().map(|&slot| held.log_beta[slot]).collect();
                assert_eq!(log_beta[found], expected);
                let (layer, head) = (plane / heads, plane % heads);
                for kind in [2 * layer, 2 * layer + 1] {
                    for (place, &slot) in slots.iter().enumerate() {
                        let row = |column: usize| (head * stride + column) * dim..(head * stride + column + 1) * dim;
                        assert_eq!(after[kind][row(place)], before[kind][row(held.columns[slot])]);
                    }
                }
            }
        }
    }
    assert!(evicted > 1000, "something was to be cut");
}
