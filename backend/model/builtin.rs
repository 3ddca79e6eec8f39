//! The model inside the program: a small Qwen3-shaped one with trained gates, so that the main job needs no network.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

use candle_core::Tensor;

use super::error::ModelError;
use super::load::Parts;
use super::pth;
use super::weights::Weights;
use crate::text::{ChatTemplate, TextTokenizer};

/// Name under which it is asked for.
pub const NAME: &str = "builtin";

/// What every summary says about it.
pub const CAVEAT: &str = "a small demonstration model: it is right only in its own small world";

const WEIGHTS: &[u8] = include_bytes!("builtin/model.safetensors");
const GATES: &[u8] = include_bytes!("builtin/gates/trimkv_weights.pth");

/// The embedded model's files, ready to be loaded.
///
/// # Errors
/// Only if the program was built with damaged files.
pub fn parts() -> Result<Parts, ModelError> {
    let text = |error: &dyn std::fmt::Display| ModelError::Text(error.to_string());
    let tokenizer_config = include_str!("builtin/tokenizer_config.json");
    Ok(Parts {
        config: (include_str!("builtin/config.json").to_owned(), PathBuf::from("builtin/config.json")),
        generation_config: Some(include_str!("builtin/generation_config.json").to_owned()),
        weights: Weights::embedded("builtin/model.safetensors", WEIGHTS)?,
        tokenizer: Some(
            TextTokenizer::from_bytes(include_bytes!("builtin/tokenizer.json")).map_err(|error| text(&error))?,
        ),
        template: ChatTemplate::from_parts(Some(tokenizer_config), None),
    })
}

/// The gates inside the program.
pub struct EmbeddedGates {
    /// Text of their `config.json`.
    pub config: &'static str,
    /// Their tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file they were read from, for its hash.
    pub bytes: &'static [u8],
}

/// Reads the embedded gates.
///
/// # Errors
/// Only if the program was built with damaged files.
pub fn gates() -> Result<EmbeddedGates, ModelError> {
    let tensors = pth::read_from(Cursor::new(GATES), "builtin/trimkv_weights.pth")?;
    Ok(EmbeddedGates { config: include_str!("builtin/gates/config.json"), tensors, bytes: GATES })
}
