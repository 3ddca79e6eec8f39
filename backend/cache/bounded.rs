//! Keys and values of one sequence: tensors in preallocated buffers that follow the ledger's decisions.

use candle_core::{DType, Device, Result, Tensor};

use super::remembered::Remembered;

/// One layer's keys and values.
///
/// Buffers are `(kv_heads, capacity, head_dim)`. A column holds one slot of every head. When heads keep different
/// numbers of entries, the shorter ones leave unused columns between their survivors (packed to the left at the last
/// cut) and the entries that came after; those columns are masked, and never scored, kept or counted.
#[derive(Debug)]
pub struct LayerCache {
    keys: Tensor,
    values: Tensor,
    /// Columns in use.
    columns: usize,
    /// Columns in use right after the last cut.
    packed: usize,
    /// Per head, survivors of the last cut; at most `packed`.
    survivors: Vec<usize>,
    /// The same where the keys are, on a device other than the CPU, when the cache is ragged.
    uneven: Option<Tensor>,
    /// Columns to make room for at once: where the next cut is expected.
    expected: usize,
    /// The newest queries, where they are remembered.
    queries: Option<Remembered>,
}

/// Columns by which a cache grows at least.
const GROWTH: usize = 16;

impl LayerCache {
    fn new(kv_heads: usize, head_dim: usize, expected: usize, dtype: DType, device: &Device) -> Result<Self> {
        let empty = || Tensor::zeros((kv_heads, 0, head_dim), dtype, device);
        let (keys, values, survivors) = (empty()?, empty()?, vec![0; kv_heads]);
        Ok(Self { keys, values, columns: 0, packed: 0, survivors, uneven: None, expected, queries: None })
    }

    fn fork(&self) -> Result<Self> {
        let (keys, values) = (self.keys.copy()?, self.values.copy()?);
        Ok(Self {
            keys,
            values,
            survivors: self.survivors.clone(),
            uneven: self.uneven.clone(),
            queries: self.queries.clone(),
            ..*self
        })
    }

    /// Columns in use.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether some head has unused columns.
    pub fn is_ragged(&self) -> bool {
        self.survivors.iter().any(|&count| count < self.packed)
    }

    /// Columns in use right after the last cut.
    pub fn packed(&self) -> usize {
        self.packed
    }

    /// Per head, the columns it used right after the last cut, at most [`LayerCache::packed`].
    pub fn survivors(&self) -> &[usize] {
        &self.survivors
    }

    /// [`LayerCache::survivors`] as u32 on a device other than the CPU; `None` when all heads use all columns.
    pub fn uneven(&self) -> Option<&Tensor> {
        self.uneven.as_ref()
    }

    /// Notes who survived a cut.
    fn settle(&mut self, survivors: Vec<usize>) -> Result<()> {
        self.survivors = survivors;
        let device = self.keys.device();
        self.uneven = if self.is_ragged() && !device.is_cpu() {
            let counts: Vec<u32> = self.survivors.iter().map(|&count| count as u32).collect();
            Some(Tensor::new(counts, device)?)
        } else {
            None
        };
        Ok(())
    }

    /// The column of a head's `slot`-th entry.
    pub fn column(&self, head: usize, slot: usize) -> usize {
        let survivors = self.survivors[head];
        if slot < survivors { slot } else { self.packed + slot - survivors }
    }

    /// Whether a head uses a column.
    pub fn is_used(&self, head: usize, column: usize) -> bool {
        column < self.survivors[head] || (self.packed..self.columns).contains(&column)
    }

    /// Allocated bytes of keys and values.
    pub fn bytes(&self) -> u64 {
        2 * (self.keys.elem_count() * self.keys.dtype().size_in_bytes()) as u64
    }

    /// The first `columns` columns of keys and values, each `(kv_heads, columns, head_dim)`, without a copy.
    ///
    /// # Errors
    /// When fewer columns are in use.
    pub fn view(&self, columns: usize) -> Result<(Tensor, Tensor)> {
        Ok((self.keys.narrow(1, 0, columns)?, self.values.narrow(1, 0, columns)?))
    }

