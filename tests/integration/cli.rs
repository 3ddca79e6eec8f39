//! What the program prints, where, and how it repeats itself.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::step::Origin;

use trimkv_trace::policy::PolicyKind;

use crate::golden;
use crate::run::{Folder, arg};

const PROMPT: &str = "The bridge near the blue gate is open. Tom took 3 red keys and 4 green keys. Where is the dog?\n";

fn folder() -> Folder {
    Folder::with_prompt(PROMPT)
}

/// What changes from run to run: speeds.
fn with_filters(check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[\d,]+ tokens/s", "[SPEED] tokens/s");
    settings.add_filter(r"next      \S+ heads", "next      trimkv-trace heads");
    settings.bind(check);
}

fn text_of(trace: &Trace, origin: Origin) -> String {
    let tokens = trace.recording.tokens.iter().filter(|token| token.origin == origin);
    tokens.filter_map(|token| token.text.as_deref()).collect()
}

#[test]
fn help_leads_with_examples_and_fits_eighty_columns() {
    let said = folder().run(&["--help"]).done();
    assert_eq!(said.stderr, "");
    assert!(said.stdout.starts_with("Examples:"));
    let wide: Vec<&str> = said.stdout.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    insta::assert_snapshot!("help", said.stdout);
    for verb in ["heads", "check", "synth"] {
        let said = folder().run(&[verb, "--help"]).done().stdout;
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        insta::assert_snapshot!(format!("help_{verb}"), said);
    }
}

#[test]
fn text_goes_to_stdout_and_the_summary_to_stderr() {
    let folder = folder();
    let said = folder.run(&["prompt.txt", "--policy", "window", "--max-new-tokens", "40", "--out", "trace"]).done();
    let trace = folder.trace("trace");
    let text = text_of(&trace, Origin::Generated);
    assert_eq!(said.stdout, format!("{}\n", text.trim_end_matches("<|im_end|>")));
    assert!(text_of(&trace, Origin::Prompt).contains(PROMPT.trim_end()));
    assert!(trace.recording.tokens.iter().any(|token| token.role == Some("assistant")));
}

/// A golden run, whose numbers are far from any rounding that could differ between machines.
fn golden_run(folder: &Folder, more: &[&str]) -> crate::run::Said {
    let case: golden::Case = golden::json("cases/qwen3-rg/alpha.json");
    folder.write_ids("ids.json", &case.prompt);
    folder.copy(&golden::root().join("models/qwen3-tiny"), "models/qwen3-tiny");
    folder.copy(&golden::root().join("checkpoints/qwen3-rg"), "checkpoints/qwen3-rg");
    let args = ["--prompt-ids", "ids.json", "--gates", "checkpoints/qwen3-rg", "--budget", "16", "--buffer", "8"];
    folder.run(&[&args[..], &["--ignore-eos", "--max-new-tokens", "61", "--out", "trace"], more].concat()).done()
}

#[test]
fn the_summary_says_what_was_evicted_and_what_to_type_next() {
    let folder = Folder::new();
    let said = golden_run(&folder, &[]);
    with_filters(|| insta::assert_snapshot!("summary", said.stderr));
    let heads = folder.run(&["heads", "trace"]).done();
    assert_eq!(heads.stderr, "");
    insta::assert_snapshot!("heads", heads.stdout);

    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&folder.run(&["heads", "trace", "--json"]).done().stdout).unwrap();
    let trace = folder.trace("trace");
    assert_eq!(rows.len(), trace.recording.lifetimes.shape().heads());
    for (row, head) in rows.iter().zip(trace.recording.lifetimes.shape().iter()) {
        assert_eq!((row["layer"].as_u64(), row["head"].as_u64()), (Some(head.layer.into()), Some(head.head.into())));
        let kept = trace.recording.lifetimes.departures(head).filter(Option::is_none).count();
        assert_eq!(row["kept"].as_u64(), Some(kept as u64));
    }
    let csv = folder.run(&["heads", "trace", "--csv"]).done().stdout;
    assert_eq!(csv.lines().count(), rows.len() + 1);
    let columns = csv.lines().next().unwrap().split(',').count();
    assert!(columns > 70, "{csv}");
}

#[test]
fn a_cache_that_is_never_cut_says_how_much_of_its_room_is_filled() {
    let said = folder().run(&["prompt.txt", "--policy", "full", "--max-new-tokens", "3"]).done();
    let cache = said.stderr.lines().find(|line| line.starts_with("cache")).unwrap();
    insta::assert_snapshot!(cache, @"cache     342 KiB with room to grow, 252 KiB of it filled");
}

