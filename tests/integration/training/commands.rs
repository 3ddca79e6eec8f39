//! `trimkv-trace train` as people run it: on the built-in model, from files, through interruptions and full disks.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trimkv_trace::trace::tables::read_parquet;

use crate::interruptions::SmallDisk;
use crate::run::{Folder, Said, edit_json};

/// Small conversations with something to remember, and nothing to remember in between.
fn conversations(count: usize) -> String {
    let conversation = |place: usize| {
        let code = format!("{} {} {}", place % 10, (place * 7) % 10, (place * 3) % 10);
        let filler = "The bridge near the gate is open. ".repeat(4 + place % 3);
        json!({"messages": [
            {"role": "user", "content": format!("The code of the red box is {code}. {filler}What is the code?")},
            {"role": "assistant", "content": format!("The answer is {code}.")},
        ]})
    };
    (0..count).map(|place| format!("{}\n", conversation(place))).collect()
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("docs.jsonl", conversations(6));
    folder
}

const SMALL: [&str; 11] =
    ["train", "--data", "docs.jsonl", "--budget", "8", "--steps", "2", "--rows", "2", "--context", "96"];

fn train(folder: &Folder, more: &[&str]) -> Said {
    folder.run(&[&SMALL, more].concat())
}

fn refusal(folder: &Folder, more: &[&str], words: &[&str]) {
    folder.refusal(&[&SMALL, ["-o", "gates"].as_slice(), more].concat(), words);
    assert!(!folder.path("gates").exists(), "a refused run left gates behind");
}