    /// Remembers the newest `count` queries: of `(query_heads, new, head_dim)` and of those before.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn remember(&mut self, queries: &Tensor, count: usize) -> Result<()> {
        self.queries = Some(Remembered::after(self.queries.as_ref(), queries, count)?);
        Ok(())
    }

    /// The newest queries, where they are remembered.
    pub fn queries(&self) -> Option<&Remembered> {
        self.queries.as_ref()
    }

    /// The buffers of keys and of values, `(kv_heads, capacity, head_dim)` each.
    pub fn buffers(&self) -> [&Tensor; 2] {
        [&self.keys, &self.values]
    }

    /// Whether `new` more columns fit as it is.
    pub fn has_room(&self, new: usize) -> bool {
        self.keys.dim(1).is_ok_and(|capacity| self.columns + new <= capacity)
    }

    /// Makes sure that `new` more columns fit.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn make_room(&mut self, new: usize) -> Result<()> {
        if !self.has_room(new) {
            let columns = self.columns + new;
            // A first fill is exact: a long prompt is about to be cut. Later growth is by an eighth, so that a full
            // cache neither copies itself at every token nor holds twice what it needs.
            let grown = if self.columns == 0 { columns } else { columns + (columns / 8).max(GROWTH) };
            self.reallocate(grown.max(self.expected))?;
        }
        Ok(())
    }

    /// Counts columns that were written into the buffers by others, after [`LayerCache::make_room`].
    pub(super) fn grew(&mut self, new: usize) {
        self.columns += new;
    }

    /// Appends `(kv_heads, new, head_dim)` keys (after rotation) and values.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<()> {
        let new = keys.dim(1)?;
        self.make_room(new)?;
        self.keys.slice_set(&keys.contiguous()?, 1, self.columns)?;
        self.values.slice_set(&values.contiguous()?, 1, self.columns)?;
        self.grew(new);
        Ok(())
    }

    /// Follows a cut whose survivors others packed to the left of each head; `survivors` says how many there are.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn packed_by_others(&mut self, survivors: Vec<usize>) -> Result<()> {
        self.packed = survivors.iter().copied().max().unwrap_or(0);
        self.columns = self.packed;
        self.settle(survivors)
    }

    /// Keeps only the given slots of each head (`None`: all of them), in order.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn keep(&mut self, kept: &[Option<Vec<u32>>]) -> Result<()> {
        if kept.iter().all(Option::is_none) {
            return Ok(());
        }
        let columns_of = |head: usize| -> Vec<usize> {
            match &kept[head] {
                Some(slots) => slots.iter().map(|&slot| self.column(head, slot as usize)).collect(),
                None => (0..self.columns).filter(|&column| self.is_used(head, column)).collect(),
            }
        };
        let columns: Vec<Vec<usize>> = (0..kept.len()).map(columns_of).collect();
        let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
        let capacity = self.keys.dim(1)?;
        // Rows of the buffer seen as (kv_heads * capacity, head_dim); shorter heads repeat their first row as filler.
        let rows = columns.iter().enumerate().flat_map(|(head, columns)| {
            (0..longest).map(move |i| (head * capacity + columns.get(i).copied().unwrap_or(0)) as u32)
        });
        let rows = Tensor::from_vec(rows.collect::<Vec<u32>>(), kept.len() * longest, self.keys.device())?;
        let room = self.expected.max(longest + GROWTH);
        for buffer in [&mut self.keys, &mut self.values] {
            let (heads, _, head_dim) = buffer.dims3()?;
            let picked = (longest > 0)
                .then(|| buffer.flatten(0, 1)?.index_select(&rows, 0)?.reshape((heads, longest, head_dim)))
                .transpose()?;
            // After a long prompt is cut, its memory is given back.
            if capacity > room + room / 4 {
                *buffer = Tensor::zeros((heads, room, head_dim), buffer.dtype(), buffer.device())?;
            }
            if let Some(picked) = picked {
                buffer.slice_set(&picked, 1, 0)?;
            }
        }
        self.packed_by_others(columns.iter().map(Vec::len).collect())
    }

    /// Puts the heads of several caches into one, in order, each with its entries packed to the left.
    pub(super) fn join(mut parts: Vec<Self>) -> Result<Self> {
        for part in &mut parts {
            if part.is_ragged() {
                let all = |head: usize| (0..part.entries(head) as u32).collect();
                let all: Vec<Option<Vec<u32>>> = (0..part.survivors.len()).map(|head| Some(all(head))).collect();
                part.keep(&all)?;
            }
        }
        let columns = parts.iter().map(|part| part.columns).max().unwrap_or(0);
        let expected = parts.iter().map(|part| part.expected).max().unwrap_or(0);
        let capacity = expected.max(columns + (columns / 8).max(GROWTH));
        let survivors = parts.iter().flat_map(|part| (0..part.survivors.len()).map(move |head| part.entries(head)));
        let survivors: Vec<usize> = survivors.collect();
        let side_by_side = |buffer: fn(&Self) -> &Tensor| -> Result<Tensor> {
            let widened = parts.iter().map(|part| {
                let (heads, _, head_dim) = buffer(part).dims3()?;
                let wide = Tensor::zeros((heads, capacity, head_dim), buffer(part).dtype(), buffer(part).device())?;
                if part.columns > 0 {
                    wide.slice_set(&buffer(part).narrow(1, 0, part.columns)?.contiguous()?, 1, 0)?;
                }
                Ok(wide)
            });
            Tensor::cat(&widened.collect::<Result<Vec<_>>>()?, 0)
        };
        let (keys, values) = (side_by_side(|part| &part.keys)?, side_by_side(|part| &part.values)?);
        let queries: Vec<&Remembered> = parts.iter().filter_map(|part| part.queries.as_ref()).collect();
        let queries = Remembered::join(&queries)?;
        let packed = columns;
        let mut joined = Self { keys, values, columns, packed, survivors: Vec::new(), uneven: None, expected, queries };
        joined.settle(survivors)?;
        Ok(joined)
    }

    /// Gives up the heads of a sequence.
    pub(super) fn remove_heads(&mut self, heads: std::ops::Range<usize>) -> Result<()> {
        let staying: Vec<u32> =
            (0..self.survivors.len()).filter(|head| !heads.contains(head)).map(|head| head as u32).collect();
        let staying = Tensor::new(staying, self.keys.device())?;
        self.keys = self.keys.index_select(&staying, 0)?;
        self.values = self.values.index_select(&staying, 0)?;
        if let Some(queries) = &mut self.queries {
            queries.remove(heads.start / heads.len().max(1))?;
        }
        let mut survivors = std::mem::take(&mut self.survivors);
        survivors.drain(heads);
        self.settle(survivors)
    }

    /// Entries of a head.
    fn entries(&self, head: usize) -> usize {
        self.survivors[head] + self.columns - self.packed
    }

    fn reallocate(&mut self, capacity: usize) -> Result<()> {
        for buffer in [&mut self.keys, &mut self.values] {
            let (heads, _, head_dim) = buffer.dims3()?;
            let grown = Tensor::zeros((heads, capacity, head_dim), buffer.dtype(), buffer.device())?;
            if self.columns > 0 {
                grown.slice_set(&buffer.narrow(1, 0, self.columns)?.contiguous()?, 1, 0)?;
            }
            *buffer = grown;
        }
        Ok(())
    }
}

