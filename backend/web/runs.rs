//! Runs of this process: one at a time, watched as they go.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::api::steps::phase_code;
use super::api::tokens::{class_code, origin_code, role_code};
use super::error::ApiError;
use super::library::Source;
use super::live::{Ended, Feed};
use super::router::Dashboard;
use crate::run::ready::Ready;
use crate::run::session::{Observer, Progress};
use crate::trace::manifest::Status;
use crate::trace::step::{Pass, Phase, Shape, TokenRecord};

/// Weight of the newest pass in the running mean of a pass's time.
const NEWEST: f64 = 0.1;

/// The run in progress, if there is one.
#[derive(Debug, Default)]
pub struct Runs {
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    /// Absent while the model loads.
    key: Option<String>,
    interrupt: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runs {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the run in progress and gives what stops it.
    ///
    /// # Errors
    /// When one is in progress already.
    pub fn claim(&self) -> Result<Arc<AtomicBool>, ApiError> {
        let mut current = self.current();
        if current.is_some() {
            return Err(ApiError::Conflict("a run is in progress; stop it first, or wait for its end".to_owned()));
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        *current = Some(Current { key: None, interrupt: interrupt.clone(), thread: None });
        Ok(interrupt)
    }

    /// Gives the place free.
    pub fn release(&self) {
        *self.current() = None;
    }

    /// Stops a run after its current step.
    ///
    /// # Errors
    /// When that run is not in progress.
    pub fn stop(&self, key: &str) -> Result<(), ApiError> {
        match &*self.current() {
            Some(current) if current.key.as_deref() == Some(key) => {
                current.interrupt.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(ApiError::Conflict(format!("{key:?} is not in progress here"))),
        }
    }

    /// Stops whatever is in progress and waits until its trace is whole.
    pub fn stop_all(&self) {
        let thread = self.current().as_mut().and_then(|current| {
            current.interrupt.store(true, Ordering::Relaxed);
            current.thread.take()
        });
        // A run that panicked has said so.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Puts a run whose trace has begun on the shelf and lets it be followed.
pub fn enlist(dashboard: &Dashboard, target: &Path, ready: &Ready) -> (String, Watcher) {
    let key = dashboard.library.add(target, Source::Live);
    if let Some(current) = dashboard.runs.current().as_mut() {
        current.key = Some(key.clone());
    }
    let watcher = Watcher::new(ready.manifest.shape(), ready.max_new_tokens());
    dashboard.follow(&key, watcher.feed.clone());
    (key, watcher)
}

/// Tells followers that the run is over and its files are final.
pub fn delist(dashboard: &Dashboard, key: &str, feed: &Feed, progress: &Progress, is_whole: bool) {
    let interrupted = !is_whole || progress.stop.is_none_or(|stop| stop.as_str() == "interrupted");
    let status = if interrupted { Status::Interrupted } else { Status::Complete };
    feed.end(Ended { status: status.as_str(), seen: progress.seen });
    dashboard.unfollow(key);
    dashboard.runs.release();
}

/// Runs on a thread of its own what can begin. The place must have been claimed; it is given free at the end.
///
/// # Errors
/// When the trace cannot be begun.
pub fn start(dashboard: &Dashboard, mut ready: Ready, target: &Path) -> Result<String, ApiError> {
    let failed = |error: &dyn std::fmt::Display| ApiError::Conflict(error.to_string());
    let writer = ready.writer(target).map_err(|error| failed(&error))?;
    let (key, mut watcher) = enlist(dashboard, target, &ready);
    let interrupt = dashboard.runs.current().as_ref().map(|current| current.interrupt.clone()).unwrap_or_default();
    let (shared, own_key) = (dashboard.clone(), key.clone());
    let run = move || {
        let mut progress = Progress::default();
        // Why a run fails is in its trace's status; the page that started it sees it end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ready.run(writer, &interrupt, &mut watcher, &mut progress).is_ok()
        }));
        delist(&shared, &own_key, &watcher.feed, &progress, done.unwrap_or(false));
    };
    let thread = std::thread::Builder::new().name("run".to_owned()).spawn(run).map_err(|error| failed(&error))?;
    if let Some(current) = dashboard.runs.current().as_mut().filter(|current| current.key.as_ref() == Some(&key)) {
        current.thread = Some(thread);
    }
    Ok(key)
}

/// Turns a run's steps into what followers are sent.
#[derive(Debug)]
pub struct Watcher {
    /// Where the steps go.
    pub feed: Arc<Feed>,
    shape: Shape,
    max_new_tokens: usize,
    /// Tokens from position `first_token` on.
    tokens: Vec<TokenRecord>,
    first_token: u32,
    pass: Option<Told>,
    /// Seconds of a decode pass, a running mean.
    pass_seconds: Option<f64>,
}

/// What is kept of a pass until its step is over.
#[derive(Debug)]
struct Told {
    first: u32,
    seen: u32,
    phase: Phase,
    elapsed_us: u64,
    cached: u64,
    log_beta: String,
    evicted: String,
    evictions: u64,
    cuts: Vec<CutTold>,
}

#[derive(Debug, Serialize)]
struct CutTold {
    layer: u16,
    head: u16,
    cached_before: u32,
    kept: u32,
    threshold: Option<f32>,
    ties: u32,
}

#[derive(Serialize)]
struct TokenTold<'a> {
    position: u32,
    token_id: u32,
    text: &'a str,
    origin: u8,
    role: u8,
    class: u8,
    logprob: Option<f32>,
    entropy: Option<f32>,
}

#[derive(Serialize)]
struct PassTold {
    phase: u8,
    elapsed_us: u64,
    cached: u64,
    evicted: u64,
}

#[derive(Serialize)]
struct StepTold<'a> {
    first: u32,
    seen: u32,
    tokens: Vec<TokenTold<'a>>,
    log_beta: &'a str,
    evicted: &'a str,
    cuts: &'a [CutTold],
    step: PassTold,
    rate: Option<f64>,
    eta_seconds: Option<f64>,
    cache_bytes: u64,
    full_bytes: u64,
}

