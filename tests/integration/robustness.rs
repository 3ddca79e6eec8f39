//! Traces that are torn, damaged, newer, or written by others.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use polars::prelude::*;
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::manifest::{Manifest, Status};
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::step::{Cut, Eviction, HeadCut, KvHead, Origin, Pass, Phase, Shape, TokenRecord};
use trimkv_trace::trace::tables::write_parquet;
use trimkv_trace::trace::write::{Ending, TraceWriter};

use crate::run::{Folder, edit_json};

const SHAPE: Shape = Shape { layers: 2, kv_heads: 3 };

fn manifest() -> Manifest {
    let json = serde_json::json!({"schema": "trimkv-trace/1", "id": "small", "status": "running",
        "model": {"layers": SHAPE.layers, "kv_heads": SHAPE.kv_heads, "vocab": 5}});
    serde_json::from_value(json).unwrap()
}

/// A token and the pass that read it; every third pass evicts the oldest entry of one head.
fn step(position: u32) -> (TokenRecord, Pass) {
    let token = TokenRecord {
        id: position % 5,
        text: Some(format!("{position} ")),
        origin: if position < 3 { Origin::Prompt } else { Origin::Generated },
        role: None,
        class: "digit",
        logprob: None,
        entropy: None,
    };
    let at = position + 1;
    let head = SHAPE.head(position as usize / 3 % SHAPE.heads());
    let cut = (position % 3 == 2).then(|| Cut {
        tokens_seen: at,
        evictions: vec![Eviction { head, position: position - 2, at, score: -1.5 }],
        heads: vec![HeadCut { head, cached_before: at, kept: position, threshold: Some(-1.0), ties: 0 }],
    });
    let pass = Pass {
        phase: if position < 3 { Phase::Prefill } else { Phase::Decode },
        fed: 1,
        tokens_seen: at,
        elapsed_us: 7,
        cached: 9,
        log_beta: Grid::from_cells(SHAPE.heads(), 1, vec![-0.25; SHAPE.heads()]),
        cut,
        attention: None,
    };
    (token, pass)
}

fn writer(at: &Path, tokens: u32) -> TraceWriter {
    let mut writer = TraceWriter::create(at, manifest(), false).unwrap();
    for (token, pass) in (0..tokens).map(step) {
        writer.token(token).unwrap();
        writer.pass(pass).unwrap();
    }
    writer
}

/// A finished trace of 70 tokens.
fn finished(folder: &Folder) {
    let writer = writer(&folder.path("trace"), 70);
    let manifest = Manifest { status: Status::Complete, seen: 70, ..manifest() };
    writer.finish(Ending { manifest, last_scores: Vec::new(), text_tail: String::new() }).unwrap();
}

#[test]
fn a_journal_torn_anywhere_reads_up_to_its_last_whole_frame() {
    let folder = Folder::new();
    // Dropped without an end, as by an error: 64 tokens in the first frame, the others in the last.
    drop(writer(&folder.path("trace"), 70));
    let journal = folder.path("trace.partial/journal.bin");
    let whole = fs::read(&journal).unwrap();
    let mut before = 0;
    for length in 8..=whole.len() {
        // Every length where something begins or ends, and samples of what lies between.
        let near_an_end = length < 64 || whole.len() - length < 64;
        if !near_an_end && length % 13 != 0 {
            continue;
        }
        fs::write(&journal, &whole[..length]).unwrap();
        let trace = folder.trace("trace");
        assert_eq!(trace.manifest.status, Status::Interrupted);
        let tokens = trace.recording.tokens.len();
        assert!(tokens >= before && [0, 64, 70].contains(&tokens), "{tokens} tokens of {length} bytes");
        before = tokens;
    }
    assert_eq!(before, 70);
    for length in 0..8 {
        fs::write(&journal, &whole[..length]).unwrap();
        let opened = Trace::open(&folder.path("trace"));
        assert!(opened.is_ok_and(|trace| trace.recording.tokens.is_empty()), "a kill may leave {length} bytes");
    }
    // Rubbish after the last frame is what a torn write leaves on some file systems.
    fs::write(&journal, [whole.as_slice(), &[0; 4096]].concat()).unwrap();
    assert_eq!(folder.trace("trace").recording.tokens.len(), 70);
    fs::write(&journal, "something else entirely").unwrap();
    let error = Trace::open(&folder.path("trace")).unwrap_err().to_string();
    assert!(error.contains("journal.bin") && error.contains("not a journal"), "{error}");
}

