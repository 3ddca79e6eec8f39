//! From a trace to facts about its heads. Slices in, values out.

pub mod facts;
