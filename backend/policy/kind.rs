//! The names of policies that a user may type.

use std::fmt;
use std::str::FromStr;

use super::attention::{HeavyHitters, NewestAttention, Observed};
use super::keys::{KeyDifference, Redundancy, SmallestNorm};
use super::random::Random;
use super::recency::Recency;
use super::retention::Retention;
use super::{CutRule, Policy, Protect};

/// First tokens that StreamingLLM keeps.
pub const SINKS: u32 = 4;

/// A scorer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Never evict.
    Full,
    /// Learned retention, `log_beta * age` (TRIM-KV, section 3.2 of its paper).
    TrimKv,
    /// The same plus the log of the key's norm (the authors' `knorm_alpha`).
    TrimKvKnorm,
    /// Keep the newest.
    Window,
    /// Keep the first few and the newest (StreamingLLM, at original positions).
    StreamingLlm,
    /// Keep what has received most attention, and the newest (H2O).
    H2o,
    /// Keep what the newest query attends to (TOVA).
    Tova,
    /// Keep what the newest queries attend to, and their own (SnapKV at every cut).
    SnapKv,
    /// The same, less what resembles other keys (R-KV).
    RKv,
    /// Keep keys that point away from the mean (KeyDiff).
    KeyDiff,
    /// Keep keys of small norm.
    Knorm,
    /// Keep a random subset, fixed at birth.
    Random,
}

impl PolicyKind {
    /// Every policy, in the order help lists them.
    pub const ALL: [Self; 12] = [
        Self::TrimKv,
        Self::TrimKvKnorm,
        Self::Full,
        Self::Window,
        Self::StreamingLlm,
        Self::H2o,
        Self::SnapKv,
        Self::RKv,
        Self::Tova,
        Self::KeyDiff,
        Self::Knorm,
        Self::Random,
    ];

    /// The stable name, as typed and as written to the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TrimKv => "trimkv",
            Self::TrimKvKnorm => "trimkv-knorm",
            Self::Window => "window",
            Self::StreamingLlm => "streaming-llm",
            Self::H2o => "h2o",
            Self::Tova => "tova",
            Self::SnapKv => "snapkv",
            Self::RKv => "r-kv",
            Self::KeyDiff => "keydiff",
            Self::Knorm => "knorm",
            Self::Random => "random",
        }
    }

    /// What it ranks by, in its authors' form; `seed` is for `random`.
    pub fn scorer(self, seed: u64) -> Box<dyn super::EvictionPolicy> {
        match self {
            Self::Full => Box::new(Recency::full()),
            Self::TrimKv => Box::new(Retention::default()),
            Self::TrimKvKnorm => Box::new(Retention { key_norm: true, ..Retention::default() }),
            Self::Window => Box::new(Recency::window()),
            Self::StreamingLlm => Box::new(Recency::streaming_llm()),
            Self::H2o => Box::new(HeavyHitters),
            Self::Tova => Box::new(NewestAttention),
            Self::SnapKv => Box::new(Observed::default()),
            Self::RKv => Box::new(Redundancy::default()),
            Self::KeyDiff => Box::new(KeyDifference),
            Self::Knorm => Box::new(SmallestNorm),
            Self::Random => Box::new(Random { seed }),
        }
    }

    /// Who it protects of itself at a budget; a user may protect more.
    pub fn protect(self, budget: u32) -> Protect {
        match self {
            Self::StreamingLlm => Protect { sinks: SINKS, recent: 0 },
            // Half for heavy hitters, half for the newest, as its authors split it.
            Self::H2o => Protect { sinks: 0, recent: budget / 2 },
            Self::SnapKv | Self::RKv => Protect { sinks: 0, recent: Observed::default().queries as u32 },
            _ => Protect::default(),
        }
    }

    /// The policy as its authors describe it, with `budget` entries a head and a cut at `budget + buffer`. The full cache
    /// has no use for either, and only `random` for a seed.
    ///
    /// # Errors
    /// When `budget` is too small for it.
    pub fn policy(self, budget: u32, buffer: u32, seed: u64) -> Result<Policy, TooSmall> {
        if self == Self::Full {
            return Ok(Policy::full());
        }
        self.check_budget(budget)?;
        let Protect { sinks, recent } = self.protect(budget);
        let protect = Protect { sinks: sinks.min(budget), recent };
        Ok(Policy { scorer: self.scorer(seed), rule: Some(CutRule { protect, ..CutRule::per_head(budget, buffer) }) })
    }

    /// Refuses budgets with which it has nothing to choose by: those that do not go beyond the queries it asks.
    ///
    /// # Errors
    /// When `budget` is too small for it.
    pub fn check_budget(self, budget: u32) -> Result<(), TooSmall> {
        let asked = Observed::default().queries as u32;
        let least = if matches!(self, Self::SnapKv | Self::RKv) { asked + 1 } else { 1 };
        if budget < least { Err(TooSmall { kind: self, budget, least }) } else { Ok(()) }
    }

    /// Whether it ranks tokens by learned retention.
    pub fn needs_gates(self) -> bool {
        matches!(self, Self::TrimKv | Self::TrimKvKnorm)
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A budget that leaves a policy no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy {kind} keeps the tokens of the newest queries it asks, so a budget of {budget} leaves it no choice; give at least {least}"
)]
pub struct TooSmall {
    kind: PolicyKind,
    budget: u32,
    least: u32,
}

/// A name that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no policy {0:?}; choose trimkv, trimkv-knorm, full, window, streaming-llm, h2o, snapkv, r-kv, tova, keydiff, knorm or random"
)]
pub struct UnknownPolicy(pub String);

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    /// Spelling is lenient (`StreamingLLM`, `sliding_window`, the authors' `alpha` and `knorm_alpha`).
    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        Ok(match plain.as_str() {
            "full" | "none" => Self::Full,
            "trimkv" | "alpha" => Self::TrimKv,
            "trimkvknorm" | "knormalpha" => Self::TrimKvKnorm,
            "window" | "slidingwindow" => Self::Window,
            "streamingllm" => Self::StreamingLlm,
            "h2o" | "heavyhitter" => Self::H2o,
            "tova" => Self::Tova,
            "snapkv" => Self::SnapKv,
            "rkv" => Self::RKv,
            "keydiff" => Self::KeyDiff,
            "knorm" => Self::Knorm,
            "random" => Self::Random,
            _ => return Err(UnknownPolicy(name.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_answers_to_its_own_name() {
        for kind in PolicyKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn policies_that_ask_queries_need_room_beyond_theirs() {
        assert!(PolicyKind::TrimKv.check_budget(1).is_ok() && PolicyKind::RKv.check_budget(9).is_ok());
        let error = PolicyKind::SnapKv.check_budget(8).unwrap_err().to_string();
        assert!(error.contains("snapkv") && error.contains("at least 9"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_told_the_choices() {
        let error = "h3o".parse::<PolicyKind>().unwrap_err().to_string();
        for kind in PolicyKind::ALL {
            assert!(error.contains(kind.as_str()), "{error}");
        }
    }
}