/// Opens a trace after each of a file's bytes in turn was changed.
fn check_flips(folder: &Folder, trace: &str, file: &str, every: usize) {
    let path = folder.path(trace).join(file);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for (place, bits) in (0..whole.len()).step_by(every).zip([0x01u8, 0x80, 0xff, 0x20].into_iter().cycle()) {
        let mut bytes = whole.clone();
        bytes[place] ^= bits;
        fs::write(&path, bytes).unwrap();
        let opened = catch_unwind(|| Trace::open(&folder.path(trace)));
        if let Err(error) = opened.unwrap_or_else(|_| panic!("{file} with byte {place} ^ {bits:#x} panics")) {
            refused += 1;
            let error = error.to_string();
            assert!(error.contains(trace) && !error.contains('\n'), "{file} with byte {place} ^ {bits:#x}: {error}");
        }
    }
    println!("{file}: {refused} of {} changes are noticed", whole.len().div_ceil(every));
    fs::write(&path, whole).unwrap();
}

#[test]
fn a_changed_byte_anywhere_is_never_a_crash() {
    let folder = Folder::new();
    finished(&folder);
    for (file, every) in [
        ("manifest.json", 1),
        ("tokens.parquet", 3),
        ("lifetimes.parquet", 3),
        ("cuts.parquet", 5),
        ("steps.parquet", 5),
    ] {
        check_flips(&folder, "trace", file, every);
    }
    drop(writer(&folder.path("torn"), 40));
    check_flips(&folder, "torn.partial", "journal.bin", 5);
    check_flips(&folder, "torn.partial", "manifest.json", 1);
}

