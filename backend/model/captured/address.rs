//! Where a tensor's numbers are.

use candle_core::{CpuStorage, Result, Storage, Tensor};

/// An address in the memory of a device.
pub type Address = u64;

/// Where the first number of a contiguous tensor is. It stays there as long as its storage lives.
///
/// # Errors
/// When the tensor is not contiguous, or of a type that no step holds.
pub fn address(tensor: &Tensor) -> Result<Address> {
    let (storage, layout) = tensor.storage_and_layout();
    if !layout.is_contiguous() {
        candle_core::bail!("a step's tensor is not contiguous");
    }
    let first = match &*storage {
        Storage::Cpu(storage) => on_host(storage)?,
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => super::cuda::on_gpu(storage)?,
        #[allow(unreachable_patterns)]
        _ => candle_core::bail!("a step's tensor is on a device that cannot run it"),
    };
    Ok(first + (layout.start_offset() * tensor.dtype().size_in_bytes()) as Address)
}

fn on_host(storage: &CpuStorage) -> Result<Address> {
    Ok(match storage {
        CpuStorage::U32(numbers) => numbers.as_ptr().expose_provenance(),
        CpuStorage::I64(numbers) => numbers.as_ptr().expose_provenance(),
        CpuStorage::F32(numbers) => numbers.as_ptr().expose_provenance(),
        CpuStorage::BF16(numbers) => numbers.as_ptr().expose_provenance(),
        CpuStorage::F16(numbers) => numbers.as_ptr().expose_provenance(),
        _ => candle_core::bail!("a step's tensor is of a type that it cannot hold"),
    } as Address)
}
