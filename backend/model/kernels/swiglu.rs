//! The inner product of an MLP: `silu(a) * b`.

use candle_core::{D, Result, Shape, Tensor};
use rayon::prelude::*;

use super::number::{Number, silu};
use super::{Kernel, Operand, PARALLEL, run};

/// `silu(a) * b` for rows that hold `a` and `b` side by side.
///
/// # Shapes
/// - `inner`: `(tokens, 2 * width)`, contiguous
/// - returns: `(tokens, width)`
///
/// # Errors
/// When rows are not of even length or not contiguous, or memory runs out.
pub fn swiglu(inner: &Tensor) -> Result<Tensor> {
    let (tokens, both) = inner.dims2()?;
    if both % 2 != 0 {
        candle_core::bail!("two halves of {both} numbers differ");
    }
    run(&Swiglu { tokens, width: inner.dim(D::Minus1)? / 2 }, inner)
}

struct Swiglu {
    tokens: usize,
    width: usize,
}

impl Kernel for Swiglu {
    const NAME: &'static str = "swiglu";

    fn rest(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn host<T: Number>(&self, operands: &[Operand<'_, T>]) -> Result<(Vec<T>, Shape)> {
        let inner = operands[0].contiguous()?;
        let mut made = vec![T::zero(); self.tokens * self.width];
        let row = |(made, inner): (&mut [T], &[T])| {
            let (gates, ups) = inner.split_at(inner.len() / 2);
            for ((made, gate), up) in made.iter_mut().zip(gates).zip(ups) {
                *made = T::narrow(silu(gate.widen()) * up.widen());
            }
        };
        let width = self.width.max(1);
        if made.len() < PARALLEL {
            made.chunks_mut(width).zip(inner.chunks(2 * width)).for_each(row);
        } else {
            made.par_chunks_mut(width).zip(inner.par_chunks(2 * width)).for_each(row);
        }
        Ok((made, (self.tokens, self.width).into()))
    }

    #[cfg(feature = "cuda")]
    fn device<T: Number>(
        &self,
        operands: &[super::launch::Operand<'_, T>],
    ) -> Result<(super::launch::Numbers<T>, Shape)> {
        let [inner] = operands else { candle_core::bail!("swiglu has one operand") };
        let count = self.tokens * self.width;
        let mut call = inner.call(Self::NAME, &[])?;
        call.read(inner.contiguous()?).write(count)?.size(self.width).size(count);
        Ok((call.launch([count.div_ceil(256), 1], 256)?, (self.tokens, self.width).into()))
    }
}
