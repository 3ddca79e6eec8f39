//! Steps that are put together once against passes that are made of tensor operations. A machine that emulates the
//! GPU's kernels on the CPU runs the very list of operations that a GPU captures, again and again.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use trimkv_trace::bench::captured::compare;
use trimkv_trace::bench::kernels::{Timer, Work};
use trimkv_trace::cache::batch::BatchCache;
use trimkv_trace::engine::batch::Batch;
use trimkv_trace::engine::generation::{Generation, Request, Stop};
use trimkv_trace::engine::sampling::{Drawn, Sampler, Sampling};
use trimkv_trace::model::captured::Manner;
use trimkv_trace::model::decoder::{Asked, CapturedStep, Decoder, Feed, Input, Want};
use trimkv_trace::model::gate_config::GateConfig;
use trimkv_trace::model::random::RandomWeights;
use trimkv_trace::model::shape::ModelShape;
use trimkv_trace::parity::check::{Tolerance, check};
use trimkv_trace::parity::recorded::RecordedRuns;
use trimkv_trace::policy::recency::Recency;
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, Policy, PolicyKind, Protect, Scope};
use trimkv_trace::trace::recording::Recording;

use crate::batch::{assert_same_lives, requests};
use crate::emulator::{Emulated, Emulator};
use crate::golden;

fn can_emulate() -> bool {
    Emulator::new(DType::F32, &[]).is_some()
}

struct Run {
    drawn: Vec<Drawn>,
    recording: Recording,
    stop: Option<Stop>,
}

fn alone(model: &Decoder, policy: &Policy, request: Request, sampling: Sampling) -> Run {
    let running = AtomicBool::new(false);
    let mut generation = Generation::new(model, policy, request, Sampler::new(sampling, 5), &running).unwrap();
    let mut run = Run { drawn: Vec::new(), recording: Recording::new(model.shape()), stop: None };
    for step in &mut generation {
        let step = step.unwrap();
        run.drawn.extend(step.drawn);
        run.recording.apply(&step.pass).unwrap();
    }
    run.stop = generation.stop();
    run
}

fn together(model: &Decoder, policy: &Policy, requests: Vec<Request>) -> (Vec<Run>, Option<Manner>) {
    let running = AtomicBool::new(false);
    let new = |_: &Request| Run { drawn: Vec::new(), recording: Recording::new(model.shape()), stop: None };
    let mut runs: Vec<Run> = requests.iter().map(new).collect();
    let requests = requests.into_iter().map(|request| (request, Sampler::new(Sampling::Greedy, 0))).collect();
    let mut batch = Batch::new(model, policy, requests, &running).unwrap();
    for steps in &mut batch {
        for step in steps.unwrap() {
            runs[step.sequence].drawn.extend(step.step.drawn);
            runs[step.sequence].recording.apply(&step.step.pass).unwrap();
        }
    }
    let manner = batch.manner();
    runs.iter_mut().enumerate().for_each(|(index, run)| run.stop = batch.stop(index));
    (runs, manner)
}

#[track_caller]
fn assert_same(what: &str, found: &Run, expected: &Run) {
    let ids = |run: &Run| run.drawn.iter().map(|drawn| drawn.id).collect::<Vec<_>>();
    assert_eq!((found.stop, ids(found)), (expected.stop, ids(expected)), "{what}");
    for (found, expected) in found.drawn.iter().zip(&expected.drawn) {
        let off = (found.logprob - expected.logprob).abs().max((found.entropy - expected.entropy).abs());
        assert!(off < 1e-4, "{what}: {found:?} is not {expected:?}");
    }
    let [found, expected] = [&found.recording, &expected.recording];
    assert_same_lives(what, found, expected);
    for head in expected.lifetimes.shape().iter() {
        let [found, expected] = [found, expected].map(|run| run.lifetimes.log_beta(head));
        assert_eq!(found.len(), expected.len(), "{what}: {head}");
        let off = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{what}: log beta of {head} is off by {off}");
    }
}

fn policies() -> Vec<(&'static str, Policy)> {
    let retention = |rule| Policy { scorer: Box::new(Retention::default()), rule: Some(rule) };
    let rule = CutRule::per_head(12, 5);
    vec![
        ("full", Policy::full()),
        ("trimkv", retention(rule)),
        ("protected ends", retention(CutRule { protect: Protect { sinks: 2, recent: 4 }, ..rule })),
        ("a cut at every step", retention(CutRule::per_head(12, 1))),
        ("knorm", Policy { scorer: Box::new(Retention { key_norm: true, ..Retention::default() }), rule: Some(rule) }),
        ("keydiff", PolicyKind::KeyDiff.policy(12, 5, 0).unwrap()),
        ("global", retention(CutRule { scope: Scope::Global, ..rule })),
        ("threshold", retention(CutRule { threshold: Some(0.3), ..rule })),
        ("window", Policy { scorer: Box::new(Recency::window()), rule: Some(rule) }),
    ]
}

