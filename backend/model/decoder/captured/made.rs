//! A step that was put together, and the memory that it works in.

use std::ops::Range;

use candle_core::{DType, Result, Tensor};

use super::entries::{Entries, RetentionCut};
use super::plan::{Plan, splits, words};
use super::{Asked, Decoder, Feed, TOLD};
use crate::cache::bounded::LayerCache;
use crate::model::captured::{Address, Machine, Prepared, address};

/// Positions whose rotations are at hand: when they are used up, the step is put together anew.
const ROTATIONS: usize = 8192;

/// A step that was put together, and the tensors that belong to it.
pub(super) struct Made {
    /// What it is valid for.
    pub(super) fits: Fits,
    pub(super) prepared: Box<dyn Prepared>,
    /// What changes from step to step, u32; see [`Place`].
    state: Tensor,
    /// The same but for tokens, as the device has it once everything that was started has ended.
    known: Vec<u32>,
    /// The tokens that the device would feed next.
    pub(super) drawn: Vec<u32>,
    /// f32: what was drawn, `(sequences, 4)`, then, where there are such, log beta and norms of keys,
    /// `(layers, sequences, kv_heads)` each.
    pub(super) results: Tensor,
    /// `(sequences, vocab)`.
    pub(super) logits: Tensor,
    /// What the device needs to know to cut by itself.
    entries: Option<Entries>,
    _workspace: Vec<Tensor>,
}

/// Addresses and sizes that a step has built in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fits {
    pub(super) sequences: usize,
    /// Per layer: keys, values, and columns there is room for.
    pub(super) buffers: Vec<(Address, Address, usize)>,
    pub(super) rotations: Range<usize>,
    pub(super) cut: Option<RetentionCut>,
    pub(super) key_norm: bool,
}

/// Where the parts of the state are: tokens; positions; per layer its columns right after the last cut, its columns, and per
/// head its survivors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) state: Address,
    pub(super) sequences: usize,
    /// Numbers that a layer has.
    pub(super) per_layer: usize,
}

impl Place {
    pub(super) fn tokens(&self) -> Address {
        self.state
    }

    pub(super) fn positions(&self) -> Address {
        self.state + words(self.sequences)
    }

    pub(super) fn counts(&self, layer: usize) -> Address {
        self.state + words(2 * self.sequences + layer * self.per_layer)
    }
}

impl Fits {
    /// What a step must have built in to run on `cache` now; rotations that `made` has are enough where they hold all next
    /// positions.
    pub(super) fn of(cache: &[LayerCache], seen: &[usize], asked: Asked, made: Option<&Made>) -> Result<Self> {
        let Asked { cut, key_norm } = asked;
        let first = seen.iter().copied().min().unwrap_or(0);
        let last = seen.iter().copied().max().unwrap_or(0);
        let at_hand =
            made.map(|made| &made.fits.rotations).filter(|at_hand| at_hand.start <= first && last < at_hand.end);
        let rotations = at_hand.cloned().unwrap_or(first..last + ROTATIONS);
        let buffers = cache.iter().map(|layer| {
            let [keys, values] = layer.buffers();
            Ok((address(keys)?, address(values)?, keys.dim(1)?))
        });
        Ok(Self { sequences: seen.len(), buffers: buffers.collect::<Result<_>>()?, rotations, cut, key_norm })
    }
}

/// The state of a step but for tokens.
fn counts(cache: &[LayerCache], seen: &[usize]) -> Vec<u32> {
    let layers = cache
        .iter()
        .flat_map(|layer| [layer.packed(), layer.columns()].into_iter().chain(layer.survivors().iter().copied()));
    seen.iter().copied().chain(layers).map(|count| count as u32).collect()
}

impl Made {
    pub(super) fn new(model: &Decoder, machine: &dyn Machine, cache: &[LayerCache], fits: Fits) -> Result<Self> {
        let device = &model.device;
        let sequences = fits.sequences;
        let rows = fits.rotations.clone().map(|position| position..position + 1).collect::<Vec<_>>();
        let rotation = model.rotary.prepare(&rows, model.dtype, device)?;
        let per_layer = cache.first().map_or(0, |layer| 2 + layer.survivors().len());
        let state = Tensor::zeros(2 * sequences + cache.len() * per_layer, DType::U32, device)?;
        let per_head = usize::from(model.has_gates()) + usize::from(fits.key_norm);
        let told = TOLD + per_head * cache.len() * model.config.kv_heads;
        let results = Tensor::zeros(sequences * told, DType::F32, device)?;
        let logits = Tensor::zeros((sequences, model.config.vocab), model.dtype, device)?;
        let place = Place { state: address(&state)?, sequences, per_layer };
        let entries = match fits.cut {
            Some(cut) => Some(Entries::new(model, machine, &fits, cut, place)?),
            None => None,
        };
        let mut plan = Plan {
            model,
            fits: &fits,
            splits: splits(machine, cache),
            place,
            results: address(&results)?,
            logits: address(&logits)?,
            rotations: [address(rotation.cos())?, address(rotation.sin())?],
            entries: entries.as_ref(),
            held: vec![rotation.cos().clone(), rotation.sin().clone()],
            operations: Vec::new(),
        };
        plan.step()?;
        let Plan { operations, held, .. } = plan;
        let prepared = machine.prepare(operations, model.dtype)?;
        let (known, drawn) = (Vec::new(), Vec::new());
        Ok(Self { fits, prepared, state, known, drawn, results, logits, entries, _workspace: held })
    }

    /// Tells the device what it does not know: tokens it did not draw, and counts and entries that others changed.
    pub(super) fn tell(&mut self, cache: &[LayerCache], feed: Feed<'_>) -> Result<()> {
        let Feed { seen, tokens, entries } = feed;
        if self.drawn != tokens {
            self.state.slice_set(&Tensor::new(tokens, self.state.device())?, 0, 0)?;
        }
        if self.tell_counts(cache, seen)?
            && let Some(own) = &self.entries
        {
            own.tell(cache, entries)?;
        }
        Ok(())
    }

    /// Whether the device did not know them.
    fn tell_counts(&mut self, cache: &[LayerCache], seen: &[usize]) -> Result<bool> {
        let counts = counts(cache, seen);
        if self.known == counts {
            return Ok(false);
        }
        self.state.slice_set(&Tensor::new(&counts[..], self.state.device())?, 0, self.fits.sequences)?;
        self.known = counts;
        Ok(true)
    }

    /// What the kernel `advance` does.
    pub(super) fn stepped(&mut self, layers: usize) {
        let (positions, counts) = self.known.split_at_mut(self.fits.sequences);
        positions.iter_mut().for_each(|position| *position += 1);
        counts.chunks_exact_mut((counts.len() / layers.max(1)).max(1)).for_each(|layer| layer[1] += 1);
    }

    /// Starts a cut on the device; `stay` says per layer how many entries of each head will be left.
    pub(super) fn cut(&mut self, cache: &mut [LayerCache], seen: &[usize], stay: Vec<Vec<usize>>) -> Result<()> {
        let Some(entries) = &mut self.entries else { candle_core::bail!("this step cannot cut by itself") };
        entries.cut()?;
        cache.iter_mut().zip(stay).try_for_each(|(layer, stay)| layer.packed_by_others(stay))?;
        self.tell_counts(cache, seen).map(drop)
    }
}
