//! The kernels of a decoding step, each against the tensor operations it stands for.

use std::hint::black_box;
use std::time::Instant;

use candle_core::{DType, Device, Module, Result, Tensor};
use serde::Serialize;

use crate::bench::statistics::Spread;
use crate::model::config::ModelConfig;
use crate::model::kernels::{AttendOne, HeadLayout, arrange_heads, attend_one, gate_tail, swiglu};
use crate::model::linear::Projection;

/// What a step's kernels are given.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The model whose widths they have.
    pub config: &'a ModelConfig,
    /// Inner width of its gates.
    pub gate_inner: usize,
    /// Sequences that decode together.
    pub sequences: usize,
    /// Entries of every KV head's cache.
    pub columns: usize,
    /// Number type.
    pub dtype: DType,
    /// Where.
    pub device: &'a Device,
}

/// One kernel's times.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Its name.
    pub kernel: &'static str,
    /// Seconds of one call of the kernel.
    pub kernel_seconds: f64,
    /// Seconds of the operations it stands for.
    pub composed_seconds: f64,
    /// Largest difference of their results, over the largest result.
    pub difference: f64,
}

/// How often things are timed.
#[derive(Debug, Clone, Copy)]
pub struct Timer<'a> {
    /// Where.
    pub device: &'a Device,
    /// Calls in a row that are timed together.
    pub calls: usize,
    /// Times to repeat that, in turn with what is compared; medians are told.
    pub rounds: usize,
}

impl Work<'_> {
    /// Random numbers of the work's type.
    pub(super) fn numbers(&self, shape: &[usize]) -> Result<Tensor> {
        Tensor::randn(0f32, 1.0, shape, self.device)?.to_dtype(self.dtype)
    }
}

impl Timer<'_> {
    /// One kernel and the operations it stands for, whose results are laid end to end.
    pub(super) fn pair(
        self,
        kernel: &'static str,
        mut fused: impl FnMut() -> Result<Tensor>,
        composed: &dyn Fn() -> Result<Vec<Tensor>>,
    ) -> Result<Compared> {
        let difference = difference(&fused()?, &Tensor::cat(&composed()?, 0)?)?;
        let (mut fused_seconds, mut composed_seconds) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            fused_seconds.push(self.seconds(&mut fused)?);
            composed_seconds.push(self.seconds(&mut || composed())?);
        }
        let median = |sample| Spread::of(sample).map_or(f64::NAN, |spread| spread.median);
        let (kernel_seconds, composed_seconds) = (median(fused_seconds), median(composed_seconds));
        Ok(Compared { kernel, kernel_seconds, composed_seconds, difference })
    }

    /// Seconds of one of several calls in a row.
    fn seconds<T>(&self, call: &mut dyn FnMut() -> Result<T>) -> Result<f64> {
        self.device.synchronize()?;
        let start = Instant::now();
        for _ in 0..self.calls {
            black_box(call()?);
        }
        self.device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / self.calls as f64)
    }
}

/// Times every kernel, in turn with what it stands for.
///
/// # Errors
/// When the device fails.
pub fn compare(work: Work<'_>, timer: Timer<'_>) -> Result<Vec<Compared>> {
    let Work { config, gate_inner, sequences, columns, dtype, .. } = work;
    let ModelConfig { query_heads, kv_heads, head_dim, intermediate, .. } = *config;
    let numbers = |shape: &[usize]| work.numbers(shape);

    let inner = numbers(&[sequences, 2 * intermediate])?;
    let halves =
        || Ok(vec![(inner.narrow(1, 0, intermediate)?.silu()? * inner.narrow(1, intermediate, intermediate)?)?]);

    let layout = HeadLayout { query_heads, kv_heads, head_dim, norm_eps: config.norm_eps };
    let heads = query_heads + 2 * kv_heads;
    let qkv = numbers(&[sequences, heads * head_dim])?;
    let norms = numbers(&[2, head_dim])?;
    let (cos, sin) = (numbers(&[sequences, head_dim / 2])?, numbers(&[sequences, head_dim / 2])?);
    let side_by_side = |first: usize, count: usize, norm: Option<usize>| -> Result<Tensor> {
        let part = qkv.narrow(1, first * head_dim, count * head_dim)?.reshape((sequences, count, head_dim))?;
        let Some(which) = norm else { return part.transpose(0, 1)?.contiguous() };
        let normed = candle_nn::ops::rms_norm(&part.contiguous()?, &norms.get(which)?, config.norm_eps as f32)?;
        let by_head = normed.transpose(0, 1)?.contiguous()?;
        candle_nn::rotary_emb::rope(&by_head.unsqueeze(0)?, &cos, &sin)?.squeeze(0)
    };
    let arranged = || {
        Ok(vec![
            side_by_side(0, query_heads, Some(0))?,
            side_by_side(query_heads, kv_heads, Some(1))?,
            side_by_side(query_heads + kv_heads, kv_heads, None)?,
        ])
    };

    let up = numbers(&[sequences, gate_inner])?;
    let (up_bias, bias) = (numbers(&[gate_inner])?, numbers(&[kv_heads])?);
    let down = numbers(&[kv_heads, gate_inner])?;
    let down_product = Projection::new(down.clone(), None);
    let tail = || Ok(vec![down_product.forward(&up.broadcast_add(&up_bias)?.silu()?)?.broadcast_add(&bias)?]);

    // A batch is, to a layer's cache, one sequence of as many more heads.
    let (all_queries, all_kv) = (sequences * query_heads, sequences * kv_heads);
    let queries = numbers(&[all_queries, head_dim])?;
    let room = columns + 16;
    let (keys, values) = (numbers(&[all_kv, room, head_dim])?, numbers(&[all_kv, room, head_dim])?);
    let (keys, values) = (keys.narrow(1, 0, columns)?, values.narrow(1, 0, columns)?);
    let scale = (head_dim as f64).sqrt().recip();
    let survivors = vec![columns; all_kv];
    let cache = AttendOne { scale, packed: columns, survivors: &survivors, uneven: None, received: None };
    let attended = || {
        let folded = (&queries * scale)?.reshape((all_kv, query_heads / kv_heads, head_dim))?;
        let scores = folded.matmul(&keys.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(dtype)?;
        Ok(vec![weights.matmul(&values)?.reshape((all_queries, head_dim))?])
    };
    Ok(vec![
        timer.pair("swiglu", || swiglu(&inner), &halves)?,
        timer.pair("arrange_heads", || arrange_heads(layout, &qkv, &cos, &sin, Some(&norms)), &arranged)?,
        timer.pair("gate_tail", || gate_tail(&up, &up_bias, &down, &bias), &tail)?,
        timer.pair("attend_one", || attend_one(cache, &queries, &keys, &values), &attended)?,
    ])
}

fn difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let (a, b) = (a.to_dtype(DType::F32)?, b.to_dtype(DType::F32)?);
    let largest = |tensor: Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    let size = f64::from(largest(b.clone())?);
    Ok(f64::from(largest((a - b)?)?) / size.max(f64::MIN_POSITIVE))
}
