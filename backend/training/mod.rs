//! Training of retention gates on a frozen model (method section 4, feature `generate`).
//!
//! ```text
//! documents -> student (one document: losses and gradients) -> optimiser -> checkpoint, log
//!                 |- attention (gated, blocks of queries), soft_size -> capacity
//!                 `- objective (KL to the frozen model, next-token loss; blocks of rows)
//! ```
//!
//! Nothing is tokens x tokens and nothing is tokens x vocabulary: a document's forward pass keeps what each layer read
//! and what its attention gave, and the backward pass computes the rest again, layer by layer.

pub mod attention;
mod attention_host;
mod attention_tensors;
pub mod capacity;
pub mod checkpoint;
pub mod documents;
pub mod error;
pub mod gates;
pub mod objective;
pub mod optimiser;
pub mod schedule;
pub mod settings;
pub mod soft_size;
pub mod student;
pub mod trainer;
