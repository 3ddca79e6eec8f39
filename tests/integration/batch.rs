//! Sequences that decode together against the same sequences alone: token by token, eviction by eviction.

use std::sync::atomic::{AtomicBool, Ordering};

use trimkv_trace::engine::batch::Batch;
use trimkv_trace::engine::generation::{Generation, Request, Step, Stop};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::decoder::Decoder;
use trimkv_trace::policy::random::Random;
use trimkv_trace::policy::recency::Recency;
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, Policy, PolicyKind, Scope};
use trimkv_trace::trace::recording::Recording;

use crate::golden;

/// The same arithmetic but for the shapes of products.
const TOLERANCE: f32 = 1e-4;

struct Run {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
    recording: Recording,
    stop: Option<Stop>,
}

impl Run {
    fn new(model: &Decoder) -> Self {
        Self { ids: Vec::new(), logits: Vec::new(), recording: Recording::new(model.shape()), stop: None }
    }

    fn take(&mut self, step: Step) {
        self.ids.extend(step.drawn.map(|drawn| drawn.id));
        self.logits.push(step.logits);
        self.recording.apply(&step.pass).unwrap();
    }
}

/// Prompts of given lengths, no two alike, and how many tokens each may generate.
pub fn requests(vocab: usize, lengths: &[(usize, usize)], record: bool) -> Vec<Request> {
    let request = |(index, &(prompt, max_new_tokens)): (usize, &(usize, usize))| Request {
        prompt: (0..prompt).map(|i| ((i * i * 7 + i * 31 + 11 + index * 17) % (vocab - 3) + 3) as u32).collect(),
        prefill_chunk: (index == 1).then_some(9),
        max_new_tokens,
        eos: vec![],
        context: 1024,
        record_attention: record,
        record_logits: record,
        query_block: QUERY_BLOCK,
    };
    lengths.iter().enumerate().map(request).collect()
}

fn alone(model: &Decoder, policy: &Policy, request: Request) -> Run {
    let running = AtomicBool::new(false);
    let mut generation = Generation::new(model, policy, request, Sampler::new(Sampling::Greedy, 0), &running).unwrap();
    let mut run = Run::new(model);
    for step in &mut generation {
        run.take(step.unwrap());
    }
    run.stop = generation.stop();
    run
}

fn together(model: &Decoder, policy: &Policy, requests: Vec<Request>) -> Vec<Run> {
    let running = AtomicBool::new(false);
    let mut runs: Vec<Run> = requests.iter().map(|_| Run::new(model)).collect();
    let requests = requests.into_iter().map(|request| (request, Sampler::new(Sampling::Greedy, 0))).collect();
    let mut batch = Batch::new(model, policy, requests, &running).unwrap();
    for steps in &mut batch {
        for step in steps.unwrap() {
            runs[step.sequence].take(step.step);
        }
    }
    for (index, run) in runs.iter_mut().enumerate() {
        run.stop = batch.stop(index);
        let ledger = batch.ledger(index);
        for head in model.shape().iter() {
            let lives = &run.recording.lifetimes;
            let cached = (0..lives.seen()).filter(|&position| lives.evicted_at(head, position).is_none());
            assert_eq!(ledger.positions(head), cached.collect::<Vec<_>>(), "the ledger is not the trace's");
        }
    }
    runs
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.iter().map(Vec::len).collect::<Vec<_>>(), b.iter().map(Vec::len).collect::<Vec<_>>());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[track_caller]
fn assert_same(what: &str, found: &Run, expected: &Run) {
    assert_eq!(found.stop, expected.stop, "{what}");
    assert_eq!(found.ids, expected.ids, "{what}");
    let off = largest_difference(&found.logits, &expected.logits);
    assert!(off <= TOLERANCE, "{what}: logits are off by {off}");
    let [found, expected] = [&found.recording, &expected.recording];
    assert_same_lives(what, found, expected);
    let off = largest_difference(&found.attention, &expected.attention);
    assert!(off <= TOLERANCE, "{what}: attention is off by {off}");
}

/// Passes alike, and every token of every head gone at the same time.
#[track_caller]
pub fn assert_same_lives(what: &str, found: &Recording, expected: &Recording) {
    assert_eq!(found.steps.len(), expected.steps.len(), "{what}");
    for (found, expected) in found.steps.iter().zip(&expected.steps) {
        assert_eq!(
            (found.tokens_seen, found.phase, found.cached, found.evicted),
            (expected.tokens_seen, expected.phase, expected.cached, expected.evicted),
            "{what}"
        );
    }
    for head in expected.lifetimes.shape().iter() {
        let departures = |run: &Recording| run.lifetimes.departures(head).collect::<Vec<_>>();
        assert_eq!(departures(found), departures(expected), "{what}: {head}");
    }
}

