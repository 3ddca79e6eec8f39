//! `trimkv-trace PROMPT --open`: the dashboard in the process of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::args::RunArgs;
use super::open::{PORT, ServedArgs, announce, bind, runtime};
use super::printer::Printer;
use super::run::INTERRUPT;
use crate::run::ready::Ready;
use crate::run::session::{Observer, Progress};
use crate::trace::step::{Pass, TokenRecord};
use crate::trace::write::TraceWriter;
use crate::web::library::Library;
use crate::web::router::Dashboard;
use crate::web::runs::{Watcher, delist, enlist};

/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// A dashboard that shows a run of this process.
pub struct Watched {
    runtime: Runtime,
    serving: JoinHandle<std::io::Result<()>>,
    dashboard: Dashboard,
    key: String,
    watcher: Watcher,
    interrupt: Arc<AtomicBool>,
}

impl Watched {
    /// Serves the page of a run whose trace has begun at `target`. Ctrl-C ends the run, then the server.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(args: &RunArgs, printer: &Printer, target: &Path, ready: &Ready) -> Result<Self> {
        let served = ServedArgs {
            port: args.port.unwrap_or(PORT),
            no_browser: args.no_browser,
            host: std::net::Ipv4Addr::LOCALHOST.into(),
            token: None,
        };
        let target = std::path::absolute(target)?;
        let folder = target.parent().unwrap_or(Path::new("/")).to_owned();
        let library =
            Library::new(vec![folder], Vec::new()).context("the temporary directory cannot hold the bundled traces")?;
        let runtime = runtime()?;
        let server = runtime.block_on(bind(library, &served))?;
        let dashboard = server.shared();
        let interrupt = dashboard.runs.claim().map_err(anyhow::Error::from)?;
        let (key, watcher) = enlist(&dashboard, &target, ready);
        announce(&server, &served, &format!("t/{key}"), printer, true);
        let (ender, stops) = (server.ender(), interrupt.clone());
        let serving = runtime.spawn(server.run());
        std::thread::spawn(move || {
            while !INTERRUPT.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            stops.store(true, Ordering::Relaxed);
            ender.end();
        });
        Ok(Self { runtime, serving, dashboard, key, watcher, interrupt })
    }

    /// Runs, with another observer beside the dashboard.
    ///
    /// # Errors
    /// When the model fails or the trace cannot be written.
    pub fn run(
        &mut self,
        ready: &Ready,
        writer: TraceWriter,
        observer: &mut dyn Observer,
        progress: &mut Progress,
    ) -> Result<PathBuf> {
        let mut both = Both { first: observer, second: &mut self.watcher };
        let outcome = ready.run(writer, &self.interrupt, &mut both, progress);
        delist(&self.dashboard, &self.key, &self.watcher.feed, progress, outcome.is_ok());
        outcome
    }

    /// Goes on serving until Ctrl-C.
    ///
    /// # Errors
    /// When the server fails.
    pub fn wait(self, printer: &Printer) -> Result<()> {
        if !INTERRUPT.load(Ordering::Relaxed) {
            printer.note("the dashboard stays; Ctrl-C ends it");
        }
        self.runtime.block_on(self.serving).context("the server failed")?.context("the server failed")
    }
}

struct Both<'a> {
    first: &'a mut dyn Observer,
    second: &'a mut dyn Observer,
}

impl Observer for Both<'_> {
    fn token(&mut self, token: &TokenRecord) {
        self.first.token(token);
        self.second.token(token);
    }

    fn pass(&mut self, pass: &Pass) {
        self.first.pass(pass);
        self.second.pass(pass);
    }

    fn text(&mut self, text: &str) {
        self.first.text(text);
        self.second.text(text);
    }

    fn step(&mut self, progress: &Progress) {
        self.first.step(progress);
        self.second.step(progress);
    }
}
