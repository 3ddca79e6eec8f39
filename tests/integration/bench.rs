//! `trimkv-trace bench` and `trimkv-trace parity` on the CPU.

use serde_json::Value;

use crate::golden;
use crate::run::{Folder, arg, edit_json};

fn bench(folder: &Folder, args: &[&str]) -> Value {
    let said = folder.run(&[&["bench", "--json", "--device", "cpu"], args].concat()).done();
    serde_json::from_str(&said.stdout).unwrap()
}

const SMALL: [&str; 8] = ["--model", "tiny", "--context", "40", "--generate", "20", "--rounds", "2"];

#[test]
fn a_bounded_run_says_what_it_took_and_what_it_kept() {
    let folder = Folder::new();
    let report = bench(
        &folder,
        &[&SMALL[..], &["--batch", "3", "--budget", "16", "--buffer", "8", "--record", "both"]].concat(),
    );
    assert_eq!((report["model"].as_str(), report["device"].as_str()), (Some("tiny"), Some("cpu")));
    assert_eq!(report["steps"].as_str(), Some("operations"), "the CPU has no graphs");
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["record"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true]);
    for run in runs {
        // Each of 3 sequences: 40 tokens cut to 16 in each of 4 heads, then 2 cuts of 8.
        assert_eq!((run["cuts"].as_u64(), run["evicted"].as_u64()), (Some(9), Some(3 * 4 * (24 + 16))));
        let step = &run["ms_per_step"];
        let [p10, median, p90] = ["p10", "median", "p90"].map(|name| step[name].as_f64().unwrap());
        assert!(0.0 < p10 && p10 <= median && median <= p90);
        assert!(run["tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(run["share_of_copy_bandwidth"].as_f64().unwrap() > 0.0);
    }
    assert!(runs[0]["finish_seconds"].is_null() && runs[1]["finish_seconds"].is_f64());
    assert!(report["tracing_cost"].is_f64());
    // Entries attended: after the cut 17, 18, ... 24 (then cut), twice, and 17 to 20 again; plus the one written.
    let attended = (2 * (17..=24).sum::<u64>() + (17..=20).sum::<u64>()) as f64 / 20.0;
    let cache = 3.0 * 4.0 * (attended + 1.0) * f64::from(2 * 16 * 4);
    assert!((report["floor_bytes_per_step"]["cache"].as_f64().unwrap() - cache).abs() < 1e-6);
    assert!(folder.traces().is_empty(), "traces of a benchmark are removed");
}

#[test]
fn the_full_cache_evicts_nothing_and_pays_for_no_gates() {
    let folder = Folder::new();
    for flags in [["--budget", "full"], ["--policy", "full"]] {
        let report = bench(&folder, &[&SMALL[..], &flags, &["--record", "off"]].concat());
        assert_eq!((report["policy"].as_str(), &report["budget"]), (Some("full"), &Value::Null));
        assert_eq!(report["floor_bytes_per_step"]["gates"].as_u64(), Some(0));
        assert_eq!(report["tracing_cost"], Value::Null);
        let runs = report["runs"].as_array().unwrap();
        assert_eq!((runs.len(), runs[0]["evicted"].as_u64()), (1, Some(0)));
    }
}

#[test]
fn the_built_in_model_is_timed_with_its_own_weights() {
    let folder = Folder::new();
    let args =
        ["--context", "30", "--generate", "8", "--rounds", "1", "--budget", "16", "--buffer", "4", "--record", "off"];
    let report = bench(&folder, &args);
    assert_eq!((report["model"].as_str(), report["weights"].as_str()), (Some("builtin"), Some("trained")));
    let table = folder.run(&[&["bench", "--device", "cpu"], &args[..]].concat()).done().stdout;
    for word in ["tokens/s", "ms/step", "copying", "evicted", "builtin (trained weights)"] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn kernels_agree_with_the_operations_they_stand_for() {
    let folder = Folder::new();
    for (dtype, allowed) in [("f32", 1e-5), ("bf16", 2e-2), ("f16", 4e-3)] {
        let sizes = ["--batch", "3", "--budget", "16", "--buffer", "8", "--rounds", "1"];
        let report = bench(&folder, &[&["--kernels", "--model", "tiny", "--dtype", dtype], &sizes[..]].concat());
        let kernels = report["kernels"].as_array().unwrap();
        let names: Vec<_> = kernels.iter().map(|kernel| kernel["kernel"].as_str().unwrap()).collect();
        assert_eq!(names, ["swiglu", "arrange_heads", "gate_tail", "attend_one"]);
        for kernel in kernels {
            assert!(kernel["difference"].as_f64().unwrap() <= allowed, "{dtype}: {kernel}");
            assert!(
                kernel["kernel_seconds"].as_f64().unwrap() > 0.0 && kernel["composed_seconds"].as_f64().unwrap() > 0.0
            );
        }
    }
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let folder = Folder::new();
    for (args, words) in [
        (vec!["--model", "gpt2"], vec!["gpt2", "qwen3-4b", "builtin"]),
        (vec!["--budget", "0"], vec!["at least 1", "full"]),
        (vec!["--policy", "r-kv", "--budget", "7"], vec!["r-kv", "at least 9"]),
        (vec!["--generate", "0"], vec!["--generate 0"]),
        (vec!["--batch", "0"], vec!["--batch 0"]),
        (vec!["--kernels", "--generate", "5"], vec!["--kernels", "--generate"]),
        (vec!["--kernels", "--budget", "full", "--context", "0"], vec!["--context 0"]),
        (vec!["--model", "qwen3-8b", "--context", "4000000000", "--budget", "full"], vec!["memory", "cache", "free"]),
    ] {
        folder.refusal(&[vec!["bench", "--device", "cpu"], args].concat(), &words);
    }
}

#[test]
fn every_recorded_run_is_within_the_tolerance_of_its_type() {
    let folder = Folder::new();
    let said = folder.run(&["parity", arg(&golden::root()), "--device", "cpu", "--json"]).done();
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    let runs = report["runs"].as_array().unwrap();
    assert!(runs.len() >= 40 && report["outside"].as_u64() == Some(0));
    for run in runs {
        assert!(run["parting"].is_null() && run["other_tokens"].as_u64() == Some(0), "{run}");
        assert!(run["logits"].as_f64().unwrap() <= 5e-4 && run["log_beta"].as_f64().unwrap() <= 1e-4, "{run}");
        assert_eq!(run["compared"], run["passes"]);
    }
}

/// A check that cannot fail checks nothing.
#[test]
fn another_record_is_told_from_ours() {
    let folder = Folder::new();
    for part in ["models/qwen3-tiny", "checkpoints/qwen3-rg", "cases/qwen3-rg"] {
        folder.copy(&golden::root().join(part), part);
    }
    folder.copy(&golden::root(), ".");
    edit_json(&folder.path("manifest.json"), |manifest| {
        manifest["cases"].as_array_mut().unwrap().retain(|case| case["json"] == "cases/qwen3-rg/alpha.json");
    });
    folder.run(&["parity", ".", "--device", "cpu"]).done();
    edit_json(&folder.path("cases/qwen3-rg/alpha.json"), |case| {
        // After the first cut, one head is said to have kept token 1 and not token 0.
        let kept = &mut case["kept"][0][0][0][0];
        assert_eq!(*kept, 0);
        *kept = 1.into();
    });
    let said = folder.run(&["parity", ".", "--device", "cpu"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("1 heads differ after 40 tokens") && said.stdout.contains("OUTSIDE"), "{said:#?}");
    assert!(said.stdout.contains("0 of 1 runs"), "{said:#?}");
}
