//! Number types of tensors, and the wider ones that kernels compute in.

use candle_core::WithDType;

use crate::model::real::Real;

/// What a kernel reads and writes. On a GPU there is no f64.
#[cfg(not(feature = "cuda"))]
pub(super) trait Number: Convert {}
#[cfg(not(feature = "cuda"))]
impl<T: Convert> Number for T {}

/// What a kernel reads and writes. On a GPU there is no f64.
#[cfg(feature = "cuda")]
pub(super) trait Number: Convert + super::launch::OnDevice {}
#[cfg(feature = "cuda")]
impl<T: Convert + super::launch::OnDevice> Number for T {}

/// To the type computed in, and back.
pub(super) trait Convert: WithDType {
    /// What is computed in.
    type Wide: Real;

    /// The same number.
    fn widen(self) -> Self::Wide;

    /// The nearest number.
    fn narrow(wide: Self::Wide) -> Self;
}

/// What numbers of a type are computed in.
pub(super) type Wide<T> = <T as Convert>::Wide;

macro_rules! computed_in {
    ($narrow:ty, $wide:ty, $widen:expr, $round:expr) => {
        impl Convert for $narrow {
            type Wide = $wide;

            #[inline(always)]
            fn widen(self) -> $wide {
                $widen(self)
            }

            #[inline(always)]
            fn narrow(wide: $wide) -> Self {
                $round(wide)
            }
        }
    };
}

computed_in!(f32, f32, |x| x, |x| x);
computed_in!(f64, f64, |x| x, |x| x);
computed_in!(half::bf16, f32, half::bf16::to_f32, half::bf16::from_f32);
computed_in!(half::f16, f32, half::f16::to_f32, half::f16::from_f32);

/// `x / (1 + e^-x)`.
#[inline(always)]
pub(super) fn silu<T: Real>(x: T) -> T {
    x / (T::one() + (-x).quick_exp())
}

/// `1 / sqrt(x)`.
#[inline(always)]
pub(super) fn inverse_root<T: Real>(x: T) -> T {
    T::one() / x.sqrt()
}
