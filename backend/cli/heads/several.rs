//! Several traces of one model: what each head does in all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::table::role;
use super::{HeadsArgs, readings};
use crate::analysis::agreement::{Agreement, agreement};
use crate::analysis::reading::HeadReading;
use crate::cli::printer::Printer;
use crate::trace::read::Trace;
use crate::trace::step::Shape;

#[derive(Serialize)]
struct Row {
    layer: u16,
    head: u16,
    role: Option<&'static str>,
    with_role: usize,
    told: usize,
    runs: usize,
    share_low: Option<f64>,
    share_high: Option<f64>,
    holds: BTreeMap<&'static str, usize>,
    scores: BTreeMap<&'static str, Score>,
}

#[derive(Serialize)]
struct Score {
    mean: Option<f64>,
    half_width_95: Option<f64>,
}

/// Prints what heads have in common over several traces.
///
/// # Errors
/// When a trace cannot be read, or they are of models with other heads.
pub fn run(args: &HeadsArgs, printer: &Printer) -> Result<()> {
    let mut runs: Vec<Vec<HeadReading>> = Vec::new();
    let mut shape: Option<(Shape, &PathBuf)> = None;
    for path in &args.trace {
        // One at a time: a long run takes hundreds of megabytes.
        let trace = Trace::open(path)?;
        let own = trace.manifest.shape();
        let (first, first_path) = *shape.get_or_insert((own, path));
        ensure!(
            own == first,
            "{} has {} layers of {} KV heads and {} has {} of {}; compare runs of one model",
            path.display(),
            own.layers,
            own.kv_heads,
            first_path.display(),
            first.layers,
            first.kv_heads
        );
        runs.push(readings(&trace));
    }
    if args.by_layer {
        return super::depth::print(args, &runs.concat(), printer);
    }
    let heads = runs.first().map_or(0, Vec::len);
    let over_runs = |head: usize| runs.iter().map(|run| &run[head]).collect::<Vec<_>>();
    let found: Vec<Agreement> = (0..heads).filter_map(|head| agreement(&over_runs(head))).collect();
    if args.json {
        printer.line(&serde_json::to_string_pretty(&found.iter().map(row).collect::<Vec<_>>())?);
    } else if args.csv {
        printer.result(&csv(&found));
    } else {
        printer.result(&table(&found));
    }
    Ok(())
}

fn row(found: &Agreement) -> Row {
    Row {
        layer: found.head.layer,
        head: found.head.head,
        role: found.role.map(|role| role.as_str()),
        with_role: found.with_role,
        told: found.told,
        runs: found.runs,
        share_low: found.share.map(|(low, _)| low),
        share_high: found.share.map(|(_, high)| high),
        holds: found.holds.iter().map(|(role, runs)| (role.as_str(), *runs)).collect(),
        scores: found
            .scores
            .iter()
            .map(|(name, value)| {
                (*name, Score { mean: value.map(|(mean, _)| mean), half_width_95: value.and_then(|(_, half)| half) })
            })
            .collect(),
    }
}

fn csv(found: &[Agreement]) -> String {
    let mut text = "layer,head,role,with_role,told,runs,share_low,share_high".to_owned();
    for (name, _) in found.first().map_or(&[][..], |found| &found.scores) {
        text.push_str(&format!(",{name},{name}_half_width_95"));
    }
    text.push('\n');
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for found in found {
        let role = found.role.map_or("", |role| role.as_str());
        let (low, high) = (found.share.map(|share| share.0), found.share.map(|share| share.1));
        text.push_str(&format!("{},{},{role},{},", found.head.layer, found.head.head, found.with_role));
        text.push_str(&format!("{},{},{},{}", found.told, found.runs, number(low), number(high)));
        for (_, value) in &found.scores {
            let (mean, half) = (value.map(|value| value.0), value.and_then(|value| value.1));
            text.push_str(&format!(",{},{}", number(mean), number(half)));
        }
        text.push('\n');
    }
    text
}

/// 80 columns.
fn table(found: &[Agreement]) -> String {
    let mut text = format!(
        "{:<8}{:<15}{:>7}{:>11}{:>13}{:>13}{:>13}\n",
        "head", "role", "runs", "share", "purity", "first 4", "taken in"
    );
    for found in found {
        let name = found.role.map_or("unclear", role);
        let share =
            found.share.map_or("-".to_owned(), |(low, high)| format!("{:.0}-{:.0} %", low * 100.0, high * 100.0));
        let score = |wanted: &str| {
            let value = found.scores.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| *value);
            match value {
                Some((mean, Some(half))) => format!("{:.0} ± {:.0} %", mean * 100.0, half * 100.0),
                Some((mean, None)) => format!("{:.0} %", mean * 100.0),
                None => "-".to_owned(),
            }
        };
        text.push_str(&format!(
            "{:<8}{name:<15}{:>7}{share:>11}{:>13}{:>13}{:>13}\n",
            found.head.to_string(),
            format!("{}/{}", found.with_role, found.told),
            score("purity"),
            score("sink_survival"),
            score("admission"),
        ));
    }
    text.push_str(
        "\nThe role each head has most often, in how many of the runs that tell, and the\n\
         95 % interval of that share. Scores: mean and 95 % interval over these runs.\n",
    );
    text
}
