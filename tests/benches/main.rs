//! Benchmarks, each a table with its peer. `cargo bench` runs all of them, `cargo bench -- tracing` those whose name
//! holds the word. They are whole runs, repeated in alternation and reported as medians, because what matters here
//! (threads, files, allocation) does not show in a loop over one function.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod cuts;
mod decode;
mod figures;
mod model;
mod tables;
mod tracing;
mod training;

use std::time::Instant;

fn main() {
    trimkv_trace::engine::device::fix_thread_count();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [child, rest @ ..] = arguments.as_slice()
        && child == decode::CHILD
    {
        return decode::child(rest);
    }
    let benches: [(&str, fn()); 6] = [
        ("tracing", tracing::run),
        ("cuts", cuts::run),
        ("tables", tables::run),
        ("decode", decode::run),
        ("training", training::run),
        ("figures", figures::run),
    ];
    for (name, run) in benches {
        if arguments.is_empty() || arguments.iter().any(|word| name.contains(word.as_str())) {
            println!("\n== {name}");
            run();
        }
    }
}

/// Seconds that `work` takes.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Smallest, middle and largest.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}
