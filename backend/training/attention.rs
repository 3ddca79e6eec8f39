//! Retention-gated attention for training: logit `q_t . k_i / sqrt(head_dim) + (t - i) log_beta_i` for `i <= t` (method
//! section 4, the additive form), forward and backward, in blocks of queries. Memory is O(block x tokens) per thread.
//!
//! Without `log_beta` it is plain causal attention, by the same code, so that a student whose betas are all 1 is its
//! teacher bit for bit.

use candle_core::{DType, Device, Result, Tensor};

use super::{attention_host as host, attention_tensors as tensors};
use crate::model::real::gradient_dtype;

/// One layer's heads. Query heads of a group share one KV head.
pub struct Attention<'a> {
    /// `(query_heads, tokens, head_dim)`.
    pub queries: &'a Tensor,
    /// `(kv_heads, tokens, head_dim)`.
    pub keys: &'a Tensor,
    /// `(kv_heads, tokens, head_dim)`.
    pub values: &'a Tensor,
    /// `(kv_heads, tokens)`, nats, at most 0, in f32 (f64 for f64 heads); `None` means that nothing fades.
    pub log_beta: Option<&'a Tensor>,
}

/// What attention gives and its backward pass needs again.
pub struct Attended {
    /// `(query_heads, tokens, head_dim)`.
    pub output: Tensor,
    /// `(query_heads, tokens)`: log of the sum of exponentiated logits, so that the backward pass need not sum again.
    pub log_sum: Tensor,
}

/// Gradients with respect to what attention read, in its shapes.
pub struct AttentionGradient {
    /// With respect to the queries; `None` unless asked for.
    pub heads: Option<HeadGradient>,
    /// With respect to `log_beta`.
    pub log_beta: Tensor,
}

/// Gradients with respect to queries, keys and values.
pub struct HeadGradient {
    /// `(query_heads, tokens, head_dim)`.
    pub queries: Tensor,
    /// `(kv_heads, tokens, head_dim)`.
    pub keys: Tensor,
    /// `(kv_heads, tokens, head_dim)`.
    pub values: Tensor,
}

/// Which gradients a backward pass should make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// All of them.
    Everything,
    /// `log_beta` alone: all that the first layer needs.
    LogBeta,
}

impl Attention<'_> {
    /// Attends.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn forward(&self) -> Result<Attended> {
        match (self.queries.device(), self.queries.dtype()) {
            (Device::Cpu, DType::F64) => host::forward::<f64>(self),
            (Device::Cpu, DType::F32) => host::forward::<f32>(self),
            (Device::Cpu, dtype) => {
                let attended = self.as_f32()?.borrowed().forward()?;
                Ok(Attended { output: attended.output.to_dtype(dtype)?, log_sum: attended.log_sum })
            }
            _ => tensors::forward(self),
        }
    }

    /// Carries `gradient`, of the output and in its shape, back. `log_beta` must be there.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn backward(&self, attended: &Attended, gradient: &Tensor, pull: Pull) -> Result<AttentionGradient> {
        match (self.queries.device(), self.queries.dtype()) {
            (Device::Cpu, DType::F64) => host::backward::<f64>(self, attended, gradient, pull),
            (Device::Cpu, DType::F32) => host::backward::<f32>(self, attended, gradient, pull),
            (Device::Cpu, dtype) => {
                let in_f32 = |xs: &Tensor| xs.to_dtype(gradient_dtype(dtype));
                let attended = Attended { output: in_f32(&attended.output)?, log_sum: attended.log_sum.clone() };
                self.as_f32()?.borrowed().backward(&attended, &in_f32(gradient)?, pull)
            }
            _ => tensors::backward(self, attended, gradient, pull),
        }
    }

    /// Factor on the products of queries and keys.
    pub(super) fn scale(&self) -> Result<f64> {
        Ok((self.queries.dim(2)? as f64).sqrt().recip())
    }

    fn as_f32(&self) -> Result<Converted> {
        let convert = |xs: &Tensor| xs.to_dtype(DType::F32);
        Ok(Converted {
            queries: convert(self.queries)?,
            keys: convert(self.keys)?,
            values: convert(self.values)?,
            log_beta: self.log_beta.cloned(),
        })
    }
}

/// Heads of a half-precision model, brought to f32.
struct Converted {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    log_beta: Option<Tensor>,
}

impl Converted {
    fn borrowed(&self) -> Attention<'_> {
        Attention { queries: &self.queries, keys: &self.keys, values: &self.values, log_beta: self.log_beta.as_ref() }
    }
}
