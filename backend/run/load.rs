//! Puts a model on its device, after a look at whether everything that follows fits.

use anyhow::Result;

use crate::engine::device::{DTypeChoice, DeviceChoice, Opened};
use crate::engine::memory::{Forecast, Load};
use crate::model::attention::query_block;
use crate::model::load::{Checkpoint, Loaded};
use crate::policy::{CutRule, Evidence};

/// A generation, for its memory.
pub struct Work<'a> {
    /// When the cache is cut.
    pub rule: Option<&'a CutRule>,
    /// What must be known for a cut.
    pub evidence: Evidence,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Prompt tokens per pass.
    pub prefill_chunk: Option<usize>,
    /// Tokens to generate at most.
    pub generate: usize,
}

/// Loads a model; without `work` only its weights are known to need memory. What there is to say of the device is
/// returned beside it.
///
/// # Errors
/// When the device cannot be used, the run will not fit, or the model is damaged.
pub fn load(
    checkpoint: Checkpoint,
    device: DeviceChoice,
    dtype: DTypeChoice,
    work: Option<&Work<'_>>,
) -> Result<(Loaded, Option<String>)> {
    let Opened { device, note } = device.open()?;
    let dtype = dtype.resolve(&device, checkpoint.config().stored_dtype.as_deref());
    let weights = checkpoint.weight_bytes(dtype);
    let forecast = match work {
        None => Forecast { weights, cache: 0, workspace: 0 },
        Some(work) => Load {
            config: checkpoint.config(),
            weights,
            dtype,
            rule: work.rule,
            evidence: work.evidence,
            prompt: work.prompt,
            prefill_chunk: work.prefill_chunk,
            generate: work.generate,
            sequences: 1,
            query_block: query_block(&device),
        }
        .forecast(&device),
    };
    forecast.check(&device)?;
    Ok((checkpoint.load(dtype, &device)?, note))
}
