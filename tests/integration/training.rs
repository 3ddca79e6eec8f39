//! Training of gates: gradients, equivalences, whole runs.

mod commands;
mod gradients;
mod reference;
mod runs;
