//! A small hub on this machine. It serves folders as repositories and speaks what the real one speaks: commits and tags in
//! headers, ranges, redirects of large files to a storage on another host, tokens, reasons for refusals. It can also
//! misbehave, once or always, as networks do.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// How the server misbehaves for a file, the next time its content is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Sends this many bytes of what it promised and closes the connection.
    CloseAfter(usize),
    /// Sends this many bytes and then nothing, without closing.
    StallAfter(usize),
    /// Answers a range with the whole file, as a server without ranges does.
    IgnoreRange,
    /// Sends other bytes of the right length.
    WrongBytes,
    /// Promises and sends fewer bytes than the file has.
    PromiseOnly(usize),
    /// Answers with this status.
    Status(u16),
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A repository: a folder, and who may read it.
struct Repo {
    dir: PathBuf,
    commit: String,
    access: Access,
}

#[derive(Clone, PartialEq, Eq)]
enum Access {
    Public,
    /// Readable with this token.
    Token(String),
    /// Readable by nobody whose account has not accepted the licence.
    Gated,
}

#[derive(Default)]
struct State {
    repos: HashMap<String, Repo>,
    renamed: HashMap<String, String>,
    faults: HashMap<String, Vec<Fault>>,
    requests: Vec<Request>,
    port: u16,
}

/// The server; it stops when it is dropped.
pub struct HubServer {
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    endpoint: String,
}

impl HubServer {
    /// Serves each folder as the repository of its name, `owner/name`, at `main` and at one commit.
    pub fn serve<'a>(dir_by_repo: impl IntoIterator<Item = (&'a str, PathBuf)>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut state = State { port, ..State::default() };
        for (name, dir) in dir_by_repo {
            let commit = sha256_hex(name.as_bytes())[..40].to_owned();
            state.repos.insert(name.to_owned(), Repo { dir, commit, access: Access::Public });
        }
        let state = Arc::new(Mutex::new(state));
        let stopping = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&state), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A client that goes away is no failure of the server.
                thread::spawn(move || drop(answer(&stream, &shared)));
            }
        });
        Ok(Self { state, stopping, endpoint: format!("http://127.0.0.1:{port}") })
    }

    /// What `HF_ENDPOINT` is to be set to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The commit that `main` of a repository is.
    pub fn commit(&self, repo: &str) -> String {
        self.lock().repos[repo].commit.clone()
    }

    /// Makes a repository answer only those who send this token.
    pub fn require_token(&self, repo: &str, token: &str) {
        self.set_access(repo, Access::Token(token.to_owned()));
    }

    /// Makes a repository wait for everyone's consent to its licence.
    pub fn gate(&self, repo: &str) {
        self.set_access(repo, Access::Gated);
    }

    /// Moves a repository; its old name redirects to the new one.
    pub fn rename(&self, old: &str, new: &str) {
        let mut state = self.lock();
        let repo = state.repos.remove(old).unwrap();
        state.repos.insert(new.to_owned(), repo);
        state.renamed.insert(old.to_owned(), new.to_owned());
    }

    /// Misbehaves for a file of any repository: once for each fault, in this order.
    pub fn misbehave(&self, file: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.entry(file.to_owned()).or_default().extend(faults);
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The requests for content so far, without those for headers and redirects.
    pub fn downloads(&self) -> Vec<Request> {
        let sends = |path: &str| path.starts_with("/storage/") || path.starts_with("/api/resolve-cache/");
        self.requests().into_iter().filter(|request| request.method == "GET" && sends(&request.path)).collect()
    }

    fn set_access(&self, repo: &str, access: Access) {
        self.lock().repos.get_mut(repo).unwrap().access = access;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // The listener waits for a connection; this is the one that lets it see the flag.
        drop(TcpStream::connect(self.endpoint.trim_start_matches("http://")));
    }
}

/// Whether the hub keeps this file in its storage for large files.
fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".pth")
}

/// The address by which a small file is asked for: the hub sends everyone on to the one that its own cache serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Resolve,
    ResolveCache,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    fault: Option<Fault>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), fault: None }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn refusal(status: u16, code: &str) -> Self {
        let mut answer =
            Self::new(status).with("X-Error-Code", code).with("X-Error-Message", "refused by the test hub");
        answer.body = format!("{{\"error\":\"{code}\"}}").into_bytes();
        answer
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let Some(request) = read_request(stream)? else { return Ok(()) };
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.push(request.clone());
        route(&mut state, &request)?
    };
    send(stream, &request, answer)
}

fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method, path, headers }))
}

fn route(state: &mut State, request: &Request) -> io::Result<Answer> {
    let steps: Vec<String> = request.path.trim_start_matches('/').split('/').map(unescaped).collect();
    match steps.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["storage", sum] => stored(state, request, sum),
        [owner, name, "resolve", revision, file @ ..] => {
            resolve(state, request, &format!("{owner}/{name}"), revision, &file.join("/"), Via::Resolve)
        }
        ["api", "resolve-cache", "models", owner, name, commit, file @ ..] => {
            resolve(state, request, &format!("{owner}/{name}"), commit, &file.join("/"), Via::ResolveCache)
        }
        _ => Ok(Answer::new(404)),
    }
}

