//! The kernels that only captured steps have, each against the tensor operations it stands for.

use candle_core::{DType, Result, Tensor};

use super::kernels::{Compared, Timer, Work};
use crate::engine::sampling::greedy_on_device;
use crate::model::captured::{Launch, Machine, Operation, address};
use crate::model::config::ModelConfig;
use crate::model::kernels::{HeadLayout, arrange_heads};

/// Times them on the machine that `work`'s device has.
///
/// # Errors
/// When the device fails.
pub fn compare(work: Work<'_>, machine: &dyn Machine, timer: Timer<'_>) -> Result<Vec<Compared>> {
    Ok(vec![add_norm(work, machine, timer)?, enter_cache(work, machine, timer)?, draw(work, machine, timer)?])
}

fn add_norm(work: Work<'_>, machine: &dyn Machine, timer: Timer<'_>) -> Result<Compared> {
    let (rows, width) = (work.sequences, work.config.hidden);
    let (stream, made, weight) =
        (work.numbers(&[rows, width])?, work.numbers(&[rows, width])?, work.numbers(&[width])?);
    let (own, normed) = (stream.copy()?, Tensor::zeros((rows, width), work.dtype, work.device)?);
    let launch = Launch::new("add_norm", [rows, 1], 256)
        .at(&[address(&own)?, address(&made)?, 0, address(&weight)?, address(&normed)?])
        .sizes(&[width])
        .real(work.config.norm_eps);
    let composed = || {
        let sum = (&stream + &made)?;
        Ok(vec![candle_nn::ops::rms_norm(&sum, &weight, work.config.norm_eps as f32)?])
    };
    timer.launched(work, machine, launch, &normed, &composed)
}

fn enter_cache(work: Work<'_>, machine: &dyn Machine, timer: Timer<'_>) -> Result<Compared> {
    let Work { config, sequences, columns, dtype, device, .. } = work;
    let ModelConfig { query_heads, kv_heads, head_dim, norm_eps, .. } = *config;
    let (heads, half) = (query_heads + 2 * kv_heads, head_dim / 2);
    let (qkv, norms) = (work.numbers(&[sequences, heads * head_dim])?, work.numbers(&[2, head_dim])?);
    let (cos, sin) = (work.numbers(&[sequences, half])?, work.numbers(&[sequences, half])?);
    let room = || Tensor::zeros((sequences * kv_heads, columns + 1, head_dim), dtype, device);
    let [keys, values, other_keys, other_values] = [room()?, room()?, room()?, room()?];
    let queries = Tensor::zeros((sequences, query_heads, head_dim), dtype, device)?;
    let positions = Tensor::arange(0u32, sequences as u32, device)?;
    let counts = [0, columns as u32].into_iter().chain((0..sequences * kv_heads).map(|_| 0));
    let counts = Tensor::new(counts.collect::<Vec<u32>>(), device)?;
    let operands = [&qkv, &cos, &sin, &norms, &positions, &counts, &queries, &keys, &values].map(address);
    let [qkv_at, cos_at, sin_at, norms_at, positions_at, counts_at, queries_at, keys_at, values_at] = operands;
    let launch = Launch::new("enter_cache", [(sequences * heads).div_ceil(4), 1], 128)
        .at(&[
            qkv_at?,
            0,
            cos_at?,
            sin_at?,
            norms_at?,
            positions_at?,
            counts_at?,
            queries_at?,
            keys_at?,
            values_at?,
            0,
            0,
        ])
        .sizes(&[sequences, query_heads, kv_heads, head_dim, half, 0, (columns + 1) * head_dim])
        .real(norm_eps);
    let layout = HeadLayout { query_heads, kv_heads, head_dim, norm_eps };
    let by_sequence = |heads: &Tensor, first: usize, count: usize| {
        heads.narrow(0, first, count)?.transpose(0, 1)?.reshape((sequences * count, 1, head_dim))
    };
    let composed = || {
        let heads = arrange_heads(layout, &qkv, &cos, &sin, Some(&norms))?;
        other_keys.slice_set(&by_sequence(&heads, query_heads, kv_heads)?, 1, columns)?;
        other_values.slice_set(&by_sequence(&heads, query_heads + kv_heads, kv_heads)?, 1, columns)?;
        Ok(vec![by_sequence(&heads, 0, query_heads)?.reshape((sequences, query_heads, head_dim))?])
    };
    timer.launched(work, machine, launch, &queries, &composed)
}

fn draw(work: Work<'_>, machine: &dyn Machine, timer: Timer<'_>) -> Result<Compared> {
    let (rows, vocab) = (work.sequences, work.config.vocab);
    let logits = work.numbers(&[rows, vocab])?;
    let (ids, told) =
        (Tensor::zeros(rows, DType::U32, work.device)?, Tensor::zeros((rows, 4), DType::F32, work.device)?);
    let launch =
        Launch::new("draw", [rows, 1], 1024).at(&[address(&logits)?, address(&ids)?, address(&told)?]).sizes(&[vocab]);
    // The entropy alone is compared: it depends on every logit.
    let entropy = told.narrow(1, 2, 1)?;
    let composed = || {
        let drawn = greedy_on_device(&logits.to_dtype(DType::F32)?)?;
        let entropies: Vec<f32> = drawn.iter().map(|drawn| drawn.map_or(f32::NAN, |drawn| drawn.entropy)).collect();
        Ok(vec![Tensor::from_vec(entropies, (rows, 1), work.device)?])
    };
    timer.launched(work, machine, launch, &entropy, &composed)
}

impl Timer<'_> {
    /// A launch whose result `made` shows.
    fn launched(
        self,
        work: Work<'_>,
        machine: &dyn Machine,
        launch: Launch,
        made: &Tensor,
        composed: &dyn Fn() -> Result<Vec<Tensor>>,
    ) -> Result<Compared> {
        let kernel = launch.kernel;
        let mut prepared = machine.prepare(vec![Operation::Launch(launch)], work.dtype)?;
        let fused = || {
            prepared.run()?;
            Ok(made.clone())
        };
        self.pair(kernel, fused, composed)
    }
}
