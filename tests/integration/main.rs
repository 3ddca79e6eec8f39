//! Tests of the whole, in one binary: each further one would link the model code again.
#![cfg(feature = "generate")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod architecture;
mod bad_input;
mod baselines;
mod batch;
mod bench;
mod captured;
#[cfg(feature = "view")]
mod cells;
mod cli;
mod emulator;
mod equivalences;
mod evaluation;
#[cfg(feature = "view")]
mod figures;
mod gates;
mod golden;
mod golden_runs;
mod hub;
mod hub_runs;
mod hub_server;
mod interruptions;
mod kernels;
mod ledger;
mod parity;
mod policies;
mod pth;
mod reference;
#[cfg(feature = "view")]
mod report;
mod robustness;
mod roles;
mod run;
mod tables;
mod text;
mod training;
#[cfg(feature = "view")]
mod web;
