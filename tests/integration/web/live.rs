//! Runs that the page starts, follows and stops.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use base64::Engine as _;
use serde_json::{Value, json};
use trimkv_trace::policy::PolicyKind;
use trimkv_trace::run::ready::{Given, Ready};
use trimkv_trace::run::request::RunRequest;
use trimkv_trace::trace::manifest::Status;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::web::runs::start as start_run;

use super::{Listening, Site};

/// Events as a browser would get them.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(server: &Listening, key: &str, after: u32) -> Self {
        Self(BufReader::new(server.ask("GET", &format!("/api/traces/{key}/events?after={after}"), "")))
    }

    /// The next event's name, id and data.
    fn next(&mut self) -> Option<(String, Option<u32>, Value)> {
        let (mut name, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("event: ") {
                name = value.to_owned();
            } else if let Some(value) = line.strip_prefix("id: ") {
                id = value.parse().ok();
            } else if let Some(value) = line.strip_prefix("data: ") {
                data.push_str(value);
            } else if line.is_empty() && !name.is_empty() {
                return Some((name, id, serde_json::from_str(&data).unwrap()));
            }
        }
    }
}

fn start(server: &Listening, wanted: Value) -> (u16, Value) {
    let (status, body) = server.answer("POST", "/api/runs", &wanted.to_string());
    (status, serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_run_grows_by_events_into_the_trace_it_leaves() {
    let server = Listening::new();
    let (status, started) =
        start(&server, json!({"prompt": "the code of the tower", "budget": 8, "buffer": 4, "max_new_tokens": 40}));
    assert_eq!(status, 200, "{started}");
    let key = started["key"].as_str().unwrap().to_owned();
    let mut events = Events::of(&server, &key, 0);
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    let (mut evicted, mut seen, mut births) = (Vec::new(), 0, 0);
    let end = loop {
        let (name, id, data) = events.next().unwrap();
        match name.as_str() {
            "step" => {
                assert_eq!(data["first"].as_u64(), Some(seen), "no step is missing");
                seen = data["seen"].as_u64().unwrap();
                assert_eq!(id.map(u64::from), Some(seen));
                for token in data["tokens"].as_array().unwrap() {
                    let text = token["text"].as_str().unwrap().to_owned();
                    texts.insert(token["position"].as_u64().unwrap(), text);
                }
                let bytes = |field: &str| {
                    base64::engine::general_purpose::STANDARD.decode(data[field].as_str().unwrap()).unwrap()
                };
                births += bytes("log_beta").len() / 4;
                let words: Vec<u32> =
                    bytes("evicted").chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
                evicted.extend(words.chunks(2).map(|pair| (pair[0], pair[1], seen as u32)));
            }
            "end" => break data,
            other => panic!("{other}"),
        }
    };
    let trace = Trace::open(&server.root.path().join(&key)).unwrap();
    assert_eq!((end["status"].as_str(), end["seen"].as_u64()), (Some("complete"), Some(seen)));
    assert_eq!(trace.manifest.status, Status::Complete);
    assert_eq!(u64::from(trace.manifest.seen), seen);
    assert_eq!(births, 24 * seen as usize);
    let whole: Vec<String> = trace.recording.tokens.iter().map(|token| token.text.clone().unwrap()).collect();
    assert_eq!(texts.into_values().collect::<String>(), whole.concat());
    let shape = trace.manifest.shape();
    let mut recorded: Vec<(u32, u32, u32)> = shape
        .iter()
        .flat_map(|head| {
            let left = trace.recording.lifetimes.departures(head).enumerate();
            left.filter_map(move |(position, at)| Some((shape.index(head) as u32, position as u32, at?)))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(!recorded.is_empty());
    recorded.sort_unstable();
    evicted.sort_unstable();
    assert_eq!(evicted, recorded);
    // Once it is over there is nothing to follow.
    let mut after = Events::of(&server, &key, 0);
    assert_eq!(after.next().unwrap().0, "end");
    assert!(after.next().is_none());
    server.end();
}

/// A run that goes on until it is stopped.
fn start_long(server: &Listening) -> String {
    let asked = RunRequest {
        policy: Some(PolicyKind::Window),
        budget: Some(16),
        max_new_tokens: 8000,
        ignore_eos: true,
        ..RunRequest::default()
    };
    let ready = Ready::new(&asked, Given::Text("a b c d"), None, false).unwrap();
    server.shared.runs.claim().unwrap();
    start_run(&server.shared, ready, &server.root.path().join("long run")).unwrap()
}

#[test]
fn a_run_can_be_read_and_stopped_while_it_goes_and_is_the_only_one() {
    let server = Listening::new();
    let key = start_long(&server);
    let mut events = Events::of(&server, &key, 0);
    assert_eq!(events.next().unwrap().0, "step");
    let (status, refused) = start(&server, json!({"prompt": "again"}));
    assert_eq!(status, 409, "{refused}");
    assert_eq!(server.answer("DELETE", &format!("/api/traces/{key}"), "").0, 409);
    assert_eq!(server.answer("GET", &format!("/t/{key}"), "").0, 200);
    for about in ["", "/tokens", "/lifetimes?layer=0", "/cuts?layer=0", "/steps", "/heads", "/check", "/download.zip"] {
        assert_eq!(server.answer("GET", &format!("/api/traces/{key}{about}"), "").0, 200, "{about}");
    }
    assert_eq!(server.answer("POST", &format!("/api/runs/{key}/stop"), "").0, 204);
    let end = loop {
        let (name, _, data) = events.next().unwrap();
        if name == "end" {
            break data;
        }
    };
    let trace = Trace::open(&server.root.path().join("long run")).unwrap();
    assert_eq!((end["status"].as_str(), trace.manifest.status), (Some("interrupted"), Status::Interrupted));
    assert_eq!(end["seen"].as_u64(), Some(trace.manifest.seen.into()));
    assert_eq!(server.answer("POST", &format!("/api/runs/{key}/stop"), "").0, 409);
    // Its place is free again.
    let (status, next) = start(&server, json!({"prompt": "again", "max_new_tokens": 1}));
    assert_eq!(status, 200, "{next}");
    server.end();
}

#[test]
fn a_follower_that_comes_back_is_told_what_it_missed() {
    let server = Listening::new();
    let key = start_long(&server);
    let mut events = Events::of(&server, &key, 0);
    let (_, id, _) = events.next().unwrap();
    drop(events);
    let mut events = Events::of(&server, &key, id.unwrap());
    let (name, _, data) = events.next().unwrap();
    assert_eq!((name.as_str(), data["first"].as_u64()), ("step", id.map(u64::from)));
    server.end();
}

#[test]
fn a_run_that_goes_on_ends_with_the_server_and_its_trace_is_whole() {
    let server = Listening::new();
    let key = start_long(&server);
    let path = server.root.path().join("long run");
    assert_eq!(Events::of(&server, &key, 0).next().unwrap().0, "step");
    let root = server.end_keeping();
    assert_eq!(Trace::open(&path).unwrap().manifest.status, Status::Interrupted);
    assert!(path.exists(), "it has its final name");
    drop(root);
}

/// A follower in another process knows only the files.
#[test]
fn a_run_of_another_process_is_followed_by_its_files() {
    let (writing, watching) = (Listening::new(), Listening::new());
    let key = start_long(&writing);
    let target = writing.root.path().join("long run");
    let opened = watching.answer("POST", "/api/open", &json!({"path": target}).to_string());
    assert_eq!(opened.0, 200);
    let mut events = Events::of(&watching, "long-run", 0);
    assert_eq!(events.next().unwrap().0, "resync");
    assert_eq!(watching.answer("GET", "/api/traces/long-run/lifetimes?layer=5", "").0, 200);
    writing.answer("POST", &format!("/api/runs/{key}/stop"), "");
    let (name, data) = loop {
        let (name, _, data) = events.next().unwrap();
        if name != "resync" {
            break (name, data);
        }
    };
    assert_eq!((name.as_str(), data["status"].as_str()), ("end", Some("interrupted")));
    watching.end();
    writing.end();
}

#[test]
fn what_cannot_be_run_is_refused_in_one_sentence() {
    let site = Site::new();
    let choices = site.got("/api/runs").json();
    assert_eq!((&choices["available"], &choices["models"][0]["name"]), (&true.into(), &"builtin".into()));
    for wanted in [
        json!({"prompt": ""}),
        json!({"prompt": "a", "model": "owner/name"}),
        json!({"prompt": "a", "policy": "h3o"}),
        json!({"prompt": "a", "budget": 0}),
        json!({"prompt": "a", "temperature": -1.0}),
        json!({"prompt": "a", "top_p": 7.0}),
        json!({"prompt": "a", "max_new_tokens": 0}),
        json!({"prompt": "a", "out": "/etc"}),
        json!({"prompt": "word ".repeat(50_000)}),
    ] {
        let refused = site.change("POST", "/api/runs", Some(wanted.clone()));
        assert_eq!(refused.status.as_u16(), 400, "{}", refused.text());
        assert!(!refused.error().contains('\n'));
    }
    let entries: Vec<_> = std::fs::read_dir(site.root.path()).unwrap().collect();
    assert!(entries.is_empty(), "{entries:?}");
}
