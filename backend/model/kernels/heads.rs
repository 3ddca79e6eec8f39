//! From a layer's stacked projections to its heads: split, normalised, rotated, side by side.

use candle_core::{Result, Shape, Tensor};

use super::number::{Number, Wide, inverse_root};
use super::{Kernel, Operand, fill_chunks, run};
use crate::model::real::{Real, dot};

/// How the rows of a stacked projection are laid out: queries, keys, values.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayout {
    /// Query heads.
    pub query_heads: usize,
    /// KV heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to a mean square before its root.
    pub norm_eps: f64,
}

/// Splits projections into heads, normalises queries and keys (RMS, when there are weights), rotates them (RoPE, the halves of
/// the first `rotary_dim` numbers against each other), and puts the tokens of a head side by side.
///
/// # Shapes
/// - `qkv`: `(tokens, (query_heads + 2 * kv_heads) * head_dim)`
/// - `cos`, `sin`: `(tokens, rotary_dim / 2)`
/// - `norms`: `(2, head_dim)`, of queries and of keys
/// - returns: `(query_heads + 2 * kv_heads, tokens, head_dim)`: queries, keys, values
///
/// # Errors
/// When shapes do not fit, an operand is not contiguous, or memory runs out.
pub fn arrange_heads(
    layout: HeadLayout,
    qkv: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    norms: Option<&Tensor>,
) -> Result<Tensor> {
    let (tokens, width) = qkv.dims2()?;
    let (rows, half) = cos.dims2()?;
    let all = layout.query_heads + 2 * layout.kv_heads;
    let normed = norms.is_none_or(|norms| norms.dims() == [2, layout.head_dim]);
    if width != all * layout.head_dim
        || rows != tokens
        || sin.dims() != cos.dims()
        || 2 * half > layout.head_dim
        || !normed
    {
        candle_core::bail!("{all} heads of {} do not fit {:?} and {:?}", layout.head_dim, qkv.dims(), cos.dims());
    }
    run(&Arrange { layout, tokens, half, cos, sin, norms }, qkv)
}

struct Arrange<'a> {
    layout: HeadLayout,
    tokens: usize,
    /// Half of the numbers that are rotated.
    half: usize,
    cos: &'a Tensor,
    sin: &'a Tensor,
    norms: Option<&'a Tensor>,
}

impl Arrange<'_> {
    fn heads(&self) -> usize {
        self.layout.query_heads + 2 * self.layout.kv_heads
    }

    fn shape(&self) -> Shape {
        (self.heads(), self.tokens, self.layout.head_dim).into()
    }
}

impl Kernel for Arrange<'_> {
    const NAME: &'static str = "arrange_heads";

    fn rest(&self) -> Vec<&Tensor> {
        [self.cos, self.sin].into_iter().chain(self.norms).collect()
    }

    fn host<T: Number>(&self, operands: &[Operand<'_, T>]) -> Result<(Vec<T>, Shape)> {
        let HeadLayout { query_heads, kv_heads, head_dim, norm_eps } = self.layout;
        let (qkv, cos, sin) = (operands[0].contiguous()?, operands[1].contiguous()?, operands[2].contiguous()?);
        let norms = operands.get(3).map(Operand::contiguous).transpose()?;
        let mut made = vec![T::zero(); qkv.len()];
        let width = self.heads() * head_dim;
        let work = made.len();
        fill_chunks(&mut made, self.tokens * head_dim, work, |head, made| {
            let rows = qkv.chunks_exact(width).map(|row| &row[head * head_dim..][..head_dim]);
            if head >= query_heads + kv_heads {
                made.chunks_exact_mut(head_dim).zip(rows).for_each(|(made, row)| made.copy_from_slice(row));
                return;
            }
            let weights = norms.map(|norms| &norms[usize::from(head >= query_heads) * head_dim..][..head_dim]);
            let mut wide = vec![Wide::<T>::real(0.0); head_dim];
            for (token, (made, row)) in made.chunks_exact_mut(head_dim).zip(rows).enumerate() {
                wide.iter_mut().zip(row).for_each(|(wide, &x)| *wide = x.widen());
                if let Some(weights) = weights {
                    let mean = dot(&wide, &wide) / Wide::<T>::real(head_dim as f64);
                    let scale = inverse_root(mean + Wide::<T>::real(norm_eps));
                    wide.iter_mut().zip(weights).for_each(|(wide, weight)| *wide = *wide * scale * weight.widen());
                }
                let at = token * self.half..(token + 1) * self.half;
                let (first, second) = wide.split_at_mut(self.half);
                for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(&cos[at.clone()]).zip(&sin[at]) {
                    let (cos, sin) = (cos.widen(), sin.widen());
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
                made.iter_mut().zip(&wide).for_each(|(made, &wide)| *made = T::narrow(wide));
            }
        });
        Ok((made, self.shape()))
    }

    #[cfg(feature = "cuda")]
    fn device<T: Number>(
        &self,
        operands: &[super::launch::Operand<'_, T>],
    ) -> Result<(super::launch::Numbers<T>, Shape)> {
        let HeadLayout { query_heads, kv_heads, head_dim, norm_eps } = self.layout;
        let mut call = operands[0].call(Self::NAME, &[])?;
        for operand in &operands[..3] {
            call.read(operand.contiguous()?);
        }
        match operands.get(3) {
            Some(norms) => call.read(norms.contiguous()?),
            None => call.nothing(),
        };
        call.write(self.shape().elem_count())?;
        for size in [self.tokens, query_heads, kv_heads, head_dim, self.half] {
            call.size(size);
        }
        call.real(norm_eps);
        // One warp for a token of a head.
        Ok((call.launch([(self.tokens * self.heads()).div_ceil(4), 1], 128)?, self.shape()))
    }
}
