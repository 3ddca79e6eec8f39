//! Tokens/s of gate training on the built-in model, per context and rows per step. The peer, the same step in PyTorch, is
//! `peer_train_torch.py`.

use candle_core::{DType, Device};
use trimkv_trace::model::load::{Checkpoint, Loaded, Wanted};
use trimkv_trace::training::documents::Document;
use trimkv_trace::training::settings::{LossOn, Settings};
use trimkv_trace::training::trainer::Trainer;

use crate::{seconds, spread};

/// Context, and rows of it per step.
const SIZES: [(usize, usize); 4] = [(512, 1), (512, 4), (1024, 2), (2048, 1)];
const STEPS: usize = 7;

pub fn run() {
    let wanted = Wanted { model: Some("builtin".to_owned()), ..Wanted::default() };
    let mut checkpoint = Checkpoint::open(&wanted).unwrap();
    checkpoint.take_gates();
    let Loaded { model, .. } = checkpoint.load(DType::F32, &Device::Cpu).unwrap();
    println!("{:>7} {:>5} {:>10}   {:<20}", "context", "rows", "tokens/s", "seconds per step");
    for (context, rows) in SIZES {
        let documents: Vec<Document> = (0..rows).map(|row| document(context, row, model.config().vocab)).collect();
        let mut trainer = Trainer::begin(&model, &documents, settings(context, rows), None).unwrap();
        trainer.step().unwrap(); // warms caches and the pool of threads
        let times = (0..STEPS).map(|_| seconds(|| drop(trainer.step().unwrap().clone()))).collect();
        let (least, median, most) = spread(times);
        let speed = (context * rows) as f64 / median;
        println!("{context:>7} {rows:>5} {speed:>10.0}   {median:.3} ({least:.3} to {most:.3})");
    }
}

/// Tokens without meaning: the work does not depend on it.
fn document(tokens: usize, row: usize, vocab: usize) -> Document {
    let tokens: Vec<u32> = (0..tokens).map(|place| ((place * 7919 + row * 31) % vocab) as u32).collect();
    let targets = (0..tokens.len() - 1).map(|place| (place as u32, tokens[place + 1])).collect();
    Document { tokens, targets }
}

fn settings(context: usize, rows: usize) -> Settings {
    Settings {
        model: None,
        gates: None,
        revision: None,
        data: String::new(),
        loss_on: LossOn::All,
        pack: false,
        context,
        max_documents: None,
        gate: "rg".to_owned(),
        gate_width: 64,
        gate_bias: 6.0,
        budget: (context / 8) as u32,
        buffer: 16,
        capacity: "authors".to_owned(),
        scope: "head".to_owned(),
        kl_weight: 0.5,
        ntp_weight: 0.5,
        capacity_weight: 1.0,
        steps: 1000,
        rows,
        learning_rate: 5e-3,
        floor_rate: 1e-6,
        warmup: 100,
        weight_decay: 0.01,
        clip: 1.0,
        spike: 0.0,
        save_every: 1000,
        seed: 0,
        dtype: "f32".to_owned(),
    }
}