fn policies() -> Vec<(&'static str, Policy)> {
    let retention = |rule| Policy { scorer: Box::new(Retention::default()), rule: Some(rule) };
    let rule = CutRule::per_head(12, 5);
    vec![
        ("full", Policy::full()),
        ("trimkv", retention(rule)),
        ("knorm", Policy { scorer: Box::new(Retention { key_norm: true, ..Retention::default() }), rule: Some(rule) }),
        ("global", retention(CutRule { scope: Scope::Global, ..rule })),
        ("threshold", retention(CutRule { threshold: Some(0.3), ..rule })),
        ("window", Policy { scorer: Box::new(Recency::window()), rule: Some(rule) }),
        ("h2o", PolicyKind::H2o.policy(12, 5, 0).unwrap()),
        ("snapkv", PolicyKind::SnapKv.policy(12, 5, 0).unwrap()),
        ("r-kv", PolicyKind::RKv.policy(12, 5, 0).unwrap()),
        ("tova", PolicyKind::Tova.policy(12, 1, 0).unwrap()),
        ("keydiff", PolicyKind::KeyDiff.policy(12, 5, 0).unwrap()),
        ("random", Policy { scorer: Box::new(Random { seed: 3 }), rule: Some(rule) }),
    ]
}

/// Equal lengths, lengths that differ (so that heads are ragged and cuts fall at different steps), and sequences that
/// end while others go on.
#[test]
fn a_batch_is_its_sequences_alone() {
    let lengths: [(&str, &[(usize, usize)]); 3] = [
        ("equal", &[(29, 21), (29, 21), (29, 21)]),
        ("different", &[(37, 21), (8, 21), (29, 21)]),
        ("ending apart", &[(11, 25), (20, 4), (33, 13), (5, 1)]),
    ];
    let mut evicted = 0;
    for name in ["qwen3-rg", "qwen3-rg2", "llama-bias-rg", "phi3-rg"] {
        let model = golden::model(name);
        for (policy_name, policy) in policies() {
            for (lengths_name, lengths) in lengths {
                let requests = requests(model.config().vocab, lengths, true);
                let expected: Vec<Run> =
                    requests.iter().map(|request| alone(&model, &policy, request.clone())).collect();
                let found = together(&model, &policy, requests);
                for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert_same(&format!("{name}, {policy_name}, {lengths_name}, {index}"), found, expected);
                    evicted += found.recording.steps.iter().map(|step| step.evicted).sum::<u64>();
                }
            }
        }
    }
    assert!(evicted > 10_000, "batches that hardly evict show little: {evicted}");
}

#[test]
fn an_interrupted_batch_ends_everywhere() {
    let model = golden::model("qwen3-rg");
    let policy = Policy::full();
    let running = AtomicBool::new(false);
    let requests = requests(model.config().vocab, &[(9, 30), (7, 30)], true);
    let requests = requests.into_iter().map(|request| (request, Sampler::new(Sampling::Greedy, 0))).collect();
    let mut batch = Batch::new(&model, &policy, requests, &running).unwrap();
    // The second prompt is read in one chunk of nine; then two decoding passes.
    let sizes: Vec<usize> = batch.by_ref().take(4).map(|steps| steps.unwrap().len()).collect();
    assert_eq!(sizes, [1, 1, 2, 2]);
    assert!(batch.cache_bytes() > 0);
    running.store(true, Ordering::Relaxed);
    assert!(batch.next().is_none());
    assert_eq!([batch.stop(0), batch.stop(1)], [Some(Stop::Interrupted); 2]);
}

#[test]
fn a_batch_needs_one_token_for_each_sequence() {
    let model = golden::model("qwen3-rg");
    let caches = (0..2).map(|_| model.new_cache(0).unwrap()).collect();
    let mut cache = trimkv_trace::cache::batch::BatchCache::join(caches).unwrap();
    let error = model.decode(&[1, 2, 3], &mut cache, Default::default()).err().unwrap().to_string();
    assert!(error.contains("3 tokens cannot be fed to 2 sequences"), "{error}");
}
