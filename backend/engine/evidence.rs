//! What policies ask of keys and queries, from a cache's tensors to slices in the order of a ledger's slots.

use candle_core::{DType, Result, Tensor};

use crate::cache::bounded::LayerCache;
use crate::cache::ledger::{Decision, Ledger};
use crate::model::decoder::Decoder;
use crate::policy::weighing::{LikenessToOthers, attention_to_all, attention_to_past, likeness_to_mean};
use crate::policy::{Evidence, Likeness, NewestQueries, Policy, Weighed};
use crate::trace::step::KvHead;

use super::generation::EngineError;

/// Most bytes of cosines at once.
pub(super) const TILE_BYTES: usize = 64 << 20;

/// One sequence's part of a layer's cache: its heads, and the columns of their entries.
struct Part<'a> {
    cache: &'a LayerCache,
    /// The sequence's first KV head in the cache.
    first: usize,
    /// Per KV head, the columns of its entries.
    columns: Vec<Vec<usize>>,
}

/// What a policy wants to know for a cut that is due: per head, layer by layer. `layer` gives a layer's cache, where this
/// sequence's heads begin at `first`.
///
/// # Errors
/// When memory runs out, or queries were to be remembered and were not.
pub fn weigh<'c>(
    model: &Decoder,
    evidence: Evidence,
    ledger: &Ledger,
    first: usize,
    layer: impl Fn(usize) -> &'c LayerCache,
) -> Result<Vec<Weighed>> {
    let shape = model.shape();
    let mut all = Vec::with_capacity(shape.heads());
    for index in 0..shape.layers {
        let cache = layer(index);
        let columns = (0..shape.kv_heads).map(|head| {
            let entries = ledger.positions(KvHead { layer: index as u16, head: head as u16 }).len();
            (0..entries).map(|slot| cache.column(first + head, slot)).collect()
        });
        let part = Part { cache, first, columns: columns.collect() };
        let mut weighed = vec![Weighed::default(); shape.kv_heads];
        if let Some(queries) = evidence.queries {
            let importance = part.importance(queries, evidence.remembered(), model.scale())?;
            weighed.iter_mut().zip(importance).for_each(|(own, importance)| own.importance = importance);
        }
        if let Some(likeness) = evidence.likeness {
            let likeness = part.likeness(likeness)?;
            weighed.iter_mut().zip(likeness).for_each(|(own, likeness)| own.likeness = likeness);
        }
        all.extend(weighed);
    }
    Ok(all)
}

/// Decides who leaves, with what the policy wants to know of keys and queries; the tensors must follow. `layer` gives a layer's
/// cache, where this sequence's heads begin at `first`.
///
/// # Errors
/// When scores cannot be ranked or memory runs out.
pub(crate) fn cut<'c>(
    ledger: &mut Ledger,
    policy: &Policy,
    model: &Decoder,
    first: usize,
    layer: impl Fn(usize) -> &'c LayerCache,
) -> std::result::Result<Option<Decision>, EngineError> {
    let evidence = policy.evidence();
    if !evidence.is_weighed() || !ledger.is_due(policy) {
        return Ok(ledger.cut(policy)?);
    }
    let weighed = weigh(model, evidence, ledger, first, layer)?;
    Ok(ledger.cut_weighed(policy, &weighed)?)
}

/// Attention that a pass measured, `columns` of every head's cache, as (position, mass) in the order of a ledger's slots: before
/// a cut moves the columns.
pub(crate) fn received<'c>(
    ledger: &Ledger,
    columns: &[Vec<f32>],
    model: &Decoder,
    first: usize,
    layer: impl Fn(usize) -> &'c LayerCache,
) -> Vec<Vec<(u32, f32)>> {
    let head_mass = |(head, mass): (KvHead, &Vec<f32>)| {
        let cache = layer(usize::from(head.layer));
        let column = |slot| cache.column(first + usize::from(head.head), slot);
        let positions = ledger.positions(head).iter().enumerate();
        positions.map(|(slot, &position)| (position, mass[column(slot)])).collect()
    };
    model.shape().iter().zip(columns).map(head_mass).collect()
}

