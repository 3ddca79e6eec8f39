//! `trimkv-trace evaluate`: how well a model answers under every policy and budget.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::printer::Printer;
use crate::corpus::{Document, Family, Plan};
use crate::engine::device::{DTypeChoice, DeviceChoice};
use crate::evaluation::{Cell, Estimate, Exam, Marked, Outcome, Protocol, Row, rows};
use crate::model::load::{Checkpoint, Loaded, Wanted};
use crate::policy::{Policy, PolicyKind};

/// Seeds of held-out documents start here; training uses smaller ones.
pub const HELD_OUT: u64 = 1_000_000_000_000;
/// A head attends to token 0 when it gives it more than this, on average ("When Attention Sink Emerges", Gu et al. 2024).
const SINK_ATTENTION: f64 = 0.3;
/// Documents of each family over which attention to token 0 is averaged.
const SINK_DOCUMENTS: usize = 8;

/// `trimkv-trace evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Model: builtin, a directory, or owner/name on the Hugging Face hub [default: builtin]
    #[arg(long, value_name = "NAME|DIR|REPO", help_heading = "Model")]
    pub model: Option<String>,
    /// Gates of this model; several are averaged, as seeds of one training [default: the model's own]
    #[arg(long, value_name = "DIR|REPO,...", value_delimiter = ',', help_heading = "Model")]
    pub gates: Vec<String>,

    /// Documents of each family
    #[arg(long, value_name = "N", default_value_t = 300, help_heading = "Documents")]
    pub documents: usize,
    /// Tokens of a document
    #[arg(long, value_name = "TOKENS", default_value_t = 512, help_heading = "Documents")]
    pub tokens: usize,
    /// Facts told of each kind (sums stop at 3)
    #[arg(long, value_name = "N", default_value_t = 6, help_heading = "Documents")]
    pub facts: usize,
    /// Families to ask about [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Documents")]
    pub families: Vec<Family>,
    /// Seed of the first document, counted from the first held-out one
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Documents")]
    pub seed: u64,

    /// Policies beside the full cache
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "trimkv,streaming-llm,window,random",
        help_heading = "Cache"
    )]
    pub policies: Vec<PolicyKind>,
    /// Budgets
    #[arg(
        long,
        value_name = "M,...",
        value_delimiter = ',',
        default_value = "16,32,48,64,96,128,192,256",
        help_heading = "Cache"
    )]
    pub budgets: Vec<u32>,
    /// Tokens a head may overrun its budget
    #[arg(long, value_name = "TOKENS", default_value_t = 1, help_heading = "Cache")]
    pub buffer: u32,
    /// When the cache is cut: unseen (after the story, before the question is known), streamed:N (every N tokens), whole
    #[arg(long, value_name = "WHEN", default_value = "unseen", help_heading = "Cache")]
    pub protocol: Protocol,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Examines the model and prints what came out.
///
/// # Errors
/// When the model cannot be loaded or cannot read the documents.
pub fn run(args: &EvaluateArgs, printer: &Printer) -> Result<()> {
    ensure!(args.documents > 0, "--documents 0 asks nothing; give at least 1");
    ensure!(args.budgets.iter().all(|&budget| budget > 0), "--budgets holds 0, which keeps nothing; give at least 1");
    let told = cells(args, 0)?;
    let start = Instant::now();
    let families: Vec<Family> =
        Family::ALL.into_iter().filter(|family| args.families.is_empty() || args.families.contains(family)).collect();
    let documents = documents(args, &families);
    let seeds: Vec<Option<&String>> =
        if args.gates.is_empty() { vec![None] } else { args.gates.iter().map(Some).collect() };
    let mut marked: Vec<Marked> =
        documents.iter().map(|(family, _)| Marked { family: *family, results: Vec::new() }).collect();
    let mut prompt_tokens = 0.0;
    let mut sinks = Vec::new();
    for (seed, gates) in seeds.iter().enumerate() {
        let loaded = load(args, gates.map(String::as_str))?;
        let cells = cells(args, seed as u64)?;
        let wanted: Vec<usize> =
            (0..cells.len()).filter(|&cell| seed == 0 || depends_on_seed(cells[cell].kind)).collect();
        let kept: Vec<Cell> =
            cells.into_iter().enumerate().filter(|(cell, _)| wanted.contains(cell)).map(|(_, cell)| cell).collect();
        let exam = exam(&loaded, args.protocol, &kept)?;
        let taken = examine(&exam, &documents, printer, &format!("gates {} of {}", seed + 1, seeds.len()))?;
        if seed == 0 {
            prompt_tokens = taken.iter().map(|(_, tokens)| *tokens as f64).sum::<f64>() / taken.len() as f64;
            sinks = attention_on_first(&exam, &documents, &families)?;
        }
        for (one, (outcomes, _)) in marked.iter_mut().zip(taken) {
            let mut all = one.results.first().cloned().unwrap_or_default();
            all.resize(all.len().max(outcomes.len()), Outcome { right: false, nll: 0.0 });
            for (&cell, outcome) in wanted.iter().zip(outcomes) {
                all[cell] = outcome;
            }
            one.results.push(all);
        }
    }
    let report = Report {
        args,
        rows: rows(&marked, &families),
        guesses: families.iter().map(|family| guess(&documents, *family)).collect(),
        families,
        cells: told,
        prompt_tokens,
        sinks,
        seeds: seeds.len(),
    };
    if args.json {
        printer.line(&serde_json::to_string_pretty(&report.json())?);
    } else {
        printer.result(&report.tables());
        printer.note(&format!("\nexamined in {:.0} s", start.elapsed().as_secs_f64()));
    }
    Ok(())
}

