//! Attention of one new token of every head over a bounded cache.

use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Shape, Tensor};

use super::number::{Number, Wide};
use super::{Kernel, Operand, Planes, fill_chunks, run};
use crate::model::real::{Real, dot, sum};

/// What attention needs to know of a cache whose heads may hold different numbers of entries; see
/// [`LayerCache`](crate::cache::bounded::LayerCache).
#[derive(Debug, Clone, Copy)]
pub struct AttendOne<'a> {
    /// Factor on the logits.
    pub scale: f64,
    /// Columns right after the last cut.
    pub packed: usize,
    /// Per KV head, those of them that it uses.
    pub survivors: &'a [usize],
    /// The same as u32 where the keys are, when they are on a GPU and the numbers differ.
    pub uneven: Option<&'a Tensor>,
    /// Per KV head, where to put what each column received: the mean of its weights over the group. On the host only.
    pub received: Option<&'a [Mutex<Vec<f32>>]>,
}

/// Whether the kernel for GPUs has room for what it shares between the warps of a block (as many as in `kernels.cu`): 48 KiB.
pub fn attention_fits(group: usize, head_dim: usize) -> bool {
    const WARPS: usize = 4;
    WARPS * group * (head_dim + 2) * size_of::<f32>() <= 48 << 10
}

/// Attends without weights being kept: every key and value is read once for all query heads of its group.
///
/// # Shapes
/// - `queries`: `(query_heads, head_dim)`, contiguous
/// - `keys`, `values`: `(kv_heads, columns, head_dim)`, views into longer buffers
/// - returns: `(query_heads, head_dim)`
///
/// # Errors
/// When shapes do not fit or memory runs out.
pub fn attend_one(cache: AttendOne<'_>, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (query_heads, head_dim) = queries.dims2()?;
    let (kv_heads, columns, width) = keys.dims3()?;
    let told = cache.received.is_none_or(|received| {
        received.len() == kv_heads && received.iter().all(|head| head.lock().is_ok_and(|head| head.len() == columns))
    });
    let fits =
        told && kv_heads > 0 && query_heads % kv_heads == 0 && width == head_dim && cache.survivors.len() == kv_heads;
    if !fits || values.dims() != keys.dims() || columns == 0 {
        candle_core::bail!("queries {:?} do not fit keys {:?}", queries.dims(), keys.dims());
    }
    run(&Attention { cache, query_heads, kv_heads, columns, head_dim, keys, values }, queries)
}

struct Attention<'a> {
    cache: AttendOne<'a>,
    query_heads: usize,
    kv_heads: usize,
    columns: usize,
    head_dim: usize,
    keys: &'a Tensor,
    values: &'a Tensor,
}

