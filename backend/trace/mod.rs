//! The trace: what one run kept and forgot, as plain data, and its files on disk.
//!
//! [`step`], [`grid`], [`lifetimes`], [`recording`], [`scope`], [`scores`], [`check`] and [`manifest`] are plain values. The
//! others know Parquet, Arrow and the file system (feature `tables`).

pub mod check;
pub mod grid;
pub mod lifetimes;
pub mod manifest;
pub mod recording;
pub mod scope;
pub mod scores;
pub mod step;

#[cfg(feature = "tables")]
pub mod columns;
#[cfg(feature = "tables")]
pub mod error;
#[cfg(feature = "tables")]
pub mod files;
#[cfg(feature = "tables")]
pub mod journal;
#[cfg(feature = "tables")]
pub mod logits;
#[cfg(feature = "tables")]
pub mod pool;
#[cfg(feature = "tables")]
pub mod read;
#[cfg(feature = "tables")]
pub mod reader;
#[cfg(feature = "tables")]
pub mod tables;
#[cfg(feature = "tables")]
pub mod write;
