//! `trimkv-trace heads`: one row per head, with plain facts.

use anyhow::Result;
use serde::Serialize;

use super::args::HeadsArgs;
use super::printer::Printer;
use crate::analysis::facts::{HeadFacts, head_facts};
use crate::trace::manifest::Status;
use crate::trace::read::Trace;

/// A row for machines. Infinite half-lives are null in JSON and empty in CSV.
#[derive(Serialize)]
struct Row {
    layer: u16,
    head: u16,
    kept: u32,
    evicted: u32,
    mean_lifetime: Option<f64>,
    mean_age_evicted: Option<f64>,
    median_half_life: Option<f64>,
    first_4_kept: Option<f64>,
    last_m_kept: Option<f64>,
}

impl From<&HeadFacts> for Row {
    fn from(facts: &HeadFacts) -> Self {
        Self {
            layer: facts.head.layer,
            head: facts.head.head,
            kept: facts.kept,
            evicted: facts.evicted,
            mean_lifetime: facts.mean_lifetime,
            mean_age_evicted: facts.mean_age_evicted,
            median_half_life: facts.median_half_life.filter(|value| value.is_finite()),
            first_4_kept: facts.first_kept,
            last_m_kept: facts.last_kept,
        }
    }
}

/// Prints the facts of every head of a trace.
///
/// # Errors
/// When the trace cannot be read.
pub fn run(args: &HeadsArgs, printer: &Printer) -> Result<()> {
    let Trace { manifest, recording, path } = Trace::open(&args.trace)?;
    let facts = head_facts(&recording.lifetimes, manifest.policy.budget);
    let rows: Vec<Row> = facts.iter().map(Row::from).collect();
    if args.json {
        printer.line(&serde_json::to_string_pretty(&rows)?);
    } else if args.csv {
        printer.result(&csv(&rows));
    } else {
        printer.result(&table(&facts, manifest.policy.budget));
        if manifest.status != Status::Complete {
            printer.warning(&format!(
                "{} is {}: it ends where recording did",
                path.display(),
                manifest.status.as_str()
            ));
        }
        if facts.iter().all(|facts| facts.evicted == 0) {
            printer.note("nothing was evicted in this run, so no head had to choose");
        }
    }
    Ok(())
}

fn csv(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let mut text =
        "layer,head,kept,evicted,mean_lifetime,mean_age_evicted,median_half_life,first_4_kept,last_m_kept\n".to_owned();
    for row in rows {
        let counts = [u32::from(row.layer), u32::from(row.head), row.kept, row.evicted].map(|n| n.to_string());
        let measures =
            [row.mean_lifetime, row.mean_age_evicted, row.median_half_life, row.first_4_kept, row.last_m_kept]
                .map(number);
        text.push_str(&format!("{},{}\n", counts.join(","), measures.join(",")));
    }
    text
}

/// The table people read, 80 columns wide.
fn table(facts: &[HeadFacts], budget: Option<u32>) -> String {
    let last = budget.map_or("last M".to_owned(), |m| format!("last {m}"));
    let mut text = format!(
        "{:<8}{:>7}{:>9}{:>11}{:>13}{:>11}{:>9}{last:>12}\n",
        "head", "kept", "evicted", "mean life", "age evicted", "half-life", "first 4"
    );
    for facts in facts {
        let tokens = |value: Option<f64>| value.map_or("-".to_owned(), short);
        let share = |value: Option<f64>| value.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        text.push_str(&format!(
            "{:<8}{:>7}{:>9}{:>11}{:>13}{:>11}{:>9}{:>12}\n",
            facts.head.to_string(),
            facts.kept,
            facts.evicted,
            tokens(facts.mean_lifetime),
            tokens(facts.mean_age_evicted),
            tokens(facts.median_half_life),
            share(facts.first_kept),
            share(facts.last_kept),
        ));
    }
    text.push_str(
        "\nIn tokens: mean life (tokens alive count up to the end), mean age when evicted,\n\
         median half-life. First and last: share of those positions cached at the end.\n",
    );
    text
}

/// A number of tokens in few characters.
fn short(tokens: f64) -> String {
    match tokens {
        t if !t.is_finite() => "never".to_owned(),
        t if t < 100.0 => format!("{t:.1}"),
        t if t < 100_000.0 => format!("{t:.0}"),
        t => format!("{t:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::step::KvHead;

    #[test]
    fn the_table_fits_eighty_columns_whatever_the_numbers() {
        let head = KvHead { layer: 35, head: 31 };
        let facts = HeadFacts {
            head,
            kept: 131_072,
            evicted: 131_072,
            mean_lifetime: Some(131_072.0),
            mean_age_evicted: Some(131_072.0),
            median_half_life: Some(4.6e7),
            first_kept: Some(1.0),
            last_kept: None,
        };
        let text = table(&[facts], None);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
