//! The forward pass of Qwen3, Llama and Phi-3 with retention gates and explicit caches.
//!
//! The families differ in names and a few options, not in structure, so there is one decoder. Weights are immutable;
//! caches are arguments. Several sequences may share a pass: projections run on all their tokens at once, attention on
//! each sequence's own cache.

mod batch;
mod captured;
pub(crate) mod pullback;

pub use captured::{Asked, CapturedStep, Feed, HeadEntries, RetentionCut, StepResult};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Module, Result, Tensor};

use crate::cache::bounded::SequenceCache;
use crate::trace::grid::Grid;
use crate::trace::step::Shape;

use super::attention::{Attend, QUERY_BLOCK};
use super::captured::{Machine, machine_of};
use super::config::{Architecture, ModelConfig};
use super::error::ModelError;
use super::gate::{GateInput, RetentionGate, log_sigmoid};
use super::gate_config::GateKind;
use super::kernels::{HeadLayout, arrange_heads, swiglu};
use super::linear::Projection;
use super::rotary::{RotaryEmbedding, Rotation};
use super::weights::TensorSource;

/// Tokens that pass through an MLP at once: its inner width is the widest of a layer, so this bounds a prompt's memory.
pub const MLP_ROWS: usize = 4096;

/// A language model with, perhaps, retention gates.
pub struct Decoder {
    config: ModelConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    final_norm: Tensor,
    head: Projection,
    rotary: RotaryEmbedding,
    gate_input: Option<GateInput>,
    dtype: DType,
    device: Device,
    machine: Option<Arc<dyn Machine>>,
}

struct Layer {
    input_norm: Tensor,
    qkv: Projection,
    out: Projection,
    /// `(2, head_dim)`: of queries and of keys.
    head_norms: Option<Tensor>,
    gate: Option<RetentionGate>,
    mlp_norm: Tensor,
    gate_up: Projection,
    down: Projection,
}

/// What a pass should give back beside hidden states.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// Norms of the new keys.
    pub key_norm: bool,
    /// Attention received by every cached entry.
    pub attention: bool,
    /// Newest queries that caches shall remember.
    pub queries: usize,
    /// Queries attended at once.
    pub query_block: usize,
    /// Checked between layers; when set, the pass ends as interrupted.
    pub interrupted: Option<&'a AtomicBool>,
}

impl Default for Want<'_> {
    fn default() -> Self {
        Self { key_norm: false, attention: false, queries: 0, query_block: QUERY_BLOCK, interrupted: None }
    }
}

/// One sequence's part in a pass.
pub struct Input<'a> {
    /// New tokens, at positions `cache.seen()..`.
    pub tokens: &'a [u32],
    /// What it has cached.
    pub cache: &'a mut SequenceCache,
}

/// What a pass made of one sequence.
pub struct Output {
    /// `(tokens, hidden)`, before the final norm; see [`Decoder::logits`].
    pub hidden: Tensor,
    /// `(layers * kv_heads, tokens)`, nats; `None` without gates.
    pub log_beta: Option<Grid<f32>>,
    /// `(layers * kv_heads, tokens)`, when wanted.
    pub key_norm: Option<Grid<f32>>,
    /// Per head, layer by layer: what each cache column received, when wanted.
    pub attention: Option<Vec<Vec<f32>>>,
}

impl Decoder {
    /// Loads a model; `gates` has one gate per layer.
    ///
    /// # Errors
    /// When a tensor is missing, misshapen or not finite, or memory runs out.
    pub fn load(
        config: ModelConfig,
        weights: &dyn TensorSource,
        gates: Option<(GateKind, Vec<RetentionGate>)>,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let prefix =
            if weights.contains("model.language_model.embed_tokens.weight") { "model.language_model" } else { "model" };
        let take = |name: &str, shape: &[usize]| weights.take(&format!("{prefix}.{name}"), shape, dtype, device);
        let embedding = take("embed_tokens.weight", &[config.vocab, config.hidden])?;
        let head = if config.tied {
            Projection::new(embedding.clone(), None)
        } else {
            Projection::new(weights.take("lm_head.weight", &[config.vocab, config.hidden], dtype, device)?, None)
        };
        let gate_input = gates.as_ref().map(|(kind, _)| kind.input());
        let mut gates = gates.map(|(_, gates)| gates.into_iter());
        let layers = (0..config.layers)
            .map(|layer| {
                let gate = gates.as_mut().and_then(Iterator::next);
                Layer::load(&config, weights, &format!("{prefix}.layers.{layer}"), gate, dtype, device)
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            final_norm: take("norm.weight", &[config.hidden])?,
            rotary: RotaryEmbedding::new(&config),
            embedding,
            layers,
            head,
            gate_input,
            dtype,
            device: device.clone(),
            machine: machine_of(device),
            config,
        })
    }

