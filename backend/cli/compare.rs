//! `trimkv-trace compare`: what one run keeps of a text and another forgets.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::printer::Printer;
use crate::analysis::compare::{ClassComparison, HeadComparison, TokenComparison, classes, disputed, heads};
use crate::text::class::TokenClass;
use crate::trace::manifest::PolicyFacts;
use crate::trace::read::Trace;
use crate::trace::step::Origin;

/// Tokens that are named on each side.
const NAMED: usize = 8;
/// Characters of a token's text that are shown.
const TEXT: usize = 16;

/// `trimkv-trace compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first trace's directory
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// The second's: the same model's run over the same text
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    traces: [String; 2],
    policies: [PolicyFacts; 2],
    /// Tokens that both read, from the first on.
    tokens: u32,
    /// Whether one went on with another token after them.
    parts: bool,
    heads: Vec<HeadRow>,
    classes: Vec<ClassRow>,
    /// Tokens that more heads of one run hold, of the first and of the second.
    disputed: [Vec<TokenRow>; 2],
}

#[derive(Serialize)]
struct HeadRow {
    head: String,
    kept: [u32; 2],
    shared: u32,
    overlap: Option<f64>,
    chance: Option<f64>,
    lives: Option<f64>,
}

#[derive(Serialize)]
struct ClassRow {
    class: &'static str,
    tokens: u32,
    life: [f64; 2],
    kept: [f64; 2],
}

#[derive(Serialize)]
struct TokenRow {
    position: u32,
    text: Option<String>,
    heads: [u32; 2],
}

/// Compares two traces.
///
/// # Errors
/// When one cannot be read, or they are not of the same model's shape and the same text.
pub fn run(args: &CompareArgs, printer: &Printer) -> Result<()> {
    let traces = [Trace::open(&args.first)?, Trace::open(&args.second)?];
    let [first, second] = &traces;
    let runs = [&first.recording.lifetimes, &second.recording.lifetimes];
    let shapes = runs.map(|lives| lives.shape());
    ensure!(
        shapes[0] == shapes[1],
        "{} has {} layers of {} KV heads and {} has {} of {}: only runs of one model can be compared",
        args.first.display(),
        shapes[0].layers,
        shapes[0].kv_heads,
        args.second.display(),
        shapes[1].layers,
        shapes[1].kv_heads
    );
    let tokens = [&first.recording.tokens, &second.recording.tokens];
    let same = tokens[0].iter().zip(tokens[1]).take_while(|(a, b)| a.id == b.id).count() as u32;
    let common = same.min(runs[0].seen()).min(runs[1].seen());
    for (trace, path) in traces.iter().zip([&args.first, &args.second]) {
        ensure!(
            trace.recording.lifetimes.seen() > 0,
            "{} has recorded no pass yet: there is nothing to compare",
            path.display()
        );
    }
    ensure!(
        common > 0,
        "{} and {} begin with different tokens: only runs over the same text can be compared",
        args.first.display(),
        args.second.display()
    );
    let prompts = tokens.map(|tokens| tokens.iter().filter(|token| token.origin == Origin::Prompt).count());
    if (same as usize) < prompts[0].min(prompts[1]) {
        printer.warning(&format!("the prompts part after {same} tokens; what follows says nothing of the rest"));
    }
    let models = [first, second].map(|trace| &trace.manifest.model.name);
    if models[0] != models[1] {
        printer.warning(&format!("the runs are of different models, {} and {}", models[0], models[1]));
    }
    let text = &tokens[0][..common as usize];
    let kinds: Vec<TokenClass> =
        text.iter().map(|token| TokenClass::named(token.class).unwrap_or(TokenClass::Other)).collect();
    let row = |token: TokenComparison| TokenRow {
        position: token.position,
        text: text[token.position as usize].text.clone(),
        heads: token.heads,
    };
    let report = Report {
        traces: [&args.first, &args.second].map(|path| path.display().to_string()),
        policies: [first, second].map(|trace| trace.manifest.policy.clone()),
        tokens: common,
        parts: (same as usize) < tokens[0].len().min(tokens[1].len()),
        heads: heads(runs, common).into_iter().map(HeadRow::from).collect(),
        classes: classes(runs, &kinds).into_iter().map(ClassRow::from).collect(),
        disputed: disputed(runs, common, NAMED).map(|side| side.into_iter().map(row).collect()),
    };
    if args.json {
        printer.line(&serde_json::to_string_pretty(&report)?);
    } else {
        printer.result(&report.table());
    }
    Ok(())
}

