//! What a benchmark found: one JSON object, or a table.

use anyhow::Result;
use serde::Serialize;

use super::{BenchArgs, Ready};
use crate::bench::bandwidth::copy_bandwidth;
use crate::bench::floor::Floor;
use crate::bench::measure::Timing;
use crate::bench::statistics::Spread;
use crate::engine::device::peak_memory;
use crate::engine::memory::Size;
use crate::model::captured::Manner;
use crate::policy::PolicyKind;

/// Steps at the beginning of a run that are not counted.
const SETTLING: usize = 2;

/// Everything measured. What was not is null.
#[derive(Serialize)]
pub(super) struct Report {
    tool: String,
    model: String,
    weights: &'static str,
    device: String,
    dtype: &'static str,
    policy: String,
    budget: Option<u32>,
    buffer: Option<u32>,
    context: usize,
    generate: usize,
    batch: usize,
    prefill_chunk: Option<usize>,
    rounds: usize,
    seed: u64,
    /// How decoding steps were started: as one `graph`, as `launches`, or as tensor `operations`.
    steps: &'static str,
    /// Why the driver made no graph, where it would not.
    no_graph: Option<String>,
    load_seconds: f64,
    copy_bytes_per_second: f64,
    floor_bytes_per_step: Floor,
    peak_bytes: Option<u64>,
    peak_of: &'static str,
    foreseen_bytes: u64,
    full_cache_bytes: u64,
    runs: Vec<Variant>,
    /// Median over the rounds of how much longer the steps of a traced run took than those of the untraced one before it.
    tracing_cost: Option<f64>,
}

/// The runs with or without a trace.
#[derive(Serialize)]
struct Variant {
    record: bool,
    tokens_per_second: f64,
    ms_per_step: Option<Spread>,
    share_of_copy_bandwidth: f64,
    prefill_seconds: f64,
    prefill_tokens_per_second: f64,
    finish_seconds: Option<f64>,
    cuts: u64,
    evicted: u64,
    cache_bytes: u64,
}

/// Puts together what was measured; the model is given up, so that its memory does not count.
///
/// # Errors
/// When the bandwidth cannot be measured.
pub(super) fn report(
    args: &BenchArgs,
    kind: PolicyKind,
    budget: Option<u32>,
    ready: Ready,
    rounds: &[(Option<Timing>, Option<Timing>)],
) -> Result<Report> {
    let Ready { model, gate, name, weights, load_seconds, foreseen } = ready;
    let (config, dtype, device) = (model.config().clone(), model.dtype(), model.device().clone());
    let heads = model.shape().heads() as u64 * args.batch as u64;
    let peak_bytes = peak_memory(&device);
    // The copy needs room of its own, and its buffers must not count as the run's.
    drop(model);
    let bandwidth = copy_bandwidth(&device)?;
    let all: Vec<&Timing> = rounds.iter().flat_map(|(off, on)| off.iter().chain(on)).collect();
    let steps = (all.len() * args.generate) as f64;
    let attended = all.iter().map(|timing| timing.attended as f64).sum::<f64>() / steps;
    let floor = Floor::of_step(&config, gate.as_ref(), dtype, attended, heads);
    let manner = all.first().and_then(|timing| timing.manner.clone());
    let variant = |record: bool| {
        let timings = rounds.iter().filter_map(|(off, on)| if record { on.as_ref() } else { off.as_ref() });
        Variant::of(record, &timings.collect::<Vec<_>>(), args, floor.total() / bandwidth)
    };
    let costs = rounds.iter().filter_map(|(off, on)| Some(decoding(on.as_ref()?) / decoding(off.as_ref()?) - 1.0));
    let tokens = (args.batch * (args.context + args.generate)) as u64;
    Ok(Report {
        tool: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        model: name,
        weights,
        device: crate::engine::device::describe(&device),
        dtype: dtype.as_str(),
        policy: kind.to_string(),
        budget,
        buffer: budget.map(|_| args.buffer),
        context: args.context,
        generate: args.generate,
        batch: args.batch,
        prefill_chunk: args.prefill_chunk,
        rounds: args.rounds,
        seed: args.seed,
        steps: manner.as_ref().map_or("operations", Manner::as_str),
        no_graph: match manner {
            Some(Manner::Launches(reason)) => reason,
            _ => None,
        },
        load_seconds,
        copy_bytes_per_second: bandwidth,
        floor_bytes_per_step: floor,
        peak_bytes,
        peak_of: if device.is_cpu() { "process" } else { "tensors" },
        foreseen_bytes: foreseen.total(),
        full_cache_bytes: tokens * config.cache_bytes_per_token(dtype.size_in_bytes()),
        runs: [false, true].into_iter().filter_map(variant).collect(),
        tracing_cost: Spread::of(costs.collect()).map(|spread| spread.median),
    })
}

