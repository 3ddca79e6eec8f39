//! The names of policies that a user may type.

use std::fmt;
use std::str::FromStr;

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
    /// Keep a random subset, fixed at birth.
    Random,
}

impl PolicyKind {
    /// Every policy, in the order help lists them.
    pub const ALL: [Self; 6] =
        [Self::TrimKv, Self::TrimKvKnorm, Self::Full, Self::Window, Self::StreamingLlm, Self::Random];

    /// The stable name, as typed and as written to the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TrimKv => "trimkv",
            Self::TrimKvKnorm => "trimkv-knorm",
            Self::Window => "window",
            Self::StreamingLlm => "streaming-llm",
            Self::Random => "random",
        }
    }

    /// The policy as its authors describe it, with `budget` entries a head and a cut at `budget + buffer`. The full cache
    /// has no use for either, and only `random` for a seed.
    pub fn policy(self, budget: u32, buffer: u32, seed: u64) -> Policy {
        let mut rule = CutRule::per_head(budget, buffer);
        let retention = |key_norm| Box::new(Retention { age_offset: 1, look_ahead: 1, key_norm });
        let scorer: Box<dyn super::EvictionPolicy> = match self {
            Self::Full => return Policy::full(),
            Self::TrimKv => retention(false),
            Self::TrimKvKnorm => retention(true),
            Self::Window => Box::new(Recency::window()),
            Self::StreamingLlm => Box::new(Recency::streaming_llm()),
            Self::Random => Box::new(Random { seed }),
        };
        if self == Self::StreamingLlm {
            rule.protect = Protect { sinks: SINKS.min(budget), recent: 0 };
        }
        Policy { scorer, rule: Some(rule) }
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

/// A name that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy {0:?}; choose trimkv, trimkv-knorm, full, window, streaming-llm or random")]
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
    fn an_unknown_name_is_told_the_choices() {
        let error = "h3o".parse::<PolicyKind>().unwrap_err().to_string();
        for kind in PolicyKind::ALL {
            assert!(error.contains(kind.as_str()), "{error}");
        }
    }
}
