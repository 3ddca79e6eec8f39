//! See what a memory-bounded KV cache keeps and forgets, per layer and head, while a language model writes.
//!
//! # How the crate is laid out
//!
//! ```text
//!  A <- B reads "B may use A"
//!
//!  trace (values) <- policy <- cache (ledger, replay) <- cache::bounded <- model <- engine <- cli
//!        ^                                                                                     |
//!        +---- trace (files) <- analysis <- figures <------------------------------------------+
//! ```
//!
//! - [`trace`] is the public contract: what a run kept and forgot. Values are pure; files need the feature `tables`.
//! - [`policy`] ranks tokens, [`cache`] applies the ranking: one pure ledger decides, the tensors follow it.
//! - `model` and `engine` (feature `generate`) run a language model with retention gates and a bounded cache.
//!   On a GPU a decoding step is a fixed list of launches (`model::captured`), which a test runs on the CPU.
//! - `bench` (feature `generate`) times the engine against the memory's bandwidth.
//! - `parity` (feature `generate`) holds a device against recorded runs of the authors' implementation.
//! - `corpus` makes the documents of the built-in model's world, and `evaluation` asks a model about them.
//! - `training` (feature `generate`) learns the gates of a frozen model; `training_log` (feature `tables`) is what it tells.
//! - [`analysis`] turns a trace into facts about heads. Slices in, values out.
//! - `figures` (feature `view`) lays a trace out for paper. Slices in, bytes out.
//! - `run` (feature `generate`) turns a request into a recorded run, for the command line and the dashboard alike.
//! - `web` (feature `view`) serves the dashboard; `report` puts it into one file with its data.
//! - `digest` (feature `tables`) is what programs are told of a trace: heads and findings as rows.
//! - `cli` (feature `tables`) is the command line; only its printer writes to the standard streams.
//!
//! # What always holds
//!
//! - A token enters a head at its position and leaves at most once, so a run is one interval per
//!   (layer, KV head, position); nothing is tokens x tokens.
//! - Positions are absolute and come from the number of tokens seen, never from a cache's length.
//! - A token evicted at a cut was still visible to the query of the pass before it.
//! - Retention ranks tokens; it never touches attention at inference.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
#[cfg(feature = "generate")]
pub mod bench;
pub mod cache;
#[cfg(feature = "tables")]
pub mod cli;
#[cfg(feature = "generate")]
pub mod corpus;
#[cfg(feature = "tables")]
pub mod digest;
#[cfg(feature = "generate")]
pub mod engine;
#[cfg(feature = "generate")]
pub mod evaluation;
#[cfg(feature = "view")]
pub mod figures;
#[cfg(feature = "generate")]
pub mod model;
#[cfg(feature = "generate")]
pub mod parity;
pub mod policy;
#[cfg(feature = "view")]
pub mod report;
#[cfg(feature = "generate")]
pub mod run;
pub mod size;
pub mod synth;
pub mod text;
pub mod trace;
#[cfg(feature = "generate")]
pub mod training;
#[cfg(feature = "tables")]
pub mod training_log;
#[cfg(feature = "view")]
pub mod web;