impl Attention<'_> {
    /// The columns that a head uses, in two runs.
    fn used(&self, head: usize) -> [std::ops::Range<usize>; 2] {
        let AttendOne { packed, survivors, .. } = self.cache;
        [0..survivors[head].min(packed).min(self.columns), packed.min(self.columns)..self.columns]
    }

    fn shape(&self) -> Shape {
        (self.query_heads, self.head_dim).into()
    }

    /// One KV head on the host: its query heads' results.
    fn head<T: Number>(&self, head: usize, queries: &[T], keys: &[T], values: &[T], made: &mut [T]) {
        let dim = self.head_dim;
        let group = self.query_heads / self.kv_heads;
        let scale = Wide::<T>::real(self.cache.scale);
        let queries: Vec<Wide<T>> = queries.iter().map(|x| x.widen() * scale).collect();
        let columns: Vec<usize> = self.used(head).into_iter().flatten().collect();
        let mut logits = vec![Wide::<T>::real(0.0); group * columns.len()];
        let mut wide = vec![Wide::<T>::real(0.0); dim];
        for (place, &column) in columns.iter().enumerate() {
            wide.iter_mut().zip(&keys[column * dim..][..dim]).for_each(|(wide, x)| *wide = x.widen());
            for (query, queries) in queries.chunks_exact(dim).enumerate() {
                logits[query * columns.len() + place] = dot(queries, &wide);
            }
        }
        let mut sums = vec![Wide::<T>::real(0.0); group * dim];
        for logits in logits.chunks_exact_mut(columns.len()) {
            let most =
                logits.iter().copied().fold(Wide::<T>::real(f64::NEG_INFINITY), |a, b| if b > a { b } else { a });
            logits.iter_mut().for_each(|logit| *logit = (*logit - most).quick_exp());
            let total = sum(logits);
            logits.iter_mut().for_each(|weight| *weight /= total);
        }
        if let Some(received) = self.cache.received.and_then(|received| received.get(head)) {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            for (place, &column) in columns.iter().enumerate() {
                let weights = (0..group).map(|query| logits[query * columns.len() + place].as_f64());
                received[column] = (weights.sum::<f64>() / group as f64) as f32;
            }
        }
        for (place, &column) in columns.iter().enumerate() {
            wide.iter_mut().zip(&values[column * dim..][..dim]).for_each(|(wide, x)| *wide = x.widen());
            for (query, sums) in sums.chunks_exact_mut(dim).enumerate() {
                let weight = logits[query * columns.len() + place];
                sums.iter_mut().zip(&wide).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
        made.iter_mut().zip(sums).for_each(|(made, sum)| *made = T::narrow(sum));
    }
}

impl Kernel for Attention<'_> {
    const NAME: &'static str = "attend_one";

    fn rest(&self) -> Vec<&Tensor> {
        vec![self.keys, self.values]
    }

    fn host<T: Number>(&self, operands: &[Operand<'_, T>]) -> Result<(Vec<T>, Shape)> {
        let [queries, keys, values] = operands else { candle_core::bail!("attention has three operands") };
        let (key_planes, value_planes) = (Planes::of(keys.layout)?, Planes::of(values.layout)?);
        let queries = queries.contiguous()?;
        let group = self.query_heads / self.kv_heads * self.head_dim;
        let mut made = vec![T::zero(); queries.len()];
        fill_chunks(&mut made, group, self.kv_heads * self.columns * group, |head, made| {
            let queries = &queries[head * group..][..group];
            let (keys, values) = (&keys.data[key_planes.plane(head)], &values.data[value_planes.plane(head)]);
            self.head(head, queries, keys, values, made);
        });
        Ok((made, self.shape()))
    }

    /// Columns are shared out to several blocks per KV head, so that a small batch keeps a GPU busy; a second kernel
    /// puts their parts together.
    #[cfg(feature = "cuda")]
    fn device<T: Number>(
        &self,
        operands: &[super::launch::Operand<'_, T>],
    ) -> Result<(super::launch::Numbers<T>, Shape)> {
        let [queries, keys, values] = operands else { candle_core::bail!("attention has three operands") };
        let (key_planes, value_planes) = (Planes::of(keys.layout)?, Planes::of(values.layout)?);
        let group = self.query_heads / self.kv_heads;
        let splits = queries.blocks_wanted().div_ceil(self.kv_heads).clamp(1, self.columns.div_ceil(64));
        // Per KV head, part and query: the largest logit, the sum of weights, and the weighted sum of values.
        let parts = queries.scratch(self.query_heads * splits * (2 + self.head_dim))?;
        let fixed = [("HEAD_DIM", self.head_dim), ("GROUP", group)];
        let mut call = queries.call("attend_part", &fixed)?;
        call.read(queries.contiguous()?);
        call.read(keys.from(key_planes.start)).read(values.from(value_planes.start));
        match self.cache.uneven {
            Some(uneven) => call.counts(uneven),
            None => call.nothing(),
        };
        call.nothing().floats(&parts);
        for size in [key_planes.stride, value_planes.stride, self.cache.packed, self.columns, splits] {
            call.size(size);
        }
        call.real(self.cache.scale);
        call.launch_only([self.kv_heads, splits], 128)?;
        let mut call = queries.call("attend_whole", &fixed)?;
        call.floats(&parts).write(self.query_heads * self.head_dim)?.size(splits);
        Ok((call.launch([self.query_heads, 1], 128)?, self.shape()))
    }
}
