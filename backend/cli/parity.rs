//! `trimkv-trace parity`: whether a device computes what the authors' implementation recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::printer::Printer;
use crate::engine::device::{DTypeChoice, DeviceChoice, Opened, describe};
use crate::model::decoder::Decoder;
use crate::model::load::{Checkpoint, Wanted};
use crate::parity::check::{Outcome, Tolerance, check};
use crate::parity::recorded::RecordedRuns;

/// Exit code of a device that computes something else.
const OUTSIDE: u8 = 1;

/// `trimkv-trace parity`.
#[derive(Debug, Args)]
pub struct ParityArgs {
    /// Folder of recorded runs; the repository has one in tests/fixtures/golden
    pub recorded: PathBuf,
    /// Where to run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Number type: f32, f16 or bf16; auto is f32, the record's own
    #[arg(long, default_value = "auto")]
    dtype: DTypeChoice,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    device: String,
    dtype: &'static str,
    tolerance: Tolerance,
    within: usize,
    outside: usize,
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    within: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Checks every recorded run.
///
/// # Errors
/// When the runs cannot be read or the device cannot be used.
pub fn run(args: &ParityArgs, printer: &Printer) -> Result<ExitCode> {
    let recorded = RecordedRuns::open(&args.recorded)?;
    ensure!(!recorded.cases.is_empty(), "{} lists no runs", args.recorded.display());
    let Opened { device, note } = args.device.open()?;
    note.iter().for_each(|note| printer.note(note));
    let dtype = args.dtype.resolve(&device, Some("float32"));
    let tolerance = Tolerance::of(dtype);
    let mut models: BTreeMap<String, Decoder> = BTreeMap::new();
    let mut runs = Vec::new();
    for files in &recorded.cases {
        if !models.contains_key(&files.checkpoint) {
            let gates = recorded.checkpoint(files).display().to_string();
            let wanted = Wanted { gates: Some(gates), ..Wanted::default() };
            models.insert(files.checkpoint.clone(), Checkpoint::open(&wanted)?.load(dtype, &device)?.model);
        }
        let case = recorded.case(files)?;
        let outcome = check(&models[&files.checkpoint], &case, &recorded.numbers(files, &case)?)?;
        let run = format!("{}/{}", files.checkpoint, files.run);
        runs.push(Row { run, within: outcome.is_within(tolerance), outcome });
    }
    let within = runs.iter().filter(|row| row.within).count();
    let outside = runs.len() - within;
    let report = Report { device: describe(&device), dtype: dtype.as_str(), tolerance, within, outside, runs };
    printer.line(&if args.json { serde_json::to_string_pretty(&report)? } else { report.table() });
    Ok(if outside == 0 { ExitCode::SUCCESS } else { ExitCode::from(OUTSIDE) })
}

impl Report {
    fn table(&self) -> String {
        let mut lines = vec![format!("{:<30} {:>10} {:>10} {:>8}  kept tokens", "run", "logits", "log beta", "passes")];
        for Row { run, within, outcome } in &self.runs {
            let kept = match outcome.parting {
                None => "as recorded".to_owned(),
                Some(parting) => format!(
                    "{} heads differ after {} tokens, {:.2} of the tolerance",
                    parting.heads, parting.tokens_seen, parting.gap
                ),
            };
            let passes = format!("{}/{}", outcome.compared, outcome.passes);
            let mark = if *within { "" } else { "  OUTSIDE" };
            lines.push(format!(
                "{run:<30} {:>10.1e} {:>10.1e} {passes:>8}  {kept}{mark}",
                outcome.logits, outcome.log_beta
            ));
        }
        lines.push(format!(
            "{} of {} runs within the tolerance on {} in {}",
            self.within,
            self.runs.len(),
            self.device,
            self.dtype
        ));
        lines.join("\n")
    }
}