    /// The same model whose decoding steps run on another machine than its device's own; `None` composes them of tensor
    /// operations. The machine must reach the device's memory.
    pub fn on_machine(self, machine: Option<Arc<dyn Machine>>) -> Self {
        Self { machine, ..self }
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Layers and KV heads.
    pub fn shape(&self) -> Shape {
        Shape { layers: self.config.layers, kv_heads: self.config.kv_heads }
    }

    /// Whether it has retention gates.
    pub fn has_gates(&self) -> bool {
        self.gate_input.is_some()
    }

    /// Type it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// An empty cache for one sequence; see [`SequenceCache::new`] for `expected`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new_cache(&self, expected: usize) -> Result<SequenceCache> {
        let ModelConfig { layers, kv_heads, head_dim, .. } = self.config;
        SequenceCache::new(layers, kv_heads, head_dim, expected, self.dtype, &self.device)
    }

    /// Feeds every sequence its new tokens. Caches have grown when it returns; cutting them is the caller's business.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, memory runs out, or the user interrupts. Caches are then unusable.
    pub fn forward(&self, inputs: &mut [Input<'_>], want: Want<'_>) -> std::result::Result<Vec<Output>, ModelError> {
        let tokens: Vec<u32> = inputs.iter().flat_map(|input| input.tokens.iter().copied()).collect();
        let spans: Vec<_> =
            inputs.iter().map(|input| input.cache.seen()..input.cache.seen() + input.tokens.len()).collect();
        let mut attention: Vec<Vec<Vec<f32>>> = inputs.iter().map(|_| Vec::new()).collect();
        let passed =
            self.pass(tokens, &spans, want, |layer, heads| self.attend(layer, inputs, heads, want, &mut attention))?;
        inputs.iter_mut().for_each(|input| input.cache.advance(input.tokens.len()));
        let counts: Vec<usize> = inputs.iter().map(|input| input.tokens.len()).collect();
        self.split(&counts, passed, want.attention.then_some(attention))
    }

    /// All layers over the tokens of one or several sequences, at the positions of `spans`; `attend` appends a layer's
    /// keys and values to the caches and gives back `(tokens, query_heads * head_dim)`.
    fn pass(
        &self,
        tokens: Vec<u32>,
        spans: &[std::ops::Range<usize>],
        want: Want<'_>,
        mut attend: impl FnMut(usize, &Heads) -> Result<Tensor>,
    ) -> std::result::Result<Passed, ModelError> {
        let rotation = self.rotary.prepare(spans, self.dtype, &self.device)?;
        let count = tokens.len();
        let ids = Tensor::from_vec(tokens, count, &self.device)?;
        let mut hidden = self.embedding.index_select(&ids, 0)?;
        let mut gate_logits = Vec::with_capacity(self.layers.len());
        let mut key_norms = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            if want.interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(ModelError::Interrupted);
            }
            let normed = self.norm(&hidden, &layer.input_norm)?;
            let (_, heads) = self.project(layer, &normed, &rotation)?;
            if let (Some(gate), Some(input)) = (&layer.gate, self.gate_input) {
                gate_logits.push(match input {
                    GateInput::Hidden => gate.logits(&normed)?,
                    GateInput::KeysAndValues => gate.logits(&keys_and_values(&heads.keys, &heads.values)?)?,
                });
            }
            if want.key_norm {
                key_norms.push(heads.keys.to_dtype(DType::F32)?.sqr()?.sum(2)?.sqrt()?);
            }
            let attended = attend(index, &heads)?;
            hidden = (hidden + layer.out.forward(&attended)?)?;
            hidden = (&hidden + self.mlp(layer, &hidden)?)?;
        }
        let log_beta = self.per_head(&gate_logits, true)?.map(|logits| logits.into_iter().map(log_sigmoid).collect());
        Ok(Passed { hidden, log_beta, key_norm: self.per_head(&key_norms, false)? })
    }

    /// Next-token logits of `(tokens, hidden)` states, `(tokens, vocab)` in f32.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.norm(hidden, &self.final_norm)?)?.to_dtype(DType::F32)
    }

    fn norm(&self, xs: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let eps = self.config.norm_eps as f32;
        match self.dtype {
            // candle's fused norm has no f64, which gradients are checked in.
            DType::F64 => candle_nn::ops::rms_norm_slow(xs, weight, eps),
            _ => candle_nn::ops::rms_norm(&xs.contiguous()?, weight, eps),
        }
    }

    /// Projections of `normed`, side by side, and the heads made of them.
    fn project(&self, layer: &Layer, normed: &Tensor, rotation: &Rotation) -> Result<(Tensor, Heads)> {
        let ModelConfig { query_heads, kv_heads, head_dim, norm_eps, .. } = self.config;
        let qkv = layer.qkv.forward(normed)?;
        let layout = HeadLayout { query_heads, kv_heads, head_dim, norm_eps };
        let heads = arrange_heads(layout, &qkv, rotation.cos(), rotation.sin(), layer.head_norms.as_ref())?;
        let made = Heads {
            queries: heads.narrow(0, 0, query_heads)?,
            keys: heads.narrow(0, query_heads, kv_heads)?,
            values: heads.narrow(0, query_heads + kv_heads, kv_heads)?,
        };
        Ok((qkv, made))
    }

    /// `count` heads of `qkv` from `first` on, `(tokens, count, head_dim)`.
    fn heads_of(&self, qkv: &Tensor, first: usize, count: usize) -> Result<Tensor> {
        let head_dim = self.config.head_dim;
        qkv.narrow(1, first * head_dim, count * head_dim)?.reshape((qkv.dim(0)?, count, head_dim))
    }

    fn attend(
        &self,
        layer: usize,
        inputs: &mut [Input<'_>],
        heads: &Heads,
        want: Want<'_>,
        attention: &mut [Vec<Vec<f32>>],
    ) -> Result<Tensor> {
        let mut outputs = Vec::with_capacity(inputs.len());
        let mut first = 0;
        for (input, attention) in inputs.iter_mut().zip(attention) {
            let count = input.tokens.len();
            let own = |xs: &Tensor| xs.narrow(1, first, count);
            let cache = input.cache.layer_mut(layer);
            cache.append(&own(&heads.keys)?, &own(&heads.values)?)?;
            if want.queries > 0 {
                cache.remember(&own(&heads.queries)?, want.queries)?;
            }
            let attend = Attend { cache, scale: self.scale(), block: want.query_block, record: want.attention };
            let attended = attend.run(&own(&heads.queries)?)?;
            outputs.push(attended.output);
            attention.extend(attended.received.into_iter().flatten());
            first += count;
        }
        if outputs.len() == 1 { Ok(outputs.swap_remove(0)) } else { Tensor::cat(&outputs, 0) }
    }

    /// Factor on the logits of attention.
    pub fn scale(&self) -> f64 {
        (self.config.head_dim as f64).sqrt().recip()
    }

    fn mlp(&self, layer: &Layer, hidden: &Tensor) -> Result<Tensor> {
        let tokens = hidden.dim(0)?;
        if tokens <= MLP_ROWS {
            return self.mlp_block(layer, hidden);
        }
        let starts = (0..tokens).step_by(MLP_ROWS);
        let block = |start| self.mlp_block(layer, &hidden.narrow(0, start, MLP_ROWS.min(tokens - start))?);
        Tensor::cat(&starts.map(block).collect::<Result<Vec<_>>>()?, 0)
    }

    fn mlp_block(&self, layer: &Layer, hidden: &Tensor) -> Result<Tensor> {
        let inner = layer.gate_up.forward(&self.norm(hidden, &layer.mlp_norm)?)?;
        layer.down.forward(&swiglu(&inner)?)
    }

    /// Brings one small tensor per layer to the host in one copy, as `(layers * kv_heads, tokens)`.
    fn per_head(&self, layers: &[Tensor], token_major: bool) -> Result<Option<Vec<f32>>> {
        if layers.is_empty() {
            return Ok(None);
        }
        let mut all = Tensor::stack(layers, 0)?.to_dtype(DType::F32)?;
        if token_major {
            all = all.transpose(1, 2)?; // (layers, kv_heads, tokens)
        }
        all.contiguous()?.flatten_all()?.to_vec1::<f32>().map(Some)
    }

    /// Hands each sequence what is its own: `counts` tokens each, in order.
    fn split(
        &self,
        counts: &[usize],
        passed: Passed,
        attention: Option<Vec<Vec<Vec<f32>>>>,
    ) -> std::result::Result<Vec<Output>, ModelError> {
        let heads = self.shape().heads();
        let total = passed.hidden.dim(0)?;
        let mut attention = attention.map(Vec::into_iter);
        let mut first = 0;
        let mut outputs = Vec::with_capacity(counts.len());
        for &count in counts {
            let own = |cells: &Option<Vec<f32>>| {
                let cells = cells.as_ref()?;
                let mine = (0..heads).flat_map(|head| &cells[head * total + first..][..count]).copied().collect();
                Grid::from_cells(heads, count, mine)
            };
            outputs.push(Output {
                hidden: passed.hidden.narrow(0, first, count)?,
                log_beta: own(&passed.log_beta),
                key_norm: own(&passed.key_norm),
                attention: attention.as_mut().and_then(Iterator::next),
            });
            first += count;
        }
        Ok(outputs)
    }
}

