//! Exact attention of new queries over one layer's cache, in blocks of queries.
//!
//! Memory is O(block x columns): a prompt's T x T scores never exist. Query heads of a group share their KV head's
//! keys in one product; no key is copied per query head.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor};

use super::kernels::{AttendOne, attend_one, attention_fits};
use crate::cache::bounded::LayerCache;

/// Queries attended at once unless told otherwise.
pub const QUERY_BLOCK: usize = 128;

/// Queries to attend at once on a device: a GPU is idle between blocks, so it gets larger ones.
pub fn query_block(device: &Device) -> usize {
    if device.is_cpu() { QUERY_BLOCK } else { 4 * QUERY_BLOCK }
}

/// Attention of a layer's newest tokens.
pub struct Attend<'a> {
    /// The layer's cache; the queries' own keys are its last columns.
    pub cache: &'a LayerCache,
    /// Factor on the logits.
    pub scale: f64,
    /// Queries attended at once, at most.
    pub block: usize,
    /// Whether to sum what each column received.
    pub record: bool,
}

/// Most bytes that a block's scores may take; long contexts get smaller blocks.
pub fn score_bytes(device: &Device) -> usize {
    if device.is_cpu() { 64 << 20 } else { 1 << 30 }
}

/// What attention gives back.
pub struct Attended {
    /// `(tokens, query_heads * head_dim)`.
    pub output: Tensor,
    /// `(kv_heads, columns)` in f32: probability received, summed over queries, mean over the group.
    pub received: Option<Vec<Vec<f32>>>,
}

impl Attend<'_> {
    /// Attends `queries`, `(query_heads, tokens, head_dim)` after rotation.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn run(&self, queries: &Tensor) -> Result<Attended> {
        let (query_heads, tokens, _) = queries.dims3()?;
        let group = query_heads / self.cache.survivors().len().max(1);
        if tokens == 1 && (queries.device().is_cpu() || attention_fits(group, queries.dim(2)?)) {
            return self.one(queries);
        }
        let queries = (queries * self.scale)?;
        let row_bytes = query_heads * self.cache.columns() * size_of::<f32>();
        let block_size = self.block.min(score_bytes(queries.device()) / row_bytes.max(1)).max(1).min(tokens.max(1));
        let future = self.future(block_size, queries.device())?;
        let mut blocks = Vec::with_capacity(tokens.div_ceil(block_size));
        let mut received = None;
        for start in (0..tokens).step_by(block_size) {
            let count = block_size.min(tokens - start);
            let block = queries.narrow(1, start, count)?;
            let (output, mass) = self.block(&block, self.cache.columns() - tokens + start, future.as_ref())?;
            blocks.push(output);
            if let Some(mass) = mass {
                accumulate(received.get_or_insert_with(|| vec![vec![0.0; self.cache.columns()]; mass.len()]), &mass);
            }
        }
        let output = if blocks.len() == 1 { blocks.swap_remove(0) } else { Tensor::cat(&blocks, 1)? };
        // (query_heads, tokens, head_dim) -> (tokens, query_heads * head_dim)
        let output = output.transpose(0, 1)?.reshape((tokens, query_heads * output.dim(2)?))?;
        Ok(Attended { output, received })
    }

    /// The newest token alone. Recording its weights changes no bit of the result; on a GPU they are worked out apart.
    fn one(&self, queries: &Tensor) -> Result<Attended> {
        let (keys, values) = self.cache.view(self.cache.columns())?;
        let on_host = queries.device().is_cpu();
        let room = || Mutex::new(vec![0.0; self.cache.columns()]);
        let received: Option<Vec<_>> =
            (self.record && on_host).then(|| self.cache.survivors().iter().map(|_| room()).collect());
        let cache = AttendOne {
            scale: self.scale,
            packed: self.cache.packed(),
            survivors: self.cache.survivors(),
            uneven: self.cache.uneven(),
            received: received.as_deref(),
        };
        let output = attend_one(cache, &queries.squeeze(1)?.contiguous()?, &keys, &values)?;
        let taken = |head: Mutex<Vec<f32>>| head.into_inner().unwrap_or_else(PoisonError::into_inner);
        let received = match received {
            Some(received) => Some(received.into_iter().map(taken).collect()),
            None if self.record => self.block(&(queries * self.scale)?, self.cache.columns() - 1, None)?.1,
            None => None,
        };
        Ok(Attended { output: output.reshape((1, ()))?, received })
    }

    /// One block of queries, the first of which stands in column `first`.
    fn block(
        &self,
        queries: &Tensor,
        first: usize,
        future: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Vec<Vec<f32>>>)> {
        let (query_heads, count, head_dim) = queries.dims3()?;
        let columns = first + count;
        let (keys, values) = self.cache.view(columns)?;
        let kv_heads = keys.dim(0)?;
        let group = query_heads / kv_heads;
        let folded = queries.reshape((kv_heads, group * count, head_dim))?;
        let mut scores = folded.matmul(&keys.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        if self.cache.is_ragged() {
            let mask = self.ragged_mask(first, count, kv_heads, scores.device())?;
            scores = scores.reshape((kv_heads, group, count, columns))?.broadcast_add(&mask)?;
        } else if let Some(future) = future {
            // Only the block's own columns hold anything that is to come: they are masked in place.
            scores = scores.reshape((query_heads, count, columns))?;
            let own = scores.narrow(2, first, count)?;
            let future = future.narrow(0, 0, count)?.narrow(1, 0, count)?;
            scores.slice_set(&own.broadcast_add(&future)?.contiguous()?, 2, first)?;
        }
        let scores = scores.reshape((kv_heads, group * count, columns))?;
        let weights = candle_nn::ops::softmax_last_dim(&scores)?;
        let mass = self.record.then(|| (weights.sum(1)? / group as f64)?.to_vec2::<f32>()).transpose()?;
        let output = weights.to_dtype(values.dtype())?.matmul(&values)?;
        Ok((output.reshape((query_heads, count, head_dim))?, mass))
    }

    /// What keeps queries of a block from the tokens after them: `(block, block)`, -inf where a key is younger than the
    /// query. `None` when nothing is, or when a ragged cache's own mask says it.
    fn future(&self, block: usize, device: &Device) -> Result<Option<Tensor>> {
        if block == 1 || self.cache.is_ragged() {
            return Ok(None);
        }
        let cell = |index| if index % block > index / block { f32::NEG_INFINITY } else { 0.0 };
        Tensor::from_vec((0..block * block).map(cell).collect(), (block, block), device).map(Some)
    }

    /// What is added to a ragged cache's scores: 0 where a query may look, -inf in columns that its head does not use
    /// or that are to come. Shape `(kv_heads, 1, queries, columns)`.
    fn ragged_mask(&self, first: usize, count: usize, kv_heads: usize, device: &Device) -> Result<Tensor> {
        let columns = first + count;
        let mut mask = vec![0f32; kv_heads * count * columns];
        for (row, cells) in mask.chunks_mut(columns).enumerate() {
            let (head, query) = (row / count, row % count);
            cells[first + query + 1..].fill(f32::NEG_INFINITY);
            let unused = (0..=first + query).filter(|&column| !self.cache.is_used(head, column));
            unused.for_each(|column| cells[column] = f32::NEG_INFINITY);
        }
        Tensor::from_vec(mask, (kv_heads, 1, count, columns), device)
    }
}

fn accumulate(total: &mut [Vec<f32>], mass: &[Vec<f32>]) {
    for (total, mass) in total.iter_mut().zip(mass) {
        total.iter_mut().zip(mass).for_each(|(t, m)| *t += m);
    }
}