#[test]
fn json_says_what_the_trace_says() {
    let folder = folder();
    let said = folder.run(&["prompt.txt", "--json", "--budget", "24", "--buffer", "4", "--out", "trace"]).done();
    assert_eq!(said.stderr, "");
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let trace = folder.trace("trace");
    let (tokens, last) = (&trace.recording.tokens, trace.recording.steps.last().unwrap());
    let evicted: u64 = trace.recording.steps.iter().map(|step| step.evicted).sum();
    let cuts = trace.recording.steps.iter().filter(|step| step.evicted > 0).count() as u64;
    assert!(evicted > 0);
    assert_eq!(json["trace"], "trace");
    assert_eq!(json["complete"], true);
    assert_eq!(json["error"], serde_json::Value::Null);
    for (key, expected) in [
        ("prompt_tokens", u64::from(trace.manifest.prompt.tokens)),
        ("generated_tokens", u64::from(trace.manifest.generated.tokens)),
        ("tokens_seen", u64::from(trace.manifest.seen)),
        ("evicted", evicted),
        ("cuts", cuts),
        ("cached", last.cached),
        ("cache_bytes", trace.manifest.bytes.cache_now),
        ("cache_peak_bytes", trace.manifest.bytes.cache_peak),
        ("cache_full_bytes", trace.manifest.bytes.cache_full),
    ] {
        assert_eq!(json[key].as_u64(), Some(expected), "{key}");
    }
    let ids: Vec<u64> = json["token_ids"].as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).collect();
    let prompt = trace.manifest.prompt.tokens as usize;
    assert_eq!(ids, tokens[prompt..].iter().map(|token| u64::from(token.id)).collect::<Vec<_>>());
    assert_eq!(json["text"], text_of(&trace, Origin::Generated));
    assert_eq!(json["stop"].as_str(), trace.manifest.generated.stop.as_deref());
    assert_eq!(json["policy"]["budget"], 24);
}

#[test]
fn quiet_prints_the_path_alone() {
    let folder = folder();
    let said = folder.run(&["prompt.txt", "--quiet", "--max-new-tokens", "3"]).done();
    assert_eq!(said.stderr, "");
    let path = said.stdout.strip_suffix('\n').unwrap();
    assert!(path.starts_with("traces/prompt-") && !path.contains('\n'), "{path:?}");
    assert_eq!(folder.trace(path).manifest.id, path.trim_start_matches("traces/"));
    // Runs within one second get names of their own, and a folder that exists holds the trace.
    let again = folder.run(&["prompt.txt", "-q", "--max-new-tokens", "3", "-o", "traces"]).done();
    assert_ne!(again.stdout, said.stdout);
    assert_eq!(folder.traces().len(), 2);
}

#[test]
fn a_prompt_may_come_from_standard_input() {
    let folder = folder();
    let args = |out| ["-", "--max-new-tokens", "9", "--out", out];
    let piped = folder.run_with_input(&args("piped"), PROMPT.as_bytes()).done();
    let read = folder.run(&["prompt.txt", "--max-new-tokens", "9", "--out", "read"]).done();
    assert_eq!(piped.stdout, read.stdout);
    let [piped, read] = ["piped", "read"].map(|name| folder.trace(name));
    assert_eq!(piped.recording.tokens, read.recording.tokens);
    assert_eq!(piped.manifest.prompt.sha256, read.manifest.prompt.sha256);
    assert_eq!((piped.manifest.prompt.file, read.manifest.prompt.file.as_deref()), (None, Some("prompt.txt")));
    let named = folder.run_with_input(&["-", "-q", "--max-new-tokens", "1"], b"Hi").done();
    assert!(named.stdout.starts_with("traces/stdin-"), "{}", named.stdout);
}

#[test]
fn a_reader_that_leaves_early_does_not_stop_the_run() {
    let folder = folder();
    let args = ["prompt.txt", "--ignore-eos", "--max-new-tokens", "120", "--out", "trace"];
    let mut child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 5];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut first).unwrap();
    drop(pipe);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let trace = folder.trace("trace");
    assert_eq!(trace.manifest.generated.tokens, 120);
    assert!(text_of(&trace, Origin::Generated).as_bytes().starts_with(&first));
}

