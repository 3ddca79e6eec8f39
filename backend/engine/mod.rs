//! Runs a model: one generation is an iterator of [`generation::Step`]s, so that whoever records, shows progress or
//! stops it is an ordinary loop body. Several that decode together are a [`batch::Batch`].

pub mod batch;
pub(crate) mod captured;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
pub mod evidence;
pub mod generation;
pub mod memory;
pub mod sampling;
mod sequence;
