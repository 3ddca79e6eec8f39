//! One document, forward and backward: the gated student beside its frozen teacher.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::attention::{Attended, Attention, AttentionGradient, HeadGradient, Pull};
use super::capacity::{Capacity, CapacityLoss};
use super::gates::{Gradients, Retention, TrainableGates};
use super::objective::{Comparison, Quality, Weights};
use super::soft_size::{pull_soft_size, soft_size};
use crate::model::decoder::Decoder;
use crate::model::decoder::pullback::{LayerInput, LayerInputGradient};
use crate::model::gate::GateInput;
use crate::model::real::{Real, with_slice};
use crate::model::rotary::Rotation;
use crate::training_log::LayerFacts;

/// Bytes of projections that a forward pass keeps for the backward pass; beyond it they are computed again.
const KEPT_BYTES: usize = 1 << 30;

/// A frozen model and the gates it learns.
pub struct Student<'a> {
    /// The frozen model.
    pub model: &'a Decoder,
    /// The gates.
    pub gates: &'a TrainableGates,
    /// Weights of the losses.
    pub weights: Weights,
    /// The capacity loss.
    pub capacity: Capacity,
}

/// One document's part in a step.
pub struct Lesson<'a> {
    /// Token ids.
    pub tokens: &'a [u32],
    /// Positions that count, ascending, and the token that follows each.
    pub targets: &'a [(u32, u32)],
    /// Positions that count over all documents of the step.
    pub step_positions: usize,
    /// Documents of the step.
    pub step_documents: usize,
}

/// What a document gave.
pub struct Outcome {
    /// Summed over its counted positions.
    pub quality: Quality,
    /// Its capacity loss.
    pub capacity: f64,
    /// Of the step's total loss.
    pub gradients: Gradients,
    /// What its gates did, layer by layer.
    pub layers: Vec<LayerFacts>,
}

/// What a layer's forward pass leaves for its backward pass.
struct Trail {
    /// The layer's input.
    hidden: Tensor,
    /// Absent when it is to be computed again.
    input: Option<LayerInput>,
    retention: Retention,
    attended: Attended,
}

