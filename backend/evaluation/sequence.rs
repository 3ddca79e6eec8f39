//! Sequences under a policy that read the same tokens side by side.

use candle_core::Tensor;

use crate::cache::bounded::SequenceCache;
use crate::cache::ledger::{Births, Ledger};
use crate::engine::evidence::{cut, received};
use crate::engine::generation::EngineError;
use crate::model::decoder::{Decoder, Input, Want};
use crate::policy::Policy;

/// A sequence: its tensors, and who is in them.
pub struct Sequence {
    cache: SequenceCache,
    ledger: Ledger,
}

impl Sequence {
    /// A sequence that has read nothing.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(model: &Decoder) -> Result<Self, EngineError> {
        Ok(Self { cache: model.new_cache(0)?, ledger: Ledger::new(model.shape()) })
    }

    /// A sequence that has read the same and goes its own way.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn fork(&self) -> Result<Self, EngineError> {
        Ok(Self { cache: self.cache.fork()?, ledger: self.ledger.clone() })
    }

    /// Cuts what overflows.
    ///
    /// # Errors
    /// When scores cannot be ranked or memory runs out.
    pub fn cut(&mut self, model: &Decoder, policy: &Policy) -> Result<(), EngineError> {
        if let Some(decision) = cut(&mut self.ledger, policy, model, 0, |layer| self.cache.layer(layer))? {
            self.cache.keep(&decision.kept)?;
        }
        Ok(())
    }
}

/// Feeds the same tokens to every sequence in one pass, and gives the logits after each of the last `rows` tokens:
/// `(sequences, rows, vocab)`. Nothing is cut.
///
/// # Errors
/// When the model fails.
pub fn read(
    model: &Decoder,
    policies: &[&Policy],
    sequences: &mut [Sequence],
    tokens: &[u32],
    rows: usize,
) -> Result<Tensor, EngineError> {
    let asked = || policies.iter().map(|policy| policy.evidence());
    let want = Want {
        key_norm: asked().any(|evidence| evidence.key_norm),
        attention: asked().any(|evidence| evidence.attention),
        queries: asked().map(|evidence| evidence.remembered()).max().unwrap_or(0),
        ..Want::default()
    };
    let mut inputs: Vec<Input<'_>> =
        sequences.iter_mut().map(|sequence| Input { tokens, cache: &mut sequence.cache }).collect();
    let outputs = model.forward(&mut inputs, want)?;
    for (sequence, output) in sequences.iter_mut().zip(&outputs) {
        sequence.ledger.append(Births {
            count: tokens.len() as u32,
            log_beta: output.log_beta.as_ref(),
            key_norm: output.key_norm.as_ref(),
        });
        if let Some(columns) = &output.attention {
            let Sequence { cache, ledger } = sequence;
            let received = received(ledger, columns, model, 0, |layer| cache.layer(layer));
            ledger.observe(&received);
        }
    }
    let last = |hidden: &Tensor| hidden.narrow(0, tokens.len() - rows, rows);
    let hidden = outputs.iter().map(|output| last(&output.hidden)).collect::<Result<Vec<_>, _>>()?;
    let logits = model.logits(&Tensor::cat(&hidden, 0)?)?;
    Ok(logits.reshape((outputs.len(), rows, logits.dim(1)?))?)
}