/// Foreign writers give no checksums: the decoder itself meets the damage. What it makes of damaged pages is its own
/// matter; what it makes of a damaged description must still be one sentence.
#[test]
fn a_changed_byte_in_a_foreign_tables_description_is_never_a_crash() {
    let folder = Folder::new();
    finished(&folder);
    edit_json(&folder.path("trace/manifest.json"), |json| drop(json.remove("crc32")));
    for file in ["tokens.parquet", "lifetimes.parquet"] {
        let path = folder.path("trace").join(file);
        let whole = fs::read(&path).unwrap();
        let (_, footer) = whole.split_last_chunk::<8>().unwrap();
        let length = u32::from_le_bytes(*footer.first_chunk().unwrap()) as usize;
        for place in (whole.len() - 8 - length..whole.len()).step_by(19) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0xff;
            fs::write(&path, bytes).unwrap();
            let said = folder.run(&["heads", "trace"]);
            if said.code != Some(0) {
                folder.check_refusal(&said, &[&format!("trace/{file}")]);
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

/// The program says of a damaged table what it is: one sentence, no mention of bugs.
#[test]
fn a_damaged_file_is_one_sentence_from_the_program() {
    let folder = Folder::new();
    finished(&folder);
    for file in ["manifest.json", "tokens.parquet", "lifetimes.parquet", "cuts.parquet", "steps.parquet"] {
        let path = folder.path("trace").join(file);
        let whole = fs::read(&path).unwrap();
        for damage in [whole[..whole.len() / 2].to_vec(), Vec::new(), vec![b'x'; 300], whole[7..].to_vec()] {
            fs::write(&path, damage).unwrap();
            folder.refusal(&["heads", "trace"], &[&format!("trace/{file}")]);
        }
        fs::write(&path, whole).unwrap();
    }
    folder.run(&["heads", "trace"]).done();
    for file in ["tokens.parquet", "lifetimes.parquet", "cuts.parquet", "steps.parquet"] {
        let path = folder.path("trace").join(file);
        fs::rename(&path, folder.path("away")).unwrap();
        folder.refusal(&["heads", "trace"], &[file, "missing"]);
        fs::rename(folder.path("away"), &path).unwrap();
    }
}

#[test]
fn manifests_of_other_times_are_told_apart() {
    let folder = Folder::new();
    finished(&folder);
    let manifest = folder.path("trace/manifest.json");
    let set =
        |key: &'static str, value: serde_json::Value| edit_json(&manifest, |json| drop(json.insert(key.into(), value)));
    set("schema", "trimkv-trace/2".into());
    folder.refusal(&["heads", "trace"], &["manifest.json has schema trimkv-trace/2", "reads trimkv-trace/1", "update"]);
    set("schema", "trimkv-trace/1.4".into());
    set("mood", serde_json::json!({"sunny": true}));
    folder.run(&["heads", "trace"]).done();
    set("schema", "bertviz/1".into());
    folder.refusal(&["heads", "trace"], &["manifest.json", "bertviz/1"]);
    set("schema", "trimkv-trace/1".into());
    for (layers, kv_heads) in [(0, 3), (3, 3), (2, 2), (70_000, 3), (60_000, 60_000)] {
        set("model", serde_json::json!({"layers": layers, "kv_heads": kv_heads}));
        folder.refusal(&["heads", "trace"], &["trace/"]);
    }
}

/// A journal is only as good as its manifest.
#[test]
fn a_journal_of_another_shape_is_refused() {
    let folder = Folder::new();
    drop(writer(&folder.path("trace"), 70));
    for (layers, kv_heads) in [(1, 3), (2, 1), (4, 3), (60_000, 60_000)] {
        edit_json(&folder.path("trace.partial/manifest.json"), |json| {
            json.insert("model".into(), serde_json::json!({"layers": layers, "kv_heads": kv_heads}));
        });
        folder.refusal(&["heads", "trace"], &["trace.partial/"]);
    }
}

/// Writes tables as another program would: wide integers, and only the columns that a trace must have.
fn foreign(folder: &Folder, name: &str, tokens: Vec<Column>, departures: [Option<i64>; 6]) {
    folder.write(
        &format!("{name}/manifest.json"),
        r#"{"schema": "trimkv-trace/1", "model": {"layers": 1, "kv_heads": 2}}"#,
    );
    let frame = |columns| DataFrame::new_infer_height(columns).unwrap();
    write_parquet(&folder.path(name).join("tokens.parquet"), [frame(tokens)]).unwrap();
    let lifetimes = vec![
        Column::new("layer".into(), vec![0i64; 6]),
        Column::new("head".into(), vec![0i64, 0, 0, 1, 1, 1]),
        Column::new("position".into(), vec![0i64, 1, 2, 0, 1, 2]),
        Column::new("evicted_at".into(), departures.to_vec()),
        Column::new("colour".into(), vec!["red"; 6]),
    ];
    write_parquet(&folder.path(name).join("lifetimes.parquet"), [frame(lifetimes)]).unwrap();
}

#[test]
fn the_least_that_another_program_may_write_is_read() {
    let folder = Folder::new();
    let positions = || Column::new("position".into(), vec![0i64, 1, 2]);
    let ids = Column::new("token_id".into(), vec![9i64, 8, 7]);
    let texts = Column::new("text".into(), vec!["a", "b", "c"]);
    let departures = [Some(2), None, None, None, Some(3), None];
    foreign(&folder, "ids", vec![positions(), ids.clone()], departures);
    foreign(&folder, "texts", vec![positions(), texts], departures);
    for name in ["ids", "texts"] {
        let trace = folder.trace(name);
        assert_eq!((trace.manifest.status, trace.manifest.seen), (Status::Complete, 3));
        let lives = &trace.recording.lifetimes;
        assert_eq!(lives.cached_after(KvHead { layer: 0, head: 0 }, 2), [1]);
        assert_eq!(lives.cached_after(KvHead { layer: 0, head: 1 }, 3), [0, 2]);
        assert!(lives.log_beta(KvHead { layer: 0, head: 0 }).is_empty());
        let table = folder.run(&["heads", name]).done().stdout;
        assert_eq!(table.lines().filter(|line| line.starts_with("L0H")).count(), 2, "{table}");
    }
    assert_eq!(folder.trace("ids").recording.tokens[2].id, 7);
    assert_eq!(folder.trace("texts").recording.tokens[2].text.as_deref(), Some("c"));

    foreign(&folder, "wrong", vec![positions(), ids.clone()], [Some(2), Some(1), None, None, None, None]);
    folder.refusal(&["heads", "wrong"], &["wrong/lifetimes.parquet: row 1", "position 1"]);
    foreign(&folder, "late", vec![positions(), ids.clone()], [None, None, None, None, None, Some(9)]);
    folder.refusal(&["heads", "late"], &["late/lifetimes.parquet: row 5", "evicted_at is 9", "3 tokens"]);
    foreign(&folder, "negative", vec![positions(), ids], [None, None, Some(-1), None, None, None]);
    folder.refusal(&["heads", "negative"], &["negative/lifetimes.parquet", "evicted_at"]);
    foreign(&folder, "bare", vec![positions()], departures);
    folder.refusal(&["heads", "bare"], &["bare/tokens.parquet", "no column token_id"]);
    let gap = Column::new("position".into(), vec![0i64, 2, 1]);
    foreign(&folder, "gap", vec![gap, Column::new("text".into(), vec!["a", "b", "c"])], departures);
    folder.refusal(&["heads", "gap"], &["gap/tokens.parquet: row 1", "dense"]);
}
