//! The gated attention on the CPU. Products are matrix products on blocks; everything between them is one sweep over a
//! block while it is in the cache; KV heads are shared out to threads.

use candle_core::{Device, Result, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::attention::{Attended, Attention, AttentionGradient, HeadGradient, Pull};
use crate::model::real::{Real, dot, sum, with_slice};

/// Queries in a block. Smaller ones waste less on masked pairs, larger ones make better products.
const BLOCK: usize = 64;

/// Sizes that all heads of a layer share.
#[derive(Clone, Copy)]
struct Shape {
    group: usize,
    tokens: usize,
    head_dim: usize,
    scale: f64,
}

/// One KV head and the query heads that share it, as slices.
#[derive(Clone, Copy)]
struct Head<'a, T> {
    queries: &'a [T],
    keys: &'a [T],
    values: &'a [T],
    log_beta: Option<&'a [T]>,
}

impl Shape {
    fn of(attention: &Attention<'_>) -> Result<Self> {
        let (query_heads, tokens, head_dim) = attention.queries.dims3()?;
        let kv_heads = attention.keys.dim(0)?;
        Ok(Self { group: query_heads / kv_heads, tokens, head_dim, scale: attention.scale()? })
    }

    /// Elements of one head.
    fn head(&self) -> usize {
        self.tokens * self.head_dim
    }

    /// First query, number of queries and number of keys of every block.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let tokens = self.tokens;
        (0..tokens).step_by(BLOCK).map(move |start| {
            let count = BLOCK.min(tokens - start);
            (start, count, start + count)
        })
    }

    fn matrix<'a, T>(&self, elements: &'a [T], first: usize, rows: usize) -> ArrayView2<'a, T> {
        view(&elements[first * self.head_dim..][..rows * self.head_dim], rows, self.head_dim)
    }
}

// The shapes are taken from the slices' own lengths, so that they always fit.
#[allow(clippy::expect_used)]
fn view<T>(elements: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), elements).expect("the slice has rows x columns elements")
}

#[allow(clippy::expect_used)]
fn view_mut<T>(elements: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), elements).expect("the slice has rows x columns elements")
}

/// Gives `use_heads` the tensors of a layer as slices.
fn with_slices<T: Real, R>(attention: &Attention<'_>, use_slices: impl FnOnce(Head<'_, T>) -> R) -> Result<R> {
    let [queries, keys, values] = [attention.queries, attention.keys, attention.values].map(Tensor::contiguous);
    let log_beta = attention.log_beta.map(Tensor::contiguous).transpose()?;
    with_slice::<T, _>(&queries?, |queries| {
        with_slice::<T, _>(&keys?, |keys| {
            with_slice::<T, _>(&values?, |values| {
                let whole = |log_beta: Option<&[T]>| use_slices(Head { queries, keys, values, log_beta });
                match &log_beta {
                    Some(log_beta) => with_slice::<T, _>(log_beta, |log_beta| whole(Some(log_beta))),
                    None => Ok(whole(None)),
                }
            })
        })?
    })??
}

impl<'a, T: Real> Head<'a, T> {
    /// The KV head `index` of a layer's slices.
    fn nth(&self, index: usize, shape: Shape) -> Self {
        let size = shape.head();
        Self {
            queries: &self.queries[index * shape.group * size..][..shape.group * size],
            keys: &self.keys[index * size..][..size],
            values: &self.values[index * size..][..size],
            log_beta: self.log_beta.map(|log_beta| &log_beta[index * shape.tokens..][..shape.tokens]),
        }
    }

    /// Logits of a block of one query head, without those that retention adds.
    fn products(&self, shape: Shape, member: usize, block: (usize, usize, usize), into: &mut [T]) {
        let (start, count, columns) = block;
        let queries = shape.matrix(self.queries, member * shape.tokens + start, count);
        let keys = shape.matrix(self.keys, 0, columns);
        general_mat_mul(T::real(shape.scale), &queries, &keys.t(), T::zero(), &mut view_mut(into, count, columns));
    }
}

/// Adds `(t - i) log_beta_i` to the logits of query `t`.
#[inline(always)]
fn add_retention<T: Real>(logits: &mut [T], log_beta: Option<&[T]>, positions: &[T], query: usize) {
    let Some(log_beta) = log_beta else { return };
    let now = positions[query];
    for ((logit, &log_beta), &position) in logits.iter_mut().zip(log_beta).zip(positions) {
        *logit += (now - position) * log_beta;
    }
}

