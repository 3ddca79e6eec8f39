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

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A GPU is asked for, and this program was built without.
    #[error("this build runs on the CPU only; build it with --features cuda, or add --device cpu")]
    NotBuilt,
    /// The driver or one of NVIDIA's libraries is not there.
    #[error(
        "GPU {number} cannot be used: {name} is not on this machine ({remedy}); add --device cpu to run without it"
    )]
    MissingLibrary {
        /// The GPU asked for.
        number: usize,
        /// File name of the library.
        name: &'static str,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// The driver is there and says no.
    #[error("GPU {number} cannot be used ({reason}); add --device cpu to run without it")]
    Refused {
        /// The GPU asked for.
        number: usize,
        /// The driver's reason.
        reason: String,
    },
}

/// A device, and what people should know about how it was chosen.
#[derive(Debug)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// Which GPU was found, or why none is used; `None` where there was nothing to choose.
    pub note: Option<String>,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// When a GPU is asked for that this build or machine does not have.
    pub fn open(self) -> Result<Opened, DeviceError> {
        self.open_with(open_gpu)
    }

    /// [`DeviceChoice::open`] with its own way to open a GPU.
    fn open_with(self, gpu: impl FnOnce(usize) -> Result<Opened, DeviceError>) -> Result<Opened, DeviceError> {
        let cpu = |note| Ok(Opened { device: Device::Cpu, note });
        match self {
            Self::Cpu => cpu(None),
            Self::Cuda(number) => gpu(number),
            Self::Auto => match gpu(0) {
                // A program for the CPU has nothing to explain.
                Err(DeviceError::NotBuilt) => cpu(None),
                Err(error) => {
                    let why = error.to_string().replace("; add --device cpu to run without it", "");
                    cpu(Some(format!("running on the CPU: {why}")))
                }
                opened => opened,
            },
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn open_gpu(_: usize) -> Result<Opened, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(feature = "cuda")]
use super::cuda::open as open_gpu;

/// A device in the trace's words.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// A device for people: a GPU by its name where it tells.
pub fn describe(device: &Device) -> String {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::describe(device),
        _ => device_name(device).to_owned(),
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

/// Bytes of memory that are free on a device, where it tells.
pub fn free_memory(device: &Device) -> Option<u64> {
    match device {
        Device::Cpu => available_memory(),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::free_memory(device),
        _ => None,
    }
}

/// Most bytes that this program ever took, where it is told: on the CPU of the whole process as the system counts it, on
/// a GPU of its tensors.
pub fn peak_memory(device: &Device) -> Option<u64> {
    match device {
        Device::Cpu => {
            let status = std::fs::read_to_string("/proc/self/status").ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::peak_memory(device),
        _ => None,
    }
}

/// Seconds that a copy of `bytes` within a GPU's memory takes, the median of `rounds`.
///
/// # Errors
/// When the device is no GPU, has no room, or fails.
pub fn gpu_copy_seconds(device: &Device, bytes: usize, rounds: usize) -> candle_core::Result<f64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::copy_seconds(device, bytes, 20, rounds),
        _ => candle_core::bail!("{} cannot time {rounds} copies of {bytes} bytes as a GPU does", device_name(device)),
    }
}

/// Bytes of memory that programs can still take, where the system tells: the machine's, or less where a container has
/// its own limit.
fn available_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_of(&text));
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let container = limit.zip(number("/sys/fs/cgroup/memory.current")).map(|(limit, used)| limit.saturating_sub(used));
    [machine, container].into_iter().flatten().min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: DeviceError =
        DeviceError::MissingLibrary { number: 0, name: "libcuda.so.1", remedy: "it comes with NVIDIA's driver" };

    #[test]
    fn auto_falls_back_to_the_cpu_and_says_why() {
        let opened = DeviceChoice::Auto.open_with(|_| Err(MISSING)).unwrap();
        assert!(opened.device.is_cpu());
        insta::assert_snapshot!(opened.note.unwrap(), @"running on the CPU: GPU 0 cannot be used: libcuda.so.1 is not on this machine (it comes with NVIDIA's driver)");
        let silent = DeviceChoice::Auto.open_with(|_| Err(DeviceError::NotBuilt)).unwrap();
        assert!(silent.device.is_cpu() && silent.note.is_none());
    }

    #[test]
    fn auto_takes_the_gpu_that_answers_and_passes_on_which() {
        let gpu = |number| Ok(Opened { device: Device::Cpu, note: Some(format!("GPU {number}")) });
        assert_eq!(DeviceChoice::Auto.open_with(gpu).unwrap().note.unwrap(), "GPU 0");
    }

    #[test]
    fn a_gpu_that_was_asked_for_is_not_replaced() {
        assert_eq!(DeviceChoice::Cuda(3).open_with(|_| Err(MISSING)).unwrap_err(), MISSING);
        let refused = |number| Err(DeviceError::Refused { number, reason: "no such device".to_owned() });
        let error = DeviceChoice::Cuda(3).open_with(refused).unwrap_err().to_string();
        assert_eq!(error, "GPU 3 cannot be used (no such device); add --device cpu to run without it");
    }

    #[test]
    fn the_cpu_is_opened_without_a_look_at_gpus() {
        assert!(DeviceChoice::Cpu.open_with(|_| panic!("looked")).unwrap().note.is_none());
    }

    #[test]
    fn available_memory_is_read_from_the_systems_table() {
        let table = "MemTotal:       24689380 kB\nMemFree:         210348 kB\nMemAvailable:   18037844 kB\n";
        assert_eq!(available_of(table), Some(18_037_844 * 1024));
        assert_eq!(available_of("MemTotal: 3 kB"), None);
    }
}
