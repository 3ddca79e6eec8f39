//! Decoding by steps that are put together once; see [`crate::model::captured`].

use candle_core::{DType, Result, Tensor};

use super::{Decoder, Layer, Want};
use crate::cache::bounded::LayerCache;
use crate::model::captured::{Address, Launch, Machine, Operation, Prepared, Product, address};
use crate::model::gate::{GateInput, log_sigmoid};
use crate::trace::grid::Grid;

/// Positions whose rotations are at hand: when they are used up, the step is put together anew.
const ROTATIONS: usize = 8192;

/// Columns that a block of an attention kernel has at least, in a full cache.
const COLUMNS_OF_A_BLOCK: usize = 64;

/// Numbers that a draw tells of a sequence.
const TOLD: usize = 4;

/// A decoding step of one or several sequences over caches that share their buffers.
///
/// [`CapturedStep::start`] starts it, [`CapturedStep::finish`] waits for it and takes what it made, in one copy. The
/// tokens it draws stay where the next step reads them: nothing is sent when they are fed, unless the step had to be put
/// together anew.
#[derive(Default)]
pub struct CapturedStep {
    made: Option<Made>,
    started: bool,
}

/// What a step made of every sequence.
pub struct StepResult {
    /// Per sequence, `(layers * kv_heads, 1)` in nats; `None` without gates.
    pub log_beta: Vec<Option<Grid<f32>>>,
    /// Per sequence: its most likely token, minus the log of its probability, the entropy, and a number that is finite
    /// when all logits are.
    pub told: Vec<[f32; TOLD]>,
}

/// A step that was put together, and the tensors that belong to it.
struct Made {
    /// What it is valid for.
    fits: Fits,
    prepared: Box<dyn Prepared>,
    /// What changes from step to step, u32: tokens; positions; per layer its columns right after the last cut, its columns,
    /// and per head its survivors.
    state: Tensor,
    /// The same but for tokens, as the device has it once everything that was started has ended.
    known: Vec<u32>,
    /// The tokens that the device would feed next.
    drawn: Vec<u32>,
    /// f32: what was drawn, `(sequences, 4)`, then the gates' logits, `(layers, sequences, kv_heads)`.
    results: Tensor,
    /// `(sequences, vocab)`.
    logits: Tensor,
    _workspace: Vec<Tensor>,
}

/// Addresses and sizes that a step has built in.
#[derive(PartialEq)]
struct Fits {
    sequences: usize,
    /// Per layer: keys, values, and columns there is room for.
    buffers: Vec<(Address, Address, usize)>,
    rotations: std::ops::Range<usize>,
}

impl Decoder {
    /// Whether steps of this model can be captured, given what they should give back.
    pub fn captures(&self, want: Want<'_>) -> bool {
        let gates = self.layers.iter().all(|layer| layer.gate.as_ref().is_none_or(|gate| gate.as_fused().is_some()));
        let drawn = self.config.vocab <= 1 << f32::MANTISSA_DIGITS;
        let number = matches!(self.dtype, DType::F32 | DType::BF16 | DType::F16);
        self.machine.is_some() && gates && drawn && number && !want.key_norm && !want.attention
    }
}

impl CapturedStep {
    /// Starts a step that feeds `tokens` to sequences of which `seen` tokens were seen, and makes room for it in `cache`.
    ///
    /// # Errors
    /// When a step is running, there is not one token and one count for each sequence, a token is outside the
    /// vocabulary, or the device fails.
    pub fn start(&mut self, model: &Decoder, cache: &mut [LayerCache], seen: &[usize], tokens: &[u32]) -> Result<()> {
        let Some(machine) = &model.machine else { candle_core::bail!("this device's steps cannot be captured") };
        if self.started {
            candle_core::bail!("a step is running already");
        }
        if tokens.len() != seen.len() || tokens.iter().any(|&token| token as usize >= model.config.vocab) {
            candle_core::bail!("{tokens:?} cannot be fed to {} sequences, one each", seen.len());
        }
        cache.iter_mut().try_for_each(|layer| layer.make_room(1))?;
        let rotations = self.rotations(seen);
        let fits = Fits::of(cache, seen.len(), rotations)?;
        let counts = counts(cache, seen);
        let mut made = match self.made.take() {
            Some(made) if made.fits == fits => made,
            _ => Made::new(model, &**machine, cache, fits)?,
        };
        made.tell(tokens, counts)?;
        made.prepared.run()?;
        made.known_after_step(cache.len());
        self.made = Some(made);
        self.started = true;
        Ok(())
    }

