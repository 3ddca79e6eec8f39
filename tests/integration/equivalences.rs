//! Different ways to the same run: what must not matter does not.

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use trimkv_trace::cache::replay::replay;
use trimkv_trace::engine::generation::{Generation, Request};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::decoder::{Decoder, Input, Want};
use trimkv_trace::model::load::{Checkpoint, Wanted};
use trimkv_trace::policy::random::Random;
use trimkv_trace::policy::recency::Recency;
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, EvictionPolicy, Policy, Protect, Scope};
use trimkv_trace::trace::manifest::{Manifest, PolicyFacts};
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::reader::{LayerLifetimes, TraceReader};
use trimkv_trace::trace::recording::Recording;
use trimkv_trace::trace::tables::read_parquet;
use trimkv_trace::trace::write::write_recording;

use crate::golden;

/// The same arithmetic in the same order but for the shapes of products.
const TOLERANCE: f32 = 1e-4;

fn builtin() -> Decoder {
    Checkpoint::open(&Wanted::default()).unwrap().load(DType::F32, &Device::Cpu).unwrap().model
}

/// The built-in model and one of each family, with each kind of gate that the golden data has.
fn models() -> Vec<(&'static str, Decoder)> {
    let golden = ["qwen3-rg", "qwen3-rg2", "qwen3-rg3", "llama-bias-rg", "phi3-rg"];
    let golden = golden.map(|name| (name, golden::model(name)));
    std::iter::once(("builtin", builtin())).chain(golden).collect()
}

fn prompt(length: u32) -> Vec<u32> {
    (0..length).map(|i| (i * i * 7 + i * 31 + 11) % 290 + 3).collect()
}

fn request() -> Request {
    Request {
        prompt: prompt(37),
        prefill_chunk: None,
        max_new_tokens: 23,
        eos: vec![],
        context: 1024,
        record_attention: false,
        record_logits: true,
        query_block: QUERY_BLOCK,
    }
}

#[derive(Debug, PartialEq)]
struct Run {
    ids: Vec<u32>,
    /// One row per position.
    logits: Vec<Vec<f32>>,
    recording: Recording,
}

