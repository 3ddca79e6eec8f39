//! What it costs to record a run: the same generation with nothing recorded, and with the trace written.

use candle_core::{DType, Device};
use trimkv_trace::model::load::{Checkpoint, Loaded, Wanted};
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, Policy};
use trimkv_trace::run::prompt::{Labeller, from_ids};
use trimkv_trace::run::session::{Observer, Progress, Session};
use trimkv_trace::trace::manifest::Manifest;
use trimkv_trace::trace::write::TraceWriter;

use crate::{model, seconds, spread};

const ROUNDS: usize = 15;

pub fn run() {
    let builtin = Checkpoint::open(&Wanted::default()).unwrap().load(DType::F32, &Device::Cpu).unwrap();
    compare("built-in model, M = 32 + 8, 1,024 tokens", &builtin, CutRule::per_head(32, 8), 1024);
    let larger = model::load();
    compare("26M-parameter model (8 x 512), M = 256 + 32, 512 tokens", &larger, CutRule::per_head(256, 32), 512);
}

#[derive(Clone, Copy)]
enum Variant {
    Off,
    On,
    Attention,
    Logits,
}

const VARIANTS: [(Variant, &str); 4] = [
    (Variant::Off, "nothing recorded (the peer)"),
    (Variant::On, "trace"),
    (Variant::Attention, "trace with attention"),
    (Variant::Logits, "trace with logits"),
];

fn compare(title: &str, loaded: &Loaded, rule: CutRule, tokens: usize) {
    let policy = Policy { scorer: Box::new(Retention::default()), rule: Some(rule) };
    let once = |variant| seconds(|| generate(loaded, &policy, tokens, variant));
    once(Variant::Off);
    // In alternation, so that a machine that slows down slows all of them.
    let rounds: Vec<[f64; 4]> = (0..ROUNDS).map(|_| VARIANTS.map(|(variant, _)| once(variant))).collect();
    println!("\n{title}; median (smallest to largest) of {ROUNDS} rounds");
    println!(
        "{:30} {:>10} {:>18} {:>30}",
        "cost against nothing recorded:", "tokens/s", "of the fastest", "of a round"
    );
    for (column, (_, name)) in VARIANTS.iter().enumerate() {
        let (fastest, time, _) = spread(rounds.iter().map(|round| round[column]).collect());
        let (baseline, ..) = spread(rounds.iter().map(|round| round[0]).collect());
        let (low, cost, high) = spread(rounds.iter().map(|round| 100.0 * (round[column] / round[0] - 1.0)).collect());
        let best = format!("{:+.1} %", 100.0 * (fastest / baseline - 1.0));
        let cost = format!("{cost:+.1} % ({low:+.1} to {high:+.1})");
        let [best, cost] = if column == 0 { [String::new(), String::new()] } else { [best, cost] };
        println!("{name:30} {:>10.0} {best:>18} {cost:>30}", tokens as f64 / time);
    }
}

struct Nobody;

impl Observer for Nobody {}

fn generate(loaded: &Loaded, policy: &Policy, tokens: usize, variant: Variant) {
    let prompt = from_ids((300..364).collect());
    let attention = matches!(variant, Variant::Attention);
    let logits = matches!(variant, Variant::Logits);
    let generation = model::generation(loaded, policy, model::request(prompt.ids.clone(), tokens, attention, logits));
    if matches!(variant, Variant::Off) {
        assert_eq!(generation.map(Result::unwrap).count(), tokens);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let manifest = Manifest { schema: "trimkv-trace/1".to_owned(), model: loaded.facts.clone(), ..empty_manifest() };
    let writer = TraceWriter::create(&directory.path().join("trace"), manifest.clone(), logits).unwrap();
    let labeller = Labeller::new(loaded.tokenizer.as_ref(), &prompt);
    let session = Session { model: &loaded.model, generation, writer, labeller, observer: &mut Nobody };
    session.run(&prompt, manifest, &mut Progress::default()).unwrap();
}

fn empty_manifest() -> Manifest {
    serde_json::from_value(serde_json::json!({"schema": "", "model": {"layers": 1, "kv_heads": 1}})).unwrap()
}
