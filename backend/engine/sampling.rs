//! Draws the next token from logits, and says how likely the draw was.

use candle_core::{D, DType, Result, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// Always the most likely token; the lowest id among equals.
    Greedy,
    /// From the softmax of `logits / temperature`, cut to the smallest set of most likely tokens whose mass reaches
    /// `top_p`.
    Nucleus {
        /// Above 0; 1 leaves the model's distribution.
        temperature: f64,
        /// In (0, 1]; 1 keeps every token.
        top_p: f64,
    },
}

/// A drawn token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Vocabulary index.
    pub id: u32,
    /// Natural log of its probability in the distribution it was drawn from.
    pub logprob: f32,
    /// Entropy of that distribution, in nats.
    pub entropy: f32,
}

/// A way of drawing and the state of its random numbers: the same seed gives the same draws.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: StdRng,
}

impl Sampler {
    /// A sampler whose draws follow from `seed`.
    pub fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, rng: StdRng::seed_from_u64(seed) }
    }

    /// Whether it always takes the most likely token.
    pub fn is_greedy(&self) -> bool {
        self.sampling == Sampling::Greedy
    }

    /// Draws from finite `logits`; `None` when there are none or one is not a number.
    pub fn draw(&mut self, logits: &[f32]) -> Option<Drawn> {
        match self.sampling {
            Sampling::Greedy => {
                let distribution = Distribution::softmax(logits, 1.0)?;
                let best = (0..logits.len()).reduce(|best, i| if logits[i] > logits[best] { i } else { best })?;
                Some(distribution.drawn(best))
            }
            Sampling::Nucleus { temperature, top_p } => {
                let mut distribution = Distribution::softmax(logits, temperature)?;
                if top_p < 1.0 {
                    distribution.keep_nucleus(top_p);
                }
                let ticket = self.rng.random::<f64>();
                Some(distribution.drawn(distribution.at(ticket)))
            }
        }
    }
}

/// Draws greedily from every row of `logits`, `(rows, vocab)` in f32, where they are: only four numbers a row come to the
/// host. `None` for a row that holds a value that is not finite.
///
/// The token is the one [`Sampler::draw`] takes, the lowest id among equals; its log probability and the entropy are
/// summed in f32.
///
/// # Errors
/// When `logits` has no columns, more than f32 can count, or the device fails.
pub fn greedy_on_device(logits: &Tensor) -> Result<Vec<Option<Drawn>>> {
    let (_, vocab) = logits.dims2()?;
    if vocab == 0 || vocab > 1 << f32::MANTISSA_DIGITS {
        candle_core::bail!("a greedy draw among {vocab} tokens is not possible on the device");
    }
    let highest = logits.max_keepdim(D::Minus1)?;
    let ids = Tensor::arange(0u32, vocab as u32, logits.device())?.to_dtype(DType::F32)?;
    let others = Tensor::full(vocab as f32, logits.dims(), logits.device())?;
    let is_highest = logits.broadcast_eq(&highest)?;
    let best = is_highest.where_cond(&ids.broadcast_as(logits.dims())?.contiguous()?, &others)?.min(D::Minus1)?;
    let shifted = logits.broadcast_sub(&highest)?;
    let weights = shifted.exp()?;
    let total = weights.sum(D::Minus1)?;
    let log_total = total.log()?;
    let entropy = (&log_total - ((weights * shifted)?.sum(D::Minus1)? / &total)?)?;
    let lowest = logits.min(D::Minus1)?;
    let rows = Tensor::stack(&[best, log_total, entropy, lowest], 1)?.to_vec2::<f32>()?;
    Ok(rows.into_iter().map(|row| drawn_from([row[0], row[1], row[2], row[3]], vocab)).collect())
}

/// What a device tells of a draw: the token, minus the log of its probability, the entropy, and a number that is finite
/// when all logits are. `None` when they are not.
pub(super) fn drawn_from(told: [f32; 4], vocab: usize) -> Option<Drawn> {
    let finite = told.iter().all(|value| value.is_finite()) && told[0] < vocab as f32;
    finite.then(|| Drawn { id: told[0] as u32, logprob: -told[1], entropy: told[2].max(0.0) })
}

/// Probabilities in f64, so that a vocabulary's worth of small ones still sums to 1.
struct Distribution {
    probabilities: Vec<f64>,
}

