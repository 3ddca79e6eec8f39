//! Decoding as a run grows to 8,192 tokens: bounded against full, speed and memory.

use std::process::Command;
use std::time::Instant;

use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, Policy};

use crate::model;

/// First argument of a child process: one policy in a process of its own, so that its memory is its own.
pub const CHILD: &str = "decode-child";
const MARKS: [u32; 5] = [512, 1024, 2048, 4096, 8192];
/// Tokens over which speed is measured before each mark.
const WINDOW: u32 = 256;

pub fn run() {
    println!(
        "26M-parameter Qwen3-shaped model (8 layers, width 512, 4 KV heads of 64), f32, greedy, 64 tokens of prompt"
    );
    println!("model written to {} (tests/benches/peer_torch.py runs the same)", model::directory().display());
    for (policy, title) in [("bounded", "trimkv, M = 256, buffer 32"), ("full", "full cache, same engine (the peer)")] {
        println!("\n{title}");
        println!("{:>10} {:>12} {:>16} {:>16}", "tokens", "tokens/s", "cache", "process memory");
        let output = Command::new(std::env::current_exe().unwrap()).args([CHILD, policy]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8(output.stdout).unwrap());
    }
}

pub fn child(arguments: &[String]) {
    let bounded = arguments.first().is_some_and(|policy| policy == "bounded");
    let policy = if bounded {
        Policy { scorer: Box::new(Retention::default()), rule: Some(CutRule::per_head(256, 32)) }
    } else {
        Policy::full()
    };
    let loaded = model::load();
    let request = model::request((0..64).collect(), MARKS[MARKS.len() - 1] as usize, false, false);
    let mut generation = model::generation(&loaded, &policy, request);
    let mut start = Instant::now();
    while let Some(step) = generation.next() {
        let seen = step.unwrap().pass.tokens_seen;
        if MARKS.iter().any(|mark| seen + WINDOW == *mark) {
            start = Instant::now();
        }
        if MARKS.contains(&seen) {
            let rate = f64::from(WINDOW) / start.elapsed().as_secs_f64();
            let cache = generation.cache().bytes() as f64 / f64::from(1 << 20);
            println!("{seen:>10} {rate:>12.0} {cache:>12.1} MiB {:>12.1} MiB", resident_mib());
        }
    }
}

/// Memory of this process as the system counts it, where it does.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