#[test]
fn gates_are_trained_for_the_built_in_model_and_used_by_a_run() {
    let folder = folder();
    let said = train(&folder, &["-o", "gates", "--loss-on", "answers"]).done();
    assert_eq!(said.stdout, "gates\n");
    for words in ["kl", "capacity", "2 steps", "tokens/s", "trimkv-trace prompt.txt --gates gates"] {
        assert!(said.stderr.contains(words), "{said:#?}");
    }
    let config: Value = serde_json::from_str(&fs::read_to_string(folder.path("gates/config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("base_model", json!("builtin")),
        ("retention_gate", json!("rg")),
        ("retention_gate_intermediate_size", json!(64)),
        ("memory_size", json!(8)),
        ("compress_strategy", json!("alpha")),
        ("trainable_params", json!("retention_gate")),
        ("hidden_size", json!(192)),
        ("architectures", json!(["TrimKVQwen3ForCausalLM"])),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let steps = read_parquet(&folder.path("gates/training.parquet")).unwrap();
    let layers = read_parquet(&folder.path("gates/training_layers.parquet")).unwrap();
    assert_eq!((steps.height(), layers.height()), (2, 2 * 6));

    folder.write("prompt.txt", "Where is the red box?");
    folder.run(&["prompt.txt", "--gates", "gates", "--max-new-tokens", "40", "-o", "trace"]).done();
    let trace = folder.trace("trace");
    assert_eq!(trace.manifest.gates.as_ref().unwrap().source, "gates");
    assert_eq!(trace.manifest.model.name, "builtin");
}

#[test]
fn what_a_run_says_follows_its_flags() {
    let folder = folder();
    let said = train(&folder, &["-o", "quiet", "-q"]).done();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("quiet\n", ""));
    let said = train(&folder, &["-o", "json", "--json"]).done();
    assert_eq!(said.stderr, "");
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&told["status"], &told["steps"], &told["gates"]), (&json!("complete"), &json!(2), &json!("json")));
    assert!(told["tokens_per_second"].as_f64().unwrap() > 0.0 && told["kl"].is_number());
    // The same run, twice.
    let gates = |name: &str| fs::read(folder.path(name).join("trimkv_weights.pth")).unwrap();
    assert_eq!(gates("quiet"), gates("json"));
    let help = folder.run(&["train", "--help"]).done().stdout;
    assert!(help.starts_with("Examples:"));
    let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn texts_come_from_lines_ids_or_a_folder_packed_or_not() {
    let folder = Folder::new();
    let story = "The bridge near the gate is open. Nobody came. ".repeat(3);
    folder.write("texts/a.txt", &story);
    folder.write("texts/b.txt", "The red dog is here.");
    let ids: Vec<u32> = (0..60).map(|i| 300 + i % 50).collect();
    folder.write(
        "docs.jsonl",
        format!("{}\n\n{}\n", json!({"text": story, "source": "kept aside"}), json!({"ids": ids})),
    );
    train(&folder, &["-o", "lines", "-q"]).done();
    let said = folder.run(&[
        "train",
        "--data",
        "texts",
        "--pack",
        "--context",
        "20",
        "--budget",
        "6",
        "--steps",
        "1",
        "-o",
        "packed",
        "--json",
    ]);
    let told: Value = serde_json::from_str(&said.done().stdout).unwrap();
    // Four rows a step, each of the full context but for one that ends the folder.
    assert!((61..=80).contains(&told["tokens"].as_u64().unwrap()), "{told}");
}

#[test]
fn data_that_teaches_nothing_is_refused_by_line() {
    let folder = folder();
    let with = |content: &str, more: &[&str], words: &[&str]| {
        folder.write("docs.jsonl", content);
        refusal(&folder, more, words);
    };
    let good = json!({"text": "The red dog is here. ".repeat(9)});
    with("", &[], &["docs.jsonl", "no document of two tokens", "give texts"]);
    with("\n \n", &[], &["docs.jsonl", "no document of two tokens"]);
    with(&format!("{good}\n{{\"text\": \"cut\n{good}\n"), &[], &["docs.jsonl line 2", "not JSON"]);
    with(&format!("{good}\n\n{{\"words\": 3}}\n"), &[], &["docs.jsonl line 3", "it needs {\"text\""]);
    let role = json!({"messages": [{"role": "robot", "content": "hi"}]});
    with(&format!("{good}\n{role}\n"), &[], &["line 2", "roles system, user and assistant"]);
    with("{\"ids\": [1, 2, 1128]}\n", &[], &["line 1", "token 1128", "vocabulary of 1128"]);
    with(&format!("{good}\n"), &["--loss-on", "answers"], &["no token of it is an assistant's", "--loss-on all"]);
    folder.write("docs.jsonl", [b'{', 0xff]);
    refusal(&folder, &[], &["not text", "UTF-8"]);
    fs::remove_file(folder.path("docs.jsonl")).unwrap();
    refusal(&folder, &[], &["cannot read docs.jsonl", "No such file"]);
}

#[test]
fn settings_that_cannot_train_are_refused() {
    let folder = folder();
    for (flags, words) in [
        ("--context 16384", ["--context 16384 is longer than the model's 8192", "at most 8192"]),
        ("--budget 96", ["--budget 96 must lie between 1 and --context 96", "teaches nothing"]),
        ("--budget 0", ["--budget 0 must lie", "teaches nothing"]),
        ("--budget 90", ["the longest document has", "smaller --budget"]),
        ("--steps 0", ["--steps", "at least 1"]),
        ("--learning-rate 0", ["--learning-rate", "nothing is learned"]),
        ("--learning-rate nan", ["--learning-rate must be 0 or more", "NaN"]),
        ("--kl-weight -1", ["--kl-weight must be 0 or more", "-1"]),
        ("--gate rg7", ["retention gate \"rg7\" is not supported", "rg10"]),
        ("--capacity none", ["there is no capacity loss \"none\"", "authors, paper or tokens"]),
        ("--kl-weight 0 --ntp-weight 0 --capacity-weight 0", ["all loss weights are 0", "nothing to learn"]),
        ("--max-documents 0", ["no document of two tokens", "give texts"]),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        // clap takes a flag once, so those of the small run that are asked for anew are left out.
        let kept: Vec<&str> = std::iter::once("train")
            .chain(SMALL[1..].chunks(2).filter(|pair| !flags.contains(&pair[0])).flatten().copied())
            .chain(["-o", "gates"])
            .chain(flags.iter().copied())
            .collect();
        folder.refusal(&kept, &words);
        assert!(!folder.path("gates").exists());
    }
    folder.write("gates/config.json", "{}");
    folder.refusal(&[&SMALL, ["-o", "gates"].as_slice()].concat(), &["gates exists", "--resume"]);
    folder.refusal(&["train", "--resume", "gates"], &["gates cannot be resumed", "no state.safetensors"]);
    folder.refusal(&["train", "-o", "other"], &["--data"]);
}

#[test]
fn gates_go_on_from_a_checkpoint_of_their_own_base_only() {
    let folder = folder();
    train(&folder, &["-o", "first", "-q"]).done();
    // One step of the smallest rate: the gates are all but the ones that were given.
    let more = ["--gates", "first", "--learning-rate", "1e-9", "--floor-rate", "0", "-o", "second", "-q"];
    train(&folder, &more).done();
    let gates = |name: &str| trimkv_trace::model::pth::read(&folder.path(name).join("trimkv_weights.pth")).unwrap();
    for (name, tensor) in gates("first") {
        let other = &gates("second")[&name];
        let difference = (tensor - other).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-6, "{name} moved by {difference}");
    }
    edit_json(&folder.path("first/config.json"), |config| {
        config.insert("num_hidden_layers".into(), json!(4));
    });
    let args = ["--gates", "first", "--model", "builtin", "-o", "third"];
    folder.refusal(&[&SMALL, args.as_slice()].concat(), &["these gates are for", "own base model"]);
    let args = ["--gates", "second", "--gate-width", "32", "-o", "third"];
    folder.refusal(&[&SMALL, args.as_slice()].concat(), &["has shape [64, 192]", "asks for [32, 192]"]);
}

