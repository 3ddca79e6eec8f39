//! The TRIM-KV keys of a gate checkpoint's `config.json`.

use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use super::config::Architecture;
use super::error::ModelError;

/// The form of a retention gate (method section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// One hidden layer on the layer's normalised input. All TRIM-KV releases.
    Rg,
    /// The same on keys after RoPE and values.
    Rg2,
    /// A gated MLP on keys after RoPE and values.
    Rg3,
    /// Two hidden layers, the output projection shared between layers. DBTrimKV.
    Rg10,
}

impl GateKind {
    /// The name in configurations and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rg => "rg",
            Self::Rg2 => "rg2",
            Self::Rg3 => "rg3",
            Self::Rg10 => "rg10",
        }
    }
}

impl FromStr for GateKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Rg, Self::Rg2, Self::Rg3, Self::Rg10]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(format!("retention gate {name:?} is not supported; rg, rg2, rg3 and rg10 are"))
    }
}

/// What a gate checkpoint says about itself. Budgets are the authors' defaults for it, not limits.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// Form of the gate.
    pub kind: GateKind,
    /// Width inside the gate.
    pub intermediate: usize,
    /// Where the base model is: a directory or a hub repository.
    pub base_model: Option<String>,
    /// Budget it was made for.
    pub memory_size: Option<u32>,
    /// Buffer it was made for.
    pub buffer_size: Option<u32>,
}

#[derive(Deserialize)]
struct RawGate {
    retention_gate_intermediate_size: Option<usize>,
    base_model: Option<String>,
    memory_size: Option<f64>,
    buffer_size: Option<f64>,
}

impl GateConfig {
    /// Whether a configuration describes a TRIM-KV checkpoint.
    pub fn is_one(json: &Value) -> bool {
        Self::keys(json).is_some()
    }

    /// The object that holds the TRIM-KV keys: the configuration, or its text decoder's part.
    fn keys(json: &Value) -> Option<&Value> {
        let holds = |json: &&Value| {
            ["retention_gate", "retention_gate_intermediate_size"].iter().any(|key| json.get(key).is_some())
        };
        Some(json).filter(holds).or(json.get("text_config").filter(holds))
    }

    /// Reads the TRIM-KV keys of a `config.json`; absent ones have the authors' defaults.
    ///
    /// # Errors
    /// When none of the keys is there, or one says something impossible.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::Config { path: path.to_owned(), problem };
        let json: Value =
            serde_json::from_str(text).map_err(|error| problem(format!("not valid JSON ({error}); fetch it again")))?;
        let Some(keys) = Self::keys(&json) else {
            return Err(ModelError::NoGateKeys(path.to_owned()));
        };
        let kind = match keys.get("retention_gate") {
            None => GateKind::Rg,
            Some(Value::String(name)) => name.parse().map_err(problem)?,
            Some(other) => return Err(problem(format!("retention_gate is {other}, so there is no gate to load"))),
        };
        let phi3 = json.get("model_type").and_then(Value::as_str) == Some(Architecture::Phi3.as_str());
        let raw: RawGate =
            RawGate::deserialize(keys).map_err(|error| problem(format!("a retention gate key is off ({error})")))?;
        let outer_base = || Some(json.get("base_model")?.as_str()?.to_owned());
        let base_model = raw.base_model.clone().or_else(outer_base);
        let whole = |value: Option<f64>, key: &str| match value {
            // The released files have memory_size as a float, 512.0.
            Some(number) if number >= 0.0 && number.fract() == 0.0 && number <= f64::from(u32::MAX) => {
                Ok(Some(number as u32))
            }
            Some(number) => Err(problem(format!("{key} is {number}, which is not a number of tokens"))),
            None => Ok(None),
        };
        Ok(Self {
            kind,
            intermediate: raw.retention_gate_intermediate_size.unwrap_or(if phi3 { 1024 } else { 512 }),
            base_model,
            memory_size: whole(raw.memory_size, "memory_size")?,
            buffer_size: whole(raw.buffer_size, "buffer_size")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GateConfig, String> {
        GateConfig::parse(text, Path::new("config.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_float_memory_size_is_a_number_of_tokens() {
        let config = parse(r#"{"retention_gate": "rg", "memory_size": 512.0, "buffer_size": 128}"#).unwrap();
        assert_eq!((config.memory_size, config.buffer_size), (Some(512), Some(128)));
        assert!(parse(r#"{"retention_gate": "rg", "memory_size": 0.5}"#).unwrap_err().contains("memory_size"));
    }

    #[test]
    fn absent_keys_have_the_authors_defaults() {
        let qwen = parse(r#"{"model_type": "qwen3", "retention_gate": "rg"}"#).unwrap();
        let phi3 = parse(r#"{"model_type": "phi3", "retention_gate": "rg"}"#).unwrap();
        assert_eq!((qwen.intermediate, phi3.intermediate), (512, 1024));
    }

    #[test]
    fn a_configuration_without_gate_keys_is_not_a_checkpoint_of_ours() {
        assert!(parse(r#"{"model_type": "qwen3"}"#).unwrap_err().contains("--gates"));
        assert!(parse(r#"{"retention_gate": null}"#).unwrap_err().contains("no gate to load"));
        assert!(parse(r#"{"retention_gate": "rg7"}"#).unwrap_err().contains("rg10"));
    }
}