fn positions<T: Real>(tokens: usize) -> Vec<T> {
    (0..tokens).map(|position| T::real(position as f64)).collect()
}

pub(super) fn forward<T: Real>(attention: &Attention<'_>) -> Result<Attended> {
    let shape = Shape::of(attention)?;
    let query_heads = attention.queries.dim(0)?;
    let mut output = vec![T::zero(); query_heads * shape.head()];
    let mut log_sum = vec![T::zero(); query_heads * shape.tokens];
    let positions = positions(shape.tokens);
    with_slices::<T, _>(attention, |heads| {
        let outputs = output.par_chunks_mut(shape.group * shape.head());
        let sums = log_sum.par_chunks_mut(shape.group * shape.tokens);
        outputs.zip(sums).enumerate().for_each(|(index, (output, log_sum))| {
            forward_head(&heads.nth(index, shape), shape, &positions, output, log_sum);
        });
    })?;
    Ok(Attended {
        output: Tensor::from_vec(output, attention.queries.dims(), &Device::Cpu)?,
        log_sum: Tensor::from_vec(log_sum, (query_heads, shape.tokens), &Device::Cpu)?,
    })
}

fn forward_head<T: Real>(head: &Head<'_, T>, shape: Shape, positions: &[T], output: &mut [T], log_sum: &mut [T]) {
    let mut scratch = vec![T::zero(); BLOCK * shape.tokens];
    for member in 0..shape.group {
        for block @ (start, count, columns) in shape.blocks() {
            let weights = &mut scratch[..count * columns];
            head.products(shape, member, block, weights);
            for (row, cells) in weights.chunks_exact_mut(columns).enumerate() {
                let query = start + row;
                let (seen, hidden) = cells.split_at_mut(query + 1);
                add_retention(seen, head.log_beta, positions, query);
                log_sum[member * shape.tokens + query] = softmax(seen);
                hidden.fill(T::zero());
            }
            let first = (member * shape.tokens + start) * shape.head_dim;
            let output = &mut output[first..][..count * shape.head_dim];
            let values = shape.matrix(head.values, 0, columns);
            let mut output = view_mut(output, count, shape.head_dim);
            general_mat_mul(T::one(), &view(weights, count, columns), &values, T::zero(), &mut output);
        }
    }
}

/// Replaces logits by their softmax and returns the log of the sum of their exponentials.
#[inline(always)]
fn softmax<T: Real>(logits: &mut [T]) -> T {
    let (chunks, rest) = logits.as_chunks::<8>();
    let mut peaks = [T::neg_infinity(); 8];
    for chunk in chunks {
        for lane in 0..8 {
            peaks[lane] = if chunk[lane] > peaks[lane] { chunk[lane] } else { peaks[lane] };
        }
    }
    let peak = peaks.iter().chain(rest).fold(T::neg_infinity(), |most, &x| if x > most { x } else { most });
    for logit in logits.iter_mut() {
        *logit = (*logit - peak).quick_exp();
    }
    let total = sum(logits);
    let share = total.recip();
    for weight in logits.iter_mut() {
        *weight *= share;
    }
    peak + total.ln()
}

pub(super) fn backward<T: Real>(
    attention: &Attention<'_>,
    attended: &Attended,
    gradient: &Tensor,
    pull: Pull,
) -> Result<AttentionGradient> {
    let shape = Shape::of(attention)?;
    let kv_heads = attention.keys.dim(0)?;
    let results: Vec<Pulled<T>> = with_slices::<T, _>(attention, |heads| {
        let (output, gradient) = (attended.output.contiguous()?, gradient.contiguous()?);
        with_slice::<T, _>(&output, |output| {
            with_slice::<T, _>(&gradient, |gradient| {
                with_slice::<T, _>(&attended.log_sum, |log_sum| {
                    let positions = positions(shape.tokens);
                    let of_head = |index: usize| {
                        let (wide, narrow) = (shape.group * shape.head(), shape.group * shape.tokens);
                        let after = After {
                            output: &output[index * wide..][..wide],
                            gradient: &gradient[index * wide..][..wide],
                            log_sum: &log_sum[index * narrow..][..narrow],
                        };
                        backward_head(&heads.nth(index, shape), shape, &positions, &after, pull)
                    };
                    (0..kv_heads).into_par_iter().map(of_head).collect()
                })
            })?
        })?
    })??;
    let join = |part: fn(&Pulled<T>) -> &[T], dims: &[usize]| {
        let joined: Vec<T> = results.iter().flat_map(|result| part(result).iter().copied()).collect();
        Tensor::from_vec(joined, dims, &Device::Cpu)
    };
    let heads = match pull {
        Pull::LogBeta => None,
        Pull::Everything => Some(HeadGradient {
            queries: join(|result| &result.queries, attention.queries.dims())?,
            keys: join(|result| &result.keys, attention.keys.dims())?,
            values: join(|result| &result.values, attention.values.dims())?,
        }),
    };
    Ok(AttentionGradient { heads, log_beta: join(|result| &result.log_beta, &[kv_heads, shape.tokens])? })
}