#[test]
fn nothing_is_coloured_where_nobody_looks() {
    let folder = folder();
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "xterm-256color")] {
        let args = ["prompt.txt", "--max-new-tokens", "2", "--scope", "global"];
        let ended = folder.command(&args).env(variable, value).output().unwrap();
        assert!(!ended.stderr.contains(&0x1b) && !ended.stdout.contains(&0x1b));
        assert!(String::from_utf8(ended.stderr).unwrap().contains("warning: these gates were trained per head"));
        let help = folder.command(&["--help"]).env(variable, value).output().unwrap();
        assert!(!help.stdout.contains(&0x1b));
    }
}

/// The bytes of every file that must repeat: all tables but `steps`, which holds times.
fn repeatable(folder: &Folder, trace: &str) -> Vec<(&'static str, Vec<u8>)> {
    let names = ["tokens.parquet", "lifetimes.parquet", "cuts.parquet", "attention.parquet", "logits.safetensors"];
    names.map(|name| (name, fs::read(folder.path(trace).join(name)).unwrap())).into()
}

#[test]
fn a_seed_repeats_its_run_byte_for_byte_and_another_seed_does_not() {
    let folder = folder();
    let run = |seed: &str, out: &str, policy: &str| {
        let args = ["prompt.txt", "--temperature", "1.2", "--top-p", "0.95", "--seed", seed, "--out", out];
        let more = ["--policy", policy, "--max-new-tokens", "40", "--ignore-eos", "--record", "attention,logits"];
        folder.run(&[&args[..], &more].concat()).done();
    };
    for policy in ["trimkv", "random"] {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{policy}-{name}"));
        run("5", &a, policy);
        run("5", &b, policy);
        run("6", &c, policy);
        assert_eq!(repeatable(&folder, &a), repeatable(&folder, &b));
        let ids = |name: &str| folder.trace(name).recording.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
        assert_ne!(ids(&a), ids(&c));
        let drawn = folder.trace(&a).recording.tokens;
        let drawn = drawn.iter().filter(|token| token.origin == Origin::Generated);
        assert!(drawn.clone().all(|t| t.logprob.unwrap() <= 0.0 && t.entropy.unwrap() >= 0.0));
    }
}

