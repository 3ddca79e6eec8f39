//! What sequences have cached: the pure ledger that decides, one for each, and the tensors that follow it.

pub mod competition;
pub mod ledger;
pub mod replay;

#[cfg(feature = "generate")]
pub mod batch;
#[cfg(feature = "generate")]
pub mod bounded;
#[cfg(feature = "generate")]
pub mod remembered;
