//! Does this device compute what the authors' implementation recorded? The repository's recorded runs, step by step.

pub mod check;
pub mod recorded;
