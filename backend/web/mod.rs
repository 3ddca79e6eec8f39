//! The dashboard's server: pages, columns for them, and the runs they start. See `docs/api.md`.
//!
//! [`library`] knows the traces, [`api`] says what is in them, [`guard`] refuses strangers, [`serve`] listens.

pub mod api;
pub mod arrow;
pub mod assets;
pub mod bin;
pub mod cache;
pub mod error;
pub mod guard;
pub mod library;
pub mod listed;
pub mod live;
pub mod pages;
pub mod router;
#[cfg(feature = "generate")]
pub mod runs;
pub mod serve;
pub mod zipped;
