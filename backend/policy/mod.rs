//! Eviction policies as pure functions over what a cache remembers about its tokens.
//!
//! A policy is six independent choices. The *scorer* is an [`EvictionPolicy`]; the *trigger*, the *protected set* and
//! the *allocator* are one [`CutRule`]; *group reduction* happens where evidence is made, and *positions* are always
//! the original ones. [`PolicyKind`] names the scorers a user may ask for.

pub mod attention;
pub mod cut_rule;
pub mod keys;
pub mod kind;
pub mod random;
pub mod recency;
pub mod retention;
pub mod survivors;
pub mod weighing;

use crate::trace::step::KvHead;

pub use cut_rule::{CutRule, FloorCounting, Protect, Scope};
pub use kind::{PolicyKind, UnknownPolicy};

/// What a scorer needs to know about a token beside its position. The engine collects only what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// `log_beta`, from retention gates.
    pub log_beta: bool,
    /// Euclidean norm of the key after RoPE.
    pub key_norm: bool,
    /// Attention received from all queries so far.
    pub attention: bool,
    /// What the newest queries attend to, when a cut is due.
    pub queries: Option<NewestQueries>,
    /// How much a key resembles others, when a cut is due.
    pub likeness: Option<Likeness>,
}

impl Evidence {
    /// Whether keys and queries must be looked at when a cut is due.
    pub fn is_weighed(&self) -> bool {
        self.queries.is_some() || self.likeness.is_some()
    }

    /// Newest queries that a cache must remember.
    pub fn remembered(&self) -> usize {
        match self.queries {
            Some(NewestQueries::OverPast(count)) => count,
            Some(NewestQueries::Newest) => 1,
            None => 0,
        }
    }
}

/// Which queries are asked, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestQueries {
    /// So many, over the entries before them, each KV head on its own; see [`weighing::attention_to_past`].
    OverPast(usize),
    /// The newest over all entries, the mean over all heads of a layer; see [`weighing::attention_to_all`].
    Newest,
}

/// What a key is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The mean direction; see [`weighing::likeness_to_mean`].
    ToMean,
    /// Every other key; see [`weighing::LikenessToOthers`].
    ToOthers,
}

/// What was found out about one head's entries for a cut, in slot order; empty where nobody asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weighed {
    /// What the newest queries attend to.
    pub importance: Vec<f32>,
    /// How much a key resembles others.
    pub likeness: Vec<f32>,
}

/// One KV head's cache as a scorer sees it: one entry per slot, in ascending position.
///
/// A column that the scorer did not ask for (see [`EvictionPolicy::evidence`]) may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadView<'a> {
    /// Whose cache it is.
    pub head: KvHead,
    /// Absolute positions.
    pub positions: &'a [u32],
    /// Nats, at most 0.
    pub log_beta: &'a [f32],
    /// Norms of the cached keys.
    pub key_norm: &'a [f32],
    /// Attention received so far: summed over queries, mean over the group.
    pub attention: &'a [f32],
    /// What the newest queries attend to.
    pub importance: &'a [f32],
    /// How much a key resembles others.
    pub likeness: &'a [f32],
    /// Tokens seen, those of the latest pass included.
    pub tokens_seen: u32,
}

/// Ranks cached tokens: the higher its score, the longer a token stays.
pub trait EvictionPolicy: Send + Sync {
    /// Stable name written to the trace, e.g. `"trimkv"`.
    fn name(&self) -> &'static str;
    /// The columns that [`EvictionPolicy::score`] reads.
    fn evidence(&self) -> Evidence {
        Evidence::default()
    }
    /// Scores every slot of `head`, in slot order. Scores are compared within a head, and across heads when budgets
    /// are pooled; they must be finite.
    fn score(&self, head: &HeadView<'_>) -> Vec<f32>;
    /// The age offset, where a score is `log_beta * age` and nothing else.
    fn plain_retention(&self) -> Option<i32> {
        None
    }
}

/// A scorer and the rule by which it is applied. `rule: None` is the full cache.
pub struct Policy {
    /// Ranks tokens.
    pub scorer: Box<dyn EvictionPolicy>,
    /// When and how much to cut; `None` never cuts.
    pub rule: Option<CutRule>,
}

impl Policy {
    /// What must be collected for it: nothing where nothing is ever cut.
    pub fn evidence(&self) -> Evidence {
        if self.rule.is_some() { self.scorer.evidence() } else { Evidence::default() }
    }

    /// The full cache: nothing is ever evicted.
    pub fn full() -> Self {
        Self { scorer: Box::new(recency::Recency::full()), rule: None }
    }
}
