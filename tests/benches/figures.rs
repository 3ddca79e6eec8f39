//! Making figures from a trace of the paper's size: from the directory to the file's bytes.

use trimkv_trace::figures::fig4::Fig4;
use trimkv_trace::figures::render;
use trimkv_trace::figures::spec::{Format, Preset, Spec};
use trimkv_trace::trace::manifest::Manifest;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::write::write_recording;

use crate::tables::{SHAPE, record};
use crate::{seconds, spread};

const ROUNDS: usize = 5;
const TOKENS: u32 = 4_207;

pub fn run() {
    println!("fig4 of six heads at 6.75 in from {TOKENS} tokens x 36 layers x 8 KV heads; median of {ROUNDS}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace");
    let manifest: Manifest = serde_json::from_value(serde_json::json!({
        "schema": "trimkv-trace/1", "seen": TOKENS, "model": {"layers": SHAPE.layers, "kv_heads": SHAPE.kv_heads},
        "policy": {"name": "trimkv", "budget": 256, "buffer": 32},
    }))
    .unwrap();
    write_recording(&path, &manifest, &record(TOKENS)).unwrap();
    println!("{:>6} {:>12} {:>14} {:>10}", "format", "read trace", "draw figure", "size");
    for (name, format) in [("pdf", Format::Pdf), ("svg", Format::Svg), ("png", Format::Png)] {
        let (mut read, mut drawn, mut size) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let mut trace = None;
            read.push(seconds(|| trace = Some(Trace::open(&path).unwrap())));
            let Trace { manifest, recording, .. } = trace.unwrap();
            let mut spec = Spec { width_in: 6.75, ..Spec::new(Preset::Fig4, "trace", "f") };
            drawn.push(seconds(|| {
                let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
                size = render(&plot, format, &spec).unwrap().len();
            }));
        }
        let ((_, read, _), (_, drawn, _)) = (spread(read), spread(drawn));
        println!("{name:>6} {read:>10.3} s {drawn:>12.3} s {:>7.1} kB", size as f64 / 1e3);
    }
}
