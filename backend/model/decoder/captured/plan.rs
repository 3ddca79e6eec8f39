//! Puts a step together: every launch and product, with the addresses that it reads and writes.

use candle_core::{DType, Result, Tensor};

use super::entries::Entries;
use super::made::{Fits, Place};
use super::{Decoder, TOLD};
use crate::cache::bounded::LayerCache;
use crate::model::captured::{Address, Launch, Machine, Operation, Product, address};
use crate::model::decoder::Layer;
use crate::model::gate::{GateInner, GateInput};
use crate::model::linear::Projection;

/// Columns that a block of an attention kernel has at least, in a full cache.
const COLUMNS_OF_A_BLOCK: usize = 64;

pub(super) const NULL: Address = 0;

/// Blocks that share the columns of a KV head: enough to keep the machine busy, with enough columns each.
pub(super) fn splits(machine: &dyn Machine, cache: &[LayerCache]) -> usize {
    let heads = cache.first().map_or(1, |layer| layer.survivors().len().max(1));
    let columns = cache.iter().map(|layer| layer.buffers()[0].dim(1).unwrap_or(0)).max().unwrap_or(0);
    machine.blocks_wanted().div_ceil(heads).clamp(1, columns.div_ceil(COLUMNS_OF_A_BLOCK).max(1))
}

/// A step that is being put together.
pub(super) struct Plan<'a> {
    pub(super) model: &'a Decoder,
    pub(super) fits: &'a Fits,
    pub(super) splits: usize,
    pub(super) place: Place,
    pub(super) results: Address,
    pub(super) logits: Address,
    /// cos and sin.
    pub(super) rotations: [Address; 2],
    pub(super) entries: Option<&'a Entries>,
    /// Tensors whose addresses are in the operations.
    pub(super) held: Vec<Tensor>,
    pub(super) operations: Vec<Operation>,
}

/// What the layers share: activations, `(sequences, ...)` each.
struct Workspace {
    hidden: Address,
    normed: Address,
    qkv: Address,
    queries: Address,
    attended: Address,
    made: Address,
    inner: Address,
    product: Address,
    parts: Address,
    gate_inner: Address,
    gate_other: Address,
    keys_and_values: Address,
}

