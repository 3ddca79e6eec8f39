//! The capacity loss: what it costs a head to remember more than its budget (method section 4).

use std::str::FromStr;

use crate::model::real::Real;

/// How the excess of a soft cache size `S_t` over the budget `M` is scaled; `t` counts the tokens seen, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// `(1/T) sum_t (1/t) max(0, S_t - M)`, as in the paper.
    Paper,
    /// `max(0, (S_t - M) / max(t - M, 1))`, averaged over the strictly positive entries, as in the authors' code.
    Authors,
    /// `sum_t max(0, S_t - M) / (T (T - M))`: tokens too many, of those that could be.
    Tokens,
}

/// Whose soft cache size is held against the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapacityScope {
    /// Every head's own against `M`.
    Head,
    /// The sum over all layers and heads against `M` times their number (DBTrimKV).
    Global,
}

impl Normalisation {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Authors => "authors",
            Self::Tokens => "tokens",
        }
    }
}

impl FromStr for Normalisation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Paper, Self::Authors, Self::Tokens]
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or(format!("there is no capacity loss {name:?}; choose authors, paper or tokens"))
    }
}

impl CapacityScope {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Global => "global",
        }
    }
}

impl FromStr for CapacityScope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Head, Self::Global]
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or(format!("there is no capacity scope {name:?}; choose head or global"))
    }
}

/// The capacity loss in full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Scaling.
    pub normalisation: Normalisation,
    /// Who shares a budget.
    pub scope: CapacityScope,
    /// The budget `M`, in tokens per layer and KV head.
    pub budget: f64,
}

/// The loss of one document and its gradient.
pub struct CapacityLoss<T> {
    /// Mean over layers and heads.
    pub loss: f64,
    /// With respect to `S_t`, one row per head, as they came.
    pub gradient: Vec<Vec<T>>,
}

impl Capacity {
    /// Evaluates the loss on `sizes`: `S_t` at every step, one row per layer and KV head.
    pub fn loss<T: Real>(&self, sizes: &[Vec<T>]) -> CapacityLoss<T> {
        match self.scope {
            CapacityScope::Head => self.per_row(sizes),
            CapacityScope::Global => {
                // The mean over heads against M is the sum over heads against M L H, scaled like one head.
                let steps = sizes.first().map_or(0, Vec::len);
                let heads = T::real(sizes.len() as f64);
                let mean = (0..steps).map(|t| sizes.iter().map(|row| row[t]).sum::<T>() / heads).collect();
                let CapacityLoss { loss, mut gradient } = self.per_row(&[mean]);
                let shared: Vec<T> = gradient.swap_remove(0).into_iter().map(|g| g / heads).collect();
                CapacityLoss { loss, gradient: vec![shared; sizes.len()] }
            }
        }
    }

    fn per_row<T: Real>(&self, sizes: &[Vec<T>]) -> CapacityLoss<T> {
        let steps = sizes.first().map_or(0, Vec::len);
        let factors: Vec<T> = (1..=steps).map(|seen| T::real(self.factor(seen, steps))).collect();
        let budget = T::real(self.budget);
        let over = sizes.iter().flatten().filter(|&&size| size > budget).count();
        let share = match self.normalisation {
            Normalisation::Authors => 1.0 / over.max(1) as f64,
            Normalisation::Paper | Normalisation::Tokens => 1.0 / sizes.len().max(1) as f64,
        };
        let mut loss = 0.0;
        let gradient = sizes.iter().map(|row| {
            let cells = row.iter().zip(&factors).map(|(&size, &factor)| {
                let excess = size - budget;
                if excess > T::zero() {
                    loss += share * (excess * factor).as_f64();
                    factor * T::real(share)
                } else {
                    T::zero()
                }
            });
            cells.collect()
        });
        let gradient = gradient.collect();
        CapacityLoss { loss, gradient }
    }

    /// What an excess of one token costs when `seen` of `steps` tokens have been seen.
    fn factor(&self, seen: usize, steps: usize) -> f64 {
        let (seen, steps) = (seen as f64, steps as f64);
        match self.normalisation {
            Normalisation::Paper => 1.0 / (steps * seen),
            Normalisation::Authors => 1.0 / (seen - self.budget).max(1.0),
            // A document within the budget cannot exceed it, so the factor is never used then.
            Normalisation::Tokens => 1.0 / (steps * (steps - self.budget).max(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [[f64; 4]; 2] = [[1.0, 2.0, 3.0, 3.5], [1.0, 1.5, 1.9, 2.5]];

    fn capacity(normalisation: Normalisation, scope: CapacityScope) -> Capacity {
        Capacity { normalisation, scope, budget: 2.0 }
    }

    fn rows() -> Vec<Vec<f64>> {
        SIZES.iter().map(|row| row.to_vec()).collect()
    }

    #[test]
    fn losses_are_those_of_the_formulas() {
        let loss = |normalisation, scope| capacity(normalisation, scope).loss(&rows()).loss;
        // Excesses: 1 at t = 3 and 1.5 at t = 4 in the first head, 0.5 at t = 4 in the second.
        let paper = (1.0 / 3.0 + 1.5 / 4.0 + 0.5 / 4.0) / 4.0 / 2.0;
        assert!((loss(Normalisation::Paper, CapacityScope::Head) - paper).abs() < 1e-15);
        let authors = (1.0 + 1.5 / 2.0 + 0.5 / 2.0) / 3.0;
        assert!((loss(Normalisation::Authors, CapacityScope::Head) - authors).abs() < 1e-15);
        let tokens = 3.0 / (4.0 * 2.0) / 2.0;
        assert!((loss(Normalisation::Tokens, CapacityScope::Head) - tokens).abs() < 1e-15);
        // Means over heads: 1, 1.75, 2.45, 3; excesses 0.45 and 1.
        let authors = (0.45 + 1.0 / 2.0) / 2.0;
        assert!((loss(Normalisation::Authors, CapacityScope::Global) - authors).abs() < 1e-12);
    }

    #[test]
    fn gradients_are_differences() {
        for normalisation in [Normalisation::Paper, Normalisation::Authors, Normalisation::Tokens] {
            for scope in [CapacityScope::Head, CapacityScope::Global] {
                let capacity = capacity(normalisation, scope);
                let CapacityLoss { gradient, .. } = capacity.loss(&rows());
                for (head, step) in [(0, 0), (0, 2), (0, 3), (1, 2), (1, 3)] {
                    let at = |by: f64| {
                        let mut rows = rows();
                        rows[head][step] += by;
                        capacity.loss(&rows).loss
                    };
                    let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!((gradient[head][step] - difference).abs() < 1e-9, "{normalisation:?} {scope:?}");
                }
            }
        }
    }

    #[test]
    fn a_cache_within_its_budget_costs_nothing() {
        let capacity = capacity(Normalisation::Authors, CapacityScope::Head);
        let CapacityLoss { loss, gradient } = capacity.loss(&[vec![1.0f32, 2.0, 2.0]]);
        assert_eq!((loss, gradient), (0.0, vec![vec![0.0; 3]]));
    }
}
