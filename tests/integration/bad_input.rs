//! Whatever cannot be done is refused in one sentence with what to do about it, before anything has a trace's name.

use std::fs;
use std::path::Path;

use candle_core::Tensor;

use crate::golden;
use crate::run::{Folder, arg, edit_json, edit_tensors, truncate};

fn folder() -> Folder {
    Folder::with_prompt("Hello there\n")
}

#[test]
fn a_prompt_that_is_no_text_is_refused() {
    let folder = folder();
    folder.write("empty.txt", " \n\t\n");
    folder.write("latin.txt", [b'a', 0xff, 0xfe, b'b']);
    folder.write("nul.txt", "a\0b");
    truncate(&folder.write("vast.txt", ""), (64 << 20) + 1);
    folder.refusal(&["none.txt"], &["cannot read the prompt none.txt", "No such file"]);
    folder.refusal(&["empty.txt"], &["empty.txt is empty", "write a prompt"]);
    folder.refusal(&["latin.txt"], &["latin.txt is not text", "UTF-8", "give a text file"]);
    folder.refusal(&["nul.txt"], &["nul.txt is not text", "NUL", "give a text file"]);
    folder.refusal(&["vast.txt"], &["vast.txt is over 64 MiB", "give a shorter prompt"]);
    folder.refusal(&["."], &[". is a directory", "give a text file"]);
    let said = folder.run_with_input(&["-"], b"");
    folder.check_refusal(&said, &["standard input is empty"]);
    let said = folder.run_with_input(&["-"], &[0xc3]);
    folder.check_refusal(&said, &["standard input is not text"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_in_numbers() {
    let folder = folder();
    folder.write("long.txt", "word ".repeat(9000));
    folder.refusal(&["long.txt"], &["tokens", "context is 8192", "shorten the prompt"]);
    folder.write_ids("long.json", &[7; 8193]);
    folder.refusal(&["--prompt-ids", "long.json"], &["the prompt has 8193 tokens", "context is 8192"]);
}

#[test]
fn token_ids_that_are_none_are_refused() {
    let folder = folder();
    for (name, content, words) in [
        ("text.json", "hello", ["not a JSON list of token ids", "write one such as [1, 2, 3]"]),
        ("object.json", r#"{"ids": [1]}"#, ["not a JSON list of token ids", "write one such as"]),
        ("cut.json", "[1, 2", ["not a JSON list of token ids", "write one such as"]),
        ("negative.json", "[1, -2]", ["not a JSON list of token ids", "-2"]),
        ("fraction.json", "[1.5]", ["not a JSON list of token ids", "1.5"]),
        ("empty.json", "[]", ["empty.json is an empty list", "write token ids"]),
        ("beyond.json", "[1, 1128]", ["token 1128 at place 1", "vocabulary of 1128"]),
    ] {
        folder.write(name, content);
        folder.refusal(&["--prompt-ids", name], &words);
    }
    folder.refusal(&["--prompt-ids", "none.json"], &["cannot read the prompt none.json"]);
    truncate(&folder.write("vast.json", ""), (64 << 20) + 1);
    folder.refusal(&["--prompt-ids", "vast.json"], &["over 64 MiB"]);
    folder.refusal(&["prompt.txt", "--prompt-ids", "empty.json"], &["cannot be used with", "--prompt-ids"]);
}

#[test]
fn flags_that_ask_for_the_impossible_are_refused() {
    let folder = folder();
    let refused = |flags: &str, words: &[&str]| {
        let args: Vec<&str> = std::iter::once("prompt.txt").chain(flags.split(' ')).collect();
        folder.refusal(&args, words);
    };
    refused("--budget 0", &["--budget 0 keeps nothing", "at least 1"]);
    refused("--budget 8193", &["--budget 8193", "context of 8192", "--policy full"]);
    refused("--budget 8 --sinks 4 --recent 5", &["4 first and 5 recent", "budget is 8", "raise --budget"]);
    refused("--threshold 0", &["--threshold", "between 0 and 1", "not 0"]);
    refused("--threshold 1", &["--threshold", "between 0 and 1"]);
    refused("--threshold -0.5", &["--threshold", "between 0 and 1", "-0.5"]);
    refused("--threshold nan", &["--threshold", "between 0 and 1"]);
    refused("--threshold 0.5 --budget 9", &["--threshold replaces the budget", "leave out"]);
    refused("--threshold 0.5 --policy window", &["--threshold", "policy window does not use"]);
    refused("--floor 2 --scope global", &["--floor", "between 0 and 1", "not 2"]);
    refused("--floor 0.5", &["--floor needs --scope global"]);
    refused("--policy snapkv --budget 8", &["snapkv", "budget of 8", "at least 9"]);
    refused("--policy h2o --budget 20 --sinks 15", &["15 first and 10 recent", "h2o keeps 10 recent ones itself"]);
    refused("--policy tova --scope layer", &["tova", "leave out --scope"]);
    refused("--policy h3o", &["no policy \"h3o\"", "trimkv", "streaming-llm"]);
    refused("--policy full --budget 9", &["full cache evicts nothing", "--budget"]);
    refused("--scope room", &["no scope \"room\"", "head, layer or global"]);
    refused("--prefill-chunk 0", &["--prefill-chunk 0", "at least 1"]);
    refused("--look-ahead 0", &["--look-ahead 0", "at least 1"]);
    refused("--max-new-tokens 0", &["--max-new-tokens 0", "at least 1"]);
    refused("--temperature -1", &["--temperature must be 0", "not -1"]);
    refused("--temperature nan", &["--temperature must be 0"]);
    refused("--temperature inf", &["--temperature must be 0"]);
    refused("--top-p 0", &["--top-p", "(0, 1]", "not 0"]);
    refused("--top-p 1.5", &["--top-p", "(0, 1]", "not 1.5"]);
    refused("--greedy --temperature 1", &["--greedy", "cannot be used with", "--temperature"]);
    refused("--device cuda:x", &["no device \"cuda:x\"", "auto, cpu or cuda:N"]);
    refused("--dtype int4", &["no number type \"int4\"", "auto, f32, f16 or bf16"]);
    refused("--record video", &["'video'", "attention, logits"]);
    refused("--floor-counting guess", &["'guess'", "exact, authors"]);
    refused("--budget -5", &["'-5'", "--budget"]);
    refused("--budget many", &["'many'", "--budget"]);
    refused("--bugdet 5", &["unexpected argument '--bugdet'", "'--budget'"]);
    refused("--json --quiet", &["--json", "cannot be used with", "--quiet"]);
    #[cfg(not(feature = "cuda"))]
    refused("--device cuda:0", &["runs on the CPU only", "--features cuda", "--device cpu"]);
}

#[test]
fn nothing_typed_shows_the_help_as_an_error() {
    let said = folder().run(&[]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("Usage: trimkv-trace"), "{said:#?}");
}

#[test]
fn a_model_that_is_not_there_is_refused_with_what_to_write_instead() {
    let folder = folder();
    let refused = |flags: &[&str], words: &[&str]| folder.refusal(&[&["prompt.txt"], flags].concat(), words);
    refused(&["--model", "gpt2"], &["\"gpt2\" is no model", "owner/name", "ngocbh/TrimKV-Qwen3-4B-Math"]);
    refused(&["--gates", "TrimKV-Qwen3-4B-Maht"], &["did you mean ngocbh/TrimKV-Qwen3-4B-Math?"]);
    refused(&["--model", "./nowhere"], &["./nowhere is missing", "give a directory"]);
    refused(&["--model", "prompt.txt"], &["prompt.txt: not a directory", "give a directory"]);
    fs::create_dir(folder.path("hollow")).unwrap();
    refused(&["--model", "hollow"], &["hollow/config.json is missing", "a model directory holds"]);
    refused(&["--gates", "hollow"], &["hollow/config.json is missing"]);
    refused(&["--policy", "trimkv", "--model", arg(&folder.copy_builtin())], &["none are loaded", "add --gates"]);
}

/// A prompt of ids for the golden models, whose vocabulary is 300.
fn golden_folder() -> Folder {
    let folder = Folder::new();
    folder.write_ids("ids.json", &[5, 6, 7]);
    folder
}

fn refused_model(folder: &Folder, model: &Path, words: &[&str]) {
    folder.refusal(&["--prompt-ids", "ids.json", "--raw", "--model", arg(model)], words);
}

fn refused_gates(folder: &Folder, gates: &Path, words: &[&str]) {
    let base = golden::root().join("models/qwen3-tiny");
    folder.refusal(&["--prompt-ids", "ids.json", "--raw", "--model", arg(&base), "--gates", arg(gates)], words);
}

#[test]
fn a_damaged_configuration_is_named() {
    let folder = golden_folder();
    let model = folder.copy_golden("models/qwen3-tiny");
    let config = model.join("config.json");
    let whole = fs::read_to_string(&config).unwrap();
    fs::write(&config, &whole[..whole.len() / 2]).unwrap();
    refused_model(&folder, &model, &["config.json", "not valid JSON", "fetch it again"]);
    fs::write(&config, whole.replace("qwen3", "mamba")).unwrap();
    refused_model(&folder, &model, &["config.json", "\"mamba\" is not supported", "qwen3, llama and phi3"]);
    fs::write(&config, &whole).unwrap();
    edit_json(&config, |json| drop(json.remove("hidden_size")));
    refused_model(&folder, &model, &["config.json", "not a model configuration", "hidden_size"]);
    fs::write(&config, &whole).unwrap();
    edit_json(&config, |json| drop(json.insert("num_key_value_heads".into(), 3.into())));
    refused_model(&folder, &model, &["config.json", "4 query heads over 3 KV heads"]);
}

#[test]
fn damaged_weights_are_named() {
    let folder = golden_folder();
    let model = folder.copy_golden("models/qwen3-tiny");
    let weights = model.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 100, 8, 3, 0] {
        fs::write(&weights, &whole[..length]).unwrap();
        refused_model(&folder, &model, &["model.safetensors is truncated or damaged", "fetch it again"]);
    }
    fs::write(&weights, [&[0xff; 8], &whole[8..]].concat()).unwrap();
    refused_model(&folder, &model, &["model.safetensors is truncated or damaged"]);
    fs::remove_file(&weights).unwrap();
    refused_model(&folder, &model, &["model.safetensors is missing", "a model directory holds"]);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let folder = golden_folder();
    let fresh = || folder.copy_golden("models/qwen3-tiny");
    let model = fresh();
    edit_tensors(&model, |tensors| drop(tensors.remove("model.layers.1.self_attn.k_proj.weight")));
    refused_model(&folder, &model, &["lacks model.layers.1.self_attn.k_proj.weight", "incomplete"]);
    let model = fresh();
    edit_tensors(&model, |tensors| {
        let wide = tensors["model.norm.weight"].repeat(2).unwrap();
        tensors.insert("model.norm.weight".into(), wide);
    });
    refused_model(&folder, &model, &["model.norm.weight", "shape [128]", "[64]"]);
    let model = fresh();
    edit_tensors(&model, |tensors| poison(tensors.get_mut("model.layers.2.mlp.down_proj.weight").unwrap(), 17));
    refused_model(&folder, &model, &["model.layers.2.mlp.down_proj.weight", "not finite (element 17)", "damaged"]);
    let model = fresh();
    edit_tensors(&model, |tensors| {
        let whole = tensors["model.norm.weight"].to_dtype(candle_core::DType::I64).unwrap();
        tensors.insert("model.norm.weight".into(), whole);
    });
    refused_model(&folder, &model, &["model.norm.weight", "I64", "convert it to float32"]);
}

/// Makes one element NaN.
fn poison(tensor: &mut Tensor, element: usize) {
    let mut values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values[element] = f32::NAN;
    *tensor = Tensor::from_vec(values, tensor.shape(), tensor.device()).unwrap();
}

#[test]
fn damaged_shards_and_their_index_are_named() {
    let folder = golden_folder();
    let fresh = || folder.copy_golden("models/phi3-tiny");
    let model = fresh();
    truncate(&model.join("model-00002-of-00003.safetensors"), 5000);
    refused_model(&folder, &model, &["model-00002-of-00003.safetensors is truncated or damaged", "fetch it again"]);
    fs::remove_file(model.join("model-00002-of-00003.safetensors")).unwrap();
    refused_model(&folder, &model, &["model-00002-of-00003.safetensors is missing", "fetch it again"]);
    let index = model.join("model.safetensors.index.json");
    let whole = fs::read_to_string(&index).unwrap();
    fs::write(&index, &whole[..50]).unwrap();
    refused_model(&folder, &model, &["model.safetensors.index.json is truncated or damaged", "fetch it again"]);
    for hostile in ["../../../../etc/passwd", "/etc/passwd", "sub/model.safetensors", "..", ""] {
        fs::write(&index, &whole).unwrap();
        edit_json(&index, |json| {
            let map = json["weight_map"].as_object_mut().unwrap();
            map.values_mut().next().unwrap().clone_from(&hostile.into());
        });
        refused_model(&folder, &model, &["model.safetensors.index.json", "not a plain file name"]);
    }
}

#[test]
fn gates_that_are_none_are_refused() {
    let folder = golden_folder();
    refused_gates(
        &folder,
        &golden::root().join("models/llama-tiny"),
        &["no retention gate keys", "--model", "--gates"],
    );
    let gates = folder.copy_golden("checkpoints/qwen3-rg");
    edit_json(&gates.join("config.json"), |json| drop(json.insert("retention_gate".into(), "rg99".into())));
    refused_gates(&folder, &gates, &["\"rg99\" is not supported", "rg, rg2, rg3 and rg10"]);
    let gates = folder.copy_golden("checkpoints/qwen3-rg");
    fs::remove_file(gates.join("trimkv_weights.pth")).unwrap();
    refused_gates(&folder, &gates, &["trimkv_weights.pth is missing", "a gate checkpoint holds"]);
    refused_gates(
        &folder,
        &golden::root().join("checkpoints/llama-rg"),
        &["llama", "qwen3", "base model with --model"],
    );
}

#[test]
fn gate_tensors_that_do_not_fit_are_named() {
    let folder = golden_folder();
    let fresh = || folder.copy_golden("checkpoints/qwen3-rg");
    let name = |layer: usize, part: &str| format!("model.layers.{layer}.self_attn.retention_gate.{part}");
    let gates = fresh();
    edit_tensors(&gates, |tensors| {
        tensors.remove(&name(0, "linear1.bias"));
        tensors.remove(&name(2, "linear2.weight"));
    });
    let missing = [name(0, "linear1.bias"), name(2, "linear2.weight")];
    refused_gates(&folder, &gates, &["lacks", &missing[0], &missing[1], "incomplete"]);
    let gates = fresh();
    edit_tensors(&gates, |tensors| {
        let bias = tensors[&name(0, "bias")].clone();
        tensors.insert(name(0, "linear9.bias"), bias.clone());
        tensors.insert(name(7, "bias"), bias);
    });
    refused_gates(&folder, &gates, &[&name(0, "linear9.bias"), &name(7, "bias"), "does not have"]);
    let gates = fresh();
    edit_tensors(&gates, |tensors| drop(tensors.insert(name(1, "bias"), tensors[&name(1, "linear1.bias")].clone())));
    refused_gates(&folder, &gates, &[&name(1, "bias"), "shape [32]", "[2]"]);
    let gates = fresh();
    edit_tensors(&gates, |tensors| poison(tensors.get_mut(&name(1, "linear2.weight")).unwrap(), 3));
    refused_gates(&folder, &gates, &[&name(1, "linear2.weight"), "not finite (element 3)"]);
}

#[test]
fn gate_files_that_are_damaged_or_hold_code_are_refused_unread() {
    let folder = golden_folder();
    let gates = folder.copy_golden("checkpoints/qwen3-rg");
    let file = gates.join("trimkv_weights.pth");
    let whole = fs::read(&file).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pth");
    for code in ["code.pth", "code4.pth"] {
        fs::copy(fixtures.join(code), &file).unwrap();
        refused_gates(
            &folder,
            &gates,
            &["trimkv_weights.pth refers to", "code and not a tensor", "without running it"],
        );
    }
    for length in [whole.len() - 1, whole.len() / 2, 1] {
        fs::write(&file, &whole[..length]).unwrap();
        refused_gates(&folder, &gates, &["trimkv_weights.pth"]);
    }
    fs::write(&file, "").unwrap();
    refused_gates(&folder, &gates, &["trimkv_weights.pth", "not a torch checkpoint"]);
    fs::write(gates.join("trimkv_weights.safetensors"), [7; 90]).unwrap();
    refused_gates(&folder, &gates, &["trimkv_weights.safetensors is truncated or damaged", "fetch it again"]);
}

#[test]
fn a_tokenizer_that_cannot_serve_is_refused_with_the_way_round() {
    let folder = folder();
    let model = folder.copy_builtin();
    fn run<'a>(model: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&["prompt.txt", "--model", arg(model), "--max-new-tokens", "2"], more].concat()
    }
    edit_json(&model.join("tokenizer_config.json"), |json| drop(json.remove("chat_template")));
    folder.refusal(&run(&model, &[]), &["no chat template", "add --raw"]);
    folder.run(&run(&model, &["--raw"])).done();
    let tokenizer = fs::read(model.join("tokenizer.json")).unwrap();
    fs::write(model.join("tokenizer.json"), &tokenizer[..tokenizer.len() / 2]).unwrap();
    folder.refusal(&run(&model, &[]), &["tokenizer.json is damaged", "fetch it again"]);
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    folder.refusal(&run(&model, &["--raw"]), &["no tokenizer.json", "--prompt-ids"]);
    fs::write(model.join("tokenizer.json"), &tokenizer).unwrap();
    fs::write(model.join("tokenizer_config.json"), "{").unwrap();
    folder.refusal(&run(&model, &[]), &["tokenizer_config.json is damaged", "add --raw"]);
    folder.run(&run(&model, &["--raw"])).done();
    fs::write(model.join("tokenizer_config.json"), r#"{"chat_template": "{% frobnicate %}"}"#).unwrap();
    folder.refusal(&run(&model, &[]), &["the model's chat template cannot be used", "add --raw"]);
    folder.run(&run(&model, &["--raw"])).done();
}

#[test]
fn a_flag_without_meaning_is_refused_rather_than_ignored() {
    let folder = folder();
    folder.refusal(&["prompt.txt", "--policy", "full", "--sinks", "3"], &["the full cache", "--sinks"]);
    folder.refusal(
        &["prompt.txt", "--threshold", "0.5", "--floor", "0.5", "--scope", "global"],
        &["--floor", "--threshold"],
    );
    folder.refusal(&["prompt.txt", "--revision", "main"], &["--revision", "hub"]);
}

#[test]
fn a_configuration_may_spell_its_keys_both_ways_and_hide_nothing() {
    let folder = folder();
    let model = folder.copy_builtin();
    let run = ["prompt.txt", "--max-new-tokens", "2", "--model", arg(&model)];
    edit_json(&model.join("config.json"), |json| {
        json.insert("dtype".to_owned(), "float32".into());
        json.insert(
            "rope_scaling".to_owned(),
            serde_json::json!({"rope_type": "linear", "type": "linear", "factor": 2}),
        );
    });
    folder.run(&run).done();
    edit_json(&model.join("config.json"), |json| {
        json.insert("use_sliding_window".to_owned(), true.into());
        json.insert("sliding_window".to_owned(), 8.into());
    });
    let said = folder.run(&run).done();
    assert!(
        said.stderr.contains("warning: this model was trained to attend to its last 8 tokens only"),
        "{}",
        said.stderr
    );
    let gates = folder.copy(&golden::root().join("checkpoints/qwen3-rg"), "gates");
    edit_json(&gates.join("config.json"), |json| {
        json.insert("rope_scaling".to_owned(), serde_json::json!({"rope_type": "yarn", "factor": 4.0}));
    });
    let base = golden::root().join("models/qwen3-tiny");
    folder.write_ids("ids.json", &[1, 2, 3]);
    let wanted = ["--prompt-ids", "ids.json", "--model", arg(&base), "--gates", arg(&gates)];
    folder.refusal(&wanted, &["yarn", "not supported"]);
}

#[test]
fn a_place_that_cannot_hold_the_trace_is_refused() {
    let folder = folder();
    let out = |out: &str, words: &[&str]| folder.refusal(&["prompt.txt", "--max-new-tokens", "1", "--out", out], words);
    folder.write("file", "");
    out("file/trace", &["cannot create file", "choose another place with --out"]);
    out("file/deep/trace", &["cannot create file", "choose another place with --out"]);
    out("file", &["file exists", "choose another name with --out"]);
    out("none/..", &["--out none/.. names no directory"]);
    out("/proc/nowhere/trace", &["cannot create /proc/nowhere", "choose another place with --out"]);
    folder.run(&["prompt.txt", "--max-new-tokens", "1", "--out", "taken"]).done();
    out("taken", &["taken exists", "choose another name with --out", "remove it"]);
    fs::create_dir(folder.path("begun.partial")).unwrap();
    out("begun", &["begun.partial exists", "choose another name with --out", "remove it"]);
}

/// A buffer that no run can fill takes no memory: it only means that nothing is cut.
#[test]
fn a_vast_buffer_is_no_reason_to_run_out_of_memory() {
    let folder = folder();
    let args = ["prompt.txt", "--max-new-tokens", "2", "--budget", "2000", "--buffer", "4000000000", "--out", "trace"];
    folder.run(&args).done();
    assert!(folder.trace("trace").recording.cuts.is_empty());
}

#[test]
fn a_trace_that_is_none_is_refused() {
    let folder = folder();
    folder.refusal(&["heads", "nowhere"], &["nowhere", "there is no such trace"]);
    folder.refusal(&["heads", "."], &["is not a trace", "no manifest.json"]);
    folder.refusal(&["heads", "prompt.txt"], &["prompt.txt is not a trace"]);
}
