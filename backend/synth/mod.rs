//! Traces with known answers: plausible text, heads with planted roles, the real ledger. Pure; the files are the
//! caller's.

pub mod dice;
pub mod plant;
pub mod prose;
#[cfg(test)]
mod recovery;
pub mod run;
