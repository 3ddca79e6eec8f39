//! Kernels on a GPU: compiled at their first use, called with their operands.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg, sys::CUdevice_attribute,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDType, CudaDevice, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Storage, Tensor};

use super::Kernel;
use super::number::Number;

const SOURCE: &str = include_str!("kernels.cu");

/// Compiled kernels by the name of their module.
static COMPILED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Numbers on a GPU.
pub(super) type Numbers<T> = CudaSlice<T>;

/// A number type that a GPU's memory may hold.
pub(super) trait OnDevice: CudaDType + DeviceRepr {}
impl<T: CudaDType + DeviceRepr> OnDevice for T {}

/// Runs a kernel in the type of its first operand.
pub(super) fn run<K: Kernel>(kernel: &K, first: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    use candle_core::cuda_backend::CudaStorageSlice as Of;
    match first.slice {
        Of::F32(_) => run_in::<f32, K>(kernel, first, layout),
        Of::BF16(_) => run_in::<half::bf16, K>(kernel, first, layout),
        Of::F16(_) => run_in::<half::f16, K>(kernel, first, layout),
        _ => candle_core::bail!("{} computes in f32, bf16 and f16 on a GPU", K::NAME),
    }
}

fn run_in<T: Number, K: Kernel>(kernel: &K, first: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let device = &first.device;
    let rest: Vec<_> = kernel.rest().into_iter().map(Tensor::storage_and_layout).collect();
    let mut operands = vec![Operand { data: first.as_cuda_slice::<T>()?, layout, device }];
    for (storage, layout) in &rest {
        let Storage::Cuda(storage) = &**storage else {
            candle_core::bail!("operands of {} are on different devices", K::NAME)
        };
        operands.push(Operand { data: storage.as_cuda_slice::<T>()?, layout, device });
    }
    let (made, shape) = kernel.device(&operands)?;
    Ok((CudaStorage::wrap_cuda_slice(made, device.clone()), shape))
}

/// A tensor on a GPU.
pub(super) struct Operand<'a, T> {
    data: &'a CudaSlice<T>,
    pub(super) layout: &'a Layout,
    device: &'a CudaDevice,
}

impl<'a, T: Number> Operand<'a, T> {
    /// Its numbers in order.
    pub(super) fn contiguous(&self) -> Result<CudaView<'a, T>> {
        match self.layout.contiguous_offsets() {
            Some((start, end)) => Ok(self.data.slice(start..end)),
            None => candle_core::bail!("an operand of a kernel is not contiguous"),
        }
    }

    /// Its buffer from a number on.
    pub(super) fn from(&self, start: usize) -> CudaView<'a, T> {
        self.data.slice(start..)
    }

    /// Blocks that keep this GPU busy.
    pub(super) fn blocks_wanted(&self) -> usize {
        blocks_wanted(self.device)
    }

    /// Room for results between two kernels. Its content is arbitrary.
    pub(super) fn scratch(&self, count: usize) -> Result<CudaSlice<f32>> {
        // SAFETY: the kernel that gets it writes every number before another reads it.
        #[allow(unsafe_code)]
        unsafe {
            self.device.alloc::<f32>(count)
        }
    }

    /// A call of a kernel for this number type; `fixed` is what the compiler should know.
    pub(super) fn call(&self, name: &'static str, fixed: &[(&'static str, usize)]) -> Result<Call<'a, T>> {
        let function = load(self.device, name, T::DTYPE, fixed)?;
        Ok(Call { name, function, device: self.device, arguments: Vec::new(), made: None })
    }
}