/// One sequence's cache over all layers. It counts the tokens it has seen itself: a position is never a length.
#[derive(Debug)]
pub struct SequenceCache {
    layers: Vec<LayerCache>,
    kv_heads: usize,
    seen: usize,
    peak: u64,
}

impl SequenceCache {
    /// An empty cache. `expected` is the number of entries a head holds when it is next cut, 0 if it never is.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
        expected: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let layers = (0..layers).map(|_| LayerCache::new(kv_heads, head_dim, expected, dtype, device));
        Ok(Self { layers: layers.collect::<Result<_>>()?, kv_heads, seen: 0, peak: 0 })
    }

    /// A cache with the same content and buffers of its own.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn fork(&self) -> Result<Self> {
        let layers = self.layers.iter().map(LayerCache::fork).collect::<Result<_>>()?;
        Ok(Self { layers, ..*self })
    }

    /// Tokens that entered so far: the next one's position.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// KV heads per layer.
    pub(super) fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// The layers, when the sequence moves into a batch.
    pub(super) fn into_layers(self) -> Vec<LayerCache> {
        self.layers
    }

    /// One layer.
    pub fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    /// All layers, to be written into by others.
    pub fn layers_mut(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }

    /// One layer, to append to.
    pub fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    /// Counts a pass's tokens once all layers have appended them.
    pub fn advance(&mut self, tokens: usize) {
        self.seen += tokens;
        self.peak = self.peak.max(self.bytes());
    }

    /// Counts a token that a captured step wrote into all layers.
    pub fn stepped(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.grew(1));
        self.advance(1);
    }

    /// Follows a cut: per head, layer by layer, the slots that stay, or `None` for all.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn keep(&mut self, kept: &[Option<Vec<u32>>]) -> Result<()> {
        self.layers.iter_mut().zip(kept.chunks(self.kv_heads)).try_for_each(|(layer, kept)| layer.keep(kept))
    }

    /// Allocated bytes now.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// Most bytes ever allocated.
    pub fn peak_bytes(&self) -> u64 {
        self.peak
    }
}