    /// Waits for the step that was started. Counting its token and columns is the caller's business.
    ///
    /// # Errors
    /// When none was started or the device fails.
    pub fn finish(&mut self, model: &Decoder) -> Result<StepResult> {
        let Some(made) = self.made.as_mut().filter(|_| self.started) else { candle_core::bail!("no step was started") };
        self.started = false;
        let results = made.results.to_vec1::<f32>()?;
        let sequences = made.fits.sequences;
        let (told, gates) = results.split_at(sequences * TOLD);
        made.drawn = told.chunks_exact(TOLD).map(|told| if told[3].is_finite() { told[0] as u32 } else { 0 }).collect();
        let (shape, has_gates) = (model.shape(), model.has_gates());
        let log_beta = |sequence: usize| {
            let rows = (0..shape.layers).flat_map(|layer| {
                let first = (layer * sequences + sequence) * shape.kv_heads;
                gates[first..first + shape.kv_heads].iter().copied().map(log_sigmoid)
            });
            Grid::from_cells(shape.heads(), 1, rows.collect())
        };
        Ok(StepResult {
            log_beta: (0..sequences).map(|sequence| if has_gates { log_beta(sequence) } else { None }).collect(),
            told: told.chunks_exact(TOLD).map(|told| [told[0], told[1], told[2], told[3]]).collect(),
        })
    }

    /// Whether a step was started whose results nobody took.
    pub fn is_running(&self) -> bool {
        self.started
    }

    /// The last step's logits, `(sequences, vocab)` in f32, where they are.
    ///
    /// # Errors
    /// When there was none or the device fails.
    pub fn logits(&self) -> Result<Tensor> {
        match &self.made {
            Some(made) => made.logits.to_dtype(DType::F32),
            None => candle_core::bail!("no step was started"),
        }
    }

    /// How steps are started now; `None` before the first.
    pub fn manner(&self) -> Option<&'static str> {
        self.made.as_ref().map(|made| made.prepared.manner())
    }

    /// The rotations at hand, when they hold all next positions, or those that will be needed from here on.
    fn rotations(&self, seen: &[usize]) -> std::ops::Range<usize> {
        let first = seen.iter().copied().min().unwrap_or(0);
        let last = seen.iter().copied().max().unwrap_or(0);
        match &self.made {
            Some(Made { fits: Fits { rotations, .. }, .. }) if rotations.start <= first && last < rotations.end => {
                rotations.clone()
            }
            _ => first..last + ROTATIONS,
        }
    }
}

impl Fits {
    fn of(cache: &[LayerCache], sequences: usize, rotations: std::ops::Range<usize>) -> Result<Self> {
        let buffers = cache.iter().map(|layer| {
            let [keys, values] = layer.buffers();
            Ok((address(keys)?, address(values)?, keys.dim(1)?))
        });
        Ok(Self { sequences, buffers: buffers.collect::<Result<_>>()?, rotations })
    }
}

/// The state of a step but for tokens.
fn counts(cache: &[LayerCache], seen: &[usize]) -> Vec<u32> {
    let layers = cache
        .iter()
        .flat_map(|layer| [layer.packed(), layer.columns()].into_iter().chain(layer.survivors().iter().copied()));
    seen.iter().copied().chain(layers).map(|count| count as u32).collect()
}

