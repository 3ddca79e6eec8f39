//! The end of a retention gate: bias, SiLU, the small product, bias.

use candle_core::{Result, Shape, Tensor};

use super::number::{Number, Wide, silu};
use super::{Kernel, Operand, fill_chunks, run};
use crate::model::real::dot;

/// `down silu(up + up_bias) + bias`, for the product `up` of a gate's first matrix.
///
/// # Shapes
/// - `up`: `(tokens, inner)`
/// - `up_bias`: `(inner)`
/// - `down`: `(kv_heads, inner)`
/// - `bias`: `(kv_heads)`
/// - returns: `(tokens, kv_heads)`
///
/// # Errors
/// When shapes do not fit, an operand is not contiguous, or memory runs out.
pub fn gate_tail(up: &Tensor, up_bias: &Tensor, down: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (tokens, inner) = up.dims2()?;
    let (heads, columns) = down.dims2()?;
    if columns != inner || up_bias.dims() != [inner] || bias.dims() != [heads] {
        candle_core::bail!("a gate's parts {:?} and {:?} do not fit", up.dims(), down.dims());
    }
    run(&GateTail { tokens, inner, heads, up_bias, down, bias }, up)
}

struct GateTail<'a> {
    tokens: usize,
    inner: usize,
    heads: usize,
    up_bias: &'a Tensor,
    down: &'a Tensor,
    bias: &'a Tensor,
}

impl Kernel for GateTail<'_> {
    const NAME: &'static str = "gate_tail";

    fn rest(&self) -> Vec<&Tensor> {
        vec![self.up_bias, self.down, self.bias]
    }

    fn host<T: Number>(&self, operands: &[Operand<'_, T>]) -> Result<(Vec<T>, Shape)> {
        let numbers = operands.iter().map(Operand::contiguous).collect::<Result<Vec<_>>>()?;
        let [up, up_bias, down, bias] = numbers[..] else { candle_core::bail!("a gate's end has four operands") };
        let down: Vec<Wide<T>> = down.iter().map(|x| x.widen()).collect();
        let mut made = vec![T::zero(); self.tokens * self.heads];
        fill_chunks(&mut made, self.heads, up.len(), |token, made| {
            let up = &up[token * self.inner..][..self.inner];
            let inner: Vec<_> = up.iter().zip(up_bias).map(|(x, bias)| silu(x.widen() + bias.widen())).collect();
            for ((made, weights), bias) in made.iter_mut().zip(down.chunks_exact(self.inner)).zip(bias) {
                *made = T::narrow(dot(weights, &inner) + bias.widen());
            }
        });
        Ok((made, (self.tokens, self.heads).into()))
    }

    #[cfg(feature = "cuda")]
    fn device<T: Number>(
        &self,
        operands: &[super::launch::Operand<'_, T>],
    ) -> Result<(super::launch::Numbers<T>, Shape)> {
        let mut call = operands[0].call(Self::NAME, &[])?;
        for operand in operands {
            call.read(operand.contiguous()?);
        }
        let count = self.tokens * self.heads;
        call.write(count)?.size(self.tokens).size(self.inner).size(self.heads);
        // One warp for a token of a head.
        Ok((call.launch([count.div_ceil(4), 1], 128)?, (self.tokens, self.heads).into()))
    }
}
