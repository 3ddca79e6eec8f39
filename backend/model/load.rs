//! From names to a model that runs: base weights, gates, tokenizer and template, wherever they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::config::{ModelConfig, TokenIds};
use super::decoder::Decoder;
use super::error::ModelError;
use super::gate::load_gates;
use super::gate_config::GateConfig;
use super::hub::{Hub, Progress};
use super::place::{Local, Place};
use super::weights::{INDEX, SINGLE, ShardIndex, Weights, read_text};
use super::{builtin, pth};
use crate::text::{ChatError, ChatTemplate, TextTokenizer, TokenizerError};
use crate::trace::manifest::{GateFacts, ModelFacts};

const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_FILES: [&str; 4] = [TOKENIZER, "tokenizer_config.json", "chat_template.jinja", GENERATION_CONFIG];
const GATE_FILES: [&str; 2] = ["trimkv_weights.safetensors", "trimkv_weights.pth"];

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Name, directory or repository of the model; `None` follows the gates, or is the built-in model.
    pub model: Option<String>,
    /// Directory or repository of the gates.
    pub gates: Option<String>,
    /// Revision of whatever comes from the hub.
    pub revision: Option<String>,
    /// Whether downloads show their progress.
    pub show_progress: bool,
}

/// A model's files, opened but not yet on a device.
pub struct Parts {
    /// Text of `config.json`, and its place for messages.
    pub config: (String, PathBuf),
    /// Text of `generation_config.json`.
    pub generation_config: Option<String>,
    /// Base weights.
    pub weights: Weights,
    /// Absent for a model that comes without.
    pub tokenizer: Option<TextTokenizer>,
    /// The chat template, or why there is none: only a chat needs it.
    pub template: Result<ChatTemplate, ChatError>,
}

/// A gate checkpoint, opened but not yet on a device.
struct Gates {
    config: GateConfig,
    config_text: String,
    tensors: BTreeMap<String, Tensor>,
    path: PathBuf,
    facts: GateFacts,
}

/// Gates that were read and checked against their base model's shape, but not loaded.
pub struct OpenedGates {
    /// What the checkpoint says about them.
    pub config: GateConfig,
    /// Their tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file they came from, for messages.
    pub path: PathBuf,
}

/// A model, ready to be put on a device.
pub struct Checkpoint {
    parts: Parts,
    gates: Option<Gates>,
    place: Place,
    revision: Option<String>,
    config: ModelConfig,
}

/// A model that runs, and what belongs to it.
pub struct Loaded {
    /// The model.
    pub model: Decoder,
    /// Its tokenizer, if it has one.
    pub tokenizer: Option<TextTokenizer>,
    /// Its chat template, or why there is none.
    pub template: Result<ChatTemplate, ChatError>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
    /// The gate checkpoint's own settings.
    pub gate_config: Option<GateConfig>,
    /// For the manifest.
    pub facts: ModelFacts,
    /// For the manifest.
    pub gate_facts: Option<GateFacts>,
}

