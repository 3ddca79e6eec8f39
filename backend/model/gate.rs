//! The retention gate: predicts, as a token enters the cache, how slowly each KV head will forget it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Module, Result, Tensor};

use super::config::ModelConfig;
use super::error::ModelError;
use super::gate_config::{GateConfig, GateKind};
use super::kernels::gate_tail;
use super::linear::Projection;
use super::weights::first_non_finite_of;

/// One layer's gate.
#[derive(Debug, Clone)]
pub struct RetentionGate {
    body: Body,
    /// Added to the output; starts large in training, so that nothing is forgotten at first.
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Body {
    /// `rg`, `rg2`: up, SiLU, down. `rg10`: one more layer between.
    Mlp { up: Projection, middle: Option<Projection>, down: Projection },
    /// `rg3`.
    Gated { gate: Projection, up: Projection, down: Projection },
}

/// `down inner + bias`.
pub(super) struct GateParts<'a> {
    pub(super) inner: GateInner<'a>,
    pub(super) down: &'a Tensor,
    pub(super) bias: &'a Tensor,
}

/// What comes before the last product; see [`GateKind`].
pub(super) enum GateInner<'a> {
    Mlp { up: &'a Projection, middle: Option<&'a Projection> },
    Gated { gate: &'a Projection, up: &'a Projection },
}

/// What a gate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateInput {
    /// The layer's normalised input, `(tokens, hidden)`.
    Hidden,
    /// Keys after RoPE and values, `(tokens, kv_heads * 2 * head_dim)`, per head its key, then its value.
    KeysAndValues,
}

impl GateKind {
    /// What gates of this kind read.
    pub fn input(self) -> GateInput {
        match self {
            Self::Rg | Self::Rg10 => GateInput::Hidden,
            Self::Rg2 | Self::Rg3 => GateInput::KeysAndValues,
        }
    }
}

impl RetentionGate {
    /// Returns the gate's logits; `log_beta` is their [`log_sigmoid`].
    ///
    /// # Shapes
    /// - `input`: `(tokens, width)`, see [`GateInput`]
    /// - returns: `(tokens, kv_heads)`
    ///
    /// # Errors
    /// When the input's width is not the gate's.
    pub fn logits(&self, input: &Tensor) -> Result<Tensor> {
        let Body::Mlp { up, middle, down } = &self.body else { return self.differentiable_logits(input) };
        let (inner, last) = match middle {
            Some(middle) => (up.forward(input)?.silu()?, middle),
            None => (input.clone(), up),
        };
        match last.bias() {
            Some(bias) => gate_tail(&last.product(&inner)?, bias, down.weight(), &self.bias),
            None => self.differentiable_logits(input),
        }
    }

    /// Its parts, where steps can be captured with it.
    pub(super) fn parts(&self) -> Option<GateParts<'_>> {
        let (inner, down) = match &self.body {
            Body::Mlp { up, middle, down } => {
                let biased = up.bias().is_some() && middle.as_ref().is_none_or(|middle| middle.bias().is_some());
                (biased.then_some(GateInner::Mlp { up, middle: middle.as_ref() })?, down)
            }
            Body::Gated { gate, up, down } => {
                let plain = gate.bias().is_none() && up.bias().is_none();
                (plain.then_some(GateInner::Gated { gate, up })?, down)
            }
        };
        down.bias().is_none().then(|| GateParts { inner, down: down.weight(), bias: &self.bias })
    }

    /// [`RetentionGate::logits`], from operations that know their gradients.
    ///
    /// # Errors
    /// As [`RetentionGate::logits`].
    pub fn differentiable_logits(&self, input: &Tensor) -> Result<Tensor> {
        let out = match &self.body {
            Body::Mlp { up, middle, down } => {
                let mut inner = up.forward(input)?.silu()?;
                if let Some(middle) = middle {
                    inner = middle.forward(&inner)?.silu()?;
                }
                down.forward(&inner)?
            }
            Body::Gated { gate, up, down } => down.forward(&(gate.forward(input)?.silu()? * up.forward(input)?)?)?,
        };
        out.broadcast_add(&self.bias)
    }
}