impl Made {
    fn new(model: &Decoder, machine: &dyn Machine, cache: &[LayerCache], fits: Fits) -> Result<Self> {
        let device = &model.device;
        let sequences = fits.sequences;
        let rows = fits.rotations.clone().map(|position| position..position + 1).collect::<Vec<_>>();
        let rotation = model.rotary.prepare(&rows, model.dtype, device)?;
        let per_layer = cache.first().map_or(0, |layer| 2 + layer.survivors().len());
        let state = Tensor::zeros(2 * sequences + cache.len() * per_layer, DType::U32, device)?;
        let gates = if model.has_gates() { cache.len() * sequences * model.config.kv_heads } else { 0 };
        let results = Tensor::zeros(sequences * TOLD + gates, DType::F32, device)?;
        let logits = Tensor::zeros((sequences, model.config.vocab), model.dtype, device)?;
        let mut plan = Plan {
            model,
            sequences,
            splits: splits(machine, cache),
            first_position: fits.rotations.start,
            state: address(&state)?,
            per_layer,
            results: address(&results)?,
            rotations: [address(rotation.cos())?, address(rotation.sin())?],
            held: vec![rotation.cos().clone(), rotation.sin().clone()],
            operations: Vec::new(),
        };
        plan.step(&fits, address(&logits)?)?;
        let Plan { operations, held, .. } = plan;
        let prepared = machine.prepare(operations, model.dtype)?;
        Ok(Self { fits, prepared, state, known: Vec::new(), drawn: Vec::new(), results, logits, _workspace: held })
    }

    /// Tells the device what it does not know.
    fn tell(&mut self, tokens: &[u32], counts: Vec<u32>) -> Result<()> {
        let told = |numbers: &[u32], at| self.state.slice_set(&Tensor::new(numbers, self.state.device())?, 0, at);
        if self.drawn != tokens {
            told(tokens, 0)?;
        }
        if self.known != counts {
            told(&counts, self.fits.sequences)?;
            self.known = counts;
        }
        Ok(())
    }

    /// What the kernel `advance` does.
    fn known_after_step(&mut self, layers: usize) {
        let (positions, counts) = self.known.split_at_mut(self.fits.sequences);
        positions.iter_mut().for_each(|position| *position += 1);
        counts.chunks_exact_mut((counts.len() / layers.max(1)).max(1)).for_each(|layer| layer[1] += 1);
    }
}

/// Blocks that share the columns of a KV head: enough to keep the machine busy, with enough columns each.
fn splits(machine: &dyn Machine, cache: &[LayerCache]) -> usize {
    let heads = cache.first().map_or(1, |layer| layer.survivors().len().max(1));
    let columns = cache.iter().map(|layer| layer.buffers()[0].dim(1).unwrap_or(0)).max().unwrap_or(0);
    machine.blocks_wanted().div_ceil(heads).clamp(1, columns.div_ceil(COLUMNS_OF_A_BLOCK).max(1))
}

/// A step that is being put together.
struct Plan<'a> {
    model: &'a Decoder,
    sequences: usize,
    splits: usize,
    first_position: usize,
    state: Address,
    /// Numbers of the state that a layer has.
    per_layer: usize,
    results: Address,
    /// cos and sin.
    rotations: [Address; 2],
    held: Vec<Tensor>,
    operations: Vec<Operation>,
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
    keys_and_values: Address,
}

const NULL: Address = 0;

