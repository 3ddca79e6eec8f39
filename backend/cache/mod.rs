//! One sequence's cache: the pure ledger that decides, and the tensors that follow it.

pub mod competition;
pub mod ledger;
pub mod replay;

#[cfg(feature = "generate")]
pub mod bounded;
