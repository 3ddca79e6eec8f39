//! Where a model runs, and in what number type.

use std::str::FromStr;

use candle_core::{DType, Device};

/// Which device to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU this build can use, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':') {
            None if name == "auto" => Ok(Self::Auto),
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) if number.parse::<usize>().is_ok() => Ok(Self::Cuda(number.parse().unwrap_or(0))),
            _ => Err(format!("there is no device {name:?}; choose auto, cpu or cuda:N")),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// When a GPU is asked for that this build or machine does not have.
    pub fn open(self) -> Result<Device, String> {
        let built_with_cuda = cfg!(feature = "cuda");
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if !built_with_cuda => Ok(Device::Cpu),
            Self::Auto => Ok(Device::cuda_if_available(0).unwrap_or(Device::Cpu)),
            Self::Cuda(_) if !built_with_cuda => {
                Err("this build runs on the CPU only; build it with --features cuda, or add --device cpu".to_owned())
            }
            Self::Cuda(number) => Device::new_cuda(number)
                .map_err(|error| format!("GPU {number} cannot be used ({error}); add --device cpu to run without it")),
        }
    }
}

/// A device in the trace's words.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// Which number type to compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DTypeChoice {
    /// f32 on the CPU; on a GPU the type the weights are stored in.
    #[default]
    Auto,
    /// This one.
    Fixed(DType),
}

impl FromStr for DTypeChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" | "float32" => Ok(Self::Fixed(DType::F32)),
            "f16" | "float16" => Ok(Self::Fixed(DType::F16)),
            "bf16" | "bfloat16" => Ok(Self::Fixed(DType::BF16)),
            _ => Err(format!("there is no number type {name:?}; choose auto, f32, f16 or bf16")),
        }
    }
}

impl DTypeChoice {
    /// The type to compute in, given where and what the weights are stored as (`config.json`'s word).
    pub fn resolve(self, device: &Device, stored: Option<&str>) -> DType {
        match (self, device, stored) {
            (Self::Fixed(dtype), ..) => dtype,
            (Self::Auto, Device::Cpu, _) => DType::F32,
            (Self::Auto, _, Some("float16")) => DType::F16,
            (Self::Auto, _, Some("float32")) => DType::F32,
            (Self::Auto, ..) => DType::BF16,
        }
    }
}

/// Tells candle how many threads to use, once and for all, unless the user has (`RAYON_NUM_THREADS`).
///
/// Left alone, candle counts the machine's cores anew, by reading `/proc/cpuinfo`, in every product: four fifths of the
/// time a small model takes per token. The environment is the only place it looks first.
///
/// Call it at the start of a program, before there are threads.
pub fn fix_thread_count() {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // SAFETY: unsound only while another thread reads the environment; the caller has started none.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(VARIABLE, count.to_string());
        }
    }
}

/// Bytes of memory that programs can still take, where the system tells.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
