//! A training run: steps over documents, one after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::capacity::Capacity;
use super::checkpoint::{self, Description, SavedState, State};
use super::documents::{Document, rows_of_step};
use super::error::TrainingError;
use super::gates::{TrainableGates, initial};
use super::optimiser::{Parameter, clip, norm};
use super::settings::Settings;
use super::student::{Lesson, Outcome, Student};
use crate::model::decoder::Decoder;
use crate::model::gate::{ParameterSpec, parameter_specs};
use crate::model::load::{OpenedGates, hex};
use crate::training_log::{self, LayerFacts, LogRow};

/// Steps before a loss can be called a spike: the first losses of a run say little.
const SETTLED: u64 = 20;
/// Share of the past in the running average of the loss.
const MEMORY: f64 = 0.95;
/// A jump smaller than this many nats is no spike, whatever its ratio.
const SMALLEST_SPIKE: f64 = 0.5;

/// A run in progress.
pub struct Trainer<'a> {
    model: &'a Decoder,
    documents: &'a [Document],
    gates: TrainableGates,
    capacity: Capacity,
    state: State,
    rows: Vec<LogRow>,
    /// When this process took the run up.
    began: Instant,
}

impl<'a> Trainer<'a> {
    /// Begins a run, with the given gates or new ones.
    ///
    /// # Errors
    /// When settings, gates and documents do not fit together.
    pub fn begin(
        model: &'a Decoder,
        documents: &'a [Document],
        settings: Settings,
        gates: Option<&OpenedGates>,
    ) -> Result<Self, TrainingError> {
        let new =
            initial(&parameter_specs(&settings.gate_config()?, model.config()), settings.gate_bias, settings.seed);
        let (tensors, path) = match gates {
            Some(gates) => (&gates.tensors, gates.path.as_path()),
            None => (&new, Path::new("new gates")),
        };
        let gates = make_gates(model, &settings, tensors, path)?;
        let values = gates.values::<f32>()?;
        let parameters = gates.specs().iter().zip(values);
        let parameters = parameters.map(|(spec, values)| Parameter::new(values, decays(spec))).collect();
        let state = State { settings, step: 0, usual_loss: None, data_sha256: hash(documents), parameters };
        Self::assemble(model, documents, gates, state, Vec::new())
    }

    /// Goes on where the run saved in `directory` stopped.
    ///
    /// # Errors
    /// When the state is damaged, or of other gates or documents.
    pub fn resume(
        model: &'a Decoder,
        documents: &'a [Document],
        saved: SavedState,
        directory: &Path,
    ) -> Result<Self, TrainingError> {
        let settings = saved.settings().clone();
        let specs = parameter_specs(&settings.gate_config()?, model.config());
        let state = saved.read(&specs, decays)?;
        if state.data_sha256 != hash(documents) {
            let problem = format!("the training data in {} has changed since; start a new run with -o", settings.data);
            return Err(TrainingError::State { path: directory.to_owned(), problem });
        }
        let gates = make_gates(model, &settings, &initial(&specs, 0.0, 0), directory)?;
        gates.set(&values(&state))?;
        let rows = if state.step == 0 { Vec::new() } else { training_log::read(directory, state.step)? };
        Self::assemble(model, documents, gates, state, rows)
    }

    fn assemble(
        model: &'a Decoder,
        documents: &'a [Document],
        gates: TrainableGates,
        state: State,
        rows: Vec<LogRow>,
    ) -> Result<Self, TrainingError> {
        state.settings.check(model.config().context)?;
        let longest = documents.iter().map(|document| document.tokens.len()).max().unwrap_or_default();
        let budget = state.settings.budget as usize;
        if longest <= budget {
            return Err(TrainingError::Request(format!(
                "the longest document has {longest} tokens and --budget is {budget}, so nothing has to be forgotten; give longer documents, --pack or a smaller --budget"
            )));
        }
        let capacity = state.settings.capacity()?;
        Ok(Self { model, documents, gates, capacity, state, rows, began: Instant::now() })
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.state.step
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.state.step >= self.state.settings.steps
    }

    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// What happened so far.
    pub fn rows(&self) -> &[LogRow] {
        &self.rows
    }

    /// The state as it is saved.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Saves gates, state and log into `directory`.
    ///
    /// # Errors
    /// When something cannot be written; what was there before is kept.
    pub fn save(&self, directory: &Path, description: &Description) -> Result<(), TrainingError> {
        checkpoint::save(directory, description, self.gates.specs(), &self.state, &self.rows)
    }

