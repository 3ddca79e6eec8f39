//! The inner product of an MLP: `silu(a) * b`.

use candle_core::{Result, Shape, Tensor};

use super::number::{Number, silu};
use super::{Kernel, Operand, fill_chunks, run};

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
    run(&Swiglu { tokens, width: both / 2 }, inner)
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
        let work = made.len();
        fill_chunks(&mut made, self.width, work, |token, made| {
            let (gates, ups) = inner[2 * token * self.width..][..2 * self.width].split_at(self.width);
            for ((made, gate), up) in made.iter_mut().zip(gates).zip(ups) {
                *made = T::narrow(silu(gate.widen()) * up.widen());
            }
        });
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
        call.read(inner.contiguous()?).nothing().write(count)?.size(self.width).size(count);
        Ok((call.launch([count.div_ceil(256), 1], 256)?, (self.tokens, self.width).into()))
    }
}
