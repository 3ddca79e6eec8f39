//! Kernels in both their forms, the host's and the GPU's, against plain arithmetic in f64. The GPU's source is compiled
//! for the CPU and run there, thread by thread, so this holds its logic, not its speed.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trimkv_trace::model::kernels::{AttendOne, HeadLayout, arrange_heads, attend_one, gate_tail, swiglu};

/// Number types, as `kernels.cu` numbers them, with what one rounding may cost.
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

/// The GPU's source for the CPU; `None` where no C++ compiler is found.
struct Emulator {
    program: PathBuf,
    dtype: DType,
}

impl Emulator {
    fn new(kernel: &str, dtype: DType, fixed: &[(&str, usize)]) -> Option<Self> {
        let number = TYPES.iter().position(|(known, _)| *known == dtype).unwrap();
        let sizes: Vec<String> = fixed.iter().map(|(_, size)| size.to_string()).collect();
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{kernel}-{number}-{}", sizes.join("-")));
        let built = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()))
            .args(["-std=c++20", "-O1", "-o"])
            .arg(&program)
            .arg(format!("-DNUMBER={number}"))
            .args(fixed.iter().map(|(name, size)| format!("-D{name}={size}")))
            .arg("tests/emulator/emulator.cpp")
            .output();
        match built {
            Err(error) => {
                println!("skipped: the GPU's kernels on the CPU ({error})");
                None
            }
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                Some(Self { program, dtype })
            }
        }
    }

    fn run(&self, words: &[String], input: &[u8]) -> Vec<u8> {
        let mut child =
            Command::new(&self.program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}");
        output.stdout
    }

    /// A kernel that makes `count` numbers.
    fn numbers(
        &self,
        kernel: &str,
        blocks: [usize; 2],
        threads: usize,
        count: usize,
        call: &[Argument<'_>],
    ) -> Vec<f64> {
        let made = self.bytes(kernel, blocks, threads, count, call);
        cells(&Tensor::from_raw_buffer(&made, self.dtype, &[count], &Device::Cpu).unwrap())
    }

    fn bytes(&self, kernel: &str, blocks: [usize; 2], threads: usize, count: usize, call: &[Argument<'_>]) -> Vec<u8> {
        let mut words = vec![kernel.to_owned()];
        words.extend([blocks[0], blocks[1], threads, count].map(|size| size.to_string()));
        let mut input = Vec::new();
        for argument in call {
            words.push(match argument {
                Argument::Read(tensor) => {
                    let bytes = raw(tensor);
                    input.extend_from_slice(&bytes);
                    format!("r:{}", bytes.len() / self.dtype.size_in_bytes())
                }
                Argument::Floats(floats) => {
                    input.extend_from_slice(floats);
                    format!("f:{}", floats.len() / 4)
                }
                Argument::Counts(counts) => {
                    counts.iter().for_each(|count| input.extend_from_slice(&(*count as u32).to_le_bytes()));
                    format!("c:{}", counts.len())
                }
                Argument::Nothing => "0".to_owned(),
                Argument::Made => "w".to_owned(),
                Argument::Size(size) => format!("s:{size}"),
                Argument::Real(real) => format!("x:{real}"),
            });
        }
        self.run(&words, &input)
    }
}

enum Argument<'a> {
    Read(&'a Tensor),
    Floats(&'a [u8]),
    Counts(&'a [usize]),
    Nothing,
    Made,
    Size(usize),
    Real(f64),
}

/// The bytes of a tensor's numbers.
fn raw(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.contiguous().unwrap().flatten_all().unwrap();
    match tensor.dtype() {
        DType::F32 => flat.to_vec1::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::BF16 => flat.to_vec1::<half::bf16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::F16 => flat.to_vec1::<half::f16>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => panic!("{other:?}"),
    }
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
        let emulator = Emulator::new("swiglu", dtype, &[]);
        for (tokens, width) in [(1, 1), (3, 37), (2, 300)] {
            let inner = numbers(&mut random, dtype, &[tokens, 2 * width]);
            let rows = inner.exact.chunks(2 * width);
            let exact: Vec<f64> = rows.flat_map(|row| (0..width).map(|i| silu(row[i]) * row[width + i])).collect();
            let count = tokens * width;
            let call = [Argument::Read(&inner.tensor), Argument::Made, Argument::Size(width), Argument::Size(count)];
            let gpu = emulator.as_ref().map(|e| e.numbers("swiglu", [count.div_ceil(256), 1], 256, count, &call));
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
        let emulator = Emulator::new("arrange_heads", dtype, &[]);
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
            let mut call =
                vec![&qkv.tensor, &cos.tensor, &sin.tensor].into_iter().map(Argument::Read).collect::<Vec<_>>();
            call.push(weights.map_or(Argument::Nothing, Argument::Read));
            call.push(Argument::Made);
            call.extend([tokens, query_heads, kv_heads, dim, half].map(Argument::Size));
            call.push(Argument::Real(1e-6));
            let blocks = [(tokens * heads).div_ceil(4), 1];
            let gpu = emulator.as_ref().map(|e| e.numbers("arrange_heads", blocks, 128, exact.len(), &call));
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
        let emulator = Emulator::new("gate_tail", dtype, &[]);
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
            let tensors = [&up.tensor, &up_bias.tensor, &down.tensor, &bias.tensor];
            let mut call: Vec<_> = tensors.into_iter().map(Argument::Read).collect();
            call.push(Argument::Made);
            call.extend([tokens, inner, heads].map(Argument::Size));
            let blocks = [(tokens * heads).div_ceil(4), 1];
            let gpu = emulator.as_ref().map(|e| e.numbers("gate_tail", blocks, 128, tokens * heads, &call));
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
            let emulator = Emulator::new("attend", dtype, &[("HEAD_DIM", dim), ("GROUP", group)]);
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
                let gpu = emulator.as_ref().map(|e| {
                    let parts_count = kv_heads * group * splits * (2 + dim);
                    let mut call: Vec<_> =
                        [&queries.tensor, &keys.tensor, &values.tensor].into_iter().map(Argument::Read).collect();
                    let even = survivors.iter().all(|&count| count == packed);
                    call.push(if even { Argument::Nothing } else { Argument::Counts(&survivors) });
                    call.push(Argument::Made);
                    call.extend([capacity * dim, capacity * dim, packed, columns, splits].map(Argument::Size));
                    call.push(Argument::Real(scale));
                    let parts = e.bytes("attend_part", [kv_heads, splits], 128, parts_count, &call);
                    let call = [Argument::Floats(&parts), Argument::Made, Argument::Size(splits)];
                    e.numbers("attend_whole", [kv_heads * group, 1], 128, kv_heads * group * dim, &call)
                });
                worst.see(&exact, &host, gpu);
                let received: Vec<f64> =
                    received.iter().flat_map(|head| head.lock().unwrap().clone()).map(f64::from).collect();
                assert!(off(&received, &mass) < 1e-6, "what columns received is off by {:e}", off(&received, &mass));
            }
        }
        worst.hold("attend_one", (dtype, allowed));
    }
}
