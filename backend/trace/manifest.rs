//! `manifest.json`: what was run. The only place where the trace's types meet serde.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::step::Shape;

/// The schema this version writes.
pub const SCHEMA: &str = "trimkv-trace/1";
/// The major schema this version reads.
pub const SCHEMA_MAJOR: u32 = 1;

/// Everything about a run that is not a table. Only `schema`, `model.layers` and `model.kv_heads` are required of a
/// foreign writer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `trimkv-trace/1`.
    pub schema: String,
    /// The run's name.
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// RFC 3339 time of the start.
    #[serde(default, deserialize_with = "lenient")]
    pub created: String,
    /// Whether the run is over.
    #[serde(default)]
    pub status: Status,
    /// What is to be seen in it, in a sentence, for the list of traces.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who wrote the trace.
    #[serde(default, deserialize_with = "lenient")]
    pub tool: Tool,
    /// The model.
    pub model: ModelFacts,
    /// The retention gates, if any were loaded.
    #[serde(default, deserialize_with = "lenient")]
    pub gates: Option<GateFacts>,
    /// What was evicted, and when.
    #[serde(default, deserialize_with = "lenient")]
    pub policy: PolicyFacts,
    /// How tokens were drawn.
    #[serde(default, deserialize_with = "lenient")]
    pub sampling: SamplingFacts,
    /// Where it ran.
    #[serde(default, deserialize_with = "lenient")]
    pub device: String,
    /// The prompt.
    #[serde(default, deserialize_with = "lenient")]
    pub prompt: PromptFacts,
    /// The continuation.
    #[serde(default, deserialize_with = "lenient")]
    pub generated: GeneratedFacts,
    /// Tokens the model has read; the last sampled token was not.
    #[serde(default)]
    pub seen: u32,
    /// Wall time by phase.
    #[serde(default, deserialize_with = "lenient")]
    pub seconds: Seconds,
    /// Cache memory.
    #[serde(default, deserialize_with = "lenient")]
    pub bytes: Bytes,
    /// CRC-32 of each table's file, by which a reader tells damage; absent while running and from foreign writers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crc32: BTreeMap<String, u32>,
}

/// Takes a field for absent when another writer's value is not what this program means by it: the format requires only
/// the schema and the model's shape.
fn lenient<'de, D: serde::Deserializer<'de>, T: Default + serde::de::DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Manifest {
    /// Layers and heads of the traced model.
    pub fn shape(&self) -> Shape {
        Shape { layers: self.model.layers, kv_heads: self.model.kv_heads }
    }
}

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Still writing.
    Running,
    /// Ended by itself.
    #[default]
    Complete,
    /// Stopped from outside: Ctrl-C, a kill, a full disk.
    Interrupted,
}

impl Status {
    /// The name in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The program that wrote a trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The traced model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Short name.
    #[serde(default)]
    pub name: String,
    /// Directory or hub repository.
    #[serde(default)]
    pub source: String,
    /// Commit of the hub repository.
    #[serde(default)]
    pub revision: Option<String>,
    /// `qwen3`, `llama` or `phi3`.
    #[serde(default)]
    pub architecture: String,
    /// Number of layers.
    pub layers: usize,
    /// KV heads per layer.
    pub kv_heads: usize,
    /// Query heads per layer.
    #[serde(default)]
    pub query_heads: usize,
    /// Dimension of a head.
    #[serde(default)]
    pub head_dim: usize,
    /// Width of the hidden state.
    #[serde(default)]
    pub hidden: usize,
    /// Vocabulary size.
    #[serde(default)]
    pub vocab: usize,
    /// Type the model was computed in.
    #[serde(default)]
    pub dtype: String,
}

/// The loaded retention gates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateFacts {
    /// `rg`, `rg2`, `rg3` or `rg10`.
    pub kind: String,
    /// Directory or hub repository.
    pub source: String,
    /// Hash of the weights file.
    pub sha256: String,
}

/// The eviction policy. What a policy does not use is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFacts {
    /// Stable name, e.g. `trimkv`.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// Entries a KV head keeps; absent for the full cache and for thresholds.
    #[serde(deserialize_with = "lenient")]
    pub budget: Option<u32>,
    /// How far a head may overrun its budget before a cut.
    #[serde(deserialize_with = "lenient")]
    pub buffer: Option<u32>,
    /// Who competes: `head`, `layer` or `global`.
    #[serde(deserialize_with = "lenient")]
    pub scope: Option<String>,
    /// First positions that are never evicted.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub sinks: Option<u32>,
    /// Newest entries that are never evicted.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub recent: Option<u32>,
    /// Share of the budget every head keeps in a global competition.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub floor: Option<f64>,
    /// `exact`, or `authors` for their counting quirk.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub floor_counting: Option<String>,
    /// Retention below which a token leaves, whatever the memory.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub threshold: Option<f64>,
    /// Future steps over which retention is summed.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub look_ahead: Option<u32>,
    /// Added to tokens seen to form a token's age; 1 in the authors' code.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub age_offset: Option<i32>,
    /// Seed of a random policy.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub seed: Option<u64>,
    /// Newest queries that are asked at a cut.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub queries: Option<u32>,
    /// Neighbours that share the largest of what they receive.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub pool: Option<u32>,
    /// Weight of importance against redundancy.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub lambda: Option<f64>,
    /// Tokens per prefill pass; absent when the prompt was one pass.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub prefill_chunk: Option<u32>,
}

/// How tokens were drawn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplingFacts {
    /// Always the most likely token.
    pub greedy: bool,
    /// Divides the logits; absent when greedy.
    pub temperature: Option<f64>,
    /// Nucleus mass; absent when greedy.
    pub top_p: Option<f64>,
    /// Seed of the draws.
    pub seed: u64,
}

/// The prompt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptFacts {
    /// Its length.
    pub tokens: u32,
    /// Hash of its token ids, as little-endian u32.
    pub sha256: String,
    /// File it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// The continuation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GeneratedFacts {
    /// Sampled tokens.
    pub tokens: u32,
    /// `eos`, `length`, `context` or `interrupted`; absent while running.
    pub stop: Option<String>,
}

/// Wall time by phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seconds {
    /// Reading weights.
    pub load: f64,
    /// Reading the prompt.
    pub prefill: f64,
    /// Writing the continuation.
    pub decode: f64,
}

/// Cache memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Most that keys and values ever took, as allocated.
    pub cache_peak: u64,
    /// What they would take had every token been kept.
    pub cache_full: u64,
    /// What they took at the end, as allocated.
    pub cache_now: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_writers_policy_is_kept_where_it_is_understood_and_absent_where_not() {
        let foreign = r#"{
            "schema": "trimkv-trace/1", "model": {"layers": 2, "kv_heads": 3}, "device": null, "sampling": "greedy",
            "policy": {"name": "ada", "budget": "50 %", "buffer": 8, "threshold": "auto", "temperature": 3}
        }"#;
        let manifest: Manifest = serde_json::from_str(foreign).unwrap();
        assert_eq!(manifest.shape(), Shape { layers: 2, kv_heads: 3 });
        let policy = manifest.policy;
        assert_eq!(
            (policy.name.as_str(), policy.budget, policy.buffer, policy.threshold),
            ("ada", None, Some(8), None)
        );
    }
}