/// `ln(sigmoid(logit))`: nats, at most 0; 0 means "never fades".
///
/// On the host in f32 with `ln_1p`: composed from tensor operations, `ln(1 + e^-x)` would lose most of its digits at
/// the logits of 8 to 18 where gates live.
pub fn log_sigmoid<T: ndarray::NdFloat>(logit: T) -> T {
    logit.min(T::zero()) - (-logit.abs()).exp().ln_1p()
}

/// One parameter of a model's gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its names in a checkpoint: one, or one per layer when the layers share it.
    pub names: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Every parameter that the gates of `model` have, layer by layer.
pub fn parameter_specs(gate: &GateConfig, model: &ModelConfig) -> Vec<ParameterSpec> {
    let layout = Layout::new(gate, model);
    let all = (0..model.layers).flat_map(|layer| layout.parts.iter().map(move |part| (layer, part)));
    let first = all.filter(|(layer, part)| *layer == 0 || !part.shared);
    first
        .map(|(layer, part)| {
            let layers = if part.shared { 0..model.layers } else { layer..layer + 1 };
            let names = layers.map(|layer| name(layer, part.name)).collect();
            ParameterSpec { names, shape: part.shape.clone() }
        })
        .collect()
}

/// All gates of a model, one per layer.
///
/// # Errors
/// When a tensor is missing, left over, of the wrong shape or not finite; `path` is named in the message.
pub fn load_gates(
    tensors: &BTreeMap<String, Tensor>,
    path: &Path,
    gate: &GateConfig,
    model: &ModelConfig,
    dtype: DType,
    device: &Device,
) -> std::result::Result<Vec<RetentionGate>, ModelError> {
    let layout = Layout::new(gate, model);
    let expected: BTreeMap<String, Vec<usize>> = (0..model.layers)
        .flat_map(|layer| layout.parts.iter().map(move |part| (name(layer, part.name), part.shape.clone())))
        .collect();
    let by_name: BTreeMap<String, &Tensor> = tensors.iter().map(|(name, tensor)| (plain_name(name), tensor)).collect();
    // Parameters that layers share may be saved once, under the first layer's name.
    let find = |layer: usize, part: &Part| {
        let shared = part.shared.then(|| by_name.get(&name(0, part.name))).flatten();
        by_name.get(&name(layer, part.name)).or(shared).copied()
    };
    let missing: Vec<String> = (0..model.layers)
        .flat_map(|layer| layout.parts.iter().map(move |part| (layer, part)))
        .filter(|(layer, part)| find(*layer, part).is_none())
        .map(|(layer, part)| name(layer, part.name))
        .collect();
    if !missing.is_empty() {
        return Err(ModelError::MissingTensors { path: path.to_owned(), names: missing });
    }
    let extra: Vec<String> = by_name.keys().filter(|name| !expected.contains_key(*name)).cloned().collect();
    if !extra.is_empty() {
        return Err(ModelError::ExtraTensors { path: path.to_owned(), names: extra });
    }
    let take = |layer: usize, part: &Part| -> std::result::Result<Tensor, ModelError> {
        let full_name = name(layer, part.name);
        let Some(tensor) = find(layer, part) else {
            return Err(ModelError::MissingTensors { path: path.to_owned(), names: vec![full_name] });
        };
        if tensor.dims() != part.shape {
            return Err(ModelError::WrongShape {
                path: path.to_owned(),
                name: full_name,
                expected: part.shape.clone(),
                found: tensor.dims().to_vec(),
            });
        }
        if let Some(element) = first_non_finite_of(tensor)? {
            return Err(ModelError::NonFiniteWeight { path: path.to_owned(), name: full_name, element });
        }
        Ok(tensor.to_device(device)?.to_dtype(dtype)?)
    };
    (0..model.layers)
        .map(|layer| {
            let part = |name: &str| layout.part(name).map(|part| take(layer, part)).transpose();
            let projection = |name: &str| -> std::result::Result<Option<Projection>, ModelError> {
                let weight = part(&format!("{name}.weight"))?;
                let bias = part(&format!("{name}.bias"))?;
                Ok(weight.map(|weight| Projection::new(weight, bias)))
            };
            layout.assemble(projection, part)
        })
        .collect()
}