enum Argument<'a, T> {
    Read(CudaView<'a, T>),
    Floats(&'a CudaSlice<f32>),
    Counts(Box<dyn Deref<Target = Storage> + 'a>),
    Nothing,
    Made,
    Size(u64),
    Real(f32),
}

/// A call that is being put together; its arguments are in the order of the kernel's.
pub(super) struct Call<'a, T> {
    name: &'static str,
    function: CudaFunction,
    device: &'a CudaDevice,
    arguments: Vec<Argument<'a, T>>,
    made: Option<CudaSlice<T>>,
}

impl<'a, T: Number> Call<'a, T> {
    /// An operand.
    pub(super) fn read(&mut self, numbers: CudaView<'a, T>) -> &mut Self {
        self.push(Argument::Read(numbers))
    }

    /// Results between two kernels.
    pub(super) fn floats(&mut self, numbers: &'a CudaSlice<f32>) -> &mut Self {
        self.push(Argument::Floats(numbers))
    }

    /// A vector of u32.
    pub(super) fn counts(&mut self, counts: &'a Tensor) -> &mut Self {
        self.push(Argument::Counts(Box::new(counts.storage_and_layout().0)))
    }

    /// A null pointer.
    pub(super) fn nothing(&mut self) -> &mut Self {
        self.push(Argument::Nothing)
    }

    /// The result, of `count` numbers, all of which the kernel writes.
    pub(super) fn write(&mut self, count: usize) -> Result<&mut Self> {
        // SAFETY: the kernel writes every number before anything reads it.
        #[allow(unsafe_code)]
        let made = unsafe { self.device.alloc::<T>(count) }?;
        self.made = Some(made);
        Ok(self.push(Argument::Made))
    }

    /// A number of things.
    pub(super) fn size(&mut self, size: usize) -> &mut Self {
        self.push(Argument::Size(size as u64))
    }

    /// A real number.
    pub(super) fn real(&mut self, real: f64) -> &mut Self {
        self.push(Argument::Real(real as f32))
    }

    fn push(&mut self, argument: Argument<'a, T>) -> &mut Self {
        self.arguments.push(argument);
        self
    }

    /// Launches a kernel that makes a result.
    pub(super) fn launch(self, blocks: [usize; 2], threads: u32) -> Result<CudaSlice<T>> {
        match self.send(blocks, threads)? {
            Some(made) => Ok(made),
            None => candle_core::bail!("a kernel was to make nothing"),
        }
    }

    /// Launches a kernel that makes what only another reads.
    pub(super) fn launch_only(self, blocks: [usize; 2], threads: u32) -> Result<()> {
        self.send(blocks, threads).map(drop)
    }

    fn send(self, blocks: [usize; 2], threads: u32) -> Result<Option<CudaSlice<T>>> {
        let Self { name, function, device, arguments, made } = self;
        let too_large = |_| candle_core::Error::Msg(format!("{name} has too much to do in one launch"));
        let [x, y] = [u32::try_from(blocks[0]).map_err(too_large)?, u32::try_from(blocks[1]).map_err(too_large)?];
        if x == 0 || y == 0 {
            return Ok(made);
        }
        let stream = device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        for argument in &arguments {
            match argument {
                Argument::Read(numbers) => builder.arg(numbers),
                Argument::Floats(numbers) => builder.arg(*numbers),
                Argument::Counts(storage) => match &***storage {
                    Storage::Cuda(storage) => builder.arg(storage.as_cuda_slice::<u32>()?),
                    _ => candle_core::bail!("{name} has operands on different devices"),
                },
                Argument::Nothing => builder.arg(&0u64),
                Argument::Made => match &made {
                    Some(made) => builder.arg(made),
                    None => builder.arg(&0u64),
                },
                Argument::Size(size) => builder.arg(size),
                Argument::Real(real) => builder.arg(real),
            };
        }
        let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: arguments are in the order and of the types of the kernel's signature, and its bounds follow from
        // the shapes that were checked when it was asked for.
        #[allow(unsafe_code)]
        unsafe { builder.launch(config) }.w()?;
        Ok(made)
    }
}

/// Blocks that keep a GPU busy.
pub(in crate::model) fn blocks_wanted(device: &CudaDevice) -> usize {
    let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let processors = device.cuda_stream().context().attribute(attribute);
    // Small blocks that mostly wait for memory: several on each processor hide that from each other.
    8 * processors.map_or(64, |count| count.max(1) as usize)
}

/// A kernel for a number type; `fixed` is what the compiler should know.
///
/// # Errors
/// When there is none for the type, or it cannot be compiled or loaded.
pub(in crate::model) fn load(
    device: &CudaDevice,
    name: &str,
    dtype: DType,
    fixed: &[(&'static str, usize)],
) -> Result<CudaFunction> {
    let number = match dtype {
        DType::F32 => 0,
        DType::BF16 => 1,
        DType::F16 => 2,
        other => candle_core::bail!("there is no {name} for {other:?}"),
    };
    let mut module = format!("trimkv-{number}");
    let mut options = vec![format!("-DNUMBER={number}")];
    for (name, value) in fixed {
        module += &format!("-{value}");
        options.push(format!("-D{name}={value}"));
    }
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.contains_key(&module) {
        compiled.insert(module.clone(), compile(options)?);
    }
    Ok(device.get_or_load_custom_func(name, &module, &compiled[&module])?.into_cuda_function())
}

fn compile(options: Vec<String>) -> Result<String> {
    let options = CompileOptions { options, ..CompileOptions::default() };
    match compile_ptx_with_opts(SOURCE, options) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => candle_core::bail!("the GPU's kernels cannot be compiled: {error}"),
    }
}
