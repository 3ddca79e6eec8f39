//! The parts of a frozen decoder's layer, forward for training and backward: from the gradient of a part's result to
//! the gradients of what went in. Weights are constants, so theirs are never formed; an automatic differentiation would
//! form them all and throw them away.
//!
//! All tensors have one sequence's tokens as rows. Between two parts stands attention, which is the trainer's own.

use candle_core::{D, DType, Device, Module, Result, Tensor};
use rayon::prelude::*;

use super::{Decoder, Heads, Layer, keys_and_values};
use crate::model::real::{Real, dot, with_slice};
use crate::model::rotary::Rotation;

/// Rows that pass through an MLP at once: its inner width is the widest of a layer, so this bounds the memory.
const ROWS: usize = 4096;

/// A layer's normalised input and what attention reads of it.
pub(crate) struct LayerInput {
    /// `(tokens, hidden)`.
    pub normed: Tensor,
    /// `(tokens, (query_heads + 2 * kv_heads) * head_dim)`, before head norms and rotation.
    qkv: Tensor,
    /// `(query_heads, tokens, head_dim)`, rotated.
    pub queries: Tensor,
    /// `(kv_heads, tokens, head_dim)`, rotated.
    pub keys: Tensor,
    /// `(kv_heads, tokens, head_dim)`.
    pub values: Tensor,
}

impl LayerInput {
    /// `(tokens, kv_heads * 2 * head_dim)`: what gates on keys and values read.
    pub(crate) fn keys_and_values(&self) -> Result<Tensor> {
        keys_and_values(&self.keys, &self.values)
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let tensors = [&self.normed, &self.qkv, &self.queries, &self.keys, &self.values];
        tensors.iter().map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }
}

/// Gradients with respect to what a [`LayerInput`] holds; `None` is zero.
pub(crate) struct LayerInputGradient {
    pub normed: Option<Tensor>,
    pub queries: Tensor,
    pub keys: Tensor,
    pub values: Tensor,
}

