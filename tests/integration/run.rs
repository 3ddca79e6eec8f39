//! Runs the program itself, in a folder of its own, away from the user's settings.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use candle_core::Tensor;
use tempfile::TempDir;
use trimkv_trace::trace::read::Trace;

use crate::golden;

/// Nothing listens there, and nothing leaves the machine.
pub const NOWHERE: &str = "http://127.0.0.1:9";
/// Every variable by which the hub's settings are changed.
const HUB_VARIABLES: [&str; 8] = [
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_HUB_OFFLINE",
    "NO_COLOR",
    "XDG_CACHE_HOME",
];

/// A folder to run the program in.
pub struct Folder {
    dir: TempDir,
}

/// What a run said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// What a run that must succeed said.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With a text prompt in `prompt.txt`.
    pub fn with_prompt(text: &str) -> Self {
        let folder = Self::new();
        folder.write("prompt.txt", text);
        folder
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Token ids in a file, as `--prompt-ids` reads them.
    pub fn write_ids(&self, name: &str, ids: &[u32]) -> PathBuf {
        self.write(name, serde_json::to_string(ids).unwrap())
    }

    /// The program, about to run here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimkv-trace"));
        for name in HUB_VARIABLES {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", NOWHERE).env("HF_HOME", self.path("hf")).env("COLUMNS", "80");
        command.args(args).current_dir(self.root()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs it with something on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Said {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that refuses early need not read to the end.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap().into()
    }

    /// The one sentence with which the program refuses, without the word before it; it must hold every one of `words`
    /// and leave nothing behind that could be taken for a trace.
    #[track_caller]
    pub fn refusal(&self, args: &[&str], words: &[&str]) -> String {
        let before = self.traces();
        let said = self.run(args);
        self.check_refusal(&said, words);
        assert_eq!(self.traces(), before, "a refused run left something behind: {said:#?}");
        said.stderr
    }

    #[track_caller]
    pub fn check_refusal(&self, said: &Said, words: &[&str]) {
        assert_eq!(said.code, Some(1), "{said:#?}");
        assert_eq!(said.stdout, "", "{said:#?}");
        assert_eq!(said.stderr.lines().count(), 1, "{said:#?}");
        let sentence = said.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{said:#?}"));
        for word in words {
            assert!(sentence.contains(word), "no {word:?} in {sentence:?}");
        }
    }

    /// Folders with a manifest, finished or not.
    pub fn traces(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.root().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.file_name().unwrap() == "manifest.json" {
                    found.insert(path.parent().unwrap().to_owned());
                }
            }
        }
        found
    }

    #[track_caller]
    pub fn trace(&self, name: &str) -> Trace {
        Trace::open(&self.path(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A copy of a folder from the repository, to be broken.
    pub fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.path(name);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
        to
    }

    /// A copy of a golden model, e.g. `models/qwen3-tiny` or `checkpoints/qwen3-rg`, under its own last name.
    pub fn copy_golden(&self, golden: &str) -> PathBuf {
        self.copy(&golden::root().join(golden), golden.rsplit('/').next().unwrap())
    }

    /// A copy of the built-in model's base as a folder `model`: it has a tokenizer and a chat template.
    pub fn copy_builtin(&self) -> PathBuf {
        self.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("backend/model/builtin"), "model")
    }
}

/// Rewrites a JSON file.
pub fn edit_json(path: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(json.as_object_mut().unwrap());
    fs::write(path, json.to_string()).unwrap();
}

/// Rewrites the tensors of `model.safetensors`, or turns gates into safetensors with changes.
pub fn edit_tensors(folder: &Path, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let [base, gates] = ["model.safetensors", "trimkv_weights.pth"].map(|name| folder.join(name));
    let (mut tensors, to) = if base.exists() {
        (candle_core::safetensors::load(&base, &candle_core::Device::Cpu).unwrap(), base)
    } else {
        let tensors = trimkv_trace::model::pth::read(&gates).unwrap().into_iter().collect();
        (tensors, gates.with_extension("safetensors"))
    };
    edit(&mut tensors);
    candle_core::safetensors::save(&tensors, to).unwrap();
}

/// Cuts a file short.
pub fn truncate(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
