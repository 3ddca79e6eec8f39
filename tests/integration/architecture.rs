//! Holds the direction of dependencies: who may use whom, and who may touch what. A new edge is an edit to this table.

use std::path::{Path, PathBuf};

/// A part of the crate, the parts it may use, and the outside it may touch.
struct Part {
    name: &'static str,
    may_use: &'static [&'static str],
    may_touch: &'static [&'static str],
}

const VALUES: &str = "trace values";
const FILES: &str = "trace files";
const DECISIONS: &str = "cache decisions";
const TENSORS: &str = "cache tensors";
/// Tests: what `synth` plants, `analysis` must find. Neither uses the other.
const RECOVERY: &str = "recovery of planted roles";

const PARTS: [Part; 25] = [
    Part { name: "text::class", may_use: &[], may_touch: &[] },
    Part { name: "text", may_use: &["text::class"], may_touch: &["tokenizers", "minijinja", "std::fs"] },
    Part { name: VALUES, may_use: &[], may_touch: &[] },
    Part { name: FILES, may_use: &[VALUES, "text::class"], may_touch: &["polars", "std::fs"] },
    Part { name: "policy", may_use: &[VALUES], may_touch: &[] },
    Part { name: DECISIONS, may_use: &[VALUES, "policy"], may_touch: &[] },
    Part { name: TENSORS, may_use: &[], may_touch: &["candle"] },
    Part {
        name: "model",
        may_use: &[VALUES, TENSORS, "text"],
        may_touch: &["candle", "safetensors", "ureq", "std::fs", "unsafe"],
    },
    Part {
        name: "engine",
        may_use: &[VALUES, "policy", DECISIONS, TENSORS, "model"],
        may_touch: &["candle", "std::fs", "unsafe"],
    },
    Part {
        name: "run",
        may_use: &[VALUES, FILES, "policy", "text", "model", "engine", "size"],
        may_touch: &["std::fs", "std::io"],
    },
    Part { name: "size", may_use: &[], may_touch: &[] },
    Part { name: "bench", may_use: &[VALUES, FILES, "policy", "model", "engine"], may_touch: &["candle"] },
    Part {
        name: "parity",
        may_use: &[VALUES, "policy", DECISIONS, TENSORS, "model", "engine"],
        may_touch: &["candle", "std::fs", "safetensors"],
    },
    Part { name: "corpus", may_use: &[], may_touch: &[] },
    Part {
        name: "evaluation",
        may_use: &[VALUES, "policy", DECISIONS, TENSORS, "model", "engine", "text", "corpus"],
        may_touch: &["candle"],
    },
    Part {
        name: "training",
        may_use: &[FILES, "text", "model", "corpus", "training_log"],
        may_touch: &["candle", "polars", "safetensors", "std::fs"],
    },
    Part { name: "training_log", may_use: &[FILES], may_touch: &["polars", "std::fs"] },
    Part { name: "analysis", may_use: &[VALUES, "text::class"], may_touch: &[] },
    Part { name: "digest", may_use: &[VALUES, FILES, "analysis"], may_touch: &[] },
    Part { name: "report", may_use: &[VALUES, FILES, "text::class", "digest"], may_touch: &[] },
    Part {
        name: "web",
        may_use: &[VALUES, FILES, "text::class", "analysis", "digest", "figures", "report", "policy", "run"],
        may_touch: &["polars", "std::fs"],
    },
    Part { name: "synth", may_use: &[VALUES, "policy", DECISIONS, "text::class"], may_touch: &[] },
    Part { name: "figures", may_use: &[VALUES, "analysis", "training_log", "text::class"], may_touch: &[] },
    Part {
        name: RECOVERY,
        may_use: &[VALUES, "policy", DECISIONS, "text::class", "analysis", "synth"],
        may_touch: &[],
    },
    Part {
        name: "cli",
        may_use: &[
            VALUES,
            FILES,
            "policy",
            "text",
            "model",
            "engine",
            "training",
            "training_log",
            "analysis",
            "synth",
            "figures",
            "text::class",
            "bench",
            "parity",
            "corpus",
            "evaluation",
            "digest",
            "report",
            "size",
            "run",
            "web",
        ],
        may_touch: &["std::fs", "std::io"],
    },
];

/// The part that a module path such as `trace::step` belongs to.
fn part_of(module: &str) -> &'static str {
    let mut names = module.split("::");
    match (names.next().unwrap_or_default(), names.next().unwrap_or_default()) {
        ("trace", "step" | "grid" | "lifetimes" | "manifest" | "recording" | "scope" | "scores" | "check" | "") => {
            VALUES
        }
        ("trace", _) => FILES,
        ("cache", "bounded" | "batch" | "remembered") => TENSORS,
        ("cache", _) => DECISIONS,
        ("synth", "recovery") => RECOVERY,
        ("text", "class" | "classify" | "TokenClass") => "text::class",
        (name, _) => PARTS.iter().map(|part| part.name).find(|known| *known == name).unwrap_or("the crate's root"),
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and its test module.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let backend = Path::new(env!("CARGO_MANIFEST_DIR")).join("backend");
    let mut files = Vec::new();
    sources(&backend, &mut files);
    let mut broken = Vec::new();
    let mut edges = 0;
    for file in &files {
        let relative = file.strip_prefix(&backend).unwrap().with_extension("");
        let module = relative.to_string_lossy().replace('/', "::");
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let own = part_of(module.trim_end_matches("::mod"));
        let part = PARTS.iter().find(|part| part.name == own).unwrap();
        let code = code(file);
        for used in code.split("crate::").skip(1) {
            let path: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            let used = part_of(&path);
            edges += 1;
            if used != own && !part.may_use.contains(&used) {
                broken.push(format!("{module} ({own}) uses crate::{path} ({used})"));
            }
        }
        for outside in ["candle", "polars", "tokenizers", "minijinja", "safetensors::", "ureq", "std::fs", "unsafe {"] {
            let name = outside.trim_end_matches([':', ' ', '{']);
            if code.contains(outside) && !part.may_touch.contains(&name) && !touches_by_name_only(&code, outside) {
                broken.push(format!("{module} ({own}) touches {name}"));
            }
        }
    }
    assert!(edges > 50, "the test no longer finds the code");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether a name appears only in feature gates or strings, as `feature = "..."` does.
fn touches_by_name_only(code: &str, name: &str) -> bool {
    code.lines().filter(|line| line.contains(name)).all(|line| line.contains('"'))
}

#[test]
fn one_place_writes_to_the_standard_streams_and_five_are_unsafe() {
    let backend = Path::new(env!("CARGO_MANIFEST_DIR")).join("backend");
    let mut files = Vec::new();
    sources(&backend, &mut files);
    let with = |what: &str| -> Vec<String> {
        let found = files.iter().filter(|file| code(file).contains(what));
        found.map(|file| file.strip_prefix(&backend).unwrap().display().to_string()).collect()
    };
    assert_eq!(with("io::stdout()"), ["cli/printer.rs"]);
    let mut unsafe_files = with("unsafe {");
    unsafe_files.sort();
    assert_eq!(
        unsafe_files,
        ["engine/cuda.rs", "engine/device.rs", "model/captured/cuda.rs", "model/kernels/launch.rs", "model/weights.rs"]
    );
}
