//! What one forward pass did, as plain data: the unit in which a run is recorded.

use std::fmt;

use super::grid::Grid;

/// One KV head of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KvHead {
    /// 0-based layer.
    pub layer: u16,
    /// 0-based KV head within the layer.
    pub head: u16,
}

impl fmt::Display for KvHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

/// How many layers and KV heads a model has; fixes the order in which heads are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of layers.
    pub layers: usize,
    /// KV heads per layer.
    pub kv_heads: usize,
}

impl Shape {
    /// Number of (layer, KV head) pairs.
    pub fn heads(&self) -> usize {
        self.layers * self.kv_heads
    }

    /// The head at place `index` when all heads are counted layer by layer.
    pub fn head(&self, index: usize) -> KvHead {
        KvHead { layer: (index / self.kv_heads) as u16, head: (index % self.kv_heads) as u16 }
    }

    /// Whether there is such a head.
    pub fn has(&self, head: KvHead) -> bool {
        usize::from(head.layer) < self.layers && usize::from(head.head) < self.kv_heads
    }

    /// The place of `head` when all heads are counted layer by layer; the inverse of [`Shape::head`].
    pub fn index(&self, head: KvHead) -> usize {
        usize::from(head.layer) * self.kv_heads + usize::from(head.head)
    }

    /// All heads, layer by layer.
    pub fn iter(&self) -> impl Iterator<Item = KvHead> + use<> {
        let shape = *self;
        (0..shape.heads()).map(move |index| shape.head(index))
    }
}

/// One token leaving one head's cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eviction {
    /// Whose cache it left.
    pub head: KvHead,
    /// Its absolute position.
    pub position: u32,
    /// Tokens seen at the cut: the first query position blind to it.
    pub at: u32,
    /// Its score at the cut, in the policy's unit.
    pub score: f32,
}

/// What a cut did to one head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadCut {
    /// The head that lost tokens.
    pub head: KvHead,
    /// Entries before the cut.
    pub cached_before: u32,
    /// Entries after it.
    pub kept: u32,
    /// Lowest score that stayed in the competition this head took part in (its own, its layer's or the model's);
    /// `None` when only protected entries stayed.
    pub threshold: Option<f32>,
    /// Entries dropped although their score equals the threshold.
    pub ties: u32,
}

/// One cut over all heads: who left, and with what thresholds. Heads that lost nothing are absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cut {
    /// Tokens seen when it happened.
    pub tokens_seen: u32,
    /// Every token that left, by head, then position.
    pub evictions: Vec<Eviction>,
    /// One row per head that lost something.
    pub heads: Vec<HeadCut>,
}

/// Whether a pass read the prompt or a token of the model's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading (a chunk of) the prompt.
    Prefill,
    /// Reading one generated token.
    Decode,
}

impl Phase {
    /// The name in the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// One forward pass and the cut that followed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// Prompt or decode.
    pub phase: Phase,
    /// Tokens the pass fed; they are the last `fed` of `tokens_seen`.
    pub fed: u32,
    /// Tokens seen after the pass.
    pub tokens_seen: u32,
    /// Wall time of the pass, in microseconds.
    pub elapsed_us: u64,
    /// Entries cached over all heads after the cut.
    pub cached: u64,
    /// `(layers * kv_heads, fed)`, nats, at most 0; `None` without gates.
    pub log_beta: Option<Grid<f32>>,
    /// What the pass's cut removed, if it removed anything.
    pub cut: Option<Cut>,
    /// Attention probability that each cached entry received in this pass, per head in entry order *before* the
    /// cut: (position, mass). Only when attention is recorded.
    pub attention: Option<Vec<Vec<(u32, f32)>>>,
}

/// Where a token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Given by the user.
    Prompt,
    /// Sampled from the model.
    Generated,
}

impl Origin {
    /// The name in the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Generated => "generated",
        }
    }
}

/// One token of the run's text.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecord {
    /// Vocabulary index.
    pub id: u32,
    /// This token's share of the decoded text; `None` without a tokenizer.
    pub text: Option<String>,
    /// Prompt or generated.
    pub origin: Origin,
    /// Part of the conversation, where the chat template tells.
    pub role: Option<&'static str>,
    /// Kind of token, from its text.
    pub class: &'static str,
    /// Natural log of the probability it was drawn with; `None` for the prompt.
    pub logprob: Option<f32>,
    /// Entropy in nats of the distribution it was drawn from; `None` for the prompt.
    pub entropy: Option<f32>,
}