/// Rotated halves and wholes, norms, biases, and both inputs that a gate may have.
const MODELS: [&str; 5] = ["qwen3-rg", "qwen3-rg2", "llama-bias-rg", "phi3-rg", "qwen3-rg3"];

#[test]
fn captured_steps_are_passes_of_tensor_operations() {
    if !can_emulate() {
        return;
    }
    let nucleus = Sampling::Nucleus { temperature: 0.8, top_p: 0.9 };
    for (index, name) in MODELS.into_iter().enumerate() {
        let (plain, model) = (golden::model(name), Emulated::run(golden::model(name)));
        let want = Want::default();
        assert!(model.captures(want) && !plain.captures(want));
        // Long enough that a full cache has to grow twice.
        let request = requests(model.config().vocab, &[(21, 19)], false).swap_remove(0);
        for (place, (policy_name, policy)) in policies().into_iter().enumerate() {
            // One model meets every policy, the others two of them.
            if index > 0 && place / 2 != index - 1 {
                continue;
            }
            let sampling = if place % 2 == 0 { Sampling::Greedy } else { nucleus };
            let expected = alone(&plain, &policy, request.clone(), sampling);
            let found = alone(&model, &policy, request.clone(), sampling);
            assert_same(&format!("{name}, {policy_name}, {sampling:?}"), &found, &expected);
        }
    }
}

/// Sequences of different lengths, and such as end while others go on.
#[test]
fn captured_steps_of_a_batch_are_its_sequences_alone() {
    if !can_emulate() {
        return;
    }
    for (name, policy_name) in [("qwen3-rg", "trimkv"), ("llama-bias-rg", "full"), ("phi3-rg", "global")] {
        let (plain, model) = (golden::model(name), Emulated::run(golden::model(name)));
        let (_, policy) = policies().into_iter().find(|(name, _)| *name == policy_name).unwrap();
        for lengths in [[(17, 12), (8, 12), (21, 12)], [(11, 15), (20, 4), (5, 1)]] {
            let requests = requests(model.config().vocab, &lengths, false);
            let (found, manner) = together(&model, &policy, requests.clone());
            assert_eq!(manner, Some(Manner::Graph));
            for (index, (found, request)) in found.iter().zip(requests).enumerate() {
                let expected = alone(&plain, &policy, request, Sampling::Greedy);
                assert_same(&format!("{name}, {policy_name}, {index}"), found, &expected);
            }
        }
    }
}

/// What `trimkv-trace parity` does on a GPU, cuts by the device included.
#[test]
fn the_check_of_a_device_looks_at_captured_steps() {
    if !can_emulate() {
        return;
    }
    let recorded = RecordedRuns::open(&golden::root()).unwrap();
    for run in ["alpha_smallbuf", "alpha_window4", "dyn_alpha"] {
        let files = recorded.cases.iter().find(|files| files.run == run).unwrap();
        let case = recorded.case(files).unwrap();
        let model = Emulated::run(golden::model(&files.checkpoint));
        let outcome = check(&model, &case, &recorded.numbers(files, &case).unwrap()).unwrap();
        assert!(outcome.is_within(Tolerance::of(DType::F32)) && outcome.parting.is_none(), "{run}: {outcome:?}");
        assert!(outcome.captured > 10 && outcome.compared == outcome.passes, "{run}: {outcome:?}");
    }
}

/// What `trimkv-trace bench --kernels` compares on a GPU beside what it compares everywhere.
#[test]
fn kernels_of_captured_steps_agree_with_the_operations_they_stand_for() {
    for (dtype, allowed) in [(DType::F32, 1e-5), (DType::BF16, 2e-2)] {
        let Some(_) = Emulator::new(dtype, &[]) else { return };
        let config = "tiny".parse::<ModelShape>().unwrap().config();
        let device = &Device::Cpu;
        let work = Work { config: &config, gate_inner: 8, sequences: 3, columns: 12, dtype, device };
        let timer = Timer { device, calls: 1, rounds: 1 };
        let compared = compare(work, &Emulated, timer).unwrap();
        assert_eq!(compared.iter().map(|one| one.kernel).collect::<Vec<_>>(), ["add_norm", "enter_cache", "draw"]);
        for one in compared {
            assert!(one.difference <= allowed, "{dtype:?}: {one:?}");
        }
    }
}

