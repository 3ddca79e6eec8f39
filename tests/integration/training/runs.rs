//! Whole runs on tiny models and on the built-in one.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use trimkv_trace::cache::bounded::SequenceCache;
use trimkv_trace::model::decoder::{Decoder, Input, Want};
use trimkv_trace::model::gate_config::GateKind;
use trimkv_trace::model::load::{Checkpoint, Wanted};
use trimkv_trace::model::pth;
use trimkv_trace::training::capacity::{Capacity, CapacityScope, Normalisation};
use trimkv_trace::training::checkpoint::{Description, SavedState};
use trimkv_trace::training::documents::Document;
use trimkv_trace::training::error::TrainingError;
use trimkv_trace::training::objective::{Comparison, Weights};
use trimkv_trace::training::settings::{LossOn, Settings};
use trimkv_trace::training::student::{Lesson, Student};
use trimkv_trace::training::trainer::Trainer;

use super::gradients::{gates, model, targets, tokens};
use crate::golden;

fn settings() -> Settings {
    Settings {
        model: None,
        gates: None,
        revision: None,
        data: "test".to_owned(),
        loss_on: LossOn::All,
        pack: false,
        context: 64,
        max_documents: None,
        gate: "rg".to_owned(),
        gate_width: 8,
        gate_bias: 4.0,
        budget: 8,
        buffer: 2,
        capacity: "authors".to_owned(),
        scope: "head".to_owned(),
        kl_weight: 0.5,
        ntp_weight: 0.5,
        capacity_weight: 1.0,
        steps: 30,
        rows: 3,
        learning_rate: 3e-2,
        floor_rate: 1e-4,
        warmup: 3,
        weight_decay: 0.01,
        clip: 1.0,
        spike: 5.0,
        save_every: 10,
        seed: 5,
        dtype: "f32".to_owned(),
    }
}

/// Documents of different lengths, so that their places in a step matter.
fn documents(vocab: usize) -> Vec<Document> {
    let document = |place: usize| {
        let tokens: Vec<u32> = tokens(30 + 4 * place, vocab).iter().map(|id| (id + place as u32) % 300).collect();
        let targets = targets(&tokens);
        Document { tokens, targets }
    };
    (0..7).map(document).collect()
}

fn description(base: &str) -> Description {
    let directory = golden::root().join("models").join(base);
    Description {
        base_config: std::fs::read_to_string(directory.join("config.json")).unwrap(),
        base_model: directory.display().to_string(),
    }
}

fn run<'a>(model: &'a Decoder, documents: &'a [Document], settings: Settings, steps: u64) -> Trainer<'a> {
    let mut trainer = Trainer::begin(model, documents, settings, None).unwrap();
    for _ in 0..steps {
        trainer.step().unwrap();
    }
    trainer
}

/// Heads that never forget make the student its teacher: bit for bit, so KL is exactly 0.
#[test]
fn beta_one_is_the_teacher() {
    for name in ["qwen3-tiny", "llama-tiny", "phi3-tiny"] {
        let model = model(name, DType::F32);
        // At this logit log_beta is 0 in f32; the weights of these gates move it by far less than it would take.
        let gates = gates(&model, GateKind::Rg, 300.0, DType::F32);
        let tokens = tokens(150, model.config().vocab);
        let targets = targets(&tokens);
        let capacity =
            Capacity { normalisation: Normalisation::Authors, scope: CapacityScope::Head, budget: tokens.len() as f64 };
        let weights = Weights { kl: 0.5, ntp: 0.5, capacity: 1.0 };
        let student = Student { model: &model, gates: &gates, weights, capacity };
        let lesson = Lesson { tokens: &tokens, targets: &targets, step_positions: targets.len(), step_documents: 1 };
        let outcome = student.learn(&lesson).unwrap();
        assert_eq!((outcome.quality.kl, outcome.capacity), (0.0, 0.0), "{name}");
        // And the teacher is the model that runs: the same next-token loss from its own forward pass.
        let mut cache: SequenceCache = model.new_cache(tokens.len()).unwrap();
        let mut inputs = [Input { tokens: &tokens, cache: &mut cache }];
        let hidden = model.forward(&mut inputs, Want::default()).unwrap().remove(0).hidden;
        let comparison = Comparison { model: &model, teacher: &hidden, student: &hidden, targets: &targets };
        let (own, _) = comparison.evaluate(weights, targets.len()).unwrap();
        let off = (own.ntp - outcome.quality.ntp).abs() / own.ntp;
        assert!(off < 1e-5, "{name}: the teacher's loss differs from the model's by {off:e}");
    }
}