fn documents(args: &EvaluateArgs, families: &[Family]) -> Vec<(Family, Document)> {
    let plan =
        |only| Plan { tokens: args.tokens, turns: 1, fewest_facts: args.facts, facts: args.facts, only: Some(only) };
    let seeds = HELD_OUT.saturating_add(args.seed)..;
    let of = |family| (0..args.documents).map(move |_| family);
    families
        .iter()
        .flat_map(|&family| of(family))
        .zip(seeds)
        .map(|(family, seed)| (family, Document::new(plan(family), seed)))
        .collect()
}

fn guess(documents: &[(Family, Document)], family: Family) -> f64 {
    let own = documents.iter().filter(|(other, _)| *other == family);
    let guesses: Vec<f64> = own.filter_map(|(_, document)| document.turns.first().map(|turn| turn.guess)).collect();
    guesses.iter().sum::<f64>() / guesses.len().max(1) as f64
}

/// The full cache, then every policy at every budget.
fn cells(args: &EvaluateArgs, seed: u64) -> Result<Vec<Cell>> {
    let full = Cell { kind: PolicyKind::Full, budget: None, policy: Policy::full() };
    let others = args.policies.iter().filter(|kind| **kind != PolicyKind::Full);
    let others = others.flat_map(|&kind| args.budgets.iter().map(move |&budget| (kind, budget)));
    let cell = |(kind, budget): (PolicyKind, u32)| {
        Ok(Cell { kind, budget: Some(budget), policy: kind.policy(budget, args.buffer, seed)? })
    };
    std::iter::once(Ok(full)).chain(others.map(cell)).collect()
}

/// Whether another gate seed gives another result.
fn depends_on_seed(kind: PolicyKind) -> bool {
    kind.needs_gates() || kind == PolicyKind::Random
}

fn load(args: &EvaluateArgs, gates: Option<&str>) -> Result<Loaded> {
    let checkpoint = Checkpoint::open(&Wanted {
        model: args.model.clone(),
        gates: gates.map(str::to_owned),
        revision: None,
        show_progress: false,
    })?;
    let device = DeviceChoice::Auto.open()?.device;
    let dtype = DTypeChoice::Auto.resolve(&device, checkpoint.config().stored_dtype.as_deref());
    let loaded = checkpoint.load(dtype, &device)?;
    let needs = args.policies.iter().any(|kind| kind.needs_gates());
    ensure!(
        !needs || loaded.model.has_gates(),
        "trimkv ranks tokens by retention gates, and this model has none; add --gates"
    );
    Ok(loaded)
}

fn exam<'a>(loaded: &'a Loaded, protocol: Protocol, cells: &'a [Cell]) -> Result<Exam<'a>> {
    let tokenizer =
        loaded.tokenizer.as_ref().context("the model has no tokenizer.json, so it cannot read documents")?;
    let template = match &loaded.template {
        Ok(template) => template,
        Err(error) => bail!("the documents are chats, and the model's chat template cannot be used ({error})"),
    };
    Ok(Exam { model: &loaded.model, tokenizer, template, protocol, cells })
}

/// How one document went in every cell, and its prompt's tokens.
type Taken = (Vec<Outcome>, usize);