/// No recorded run has the gate with a layer more.
#[test]
fn captured_steps_know_the_gate_of_two_layers() {
    if !can_emulate() {
        return;
    }
    let config = "tiny".parse::<ModelShape>().unwrap().config();
    let text = r#"{"retention_gate": "rg10", "retention_gate_intermediate_size": 24}"#;
    let gate = GateConfig::parse(text, Path::new("config.json")).unwrap();
    let random = RandomWeights { seed: 3 };
    let model = || {
        let gates = random.gates(&gate, &config, DType::F32, &Device::Cpu).unwrap();
        Decoder::load(config.clone(), &random, Some((gate.kind, gates)), DType::F32, &Device::Cpu).unwrap()
    };
    let rule = CutRule::per_head(12, 5);
    let policy = Policy { scorer: Box::new(Retention::default()), rule: Some(rule) };
    let request = requests(config.vocab, &[(21, 12)], false).swap_remove(0);
    let expected = alone(&model(), &policy, request.clone(), Sampling::Greedy);
    assert_same("rg10", &alone(&Emulated::run(model()), &policy, request, Sampling::Greedy), &expected);
}

#[test]
fn a_token_that_ends_the_text_ends_captured_steps() {
    if !can_emulate() {
        return;
    }
    let (plain, model) = (golden::model("qwen3-rg"), Emulated::run(golden::model("qwen3-rg")));
    let mut request = requests(model.config().vocab, &[(21, 19)], false).swap_remove(0);
    let free = alone(&plain, &Policy::full(), request.clone(), Sampling::Greedy);
    request.eos = vec![free.drawn[7].id];
    let expected = alone(&plain, &Policy::full(), request.clone(), Sampling::Greedy);
    assert_eq!(expected.stop, Some(Stop::Eos));
    assert_same("eos", &alone(&model, &Policy::full(), request, Sampling::Greedy), &expected);
}

/// In narrow types a captured step is as near to the same in f32 as a pass of tensor operations is.
#[test]
fn captured_steps_in_narrow_types_are_as_exact_as_tensor_operations() {
    for dtype in [DType::BF16, DType::F16] {
        if Emulator::new(dtype, &[]).is_none() {
            return;
        }
        for name in MODELS {
            let exact = decode(&golden::model(name), None);
            let narrow = golden::model_in(name, dtype);
            let composed = decode(&narrow, None);
            let captured = decode(&Emulated::run(narrow), Some(CapturedStep::new(Asked::default())));
            let [composed, captured] = [composed, captured]
                .map(|(logits, log_beta)| (mean_difference(&logits, &exact.0), mean_difference(&log_beta, &exact.1)));
            println!(
                "{name} in {dtype:?}: logits off by {:.1e}, log beta by {:.1e}; of tensor operations by {:.1e} and {:.1e}",
                captured.0, captured.1, composed.0, composed.1
            );
            assert!(captured.0 < 1.3 * composed.0 && captured.1 < 1.3 * composed.1, "{name} in {dtype:?}");
        }
    }
}

fn feed<'a>(seen: &'a [usize], tokens: &'a [u32]) -> Feed<'a> {
    Feed { seen, tokens, entries: &|_, _| (&[], &[]) }
}

fn mean_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (squares / a.len() as f32).sqrt()
}

/// Logits and log beta of some tokens after a prompt, the same whoever decodes.
fn decode(model: &Decoder, mut step: Option<CapturedStep>) -> (Vec<f32>, Vec<f32>) {
    let prompt: Vec<u32> = (0..9).map(|i| (i * 31 + 11) % 60 + 3).collect();
    let mut cache = model.new_cache(0).unwrap();
    model.forward(&mut [Input { tokens: &prompt, cache: &mut cache }], Want::default()).unwrap();
    let mut cache = BatchCache::join(vec![cache]).unwrap();
    let (mut logits, mut log_beta) = (Vec::new(), Vec::new());
    for token in 5..17 {
        let (row, grid) = match &mut step {
            Some(step) => {
                let seen = cache.seen().to_vec();
                step.start(model, cache.layers_mut(), feed(&seen, &[token])).unwrap();
                let made = step.finish(model).unwrap();
                cache.stepped();
                (step.logits().unwrap(), made.log_beta.into_iter().next().unwrap())
            }
            None => {
                let output = model.decode(&[token], &mut cache, Want::default()).unwrap().swap_remove(0);
                (model.logits(&output.hidden).unwrap(), output.log_beta)
            }
        };
        logits.extend(row.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        log_beta.extend_from_slice(grid.unwrap().cells());
    }
    (logits, log_beta)
}

#[test]
fn a_step_refuses_what_it_cannot_feed() {
    let model = Emulated::run(golden::model("qwen3-rg"));
    let mut cache = model.new_cache(0).unwrap();
    let mut step = CapturedStep::new(Asked::default());
    assert!(step.finish(&model).is_err() && step.logits().is_err());
    assert!(step.start(&model, cache.layers_mut(), feed(&[0], &[u32::MAX])).is_err(), "no such token");
    assert!(step.start(&model, cache.layers_mut(), feed(&[0], &[1, 2])).is_err(), "two tokens for one sequence");
    let plain = golden::model("qwen3-rg").on_machine(None);
    assert!(step.start(&plain, cache.layers_mut(), feed(&[0], &[1])).is_err(), "no machine");
}
