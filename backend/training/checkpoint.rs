//! Gate checkpoints in the released format, and the state that a run is resumed from.
//!
//! A directory holds `config.json`, `trimkv_weights.safetensors`, `trimkv_weights.pth`, the log, and `state.safetensors`.
//! Each file takes its name only once it is whole and on the disk, so that at every moment each is a good one: a run
//! killed between two of them leaves gates that load, and a state that is at most one save older.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::TrainingError;
use super::optimiser::Parameter;
use super::settings::Settings;
use crate::model::gate::ParameterSpec;
use crate::model::pth::writer;
use crate::training_log::{self, LogRow};

/// Name of the configuration.
const CONFIG: &str = "config.json";
/// Name of the gates in torch's format.
const PTH: &str = "trimkv_weights.pth";
/// Name of the gates in safetensors.
const SAFETENSORS: &str = "trimkv_weights.safetensors";
/// Name of the state.
const STATE: &str = "state.safetensors";
/// Key of the state's facts among its metadata.
const FACTS: &str = "trimkv-trace";
/// Version of the state's form.
const VERSION: u32 = 1;

/// What a run is resumed from.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Settings of the run.
    pub settings: Settings,
    /// Steps done.
    pub step: u64,
    /// Running average of the loss, against which a spike is told.
    pub usual_loss: Option<f64>,
    /// Hash of the training data.
    pub data_sha256: String,
    /// Values and moments, in the order of the gates' parameters.
    pub parameters: Vec<Parameter<f32>>,
}

#[derive(Serialize, Deserialize)]
struct Facts {
    version: u32,
    step: u64,
    /// The bits of the number, so that it comes back exactly.
    usual_loss: Option<u64>,
    data_sha256: String,
    settings: Settings,
}

/// What a checkpoint says beside numbers.
#[derive(Debug, Clone)]
pub struct Description {
    /// Text of the base model's `config.json`.
    pub base_config: String,
    /// Where the base weights are.
    pub base_model: String,
}

/// Saves everything into `directory`, which appears whole or not at all.
///
/// # Errors
/// When something cannot be written; what was there before is kept.
pub fn save(
    directory: &Path,
    description: &Description,
    specs: &[ParameterSpec],
    state: &State,
    rows: &[LogRow],
) -> Result<(), TrainingError> {
    let is_new = !directory.exists();
    let place = if is_new { sibling(directory, ".partial") } else { directory.to_owned() };
    let attempt = || {
        if is_new {
            // A leftover of a run that was killed while it saved for the first time.
            remove(&place)?;
            fs::create_dir_all(&place).map_err(|error| TrainingError::write(&place, error))?;
        }
        write_files(&place, description, specs, state, rows)?;
        if is_new {
            fs::rename(&place, directory).map_err(|error| TrainingError::write(directory, error))?;
        }
        sync_directory(directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        Ok(())
    };
    attempt().inspect_err(|_| {
        if is_new {
            // The first error is the one to report; a leftover is named .partial and harms nobody.
            let _ = remove(&place);
        }
    })
}

fn remove(directory: &Path) -> Result<(), TrainingError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainingError::write(directory, error)),
        _ => Ok(()),
    }
}

fn write_files(
    directory: &Path,
    description: &Description,
    specs: &[ParameterSpec],
    state: &State,
    rows: &[LogRow],
) -> Result<(), TrainingError> {
    let tensors = tensors(specs, state)?;
    let mut pth = Cursor::new(Vec::new());
    writer::write(&tensors, &mut pth).map_err(|error| TrainingError::write(&directory.join(PTH), error))?;
    write_whole(&directory.join(CONFIG), config(description, state)?.as_bytes())?;
    write_whole(&directory.join(SAFETENSORS), &gates_bytes(specs, state, directory)?)?;
    write_whole(&directory.join(PTH), &pth.into_inner())?;
    if !rows.is_empty() {
        training_log::write(directory, rows)?;
    }
    // Last, so that a state is never ahead of its log.
    write_whole(&directory.join(STATE), &state_bytes(specs, state, directory)?)?;
    sync_directory(directory);
    Ok(())
}