impl Decoder {
    /// Embeddings of `tokens`, `(tokens, hidden)`.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        self.embedding.index_select(&Tensor::new(tokens, &self.device)?, 0)
    }

    /// Rotations of positions `0..tokens`.
    pub(crate) fn rotations(&self, tokens: usize) -> Result<Rotation> {
        self.rotary.prepare(std::slice::from_ref(&(0..tokens)), self.dtype, &self.device)
    }

    /// From a layer's input to its attention.
    pub(crate) fn layer_input(&self, layer: usize, hidden: &Tensor, rotation: &Rotation) -> Result<LayerInput> {
        let layer = &self.layers[layer];
        let normed = self.norm(hidden, &layer.input_norm)?;
        let (qkv, Heads { queries, keys, values }) = self.project(layer, &normed, rotation)?;
        Ok(LayerInput { normed, qkv, queries, keys, values })
    }

    /// The gradient of a layer's input by way of its attention, `(tokens, hidden)`.
    pub(crate) fn pull_layer_input(
        &self,
        layer: usize,
        hidden: &Tensor,
        input: &LayerInput,
        gradient: LayerInputGradient,
        rotation: &Rotation,
    ) -> Result<Tensor> {
        let layer = &self.layers[layer];
        let back = rotation.inverse()?;
        let (query_heads, kv_heads) = (self.config.query_heads, self.config.kv_heads);
        let rows = |xs: &Tensor| xs.to_dtype(self.dtype)?.transpose(0, 1)?.contiguous(); // (tokens, heads, head_dim)
        let normed_back = |gradient: Tensor, first: usize, count: usize, which: usize| match &layer.head_norms {
            Some(weights) => self.pull_norm(&self.heads_of(&input.qkv, first, count)?, &weights.get(which)?, &gradient),
            None => Ok(gradient),
        };
        let queries = rows(&back.apply(&gradient.queries.to_dtype(self.dtype)?.contiguous()?)?)?;
        let keys = rows(&back.apply(&gradient.keys.to_dtype(self.dtype)?.contiguous()?)?)?;
        let queries = normed_back(queries, 0, query_heads, 0)?;
        let keys = normed_back(keys, query_heads, kv_heads, 1)?;
        let qkv = Tensor::cat(&[queries, keys, rows(&gradient.values)?], 1)?.flatten_from(1)?;
        let mut normed = layer.qkv.pull(&qkv)?;
        if let Some(direct) = gradient.normed {
            normed = (normed + direct.to_dtype(self.dtype)?)?;
        }
        self.pull_norm(hidden, &layer.input_norm, &normed)
    }

    /// From a layer's input and its attention's result, `(tokens, query_heads * head_dim)`, to the next layer's input.
    pub(crate) fn layer_output(&self, layer: usize, hidden: &Tensor, attended: &Tensor) -> Result<Tensor> {
        let layer = &self.layers[layer];
        in_rows(hidden.dim(0)?, |start, count| {
            let hidden = hidden.narrow(0, start, count)?;
            let middle = (hidden + layer.out.forward(&attended.narrow(0, start, count)?)?)?;
            &middle + self.mlp(layer, &middle)?
        })
    }

    /// The gradients of a layer's input, past its attention, and of the attention's result.
    pub(crate) fn pull_layer_output(
        &self,
        layer: usize,
        hidden: &Tensor,
        attended: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let layer = &self.layers[layer];
        let middle = in_rows(hidden.dim(0)?, |start, count| {
            let hidden = hidden.narrow(0, start, count)?;
            let middle = (hidden + layer.out.forward(&attended.narrow(0, start, count)?)?)?;
            let gradient = gradient.narrow(0, start, count)?;
            &gradient + self.pull_mlp(layer, &middle, &gradient)?
        })?;
        let attended = layer.out.pull(&middle)?;
        Ok((middle, attended))
    }

    /// Next-token logits of `(tokens, hidden)` states in the type that gradients have.
    pub(crate) fn training_logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head
            .forward(&self.norm(hidden, &self.final_norm)?)?
            .to_dtype(crate::model::real::gradient_dtype(self.dtype))
    }

    /// The gradient of hidden states from that of their logits.
    pub(crate) fn pull_logits(&self, hidden: &Tensor, logits: &Tensor) -> Result<Tensor> {
        self.pull_norm(hidden, &self.final_norm, &self.head.pull(&logits.to_dtype(self.dtype)?)?)
    }

    fn pull_norm(&self, xs: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (xs, gradient) = (xs.contiguous()?, gradient.contiguous()?);
        let eps = f64::from(self.config.norm_eps as f32);
        match (xs.device(), xs.dtype()) {
            (Device::Cpu, DType::F32) => pull_norm_on_host::<f32>(&xs, weight, &gradient, eps),
            (Device::Cpu, DType::F64) => pull_norm_on_host::<f64>(&xs, weight, &gradient, eps),
            _ => pull_norm_by_tensors(&xs, weight, &gradient, eps),
        }
    }

    fn pull_mlp(&self, layer: &Layer, hidden: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let inner = layer.gate_up.forward(&self.norm(hidden, &layer.mlp_norm)?)?;
        let gated = layer.down.pull(gradient)?;
        let inner = match (inner.device(), inner.dtype()) {
            (Device::Cpu, DType::F32) => pull_gated_on_host::<f32>(&inner, &gated)?,
            (Device::Cpu, DType::F64) => pull_gated_on_host::<f64>(&inner, &gated)?,
            _ => pull_gated_by_tensors(&inner, &gated)?,
        };
        self.pull_norm(hidden, &layer.mlp_norm, &layer.gate_up.pull(&inner)?)
    }
}

/// Runs `part` on blocks of rows and joins the results.
fn in_rows(rows: usize, part: impl Fn(usize, usize) -> Result<Tensor>) -> Result<Tensor> {
    if rows <= ROWS {
        return part(0, rows);
    }
    let blocks: Vec<Tensor> =
        (0..rows).step_by(ROWS).map(|start| part(start, ROWS.min(rows - start))).collect::<Result<_>>()?;
    Tensor::cat(&blocks, 0)
}

