//! `trimkv-trace bench --kernels`: each kernel of a step against the tensor operations it stands for.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{BenchArgs, Budget, Model};
use crate::bench::captured;
use crate::bench::kernels::{Compared, Timer, Work, compare};
use crate::cli::printer::Printer;
use crate::engine::device::{Opened, describe};
use crate::model::captured::machine_of;
use crate::model::load::{Checkpoint, Wanted};

/// Calls in a row that are timed together.
const CALLS: usize = 200;

#[derive(Serialize)]
struct Report {
    tool: String,
    model: String,
    device: String,
    dtype: &'static str,
    batch: usize,
    columns: usize,
    rounds: usize,
    kernels: Vec<Compared>,
}

/// Measures and prints.
///
/// # Errors
/// When the device cannot be opened or fails.
pub(super) fn run(args: &BenchArgs, printer: &Printer) -> Result<ExitCode> {
    let Opened { device, note } = args.device.open()?;
    note.iter().for_each(|note| printer.note(note));
    let (config, gate, name) = match args.model {
        Model::BuiltIn => {
            let checkpoint = Checkpoint::open(&Wanted::default())?;
            (checkpoint.config().clone(), checkpoint.gate_config().cloned(), "builtin".to_owned())
        }
        Model::Shape(shape) => (shape.config(), Some(shape.gate_config()), shape.name.to_owned()),
    };
    let dtype = args.dtype.resolve(&device, config.stored_dtype.as_deref());
    let columns = match args.budget {
        Budget::Full => args.context,
        Budget::Tokens(budget) => budget as usize + args.buffer as usize,
    };
    ensure!(columns > 0, "a cache without entries gives attention nothing to do; ask for a larger --budget");
    let work = Work {
        config: &config,
        gate_inner: gate.map_or(config.hidden, |gate| gate.intermediate),
        sequences: args.batch,
        columns,
        dtype,
        device: &device,
    };
    let timer = Timer { device: &device, calls: CALLS, rounds: args.rounds };
    let mut kernels = compare(work, timer)?;
    if let Some(machine) = machine_of(&device) {
        kernels.extend(captured::compare(work, &*machine, timer)?);
    }
    let report = Report {
        tool: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        model: name,
        device: describe(&device),
        dtype: dtype.as_str(),
        batch: args.batch,
        columns,
        rounds: args.rounds,
        kernels,
    };
    printer.line(&if args.json { serde_json::to_string_pretty(&report)? } else { report.table() });
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn table(&self) -> String {
        let mut lines = vec![
            format!("{}, {}, {}", self.model, self.dtype, self.device),
            format!(
                "one token of {} sequences, {} entries a head; medians of {} rounds of {CALLS} calls",
                self.batch, self.columns, self.rounds
            ),
            String::new(),
            format!("{:<14} {:>12} {:>12} {:>8} {:>12}", "kernel", "itself", "composed", "faster", "difference"),
        ];
        lines.extend(self.kernels.iter().map(|compared| {
            let Compared { kernel, kernel_seconds, composed_seconds, difference } = compared;
            format!(
                "{kernel:<14} {:>9.2} us {:>9.2} us {:>7.1}x {difference:>12.1e}",
                kernel_seconds * 1e6,
                composed_seconds * 1e6,
                composed_seconds / kernel_seconds
            )
        }));
        lines.join("\n")
    }
}