impl Watcher {
    /// For a run of a model of this shape that generates at most so many tokens.
    pub fn new(shape: Shape, max_new_tokens: usize) -> Self {
        Self {
            feed: Arc::default(),
            shape,
            max_new_tokens,
            tokens: Vec::new(),
            first_token: 0,
            pass: None,
            pass_seconds: None,
        }
    }
}

impl Observer for Watcher {
    fn token(&mut self, token: &TokenRecord) {
        self.tokens.push(token.clone());
    }

    fn pass(&mut self, pass: &Pass) {
        let births = pass.log_beta.as_ref().map_or(&[][..], |grid| grid.cells());
        let births: Vec<u8> = births.iter().flat_map(|log_beta| log_beta.to_le_bytes()).collect();
        let evictions = pass.cut.as_ref().map_or(&[][..], |cut| &cut.evictions);
        let place = |head| self.shape.index(head) as u32;
        let pairs = evictions.iter().flat_map(|eviction| [place(eviction.head), eviction.position]);
        let evicted: Vec<u8> = pairs.flat_map(u32::to_le_bytes).collect();
        let cuts = pass.cut.iter().flat_map(|cut| &cut.heads).map(|cut| CutTold {
            layer: cut.head.layer,
            head: cut.head.head,
            cached_before: cut.cached_before,
            kept: cut.kept,
            threshold: cut.threshold.filter(|threshold| threshold.is_finite()),
            ties: cut.ties,
        });
        self.pass = Some(Told {
            first: pass.tokens_seen - pass.fed,
            seen: pass.tokens_seen,
            phase: pass.phase,
            elapsed_us: pass.elapsed_us,
            cached: pass.cached,
            log_beta: BASE64.encode(births),
            evicted: BASE64.encode(evicted),
            evictions: evictions.len() as u64,
            cuts: cuts.collect(),
        });
    }

