//! Models: configurations, weights, gates and the forward pass (feature `generate`).

pub mod attention;
pub mod builtin;
pub mod captured;
pub mod catalog;
pub mod config;
pub mod decoder;
pub mod error;
pub mod gate;
pub mod gate_config;
pub mod hub;
pub mod kernels;
pub mod linear;
pub mod load;
pub mod place;
pub mod pth;
pub mod random;
pub mod real;
pub mod rotary;
pub mod shape;
pub mod weights;