impl Checkpoint {
    /// Finds and opens everything that `wanted` names.
    ///
    /// # Errors
    /// When something is missing, damaged, or does not fit together.
    pub fn open(wanted: &Wanted) -> Result<Self, ModelError> {
        let revision = wanted.revision.as_deref();
        let progress = if wanted.show_progress { Progress::Show } else { Progress::Hide };
        let mut hub = || Hub::from_env(progress).map_err(ModelError::from);
        let mut model = wanted.model.as_deref().map(|name| Place::find(name, revision)).transpose()?;
        let mut gates = wanted.gates.as_deref().map(|name| Place::find(name, revision)).transpose()?;
        if gates.is_none() {
            match &model {
                None | Some(Place::BuiltIn) => gates = Some(Place::BuiltIn),
                // A gate checkpoint given as the model brings its base along.
                Some(place) if is_gate_checkpoint(place, &mut hub)? => gates = model.take(),
                Some(_) => {}
            }
        }
        let gates = gates.map(|place| Gates::open(&place, &mut hub)).transpose()?;
        let place = match (model, &gates) {
            (Some(place), _) => place,
            (None, Some(opened)) => opened.base()?,
            (None, None) => Place::BuiltIn,
        };
        if revision.is_some() && !is_remote(wanted) {
            let problem = "--revision names a version on the hub, and nothing here comes from it; leave it out";
            return Err(ModelError::Text(problem.to_owned()));
        }
        let local = place.local(&[CONFIG], &TOKENIZER_FILES, &mut hub)?;
        if let (Place::Hub { .. }, Some(local)) = (&place, &local) {
            fetch_weights(&place, local, &mut hub)?;
        }
        let parts = match &local {
            None => builtin::parts()?,
            Some(local) => Parts::open(&local.directory)?,
        };
        let base = ModelConfig::parse(&parts.config.0, &parts.config.1)?;
        let config = match &gates {
            Some(gates) => gates.model_config(base, &place)?,
            None => base,
        };
        Ok(Self { parts, gates, place, revision: local.and_then(|local| local.revision), config })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Text of the base model's `config.json`.
    pub fn config_text(&self) -> &str {
        &self.parts.config.0
    }

    /// Where the base weights are, as a gate checkpoint names them: a directory in full, so that the name holds anywhere.
    pub fn base_name(&self) -> String {
        match &self.place {
            Place::Directory(path) => std::path::absolute(path).as_ref().unwrap_or(path).display().to_string(),
            place => place.to_string(),
        }
    }

    /// Its tokenizer, if it has one.
    pub fn tokenizer(&self) -> Option<&TextTokenizer> {
        self.parts.tokenizer.as_ref()
    }

    /// Its chat template, or why there is none.
    pub fn template(&self) -> &Result<ChatTemplate, ChatError> {
        &self.parts.template
    }

    /// The gate checkpoint's own settings, if there are gates.
    pub fn gate_config(&self) -> Option<&GateConfig> {
        self.gates.as_ref().map(|gates| &gates.config)
    }

    /// Takes the gates out: what is left loads as the base model alone.
    pub fn take_gates(&mut self) -> Option<OpenedGates> {
        let Gates { config, tensors, path, .. } = self.gates.take()?;
        Some(OpenedGates { config, tensors, path })
    }

    /// Bytes of the weights and gates when computed in `dtype`.
    pub fn weight_bytes(&self, dtype: DType) -> u64 {
        let stored = match self.config.stored_dtype.as_deref() {
            Some("bfloat16" | "float16") => 2,
            _ => 4,
        };
        let gates = self.gates.iter().flat_map(|gates| gates.tensors.values()).map(Tensor::elem_count).sum::<usize>();
        let element = dtype.size_in_bytes() as u64;
        self.parts.weights.total_bytes() * element / stored + gates as u64 * element
    }

    /// Puts the model on a device.
    ///
    /// # Errors
    /// When a tensor is missing, misshapen or not finite, or memory runs out.
    pub fn load(self, dtype: DType, device: &Device) -> Result<Loaded, ModelError> {
        let Self { parts, gates, place, revision, config } = self;
        let layers = gates
            .as_ref()
            .map(|gates| {
                let layers = load_gates(&gates.tensors, &gates.path, &gates.config, &config, dtype, device)?;
                Ok::<_, ModelError>((gates.config.kind, layers))
            })
            .transpose()?;
        let name = place.to_string().rsplit('/').next().unwrap_or_default().to_owned();
        let facts = config.facts(name, place.to_string(), revision, dtype.as_str());
        let eos = end_tokens(parts.generation_config.as_deref(), &config);
        let (gate_config, gate_facts) = gates.map(|gates| (gates.config, gates.facts)).unzip();
        let model = Decoder::load(config, &parts.weights, layers, dtype, device)?;
        // Other threads than this one may run it.
        device.synchronize()?;
        Ok(Loaded { model, tokenizer: parts.tokenizer, template: parts.template, eos, gate_config, facts, gate_facts })
    }
}

impl Parts {
    fn open(directory: &Path) -> Result<Self, ModelError> {
        let config_path = directory.join(CONFIG);
        let tokenizer = match TextTokenizer::from_file(&directory.join(TOKENIZER)) {
            Ok(tokenizer) => Some(tokenizer),
            Err(TokenizerError::Missing { .. }) => None,
            Err(error) => return Err(ModelError::Text(error.to_string())),
        };
        Ok(Self {
            config: (read_text(&config_path)?, config_path),
            generation_config: std::fs::read_to_string(directory.join(GENERATION_CONFIG)).ok(),
            weights: Weights::open(directory)?,
            tokenizer,
            template: ChatTemplate::from_folder(directory),
        })
    }
}

impl Gates {
    fn open(place: &Place, hub: &mut dyn FnMut() -> Result<Hub, ModelError>) -> Result<Self, ModelError> {
        let (config_text, config_path, tensors, path, sha256) = match place.local(&[CONFIG], &GATE_FILES, hub)? {
            None => {
                let builtin::EmbeddedGates { config, tensors, bytes } = builtin::gates()?;
                let path = PathBuf::from("builtin/trimkv_weights.pth");
                (
                    config.to_owned(),
                    PathBuf::from("builtin/gates/config.json"),
                    tensors,
                    path,
                    hex(&Sha256::digest(bytes)),
                )
            }
            Some(Local { directory, .. }) => {
                let config_path = directory.join(CONFIG);
                let config_text = read_text(&config_path)?;
                // A configuration without gate keys is the clearer complaint, so it comes before missing weights.
                GateConfig::parse(&config_text, &config_path)?;
                let (tensors, path) = read_gate_tensors(&directory)?;
                let sha256 = hash_file(&path)?;
                (config_text, config_path, tensors, path, sha256)
            }
        };
        let config = GateConfig::parse(&config_text, &config_path)?;
        let facts = GateFacts { kind: config.kind.as_str().to_owned(), source: place.to_string(), sha256 };
        Ok(Self { config, config_text, tensors, path, facts })
    }

