//! Steps on a GPU: started launch by launch at first, then as one CUDA graph.

use candle_core::cuda_backend::cudarc::cublas::{result as cublas, sys as blas};
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaGraph, DevicePtr, LaunchConfig, PushKernelArg, sys};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::{CudaStorage, DType, Result};

use super::{Address, Argument, Launch, Machine, Manner, Operation, Prepared, Product};
use crate::model::kernels::{blocks_wanted, load};

/// A GPU, on the one stream that its device works on.
#[derive(Debug)]
pub(super) struct Gpu {
    device: CudaDevice,
}

impl Gpu {
    pub(super) fn new(device: &CudaDevice) -> Self {
        Self { device: device.clone() }
    }
}

impl Machine for Gpu {
    fn blocks_wanted(&self) -> usize {
        blocks_wanted(&self.device)
    }

    fn prepare(&self, operations: Vec<Operation>, dtype: DType) -> Result<Box<dyn Prepared>> {
        let ready = |operation| match operation {
            Operation::Launch(launch) => {
                Ok(Ready::Launch(load(&self.device, launch.kernel, dtype, &launch.fixed)?, launch))
            }
            Operation::Product(product) => Ok(Ready::Product(product)),
        };
        let operations = operations.into_iter().map(ready).collect::<Result<_>>()?;
        Ok(Box::new(Step { device: self.device.clone(), dtype, operations, state: State::Cold }))
    }
}

enum Ready {
    Launch(CudaFunction, Launch),
    Product(Product),
}

struct Step {
    device: CudaDevice,
    dtype: DType,
    operations: Vec<Ready>,
    state: State,
}

/// The first run is made of launches, so that whatever is loaded at its first use is there when the second is captured.
enum State {
    Cold,
    Warm,
    Graph(CudaGraph),
    /// The driver would not capture it, and why.
    Launches(String),
}

impl Prepared for Step {
    fn run(&mut self) -> Result<()> {
        match &self.state {
            State::Graph(graph) => graph.launch().w(),
            State::Launches(_) => self.start(),
            State::Cold => {
                self.state = State::Warm;
                self.start()
            }
            State::Warm => match self.capture() {
                Ok(graph) => {
                    graph.launch().w()?;
                    self.state = State::Graph(graph);
                    Ok(())
                }
                Err(error) => {
                    self.state = State::Launches(error.to_string());
                    self.start()
                }
            },
        }
    }

    fn manner(&self) -> Manner {
        match &self.state {
            State::Graph(_) => Manner::Graph,
            State::Launches(reason) => Manner::Launches(Some(reason.clone())),
            State::Cold | State::Warm => Manner::Launches(None),
        }
    }
}

impl Step {
    /// Records the operations, none of which runs, as a graph.
    fn capture(&self) -> Result<CudaGraph> {
        let stream = self.device.cuda_stream();
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).w()?;
        let started = self.start();
        // Ended in any case: the stream can be used for nothing else before.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).w();
        started?;
        match graph? {
            Some(graph) => Ok(graph),
            None => candle_core::bail!("the driver captured nothing"),
        }
    }

    fn start(&self) -> Result<()> {
        self.operations.iter().try_for_each(|operation| match operation {
            Ready::Launch(function, launch) => self.launch(function, launch),
            Ready::Product(product) => self.multiply(product),
        })
    }

    fn launch(&self, function: &CudaFunction, launch: &Launch) -> Result<()> {
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(function);
        for argument in &launch.arguments {
            match argument {
                Argument::At(address) => builder.arg(address),
                Argument::Size(size) => builder.arg(size),
                Argument::Real(real) => builder.arg(real),
            };
        }
        let [x, y] = launch.blocks.map(u32::try_from);
        let (Ok(x), Ok(y)) = (x, y) else { candle_core::bail!("{} has too much to do in one launch", launch.kernel) };
        let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (launch.threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the arguments are in the order and of the types of the kernel's signature; whoever prepared the step
        // vouches that its addresses are those of tensors that live, with the shapes the kernel is told.
        #[allow(unsafe_code)]
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }

    /// What is a row of ours is a column to cuBLAS: it is asked for `weight left^T`.
    fn multiply(&self, product: &Product) -> Result<()> {
        let number = match self.dtype {
            DType::F32 => blas::cudaDataType::CUDA_R_32F,
            DType::BF16 => blas::cudaDataType::CUDA_R_16BF,
            DType::F16 => blas::cudaDataType::CUDA_R_16F,
            other => candle_core::bail!("a step cannot multiply in {other:?}"),
        };
        let [rows, columns, inner] = [product.rows, product.columns, product.inner].map(i32::try_from);
        let (Ok(rows), Ok(columns), Ok(inner)) = (rows, columns, inner) else {
            candle_core::bail!("a product is too large for cuBLAS")
        };
        let (one, zero) = (1f32, 0f32);
        let handle = self.device.cublas_handle();
        // SAFETY: as for launches; sizes and leading dimensions are those of contiguous tensors.
        #[allow(unsafe_code)]
        unsafe {
            cublas::gemm_ex(
                *handle.handle(),
                blas::cublasOperation_t::CUBLAS_OP_T,
                blas::cublasOperation_t::CUBLAS_OP_N,
                columns,
                rows,
                inner,
                (&raw const one).cast(),
                product.weight as *const _,
                number,
                inner,
                product.left as *const _,
                number,
                inner,
                (&raw const zero).cast(),
                product.out as *mut _,
                number,
                columns,
                blas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                blas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .w()
    }
}

/// Where a GPU's storage begins.
pub(super) fn on_gpu(storage: &CudaStorage) -> Result<Address> {
    let stream = storage.device.cuda_stream();
    Ok(match &storage.slice {
        CudaStorageSlice::U32(numbers) => numbers.device_ptr(&stream).0,
        CudaStorageSlice::I64(numbers) => numbers.device_ptr(&stream).0,
        CudaStorageSlice::F32(numbers) => numbers.device_ptr(&stream).0,
        CudaStorageSlice::BF16(numbers) => numbers.device_ptr(&stream).0,
        CudaStorageSlice::F16(numbers) => numbers.device_ptr(&stream).0,
        _ => candle_core::bail!("a step's tensor is of a type that it cannot hold"),
    })
}
