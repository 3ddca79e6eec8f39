//! The speed of memory, measured: what decoding, which reads every weight once a step, is held against.

use std::time::Instant;

use candle_core::{Device, Result};
use rayon::prelude::*;

use crate::engine::device::gpu_copy_seconds;

use super::statistics::Spread;

/// Bytes of a copy on the CPU: far more than caches hold.
const CPU_BYTES: usize = 256 << 20;
/// Bytes of a copy on a GPU.
const GPU_BYTES: usize = 1 << 30;
/// Copies of which the median counts.
const ROUNDS: usize = 7;

/// Bytes per second that a large copy moves within the device's memory, read and written counted both: the median of
/// seven. On the CPU all threads that the engine would use copy at once.
///
/// Decoding mostly reads, and reading alone can be somewhat faster than copying, so a share of this may pass 1.
///
/// # Errors
/// When memory for the copy is missing, or the device fails.
pub fn copy_bandwidth(device: &Device) -> Result<f64> {
    let (bytes, seconds) = match device {
        Device::Cpu => (CPU_BYTES, cpu_copy_seconds()),
        _ => (GPU_BYTES, gpu_copy_seconds(device, GPU_BYTES, ROUNDS)?),
    };
    Ok(2.0 * bytes as f64 / seconds)
}

fn cpu_copy_seconds() -> f64 {
    let source = vec![1u8; CPU_BYTES];
    let mut target = vec![2u8; CPU_BYTES];
    let part = CPU_BYTES / rayon::current_num_threads().max(1);
    let mut copy = || {
        let start = Instant::now();
        target.par_chunks_mut(part).zip(source.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&target);
        start.elapsed().as_secs_f64()
    };
    // The first one brings the pages in.
    copy();
    Spread::of((0..ROUNDS).map(|_| copy()).collect()).map_or(f64::NAN, |spread| spread.median)
}