impl Distribution {
    fn softmax(logits: &[f32], temperature: f64) -> Option<Self> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return None;
        }
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights: Vec<f64> = logits.iter().map(|&l| ((f64::from(l) - highest) / temperature).exp()).collect();
        Some(Self { probabilities: weights }.normalised())
    }

    fn normalised(mut self) -> Self {
        let total: f64 = self.probabilities.iter().sum();
        self.probabilities.iter_mut().for_each(|p| *p /= total);
        self
    }

    fn keep_nucleus(&mut self, top_p: f64) {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_unstable_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]).then(a.cmp(&b)));
        let mut mass = 0.0;
        let inside = order.iter().take_while(|&&i| {
            let open = mass < top_p;
            mass += self.probabilities[i];
            open
        });
        let cut = inside.count();
        order[cut..].iter().for_each(|&i| self.probabilities[i] = 0.0);
        *self = Self { probabilities: std::mem::take(&mut self.probabilities) }.normalised();
    }

    /// The token in whose share of [0, 1) the ticket falls.
    fn at(&self, ticket: f64) -> usize {
        let mut below = 0.0;
        let hit = self.probabilities.iter().position(|p| {
            below += p;
            ticket < below
        });
        // Rounding may leave the sum a hair under 1: the last possible token takes the rest.
        hit.or_else(|| self.probabilities.iter().rposition(|&p| p > 0.0)).unwrap_or(0)
    }

    fn drawn(&self, index: usize) -> Drawn {
        let terms = self.probabilities.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln());
        Drawn {
            id: index as u32,
            logprob: self.probabilities[index].ln() as f32,
            entropy: terms.sum::<f64>().max(0.0) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_lowest_id_among_equals() {
        let drawn = Sampler::new(Sampling::Greedy, 0).draw(&[1.0, 3.0, 3.0]).unwrap();
        assert_eq!(drawn.id, 1);
        let p = 1.0 / (2.0 + (-2.0f64).exp());
        assert!((f64::from(drawn.logprob) - p.ln()).abs() < 1e-6);
    }

    /// The twin that works where the logits are must draw the same token and say the same about it.
    #[test]
    fn drawing_on_the_device_is_drawing_on_the_host() {
        let vocab = 1031;
        let rows: Vec<Vec<f32>> = (0..7u64)
            .map(|row| (0..vocab).map(|i| ((i * 7919 + row * 104_729) % 97) as f32 * 0.13 - 6.0).collect())
            .collect();
        let flat: Vec<f32> = rows.concat();
        let tensor = Tensor::from_vec(flat, (7, vocab as usize), &candle_core::Device::Cpu).unwrap();
        let drawn = greedy_on_device(&tensor).unwrap();
        for (row, drawn) in rows.iter().zip(drawn) {
            let expected = Sampler::new(Sampling::Greedy, 0).draw(row).unwrap();
            let found = drawn.unwrap();
            let equals = row.iter().filter(|&&logit| logit == row[expected.id as usize]).count();
            assert!(equals > 1, "the rows hold ties");
            assert_eq!(found.id, expected.id);
            assert!((found.logprob - expected.logprob).abs() < 1e-5 && (found.entropy - expected.entropy).abs() < 1e-4);
        }
    }

    #[test]
    fn a_row_that_is_not_finite_is_not_drawn_from_on_the_device() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let rows = Tensor::new(&[[1.0f32, 2.0, 0.5], [1.0, bad, 0.5]], &candle_core::Device::Cpu).unwrap();
            let drawn = greedy_on_device(&rows).unwrap();
            assert_eq!((drawn[0].map(|drawn| drawn.id), drawn[1]), (Some(1), None), "{bad}");
        }
    }

    #[test]
    fn a_seed_repeats_its_draws_and_frequencies_follow_the_logits() {
        let logits = [0.0f32, 1.0, 2.0, -1.0];
        let sampling = Sampling::Nucleus { temperature: 1.0, top_p: 1.0 };
        let draws = |seed| {
            let mut sampler = Sampler::new(sampling, seed);
            (0..20_000).map(|_| sampler.draw(&logits).unwrap().id).collect::<Vec<_>>()
        };
        assert_eq!(draws(5), draws(5));
        assert_ne!(draws(5), draws(6));
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (id, &logit) in logits.iter().enumerate() {
            let share = draws(5).iter().filter(|&&d| d == id as u32).count() as f64 / 20_000.0;
            assert!((share - f64::from(logit).exp() / total).abs() < 0.015);
        }
    }

    #[test]
    fn a_nucleus_never_yields_what_it_cut_and_states_the_renormalised_probability() {
        let logits = [4.0f32, 3.0, 0.0, 0.0];
        let mut sampler = Sampler::new(Sampling::Nucleus { temperature: 1.0, top_p: 0.9 }, 1);
        let drawn: Vec<Drawn> = (0..2000).map(|_| sampler.draw(&logits).unwrap()).collect();
        assert!(drawn.iter().all(|d| d.id < 2));
        let first = drawn.iter().find(|d| d.id == 0).unwrap();
        assert!((first.logprob.exp() - 1.0 / (1.0 + (-1.0f32).exp())).abs() < 1e-6);
    }

    #[test]
    fn logits_that_are_not_numbers_cannot_be_drawn_from() {
        assert_eq!(Sampler::new(Sampling::Greedy, 0).draw(&[1.0, f32::NAN]), None);
        assert_eq!(Sampler::new(Sampling::Greedy, 0).draw(&[]), None);
    }
}