impl Plan<'_> {
    fn step(&mut self, fits: &Fits, logits: Address) -> Result<()> {
        let model = self.model;
        let config = &model.config;
        let (hidden, vocab) = (config.hidden, config.vocab);
        let work = self.workspace()?;
        let embedding = self.hold(&model.embedding)?;
        self.launch(
            Launch::new("embed", [self.sequences, 1], 256).at(&[self.state, embedding, work.hidden]).sizes(&[hidden]),
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
            Launch::new("draw", [self.sequences, 1], 1024).at(&[logits, self.state, self.results]).sizes(&[vocab]),
        );
        let positions = self.state + self.words(self.sequences);
        let sizes = [self.sequences, model.layers.len(), self.per_layer];
        self.launch(Launch::new("advance", [1, 1], 128).at(&[positions, self.counts(0)]).sizes(&sizes));
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
        let (positions, counts) = (self.state + self.words(self.sequences), self.counts(index));
        let qkv = self.hold(layer.qkv.weight())?;
        let (bias, norms) = (self.hold_some(layer.qkv.bias())?, self.hold_some(layer.head_norms.as_ref())?);
        self.multiply(work.normed, qkv, work.qkv, heads * head_dim, config.hidden);
        let entering = Launch::new("enter_cache", [(self.sequences * heads).div_ceil(4), 1], 128)
            .at(&[work.qkv, bias, cos, sin, norms, positions, counts, work.queries, keys, values, work.keys_and_values])
            .sizes(&[
                self.sequences,
                query_heads,
                kv_heads,
                head_dim,
                config.rotary_dim / 2,
                self.first_position,
                stride,
            ])
            .real(config.norm_eps);
        self.launch(entering);
        self.gate(work, index, layer)?;
        let fixed = vec![("HEAD_DIM", head_dim), ("GROUP", query_heads / kv_heads)];
        let part = Launch::new("attend_part", [self.sequences * kv_heads, self.splits], 128)
            .at(&[work.queries, keys, values, NULL, counts, work.parts])
            .sizes(&[stride, stride, 0, 0, self.splits])
            .real(self.model.scale());
        self.launch(Launch { fixed: fixed.clone(), ..part });
        let whole = Launch::new("attend_whole", [self.sequences * query_heads, 1], 128)
            .at(&[work.parts, work.attended])
            .sizes(&[self.splits]);
        self.launch(Launch { fixed, ..whole });
        let out = self.hold(layer.out.weight())?;
        self.multiply(work.attended, out, work.made, config.hidden, query_heads * head_dim);
        Ok(())
    }

    fn gate(&mut self, work: &Workspace, index: usize, layer: &Layer) -> Result<()> {
        let Some(gate) = &layer.gate else { return Ok(()) };
        let Some(parts) = gate.as_fused() else { candle_core::bail!("this kind of gate has no kernel") };
        let kv_heads = self.model.config.kv_heads;
        let (inner, width) = parts.up.weight().dims2()?;
        let input = match self.model.gate_input {
            Some(GateInput::KeysAndValues) => work.keys_and_values,
            _ => work.normed,
        };
        let [up, up_bias] = [self.hold(parts.up.weight())?, self.hold(parts.up_bias)?];
        let [down, bias] = [self.hold(parts.down)?, self.hold(parts.bias)?];
        self.multiply(input, up, work.gate_inner, inner, width);
        let logits = self.results + self.words(self.sequences * (TOLD + index * kv_heads));
        let tail = Launch::new("gate_tail", [(self.sequences * kv_heads).div_ceil(4), 1], 128)
            .at(&[work.gate_inner, up_bias, down, bias, NULL, logits])
            .sizes(&[self.sequences, inner, kv_heads]);
        self.launch(tail);
        Ok(())
    }

    fn mlp(&mut self, work: &Workspace, layer: &Layer) -> Result<()> {
        let (hidden, inner) = (self.model.config.hidden, self.model.config.intermediate);
        let [gate_up, down] = [self.hold(layer.gate_up.weight())?, self.hold(layer.down.weight())?];
        let bias = self.hold_some(layer.gate_up.bias())?;
        let count = self.sequences * inner;
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
        let launch = Launch::new("add_norm", [self.sequences, 1], 256)
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
        let gate = model.layers.iter().filter_map(|layer| layer.gate.as_ref()?.as_fused()).map(|gate| gate.up);
        let gate_inner = gate.map(|up| up.weight().dims()[0]).max();
        let reads_entries = model.gate_input == Some(GateInput::KeysAndValues);
        let splits = self.splits;
        let mut room = |width: Option<usize>, dtype| match width {
            Some(width) => self.hold(&Tensor::zeros((self.sequences, width), dtype, &model.device)?),
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
            keys_and_values: room(reads_entries.then_some(2 * kv_heads * head_dim), dtype)?,
        })
    }

    /// Bytes of as many numbers of the state or the results.
    fn words(&self, count: usize) -> Address {
        (count * size_of::<u32>()) as Address
    }

    /// Where a layer's part of the state is.
    fn counts(&self, layer: usize) -> Address {
        self.state + self.words(2 * self.sequences + layer * self.per_layer)
    }

    fn hold(&mut self, tensor: &Tensor) -> Result<Address> {
        self.held.push(tensor.clone());
        address(tensor)
    }

    fn hold_some(&mut self, tensor: Option<&Tensor>) -> Result<Address> {
        tensor.map_or(Ok(NULL), |tensor| self.hold(tensor))
    }

    fn launch(&mut self, launch: Launch) {
        self.operations.push(Operation::Launch(launch));
    }

    fn multiply(&mut self, left: Address, weight: Address, out: Address, columns: usize, inner: usize) {
        let rows = self.sequences;
        self.operations.push(Operation::Product(Product { left, weight, out, rows, columns, inner }));
    }
}