/// Examines all documents, on as many threads as there are cores.
fn examine(exam: &Exam<'_>, documents: &[(Family, Document)], printer: &Printer, what: &str) -> Result<Vec<Taken>> {
    // A GPU orders its work by the thread that asks for it, so there is one.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if exam.model.device().is_cpu() { cores.min(documents.len().max(1)) } else { 1 };
    let done = AtomicUsize::new(0);
    let bar = printer.progress(documents.len() as u64, what);
    let shard = |first: usize| -> Result<Vec<(usize, Taken)>> {
        let own = documents.iter().enumerate().skip(first).step_by(threads);
        own.map(|(index, (_, document))| {
            let taken = exam.take(document)?;
            bar.set(done.fetch_add(1, Ordering::Relaxed) as u64 + 1);
            Ok((index, taken))
        })
        .collect()
    };
    let shards = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn({
                    let shard = &shard;
                    move || shard(first)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut taken: Vec<_> = shards.into_iter().flatten().collect();
    taken.sort_by_key(|(index, _)| *index);
    Ok(taken.into_iter().map(|(_, taken)| taken).collect())
}

/// Mean attention on token 0 per head, over the first few documents of each family.
fn attention_on_first(exam: &Exam<'_>, documents: &[(Family, Document)], families: &[Family]) -> Result<Vec<f64>> {
    let mut sums = vec![0.0; exam.model.shape().heads()];
    let mut count = 0.0;
    for family in families {
        for (_, document) in documents.iter().filter(|(other, _)| other == family).take(SINK_DOCUMENTS) {
            for (sum, mean) in sums.iter_mut().zip(exam.attention_on_first(document)?) {
                *sum += mean;
            }
            count += 1.0;
        }
    }
    Ok(sums.into_iter().map(|sum| sum / count).collect())
}

/// What came out, ready to be written.
struct Report<'a> {
    args: &'a EvaluateArgs,
    families: Vec<Family>,
    guesses: Vec<f64>,
    cells: Vec<Cell>,
    rows: Vec<Row>,
    prompt_tokens: f64,
    sinks: Vec<f64>,
    seeds: usize,
}

impl Report<'_> {
    fn sink_rate(&self) -> f64 {
        self.sinks.iter().filter(|share| **share > SINK_ATTENTION).count() as f64 / self.sinks.len().max(1) as f64
    }

    fn row(&self, family: Option<Family>, cell: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.family == family && row.cell == cell)
    }

    fn tables(&self) -> String {
        let args = self.args;
        let mut text = format!(
            "{} held-out documents of each family, prompts of {:.0} tokens on average, {} facts of each kind told;\n\
             {} of gates; protocol {}, buffer {}. Right: word for word, in %, with half the 95 % interval over documents.\n\
             Sink rate of the base (KV heads that give token 0 over {SINK_ATTENTION} of their attention): {:.2}.\n\n",
            args.documents,
            self.prompt_tokens,
            args.facts,
            if self.seeds == 1 { "one set".to_owned() } else { format!("{} seeds", self.seeds) },
            args.protocol,
            args.buffer,
            self.sink_rate(),
        );
        let names: Vec<&str> = self.families.iter().map(|family| family.as_str()).collect();
        text.push_str(&format!(
            "| policy | M | {} | all | seeds | nll |\n|---|---|{}\n",
            names.join(" | "),
            "---|".repeat(names.len() + 3)
        ));
        let guesses: Vec<String> = self.guesses.iter().map(|guess| format!("{:.1}", guess * 100.0)).collect();
        let mean = self.guesses.iter().sum::<f64>() / self.guesses.len().max(1) as f64 * 100.0;
        text.push_str(&format!("| a guess among the story's facts | | {} | {mean:.1} | | |\n", guesses.join(" | ")));
        for (index, cell) in self.cells.iter().enumerate() {
            let groups = self.families.iter().copied().map(Some).chain(std::iter::once(None));
            let shares: Vec<String> =
                groups.filter_map(|family| self.row(family, index)).map(|row| percent(row.accuracy)).collect();
            let Some(all) = self.row(None, index) else { continue };
            let budget = cell.budget.map_or("all".to_owned(), |budget| budget.to_string());
            let seeds = if self.seeds > 1 && depends_on_seed(cell.kind) {
                format!("{:.1} to {:.1}", all.seeds.0 * 100.0, all.seeds.1 * 100.0)
            } else {
                String::new()
            };
            text.push_str(&format!(
                "| {} | {budget} | {} | {seeds} | {:.3} |\n",
                cell.kind,
                shares.join(" | "),
                all.nll.mean
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let estimate = |e: Estimate| json!({ "mean": e.mean, "half_width": e.half_width });
        let cells = self.rows.iter().map(|row| {
            json!({
                "policy": self.cells[row.cell].kind.as_str(),
                "budget": self.cells[row.cell].budget,
                "family": row.family.map_or("all", Family::as_str),
                "documents": row.documents,
                "accuracy": estimate(row.accuracy),
                "seeds": [row.seeds.0, row.seeds.1],
                "nll": estimate(row.nll),
            })
        });
        json!({
            "model": self.args.model.as_deref().unwrap_or("builtin"),
            "gates": self.args.gates,
            "documents": self.args.documents,
            "tokens": self.args.tokens,
            "facts": self.args.facts,
            "first_seed": HELD_OUT.saturating_add(self.args.seed),
            "protocol": self.args.protocol.to_string(),
            "buffer": self.args.buffer,
            "prompt_tokens": self.prompt_tokens,
            "guess": self.families.iter().zip(&self.guesses).map(|(f, g)| (f.to_string(), json!(g))).collect::<serde_json::Map<_, _>>(),
            "sink_rate": self.sink_rate(),
            "attention_on_first": self.sinks,
            "cells": cells.collect::<Vec<_>>(),
        })
    }
}

fn percent(share: Estimate) -> String {
    format!("{:.1} ± {:.1}", share.mean * 100.0, share.half_width * 100.0)
}