    fn step(&mut self, progress: &Progress) {
        let Some(told) = self.pass.take() else { return };
        let seconds = told.elapsed_us as f64 / 1e6;
        let rate = match told.phase {
            Phase::Prefill => f64::from(told.seen - told.first) / seconds,
            Phase::Decode => {
                let mean = self.pass_seconds.map_or(seconds, |mean| mean + NEWEST * (seconds - mean));
                self.pass_seconds = Some(mean);
                1.0 / mean
            }
        };
        // How long reading takes says nothing of how long writing will.
        let left = self.max_new_tokens.saturating_sub(progress.ids.len()) as f64;
        let eta = self.pass_seconds.map(|mean| left * mean);
        // Those that were fed, and the one that was drawn.
        let tokens = (self.first_token..).zip(&self.tokens).filter(|(position, _)| *position <= told.seen);
        let tokens = tokens.map(|(position, token)| TokenTold {
            position,
            token_id: token.id,
            text: token.text.as_deref().unwrap_or(""),
            origin: origin_code(token.origin),
            role: role_code(token.role),
            class: class_code(token.class),
            logprob: token.logprob,
            entropy: token.entropy,
        });
        let step = StepTold {
            first: told.first,
            seen: told.seen,
            tokens: tokens.collect(),
            log_beta: &told.log_beta,
            evicted: &told.evicted,
            cuts: &told.cuts,
            step: PassTold {
                phase: phase_code(told.phase),
                elapsed_us: told.elapsed_us,
                cached: told.cached,
                evicted: told.evictions,
            },
            rate: Some(rate).filter(|rate| rate.is_finite()),
            eta_seconds: eta,
            cache_bytes: progress.cache_bytes,
            full_bytes: progress.full_bytes,
        };
        // Numbers and texts always can be JSON.
        let data = serde_json::to_string(&step).unwrap_or_default();
        self.feed.tell(told.first, told.seen, data);
        let fed = ((told.seen - self.first_token) as usize).min(self.tokens.len());
        self.tokens.drain(..fed);
        self.first_token += fed as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::grid::Grid;
    use crate::trace::step::{Cut, Eviction, HeadCut, KvHead, Origin};

    fn token(id: u32) -> TokenRecord {
        let (origin, text) = (Origin::Prompt, Some("x".to_owned()));
        TokenRecord { id, text, origin, role: None, class: "word", logprob: Some(f32::NAN), entropy: None }
    }

    fn pass(fed: u32, tokens_seen: u32, cut: Option<Cut>) -> Pass {
        let log_beta = Grid::from_cells(2, fed as usize, vec![-0.5; 2 * fed as usize]);
        Pass { phase: Phase::Decode, fed, tokens_seen, elapsed_us: 500_000, cached: 4, log_beta, cut, attention: None }
    }

    #[test]
    fn a_step_tells_its_tokens_births_and_departures() {
        let mut watcher = Watcher::new(Shape { layers: 1, kv_heads: 2 }, 5);
        let head = KvHead { layer: 0, head: 1 };
        [7, 8].iter().for_each(|&id| watcher.token(&token(id)));
        let eviction = Eviction { head, position: 0, at: 2, score: -1.0 };
        let heads = vec![HeadCut { head, cached_before: 2, kept: 1, threshold: Some(f32::NEG_INFINITY), ties: 0 }];
        watcher.pass(&pass(2, 2, Some(Cut { tokens_seen: 2, evictions: vec![eviction], heads })));
        watcher.token(&token(9));
        watcher.step(&Progress { ids: vec![9], ..Progress::default() });
        watcher.pass(&pass(1, 3, None));
        watcher.step(&Progress { ids: vec![9], ..Progress::default() });

        let steps = watcher.feed.since(0).steps;
        let told: Vec<serde_json::Value> =
            steps.iter().map(|step| serde_json::from_str(step.data.as_ref().unwrap()).unwrap()).collect();
        assert_eq!((&told[0]["first"], &told[0]["seen"]), (&0.into(), &2.into()));
        let positions = |step: &serde_json::Value| -> Vec<u64> {
            step["tokens"].as_array().unwrap().iter().map(|token| token["position"].as_u64().unwrap()).collect()
        };
        assert_eq!((positions(&told[0]), positions(&told[1])), (vec![0, 1, 2], vec![2]));
        assert!(told[0]["tokens"][0]["logprob"].is_null() && told[0]["cuts"][0]["threshold"].is_null());
        let evicted = BASE64.decode(told[0]["evicted"].as_str().unwrap()).unwrap();
        assert_eq!(evicted, [1u32, 0].map(u32::to_le_bytes).concat());
        let births = BASE64.decode(told[1]["log_beta"].as_str().unwrap()).unwrap();
        assert_eq!(births, [-0.5f32; 2].map(f32::to_le_bytes).concat());
        assert_eq!((told[1]["rate"].as_f64(), told[1]["eta_seconds"].as_f64()), (Some(2.0), Some(2.0)));
    }
}
