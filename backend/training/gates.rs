//! Gates whose parameters can change.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::model::config::ModelConfig;
use crate::model::decoder::pullback::LayerInput;
use crate::model::error::ModelError;
use crate::model::gate::{GateInput, ParameterSpec, RetentionGate, load_gates, log_sigmoid, parameter_specs};
use crate::model::gate_config::GateConfig;
use crate::model::real::Real;

/// Standard deviation of new weights (method section 4).
const INITIAL_DEVIATION: f64 = 0.02;

/// All gates of a model, as variables.
pub struct TrainableGates {
    specs: Vec<ParameterSpec>,
    variables: Vec<Var>,
    layers: Vec<RetentionGate>,
    input: GateInput,
    dtype: DType,
    device: Device,
}

/// A layer's retention for every token, and its slope.
pub struct Retention {
    /// `(kv_heads, tokens)`, nats, at most 0.
    pub log_beta: Tensor,
    /// The derivative of `log_beta` by the gate's logit, one row per token.
    slope: Tensor,
}

/// The gradient of one parameter per entry, in the order of [`TrainableGates::specs`].
pub type Gradients = Vec<Option<Tensor>>;

/// What new gates hold.
pub fn initial(specs: &[ParameterSpec], bias: f64, seed: u64) -> BTreeMap<String, Tensor> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    for spec in specs {
        let count = spec.shape.iter().product::<usize>();
        let is_gate_bias = spec.names[0].ends_with("retention_gate.bias");
        let values: Vec<f32> = match spec.shape.len() {
            1 if is_gate_bias => vec![bias as f32; count],
            1 => vec![0.0; count],
            _ => (0..count).map(|_| (normal(&mut random) * INITIAL_DEVIATION) as f32).collect(),
        };
        if let Ok(tensor) = Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu) {
            tensors.extend(spec.names.iter().map(|name| (name.clone(), tensor.clone())));
        }
    }
    tensors
}

/// A standard normal number (Box and Muller).
fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

impl TrainableGates {
    /// Makes variables of the gates in `tensors`, which came from `path`.
    ///
    /// # Errors
    /// When a tensor is missing, left over, of the wrong shape or not finite.
    pub fn new(
        tensors: &BTreeMap<String, Tensor>,
        path: &Path,
        config: &GateConfig,
        model: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        // Loading checks everything; what it makes is not used further.
        load_gates(tensors, path, config, model, dtype, &Device::Cpu)?;
        let specs = parameter_specs(config, model);
        let mut variables = Vec::with_capacity(specs.len());
        let mut by_name = BTreeMap::new();
        for spec in &specs {
            let Some(tensor) = spec.names.iter().find_map(|name| tensors.get(name)) else {
                return Err(ModelError::MissingTensors { path: path.to_owned(), names: spec.names.clone() });
            };
            let variable = Var::from_tensor(&tensor.to_device(device)?.to_dtype(dtype)?)?;
            by_name.extend(spec.names.iter().map(|name| (name.clone(), variable.as_tensor().clone())));
            variables.push(variable);
        }
        // No conversion is left to do, so the gates hold the variables themselves and follow them.
        let layers = load_gates(&by_name, path, config, model, dtype, device)?;
        Ok(Self { specs, variables, layers, input: config.kind.input(), dtype, device: device.clone() })
    }

    /// The parameters' names and shapes.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The parameters' values, in the order of the specs.
    ///
    /// # Errors
    /// When the device fails.
    pub fn values<T: Real>(&self) -> Result<Vec<Vec<T>>> {
        self.variables.iter().map(|variable| variable.flatten_all()?.to_vec1::<T>()).collect()
    }

    /// Sets the parameters' values.
    ///
    /// # Errors
    /// When a length does not fit or the device fails.
    pub fn set<T: Real>(&self, values: &[Vec<T>]) -> Result<()> {
        for (variable, values) in self.variables.iter().zip(values) {
            variable.set(&Tensor::from_slice(values, variable.dims(), &self.device)?)?;
        }
        Ok(())
    }

    /// A layer's retention.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub(crate) fn retention(&self, layer: usize, input: &LayerInput) -> Result<Retention> {
        let logits = self.layers[layer].differentiable_logits(&self.input_of(input)?.detach())?.detach();
        match self.dtype {
            DType::F64 => self.retention_of::<f64>(&logits),
            _ => self.retention_of::<f32>(&logits),
        }
    }

    // On the host, as at inference: composed of tensor operations, the logarithm would lose its digits.
    fn retention_of<T: Real>(&self, logits: &Tensor) -> Result<Retention> {
        let (tokens, heads) = logits.dims2()?;
        let logits = logits.flatten_all()?.to_vec1::<T>()?;
        let mut log_beta = vec![T::zero(); logits.len()];
        for (place, &logit) in logits.iter().enumerate() {
            log_beta[place % heads * tokens + place / heads] = log_sigmoid(logit);
        }
        // d log(sigmoid(x)) / dx = sigmoid(-x) = exp(log_sigmoid(-x))
        let slope = logits.iter().map(|&logit| log_sigmoid(-logit).exp()).collect();
        Ok(Retention {
            log_beta: Tensor::from_vec(log_beta, (heads, tokens), &self.device)?,
            slope: Tensor::from_vec(slope, (tokens, heads), &self.device)?,
        })
    }

    /// Carries `gradient`, of a layer's `log_beta`, back: adds the parameters' gradients to `into` and returns that of
    /// the gate's input.
    ///
    /// # Errors
    /// When shapes do not fit or memory runs out.
    pub(crate) fn pull(
        &self,
        layer: usize,
        input: &LayerInput,
        retention: &Retention,
        gradient: &Tensor,
        into: &mut Gradients,
    ) -> Result<Tensor> {
        let upstream = (gradient.t()?.contiguous()? * &retention.slope)?;
        let input = Var::from_tensor(&self.input_of(input)?)?;
        let logits = self.layers[layer].differentiable_logits(input.as_tensor())?;
        let mut store: GradStore = (logits * upstream)?.sum_all()?.backward()?;
        for (variable, into) in self.variables.iter().zip(into.iter_mut()) {
            if let Some(gradient) = store.remove(variable) {
                *into = Some(match into.take() {
                    Some(earlier) => (earlier + gradient)?,
                    None => gradient,
                });
            }
        }
        store.remove(&input).map_or_else(|| input.zeros_like(), Ok)
    }

    /// What kind of input the gates read.
    pub fn input(&self) -> GateInput {
        self.input
    }

    fn input_of(&self, input: &LayerInput) -> Result<Tensor> {
        match self.input {
            GateInput::Hidden => input.normed.to_dtype(self.dtype),
            GateInput::KeysAndValues => input.keys_and_values()?.to_dtype(self.dtype),
        }
    }
}
