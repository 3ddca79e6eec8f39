//! The dashboard's server: through its router, and through a real socket.

mod changes;
mod damage;
mod exports;
mod guards;
mod live;
mod program;
mod reading;
mod sockets;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt;
use trimkv_trace::trace::manifest::Manifest;
use trimkv_trace::trace::recording::Recording;
use trimkv_trace::trace::step::{Origin, Pass, Phase, Shape, TokenRecord};
use trimkv_trace::trace::write::write_recording;
use trimkv_trace::web::guard::Guard;
use trimkv_trace::web::library::Library;
use trimkv_trace::web::router::{Shared, router};
use trimkv_trace::web::serve::{Ender, Server};

pub const ADDRESS: &str = "127.0.0.1:7878";

/// A folder of traces and a router over it.
pub struct Site {
    pub root: TempDir,
    shared: Arc<Shared>,
    runtime: Runtime,
    _ending: watch::Sender<bool>,
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The one sentence of an error.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Site {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let library = Library::new(vec![root.path().to_owned()], Vec::new()).unwrap();
        let (ending, told) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { root, shared: Arc::new(Shared::new(library, told)), runtime, _ending: ending }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Sends a request as it is.
    pub fn send(&self, request: Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let guard = Guard::new(ADDRESS.parse().unwrap(), None);
            let response = router(self.shared.clone(), guard).oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("host", ADDRESS).body(Body::empty()).unwrap())
    }

    /// Something answered well.
    #[track_caller]
    pub fn got(&self, path: &str) -> Answer {
        let answer = self.get(path);
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// A request that changes something.
    pub fn change(&self, method: &str, path: &str, json: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", ADDRESS);
        let request = request.header("x-trimkv-trace", "1").header("content-type", "application/json");
        self.send(request.body(json.map_or(Body::empty(), |json| Body::from(json.to_string()))).unwrap())
    }
}

/// A server that listens, on threads of its own.
pub struct Listening {
    pub address: SocketAddr,
    pub root: TempDir,
    pub shared: Arc<Shared>,
    ender: Ender,
    runtime: Runtime,
    serving: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Listening {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let library = Library::new(vec![root.path().to_owned()], Vec::new()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(library, Ipv4Addr::LOCALHOST.into(), 0, None)).unwrap();
        let (address, ender, shared) = (server.address(), server.ender(), server.shared());
        let serving = Some(runtime.spawn(server.run()));
        Self { address, root, shared, ender, runtime, serving }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// A request that is sent, its answer not yet read.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        let (host, length) = (self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-trimkv-trace: 1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// Status and body.
    pub fn answer(&self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        let mut answer = Vec::new();
        self.ask(method, path, body).read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), answer[end + 4..].to_vec())
    }

    /// Ends it and says how long that took.
    pub fn end(self) -> Duration {
        let start = std::time::Instant::now();
        drop(self.end_keeping());
        start.elapsed()
    }

    /// Ends it; its folder stays for as long as what is given back.
    pub fn end_keeping(mut self) -> TempDir {
        self.ender.end();
        self.runtime.block_on(self.serving.take().unwrap()).unwrap().unwrap();
        self.root
    }
}

pub fn token(text: &str) -> TokenRecord {
    TokenRecord {
        id: 7,
        text: Some(text.to_owned()),
        origin: Origin::Prompt,
        role: Some("user"),
        class: "word",
        logprob: None,
        entropy: None,
    }
}

pub fn manifest(layers: usize, kv_heads: usize) -> Manifest {
    serde_json::from_value(serde_json::json!({
        "schema": "trimkv-trace/1",
        "id": "made",
        "model": {"layers": layers, "kv_heads": kv_heads, "name": "<script>alert(1)</script>"},
    }))
    .unwrap()
}

/// A small finished trace with these texts.
pub fn write_trace(path: &Path, texts: &[&str]) {
    let shape = Shape { layers: 2, kv_heads: 2 };
    let mut recording = Recording::new(shape);
    recording.tokens = texts.iter().map(|text| token(text)).collect();
    let fed = texts.len() as u32;
    let pass = Pass {
        phase: Phase::Prefill,
        fed,
        tokens_seen: fed,
        elapsed_us: 5,
        cached: u64::from(fed) * 4,
        log_beta: None,
        cut: None,
        attention: None,
    };
    recording.apply(&pass).unwrap();
    write_recording(path, &Manifest { seen: fed, ..manifest(2, 2) }, &recording).unwrap();
}