/// With `y = x r w`, `r = (mean x^2 + eps)^(-1/2)`: `dx = r w dy - x r^3 mean(w dy x)`.
fn pull_norm_on_host<T: Real>(xs: &Tensor, weight: &Tensor, gradient: &Tensor, eps: f64) -> Result<Tensor> {
    let width = xs.dim(D::Minus1)?;
    let mut out = vec![T::zero(); xs.elem_count()];
    with_slice::<T, _>(xs, |xs| {
        with_slice::<T, _>(weight, |weight| {
            with_slice::<T, _>(gradient, |gradient| {
                let rows = out.par_chunks_mut(width).zip(xs.par_chunks(width)).zip(gradient.par_chunks(width));
                let size = T::real(width as f64);
                rows.with_min_len(64).for_each(|((out, xs), gradient)| {
                    for ((out, &dy), &w) in out.iter_mut().zip(gradient).zip(weight) {
                        *out = dy * w;
                    }
                    let r = (dot(xs, xs) / size + T::real(eps)).sqrt().recip();
                    let along = r * r * r * dot(out, xs) / size;
                    for (out, &x) in out.iter_mut().zip(xs) {
                        *out = *out * r - x * along;
                    }
                });
            })
        })
    })???;
    Tensor::from_vec(out, xs.dims(), xs.device())
}

fn pull_norm_by_tensors(xs: &Tensor, weight: &Tensor, gradient: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = xs.dtype();
    let [xs, weight, gradient] = [xs, weight, gradient].map(|tensor| tensor.to_dtype(DType::F32));
    let (xs, scaled) = (xs?, gradient?.broadcast_mul(&weight?)?);
    let r = (xs.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    let along = ((&scaled * &xs)?.mean_keepdim(D::Minus1)? * r.powf(3.0)?)?;
    (scaled.broadcast_mul(&r)? - xs.broadcast_mul(&along)?)?.to_dtype(dtype)
}

/// With `y = silu(a) b` and rows `a, b`: `da = dy b s (1 + a (1 - s))`, `s = sigmoid(a)`, and `db = dy silu(a)`.
fn pull_gated_on_host<T: Real>(inner: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let width = gradient.dim(1)?;
    let mut out = vec![T::zero(); inner.elem_count()];
    with_slice::<T, _>(inner, |inner| {
        with_slice::<T, _>(gradient, |gradient| {
            let rows = out.par_chunks_mut(2 * width).zip(inner.par_chunks(2 * width)).zip(gradient.par_chunks(width));
            rows.with_min_len(32).for_each(|((out, inner), gradient)| {
                let (d_gate, d_up) = out.split_at_mut(width);
                let (gate, up) = inner.split_at(width);
                let cells = d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(gradient);
                for ((((d_gate, d_up), &gate), &up), &dy) in cells {
                    let sigmoid = (T::one() + (-gate).quick_exp()).recip();
                    *d_gate = dy * up * sigmoid * (T::one() + gate * (T::one() - sigmoid));
                    *d_up = dy * gate * sigmoid;
                }
            });
        })
    })??;
    Tensor::from_vec(out, inner.dims(), inner.device())
}

fn pull_gated_by_tensors(inner: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let (dtype, width) = (inner.dtype(), gradient.dim(1)?);
    let (inner, gradient) = (inner.to_dtype(DType::F32)?, gradient.to_dtype(DType::F32)?);
    let (gate, up) = (inner.narrow(1, 0, width)?, inner.narrow(1, width, width)?);
    let sigmoid = ((gate.neg()?.exp()? + 1.0)?).recip()?;
    let slope = (&sigmoid * ((&gate * (1.0 - &sigmoid)?)? + 1.0)?)?;
    let d_gate = ((&gradient * up)? * slope)?;
    let d_up = (gradient * (gate * sigmoid)?)?;
    Tensor::cat(&[d_gate, d_up], 1)?.to_dtype(dtype)
}
