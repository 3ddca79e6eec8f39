//! The gated attention in tensor operations, for devices other than the CPU. Blocks of queries bound the memory; query
//! heads of a group share their KV head's product, and no key is copied per query head.

use candle_core::{D, DType, Result, Tensor};

use super::attention::{Attended, Attention, AttentionGradient, HeadGradient, Pull};
use crate::model::real::gradient_dtype;

/// Most bytes that the logits of a block may take; several such tensors live at once.
const LOGIT_BYTES: usize = 128 << 20;
/// Queries in a block, at most.
const MOST_QUERIES: usize = 256;

/// A block of queries against the keys up to its last.
struct Block {
    start: usize,
    count: usize,
    columns: usize,
}

struct Sizes {
    query_heads: usize,
    kv_heads: usize,
    tokens: usize,
    head_dim: usize,
    /// Type of logits and gradients.
    dtype: DType,
}

impl Sizes {
    fn of(attention: &Attention<'_>) -> Result<Self> {
        let (query_heads, tokens, head_dim) = attention.queries.dims3()?;
        let dtype = gradient_dtype(attention.queries.dtype());
        Ok(Self { query_heads, kv_heads: attention.keys.dim(0)?, tokens, head_dim, dtype })
    }

    fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let row_bytes = self.query_heads * self.tokens * self.dtype.size_in_bytes();
        let size = (LOGIT_BYTES / row_bytes.max(1)).clamp(1, MOST_QUERIES);
        let tokens = self.tokens;
        (0..tokens).step_by(size).map(move |start| {
            let count = size.min(tokens - start);
            Block { start, count, columns: start + count }
        })
    }

    /// `(query_heads, tokens, width)` -> a block of it, `(kv_heads, group * count, width)`.
    fn folded(&self, xs: &Tensor, block: &Block) -> Result<Tensor> {
        let width = xs.dim(D::Minus1)?;
        let rows = self.query_heads / self.kv_heads * block.count;
        xs.narrow(1, block.start, block.count)?.contiguous()?.reshape((self.kv_heads, rows, width))
    }

    fn unfolded(&self, xs: &Tensor, block: &Block) -> Result<Tensor> {
        xs.reshape((self.query_heads, block.count, self.head_dim))
    }

    /// `(kv_heads, group * count, columns)`.
    fn logits(&self, attention: &Attention<'_>, block: &Block) -> Result<Tensor> {
        let Block { count, columns, .. } = *block;
        let keys = attention.keys.narrow(1, 0, columns)?;
        let products = self.folded(attention.queries, block)?.matmul(&keys.transpose(1, 2)?)?;
        let logits = (products.to_dtype(self.dtype)? * attention.scale()?)?;
        let group = self.query_heads / self.kv_heads;
        let mut logits = logits.reshape((self.kv_heads, group, count, columns))?;
        if let Some(log_beta) = attention.log_beta {
            let log_beta = log_beta.narrow(1, 0, columns)?.reshape((self.kv_heads, 1, 1, columns))?;
            let ages = self.ages(block, log_beta.device())?;
            logits = logits.broadcast_add(&log_beta.broadcast_mul(&ages)?)?;
        }
        logits = logits.broadcast_add(&self.mask(block, logits.device())?)?;
        logits.reshape((self.kv_heads, group * count, columns))
    }

    /// `t - i`, and 0 where the key is still to come; `(1, 1, count, columns)`.
    fn ages(&self, block: &Block, device: &candle_core::Device) -> Result<Tensor> {
        self.by_pair(block, device, |query, key| query.saturating_sub(key) as f32)
    }

    /// 0, and minus infinity where the key is still to come; `(1, 1, count, columns)`.
    fn mask(&self, block: &Block, device: &candle_core::Device) -> Result<Tensor> {
        self.by_pair(block, device, |query, key| if key > query { f32::NEG_INFINITY } else { 0.0 })
    }

    fn by_pair(
        &self,
        block: &Block,
        device: &candle_core::Device,
        value: impl Fn(usize, usize) -> f32,
    ) -> Result<Tensor> {
        let Block { start, count, columns } = *block;
        let cells = (start..start + count).flat_map(|query| (0..columns).map(move |key| (query, key)));
        let cells: Vec<f32> = cells.map(|(query, key)| value(query, key)).collect();
        Tensor::from_vec(cells, (1, 1, count, columns), device)?.to_dtype(self.dtype)
    }
}

