//! The tables as other programs see them: pyarrow, pandas, DuckDB and polars from Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use trimkv_trace::text::TextTokenizer;

use crate::run::{Folder, arg};

const PACKAGES: [&str; 4] = ["pyarrow", "pandas", "duckdb", "polars"];

/// A Python with the four readers, made once under `target`. The error says why there is none.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tables-venv");
    let python = venv.join("bin/python");
    let run = |program: &Path, args: &[&str]| {
        let output =
            Command::new(program).args(args).output().map_err(|error| format!("{}: {error}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or_default().to_owned()) }
    };
    let imports = format!("import {}", PACKAGES.join(", "));
    if run(&python, &["-c", &imports]).is_ok() {
        return Ok(python);
    }
    run(Path::new("python3"), &["-m", "venv", arg(&venv)])?;
    run(&python, &[&["-m", "pip", "install", "--quiet", "--retries", "1"], &PACKAGES[..]].concat())?;
    run(&python, &["-c", &imports])?;
    Ok(python)
}

#[test]
fn four_other_readers_agree_with_the_documented_format() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no Python readers: {reason}"),
        Err(reason) => return println!("skipped: no Python readers ({reason})"),
    };
    let folder = Folder::with_prompt("Tom took 3 red keys, a caf\u{e9} \u{1f511} and 4 green ones. Where is he?");
    let args = ["prompt.txt", "--budget", "24", "--buffer", "4", "--record", "attention", "--ignore-eos"];
    folder.run(&[&args[..], &["--temperature", "1.5", "--max-new-tokens", "90", "--out", "trace"]].concat()).done();
    let trace = folder.trace("trace");

    let ids: Vec<u32> = trace.recording.tokens.iter().map(|token| token.id).collect();
    let vocabulary = Path::new(env!("CARGO_MANIFEST_DIR")).join("backend/model/builtin/tokenizer.json");
    let text = TextTokenizer::from_file(&vocabulary).unwrap().decode(&ids).unwrap();
    let text = folder.write("text", text);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check_tables.py");
    let layers = trace.manifest.model.layers.to_string();
    let checked = Command::new(python).arg(script).args([arg(&trace.path), &layers, arg(&text)]).output().unwrap();
    let [out, err] = [checked.stdout, checked.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(checked.status.success(), "{out}{err}");
    println!("{out}");
}
