//! Who competes for the budget: part of what a trace says of its policy.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Who competes for places in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Every KV head has its own budget (TRIM-KV).
    #[default]
    Head,
    /// The heads of a layer share theirs (DBTrimKV, layer-wise).
    Layer,
    /// All heads of the model share one budget (DBTrimKV).
    Global,
}

impl Scope {
    /// The name, as typed and as written to the trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Layer => "layer",
            Self::Global => "global",
        }
    }
}

impl Scope {
    /// The heads that compete with the `head`-th of `heads`, itself included.
    pub fn competitors(self, head: usize, kv_heads: usize, heads: usize) -> Range<usize> {
        match self {
            Self::Head => head..head + 1,
            Self::Layer => head - head % kv_heads..head - head % kv_heads + kv_heads,
            Self::Global => 0..heads,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "head" => Ok(Self::Head),
            "layer" => Ok(Self::Layer),
            "global" | "model" => Ok(Self::Global),
            _ => Err(format!("there is no scope {name:?}; choose head, layer or global")),
        }
    }
}
