//! The recorded runs as files: `manifest.json`, and per run its settings and tokens (JSON) and tensors (safetensors).

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::policy::retention::Retention;
use crate::policy::{CutRule, FloorCounting, Policy, Protect, Scope};

/// Why recorded runs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// A file is missing, unreadable or not what it should be.
    #[error("cannot use {path} ({problem}); give the folder of recorded runs, which holds manifest.json")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A folder of recorded runs.
#[derive(Debug)]
pub struct RecordedRuns {
    root: PathBuf,
    /// The runs.
    pub cases: Vec<CaseFiles>,
}

/// Where one run is.
#[derive(Debug, Clone, Deserialize)]
pub struct CaseFiles {
    /// Name of its gate checkpoint.
    pub checkpoint: String,
    /// Its own name.
    pub run: String,
    json: PathBuf,
    tensors: PathBuf,
}

#[derive(Deserialize)]
struct ManifestFile {
    cases: Vec<CaseFiles>,
}

/// Kept positions by layer and head.
pub type Kept = Vec<Vec<Vec<u32>>>;

/// One recorded run.
#[derive(Debug, Deserialize)]
pub struct Case {
    mode: Mode,
    /// Prompt.
    pub prompt: Vec<u32>,
    /// Tokens drawn, the first of them after the prompt.
    pub tokens: Vec<u32>,
    /// Tokens seen after each pass.
    pub seen: Vec<u32>,
    /// After each pass, what stays in every head; `None` where nothing left.
    pub kept: Vec<Option<Kept>>,
    prefill_logits_in: String,
}

#[derive(Debug, Deserialize)]
struct Mode {
    cache: String,
    compress_memory: bool,
    compress_strategy: String,
    memory_size: u32,
    buffer_size: u32,
    floor_budget_ratio: f64,
    alpha_threshold: f64,
    sliding_window_size: u32,
}

/// The numbers of one recorded run.
#[derive(Debug)]
pub struct Numbers {
    /// Logits of every position fed, in order.
    pub logits: Vec<Vec<f32>>,
    /// Per head, layer by layer: log beta of every position fed.
    pub log_beta: Vec<Vec<f32>>,
}

impl RecordedRuns {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it holds no readable manifest.
    pub fn open(root: &Path) -> Result<Self, RecordedError> {
        let manifest: ManifestFile = read_json(&root.join("manifest.json"))?;
        Ok(Self { root: root.to_owned(), cases: manifest.cases })
    }

    /// Folder of a run's gate checkpoint, which names its base model.
    pub fn checkpoint(&self, files: &CaseFiles) -> PathBuf {
        self.root.join("checkpoints").join(&files.checkpoint)
    }

    /// A run's settings and tokens.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn case(&self, files: &CaseFiles) -> Result<Case, RecordedError> {
        read_json(&self.root.join(&files.json))
    }

    /// A run's numbers.
    ///
    /// # Errors
    /// When its tensors cannot be read.
    pub fn numbers(&self, files: &CaseFiles, case: &Case) -> Result<Numbers, RecordedError> {
        let own = self.root.join(&files.tensors);
        // Runs that differ only after the prompt share its logits.
        let prefill = match case.prefill_logits_in.as_str() {
            "self" => own.clone(),
            other => own.with_file_name(format!("{other}.safetensors")),
        };
        let mut logits = rows(&prefill, "prefill_logits")?;
        logits.truncate(case.prompt.len());
        logits.extend(rows(&own, "decode_logits")?);
        Ok(Numbers { logits, log_beta: rows(&own, "log_beta")? })
    }
}

impl Case {
    /// The policy that the run had, the counting quirk of the authors' first release included.
    pub fn policy(&self) -> Policy {
        let mode = &self.mode;
        if !mode.compress_memory {
            return Policy::full();
        }
        let dynamic = mode.cache == "DynamicBudgetTrimKVCache";
        let scope = match (dynamic, mode.compress_strategy.starts_with("layer_wise")) {
            (false, _) => Scope::Head,
            (true, true) => Scope::Layer,
            (true, false) => Scope::Global,
        };
        let rule = CutRule {
            scope,
            floor: mode.floor_budget_ratio,
            floor_counting: FloorCounting::Authors,
            threshold: mode.compress_strategy.ends_with("_threshold").then_some(mode.alpha_threshold),
            protect: Protect { sinks: 0, recent: if dynamic { 0 } else { mode.sliding_window_size } },
            ..CutRule::per_head(mode.memory_size, mode.buffer_size)
        };
        let key_norm = mode.compress_strategy.contains("knorm");
        Policy { scorer: Box::new(Retention { key_norm, ..Retention::default() }), rule: Some(rule) }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordedError> {
    let wrong = |problem: String| RecordedError::File { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// A recorded tensor with all but its last axis as rows.
fn rows(path: &Path, name: &str) -> Result<Vec<Vec<f32>>, RecordedError> {
    let wrong = |problem: String| RecordedError::File { path: path.to_owned(), problem };
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).map_err(|error| wrong(error.to_string()))?;
    let tensor = tensors.get(name).ok_or_else(|| wrong(format!("it lacks {name}")))?;
    let as_rows = |tensor: &Tensor| {
        let width = tensor.dims().last().copied().unwrap_or(1);
        tensor.reshape(((), width))?.to_vec2::<f32>()
    };
    as_rows(tensor).map_err(|error| wrong(error.to_string()))
}
