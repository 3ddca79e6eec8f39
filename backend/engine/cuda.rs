//! NVIDIA GPUs: opened with a look at what is needed first, and asked about their memory.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::time::Instant;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::cublas::sys as cublas;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, result, sys};
use candle_core::{Device, Result};

use super::device::{DeviceError, Opened};

/// A library by the names it has in the toolkits we build with, and where it comes from.
type Library = (&'static [&'static CStr], &'static str);

const TOOLKIT: &str =
    "it comes with the CUDA toolkit or NVIDIA's packages on PyPI; LD_LIBRARY_PATH may name their folders";

/// What must be on the machine, the driver first: the others are of no use without it.
const LIBRARIES: [Library; 5] = [
    (&[c"libcuda.so.1"], "it comes with NVIDIA's driver"),
    (&[c"libcublas.so.13", c"libcublas.so.12"], TOOLKIT),
    (&[c"libcublasLt.so.13", c"libcublasLt.so.12"], TOOLKIT),
    (&[c"libcurand.so.10"], TOOLKIT),
    (&[c"libnvrtc.so.13", c"libnvrtc.so.12"], TOOLKIT),
];

/// Opens a GPU.
pub(super) fn open(number: usize) -> std::result::Result<Opened, DeviceError> {
    if let Some(&(names, remedy)) = LIBRARIES.iter().find(|(names, _)| !names.iter().any(|name| is_loadable(name))) {
        let name = names[0].to_str().unwrap_or_default();
        return Err(DeviceError::MissingLibrary { number, name, remedy });
    }
    let refused = |reason: &dyn std::fmt::Display| {
        let reason = reason.to_string().lines().next().unwrap_or("no reason given").to_owned();
        DeviceError::Refused { number, reason }
    };
    // A stream of its own: everything happens on it, in order, whichever thread asks, and it can be captured.
    let device = CudaDevice::new_with_stream(number).map_err(|error| refused(&error))?;
    // SAFETY: with a single stream there is nothing that events of other streams could tell.
    #[allow(unsafe_code)]
    unsafe {
        device.disable_event_tracking();
    }
    settle(&device).map_err(|error| refused(&error))?;
    let name = device.cuda_stream().context().name().map_err(|error| refused(&error))?;
    let note = Some(format!("running on GPU {number} ({name})"));
    Ok(Opened { device: Device::Cuda(device), note })
}

/// Memory that cuBLAS works in: what it takes of its own accord on H100 and H200.
const WORKSPACE: usize = 32 << 20;

/// Keeps freed memory for the next tensor instead of giving it back at every wait, and gives cuBLAS memory that stays where it
/// is, so that a captured graph has no allocations in it.
fn settle(device: &CudaDevice) -> Result<()> {
    let wrap = |error: &dyn std::fmt::Display| candle_core::Error::Msg(error.to_string());
    let stream = device.cuda_stream();
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let mut all = u64::MAX;
    // SAFETY: the device is open, so its handle is valid and it has a pool; this attribute is a u64.
    #[allow(unsafe_code)]
    unsafe {
        let pool = result::device::get_mem_pool(stream.context().cu_device()).map_err(|error| wrap(&error))?;
        result::mem_pool::set_attribute(pool, threshold, (&raw mut all).cast()).map_err(|error| wrap(&error))?;
    }
    let workspace = device.alloc_zeros::<u8>(WORKSPACE)?;
    let (address, _) = workspace.device_ptr(&stream);
    // SAFETY: the handle is candle's own, and the memory is never freed: it is forgotten below.
    #[allow(unsafe_code)]
    let status =
        unsafe { cublas::cublasSetWorkspace_v2(*device.cublas_handle().handle(), address as *mut c_void, WORKSPACE) };
    std::mem::forget(workspace);
    status.result().map_err(|error| wrap(&error))
}

/// Whether the loader finds a library, in this program or on the machine.
#[allow(unsafe_code)]
fn is_loadable(name: &CStr) -> bool {
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    }
    const RTLD_LAZY: c_int = 1;
    // SAFETY: the name ends in a zero byte. Libraries of the list run nothing but their own initialisers when loaded,
    // and stay loaded, since this program is about to use them.
    let handle = unsafe { dlopen(name.as_ptr(), RTLD_LAZY) };
    !handle.is_null()
}

/// A GPU by its number and name.
pub(super) fn describe(device: &CudaDevice) -> String {
    let context = device.cuda_stream().context().clone();
    format!("cuda:{} {}", context.ordinal(), context.name().unwrap_or_default())
}

/// Bytes that are free on a GPU.
pub(super) fn free_memory(device: &CudaDevice) -> Option<u64> {
    device.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free as u64)
}

/// Most bytes that this program's tensors ever took of a GPU: the high-water mark of the pool they come from.
pub(super) fn peak_memory(device: &CudaDevice) -> Option<u64> {
    let stream = device.cuda_stream();
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    let mut bytes: u64 = 0;
    // SAFETY: the device is open, so its handle is valid and it has a pool; this attribute is a u64.
    #[allow(unsafe_code)]
    unsafe {
        let pool = result::device::get_mem_pool(stream.context().cu_device()).ok()?;
        result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()).ok()?;
    }
    Some(bytes)
}

/// Seconds that one copy of `bytes` takes on a GPU, the mean over `copies` in a row, and over `rounds` the median.
pub(super) fn copy_seconds(device: &CudaDevice, bytes: usize, copies: u32, rounds: usize) -> Result<f64> {
    let wrap = |error: result::DriverError| candle_core::Error::Msg(error.to_string());
    let source = device.alloc_zeros::<u8>(bytes)?;
    let mut target = device.alloc_zeros::<u8>(bytes)?;
    let mut seconds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        device.cuda_stream().synchronize().map_err(wrap)?;
        let start = Instant::now();
        for _ in 0..copies {
            device.memcpy_dtod(&source, &mut target)?;
        }
        device.cuda_stream().synchronize().map_err(wrap)?;
        seconds.push(start.elapsed().as_secs_f64() / f64::from(copies));
    }
    seconds.sort_unstable_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
