//! `trimkv-trace report`: one file that shows a trace.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::printer::Printer;
use crate::report;
use crate::size::size;
use crate::trace::error::TraceError;
use crate::trace::files::write_whole;
use crate::trace::read::Trace;
use crate::web::assets;

/// `trimkv-trace report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trimkv-trace report traces/codes -o codes.html
  trimkv-trace report traces/long -o long.html --layer 4 --layer 5")]
pub struct ReportArgs {
    /// The trace's directory
    pub trace: PathBuf,
    /// The file to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// A layer to tell token by token; may be repeated. Runs of at most 8,192 tokens have all layers
    #[arg(long = "layer", value_name = "LAYER")]
    pub layers: Vec<u16>,
    /// The page's title
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
}

/// Writes the report of a trace.
///
/// # Errors
/// When the trace cannot be read, has no such layer, or the file cannot be written.
pub fn run(args: &ReportArgs, printer: &Printer) -> Result<()> {
    let to_stdout = args.out.as_os_str() == "-";
    ensure!(to_stdout || !args.out.is_dir(), "{} is a directory; name the file to write", args.out.display());
    let html = report::of_trace(&Trace::open(&args.trace)?, args.title.as_deref(), &args.layers, assets::read)?;
    if to_stdout {
        printer.result(&html);
        return Ok(());
    }
    write_whole(&args.out, |file| {
        file.write_all(html.as_bytes()).map_err(|error| TraceError::write(&args.out, &error))
    })?;
    printer.line(&args.out.display().to_string());
    printer.note(&format!("{} in one file; open it in a browser", size(html.len() as u64)));
    Ok(())
}