#[test]
fn training_shrinks_the_soft_cache_and_keeps_the_models_words() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    let trainer = run(&model, &documents, settings(), 30);
    let rows = trainer.rows();
    let mean = |rows: &[trimkv_trace::training_log::LogRow], value: fn(&_) -> f32| {
        rows.iter().map(value).sum::<f32>() / rows.len() as f32
    };
    let capacity: fn(&trimkv_trace::training_log::LogRow) -> f32 = |row| row.capacity;
    let [first, last] = [&rows[..5], &rows[25..]].map(|rows| mean(rows, capacity));
    println!("capacity {first} -> {last}, kl {} -> {}", rows[0].kl, rows[29].kl);
    assert!(last < 0.5 * first, "the capacity loss went from {first} to {last}");
    assert!(rows[29].last_soft_size() < rows[0].last_soft_size());
    // A uniform guess over this vocabulary would be ln 300 = 5.7 nats away from a certain teacher.
    assert!(rows[29].kl < 1.0, "the student lost its teacher: KL {}", rows[29].kl);
}

/// The toy task: say what the frozen model says about seven short texts, with less memory than they are long.
#[test]
fn a_longer_budget_never_costs_quality() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    let learned = |budget: u32| {
        let settings = Settings {
            budget,
            rows: documents.len(),
            learning_rate: 6e-2,
            // The capacity loss outweighs the rest, so that gates of every budget come to hold about that much.
            capacity: "tokens".to_owned(),
            capacity_weight: 10.0,
            kl_weight: 1.0,
            ntp_weight: 0.0,
            ..settings()
        };
        let trainer = run(&model, &documents, settings, 30);
        let last = &trainer.rows()[29];
        (budget, last.kl, last.last_soft_size())
    };
    let learned = [4, 8, 16, 32].map(learned);
    println!("budget, KL, soft cache size at the end: {learned:?}");
    for [(less, worse, smaller), (more, better, larger)] in learned.windows(2).map(|pair| [pair[0], pair[1]]) {
        assert!(larger > smaller, "gates for {more} hold {larger} tokens, those for {less} {smaller}");
        assert!(better <= worse, "KL {worse} with a budget of {less}, {better} with {more}");
    }
    let [(_, least, _), .., (_, most, _)] = learned;
    assert!(least > 10.0 * most, "memory must matter for this task: KL {least} and {most}");
}

#[test]
fn one_seed_is_one_run_and_another_is_another() {
    let model = model("llama-tiny", DType::F32);
    let documents = documents(300);
    let first = run(&model, &documents, settings(), 4);
    let again = run(&model, &documents, settings(), 4);
    assert_eq!(first.state(), again.state());
    let other = run(&model, &documents, Settings { seed: 6, ..settings() }, 4);
    assert_ne!(first.state().parameters, other.state().parameters);
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    for gate in ["rg", "rg10"] {
        let settings = Settings { gate: gate.to_owned(), ..settings() };
        let whole = run(&model, &documents, settings.clone(), 9);
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("gates");
        run(&model, &documents, settings, 5).save(&place, &description("qwen3-tiny")).unwrap();
        let saved = SavedState::open(&place).unwrap();
        let mut resumed = Trainer::resume(&model, &documents, saved, &place).unwrap();
        assert_eq!(resumed.step_count(), 5);
        for _ in 5..9 {
            resumed.step().unwrap();
        }
        assert_eq!(resumed.state(), whole.state());
        let told = |trainer: &Trainer<'_>| {
            trainer.rows().iter().map(|row| (row.step, row.kl, row.total, row.gradient_norm)).collect::<Vec<_>>()
        };
        assert_eq!(told(&resumed), told(&whole));
        // Saving over a checkpoint replaces it.
        resumed.save(&place, &description("qwen3-tiny")).unwrap();
        let saved = SavedState::open(&place).unwrap();
        assert_eq!(Trainer::resume(&model, &documents, saved, &place).unwrap().state(), whole.state());
        assert!(std::fs::read_dir(&place).unwrap().all(|file| {
            let name = file.unwrap().file_name();
            !name.to_string_lossy().ends_with(".tmp")
        }));
    }
}

