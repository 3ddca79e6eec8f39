//! What a decoding step does between its matrix products, each in one kernel.
//!
//! Composed from tensor operations, one layer's step is some thirty small ones, and on small models or on a GPU their
//! number is what takes the time. Every kernel here has two forms, one for the host and one in CUDA (`kernels.cu`), that do
//! the same arithmetic: operands are widened to f32 (f64 stays), and the result is rounded once.

mod attend;
mod gate_tail;
mod heads;
#[cfg(feature = "cuda")]
mod launch;
mod number;
mod swiglu;

pub use attend::{AttendOne, attend_one, attention_fits};
pub use gate_tail::gate_tail;
pub use heads::{HeadLayout, arrange_heads};
#[cfg(feature = "cuda")]
pub(super) use launch::{blocks_wanted, load};
pub use swiglu::swiglu;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

use number::Number;

/// Numbers that a kernel makes on the host before more than one thread is worth waking.
const PARALLEL: usize = 1 << 15;

/// A kernel, with what it needs beside its first operand.
trait Kernel: Send + Sync {
    /// Its name, in `kernels.cu` and in errors.
    const NAME: &'static str;

    /// Operands after the first, all of one number type.
    fn rest(&self) -> Vec<&Tensor>;

    /// On the host.
    fn host<T: Number>(&self, operands: &[Operand<'_, T>]) -> Result<(Vec<T>, Shape)>;

    /// On a GPU.
    #[cfg(feature = "cuda")]
    fn device<T: Number>(&self, operands: &[launch::Operand<'_, T>]) -> Result<(launch::Numbers<T>, Shape)>;
}

/// A tensor on the host.
struct Operand<'a, T> {
    data: &'a [T],
    layout: &'a Layout,
}

impl<T> Operand<'_, T> {
    /// Its numbers in order.
    fn contiguous(&self) -> Result<&[T]> {
        match self.layout.contiguous_offsets() {
            Some((start, end)) => Ok(&self.data[start..end]),
            None => candle_core::bail!("an operand of a kernel is not contiguous"),
        }
    }
}

/// A `(planes, rows, width)` view whose planes are whole, with room for more rows between them.
#[derive(Debug, Clone, Copy)]
struct Planes {
    start: usize,
    /// Numbers from one plane to the next.
    stride: usize,
    rows: usize,
    width: usize,
}

impl Planes {
    fn of(layout: &Layout) -> Result<Self> {
        let (planes, rows, width) = layout.shape().dims3()?;
        match *layout.stride() {
            // A plane of one row, or a single plane, may say any stride.
            [stride, row, 1] if row == width || rows <= 1 => {
                let stride = if planes <= 1 { rows * width } else { stride };
                Ok(Self { start: layout.start_offset(), stride, rows, width })
            }
            _ => candle_core::bail!("rows of keys or values have gaps"),
        }
    }

    fn plane(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.start + index * self.stride;
        start..start + self.rows * self.width
    }
}

/// Gives every chunk of `width` numbers to `fill`, with its index; on several threads when there are `work` numbers or
/// more to compute with that make it worth it.
fn fill_chunks<T: Number>(made: &mut [T], width: usize, work: usize, fill: impl Fn(usize, &mut [T]) + Send + Sync) {
    let width = width.max(1);
    if work < PARALLEL {
        made.chunks_mut(width).enumerate().for_each(|(index, chunk)| fill(index, chunk));
    } else {
        made.par_chunks_mut(width).enumerate().for_each(|(index, chunk)| fill(index, chunk));
    }
}

/// Runs a kernel where its first operand is.
fn run(kernel: &impl Kernel, first: &Tensor) -> Result<Tensor> {
    first.apply_op1_no_bwd(&Adapter(kernel))
}

struct Adapter<'a, K>(&'a K);

impl<K: Kernel> Adapter<'_, K> {
    fn on_host<T: Number>(&self, first: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rest: Vec<_> = self.0.rest().into_iter().map(Tensor::storage_and_layout).collect();
        let mut operands = vec![Operand { data: CpuStorage::as_slice::<T>(first)?, layout }];
        for (storage, layout) in &rest {
            let Storage::Cpu(storage) = &**storage else {
                candle_core::bail!("operands of {} are on different devices", K::NAME)
            };
            operands.push(Operand { data: CpuStorage::as_slice::<T>(storage)?, layout });
        }
        let (made, shape) = self.0.host(&operands)?;
        Ok((T::to_cpu_storage_owned(made), shape))
    }
}

impl<K: Kernel> CustomOp1 for Adapter<'_, K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, first: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match first {
            CpuStorage::F32(_) => self.on_host::<f32>(first, layout),
            CpuStorage::F64(_) => self.on_host::<f64>(first, layout),
            CpuStorage::BF16(_) => self.on_host::<half::bf16>(first, layout),
            CpuStorage::F16(_) => self.on_host::<half::f16>(first, layout),
            _ => candle_core::bail!("{} computes with floating-point numbers only", K::NAME),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, first: &candle_core::CudaStorage, layout: &Layout) -> Result<(candle_core::CudaStorage, Shape)> {
        launch::run(self.0, first, layout)
    }
}