    /// Does the next step. After an error the gates are as they were before it.
    ///
    /// # Errors
    /// When a number is not finite, the loss jumps, or the device fails.
    pub fn step(&mut self) -> Result<&LogRow, TrainingError> {
        let settings = &self.state.settings;
        let step = self.state.step + 1;
        let taken = rows_of_step(self.documents.len(), settings.rows, settings.seed, step);
        let documents: Vec<&Document> = taken.into_iter().map(|place| &self.documents[place]).collect();
        let outcomes = self.learn(&documents)?;
        let positions: usize = documents.iter().map(|document| document.targets.len()).sum();
        let mean = |total: f64, count: usize| total / count.max(1) as f64;
        let kl = mean(outcomes.iter().map(|outcome| outcome.quality.kl).sum(), positions);
        let ntp = mean(outcomes.iter().map(|outcome| outcome.quality.ntp).sum(), positions);
        let capacity = mean(outcomes.iter().map(|outcome| outcome.capacity).sum(), outcomes.len());
        let weights = settings.weights();
        let total = weights.kl * kl + weights.ntp * ntp + weights.capacity * capacity;
        // A document may be hard to predict without anything being wrong; the frozen model finds it as hard.
        let watched = if weights.kl > 0.0 { total - weights.ntp * ntp } else { total };
        self.refuse_spike(step, watched)?;
        let mut gradients = sum(&outcomes, self.gates.specs())?;
        let gradient_norm = norm(&gradients);
        if !gradient_norm.is_finite() {
            return Err(TrainingError::NotFinite { what: "gradient", step });
        }
        clip(&mut gradients, gradient_norm, settings.clip);
        let rate = settings.schedule().rate(step);
        let optimiser = settings.optimiser();
        for (parameter, gradient) in self.state.parameters.iter_mut().zip(&gradients) {
            optimiser.update(parameter, gradient, rate, step);
        }
        self.gates.set(&values(&self.state))?;
        self.state.step = step;
        self.state.usual_loss =
            Some(self.state.usual_loss.map_or(watched, |usual| MEMORY * usual + (1.0 - MEMORY) * watched));
        self.rows.push(LogRow {
            step: step as u32,
            kl: kl as f32,
            ntp: ntp as f32,
            capacity: capacity as f32,
            total: total as f32,
            rate: rate as f32,
            gradient_norm: gradient_norm as f32,
            tokens: documents.iter().map(|document| document.tokens.len() as u32).sum(),
            seconds: self.began.elapsed().as_secs_f32(),
            layers: average(&outcomes),
        });
        Ok(&self.rows[self.rows.len() - 1])
    }

    /// Losses and gradients of a step's documents. On the CPU each thread takes a document: small products fill a thread
    /// better than all of them.
    fn learn(&self, documents: &[&Document]) -> Result<Vec<Outcome>, TrainingError> {
        let settings = &self.state.settings;
        let student =
            Student { model: self.model, gates: &self.gates, weights: settings.weights(), capacity: self.capacity };
        let step_positions = documents.iter().map(|document| document.targets.len()).sum();
        let learn = |document: &&Document| {
            student.learn(&Lesson {
                tokens: &document.tokens,
                targets: &document.targets,
                step_positions,
                step_documents: documents.len(),
            })
        };
        let outcomes: candle_core::Result<Vec<_>> = if self.model.device().is_cpu() {
            documents.par_iter().map(learn).collect()
        } else {
            documents.iter().map(learn).collect()
        };
        Ok(outcomes?)
    }

    fn refuse_spike(&self, step: u64, total: f64) -> Result<(), TrainingError> {
        if !total.is_finite() {
            return Err(TrainingError::NotFinite { what: "loss", step });
        }
        match self.state.usual_loss {
            Some(usual) if step > SETTLED && is_spike(total, usual, self.state.settings.spike) => {
                Err(TrainingError::Spike { step, loss: total, usual })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a loss stands out of its recent average by the ratio `spike`; 0 lets everything pass.
fn is_spike(loss: f64, usual: f64, spike: f64) -> bool {
    spike > 0.0 && loss > usual * spike && loss > usual + SMALLEST_SPIKE
}

/// Weight decay pulls weights to 0, and biases, which say how long a head remembers, nowhere.
fn decays(spec: &ParameterSpec) -> bool {
    spec.shape.len() > 1
}

fn make_gates(
    model: &Decoder,
    settings: &Settings,
    tensors: &BTreeMap<String, Tensor>,
    path: &Path,
) -> Result<TrainableGates, TrainingError> {
    let config = settings.gate_config()?;
    Ok(TrainableGates::new(tensors, path, &config, model.config(), DType::F32, model.device())?)
}

fn values(state: &State) -> Vec<Vec<f32>> {
    state.parameters.iter().map(|parameter| parameter.values.clone()).collect()
}

/// Gradients of a step, summed in the documents' order, so that a run repeats exactly whatever the threads did.
fn sum(outcomes: &[Outcome], specs: &[ParameterSpec]) -> Result<Vec<Vec<f32>>, TrainingError> {
    let mut total: Vec<Vec<f32>> = specs.iter().map(|spec| vec![0.0; spec.shape.iter().product()]).collect();
    for outcome in outcomes {
        for (total, gradient) in total.iter_mut().zip(&outcome.gradients) {
            let Some(gradient) = gradient else { continue };
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            total.iter_mut().zip(gradient).for_each(|(total, gradient)| *total += gradient);
        }
    }
    Ok(total)
}

fn average(outcomes: &[Outcome]) -> Vec<LayerFacts> {
    let layers = outcomes.first().map_or(0, |outcome| outcome.layers.len());
    let of_layer = |layer: usize| {
        let mean = |value: fn(&LayerFacts) -> f64| {
            outcomes.iter().map(|outcome| value(&outcome.layers[layer])).sum::<f64>() / outcomes.len() as f64
        };
        LayerFacts {
            soft_size: mean(|facts| facts.soft_size),
            last_soft_size: mean(|facts| facts.last_soft_size),
            log_half_life: mean(|facts| facts.log_half_life),
        }
    };
    (0..layers).map(of_layer).collect()
}

fn hash(documents: &[Document]) -> String {
    let mut hasher = Sha256::new();
    for document in documents {
        hasher.update((document.tokens.len() as u64).to_le_bytes());
        document.tokens.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        document.targets.iter().for_each(|(place, _)| hasher.update(place.to_le_bytes()));
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_many_times_the_average_and_no_small_matter() {
        assert!(is_spike(6.0, 1.0, 5.0));
        assert!(!is_spike(4.9, 1.0, 5.0));
        assert!(!is_spike(0.2, 0.01, 5.0), "too small to matter");
        assert!(!is_spike(1e9, 1.0, 0.0), "switched off");
    }
}
