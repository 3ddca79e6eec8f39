//! A decoding step as a fixed list of launches.
//!
//! Once a cache is bounded, every step of decoding does the same things to memory at the same addresses: only tokens,
//! positions and the number of columns differ, and those can be read from memory too. So a step is put together once
//! ([`crate::model::decoder::CapturedStep`]) and run as often as it stays valid. On a GPU the list becomes one CUDA
//! graph, whose launch takes the time of one kernel instead of hundreds ([`Machine`]).
//!
//! The list itself is data: [`Operation`]s on addresses. What runs it may be anything that has the kernels of
//! `kernels.cu`.

mod address;
#[cfg(feature = "cuda")]
mod cuda;
mod operation;

pub use address::{Address, address};
pub use operation::{Argument, Launch, Operation, Product};

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{DType, Device, Result};

/// What runs steps.
pub trait Machine: Debug + Send + Sync {
    /// Blocks of threads that keep it busy.
    fn blocks_wanted(&self) -> usize;

    /// Makes a list of operations ready to run, often. Whoever runs it vouches for the addresses.
    ///
    /// # Errors
    /// When a kernel cannot be compiled or loaded.
    fn prepare(&self, operations: Vec<Operation>, dtype: DType) -> Result<Box<dyn Prepared>>;
}

/// A list of operations that is ready to run.
pub trait Prepared {
    /// Starts the operations, in order, after everything that was started before. It need not wait for their end.
    ///
    /// # Errors
    /// When the device fails.
    fn run(&mut self) -> Result<()>;

    /// How the next run will start them.
    fn manner(&self) -> Manner;
}

/// How a step's operations are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// All at once.
    Graph,
    /// One by one: at first, or because the driver would make no graph of them, with its reason.
    Launches(Option<String>),
}

impl Manner {
    /// The name in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Launches(_) => "launches",
        }
    }
}

/// The machine that a device's steps run on; `None` where they are made of tensor operations.
pub fn machine_of(device: &Device) -> Option<Arc<dyn Machine>> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => Some(Arc::new(cuda::Gpu::new(device))),
        _ => None,
    }
}
