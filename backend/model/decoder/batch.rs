//! A decoding pass of several sequences, one token each, over caches that share their buffers.

use candle_core::{Result, Tensor};

use super::{Decoder, Heads, Output, Want};
use crate::cache::batch::BatchCache;
use crate::model::attention::Attend;
use crate::model::error::ModelError;

impl Decoder {
    /// Feeds every sequence of a batch its next token. The number of products does not depend on the batch.
    ///
    /// # Errors
    /// When there is not one token for each sequence or one is outside the vocabulary, memory runs out, or the user
    /// interrupts. The cache is then unusable.
    pub fn decode(
        &self,
        tokens: &[u32],
        cache: &mut BatchCache,
        want: Want<'_>,
    ) -> std::result::Result<Vec<Output>, ModelError> {
        let sequences = cache.sequences();
        if tokens.len() != sequences {
            let problem = format!("{} tokens cannot be fed to {sequences} sequences, one each", tokens.len());
            return Err(candle_core::Error::Msg(problem).into());
        }
        let spans: Vec<_> = cache.seen().iter().map(|&seen| seen..seen + 1).collect();
        let mut attention: Vec<Vec<Vec<f32>>> = vec![Vec::new(); sequences];
        let passed = self.pass(tokens.to_vec(), &spans, want, |layer, heads| {
            let Heads { queries, keys, values } = heads;
            cache.append(layer, &by_sequence(keys)?, &by_sequence(values)?)?;
            let queries = by_sequence(queries)?;
            if want.queries > 0 {
                cache.remember(layer, &queries, want.queries)?;
            }
            let attend = Attend { cache: cache.layer(layer), scale: self.scale(), block: 1, record: want.attention };
            let attended = attend.run(&queries)?;
            if let Some(received) = attended.received {
                let of_sequences = received.chunks(self.config.kv_heads);
                attention.iter_mut().zip(of_sequences).for_each(|(own, received)| own.extend_from_slice(received));
            }
            attended.output.reshape((sequences, self.config.query_heads * self.config.head_dim))
        })?;
        cache.advance();
        self.split(&vec![1; sequences], passed, want.attention.then_some(attention))
    }
}

/// From `(heads, sequences, head_dim)` to `(sequences * heads, 1, head_dim)`.
fn by_sequence(xs: &Tensor) -> Result<Tensor> {
    let (heads, sequences, head_dim) = xs.dims3()?;
    xs.transpose(0, 1)?.reshape((sequences * heads, 1, head_dim))
}
