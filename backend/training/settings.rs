//! All that decides what a training run does. Saved with its state, so that a resumed run is the same run.

use serde::{Deserialize, Serialize};

use super::capacity::{Capacity, CapacityScope, Normalisation};
use super::error::TrainingError;
use super::objective::Weights;
use super::optimiser::AdamW;
use super::schedule::Schedule;
use crate::model::gate_config::{GateConfig, GateKind};

/// Which positions count for the quality loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// Every position with a next token.
    All,
    /// Those whose next token is the assistant's, its end of turn included.
    Answers,
}

impl std::str::FromStr for LossOn {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Self::All),
            "answers" => Ok(Self::Answers),
            _ => Err(format!("the loss cannot be on {name:?}; choose all or answers")),
        }
    }
}

/// The settings of a run, by the names of their flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Base model as the user named it.
    pub model: Option<String>,
    /// Gates to start from.
    pub gates: Option<String>,
    /// Revision of what comes from the hub.
    pub revision: Option<String>,
    /// Where the training data is.
    pub data: String,
    /// Which positions count.
    pub loss_on: LossOn,
    /// Documents are joined to rows of the full context.
    pub pack: bool,
    /// Most tokens of a row.
    pub context: usize,
    /// Documents used, from the first on.
    pub max_documents: Option<usize>,
    /// Form of the gates: rg, rg2, rg3 or rg10.
    pub gate: String,
    /// Width inside a gate.
    pub gate_width: usize,
    /// Initial bias.
    pub gate_bias: f64,
    /// The budget `M`.
    pub budget: u32,
    /// Buffer written into the checkpoint, for runs with these gates.
    pub buffer: u32,
    /// Normalisation of the capacity loss: paper, authors or tokens.
    pub capacity: String,
    /// Who shares a budget: head or global.
    pub scope: String,
    /// Weight of the KL divergence.
    pub kl_weight: f64,
    /// Weight of the next-token loss.
    pub ntp_weight: f64,
    /// Weight of the capacity loss.
    pub capacity_weight: f64,
    /// Steps of the run.
    pub steps: u64,
    /// Rows per step.
    pub rows: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Last learning rate.
    pub floor_rate: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// A loss this many times the recent average ends the run; 0 never does.
    pub spike: f64,
    /// Steps between saved states.
    pub save_every: u64,
    /// Seed of the gates and of the order of documents.
    pub seed: u64,
    /// Number type of the base model.
    pub dtype: String,
}

impl Settings {
    /// Weights of the losses.
    pub fn weights(&self) -> Weights {
        Weights { kl: self.kl_weight, ntp: self.ntp_weight, capacity: self.capacity_weight }
    }

    /// The learning rate over the run.
    pub fn schedule(&self) -> Schedule {
        Schedule { peak: self.learning_rate, floor: self.floor_rate, warmup: self.warmup, steps: self.steps }
    }

    /// The optimiser.
    pub fn optimiser(&self) -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: self.weight_decay }
    }

    /// The capacity loss.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn capacity(&self) -> Result<Capacity, TrainingError> {
        let normalisation: Normalisation = self.capacity.parse().map_err(TrainingError::Request)?;
        let scope: CapacityScope = self.scope.parse().map_err(TrainingError::Request)?;
        Ok(Capacity { normalisation, scope, budget: f64::from(self.budget) })
    }

    /// The gates' own configuration.
    ///
    /// # Errors
    /// When the gates' form is unknown.
    pub fn gate_config(&self) -> Result<GateConfig, TrainingError> {
        let kind: GateKind = self.gate.parse().map_err(TrainingError::Request)?;
        Ok(GateConfig {
            kind,
            intermediate: self.gate_width,
            base_model: None,
            memory_size: Some(self.budget),
            buffer_size: Some(self.buffer),
        })
    }

    /// Refuses what cannot train anything. `context` is the model's.
    ///
    /// # Errors
    /// Says which setting is off and what it may be.
    pub fn check(&self, context: usize) -> Result<(), TrainingError> {
        let problem = if self.context > context {
            format!("--context {} is longer than the model's {context}; give at most {context}", self.context)
        } else if self.context < 2 {
            "--context must be at least 2, a token and the next".to_owned()
        } else if self.budget == 0 || self.budget as usize >= self.context {
            let (budget, context) = (self.budget, self.context);
            format!(
                "--budget {budget} must lie between 1 and --context {context}: a budget that holds every token teaches nothing"
            )
        } else if self.steps == 0 || self.rows == 0 || self.gate_width == 0 || self.save_every == 0 {
            "--steps, --rows, --gate-width and --save-every must be at least 1".to_owned()
        } else if let Some((name, value)) = self.numbers().into_iter().find(|(_, v)| !v.is_finite() || *v < 0.0) {
            format!("{name} must be 0 or more, not {value}")
        } else if self.learning_rate == 0.0 || self.clip == 0.0 {
            "--learning-rate and --clip must be above 0, or nothing is learned".to_owned()
        } else if self.floor_rate > self.learning_rate {
            "--floor-rate must not be above --learning-rate".to_owned()
        } else if self.weights() == (Weights { kl: 0.0, ntp: 0.0, capacity: 0.0 }) {
            "all loss weights are 0, so there is nothing to learn".to_owned()
        } else if !self.gate_bias.is_finite() {
            format!("--gate-bias must be a number, not {}", self.gate_bias)
        } else {
            return Ok(());
        };
        Err(TrainingError::Request(problem))
    }

    fn numbers(&self) -> [(&'static str, f64); 8] {
        [
            ("--kl-weight", self.kl_weight),
            ("--ntp-weight", self.ntp_weight),
            ("--capacity-weight", self.capacity_weight),
            ("--learning-rate", self.learning_rate),
            ("--floor-rate", self.floor_rate),
            ("--weight-decay", self.weight_decay),
            ("--clip", self.clip),
            ("--spike", self.spike),
        ]
    }
}
