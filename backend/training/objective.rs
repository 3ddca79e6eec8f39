//! The quality loss: KL divergence of the student from the frozen model, and next-token cross-entropy (method section
//! 4), in blocks of rows, so that tokens x vocabulary never exists.

use candle_core::{D, DType, Device, Result, Tensor};
use rayon::prelude::*;

use crate::model::decoder::Decoder;
use crate::model::real::{Real, gradient_dtype, with_slice};

/// Most bytes that the logits of a block of rows may take; a handful of such tensors live at once.
const LOGIT_BYTES: usize = 64 << 20;

/// How much each part of the loss counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of KL(teacher || student).
    pub kl: f64,
    /// Of the next-token cross-entropy.
    pub ntp: f64,
    /// Of the capacity loss.
    pub capacity: f64,
}

/// The quality losses of one document, summed over its counted positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// KL(teacher || student) in nats.
    pub kl: f64,
    /// Cross-entropy of the next token in nats.
    pub ntp: f64,
}

/// Final hidden states of teacher and student, `(tokens, hidden)`, and which rows count.
pub struct Comparison<'a> {
    /// The frozen model.
    pub model: &'a Decoder,
    /// Of the frozen model.
    pub teacher: &'a Tensor,
    /// Of the gated one.
    pub student: &'a Tensor,
    /// Rows that count, ascending, and the token that follows each.
    pub targets: &'a [(u32, u32)],
}

impl Comparison<'_> {
    /// The losses, and the gradient of `weights.kl / positions * KL + weights.ntp / positions * NTP` with respect to the
    /// student's hidden states, in their shape.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn evaluate(&self, weights: Weights, positions: usize) -> Result<(Quality, Tensor)> {
        let vocab = self.model.config().vocab;
        let dtype = gradient_dtype(self.model.dtype());
        let rows = (LOGIT_BYTES / (vocab * dtype.size_in_bytes())).max(1);
        let mut quality = Quality::default();
        let mut gradient = self.student.zeros_like()?;
        let scale = (positions as f64).recip();
        let scaled = Weights { kl: weights.kl * scale, ntp: weights.ntp * scale, ..weights };
        for targets in self.targets.chunks(rows) {
            let (places, next): (Vec<u32>, Vec<u32>) = targets.iter().copied().unzip();
            let places = Tensor::from_vec(places, targets.len(), self.student.device())?;
            let hidden = self.student.index_select(&places, 0)?;
            let student = self.model.training_logits(&hidden)?;
            let teacher = self.model.training_logits(&self.teacher.index_select(&places, 0)?)?;
            let (part, d_logits) = match (student.device(), student.dtype()) {
                (Device::Cpu, DType::F64) => on_host::<f64>(&teacher, &student, &next, scaled)?,
                (Device::Cpu, _) => on_host::<f32>(&teacher, &student, &next, scaled)?,
                _ => by_tensors(&teacher, &student, next, scaled)?,
            };
            quality.kl += part.kl;
            quality.ntp += part.ntp;
            gradient = gradient.index_add(&places, &self.model.pull_logits(&hidden, &d_logits)?, 0)?;
        }
        Ok((quality, gradient))
    }
}

fn on_host<T: Real>(teacher: &Tensor, student: &Tensor, next: &[u32], weights: Weights) -> Result<(Quality, Tensor)> {
    let vocab = student.dim(1)?;
    let mut gradient = vec![T::zero(); student.elem_count()];
    let losses: Vec<Quality> = with_slice::<T, _>(teacher, |teacher| {
        with_slice::<T, _>(student, |student| {
            let rows = gradient.par_chunks_mut(vocab).zip(teacher.par_chunks(vocab)).zip(student.par_chunks(vocab));
            rows.zip(next)
                .with_min_len(8)
                .map(|(((gradient, teacher), student), &next)| row(teacher, student, next as usize, weights, gradient))
                .collect()
        })
    })??;
    // Summed in the rows' order, so that a run repeats exactly whatever the threads did.
    let quality = losses
        .iter()
        .fold(Quality::default(), |total, row| Quality { kl: total.kl + row.kl, ntp: total.ntp + row.ntp });
    Ok((quality, Tensor::from_vec(gradient, student.dims(), student.device())?))
}

/// One position's losses and the gradient of its student logits: `kl (p_s - p_t) + ntp (p_s - target)`.
fn row<T: Real>(teacher: &[T], student: &[T], next: usize, weights: Weights, gradient: &mut [T]) -> Quality {
    let [teacher_sum, student_sum] = [teacher, student].map(log_sum_exp);
    let (kl_weight, both) = (T::real(weights.kl), T::real(weights.kl + weights.ntp));
    let mut kl = T::zero();
    for ((gradient, &teacher), &student) in gradient.iter_mut().zip(teacher).zip(student) {
        let (teacher, student) = (teacher - teacher_sum, student - student_sum);
        let probability = teacher.quick_exp();
        kl += probability * (teacher - student);
        *gradient = both * student.quick_exp() - kl_weight * probability;
    }
    gradient[next] -= T::real(weights.ntp);
    Quality { kl: kl.as_f64(), ntp: (student_sum - student[next]).as_f64() }
}

fn log_sum_exp<T: Real>(logits: &[T]) -> T {
    let peak = logits.iter().fold(T::neg_infinity(), |most, &x| if x > most { x } else { most });
    peak + logits.iter().map(|&logit| (logit - peak).quick_exp()).sum::<T>().ln()
}

fn by_tensors(teacher: &Tensor, student: &Tensor, next: Vec<u32>, weights: Weights) -> Result<(Quality, Tensor)> {
    let teacher = candle_nn::ops::log_softmax(teacher, D::Minus1)?;
    let student = candle_nn::ops::log_softmax(student, D::Minus1)?;
    let probability = teacher.exp()?;
    let kl = (&probability * (&teacher - &student)?)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    let count = next.len();
    let next = Tensor::from_vec(next, (count, 1), student.device())?;
    let ntp = student.gather(&next, 1)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    let gradient = ((student.exp()? * (weights.kl + weights.ntp))? - (probability * weights.kl)?)?;
    let target = (Tensor::ones((count, 1), student.dtype(), student.device())? * -weights.ntp)?;
    Ok((Quality { kl, ntp: -ntp }, gradient.scatter_add(&next, &target, 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_tensors_agree() -> Result<()> {
        let (rows, vocab) = (5, 37);
        let logits = |salt: f64| {
            let values: Vec<f64> = (0..rows * vocab).map(|i| (i as f64 * 0.7 + salt).sin() * 4.0).collect();
            Tensor::from_vec(values, (rows, vocab), &Device::Cpu)
        };
        let (teacher, student, next) = (logits(0.0)?, logits(0.4)?, vec![3, 0, 36, 7, 7]);
        let weights = Weights { kl: 0.3, ntp: 0.6, capacity: 0.0 };
        let (quality, gradient) = on_host::<f64>(&teacher, &student, &next, weights)?;
        let (other, other_gradient) = by_tensors(&teacher, &student, next, weights)?;
        assert!((quality.kl - other.kl).abs() < 1e-12 && (quality.ntp - other.ntp).abs() < 1e-12);
        let difference = (gradient - other_gradient)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-12, "gradients differ by {difference}");
        Ok(())
    }
}
