//! The table people read: 80 columns, and from 120 on what speaks for each role beside it.

use crate::analysis::evidence::evidence;
use crate::analysis::reading::HeadReading;
use crate::analysis::roles::Role;

/// Columns from which evidence has room in the table.
const WIDE: usize = 120;

/// The table of one trace, at most `width` wide.
pub fn table(heads: &[HeadReading], budget: Option<u32>, width: usize) -> String {
    let last = budget.map_or("last M".to_owned(), |m| format!("last {m}"));
    let wide = width >= WIDE;
    let mut text = format!(
        "{:<8}{:<15}{:>6}{:>8}{:>7}{:>7}{:>10}{:>8}{last:>11}{}\n",
        "head",
        "role",
        "kept",
        "evicted",
        "life",
        "left",
        "half-life",
        "first 4",
        if wide { "  why" } else { "" }
    );
    for reading in heads {
        let facts = &reading.facts;
        let tokens = |value: Option<f64>| value.map_or("-".to_owned(), short);
        let share = |value: Option<f64>| value.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let row = format!(
            "{:<8}{:<15}{:>6}{:>8}{:>7}{:>7}{:>10}{:>8}{:>11}",
            facts.head.to_string(),
            role(reading.verdict.role),
            facts.kept,
            facts.evicted,
            tokens(facts.mean_lifetime),
            tokens(facts.mean_age_evicted),
            tokens(facts.median_half_life),
            share(facts.first_kept),
            share(facts.last_kept),
        );
        text.push_str(&row);
        if wide {
            let why = evidence(&reading.features, &reading.verdict);
            text.push_str(&format!("  {}", cut(&why, width - row.chars().count() - 2)));
        }
        text.push('\n');
    }
    text.push_str(
        "\nIn tokens: life = mean life (tokens alive count up to the end), left = mean age\n\
         when evicted, half-life = median. First and last: share cached at the end.\n",
    );
    if !wide {
        text.push_str(&why(heads, width));
    }
    text
}

/// A line or more per head with a role, for terminals without room beside it; the others share a line.
fn why(heads: &[HeadReading], width: usize) -> String {
    let has_role = |reading: &&HeadReading| !matches!(reading.verdict.role, Role::Mixed | Role::NotEnoughEvidence);
    let mut text = String::new();
    for reading in heads.iter().filter(has_role) {
        let also = reading.verdict.also.iter().map(|role| format!(" + {}", role.as_str())).collect::<String>();
        let role = format!("{}{also}: ", reading.verdict.role.as_str());
        let line = format!("{role}{}", evidence(&reading.features, &reading.verdict));
        text.push_str(&wrapped(&reading.facts.head.to_string(), &line, width));
    }
    let of = |role: Role| heads.iter().filter(|reading| reading.verdict.role == role).count();
    let (mixed, unclear) = (of(Role::Mixed), of(Role::NotEnoughEvidence));
    if mixed > 0 {
        let line =
            format!("{mixed} of {} heads: no role's rule holds, or two alike (--json has the scores)", heads.len());
        text.push_str(&wrapped("mixed", &line, width));
    }
    if let Some(lacking) = heads.iter().find_map(|reading| reading.verdict.lacking) {
        let line = format!("not enough evidence in {unclear} of {} heads: {}", heads.len(), lacking.as_str());
        text.push_str(&wrapped("unclear", &line, width));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The short name of a role.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::NotEnoughEvidence => "unclear",
        other => other.as_str(),
    }
}

/// `label` and then `text`, broken between words and indented beneath itself.
fn wrapped(label: &str, text: &str, width: usize) -> String {
    let mut lines = vec![format!("{label:<7}")];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width);
        match line {
            Some(line) => line.push_str(&format!(" {word}")),
            None => lines.push(format!("{:<8}{word}", "")),
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// As much of a text as fits.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number of tokens in few characters.
pub fn short(tokens: f64) -> String {
    match tokens {
        t if !t.is_finite() => "never".to_owned(),
        t if t < 100.0 => format!("{t:.1}"),
        t if t < 100_000.0 => format!("{t:.0}"),
        t => format!("{t:.0e}"),
    }
}
