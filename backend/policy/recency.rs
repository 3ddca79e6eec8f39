//! Policies that look at positions alone: the full cache, the sliding window, StreamingLLM.

use super::{EvictionPolicy, HeadView};

/// Scores a token by its position, so that the newest stay.
///
/// Alone it is a sliding window; with protected first positions it is StreamingLLM (arXiv 2309.17453) at original
/// positions, the form the TRIM-KV paper compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recency {
    name: &'static str,
}

impl Recency {
    /// For the full cache, which never asks for a score.
    pub fn full() -> Self {
        Self { name: "full" }
    }

    /// For the sliding window.
    pub fn window() -> Self {
        Self { name: "window" }
    }

    /// For StreamingLLM; the sinks are the rule's protected first positions.
    pub fn streaming_llm() -> Self {
        Self { name: "streaming-llm" }
    }
}

impl EvictionPolicy for Recency {
    fn name(&self) -> &'static str {
        self.name
    }

    fn score(&self, head: &HeadView<'_>) -> Vec<f32> {
        // Exact in f32 up to position 16,777,216, far past any context.
        head.positions.iter().map(|&position| position as f32).collect()
    }
}
