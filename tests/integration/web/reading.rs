//! What is read is what the trace holds.

use std::collections::BTreeMap;
use std::io::Cursor;

use axum::http::StatusCode;
use polars_arrow::array::{Array, PrimitiveArray, Utf8Array};
use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};
use polars_arrow::types::NativeType;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::reader::{STILL_CACHED, TraceReader};
use trimkv_trace::trace::step::KvHead;

use super::{Site, write_trace};

/// A table as it was sent, read by the Arrow format's own rules.
struct Sent {
    columns: BTreeMap<String, Box<dyn Array>>,
    metadata: BTreeMap<String, String>,
}

impl Sent {
    fn rows(&self) -> usize {
        self.columns.values().next().unwrap().len()
    }

    fn numbers<T: NativeType>(&self, name: &str) -> Vec<T> {
        let column = self.columns[name].as_any().downcast_ref::<PrimitiveArray<T>>().unwrap();
        assert_eq!(column.null_count(), 0);
        column.values().as_slice().to_vec()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let column = self.columns[name].as_any().downcast_ref::<Utf8Array<i32>>().unwrap();
        column.values_iter().map(str::to_owned).collect()
    }
}

fn frame(site: &Site, path: &str) -> Sent {
    let mut from = Cursor::new(site.got(path).body);
    let about = read_stream_metadata(&mut from).unwrap();
    let names: Vec<String> = about.schema.iter_names().map(|name| name.to_string()).collect();
    let metadata = about.custom_schema_metadata.clone().unwrap_or_default();
    let metadata = metadata.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut batches = StreamReader::new(from, about, None);
    let StreamState::Some(batch) = batches.next().unwrap().unwrap() else { panic!("{path} is cut short") };
    assert!(batches.next().is_none(), "one record batch");
    Sent { columns: names.into_iter().zip(batch.into_arrays()).collect(), metadata }
}

fn bundled(name: &str) -> Trace {
    Trace::open(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(name)).unwrap()
}

#[test]
fn every_layer_that_is_sent_is_the_recorded_one() {
    let (site, trace) = (Site::new(), bundled("codes"));
    let shape = trace.manifest.shape();
    for layer in 0..shape.layers as u16 {
        let sent = frame(&site, &format!("/api/traces/codes/lifetimes?layer={layer}"));
        assert_eq!((&*sent.metadata["layer"], &*sent.metadata["kv_heads"]), (&*layer.to_string(), "4"));
        let heads = || (0..shape.kv_heads as u16).map(|head| KvHead { layer, head });
        let lives = &trace.recording.lifetimes;
        let expected: Vec<f32> = heads().flat_map(|head| lives.log_beta(head).to_vec()).collect();
        assert_eq!(sent.numbers::<f32>("log_beta"), expected);
        let expected: Vec<u32> =
            heads().flat_map(|head| lives.departures(head).map(|at| at.unwrap_or(STILL_CACHED))).collect();
        assert_eq!(sent.numbers::<u32>("evicted_at"), expected);
    }
}

#[test]
fn a_trace_read_by_layers_is_the_one_read_whole() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/sums");
    let (whole, by_layers) = (bundled("sums"), TraceReader::open(&path).unwrap());
    assert_eq!(by_layers.tokens().unwrap(), whole.recording.tokens);
    assert_eq!(by_layers.cuts().unwrap(), whole.recording.cuts);
    assert_eq!(by_layers.steps().unwrap(), whole.recording.steps);
    assert_eq!(by_layers.manifest(), &whole.manifest);
    assert!(by_layers.layer(6).is_err());
}

#[test]
fn pooled_rows_are_some_of_the_layers_rows() {
    let site = Site::new();
    let (all, pooled) = (
        frame(&site, "/api/traces/long/lifetimes?layer=3"),
        frame(&site, "/api/traces/long/lifetimes?layer=3&pool=16"),
    );
    let seen = all.rows() / 4;
    assert_eq!(pooled.rows(), seen.div_ceil(16) * 4);
    let (left, kept) = (all.numbers::<u32>("evicted_at"), pooled.numbers::<u32>("evicted_at"));
    let position = pooled.numbers::<u32>("position");
    for (row, (&at, &position)) in kept.iter().zip(&position).enumerate() {
        let (head, block) = (row / seen.div_ceil(16), row % seen.div_ceil(16));
        let tokens = &left[head * seen..][block * 16..seen.min(block * 16 + 16)];
        assert_eq!(at, *tokens.iter().max().unwrap());
        assert_eq!(at, left[head * seen + position as usize]);
    }
}