impl Part<'_> {
    /// Keys of this sequence's heads, `(kv_heads, columns, head_dim)` in f32.
    fn keys(&self) -> Result<Tensor> {
        let (keys, _) = self.cache.view(self.cache.columns())?;
        keys.narrow(0, self.first, self.columns.len())?.to_dtype(DType::F32)?.contiguous()
    }

    /// `most` of the newest queries are asked: a cache may remember more, for others.
    fn importance(&self, asked: NewestQueries, most: usize, scale: f64) -> Result<Vec<Vec<f32>>> {
        let Some(remembered) = self.cache.queries() else {
            candle_core::bail!("no queries were remembered for this policy")
        };
        let queries = remembered.of(self.first / self.columns.len().max(1))?;
        let keys = self.keys()?;
        let (kv_heads, columns, head_dim) = keys.dims3()?;
        let (query_heads, held, _) = queries.dims3()?;
        let (group, count) = (query_heads / kv_heads, held.min(most));
        let queries = queries.narrow(1, held - count, count)?.to_dtype(DType::F32)?;
        let folded = queries.contiguous()?.reshape((kv_heads, group * count, head_dim))?;
        let logits = (folded.matmul(&keys.transpose(1, 2)?.contiguous()?)? * scale)?.flatten_all()?.to_vec1::<f32>()?;
        let by_head = logits.chunks_exact(group * count * columns).zip(&self.columns);
        // Unused columns fall out here.
        let slots = |(rows, own): (&[f32], &Vec<usize>)| -> Vec<f32> {
            rows.chunks_exact(columns).flat_map(|row| own.iter().map(|&column| row[column])).collect()
        };
        let by_head: Vec<Vec<f32>> = by_head.map(slots).collect();
        Ok(match asked {
            NewestQueries::OverPast(_) => by_head
                .iter()
                .zip(&self.columns)
                .map(|(logits, own)| attention_to_past(logits, count, own.len()))
                .collect(),
            NewestQueries::Newest => {
                let own = |(logits, own): (&Vec<f32>, &Vec<usize>)| attention_to_all(logits, own.len());
                mean_of(by_head.iter().zip(&self.columns).map(own).collect())
            }
        })
    }

    fn likeness(&self, asked: Likeness) -> Result<Vec<Vec<f32>>> {
        let keys = self.keys()?;
        let norms = keys.sqr()?.sum_keepdim(2)?.sqrt()?.clamp(f32::MIN_POSITIVE, f32::MAX)?;
        let directions = keys.broadcast_div(&norms)?;
        let (_, columns, head_dim) = directions.dims3()?;
        match asked {
            Likeness::ToMean => {
                let flat = directions.flatten_all()?.to_vec1::<f32>()?;
                let of_head = |(keys, own): (&[f32], &Vec<usize>)| {
                    let own: Vec<f32> =
                        own.iter().flat_map(|&column| &keys[column * head_dim..][..head_dim]).copied().collect();
                    likeness_to_mean(&own, head_dim)
                };
                Ok(flat.chunks_exact(columns * head_dim).zip(&self.columns).map(of_head).collect())
            }
            Likeness::ToOthers => {
                let own = self.columns.iter().enumerate();
                own.map(|(head, own)| likeness_to_others(&directions.get(head)?, own)).collect()
            }
        }
    }
}

/// A tile of rows of the table of cosines at a time: the whole of a long prompt's would not fit.
fn likeness_to_others(directions: &Tensor, own: &[usize]) -> Result<Vec<f32>> {
    let (columns, _) = directions.dims2()?;
    let transposed = directions.t()?.contiguous()?;
    let mut likeness = LikenessToOthers::new(own.len());
    let rows = (TILE_BYTES / (columns * size_of::<f32>()).max(1)).max(1);
    let mut slots = own.iter().enumerate().peekable();
    for start in (0..columns).step_by(rows) {
        let tile = directions.narrow(0, start, rows.min(columns - start))?.matmul(&transposed)?;
        let tile = tile.flatten_all()?.to_vec1::<f32>()?;
        while let Some((slot, &column)) = slots.next_if(|&(_, &column)| column < start + rows) {
            let row = &tile[(column - start) * columns..][..columns];
            likeness.row(slot, own.iter().map(|&column| row[column]));
        }
    }
    Ok(likeness.means())
}

/// The mean over heads that hold the same entries, for each of them.
fn mean_of(heads: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let count = heads.len() as f32;
    let entries = heads.iter().map(Vec::len).min().unwrap_or(0);
    let mean: Vec<f32> = (0..entries).map(|slot| heads.iter().map(|head| head[slot]).sum::<f32>() / count).collect();
    heads.into_iter().map(|head| mean.iter().copied().chain(head.into_iter().skip(entries)).collect()).collect()
}