/// What all layers made of a pass's tokens: `(tokens, hidden)`, and rows of heads, layer by layer.
struct Passed {
    hidden: Tensor,
    log_beta: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
}

/// Projected and rotated heads, `(heads, tokens, head_dim)` each.
struct Heads {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
}

/// `(tokens, kv_heads * 2 * head_dim)`: per head its key, then its value.
fn keys_and_values(keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (_, tokens, _) = keys.dims3()?;
    let joined = Tensor::cat(&[keys, values], 2)?.transpose(0, 1)?; // (tokens, kv_heads, 2 * head_dim)
    joined.contiguous()?.reshape((tokens, joined.elem_count() / tokens.max(1)))
}

impl Layer {
    fn load(
        config: &ModelConfig,
        weights: &dyn TensorSource,
        prefix: &str,
        gate: Option<RetentionGate>,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let (hidden, inner, head_dim) = (config.hidden, config.intermediate, config.head_dim);
        let (query_rows, kv_rows) = (config.query_heads * head_dim, config.kv_heads * head_dim);
        let vector = |name: &str, length| weights.take(&format!("{prefix}.{name}.weight"), &[length], dtype, device);
        let stacked = |parts: &[(&str, usize)], columns, bias| {
            let names: Vec<_> = parts.iter().map(|(name, rows)| (format!("{prefix}.{name}"), *rows)).collect();
            let parts: Vec<_> = names.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
            Projection::stacked(weights, &parts, columns, bias, dtype, device)
        };
        // Phi-3's files hold the stacked forms already.
        let fused = config.architecture == Architecture::Phi3;
        let qkv: &[_] = if fused {
            &[("self_attn.qkv_proj", query_rows + 2 * kv_rows)]
        } else {
            &[("self_attn.q_proj", query_rows), ("self_attn.k_proj", kv_rows), ("self_attn.v_proj", kv_rows)]
        };
        let gate_up: &[_] = if fused {
            &[("mlp.gate_up_proj", 2 * inner)]
        } else {
            &[("mlp.gate_proj", inner), ("mlp.up_proj", inner)]
        };
        let head_norms = || -> std::result::Result<Tensor, ModelError> {
            let (queries, keys) = (vector("self_attn.q_norm", head_dim)?, vector("self_attn.k_norm", head_dim)?);
            Ok(Tensor::stack(&[queries, keys], 0)?)
        };
        Ok(Self {
            input_norm: vector("input_layernorm", hidden)?,
            qkv: stacked(qkv, hidden, config.attention_bias)?,
            out: stacked(&[("self_attn.o_proj", hidden)], query_rows, config.attention_bias)?,
            head_norms: config.qk_norm.then(head_norms).transpose()?,
            gate,
            mlp_norm: vector("post_attention_layernorm", hidden)?,
            gate_up: stacked(gate_up, hidden, config.mlp_bias)?,
            down: stacked(&[("mlp.down_proj", hidden)], inner, config.mlp_bias)?,
        })
    }
}