#[test]
fn text_is_sent_byte_for_byte_and_is_never_markup() {
    let site = Site::new();
    let texts = ["<script>alert(1)</script>", "\u{fffd}", "", "\u{0}\u{7}", "a\u{1f600}"];
    write_trace(&site.path("odd"), &texts);
    let sent = frame(&site, "/api/traces/odd/tokens");
    assert_eq!(sent.texts("text"), texts);
    assert_eq!((sent.numbers::<u8>("role")[0], sent.metadata["role_names"].split(',').nth(1)), (1, Some("user")));
    for page in ["/", "/t/odd"] {
        let html = site.got(page).text();
        assert!(html.contains("&#60;script&#62;alert(1)"), "{html}");
        assert!(!html.contains("<script>alert"));
    }
}

#[test]
fn cuts_steps_heads_and_diagnoses_are_those_of_the_trace() {
    let (site, trace) = (Site::new(), bundled("codes"));
    let cuts = frame(&site, "/api/traces/codes/cuts?layer=2");
    assert_eq!(cuts.rows(), trace.recording.cuts.iter().filter(|row| row.head.head.layer == 2).count());
    assert_eq!(frame(&site, "/api/traces/codes/steps").rows(), trace.recording.steps.len());
    let heads = site.got("/api/traces/codes/heads").json();
    assert_eq!(heads["heads"].as_array().unwrap().len(), 24);
    assert_eq!((&heads["heads"][23]["layer"], &heads["heads"][23]["head"]), (&5.into(), &3.into()));
    assert!(site.got("/api/traces/codes/check").json()["diagnoses"].is_array());
}

#[test]
fn the_list_begins_with_the_bundled_traces_and_names_what_cannot_be_read() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a", "b"]);
    std::fs::create_dir(site.path("newer")).unwrap();
    std::fs::write(site.path("newer/manifest.json"), r#"{"schema": "trimkv-trace/2"}"#).unwrap();
    let list = site.got("/api/traces").json();
    let of = |key: &str| list["traces"].as_array().unwrap().iter().find(|trace| trace["key"] == key).unwrap().clone();
    assert_eq!(list["traces"][0]["source"], "bundled");
    assert_eq!((&of("mine")["tokens"], &of("mine")["deletable"]), (&2.into(), &true.into()));
    assert!(of("newer")["error"].as_str().unwrap().contains("trimkv-trace/2"));
    assert!(of("newer")["tokens"].is_null());
    let newer = site.get("/api/traces/newer");
    assert_eq!(newer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(newer.error().contains("trimkv-trace/2"));
}

#[test]
fn what_is_not_there_or_asked_wrongly_is_said_in_one_sentence() {
    let site = Site::new();
    for (path, status) in [
        ("/api/traces/nope", 404),
        ("/api/nothing", 404),
        ("/api/traces/codes/lifetimes", 400),
        ("/api/traces/codes/lifetimes?layer=6", 400),
        ("/api/traces/codes/lifetimes?layer=-1", 400),
        ("/api/traces/codes/lifetimes?layer=1&pool=0", 400),
        ("/api/traces/codes/cuts?layer=99999", 400),
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(!answer.error().is_empty() && !answer.error().contains('\n'), "{path}");
    }
    let page = site.get("/t/nope");
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text().contains("data-page=\"error\""));
    assert_eq!(site.get("/static/../Cargo.toml").status, StatusCode::NOT_FOUND);
}

#[test]
fn static_files_have_their_types_and_are_not_sent_twice() {
    let site = Site::new();
    let names: Vec<String> = trimkv_trace::web::assets::names().collect();
    for needed in ["app.js", "app.css"] {
        assert!(names.iter().any(|name| name == needed), "{needed} is not there; build the frontend");
    }
    for name in names {
        let answer = site.got(&format!("/static/{name}"));
        let etag = answer.headers["etag"].clone();
        let again = axum::http::Request::get(format!("/static/{name}")).header("host", super::ADDRESS);
        let again = site.send(again.header("if-none-match", etag).body(axum::body::Body::empty()).unwrap());
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{name}");
    }
}

/// A run that ends moves its trace from its working name; what was read of it before must not stand in the way.
#[test]
fn a_trace_that_was_asked_for_just_before_it_got_its_name_is_read_where_it_is_now() {
    let site = Site::new();
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/codes");
    let working = site.path("moved.partial");
    std::fs::create_dir(&working).unwrap();
    for file in std::fs::read_dir(&bundled).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), working.join(file.file_name())).unwrap();
    }
    // Without its note, or it would be taken for the bundled one.
    let manifest = working.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"note\"", "\"remark\"", 1)).unwrap();
    site.got("/api/traces/moved");
    std::fs::rename(&working, site.path("moved")).unwrap();
    for path in ["", "/tokens", "/lifetimes?layer=3", "/steps", "/cuts?layer=0", "/heads", "/check"] {
        site.got(&format!("/api/traces/moved{path}"));
    }
}
