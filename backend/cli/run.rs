//! `trimkv-trace PROMPT`: one generation, traced.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;

use super::args::RunArgs;
use super::printer::Printer;
use super::summary::Summary;
#[cfg(feature = "view")]
use super::watched::Watched;
use crate::engine::generation::Stop;
use crate::run::place::{TRACES, free_target};
use crate::run::prompt;
use crate::run::ready::{Given, Ready, check};
use crate::run::session::{Observer, Progress};
use crate::trace::files::{name, partial};

/// Exit code of a run that the user stopped, as shells count it.
pub(super) const INTERRUPTED: u8 = 130;

/// Set by the first Ctrl-C; a second one ends the program at once.
pub(super) static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Traces one generation.
///
/// # Errors
/// When the request cannot be met.
pub fn run(args: RunArgs, printer: &Printer) -> Result<ExitCode> {
    // Whatever can be refused without a model is refused before one is loaded.
    check(&args.request)?;
    let text = args.prompt.as_deref().map(prompt::read_text).transpose()?;
    let given = match (&args.prompt_ids, &text) {
        (Some(path), _) => Given::Ids(path),
        (None, Some(text)) => Given::Text(text),
        (None, None) => bail!("no prompt; name a text file, or - for standard input"),
    };
    let target = target(&args)?;
    let spinner = Spinner::start(printer, "loading the model");
    let file = args.prompt_ids.as_deref().or(args.prompt.as_deref()).filter(|path| *path != Path::new("-"));
    let file = file.map(|path| path.display().to_string());
    let mut ready = Ready::new(&args.request, given, file, printer.is_interactive() && !args.json)?;
    ready.note.iter().for_each(|note| printer.note(note));
    ready.warnings.iter().for_each(|warning| printer.warning(warning));
    stop_on_ctrl_c()?;
    let writer = ready.writer(&target)?;
    spinner.say("reading the prompt");
    let shows_text = !args.json && !args.quiet;
    let mut shown = Shown { spinner, printer: shows_text.then_some(printer) };
    let mut progress = Progress::default();
    #[cfg(feature = "view")]
    let mut watched = args.open.then(|| Watched::start(&args, printer, &target, &ready)).transpose()?;
    #[cfg(feature = "view")]
    let outcome = match &mut watched {
        Some(watched) => watched.run(&ready, writer, &mut shown, &mut progress),
        None => ready.run(writer, &INTERRUPT, &mut shown, &mut progress),
    };
    #[cfg(not(feature = "view"))]
    let outcome = ready.run(writer, &INTERRUPT, &mut shown, &mut progress);
    shown.spinner.stop();
    let has_text = ready.loaded.tokenizer.is_some();
    if shows_text {
        let ids = || progress.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        printer.line(&if has_text { String::new() } else { ids() });
    }
    let unfinished = partial(&target);
    let summary = Summary {
        manifest: &ready.manifest,
        progress: &progress,
        trace: outcome.as_deref().unwrap_or(&unfinished),
        has_text,
    };
    tell(&args, printer, &summary, outcome.as_ref().err());
    outcome?;
    #[cfg(feature = "view")]
    if let Some(watched) = watched {
        watched.wait(printer)?;
    }
    Ok(if progress.stop == Some(Stop::Interrupted) { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Shows a run's text as it comes.
struct Shown<'a> {
    spinner: Spinner,
    printer: Option<&'a Printer>,
}

impl Observer for Shown<'_> {
    fn text(&mut self, text: &str) {
        self.spinner.stop();
        if let Some(printer) = self.printer {
            printer.result(text);
        }
    }
}

fn tell(args: &RunArgs, printer: &Printer, summary: &Summary<'_>, error: Option<&anyhow::Error>) {
    if args.json {
        printer.line(&summary.json(error));
    } else if error.is_none() && args.quiet {
        printer.line(&summary.trace.display().to_string());
    } else if error.is_none() {
        printer.note("");
        summary.print(printer);
    }
}

/// Where the trace will be. A directory that exists and is no trace holds the trace inside it.
fn target(args: &RunArgs) -> Result<PathBuf> {
    let parent = match &args.out {
        Some(out) if !out.is_dir() || out.join(name::MANIFEST).exists() => {
            ensure!(out.file_name().is_some(), "--out {} names no directory; give the trace a name", out.display());
            let taken = [out.clone(), partial(out)].into_iter().find(|path| path.exists());
            if let Some(taken) = taken {
                bail!("{} exists; choose another name with --out, or remove it", taken.display());
            }
            return Ok(out.clone());
        }
        Some(out) => out.clone(),
        None => PathBuf::from(TRACES),
    };
    let given = args.prompt_ids.as_deref().or(args.prompt.as_deref()).unwrap_or(Path::new("-"));
    let stem =
        if given == Path::new("-") { "stdin".into() } else { given.file_stem().unwrap_or_default().to_string_lossy() };
    free_target(&parent, &stem)
}

pub(super) fn stop_on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPT.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// Shows that something is going on while there is nothing else to show.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn start(printer: &Printer, message: &'static str) -> Self {
        let bar = printer.is_interactive().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.set_message(message);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self(bar)
    }

    fn say(&self, message: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(message);
        }
    }

    fn stop(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
