//! Projections, with the weights of several side by side so that they are one product.

use candle_core::{DType, Device, Module, Result, Tensor};

use super::error::ModelError;
use super::weights::TensorSource;

/// `x W^T + b`.
#[derive(Debug, Clone)]
pub struct Projection {
    /// `(out, in)`.
    weight: Tensor,
    /// `(out)`.
    bias: Option<Tensor>,
}

impl Projection {
    /// Wraps a weight of shape `(out, in)` and a bias of shape `(out)`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// Loads `parts` (name and rows each) and stacks them, so that one product computes them all.
    ///
    /// # Errors
    /// As [`TensorSource::take`].
    pub fn stacked(
        weights: &dyn TensorSource,
        parts: &[(&str, usize)],
        columns: usize,
        bias: bool,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let mut stacked = Vec::with_capacity(parts.len());
        let mut biases = Vec::new();
        for &(name, rows) in parts {
            stacked.push(weights.take(&format!("{name}.weight"), &[rows, columns], dtype, device)?);
            if bias {
                biases.push(weights.take(&format!("{name}.bias"), &[rows], dtype, device)?);
            }
        }
        let join = |tensors: Vec<Tensor>| match tensors.len() {
            1 => Ok(tensors.into_iter().next()),
            0 => Ok(None),
            _ => Tensor::cat(&tensors, 0).map(Some),
        };
        let weight = join(stacked)?.ok_or_else(|| ModelError::Text("a projection needs at least one part".into()))?;
        Ok(Self { weight, bias: join(biases)? })
    }

    /// `x W^T`, without the bias.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn product(&self, xs: &Tensor) -> Result<Tensor> {
        xs.matmul(&self.weight.t()?)
    }

    /// `(out, in)`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `(out)`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The gradient of the input, `(tokens, in)`, from that of the result, `(tokens, out)`.
    pub(crate) fn pull(&self, gradient: &Tensor) -> Result<Tensor> {
        gradient.matmul(&self.weight)
    }
}

impl Module for Projection {
    /// `xs`: `(tokens, in)`; returns `(tokens, out)`.
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let product = self.product(xs)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}