fn run(model: &Decoder, policy: &Policy, request: Request) -> Run {
    let running = AtomicBool::new(false);
    let sampler = Sampler::new(Sampling::Greedy, 0);
    let mut generation = Generation::new(model, policy, request, sampler, &running).unwrap();
    let mut run = Run { ids: Vec::new(), logits: Vec::new(), recording: Recording::new(model.shape()) };
    for step in &mut generation {
        let mut step = step.unwrap();
        step.pass.elapsed_us = 0;
        run.logits.extend(model.logits(&step.hidden.unwrap()).unwrap().to_vec2::<f32>().unwrap());
        run.ids.extend(step.drawn.map(|drawn| drawn.id));
        run.recording.apply(&step.pass).unwrap();
    }
    for (head, position, score) in generation.ledger().last_scores() {
        run.recording.lifetimes.set_last_score(head, position, score);
    }
    run
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[track_caller]
fn assert_same(what: &str, found: &Run, expected: &Run, tolerance: f32) {
    let off = largest_difference(&found.logits, &expected.logits);
    assert!(off <= tolerance, "{what}: logits are off by {off}");
    assert_eq!(found.ids, expected.ids, "{what}");
    for head in expected.recording.lifetimes.shape().iter() {
        let departures = |run: &Run| run.recording.lifetimes.departures(head).collect::<Vec<_>>();
        assert_eq!(departures(found), departures(expected), "{what}: {head}");
    }
}

fn trimkv(rule: CutRule) -> Policy {
    Policy { scorer: Box::new(Retention::default()), rule: Some(rule) }
}

#[test]
fn an_ample_budget_is_the_full_cache() {
    for (name, model) in models() {
        let full = run(&model, &Policy::full(), request());
        for scope in [Scope::Head, Scope::Layer, Scope::Global] {
            let ample = trimkv(CutRule { scope, ..CutRule::per_head(60, 1) });
            assert_same(&format!("{name}, {scope}"), &run(&model, &ample, request()), &full, 1e-5);
        }
    }
}

#[test]
fn attending_in_blocks_is_attending_at_once() {
    for (name, model) in models() {
        let policy = trimkv(CutRule::per_head(12, 5));
        let whole = run(&model, &policy, Request { record_attention: true, ..request() });
        for query_block in [1, 3, 7] {
            let blocked = run(&model, &policy, Request { record_attention: true, query_block, ..request() });
            assert_same(&format!("{name}, blocks of {query_block}"), &blocked, &whole, TOLERANCE);
            let off = largest_difference(&blocked.recording.attention, &whole.recording.attention);
            assert!(off <= TOLERANCE, "{name}: attention is off by {off}");
        }
    }
}

/// Chunks of one are the model read token by token.
#[test]
fn reading_in_chunks_without_evictions_is_reading_at_once() {
    for (name, model) in models() {
        let full = run(&model, &Policy::full(), request());
        for chunk in [1, 5, 36, 37, 99] {
            let request = || Request { prefill_chunk: Some(chunk), ..request() };
            let what = format!("{name}, chunks of {chunk}");
            assert_same(&what, &run(&model, &Policy::full(), request()), &full, TOLERANCE);
            let ample = trimkv(CutRule::per_head(60, 1));
            assert_same(&what, &run(&model, &ample, request()), &full, TOLERANCE);
        }
    }
}

/// Two sequences of different lengths in one pass, at different places, one with evictions behind it.
#[test]
fn a_sequence_in_a_batch_is_the_sequence_alone() {
    for (name, model) in models() {
        let [long, short] = [prompt(29), prompt(11)[4..].to_vec()];
        let alone = |tokens: &[u32]| {
            let mut cache = model.new_cache(0).unwrap();
            let passes = [&tokens[..tokens.len() - 1], &tokens[tokens.len() - 1..]].map(|tokens| {
                let mut outputs = model.forward(&mut [Input { tokens, cache: &mut cache }], Want::default()).unwrap();
                assert_eq!(outputs.len(), 1);
                outputs.swap_remove(0)
            });
            passes.map(|output| (model.logits(&output.hidden).unwrap().to_vec2::<f32>().unwrap(), output.log_beta))
        };
        let [mut first, mut second] = [(); 2].map(|()| model.new_cache(0).unwrap());
        let expected = [alone(&long), alone(&short)];
        let split = |tokens: &[u32], pass: usize| {
            let end = tokens.len() - 1;
            if pass == 0 { tokens[..end].to_vec() } else { tokens[end..].to_vec() }
        };
        for pass in [0, 1] {
            let [a, b] = [split(&long, pass), split(&short, pass)];
            let mut inputs = [Input { tokens: &a, cache: &mut first }, Input { tokens: &b, cache: &mut second }];
            let outputs = model.forward(&mut inputs, Want::default()).unwrap();
            for (sequence, output) in outputs.iter().enumerate() {
                let (logits, log_beta) = &expected[sequence][pass];
                let found = model.logits(&output.hidden).unwrap().to_vec2::<f32>().unwrap();
                let off = largest_difference(&found, logits);
                assert!(off <= TOLERANCE, "{name}: sequence {sequence}, pass {pass} is off by {off}");
                let [found, alone] =
                    [&output.log_beta, log_beta].map(|grid| vec![grid.as_ref().unwrap().cells().to_vec()]);
                assert!(largest_difference(&found, &alone) <= TOLERANCE);
            }
        }
        assert_eq!((first.seen(), second.seen()), (29, 7));
    }
}

/// Every rule that needs nothing but gates and positions.
fn replayable() -> Vec<(&'static str, Box<dyn EvictionPolicy>, CutRule)> {
    let rule = CutRule::per_head(12, 5);
    let retention = || Box::new(Retention::default());
    vec![
        ("static", retention(), rule),
        ("recent", retention(), CutRule { protect: Protect { sinks: 1, recent: 4 }, ..rule }),
        ("global", retention(), CutRule { scope: Scope::Global, ..rule }),
        ("floor", retention(), CutRule { scope: Scope::Global, floor: 0.5, ..rule }),
        ("layer", retention(), CutRule { scope: Scope::Layer, ..rule }),
        ("threshold", retention(), CutRule { threshold: Some(0.3), ..rule }),
        ("look-ahead", Box::new(Retention { look_ahead: 8, ..Retention::default() }), rule),
        ("window", Box::new(Recency::window()), rule),
        (
            "streaming-llm",
            Box::new(Recency::streaming_llm()),
            CutRule { protect: Protect { sinks: 4, recent: 0 }, ..rule },
        ),
        ("random", Box::new(Random { seed: 3 }), rule),
    ]
}

#[test]
fn replaying_a_recorded_run_gives_its_lifetimes() {
    for (name, model) in [("builtin", builtin()), ("phi3-rg", golden::model("phi3-rg"))] {
        for (rule_name, scorer, rule) in replayable() {
            let policy = Policy { scorer, rule: Some(rule) };
            for prefill_chunk in [None, Some(9)] {
                let recording = run(&model, &policy, Request { prefill_chunk, ..request() }).recording;
                assert!(!recording.cuts.is_empty(), "{name}, {rule_name}: a run that shows nothing");
                let seen: Vec<u32> = recording.steps.iter().map(|step| step.tokens_seen).collect();
                assert_eq!(
                    replay(&recording.lifetimes, &seen, &policy).unwrap(),
                    recording.lifetimes,
                    "{name}, {rule_name}"
                );
            }
        }
    }
}

/// A query spreads one unit of attention over what it sees.
#[test]
fn recorded_attention_adds_up_and_changes_nothing() {
    for (name, model) in models() {
        for policy in [Policy::full(), trimkv(CutRule { scope: Scope::Global, ..CutRule::per_head(12, 5) })] {
            let request = || Request { prefill_chunk: Some(8), ..request() };
            let plain = run(&model, &policy, request());
            let traced = run(&model, &policy, Request { record_attention: true, ..request() });
            assert_eq!((&traced.ids, &traced.logits), (&plain.ids, &plain.logits), "{name}");
            assert_eq!(traced.recording.lifetimes, plain.recording.lifetimes, "{name}");
            let seen = traced.recording.lifetimes.seen();
            assert_eq!(traced.recording.attention.len(), model.shape().heads());
            for (head, mass) in model.shape().iter().zip(&traced.recording.attention) {
                let total: f64 = mass.iter().copied().map(f64::from).sum();
                assert!((total - f64::from(seen)).abs() < 1e-3, "{name}: {head} spread {total} over {seen} queries");
                let most = |position| f64::from(traced.recording.queries(head, position)) + 1e-4;
                assert!((0..seen).zip(mass).all(|(position, &mass)| mass >= 0.0 && f64::from(mass) <= most(position)));
            }
        }
    }
}

#[test]
fn the_same_prompt_twice_is_the_same_run() {
    let model = builtin();
    for (_, scorer, rule) in replayable() {
        let policy = Policy { scorer, rule: Some(rule) };
        let twice = [(); 2].map(|()| run(&model, &policy, Request { record_attention: true, ..request() }));
        assert_eq!(twice[0], twice[1]);
    }
}

/// What a trace's manifest says of `rule` under plain retention.
fn facts(rule: &CutRule) -> PolicyFacts {
    let (name, scope) = ("trimkv".to_owned(), Some(rule.scope.to_string()));
    PolicyFacts { name, scope, age_offset: Some(1), look_ahead: Some(1), ..PolicyFacts::default() }
}

#[test]
fn scores_that_are_left_out_of_a_trace_are_read_back_to_the_bit() {
    let model = golden::model("qwen3-rg");
    let folder = tempfile::tempdir().unwrap();
    for scope in [Scope::Head, Scope::Layer, Scope::Global] {
        let rule = CutRule { scope, ..CutRule::per_head(12, 5) };
        let recording = run(&model, &trimkv(rule), request()).recording;
        let scored =
            recording.lifetimes.shape().iter().flat_map(|head| recording.lifetimes.last_scores(head)).flatten();
        assert!(scored.count() > 100, "{scope}");
        let shape = recording.lifetimes.shape();
        let manifest = |policy| {
            let model = serde_json::json!({"layers": shape.layers, "kv_heads": shape.kv_heads});
            let bare = serde_json::json!({"schema": "trimkv-trace/1", "id": "scores", "model": model});
            Manifest { policy, ..serde_json::from_value(bare).unwrap() }
        };
        let read = |name: &str, policy: PolicyFacts| {
            let path = folder.path().join(format!("{name}-{scope}"));
            write_recording(&path, &manifest(policy), &recording).unwrap();
            let table = read_parquet(&path.join("lifetimes.parquet")).unwrap();
            let trace = Trace::open(&path).unwrap();
            let reader = TraceReader::open(&path).unwrap();
            for layer in 0..shape.layers as u16 {
                let bits = |lives: LayerLifetimes| lives.last_score.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                let expected = bits(LayerLifetimes::of(&recording, layer));
                assert_eq!(bits(reader.layer(layer).unwrap()), expected, "{name}, {scope}, layer {layer}");
            }
            assert!(trace.recording.lifetimes == recording.lifetimes, "{name}, {scope}");
            table.column("last_score").is_ok()
        };
        assert!(!read("plain", facts(&rule)));
        // Of a policy that the reader could not follow, and of one that is not the manifest's, every score is written.
        assert!(read("other", PolicyFacts { name: "mine".to_owned(), ..facts(&rule) }));
        assert!(read("wrong", PolicyFacts { age_offset: Some(0), ..facts(&rule) }));
    }
}
