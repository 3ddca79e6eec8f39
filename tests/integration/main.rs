//! Tests of the whole, in one binary: each further one would link the model code again.
#![cfg(feature = "generate")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod architecture;
mod gates;
mod golden;
mod hub;
mod hub_server;
mod parity;
mod policies;
mod pth;
mod text;