pub(super) fn forward(attention: &Attention<'_>) -> Result<Attended> {
    let sizes = Sizes::of(attention)?;
    let mut outputs = Vec::new();
    let mut sums = Vec::new();
    for block in sizes.blocks() {
        let logits = sizes.logits(attention, &block)?;
        let peak = logits.max_keepdim(D::Minus1)?;
        let raised = logits.broadcast_sub(&peak)?.exp()?;
        let total = raised.sum_keepdim(D::Minus1)?;
        let weights = raised.broadcast_div(&total)?.to_dtype(attention.values.dtype())?;
        let values = attention.values.narrow(1, 0, block.columns)?.contiguous()?;
        outputs.push(sizes.unfolded(&weights.matmul(&values)?, &block)?);
        sums.push((peak + total.log()?)?.reshape((sizes.query_heads, block.count))?);
    }
    Ok(Attended { output: Tensor::cat(&outputs, 1)?, log_sum: Tensor::cat(&sums, 1)? })
}

pub(super) fn backward(
    attention: &Attention<'_>,
    attended: &Attended,
    gradient: &Tensor,
    pull: Pull,
) -> Result<AttentionGradient> {
    let sizes = Sizes::of(attention)?;
    let (kv_heads, tokens, group) = (sizes.kv_heads, sizes.tokens, sizes.query_heads / sizes.kv_heads);
    let native = attention.values.dtype();
    let (device, dtype) = (attention.queries.device(), sizes.dtype);
    let mut log_beta = Tensor::zeros((kv_heads, tokens), dtype, device)?;
    let mut queries = Vec::new();
    let mut keys = Tensor::zeros((kv_heads, tokens, sizes.head_dim), dtype, device)?;
    let mut values = keys.clone();
    // Keys after a block's last have no part in it.
    let grow = |xs: Tensor, columns: usize| xs.to_dtype(dtype)?.pad_with_zeros(1, 0, tokens - columns);
    let log_sum = attended.log_sum.unsqueeze(2)?;
    for block in sizes.blocks() {
        let columns = block.columns;
        let weights = sizes.logits(attention, &block)?.broadcast_sub(&sizes.folded(&log_sum, &block)?)?.exp()?;
        let d_output = sizes.folded(gradient, &block)?;
        let mean = (d_output.to_dtype(dtype)? * sizes.folded(&attended.output, &block)?.to_dtype(dtype)?)?;
        let mean = mean.sum_keepdim(D::Minus1)?;
        let block_values = attention.values.narrow(1, 0, columns)?;
        let d_weights = d_output.matmul(&block_values.transpose(1, 2)?)?.to_dtype(dtype)?;
        let slopes = (&weights * d_weights.broadcast_sub(&mean)?)?;
        let by_key = slopes.reshape((kv_heads, group, block.count, columns))?;
        let by_key = by_key.broadcast_mul(&sizes.ages(&block, device)?)?.sum((1, 2))?;
        log_beta = (log_beta + grow(by_key, columns)?)?;
        if pull == Pull::LogBeta {
            continue;
        }
        let slopes = (slopes * attention.scale()?)?.to_dtype(native)?;
        let block_keys = attention.keys.narrow(1, 0, columns)?.contiguous()?;
        queries.push(sizes.unfolded(&slopes.matmul(&block_keys)?.to_dtype(dtype)?, &block)?);
        let block_queries = sizes.folded(attention.queries, &block)?;
        keys = (keys + grow(slopes.transpose(1, 2)?.matmul(&block_queries)?, columns)?)?;
        let weights = weights.to_dtype(native)?;
        values = (values + grow(weights.transpose(1, 2)?.matmul(&d_output)?, columns)?)?;
    }
    let heads = match pull {
        Pull::LogBeta => None,
        Pull::Everything => Some(HeadGradient { queries: Tensor::cat(&queries, 1)?, keys, values }),
    };
    Ok(AttentionGradient { heads, log_beta })
}
