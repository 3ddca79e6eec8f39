//! Training of gates: gradients, equivalences, whole runs.

mod gradients;
mod reference;
mod runs;