fn name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.self_attn.retention_gate.{part}")
}

/// The name without what wrappers put before it (`model.language_model.` in vision-language models).
fn plain_name(name: &str) -> String {
    match name.find("layers.") {
        Some(at) => format!("model.{}", &name[at..]),
        None => name.to_owned(),
    }
}

struct Part {
    name: &'static str,
    shape: Vec<usize>,
    shared: bool,
}

/// Which tensors a gate of a kind has.
struct Layout {
    kind: GateKind,
    parts: Vec<Part>,
}

impl Layout {
    fn new(gate: &GateConfig, model: &ModelConfig) -> Self {
        let (inner, heads) = (gate.intermediate, model.kv_heads);
        let input = match gate.kind.input() {
            GateInput::Hidden => model.hidden,
            GateInput::KeysAndValues => 2 * model.head_dim * heads,
        };
        let own = |name, shape: &[usize]| Part { name, shape: shape.to_vec(), shared: false };
        let shared = |name, shape: &[usize]| Part { name, shape: shape.to_vec(), shared: true };
        let parts = match gate.kind {
            GateKind::Rg | GateKind::Rg2 => vec![
                own("linear1.weight", &[inner, input]),
                own("linear1.bias", &[inner]),
                own("linear2.weight", &[heads, inner]),
                own("bias", &[heads]),
            ],
            GateKind::Rg3 => vec![
                own("gate_proj.weight", &[inner, input]),
                own("up_proj.weight", &[inner, input]),
                own("down_proj.weight", &[heads, inner]),
                own("bias", &[heads]),
            ],
            GateKind::Rg10 => vec![
                own("linear1.weight", &[inner, input]),
                own("linear1.bias", &[inner]),
                own("linear2.weight", &[inner, inner]),
                own("linear2.bias", &[inner]),
                shared("linear3.weight", &[heads, inner]),
                shared("bias", &[heads]),
            ],
        };
        Self { kind: gate.kind, parts }
    }

    fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    fn assemble(
        &self,
        projection: impl Fn(&str) -> std::result::Result<Option<Projection>, ModelError>,
        part: impl Fn(&str) -> std::result::Result<Option<Tensor>, ModelError>,
    ) -> std::result::Result<RetentionGate, ModelError> {
        let required = |name: &str| {
            projection(name)?.ok_or_else(|| ModelError::Text(format!("gate kind {} has no {name}", self.kind.as_str())))
        };
        let body = match self.kind {
            GateKind::Rg | GateKind::Rg2 => {
                Body::Mlp { up: required("linear1")?, middle: None, down: required("linear2")? }
            }
            GateKind::Rg3 => {
                Body::Gated { gate: required("gate_proj")?, up: required("up_proj")?, down: required("down_proj")? }
            }
            GateKind::Rg10 => {
                Body::Mlp { up: required("linear1")?, middle: Some(required("linear2")?), down: required("linear3")? }
            }
        };
        let bias = part("bias")?.ok_or_else(|| ModelError::Text("a gate has no bias".to_owned()))?;
        Ok(RetentionGate { body, bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sigmoid_keeps_its_digits_where_gates_live() {
        for logit in [-30.0f32, -3.0, -0.1, 0.0, 0.1, 5.0, 10.0, 18.0] {
            let exact = -(-f64::from(logit)).exp().ln_1p();
            let error = (f64::from(log_sigmoid(logit)) - exact).abs() / exact.abs();
            assert!(error < 1e-6, "log_sigmoid({logit}) is off by {error}");
        }
        assert_eq!(log_sigmoid(200.0f32), 0.0);
        assert!(log_sigmoid(-1e30f32).is_finite());
    }
}
