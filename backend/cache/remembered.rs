//! The newest queries of a layer, which some policies ask at a cut.

use candle_core::{Result, Tensor};

/// Queries of one or several sequences, the newest last.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// `(sequences * query_heads, most, head_dim)`. A sequence that has fewer fills up at the front.
    queries: Tensor,
    /// Per sequence, how many it has.
    held: Vec<usize>,
}

impl Remembered {
    /// The newest `count` of `(query_heads, new, head_dim)` and of those before.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub(super) fn after(before: Option<&Self>, new: &Tensor, count: usize) -> Result<Self> {
        let joined = match before {
            Some(before) if new.dim(1)? < count => Tensor::cat(&[&before.queries, new], 1)?,
            _ => new.clone(),
        };
        let most = joined.dim(1)?.min(count);
        // A copy of its own: a view would hold on to a whole prompt's queries.
        let queries = joined.narrow(1, joined.dim(1)? - most, most)?.contiguous()?.copy()?;
        let held = before.map_or(vec![0], |before| before.held.clone());
        let new = new.dim(1)?;
        Ok(Self { queries, held: held.into_iter().map(|held| (held + new).min(most)).collect() })
    }

    /// Those of a sequence, `(query_heads, count, head_dim)`.
    ///
    /// # Errors
    /// When there is no such sequence.
    pub fn of(&self, sequence: usize) -> Result<Tensor> {
        let Some(&held) = self.held.get(sequence) else { candle_core::bail!("there is no sequence {sequence}") };
        let (heads, most, _) = self.queries.dims3()?;
        let own = heads / self.held.len();
        self.queries.narrow(0, sequence * own, own)?.narrow(1, most - held, held)
    }

    /// Several sequences' side by side.
    pub(super) fn join(parts: &[&Self]) -> Result<Option<Self>> {
        let most = parts.iter().map(|part| part.queries.dims()[1]).max();
        let Some(most) = most else { return Ok(None) };
        let filled = parts.iter().map(|part| part.queries.pad_with_zeros(1, most - part.queries.dim(1)?, 0));
        let queries = Tensor::cat(&filled.collect::<Result<Vec<_>>>()?, 0)?;
        Ok(Some(Self { queries, held: parts.iter().flat_map(|part| part.held.clone()).collect() }))
    }

    /// Forgets a sequence.
    pub(super) fn remove(&mut self, sequence: usize) -> Result<()> {
        let own = self.queries.dim(0)? / self.held.len();
        let staying = (0..self.held.len()).filter(|&other| other != sequence);
        let staying = staying.map(|other| self.queries.narrow(0, other * own, own));
        self.queries = Tensor::cat(&staying.collect::<Result<Vec<_>>>()?, 0)?;
        self.held.remove(sequence);
        Ok(())
    }
}
