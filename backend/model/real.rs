//! Numbers that gradients are computed in on the host: `f32` to train, `f64` to check the same code by differences.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, WithDType};
use ndarray::NdFloat;

/// A real number that both candle and ndarray know.
pub trait Real: WithDType + NdFloat + std::iter::Sum {
    /// The nearest to `x`.
    fn real(x: f64) -> Self;

    /// The same number.
    fn as_f64(self) -> f64;

    /// `e^self` for arguments up to 88. Arguments below -87 give `e^-87`, which no sum notices; NaN stays NaN.
    fn quick_exp(self) -> Self;
}

impl Real for f64 {
    fn real(x: f64) -> Self {
        x
    }

    fn as_f64(self) -> f64 {
        self
    }

    fn quick_exp(self) -> Self {
        self.exp()
    }
}

impl Real for f32 {
    fn real(x: f64) -> Self {
        x as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }

    /// Branch-free, so that loops over slices become vector instructions; the library's `exp` does not. Relative error
    /// below 2e-7.
    #[inline(always)]
    fn quick_exp(self) -> Self {
        // x = n ln 2 + r: 2^n by its bits, e^r by its series. Adding 1.5 * 2^23 rounds to the nearest integer.
        const ROUND: f32 = 12_582_912.0;
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * LN2_HIGH - n * LN2_LOW;
        let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
        let series = 1.0 / 120.0 + r * series;
        let series = 1.0 / 24.0 + r * series;
        let series = 1.0 / 6.0 + r * series;
        let series = 0.5 + r * series;
        let series = 1.0 + r * (1.0 + r * series);
        series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
    }
}

/// Sum of a slice, in eight running sums, so that it becomes vector instructions.
#[inline(always)]
pub fn sum<T: Real>(xs: &[T]) -> T {
    let (chunks, rest) = xs.as_chunks::<8>();
    let mut sums = [T::zero(); 8];
    for chunk in chunks {
        for lane in 0..8 {
            sums[lane] += chunk[lane];
        }
    }
    sums.into_iter().sum::<T>() + rest.iter().copied().sum::<T>()
}

/// Sum of products of two slices of one length, as [`sum`].
#[inline(always)]
pub fn dot<T: Real>(xs: &[T], ys: &[T]) -> T {
    let (xs, x_rest) = xs.as_chunks::<8>();
    let (ys, y_rest) = ys.as_chunks::<8>();
    let mut sums = [T::zero(); 8];
    for (x, y) in xs.iter().zip(ys) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.into_iter().sum::<T>() + x_rest.iter().zip(y_rest).map(|(&x, &y)| x * y).sum::<T>()
}

/// Gives `read` the elements of a contiguous tensor on the CPU.
///
/// # Errors
/// When the tensor is elsewhere, not contiguous or of another type.
pub fn with_slice<T: Real, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { candle_core::bail!("this computation runs on the CPU only") };
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("a tensor is not contiguous") };
    Ok(read(&CpuStorage::as_slice::<T>(storage)?[start..end]))
}

/// The type that gradients of a model computing in `dtype` have: `f64` stays, anything else is `f32`.
pub fn gradient_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_exponential_is_the_exponential() {
        for step in 0..200_000 {
            let x = -86.9f32 + step as f32 * 8.7e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(x.quick_exp()) - exact).abs() / exact;
            assert!(error < 2e-7, "e^{x} is off by {error}");
        }
        assert_eq!(0f32.quick_exp(), 1.0);
        assert!(f32::NAN.quick_exp().is_nan());
        assert!(f32::NEG_INFINITY.quick_exp() < 1e-37);
    }

    #[test]
    fn sums_hold_every_element_once() {
        for length in [0, 1, 7, 8, 9, 31] {
            let xs: Vec<f64> = (0..length).map(f64::from).collect();
            assert_eq!(sum(&xs), xs.iter().sum::<f64>());
            assert_eq!(dot(&xs, &xs), xs.iter().map(|x| x * x).sum::<f64>());
        }
    }
}