impl Plan<'_> {
    /// All of it.
    pub(super) fn step(&mut self) -> Result<()> {
        let (model, fits, place, logits) = (self.model, self.fits, self.place, self.logits);
        let config = &model.config;
        let (hidden, vocab) = (config.hidden, config.vocab);
        let work = self.workspace()?;
        let embedding = self.hold(&model.embedding)?;
        self.launch(
            Launch::new("embed", [self.place.sequences, 1], 256)
                .at(&[place.tokens(), embedding, work.hidden])
                .sizes(&[hidden]),
        );
        let mut norm = model.layers.first().map_or(&model.final_norm, |layer| &layer.input_norm);
        self.add_norm(&work, NULL, None, norm)?;
        for (index, layer) in model.layers.iter().enumerate() {
            norm = model.layers.get(index + 1).map_or(&model.final_norm, |next| &next.input_norm);
            self.attention(&work, index, layer, fits.buffers[index])?;
            self.add_norm(&work, work.made, layer.out.bias(), &layer.mlp_norm)?;
            self.mlp(&work, layer)?;
            self.add_norm(&work, work.made, layer.down.bias(), norm)?;
        }
        let head = self.hold(model.head.weight())?;
        self.multiply(work.normed, head, logits, vocab, hidden);
        self.launch(
            Launch::new("draw", [self.place.sequences, 1], 1024)
                .at(&[logits, place.tokens(), self.results])
                .sizes(&[vocab]),
        );
        let sizes = [place.sequences, model.layers.len(), place.per_layer];
        self.launch(Launch::new("advance", [1, 1], 128).at(&[place.positions(), place.counts(0)]).sizes(&sizes));
        Ok(())
    }

    fn attention(
        &mut self,
        work: &Workspace,
        index: usize,
        layer: &Layer,
        buffers: (Address, Address, usize),
    ) -> Result<()> {
        let config = &self.model.config;
        let (query_heads, kv_heads, head_dim) = (config.query_heads, config.kv_heads, config.head_dim);
        let (keys, values, capacity) = buffers;
        let stride = capacity * head_dim;
        let heads = query_heads + 2 * kv_heads;
        let [cos, sin] = self.rotations;
        let (positions, counts) = (self.place.positions(), self.place.counts(index));
        let qkv = self.hold(layer.qkv.weight())?;
        let (bias, norms) = (self.hold_some(layer.qkv.bias())?, self.hold_some(layer.head_norms.as_ref())?);
        self.multiply(work.normed, qkv, work.qkv, heads * head_dim, config.hidden);
        let key_norms = if self.fits.key_norm { self.key_norms(index) } else { NULL };
        let entering = Launch::new("enter_cache", [(self.place.sequences * heads).div_ceil(4), 1], 128)
            .at(&[work.qkv, bias, cos, sin, norms, positions, counts, work.queries, keys, values])
            .at(&[work.keys_and_values, key_norms])
            .sizes(&[
                self.place.sequences,
                query_heads,
                kv_heads,
                head_dim,
                config.rotary_dim / 2,
                self.fits.rotations.start,
                stride,
            ])
            .real(config.norm_eps);
        self.launch(entering);
        self.gate(work, index, layer)?;
        let fixed = vec![("HEAD_DIM", head_dim), ("GROUP", query_heads / kv_heads)];
        let part = Launch::new("attend_part", [self.place.sequences * kv_heads, self.splits], 128)
            .at(&[work.queries, keys, values, NULL, counts, work.parts])
            .sizes(&[stride, stride, 0, 0, self.splits])
            .real(self.model.scale());
        self.launch(Launch { fixed: fixed.clone(), ..part });
        let whole = Launch::new("attend_whole", [self.place.sequences * query_heads, 1], 128)
            .at(&[work.parts, work.attended])
            .sizes(&[self.splits]);
        self.launch(Launch { fixed, ..whole });
        let out = self.hold(layer.out.weight())?;
        self.multiply(work.attended, out, work.made, config.hidden, query_heads * head_dim);
        Ok(())
    }

    fn gate(&mut self, work: &Workspace, index: usize, layer: &Layer) -> Result<()> {
        let Some(gate) = &layer.gate else { return Ok(()) };
        let Some(parts) = gate.parts() else { candle_core::bail!("steps cannot be captured with this gate") };
        let input = match self.model.gate_input {
            Some(GateInput::KeysAndValues) => work.keys_and_values,
            _ => work.normed,
        };
        let (made, inner_bias) = match parts.inner {
            GateInner::Mlp { up, middle: None } => (self.project(input, up, work.gate_inner)?, up.bias()),
            GateInner::Mlp { up, middle: Some(middle) } => {
                let made = self.project(input, up, work.gate_inner)?;
                self.activate(made, up, up.bias(), NULL)?;
                (self.project(made, middle, work.gate_other)?, middle.bias())
            }
            GateInner::Gated { gate, up } => {
                let made = self.project(input, gate, work.gate_inner)?;
                let factor = self.project(input, up, work.gate_other)?;
                self.activate(made, gate, None, factor)?;
                (made, None)
            }
        };
        let kv_heads = self.model.config.kv_heads;
        let inner_bias = self.hold_some(inner_bias)?;
        let [down, bias] = [self.hold(parts.down)?, self.hold(parts.bias)?];
        let place = self.place;
        let log_beta = self.results + words(place.sequences * (TOLD + index * kv_heads));
        let [entry_log_beta, entry_position] = self.entries.map_or(Ok([NULL; 2]), |entries| entries.layer(index))?;
        let stride = self.entries.map_or(0, Entries::stride);
        let tail = Launch::new("enter_gate", [(place.sequences * kv_heads).div_ceil(4), 1], 128)
            .at(&[made, inner_bias, down, bias, place.positions(), place.counts(index)])
            .at(&[log_beta, entry_log_beta, entry_position])
            .sizes(&[place.sequences, parts.down.dim(1)?, kv_heads, stride]);
        self.launch(tail);
        Ok(())
    }

    /// A projection's product, without its bias, where it was put.
    fn project(&mut self, input: Address, projection: &Projection, out: Address) -> Result<Address> {
        let (columns, inner) = projection.weight().dims2()?;
        let weight = self.hold(projection.weight())?;
        self.multiply(input, weight, out, columns, inner);
        Ok(out)
    }

    /// SiLU of a projection's result.
    fn activate(&mut self, xs: Address, of: &Projection, bias: Option<&Tensor>, factor: Address) -> Result<()> {
        let width = of.weight().dim(0)?;
        let count = self.place.sequences * width;
        let bias = self.hold_some(bias)?;
        let launch = Launch::new("activate", [count.div_ceil(256), 1], 256);
        self.launch(launch.at(&[xs, bias, factor]).sizes(&[width, count]));
        Ok(())
    }

    fn mlp(&mut self, work: &Workspace, layer: &Layer) -> Result<()> {
        let (hidden, inner) = (self.model.config.hidden, self.model.config.intermediate);
        let [gate_up, down] = [self.hold(layer.gate_up.weight())?, self.hold(layer.down.weight())?];
        let bias = self.hold_some(layer.gate_up.bias())?;
        let count = self.place.sequences * inner;
        self.multiply(work.normed, gate_up, work.inner, 2 * inner, hidden);
        let product = Launch::new("swiglu", [count.div_ceil(256), 1], 256)
            .at(&[work.inner, bias, work.product])
            .sizes(&[inner, count]);
        self.launch(product);
        self.multiply(work.product, down, work.made, hidden, inner);
        Ok(())
    }

    fn add_norm(&mut self, work: &Workspace, made: Address, bias: Option<&Tensor>, weight: &Tensor) -> Result<()> {
        let (bias, weight) = (self.hold_some(bias)?, self.hold(weight)?);
        let launch = Launch::new("add_norm", [self.place.sequences, 1], 256)
            .at(&[work.hidden, made, bias, weight, work.normed])
            .sizes(&[self.model.config.hidden])
            .real(self.model.config.norm_eps);
        self.launch(launch);
        Ok(())
    }

    fn workspace(&mut self) -> Result<Workspace> {
        let model = self.model;
        let config = &model.config;
        let (query_heads, kv_heads, head_dim) = (config.query_heads, config.kv_heads, config.head_dim);
        let gates = model.layers.iter().filter_map(|layer| layer.gate.as_ref()?.parts());
        let gate_inner = gates.map(|gate| gate.down.dims()[1]).max();
        let reads_entries = model.gate_input == Some(GateInput::KeysAndValues);
        let splits = self.splits;
        let mut room = |width: Option<usize>, dtype| match width {
            Some(width) => self.hold(&Tensor::zeros((self.place.sequences, width), dtype, &model.device)?),
            None => Ok(NULL),
        };
        let dtype = model.dtype;
        Ok(Workspace {
            hidden: room(Some(config.hidden), dtype)?,
            normed: room(Some(config.hidden), dtype)?,
            qkv: room(Some((query_heads + 2 * kv_heads) * head_dim), dtype)?,
            queries: room(Some(query_heads * head_dim), dtype)?,
            attended: room(Some(query_heads * head_dim), dtype)?,
            made: room(Some(config.hidden), dtype)?,
            inner: room(Some(2 * config.intermediate), dtype)?,
            product: room(Some(config.intermediate), dtype)?,
            parts: room(Some(query_heads * splits * (2 + head_dim)), DType::F32)?,
            gate_inner: room(gate_inner, dtype)?,
            gate_other: room(gate_inner, dtype)?,
            keys_and_values: room(reads_entries.then_some(2 * kv_heads * head_dim), dtype)?,
        })
    }

    fn hold(&mut self, tensor: &Tensor) -> Result<Address> {
        self.held.push(tensor.clone());
        address(tensor)
    }

    fn hold_some(&mut self, tensor: Option<&Tensor>) -> Result<Address> {
        tensor.map_or(Ok(NULL), |tensor| self.hold(tensor))
    }

    /// Where a layer's norms of keys go: after what was drawn and log beta.
    fn key_norms(&self, layer: usize) -> Address {
        let model = self.model;
        let before = if model.has_gates() { model.layers.len() } else { 0 };
        self.results + words(self.place.sequences * (TOLD + (before + layer) * model.config.kv_heads))
    }

    fn launch(&mut self, launch: Launch) {
        self.operations.push(Operation::Launch(launch));
    }

    fn multiply(&mut self, left: Address, weight: Address, out: Address, columns: usize, inner: usize) {
        let rows = self.place.sequences;
        self.operations.push(Operation::Product(Product { left, weight, out, rows, columns, inner }));
    }
}

/// Bytes of as many numbers of 32 bits.
pub(super) fn words(count: usize) -> Address {
    (count * size_of::<u32>()) as Address
}
