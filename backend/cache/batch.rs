//! Keys and values of several sequences that decode together, in buffers they share.
//!
//! A batch of B sequences is, to a layer's cache, one sequence of B times as many heads: sequence after sequence, each
//! with its KV heads in order. So one product attends for all of them, and sequences of different lengths are heads
//! that keep different numbers of entries, which a layer's cache knows how to hold.

use candle_core::{Result, Tensor};

use super::bounded::{LayerCache, SequenceCache};

/// The caches of several sequences over all layers.
#[derive(Debug)]
pub struct BatchCache {
    layers: Vec<LayerCache>,
    kv_heads: usize,
    /// Per sequence, tokens that entered so far.
    seen: Vec<usize>,
    peak: u64,
}

impl BatchCache {
    /// Puts sequences side by side. Each layer's own buffers are freed as soon as they are copied.
    ///
    /// # Errors
    /// When there is no sequence, their models differ, or memory runs out.
    pub fn join(caches: Vec<SequenceCache>) -> Result<Self> {
        let seen = caches.iter().map(SequenceCache::seen).collect();
        let kv_heads = caches.first().map_or(0, SequenceCache::kv_heads);
        let mut parts: Vec<_> = caches.into_iter().map(|cache| cache.into_layers().into_iter()).collect();
        let mut layers = Vec::new();
        loop {
            let layer: Vec<LayerCache> = parts.iter_mut().filter_map(Iterator::next).collect();
            if layer.is_empty() {
                break;
            }
            if layer.len() != parts.len() {
                candle_core::bail!("sequences of different models cannot share a pass");
            }
            layers.push(LayerCache::join(layer)?);
        }
        let mut joined = Self { layers, kv_heads, seen, peak: 0 };
        joined.peak = joined.bytes();
        Ok(joined)
    }

    /// Sequences in the batch.
    pub fn sequences(&self) -> usize {
        self.seen.len()
    }

    /// Tokens that entered each sequence so far: its next one's position.
    pub fn seen(&self) -> &[usize] {
        &self.seen
    }

    /// All layers, to be written into by others.
    pub fn layers_mut(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }

    /// One layer of all sequences; the heads of sequence `s` begin at `s * kv_heads`.
    pub fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    /// Appends one token's keys and values, `(sequences * kv_heads, 1, head_dim)`, to every sequence.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub fn append(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.layers[layer].append(keys, values)
    }

    /// Remembers the newest queries, `(sequences * query_heads, 1, head_dim)`; see [`LayerCache::remember`].
    ///
    /// # Errors
    /// When memory runs out.
    pub fn remember(&mut self, layer: usize, queries: &Tensor, count: usize) -> Result<()> {
        self.layers[layer].remember(queries, count)
    }

    /// Counts a pass's tokens, one for each sequence, once all layers have appended them.
    pub fn advance(&mut self) {
        self.seen.iter_mut().for_each(|seen| *seen += 1);
        self.peak = self.peak.max(self.bytes());
    }

    /// Counts a token of every sequence that a captured step wrote into all layers.
    pub fn stepped(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.grew(1));
        self.advance();
    }

    /// Follows the cuts of a pass: per sequence, as [`SequenceCache::keep`] takes them, or `None` for no cut.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn keep(&mut self, kept: &[Option<Vec<Option<Vec<u32>>>>]) -> Result<()> {
        if kept.iter().all(Option::is_none) {
            return Ok(());
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let first = index * self.kv_heads;
            let heads = kept.iter().flat_map(|kept| {
                (first..first + self.kv_heads).map(move |head| kept.as_ref().and_then(|kept| kept[head].clone()))
            });
            layer.keep(&heads.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Takes a sequence out of the batch.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn remove(&mut self, sequence: usize) -> Result<()> {
        let heads = sequence * self.kv_heads..(sequence + 1) * self.kv_heads;
        self.layers.iter_mut().try_for_each(|layer| layer.remove_heads(heads.clone()))?;
        self.seen.remove(sequence);
        Ok(())
    }

    /// Allocated bytes now.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// Most bytes ever allocated at the end of a pass.
    pub fn peak_bytes(&self) -> u64 {
        self.peak
    }
}
