//! Runs a model: one generation is an iterator of [`generation::Step`]s, so that whoever records, shows progress or
//! stops it is an ordinary loop body.

pub mod device;
pub mod generation;
pub mod sampling;