fn rounds(count: usize) -> String {
    if count == 1 { "1 round".to_owned() } else { format!("{count} rounds") }
}

/// Steps that count: not the first two, which put caches side by side and capture graphs, where there are others.
fn counted(timing: &Timing) -> &[f64] {
    &timing.step_seconds[SETTLING.min(timing.step_seconds.len() - 1)..]
}

/// Mean seconds of a step.
fn decoding(timing: &Timing) -> f64 {
    let counted = counted(timing);
    counted.iter().sum::<f64>() / counted.len() as f64
}

impl Variant {
    /// `least` is the time a step would take at the copy bandwidth.
    fn of(record: bool, timings: &[&Timing], args: &BenchArgs, least: f64) -> Option<Self> {
        let median = |value: &dyn Fn(&Timing) -> f64| {
            Spread::of(timings.iter().map(|timing| value(timing)).collect()).map(|spread| spread.median)
        };
        let first = timings.first()?;
        let step = median(&decoding)?;
        let prefill_seconds = median(&|timing| timing.prefill_seconds)?;
        let milliseconds = timings.iter().flat_map(|timing| counted(timing).iter().map(|seconds| seconds * 1e3));
        Some(Self {
            record,
            tokens_per_second: args.batch as f64 / step,
            ms_per_step: Spread::of(milliseconds.collect()),
            share_of_copy_bandwidth: least / step,
            prefill_seconds,
            prefill_tokens_per_second: (args.batch * args.context) as f64 / prefill_seconds,
            finish_seconds: first.finish_seconds.and(median(&|timing| timing.finish_seconds.unwrap_or_default())),
            cuts: first.cuts,
            evicted: first.evicted,
            cache_bytes: first.cache_bytes,
        })
    }
}

impl Report {
    pub(super) fn table(&self) -> String {
        let bounds = match (self.budget, self.buffer) {
            (Some(budget), Some(buffer)) => format!("M = {budget} + {buffer}"),
            _ => "everything kept".to_owned(),
        };
        let mut lines = vec![
            format!("{} ({} weights), {}, {}", self.model, self.weights, self.dtype, self.device),
            format!(
                "{}, {bounds}; {} x {} tokens of context, {} generated, {}",
                self.policy,
                self.batch,
                self.context,
                self.generate,
                rounds(self.rounds)
            ),
            String::new(),
            format!(
                "{:<10} {:>10} {:>27} {:>12} {:>12}",
                "trace", "tokens/s", "ms/step (p10 to p90)", "of copying", "prefill"
            ),
        ];
        for run in &self.runs {
            let step = run
                .ms_per_step
                .map_or_else(String::new, |ms| format!("{:.2} ({:.2} to {:.2})", ms.median, ms.p10, ms.p90));
            lines.push(format!(
                "{:<10} {:>10.1} {step:>27} {:>10.1} % {:>10.2} s",
                if run.record { "written" } else { "off" },
                run.tokens_per_second,
                100.0 * run.share_of_copy_bandwidth,
                run.prefill_seconds,
            ));
        }
        lines.push(String::new());
        if let Some(cost) = self.tracing_cost {
            lines.push(format!("tracing    {:+.1} % time per step (median of {})", 100.0 * cost, rounds(self.rounds)));
        }
        lines.push(format!(
            "started    as {}",
            match (self.steps, &self.no_graph) {
                ("graph", _) => "one CUDA graph a step".to_owned(),
                ("launches", Some(reason)) =>
                    format!("launches one by one: the driver made no graph of them ({reason})"),
                ("launches", None) => "launches one by one: too few steps for a graph".to_owned(),
                _ => "tensor operations".to_owned(),
            }
        ));
        let floor = &self.floor_bytes_per_step;
        lines.push(format!(
            "a step     {} at least: weights {}, gates {}, keys and values {}",
            Size(floor.total() as u64),
            Size(floor.weights),
            Size(floor.gates),
            Size(floor.cache as u64)
        ));
        lines.push(format!("copying    {:.1} GB/s, read and written", self.copy_bytes_per_second / 1e9));
        if let Some(run) = self.runs.first() {
            lines.push(format!(
                "cache      {} at most; {} had every token been kept; {} entries evicted in {} cuts",
                Size(run.cache_bytes),
                Size(self.full_cache_bytes),
                run.evicted,
                run.cuts
            ));
        }
        let peak = self.peak_bytes.map_or_else(|| "not measured".to_owned(), |bytes| Size(bytes).to_string());
        let whose = if self.peak_of == "process" { "whole process" } else { "tensors" };
        lines.push(format!("memory     {peak} at most, {whose}; {} foreseen", Size(self.foreseen_bytes)));
        lines.join("\n")
    }
}
