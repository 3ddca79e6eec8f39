//! Cuts that the device decides and carries out by itself: learned retention, every head on its own.
//!
//! It holds every entry's position and log beta, to the bit what the host was told, and ranks scores as the host does. So the
//! host can come to the same decision later, for the trace, without anything being sent.

use candle_core::{DType, Result, Tensor};

use super::Decoder;
use super::made::{Fits, Place};
use super::plan::words;
use crate::cache::bounded::LayerCache;
use crate::model::captured::{Address, Launch, Machine, Operation, Prepared, address};

/// Threads of a block that decides for a head, or moves its entries.
const THREADS: u32 = 256;

/// A cut by `log_beta * age` within each head; see [`CutRule`](crate::policy::CutRule).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionCut {
    /// Entries that stay, the protected ones included.
    pub budget: usize,
    /// Entries at which a head is cut.
    pub limit: usize,
    /// Positions below this one are protected.
    pub sinks: usize,
    /// So many of the newest entries are protected.
    pub recent: usize,
    /// Added to an age.
    pub age_offset: i32,
}

/// Positions and log beta of a layer's head, counted through all sequences, in the order of its slots.
pub type HeadEntries<'a> = &'a dyn Fn(usize, usize) -> (&'a [u32], &'a [f32]);

/// Every head's entries on the device, `(layers, heads, stride)` each, and the launches of a cut.
pub(super) struct Entries {
    log_beta: Tensor,
    position: Tensor,
    heads: usize,
    stride: usize,
    prepared: Box<dyn Prepared>,
    _workspace: Vec<Tensor>,
}

impl Entries {
    pub(super) fn new(
        model: &Decoder,
        machine: &dyn Machine,
        fits: &Fits,
        cut: RetentionCut,
        place: Place,
    ) -> Result<Self> {
        let device = &model.device;
        let (layers, kv_heads) = (fits.buffers.len(), model.config.kv_heads);
        let heads = fits.sequences * kv_heads;
        let stride = fits.buffers.iter().map(|&(_, _, capacity)| capacity).max().unwrap_or(0);
        let planes = |dtype| Tensor::zeros((layers, heads, stride), dtype, device);
        let (log_beta, position) = (planes(DType::F32)?, planes(DType::U32)?);
        let (scores, flags, kept) = (planes(DType::F32)?, planes(DType::U32)?, planes(DType::U32)?);
        let count = Tensor::zeros((layers, heads), DType::U32, device)?;
        let buffers = fits.buffers.iter().flat_map(|&(keys, values, _)| [keys, values]).map(u64::cast_signed);
        let buffers = Tensor::new(buffers.collect::<Vec<i64>>(), device)?;
        let strides = fits.buffers.iter().map(|&(_, _, capacity)| capacity as u32);
        let strides = Tensor::new(strides.collect::<Vec<u32>>(), device)?;
        let all = [&log_beta, &position, &scores, &flags, &kept, &count].map(address);
        let [log_betas, positions, scores_at, flags_at, kept_at, count_at] = all;
        let (kept_at, count_at) = (kept_at?, count_at?);
        let select = Launch::new("select_kept", [heads, layers], THREADS)
            .at(&[place.positions(), place.counts(0), log_betas?, positions?, scores_at?, flags_at?, kept_at, count_at])
            .sizes(&[heads, kv_heads, place.per_layer, stride, cut.budget, cut.limit, cut.sinks, cut.recent])
            .integer(cut.age_offset.into());
        let pack = Launch::new("pack_kept", [heads, 2 * layers], THREADS)
            .at(&[address(&buffers)?, address(&strides)?, kept_at, count_at])
            .sizes(&[heads, stride, model.config.head_dim]);
        let prepared = machine.prepare(vec![Operation::Launch(select), Operation::Launch(pack)], model.dtype)?;
        let _workspace = vec![scores, flags, kept, count, buffers, strides];
        Ok(Self { log_beta, position, heads, stride, prepared, _workspace })
    }

    /// Entries there is room for in each head.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Where a layer's log betas and positions are.
    pub(super) fn layer(&self, layer: usize) -> Result<[Address; 2]> {
        let first = words(layer * self.heads * self.stride);
        Ok([address(&self.log_beta)? + first, address(&self.position)? + first])
    }

    /// Tells the device what the host knows of every head.
    pub(super) fn tell(&self, cache: &[LayerCache], entries: HeadEntries<'_>) -> Result<()> {
        let count = cache.len() * self.heads * self.stride;
        let (mut log_beta, mut position) = (vec![0f32; count], vec![0u32; count]);
        for (layer, columns) in cache.iter().enumerate() {
            for head in 0..self.heads {
                let (positions, log_betas) = entries(layer, head);
                let plane = (layer * self.heads + head) * self.stride;
                for (slot, (&own, &beta)) in positions.iter().zip(log_betas).enumerate() {
                    let column = columns.column(head, slot);
                    if column >= self.stride {
                        candle_core::bail!("a head holds more entries than its cache has room for");
                    }
                    (position[plane + column], log_beta[plane + column]) = (own, beta);
                }
            }
        }
        let shape = self.position.shape();
        self.position.slice_set(&Tensor::from_vec(position, shape, self.position.device())?, 0, 0)?;
        self.log_beta.slice_set(&Tensor::from_vec(log_beta, shape, self.log_beta.device())?, 0, 0)
    }

    /// Starts a cut.
    pub(super) fn cut(&mut self) -> Result<()> {
        self.prepared.run()
    }
}
