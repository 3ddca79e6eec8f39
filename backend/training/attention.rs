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

#[cfg(test)]
mod tests {
    use super::*;

    /// `(heads, tokens, width)` of numbers that repeat nowhere near.
    fn numbers(dims: &[usize], salt: f64) -> Tensor {
        let values: Vec<f64> = (0..dims.iter().product()).map(|i: usize| (i as f64 * 0.731 + salt).sin()).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        let [a, b] = [a, b].map(|tensor| tensor.to_dtype(DType::F64).unwrap());
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
    }

    /// Three groupings; tokens in one block, in several, and in several of the tensor path's.
    const CASES: [(usize, usize, usize, usize); 4] = [(2, 2, 9, 4), (6, 2, 130, 3), (4, 1, 64, 6), (3, 3, 300, 2)];

    #[test]
    fn the_fused_kernels_are_the_tensor_operations() {
        for (query_heads, kv_heads, tokens, head_dim) in CASES {
            let queries = numbers(&[query_heads, tokens, head_dim], 0.1).affine(2.0, 0.0).unwrap();
            let keys = numbers(&[kv_heads, tokens, head_dim], 0.2).affine(2.0, 0.0).unwrap();
            let values = numbers(&[kv_heads, tokens, head_dim], 0.3);
            // From betas that forget in a few tokens to ones that never do.
            let log_beta = (numbers(&[kv_heads, tokens], 0.4).sqr().unwrap() * -0.5).unwrap();
            let upstream = numbers(&[query_heads, tokens, head_dim], 0.5);
            for log_beta in [None, Some(&log_beta)] {
                let whole = Attention { queries: &queries, keys: &keys, values: &values, log_beta };
                let exact = tensors::forward(&whole).unwrap();
                let fused = host::forward::<f64>(&whole).unwrap();
                assert!(difference(&exact.output, &fused.output) < 1e-12);
                assert!(difference(&exact.log_sum, &fused.log_sum) < 1e-12);

                let single = [&queries, &keys, &values].map(|xs| xs.to_dtype(DType::F32).unwrap());
                let single_beta = log_beta.map(|xs| xs.to_dtype(DType::F32).unwrap());
                let [q, k, v] = &single;
                let in_f32 = Attention { queries: q, keys: k, values: v, log_beta: single_beta.as_ref() };
                let attended = in_f32.forward().unwrap();
                assert!(difference(&exact.output, &attended.output) < 5e-6);

                for pull in [Pull::Everything, Pull::LogBeta] {
                    let expected = tensors::backward(&whole, &exact, &upstream, pull).unwrap();
                    let found = host::backward::<f64>(&whole, &fused, &upstream, pull).unwrap();
                    let most = expected.log_beta.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
                    assert!(difference(&expected.log_beta, &found.log_beta) < 1e-12 * most);
                    let upstream = upstream.to_dtype(DType::F32).unwrap();
                    let in_f32 = in_f32.backward(&attended, &upstream, pull).unwrap();
                    assert!(difference(&expected.log_beta, &in_f32.log_beta) < 1e-5 * most);
                    assert_eq!(expected.heads.is_some(), pull == Pull::Everything);
                    assert_eq!(found.heads.is_some(), pull == Pull::Everything);
                    let (Some(expected), Some(found)) = (expected.heads, found.heads) else { continue };
                    assert!(difference(&expected.queries, &found.queries) < 1e-11);
                    assert!(difference(&expected.keys, &found.keys) < 1e-11);
                    assert!(difference(&expected.values, &found.values) < 1e-11);
                }
            }
        }
    }

    #[test]
    fn betas_of_one_change_no_bit() {
        let [queries, keys, values] =
            [0.1, 0.2, 0.3].map(|salt| numbers(&[2, 100, 4], salt).to_dtype(DType::F32).unwrap());
        let zeros = Tensor::zeros((2, 100), DType::F32, &Device::Cpu).unwrap();
        let plain = Attention { queries: &queries, keys: &keys, values: &values, log_beta: None };
        let gated = Attention { log_beta: Some(&zeros), ..plain };
        let [plain, gated] = [plain, gated].map(|attention| attention.forward().unwrap().output);
        assert_eq!(difference(&plain, &gated), 0.0);
    }

    #[test]
    fn half_precision_heads_are_attended_in_f32() {
        let [queries, keys, values] =
            [0.1, 0.2, 0.3].map(|salt| numbers(&[2, 70, 4], salt).to_dtype(DType::BF16).unwrap());
        let log_beta = Tensor::full(-0.1f32, (2, 70), &Device::Cpu).unwrap();
        let attention = Attention { queries: &queries, keys: &keys, values: &values, log_beta: Some(&log_beta) };
        let attended = attention.forward().unwrap();
        let exact = attention.as_f32().unwrap().borrowed().forward().unwrap();
        assert_eq!(attended.output.dtype(), DType::BF16);
        assert!(difference(&attended.output, &exact.output) < 1e-2);
        let gradient = attention.backward(&attended, &attended.output, Pull::Everything).unwrap();
        assert_eq!(gradient.log_beta.dtype(), DType::F32);
    }
}