/// What is known of one KV head's results when the backward pass begins.
struct After<'a, T> {
    output: &'a [T],
    gradient: &'a [T],
    log_sum: &'a [T],
}

/// One KV head's gradients.
struct Pulled<T> {
    queries: Vec<T>,
    keys: Vec<T>,
    values: Vec<T>,
    log_beta: Vec<T>,
}

fn backward_head<T: Real>(
    head: &Head<'_, T>,
    shape: Shape,
    positions: &[T],
    after: &After<'_, T>,
    pull: Pull,
) -> Pulled<T> {
    let Shape { group, tokens, head_dim, .. } = shape;
    let wanted = if pull == Pull::Everything { shape.head() } else { 0 };
    let mut pulled = Pulled {
        queries: vec![T::zero(); group * wanted],
        keys: vec![T::zero(); wanted],
        values: vec![T::zero(); wanted],
        log_beta: vec![T::zero(); tokens],
    };
    let mut scratch = [vec![T::zero(); BLOCK * tokens], vec![T::zero(); BLOCK * tokens]];
    for member in 0..group {
        for block @ (start, count, columns) in shape.blocks() {
            let [weights, slopes] = scratch.each_mut().map(|buffer| &mut buffer[..count * columns]);
            let first = member * tokens + start;
            let d_output = shape.matrix(after.gradient, first, count);
            head.products(shape, member, block, weights);
            let values = shape.matrix(head.values, 0, columns);
            general_mat_mul(T::one(), &d_output, &values.t(), T::zero(), &mut view_mut(slopes, count, columns));
            let rows = weights.chunks_exact_mut(columns).zip(slopes.chunks_exact_mut(columns)).enumerate();
            for (row, (weights, slopes)) in rows {
                let (query, at) = (start + row, (first + row) * head_dim);
                // sum over keys of P dP, which is dO . O
                let mean = dot(&after.gradient[at..][..head_dim], &after.output[at..][..head_dim]);
                let (weights, unseen) = weights.split_at_mut(query + 1);
                unseen.fill(T::zero());
                let (slopes, unseen) = slopes.split_at_mut(query + 1);
                unseen.fill(T::zero());
                add_retention(weights, head.log_beta, positions, query);
                pull_softmax(weights, slopes, after.log_sum[first + row], mean);
                let now = positions[query];
                for ((into, &slope), &position) in pulled.log_beta.iter_mut().zip(&*slopes).zip(positions) {
                    *into += (now - position) * slope;
                }
            }
            if pull == Pull::LogBeta {
                continue;
            }
            let scale = T::real(shape.scale);
            let (weights, slopes) = (view(weights, count, columns), view(slopes, count, columns));
            let queries = shape.matrix(head.queries, first, count);
            let keys = shape.matrix(head.keys, 0, columns);
            let mut d_queries = view_mut(&mut pulled.queries[first * head_dim..][..count * head_dim], count, head_dim);
            general_mat_mul(scale, &slopes, &keys, T::zero(), &mut d_queries);
            let mut d_keys = view_mut(&mut pulled.keys[..columns * head_dim], columns, head_dim);
            general_mat_mul(scale, &slopes.t(), &queries, T::one(), &mut d_keys);
            let mut d_values = view_mut(&mut pulled.values[..columns * head_dim], columns, head_dim);
            general_mat_mul(T::one(), &weights.t(), &d_output, T::one(), &mut d_values);
        }
    }
    pulled
}

/// Replaces logits by their weights `P = exp(logit - log_sum)` and `slopes`, which hold `dP`, by `dS = P (dP - mean)`.
#[inline(always)]
fn pull_softmax<T: Real>(logits: &mut [T], slopes: &mut [T], log_sum: T, mean: T) {
    for (logit, slope) in logits.iter_mut().zip(slopes) {
        let weight = (*logit - log_sum).quick_exp();
        *logit = weight;
        *slope = weight * (*slope - mean);
    }
}
