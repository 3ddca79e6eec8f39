//! How fast a model decodes here, against what the memory allows: the measurements of `trimkv-trace bench`.

pub mod bandwidth;
pub mod captured;
pub mod floor;
pub mod kernels;
pub mod measure;
pub mod statistics;