fn resolve(
    state: &mut State,
    request: &Request,
    name: &str,
    revision: &str,
    file: &str,
    via: Via,
) -> io::Result<Answer> {
    if let Some(new) = state.renamed.get(name) {
        return Ok(Answer::new(307).with("Location", request.path.replacen(name, new, 1)));
    }
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let Some(repo) = state.repos.get(name) else {
        // Guests are not told which repositories exist.
        return Ok(Answer::refusal(if token.is_some() { 404 } else { 401 }, "RepoNotFound"));
    };
    match &repo.access {
        Access::Token(expected) if token != Some(expected) => return Ok(Answer::refusal(401, "RepoNotFound")),
        Access::Gated => return Ok(Answer::refusal(if token.is_some() { 403 } else { 401 }, "GatedRepo")),
        _ => {}
    }
    if revision != "main" && revision != repo.commit {
        return Ok(Answer::refusal(404, "RevisionNotFound"));
    }
    let commit = repo.commit.clone();
    let Ok(content) = fs::read(repo.dir.join(file)) else {
        return Ok(Answer::refusal(404, "EntryNotFound").with("X-Repo-Commit", commit));
    };
    let sum = sha256_hex(&content);
    if !is_large(file) && via == Via::Resolve {
        let path = request.path.trim_start_matches('/').splitn(5, '/').last().unwrap_or_default();
        let location = format!("/api/resolve-cache/models/{name}/{commit}/{path}");
        return Ok(Answer::new(307).with("Location", location).with("X-Repo-Commit", commit));
    }
    if !is_large(file) {
        let answer = Answer::new(200).with("ETag", format!("\"{}\"", &sum[..40])).with("X-Repo-Commit", commit);
        return Ok(ranged(state, request, file, content, answer));
    }
    // The storage is reached under another name of this machine, as the real one is another host.
    Ok(Answer::new(302)
        .with("Location", format!("http://localhost:{}/storage/{sum}", state.port))
        .with("X-Repo-Commit", commit)
        .with("X-Linked-Size", content.len().to_string())
        .with("X-Linked-ETag", format!("\"{sum}\""))
        .with("ETag", "\"tag-of-the-pointer\""))
}

fn stored(state: &mut State, request: &Request, sum: &str) -> io::Result<Answer> {
    if request.header("authorization").is_some() {
        // Signed addresses and a token exclude each other on the real storage.
        return Ok(Answer::new(400));
    }
    let mut files = Vec::new();
    state.repos.values().try_for_each(|repo| list(&repo.dir, &mut files))?;
    for path in files {
        let content = fs::read(&path)?;
        if sha256_hex(&content) == sum {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let answer = Answer::new(200).with("ETag", "\"tag-of-the-storage\"");
            return Ok(ranged(state, request, &file, content, answer));
        }
    }
    Ok(Answer::new(404))
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Sends the part that was asked for, or misbehaves.
fn ranged(state: &mut State, request: &Request, file: &str, content: Vec<u8>, mut answer: Answer) -> Answer {
    let is_get = request.method == "GET";
    answer.fault = match state.faults.get_mut(file) {
        Some(faults) if is_get && !faults.is_empty() => Some(faults.remove(0)),
        _ => None,
    };
    if let Some(Fault::Status(status)) = answer.fault {
        return Answer::new(status);
    }
    let range = request.header("range").and_then(requested_range);
    let total = content.len();
    answer.body = content;
    match range.filter(|_| answer.fault != Some(Fault::IgnoreRange)) {
        Some((start, _)) if start >= total => Answer::new(416).with("Content-Range", format!("bytes */{total}")),
        Some((start, end)) => {
            let end = end.min(total - 1);
            answer.status = 206;
            answer.body.truncate(end + 1);
            answer.body.drain(..start);
            answer.with("Content-Range", format!("bytes {start}-{end}/{total}"))
        }
        None => answer,
    }
}

/// First and last byte of `bytes=5-` or `bytes=5-9`.
fn requested_range(header: &str) -> Option<(usize, usize)> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, end.parse().unwrap_or(usize::MAX - 1)))
}

fn send(mut stream: &TcpStream, request: &Request, answer: Answer) -> io::Result<()> {
    let Answer { status, headers, mut body, fault } = answer;
    match fault {
        Some(Fault::WrongBytes) => body.iter_mut().for_each(|byte| *byte ^= 0xff),
        Some(Fault::PromiseOnly(length)) => body.truncate(length),
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {status} Test\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return stream.flush();
    }
    match fault {
        Some(Fault::CloseAfter(length)) => stream.write_all(&body[..length.min(body.len())])?,
        Some(Fault::StallAfter(length)) => {
            stream.write_all(&body[..length.min(body.len())])?;
            stream.flush()?;
            thread::sleep(Duration::from_secs(3));
        }
        _ => stream.write_all(&body)?,
    }
    stream.flush()?;
    stream.shutdown(Shutdown::Both)
}

/// A step of a path without its `%xx`.
fn unescaped(step: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = step.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