/// A run that goes on until it is stopped, and has saved at least once since it began.
struct Running(std::process::Child);

impl Running {
    fn start(folder: &Folder) -> Self {
        let long = ["--steps", "100000", "--rows", "1", "--save-every", "1", "-o", "gates"];
        let args: Vec<&str> = SMALL[..5].iter().chain(&SMALL[9..]).chain(&long).copied().collect();
        let child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !folder.path("gates/training.parquet").exists() {
            assert!(Instant::now() < deadline, "the run saved nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    fn stop(self, signal: &str) -> Said {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.0.wait_with_output().unwrap().into()
    }
}

fn loads(folder: &Folder) {
    folder.write("prompt.txt", "Where is the red box?");
    let name = format!("trace{}", folder.traces().len());
    folder.run(&["prompt.txt", "--gates", "gates", "--max-new-tokens", "2", "-o", &name]).done();
}

#[test]
fn a_stopped_run_is_saved_and_goes_on() {
    let folder = folder();
    let said = Running::start(&folder).stop("-INT");
    assert_eq!(said.code, Some(130), "{said:#?}");
    assert!(said.stderr.contains("(interrupted)") && said.stderr.contains("train --resume gates"), "{said:#?}");
    loads(&folder);
    let mut again = folder.command(&["train", "--resume", "gates"]);
    let child = again.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let before = fs::metadata(folder.path("gates/state.safetensors")).unwrap().modified().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::metadata(folder.path("gates/state.safetensors")).unwrap().modified().unwrap() == before {
        assert!(Instant::now() < deadline, "the resumed run saved nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(Running(child).stop("-TERM").code, Some(130));
}

/// Killed at many moments, most of them in the middle of a save, as this run does little else.
#[test]
fn a_killed_run_leaves_gates_that_load_and_a_state_that_goes_on() {
    let folder = folder();
    for pause in [0, 7, 13, 21, 34] {
        if folder.path("gates").exists() {
            fs::remove_dir_all(folder.path("gates")).unwrap();
        }
        let running = Running::start(&folder);
        std::thread::sleep(Duration::from_millis(pause));
        assert_eq!(running.stop("-KILL").code, None);
        loads(&folder);
        let pth = folder.path("gates/trimkv_weights.pth");
        assert!(!trimkv_trace::model::pth::read(&pth).unwrap().is_empty());
        let child = folder
            .command(&["train", "--resume", "gates"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let said = Running(child).stop("-INT");
        assert!(said.stderr.is_empty() || !said.stderr.contains("error"), "{said:#?}");
    }
}

fn train_on_disk(kib: u32) -> Option<Said> {
    let folder = folder();
    let _disk = SmallDisk::mount(&folder.path("disk"), kib)?;
    let said = train(&folder, &["--save-every", "1", "-q", "-o", "disk/gates"]);
    if said.code != Some(0) {
        assert_eq!((said.code, said.stderr.lines().count()), (Some(1), 1), "{kib} KiB: {said:#?}");
        for words in ["error: ", "is full", "make room", "--resume"] {
            assert!(said.stderr.contains(words), "{kib} KiB: {said:#?}");
        }
        if folder.path("disk/gates").exists() {
            let gates = folder.path("disk/gates");
            assert!(!trimkv_trace::model::pth::read(&gates.join("trimkv_weights.pth")).unwrap().is_empty());
            assert!(!has_leftover(&gates), "{kib} KiB");
        } else {
            assert!(!folder.path("disk/gates.partial").exists(), "{kib} KiB");
        }
    }
    Some(said)
}

fn has_leftover(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().any(|file| file.unwrap().file_name().to_string_lossy().ends_with(".tmp"))
}

#[test]
fn a_full_disk_is_one_error_and_loses_nothing() {
    let codes: Vec<_> =
        [100, 600, 1300, 1500, 1700, 9000].into_iter().map_while(train_on_disk).map(|said| said.code).collect();
    println!("{codes:?}");
    assert!(codes.is_empty() || (codes.contains(&Some(1)) && codes.last() == Some(&Some(0))), "{codes:?}");
}