impl From<HeadComparison> for HeadRow {
    fn from(row: HeadComparison) -> Self {
        let HeadComparison { head, kept, shared, overlap, chance, lives } = row;
        Self { head: head.to_string(), kept, shared, overlap, chance, lives }
    }
}

impl From<ClassComparison> for ClassRow {
    fn from(row: ClassComparison) -> Self {
        let ClassComparison { class, tokens, life, kept } = row;
        Self { class: class.as_str(), tokens, life, kept }
    }
}

impl Report {
    fn table(&self) -> String {
        let mut lines: Vec<String> = ["A", "B"]
            .iter()
            .zip(&self.traces)
            .zip(&self.policies)
            .map(|((side, trace), policy)| format!("{side}  {trace}: {}", named(policy)))
            .collect();
        lines.push(format!(
            "{} tokens in common{}",
            self.tokens,
            if self.parts { "; then they go on differently, which is left out" } else { "" }
        ));
        lines.push(format!(
            "\n{:<8}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}",
            "head", "kept A", "kept B", "shared", "overlap", "chance", "lives"
        ));
        for row in &self.heads {
            let HeadRow { head, kept: [first, second], shared, .. } = row;
            let shares = [row.overlap, row.chance, row.lives].map(percent);
            lines.push(format!(
                "{head:<8}{first:>9}{second:>9}{shared:>9}{:>10}{:>10}{:>10}",
                shares[0], shares[1], shares[2]
            ));
        }
        let mean = |value: fn(&HeadRow) -> Option<f64>| {
            let known: Vec<f64> = self.heads.iter().filter_map(value).collect();
            percent((!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64))
        };
        let total = |value: fn(&HeadRow) -> u32| self.heads.iter().map(value).sum::<u32>();
        lines.push(format!(
            "{:<8}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}",
            "all",
            total(|row| row.kept[0]),
            total(|row| row.kept[1]),
            total(|row| row.shared),
            mean(|row| row.overlap),
            mean(|row| row.chance),
            mean(|row| row.lives)
        ));
        lines.push(format!(
            "\n{:<14}{:>8}{:>11}{:>11}{:>11}{:>11}",
            "tokens", "count", "life in A", "life in B", "held in A", "held in B"
        ));
        for ClassRow { class, tokens, life, kept } in &self.classes {
            let held = kept.map(|share| percent(Some(share)));
            lines.push(format!(
                "{class:<14}{tokens:>8}{:>11.0}{:>11.0}{:>11}{:>11}",
                life[0], life[1], held[0], held[1]
            ));
        }
        for (side, tokens) in ["A", "B"].iter().zip(&self.disputed) {
            if tokens.is_empty() {
                continue;
            }
            lines.push(format!("\nheld by more heads of {side}{:>21}{:>10}{:>10}", "position", "heads A", "heads B"));
            for TokenRow { position, text, heads: [first, second] } in tokens {
                let text = text.as_deref().map_or_else(|| "-".to_owned(), shown);
                lines.push(format!("  {text:<20}{position:>22}{first:>10}{second:>10}"));
            }
        }
        lines.push(
            "\noverlap = shared over held by either; chance = overlap of random choices;\n\
             lives = overlap over the whole text (near 100 % where one cut ends a prompt\n\
             that was read at once); held = share of heads that still do."
                .to_owned(),
        );
        lines.join("\n") + "\n"
    }
}

/// A policy and its bounds.
fn named(policy: &PolicyFacts) -> String {
    let name = if policy.name.is_empty() { "no policy named" } else { &policy.name };
    match (policy.budget, policy.buffer) {
        (Some(budget), Some(buffer)) => format!("{name}, budget {budget} + buffer {buffer}"),
        (Some(budget), None) => format!("{name}, budget {budget}"),
        _ => name.to_owned(),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

/// A token's text on one line.
fn shown(text: &str) -> String {
    let plain = format!("{text:?}");
    match plain.char_indices().nth(TEXT + 2) {
        Some((end, _)) => format!("{}...", &plain[..end - 1]),
        None => plain,
    }
}