    /// Where the base weights are. Without `base_model` they are in the checkpoint itself.
    fn base(&self) -> Result<Place, ModelError> {
        if self.facts.source == builtin::NAME {
            return Ok(Place::BuiltIn);
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        match &self.config.base_model {
            Some(name) => Place::base(name, directory),
            None => Ok(Place::Directory(directory.to_owned())),
        }
    }

    /// The configuration to run: the authors build the model from the checkpoint's, and take only weights from the
    /// base. It must describe the base.
    fn model_config(&self, base: ModelConfig, place: &Place) -> Result<ModelConfig, ModelError> {
        let path = self.path.with_file_name(CONFIG);
        // A checkpoint of ours or another's may hold the gate keys alone.
        let json: serde_json::Value = serde_json::from_str(&self.config_text).unwrap_or_default();
        if json.get("text_config").unwrap_or(&json).get("hidden_size").is_none() {
            return Ok(base);
        }
        let own = ModelConfig::parse(&self.config_text, &path)?;
        let shape = |c: &ModelConfig| {
            (c.architecture, c.layers, c.hidden, c.query_heads, c.kv_heads, c.head_dim, c.intermediate, c.vocab)
        };
        if shape(&own) == shape(&base) {
            return Ok(own);
        }
        let words = |c: &ModelConfig| {
            let (name, heads) = (c.architecture.as_str(), c.kv_heads);
            format!("{name} of {} layers, width {}, {heads} KV heads, {} tokens", c.layers, c.hidden, c.vocab)
        };
        let problem = format!(
            "these gates are for {}, and the model in {place} is {}; give the gates' own base model with --model",
            words(&own),
            words(&base)
        );
        Err(ModelError::Config { path, problem })
    }
}

/// Whether a name the user gave leads to the hub.
fn is_remote(wanted: &Wanted) -> bool {
    let places = [&wanted.model, &wanted.gates].into_iter().flatten().map(|name| Place::find(name, None));
    places.flatten().any(|place| matches!(place, Place::Hub { .. }))
}

fn is_gate_checkpoint(place: &Place, hub: &mut dyn FnMut() -> Result<Hub, ModelError>) -> Result<bool, ModelError> {
    let Some(Local { directory, .. }) = place.local(&[CONFIG], &[], hub)? else { return Ok(false) };
    let text = read_text(&directory.join(CONFIG))?;
    let is_one = serde_json::from_str(&text).is_ok_and(|json| GateConfig::is_one(&json));
    Ok(is_one && (matches!(place, Place::Hub { .. }) || GATE_FILES.iter().any(|file| directory.join(file).exists())))
}

fn fetch_weights(
    place: &Place,
    local: &Local,
    hub: &mut dyn FnMut() -> Result<Hub, ModelError>,
) -> Result<(), ModelError> {
    place.local(&[], &[INDEX], hub)?;
    let index = local.directory.join(INDEX);
    if index.exists() {
        let index = ShardIndex::read(&index)?;
        place.local(&index.shards(), &[], hub)?;
    } else {
        place.local(&[SINGLE], &[], hub)?;
    }
    Ok(())
}

fn read_gate_tensors(directory: &Path) -> Result<(BTreeMap<String, Tensor>, PathBuf), ModelError> {
    let [safetensors, pth] = GATE_FILES.map(|file| directory.join(file));
    if safetensors.exists() {
        // Opened through the checked reader first, so that damage is told in the same words as for base weights.
        Weights::open_file(&safetensors)?;
        let tensors = candle_core::safetensors::load(&safetensors, &Device::Cpu)?;
        return Ok((tensors.into_iter().collect(), safetensors));
    }
    if pth.exists() {
        return Ok((pth::read(&pth)?, pth));
    }
    let remedy = "a gate checkpoint holds config.json and trimkv_weights.pth (or .safetensors)";
    Err(ModelError::MissingFile { path: pth, remedy })
}

fn end_tokens(generation_config: Option<&str>, config: &ModelConfig) -> Vec<u32> {
    #[derive(Deserialize)]
    struct Generation {
        eos_token_id: Option<TokenIds>,
    }
    let own = generation_config.and_then(|text| serde_json::from_str::<Generation>(text).ok());
    own.and_then(|generation| generation.eos_token_id).map_or_else(|| config.eos.clone(), TokenIds::into_vec)
}

fn hash_file(path: &Path) -> Result<String, ModelError> {
    let failed = |source| ModelError::Io { path: path.to_owned(), source };
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path).map_err(failed)?, &mut hasher).map_err(failed)?;
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