#[test]
fn refusals_read_well() {
    let folder = folder();
    let budget = folder.refusal(&["prompt.txt", "--budget", "9999"], &[]);
    insta::assert_snapshot!(budget, @"error: --budget 9999 is more than the model's context of 8192 tokens; nothing would ever be evicted (--policy full says so plainly)");
    let gates = folder.refusal(&["prompt.txt", "--gates", "TrimKV-Qwen3-4B"], &[]);
    insta::assert_snapshot!(gates, @r#"error: there is no checkpoint "TrimKV-Qwen3-4B": did you mean ngocbh/TrimKV-Qwen3-4B-Math?"#);
    let flag = folder.refusal(&["prompt.txt", "--polcy", "window"], &[]);
    insta::assert_snapshot!(flag, @"error: unexpected argument '--polcy' found; tip: a similar argument exists: '--policy'; see trimkv-trace --help");
    let policy = folder.refusal(&["prompt.txt", "--policy", "h3o"], &[]);
    insta::assert_snapshot!(policy, @r#"error: invalid value 'h3o' for '--policy <NAME>': there is no policy "h3o"; choose trimkv, trimkv-knorm, full, window, streaming-llm, h2o, snapkv, r-kv, tova, keydiff, knorm or random"#);
}

#[test]
fn the_version_is_the_packages() {
    let said = folder().run(&["--version"]).done();
    assert_eq!(said.stdout, format!("trimkv-trace {}\n", env!("CARGO_PKG_VERSION")));
}

/// Every policy runs from the command line and says in the manifest what it was.
#[test]
fn every_policy_can_be_asked_for() {
    let folder = folder();
    for policy in PolicyKind::ALL.map(PolicyKind::as_str) {
        folder
            .run(&["prompt.txt", "--policy", policy, "--max-new-tokens", "120", "--ignore-eos", "--out", policy])
            .done();
        let trace = folder.trace(policy);
        assert_eq!(trace.manifest.policy.name, policy);
        assert_eq!(trace.recording.cuts.is_empty(), policy == "full");
        // Gates were loaded, so what they say is recorded whoever decides.
        let lives = &trace.recording.lifetimes;
        assert!(lives.shape().iter().all(|head| lives.log_beta(head).len() == lives.seen() as usize));
    }
    let model = folder.copy_builtin();
    folder.run(&["prompt.txt", "--model", arg(&model), "--max-new-tokens", "2", "--out", "plain"]).done();
    let plain = folder.trace("plain");
    assert_eq!((plain.manifest.policy.name.as_str(), plain.manifest.gates), ("full", None));
}

/// Two policies over one prompt; a run and itself; runs that cannot be compared.
#[test]
fn two_runs_are_compared_over_the_text_they_share() {
    let folder = folder();
    for (policy, chunk) in [("trimkv", "8"), ("snapkv", "8"), ("window", "8")] {
        let flags =
            ["--budget", "24", "--buffer", "4", "--prefill-chunk", chunk, "--max-new-tokens", "40", "--ignore-eos"];
        folder.run(&[&["prompt.txt", "--policy", policy, "--out", policy], &flags[..]].concat()).done();
    }
    let note = |policy: &str| folder.run(&["heads", policy]).done().stderr;
    assert!(note("snapkv").contains("which the policy snapkv does not look at") && !note("trimkv").contains("look at"));
    let table = folder.run(&["compare", "trimkv", "snapkv"]).done().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for words in [
        "A  trimkv: trimkv, budget 24 + buffer 4",
        "B  snapkv: snapkv",
        "tokens in common",
        "L5H3",
        "held by more heads of A",
    ] {
        assert!(table.contains(words), "{table}");
    }
    let json = |a: &str, b: &str| -> serde_json::Value {
        serde_json::from_str(&folder.run(&["compare", a, b, "--json"]).done().stdout).unwrap()
    };
    let same = json("trimkv", "trimkv");
    assert_eq!(same["parts"], false);
    assert!(same["heads"].as_array().unwrap().iter().all(|head| head["overlap"] == 1.0 && head["lives"] == 1.0));
    assert!(same["disputed"].as_array().unwrap().iter().all(|side| side.as_array().unwrap().is_empty()));

    // By hand, from the traces: what both hold after the last token that they share.
    let report = json("trimkv", "window");
    let traces = ["trimkv", "window"].map(|name| folder.trace(name));
    let common = report["tokens"].as_u64().unwrap() as u32;
    let ids = traces.each_ref().map(|trace| trace.recording.tokens.iter().map(|token| token.id).collect::<Vec<_>>());
    let same = ids[0].iter().zip(&ids[1]).take_while(|(a, b)| a == b).count() as u32;
    let seen = traces.each_ref().map(|trace| trace.recording.lifetimes.seen());
    assert_eq!((common, report["parts"].as_bool()), (same.min(seen[0]).min(seen[1]), Some(same < 1 + seen[0])));
    for (head, row) in traces[0].recording.lifetimes.shape().iter().zip(report["heads"].as_array().unwrap()) {
        let kept = traces.each_ref().map(|trace| trace.recording.lifetimes.cached_after(head, common));
        let shared = kept[0].iter().filter(|position| kept[1].contains(position)).count();
        assert_eq!(row["head"], head.to_string());
        assert_eq!(row["shared"], shared);
        assert_eq!(row["kept"], serde_json::json!([kept[0].len(), kept[1].len()]));
        let overlap = shared as f64 / (kept[0].len() + kept[1].len() - shared) as f64;
        assert!((row["overlap"].as_f64().unwrap() - overlap).abs() < 1e-12);
    }

    fs::write(folder.path("other.txt"), "Meg has 7 apples. How many apples does Meg have?").unwrap();
    folder.run(&["other.txt", "--max-new-tokens", "2", "--out", "elsewhere"]).done();
    let said = folder.run(&["compare", "trimkv", "elsewhere"]).done();
    assert!(said.stderr.contains("the prompts part after 4 tokens"), "{}", said.stderr);

    folder.run(&["synth", "--out", "other", "--tokens", "400", "--plant", "window"]).done();
    folder.refusal(&["compare", "trimkv", "other"], &["only runs of one model", "layers of"]);
    fs::write(folder.path("another.txt"), "Mia has 3 eggs.").unwrap();
    folder.run(&["another.txt", "--raw", "--max-new-tokens", "2", "--out", "raw"]).done();
    folder.refusal(&["compare", "trimkv", "raw"], &["begin with different tokens", "same text"]);
    folder.refusal(&["compare", "trimkv", "nothing"], &["nothing"]);
}