/// What is saved is what our own loader finds, in both formats, and it runs on the base that the checkpoint names.
#[test]
fn a_checkpoint_has_the_released_format() {
    for (base, gate) in [("qwen3-tiny", "rg"), ("llama-tiny", "rg2"), ("phi3-tiny", "rg3"), ("qwen3-tiny", "rg10")] {
        let model = model(base, DType::F32);
        let documents = documents(300);
        let trainer = run(&model, &documents, Settings { gate: gate.to_owned(), ..settings() }, 2);
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("gates");
        trainer.save(&place, &description(base)).unwrap();

        let from_pth = pth::read(&place.join("trimkv_weights.pth")).unwrap();
        let from_safetensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(place.join("trimkv_weights.safetensors"), &Device::Cpu)
                .unwrap()
                .into_iter()
                .collect();
        assert!(from_pth.keys().eq(from_safetensors.keys()), "{gate}");
        for (name, tensor) in &from_pth {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(tensor.dims(), from_safetensors[name].dims(), "{name}");
            assert_eq!(values(tensor), values(&from_safetensors[name]), "{name}");
        }
        let all: Vec<f32> =
            from_pth.values().flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect();
        assert!(all.iter().any(|value| *value != 0.0));

        for without in ["trimkv_weights.safetensors", "none"] {
            let _ = std::fs::remove_file(place.join(without));
            let wanted = Wanted { gates: Some(place.display().to_string()), ..Wanted::default() };
            let loaded = Checkpoint::open(&wanted).unwrap().load(DType::F32, &Device::Cpu).unwrap();
            let config = loaded.gate_config.unwrap();
            assert_eq!((config.kind.as_str(), config.intermediate), (gate, 8));
            assert_eq!((config.memory_size, config.buffer_size), (Some(8), Some(2)));
            assert!(loaded.model.has_gates());
        }
    }
}

#[test]
fn a_loss_that_is_not_a_number_ends_the_run_with_the_gates_as_they_were() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    let wild = Settings { learning_rate: 1e30, warmup: 0, clip: 1e30, ..settings() };
    let mut trainer = Trainer::begin(&model, &documents, wild, None).unwrap();
    let mut good = trainer.state().clone();
    let error = loop {
        match trainer.step() {
            Ok(_) => good = trainer.state().clone(),
            Err(error) => break error,
        }
        assert!(trainer.step_count() < 20, "nothing went wrong");
    };
    assert!(matches!(error, TrainingError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("last good gates are kept"));
    assert_eq!(trainer.state(), &good);
}

#[test]
fn documents_that_fit_the_budget_are_refused() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    let roomy = Settings { budget: 60, ..settings() };
    let error = Trainer::begin(&model, &documents, roomy, None).err().unwrap().to_string();
    assert!(error.contains("54 tokens") && error.contains("--budget is 60"), "{error}");
}

#[test]
fn a_state_of_other_documents_or_none_is_refused() {
    let model = model("qwen3-tiny", DType::F32);
    let documents = documents(300);
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("gates");
    run(&model, &documents, settings(), 1).save(&place, &description("qwen3-tiny")).unwrap();
    let error = Trainer::resume(&model, &documents[1..], SavedState::open(&place).unwrap(), &place).err().unwrap();
    assert!(error.to_string().contains("has changed since"), "{error}");
    let bytes = std::fs::read(place.join("state.safetensors")).unwrap();
    std::fs::write(place.join("state.safetensors"), &bytes[..bytes.len() / 3]).unwrap();
    let problem = |place: &Path| match SavedState::open(place) {
        Err(error) => error.to_string(),
        Ok(saved) => Trainer::resume(&model, &documents, saved, place).err().unwrap().to_string(),
    };
    assert!(problem(&place).contains("cannot be resumed"), "{}", problem(&place));
    assert!(problem(directory.path()).contains("name the directory that train wrote"));
}