/// The gates by name. Names that share a parameter share a tensor.
fn tensors(specs: &[ParameterSpec], state: &State) -> Result<BTreeMap<String, Tensor>, TrainingError> {
    let mut tensors = BTreeMap::new();
    for (spec, parameter) in specs.iter().zip(&state.parameters) {
        let tensor = Tensor::from_slice(&parameter.values, spec.shape.as_slice(), &Device::Cpu)?;
        tensors.extend(spec.names.iter().map(|name| (name.clone(), tensor.clone())));
    }
    Ok(tensors)
}

/// The base model's configuration with the keys that make it a gate checkpoint's (method section 2).
fn config(description: &Description, state: &State) -> Result<String, TrainingError> {
    let damaged = |problem: &str| TrainingError::Request(format!("the base model's config.json {problem}"));
    let mut json: Value = serde_json::from_str(&description.base_config).map_err(|_| damaged("is not JSON"))?;
    let Some(object) = json.as_object_mut() else { return Err(damaged("is not an object")) };
    let family = match object.get("model_type").and_then(Value::as_str) {
        Some("phi3") => "Phi3",
        Some("llama") => "Llama",
        _ => "Qwen3",
    };
    let settings = &state.settings;
    let keys = json!({
        "architectures": [format!("TrimKV{family}ForCausalLM")],
        "base_model": description.base_model,
        "retention_gate": settings.gate,
        "retention_gate_intermediate_size": settings.gate_width,
        "retention_gate_bias_init": settings.gate_bias,
        "retention_weight": settings.capacity_weight,
        "memory_size": settings.budget,
        "buffer_size": settings.buffer,
        "compress_memory": true,
        "compress_strategy": "alpha",
        "floor_budget_ratio": 0.0,
        "alpha_threshold": 0.0,
        "trainable_params": "retention_gate",
        "max_seq_len": settings.context,
        "base_loss": match (settings.kl_weight > 0.0, settings.ntp_weight > 0.0) {
            (true, true) => "fwkl_ntp",
            (true, false) => "fwkl",
            (false, true) => "ntp",
            (false, false) => "none",
        },
        "trimkv_trace": { "capacity": settings.capacity, "scope": settings.scope, "step": state.step, "seed": settings.seed },
    });
    object.extend(keys.as_object().cloned().unwrap_or_default());
    Ok(format!("{json:#}\n"))
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn serialize(
    parts: &[(String, Vec<usize>, Vec<u8>)],
    metadata: Option<HashMap<String, String>>,
    directory: &Path,
) -> Result<Vec<u8>, TrainingError> {
    let failed = |error: safetensors::SafeTensorError| TrainingError::Write {
        path: directory.to_owned(),
        source: io::Error::other(error.to_string()),
    };
    let views: Vec<(&str, TensorView<'_>)> = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    safetensors::serialize(views, metadata).map_err(failed)
}

fn gates_bytes(specs: &[ParameterSpec], state: &State, directory: &Path) -> Result<Vec<u8>, TrainingError> {
    let parts: Vec<_> = specs
        .iter()
        .zip(&state.parameters)
        .flat_map(|(spec, parameter)| {
            let part = |name: &String| (name.clone(), spec.shape.clone(), bytes_of(&parameter.values));
            spec.names.iter().map(part).collect::<Vec<_>>()
        })
        .collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize(&parts, Some(metadata), directory)
}

/// The three vectors of a parameter in the state, by the start of their names.
const VECTORS: [&str; 3] = ["values", "mean", "square"];

fn state_bytes(specs: &[ParameterSpec], state: &State, directory: &Path) -> Result<Vec<u8>, TrainingError> {
    let mut parts = Vec::with_capacity(3 * specs.len());
    for (spec, parameter) in specs.iter().zip(&state.parameters) {
        let vectors = [&parameter.values, &parameter.mean, &parameter.square];
        for (kind, vector) in VECTORS.iter().zip(vectors) {
            parts.push((format!("{kind}/{}", spec.names[0]), spec.shape.clone(), bytes_of(vector)));
        }
    }
    let facts = Facts {
        version: VERSION,
        step: state.step,
        usual_loss: state.usual_loss.map(f64::to_bits),
        data_sha256: state.data_sha256.clone(),
        settings: state.settings.clone(),
    };
    let facts = serde_json::to_string(&facts)
        .map_err(|error| TrainingError::Write { path: directory.to_owned(), source: io::Error::other(error) })?;
    serialize(&parts, Some(HashMap::from([(FACTS.to_owned(), facts)])), directory)
}

/// A saved state before the gates that it belongs to are known.
pub struct SavedState {
    path: PathBuf,
    bytes: Vec<u8>,
    facts: Facts,
}

impl SavedState {
    /// Opens the state in `directory`.
    ///
    /// # Errors
    /// When it is missing, damaged or of another version.
    pub fn open(directory: &Path) -> Result<Self, TrainingError> {
        let path = directory.join(STATE);
        let problem = |problem: String| TrainingError::State { path: directory.to_owned(), problem };
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => problem(format!("it has no {STATE}; name the directory that train wrote")),
            _ => TrainingError::Read { path: path.clone(), source: error },
        })?;
        let damaged = |reason: String| problem(format!("{STATE} is damaged ({reason})"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let facts = metadata.metadata().as_ref().and_then(|metadata| metadata.get(FACTS));
        let facts = facts.ok_or_else(|| damaged("it does not say what run it is of".to_owned()))?;
        let facts: Facts = serde_json::from_str(facts).map_err(|error| damaged(error.to_string()))?;
        if facts.version != VERSION {
            return Err(problem(format!("its form is version {}, and this program reads {VERSION}", facts.version)));
        }
        Ok(Self { path, bytes, facts })
    }

    /// Settings of the run.
    pub fn settings(&self) -> &Settings {
        &self.facts.settings
    }

    /// The state of gates with these parameters; `decays` tells which of them weight decay applies to.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen.
    pub fn read(self, specs: &[ParameterSpec], decays: fn(&ParameterSpec) -> bool) -> Result<State, TrainingError> {
        let damaged = |problem: String| TrainingError::State { path: self.path.clone(), problem };
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|error| damaged(error.to_string()))?;
        let vector = |kind: &str, spec: &ParameterSpec| {
            let name = format!("{kind}/{}", spec.names[0]);
            let view = tensors.tensor(&name).map_err(|error| damaged(error.to_string()))?;
            if view.dtype() != Dtype::F32 || view.shape() != spec.shape {
                return Err(damaged(format!("{name} has shape {:?} instead of {:?}", view.shape(), spec.shape)));
            }
            Ok(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        let parameters = specs
            .iter()
            .map(|spec| {
                let [values, mean, square] = VECTORS.map(|kind| vector(kind, spec));
                Ok(Parameter { values: values?, mean: mean?, square: square?, decays: decays(spec) })
            })
            .collect::<Result<_, TrainingError>>()?;
        Ok(State {
            step: self.facts.step,
            usual_loss: self.facts.usual_loss.map(f64::from_bits),
            data_sha256: self.facts.data_sha256.clone(),
            settings: self.facts.settings.clone(),
            parameters,
        })
    }
}

/// Writes a file under a temporary name, brings it to the disk, and gives it its own.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainingError> {
    let temporary = sibling(path, ".tmp");
    let attempt = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().map_err(|error| {
        // The first error is the one to report; a leftover is named .tmp and harms nobody.
        let _ = fs::remove_file(&temporary);
        TrainingError::write(path, error)
    })
}

fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Makes renames in a directory last. Not every file system can, and the files themselves are safe without.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}
