//! The dashboard's server: pages, columns for them, and the runs they start. See `docs/api.md`.
//!
//! [`library`] knows the traces, [`api`] says what is in them, [`guard`] refuses strangers, [`serve`] listens.

pub mod api;
pub mod arrow;
pub mod assets;
pub mod cache;
pub mod error;
pub mod guard;
pub mod library;
pub mod listed;
pub mod pages;
pub mod router;
pub mod serve;
