//! Decoding by steps that are put together once; see [`crate::model::captured`].

mod entries;
mod made;
mod plan;

pub use entries::{HeadEntries, RetentionCut};

use candle_core::{DType, Result, Tensor};

use super::{Decoder, Want};
use crate::cache::bounded::LayerCache;
use crate::model::captured::Manner;
use crate::model::config::ModelConfig;
use crate::model::kernels::attention_fits;
use crate::trace::grid::Grid;

use made::{Fits, Made};

/// Numbers that a draw tells of a sequence.
const TOLD: usize = 4;

/// A decoding step of one or several sequences over caches that share their buffers.
///
/// [`CapturedStep::start`] starts it, [`CapturedStep::finish`] waits for it and takes what it made, in one copy. The
/// tokens it draws stay where the next step reads them: nothing is sent when they are fed, unless the step had to be put
/// together anew.
pub struct CapturedStep {
    asked: Asked,
    made: Option<Made>,
    started: bool,
}

/// What a step should do beside decoding.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Cut by itself, like this.
    pub cut: Option<RetentionCut>,
    /// Give back norms of new keys.
    pub key_norm: bool,
}

/// What a step made of every sequence.
pub struct StepResult {
    /// Per sequence, `(layers * kv_heads, 1)` in nats; `None` without gates.
    pub log_beta: Vec<Option<Grid<f32>>>,
    /// Per sequence, `(layers * kv_heads, 1)`, where asked for.
    pub key_norm: Vec<Option<Grid<f32>>>,
    /// Per sequence: its most likely token, minus the log of its probability, the entropy, and a number that is finite
    /// when all logits are.
    pub told: Vec<[f32; TOLD]>,
}

/// What a step is given.
#[derive(Clone, Copy)]
pub struct Feed<'a> {
    /// Per sequence, the tokens that were seen: its next one's position.
    pub seen: &'a [usize],
    /// One token of every sequence.
    pub tokens: &'a [u32],
    /// What the cache holds. Asked only where the step can cut by itself and does not know yet.
    pub entries: HeadEntries<'a>,
}

impl Decoder {
    /// Whether steps of this model can be captured, given what they should give back.
    pub fn captures(&self, want: Want<'_>) -> bool {
        let gates = self.layers.iter().all(|layer| layer.gate.as_ref().is_none_or(|gate| gate.parts().is_some()));
        let ModelConfig { vocab, query_heads, kv_heads, head_dim, .. } = self.config;
        let drawn = vocab <= 1 << f32::MANTISSA_DIGITS && attention_fits(query_heads / kv_heads, head_dim);
        let number = matches!(self.dtype, DType::F32 | DType::BF16 | DType::F16);
        self.machine.is_some() && gates && drawn && number && !want.attention && want.queries == 0
    }
}

impl CapturedStep {
    /// A step that was not started yet.
    pub fn new(asked: Asked) -> Self {
        Self { asked, made: None, started: false }
    }

    /// Starts a step, and makes room for it in `cache`.
    ///
    /// # Errors
    /// When a step is running, there is not one token and one count for each sequence, a token is outside the
    /// vocabulary, or the device fails.
    pub fn start(&mut self, model: &Decoder, cache: &mut [LayerCache], feed: Feed<'_>) -> Result<()> {
        let Some(machine) = &model.machine else { candle_core::bail!("this device's steps cannot be captured") };
        if self.started {
            candle_core::bail!("a step is running already");
        }
        let Feed { seen, tokens, .. } = feed;
        if tokens.len() != seen.len() || tokens.iter().any(|&token| token as usize >= model.config.vocab) {
            candle_core::bail!("{tokens:?} cannot be fed to {} sequences, one each", seen.len());
        }
        cache.iter_mut().try_for_each(|layer| layer.make_room(1))?;
        let fits = Fits::of(cache, seen, self.asked, self.made.as_ref())?;
        let mut made = match self.made.take() {
            Some(made) if made.fits == fits => made,
            _ => Made::new(model, &**machine, cache, fits)?,
        };
        made.tell(cache, feed)?;
        made.prepared.run()?;
        made.stepped(cache.len());
        self.made = Some(made);
        self.started = true;
        Ok(())
    }

    /// Whether the next step can be started as it is, so that nothing has to be told but counts.
    pub fn is_valid(&self, cache: &[LayerCache], seen: &[usize]) -> bool {
        let has_room = cache.iter().all(|layer| layer.has_room(1));
        let fits = || Fits::of(cache, seen, self.asked, self.made.as_ref()).ok();
        has_room && self.made.as_ref().is_some_and(|made| fits().is_some_and(|fits| fits == made.fits))
    }

    /// Whether it can cut by itself.
    pub fn can_cut(&self) -> bool {
        self.asked.cut.is_some()
    }

    /// Starts a cut of every head that is due, on the device; `stay` says per layer how many entries of each head will be
    /// left. The cache's counts follow at once.
    ///
    /// # Errors
    /// When it cannot cut by itself, a step is running or none has run on this cache, or the device fails.
    pub fn cut(&mut self, cache: &mut [LayerCache], seen: &[usize], stay: Vec<Vec<usize>>) -> Result<()> {
        match &mut self.made {
            Some(made) if !self.started => made.cut(cache, seen, stay),
            _ => candle_core::bail!("a cut follows a step that has ended"),
        }
    }

    /// Waits for the step that was started. Counting its token and columns is the caller's business.
    ///
    /// # Errors
    /// When none was started or the device fails.
    pub fn finish(&mut self, model: &Decoder) -> Result<StepResult> {
        let Some(made) = self.made.as_mut().filter(|_| self.started) else { candle_core::bail!("no step was started") };
        self.started = false;
        let results = made.results.to_vec1::<f32>()?;
        let sequences = made.fits.sequences;
        let shape = model.shape();
        let (told, rest) = results.split_at(sequences * TOLD);
        made.drawn = told.chunks_exact(TOLD).map(|told| if told[3].is_finite() { told[0] as u32 } else { 0 }).collect();
        let mut parts = rest.chunks_exact((sequences * shape.heads()).max(1));
        let log_beta = if model.has_gates() { parts.next() } else { None };
        let key_norm = if self.asked.key_norm { parts.next() } else { None };
        let own = |all: Option<&[f32]>, sequence: usize| {
            let rows = all?.chunks_exact(sequences * shape.kv_heads);
            let own = rows.flat_map(|row| &row[sequence * shape.kv_heads..][..shape.kv_heads]).copied();
            Grid::from_cells(shape.heads(), 1, own.collect())
        };
        Ok(StepResult {
            log_beta: (0..sequences).map(|sequence| own(log_beta, sequence)).collect(),
            key_norm: (0..sequences).map(|sequence| own(key_norm, sequence)).collect(),
            told: told.chunks_exact(TOLD).map(|told| [told[0], told[1], told[2], told[3]]).collect(),
        })
    }

    /// Whether a step was started whose results nobody took.
    pub fn is_running(&self) -> bool {
        self.started
    }

    /// The last step's logits, `(sequences, vocab)` in f32, where they are.
    ///
    /// # Errors
    /// When there was none or the device fails.
    pub fn logits(&self) -> Result<Tensor> {
        match &self.made {
            Some(made) => made.logits.to_dtype(DType::F32),
            None => candle_core::bail!("no step was started"),
        }
    }

    /// How steps are started now; `None` before the first.
    pub fn manner(&self) -> Option<Manner> {
        self.made.as_ref().map(|made| made.prepared.manner())
    }
}