impl Student<'_> {
    /// Losses and gradients of one document.
    ///
    /// # Errors
    /// When memory runs out or the device fails.
    pub fn learn(&self, lesson: &Lesson<'_>) -> Result<Outcome> {
        match self.model.dtype() {
            DType::F64 => self.learn_in::<f64>(lesson),
            _ => self.learn_in::<f32>(lesson),
        }
    }

    fn learn_in<T: Real>(&self, lesson: &Lesson<'_>) -> Result<Outcome> {
        let layers = self.gates.layers();
        let rotation = self.model.rotations(lesson.tokens.len())?;
        let embedded = self.model.embed(lesson.tokens)?;
        // Both begin with the same input, and so with the same queries, keys and values.
        let first = self.model.layer_input(0, &embedded, &rotation)?;
        let teacher = self.teach(&embedded, &first, &rotation)?;
        let (trails, student) = self.follow(&embedded, first, &rotation)?;

        let log_betas: Vec<Vec<T>> =
            trails.iter().map(|trail| rows(&trail.retention.log_beta)).collect::<Result<_>>()?;
        let tokens = lesson.tokens.len();
        let heads: Vec<&[T]> = log_betas.iter().flat_map(|layer| layer.chunks(tokens)).collect();
        let sizes: Vec<Vec<T>> = heads.par_iter().map(|log_beta| soft_size(log_beta)).collect();
        let CapacityLoss { loss: capacity, gradient: size_gradient } = self.capacity.loss(&sizes);
        let comparison =
            Comparison { model: self.model, teacher: &teacher, student: &student, targets: lesson.targets };
        let (quality, mut gradient) = comparison.evaluate(self.weights, lesson.step_positions)?;
        drop((teacher, student));

        let share = T::real(self.weights.capacity / lesson.step_documents as f64);
        let from_capacity: Vec<Vec<T>> = heads
            .par_iter()
            .zip(size_gradient)
            .map(|(log_beta, mut upstream)| {
                upstream.iter_mut().for_each(|gradient| *gradient *= share);
                let mut pulled = vec![T::zero(); tokens];
                pull_soft_size(log_beta, &upstream, &mut pulled);
                pulled
            })
            .collect();
        let facts = self.facts(&heads, &sizes);
        let kv_heads = heads.len() / layers;
        let mut gradients: Gradients = vec![None; self.gates.specs().len()];
        for (layer, trail) in trails.into_iter().enumerate().rev() {
            let own = from_capacity[layer * kv_heads..][..kv_heads].concat();
            let own = Tensor::from_vec(own, (kv_heads, tokens), self.model.device())?;
            gradient = self.pull_layer(layer, trail, gradient, own, &rotation, &mut gradients)?;
        }
        Ok(Outcome { quality, capacity, gradients, layers: facts })
    }

    /// The frozen model's final hidden states.
    fn teach(&self, embedded: &Tensor, first: &LayerInput, rotation: &Rotation) -> Result<Tensor> {
        let mut hidden = embedded.clone();
        for layer in 0..self.gates.layers() {
            let own;
            let input = if layer == 0 {
                first
            } else {
                own = self.model.layer_input(layer, &hidden, rotation)?;
                &own
            };
            let attended = attention(input, None).forward()?;
            hidden = self.model.layer_output(layer, &hidden, &by_token(&attended.output)?)?;
        }
        Ok(hidden)
    }

    /// The student's forward pass: what its layers leave behind, and its final hidden states.
    fn follow(&self, embedded: &Tensor, first: LayerInput, rotation: &Rotation) -> Result<(Vec<Trail>, Tensor)> {
        let layers = self.gates.layers();
        let mut hidden = embedded.clone();
        let mut trails = Vec::with_capacity(layers);
        let mut first = Some(first);
        for layer in 0..layers {
            let input = match first.take() {
                Some(input) => input,
                None => self.model.layer_input(layer, &hidden, rotation)?,
            };
            let retention = self.gates.retention(layer, &input)?;
            let attended = attention(&input, Some(&retention.log_beta)).forward()?;
            let next = self.model.layer_output(layer, &hidden, &by_token(&attended.output)?)?;
            let keeps = input.bytes() * layers <= KEPT_BYTES;
            trails.push(Trail { hidden, input: keeps.then_some(input), retention, attended });
            hidden = next;
        }
        Ok((trails, hidden))
    }

    /// Carries the gradient of a layer's result to its input. `from_capacity` is added to that of its `log_beta`.
    fn pull_layer(
        &self,
        layer: usize,
        trail: Trail,
        gradient: Tensor,
        from_capacity: Tensor,
        rotation: &Rotation,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let Trail { hidden, input, retention, attended } = trail;
        let input = input.map_or_else(|| self.model.layer_input(layer, &hidden, rotation), Ok)?;
        let result = by_token(&attended.output)?;
        let (direct, d_result) = self.model.pull_layer_output(layer, &hidden, &result, &gradient)?;
        let (heads, tokens, head_dim) = attended.output.dims3()?;
        let d_result = d_result.reshape((tokens, heads, head_dim))?.transpose(0, 1)?.contiguous()?;
        // Below the first layer there is nothing to learn.
        let pull = if layer == 0 { Pull::LogBeta } else { Pull::Everything };
        let attention = attention(&input, Some(&retention.log_beta));
        let AttentionGradient { heads, log_beta } = attention.backward(&attended, &d_result, pull)?;
        let d_gate_input = self.gates.pull(layer, &input, &retention, &(log_beta + from_capacity)?, gradients)?;
        let Some(HeadGradient { queries, mut keys, mut values }) = heads else { return Ok(direct) };
        let mut normed = None;
        match self.gates.input() {
            GateInput::Hidden => normed = Some(d_gate_input),
            GateInput::KeysAndValues => {
                let (kv_heads, tokens, head_dim) = keys.dims3()?;
                let by_head = d_gate_input.reshape((tokens, kv_heads, 2 * head_dim))?.transpose(0, 1)?;
                keys = (keys + by_head.narrow(2, 0, head_dim)?)?;
                values = (values + by_head.narrow(2, head_dim, head_dim)?)?;
            }
        }
        let through = LayerInputGradient { normed, queries, keys, values };
        direct + self.model.pull_layer_input(layer, &hidden, &input, through, rotation)?
    }

    fn facts<T: Real>(&self, log_betas: &[&[T]], sizes: &[Vec<T>]) -> Vec<LayerFacts> {
        let kv_heads = log_betas.len() / self.gates.layers();
        let of_layer = |(log_betas, sizes): (&[&[T]], &[Vec<T>])| {
            let mean = |values: &mut dyn Iterator<Item = f64>| {
                let (count, total) = values.fold((0usize, 0.0), |(count, total), value| (count + 1, total + value));
                total / count.max(1) as f64
            };
            // A beta that rounds to 1 would have an infinite half-life; f32 cannot tell it from 2^24 tokens.
            let log_half_life = |log_beta: T| (std::f64::consts::LN_2 / (-log_beta.as_f64()).max(4e-8)).ln();
            LayerFacts {
                soft_size: mean(&mut sizes.iter().flatten().map(|size| size.as_f64())),
                last_soft_size: mean(&mut sizes.iter().filter_map(|row| row.last()).map(|size| size.as_f64())),
                log_half_life: mean(&mut log_betas.iter().copied().flatten().map(|&log_beta| log_half_life(log_beta))),
            }
        };
        log_betas.chunks(kv_heads).zip(sizes.chunks(kv_heads)).map(of_layer).collect()
    }
}

fn attention<'a>(input: &'a LayerInput, log_beta: Option<&'a Tensor>) -> Attention<'a> {
    Attention { queries: &input.queries, keys: &input.keys, values: &input.values, log_beta }
}

/// `(heads, tokens, head_dim)` to `(tokens, heads * head_dim)`.
fn by_token(heads: &Tensor) -> Result<Tensor> {
    let (count, tokens, head_dim) = heads.dims3()?;
    heads.transpose(0, 1)?.reshape((tokens, count * head_dim))
}

fn rows<T: Real>(tensor: &Tensor) -> Result<Vec<T>> {
    if tensor.device().is_cpu() {
        return with_slice::<T, _>(tensor, <[T]>::to_vec);
    }
    tensor.flatten_all()?.to_vec1::<T>()
}
