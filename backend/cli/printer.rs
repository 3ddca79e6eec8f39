//! The only place that writes to the standard streams: results to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "generate")]
use indicatif::{ProgressBar, ProgressStyle};

use crate::trace::tables::is_decoding;

/// Columns of a terminal that does not say.
const DEFAULT_WIDTH: usize = 80;

/// Writes what people and programs read.
#[derive(Debug)]
pub struct Printer {
    quiet: bool,
    colour: bool,
    /// Whether whoever read our stdout has gone.
    deaf: AtomicBool,
}

impl Printer {
    /// A printer for the process's streams. Colour only on a terminal, and never when `NO_COLOR` is set.
    pub fn new(quiet: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { quiet, colour: wanted && io::stderr().is_terminal(), deaf: AtomicBool::new(false) }
    }

    /// Whether messages may move about (progress).
    pub fn is_interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A bar that shows how much of `total` is done; hidden when messages may not move about.
    #[cfg(feature = "generate")]
    pub fn progress(&self, total: u64, what: &str) -> Bar {
        let bar = if self.is_interactive() { ProgressBar::new(total) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Bar(bar)
    }

    /// Columns that a table may take: what `COLUMNS` or the terminal says, else 80.
    pub fn width(&self) -> usize {
        let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let of_terminal = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        told.or_else(of_terminal).unwrap_or(DEFAULT_WIDTH).max(DEFAULT_WIDTH)
    }

    /// A piece of a result, as it is, at once.
    pub fn result(&self, text: &str) {
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // `| head` closed the pipe; the run itself goes on and its trace is complete.
            self.deaf.store(true, Ordering::Relaxed);
        }
    }

    /// A line of a result.
    pub fn line(&self, text: &str) {
        self.result(&format!("{text}\n"));
    }

    /// A message for people.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            to_stderr(&format!("{text}\n"));
        }
    }

    /// A labelled row of a summary.
    pub fn row(&self, label: &str, text: &str) {
        let label = format!("{label:<9}");
        let label = if self.colour { format!("\x1b[2m{label}\x1b[0m") } else { label };
        self.note(&format!("{label} {text}"));
    }

    /// Something people should know before they trust the result.
    pub fn warning(&self, text: &str) {
        let word = if self.colour { "\x1b[33mwarning:\x1b[0m" } else { "warning:" };
        self.note(&format!("{word} {text}"));
    }

    /// The error that ends a command. Printed even when quiet.
    pub fn error(&self, error: &anyhow::Error) {
        let word = if self.colour { "\x1b[31merror:\x1b[0m" } else { "error:" };
        let mut chain: Vec<String> = Vec::new();
        for cause in error.chain().map(ToString::to_string) {
            // Our own sentences already hold the system's reason.
            if !chain.iter().any(|told| told.contains(&cause)) {
                chain.push(cause);
            }
        }
        to_stderr(&format!("{word} {}\n", chain.join(": ")));
    }
}

/// How far something has come. It goes when it is dropped.
#[cfg(feature = "generate")]
#[derive(Debug)]
pub struct Bar(ProgressBar);

#[cfg(feature = "generate")]
impl Bar {
    /// Says how much is done.
    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

#[cfg(feature = "generate")]
impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn to_stderr(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says of a panic that it is our bug, in one line.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        if is_decoding() {
            return;
        }
        let place = info.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        let what = info.payload_as_str().unwrap_or("no message");
        to_stderr(&format!("bug: {what}{place}; please report this with the command you ran\n"));
    }));
}
