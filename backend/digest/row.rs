//! A head for machines: every number of the table, and those it has no room for. JSON is the whole, CSV its flat part.

use serde::Serialize;

use crate::analysis::category::Categories;
use crate::analysis::evidence::evidence;
use crate::analysis::modes::Mode;
use crate::analysis::reading::HeadReading;
use crate::analysis::retention::{TextRetention, retained, retained_categories};
use crate::analysis::roles::Role;

/// One head. Infinite half-lives are null in JSON and empty in CSV.
#[derive(Debug, Serialize)]
pub struct Row {
    layer: u16,
    head: u16,
    kept: u32,
    evicted: u32,
    mean_lifetime: Option<f64>,
    mean_age_evicted: Option<f64>,
    median_half_life: Option<f64>,
    first_4_kept: Option<f64>,
    last_m_kept: Option<f64>,
    role: &'static str,
    also: Vec<&'static str>,
    evidence: String,
    seen: u32,
    cuts: u32,
    occupancy: f64,
    sparsity: f64,
    turnover: Option<f64>,
    sink_survival: f64,
    sink_held: u32,
    sink_expected: f64,
    sink_rank: Option<f64>,
    sink_q: Option<f64>,
    window_purity: f64,
    window_purity_by_chance: f64,
    window_width: u32,
    window_crispness: Option<f64>,
    window_modes: Option<[ModeRow; 2]>,
    old_share: f64,
    sentence_coverage: Option<f64>,
    admission: f64,
    admission_tokens: u32,
    gate_split: Option<f64>,
    birth_percentile: f64,
    birth_entries: u32,
    birth_p: f64,
    frozen_since: u32,
    frozen_cuts: u32,
    frozen_p: f64,
    half_life_quantiles: Option<[Option<f64>; 5]>,
    lifetime_quartiles: [Option<u32>; 3],
    margins: Vec<(&'static str, f64)>,
    categories: Vec<CategoryRow>,
    most_retained: Vec<TextRow>,
    least_retained: Vec<TextRow>,
    retained_categories: Vec<RetainedRow>,
}

#[derive(Debug, Serialize)]
struct RetainedRow {
    category: &'static str,
    tokens: u32,
    kept: u32,
    mean_lifetime: f64,
}

#[derive(Debug, Serialize)]
struct ModeRow {
    age: f64,
    crispness: f64,
    share: f64,
}

#[derive(Debug, Serialize)]
struct CategoryRow {
    category: &'static str,
    share: f64,
    expected: f64,
    enrichment: Option<f64>,
    kept: u32,
    survivors: u32,
    present: u32,
    p: f64,
    q: Option<f64>,
}

#[derive(Debug, Serialize)]
struct TextRow {
    text: String,
    tokens: u32,
    mean_lifetime: f64,
}

impl From<&TextRetention> for TextRow {
    fn from(found: &TextRetention) -> Self {
        Self { text: found.text.clone(), tokens: found.tokens, mean_lifetime: found.mean_lifetime }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

impl Row {
    /// A head and the text it read, as tokens and as their categories.
    pub fn new(
        reading: &HeadReading,
        departures: &[Option<u32>],
        texts: &[&str],
        text_categories: &[Categories],
    ) -> Self {
        let HeadReading { facts, features, verdict } = reading;
        let (sink, window) = (&features.sink, &features.window);
        let names = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect();
        let q_of = |category| verdict.tested.iter().find(|(of, _)| *of == category).map(|(_, q)| *q);
        let (most, least) = retained(departures, features.seen, texts);
        Self {
            layer: facts.head.layer,
            head: facts.head.head,
            kept: facts.kept,
            evicted: facts.evicted,
            mean_lifetime: facts.mean_lifetime,
            mean_age_evicted: facts.mean_age_evicted,
            median_half_life: facts.median_half_life.and_then(finite),
            first_4_kept: facts.first_kept,
            last_m_kept: facts.last_kept,
            role: verdict.role.as_str(),
            also: names(&verdict.also),
            evidence: evidence(features, verdict),
            seen: features.seen,
            cuts: features.cuts,
            occupancy: features.occupancy,
            sparsity: features.sparsity,
            turnover: features.turnover,
            sink_survival: sink.mean_survival(),
            sink_held: sink.held(),
            sink_expected: sink.expected,
            sink_rank: sink.rank,
            sink_q: verdict.sink_q,
            window_purity: window.purity,
            window_purity_by_chance: window.purity_by_chance,
            window_width: window.width,
            window_crispness: window.crispness,
            window_modes: window
                .modes
                .map(|modes| modes.map(|Mode { age, crispness, share }| ModeRow { age, crispness, share })),
            old_share: features.old_share,
            sentence_coverage: features.sentence_coverage(),
            admission: features.admission.share,
            admission_tokens: features.admission.tokens,
            gate_split: features.admission.gate_split,
            birth_percentile: features.front.birth_percentile,
            birth_entries: features.front.entries,
            birth_p: features.front.p,
            frozen_since: features.frozen.since,
            frozen_cuts: features.frozen.cuts,
            frozen_p: features.frozen.p,
            half_life_quantiles: features.half_life.map(|at| at.map(finite)),
            lifetime_quartiles: features.lifetime,
            margins: verdict.margins.iter().map(|(role, margin)| (role.as_str(), *margin)).collect(),
            categories: features
                .enrichment
                .iter()
                .map(|found| CategoryRow {
                    category: found.category.as_str(),
                    share: found.share,
                    expected: found.expected,
                    enrichment: found.ratio,
                    kept: found.kept,
                    survivors: found.survivors,
                    present: found.present,
                    p: found.p,
                    q: q_of(found.category),
                })
                .collect(),
            most_retained: most.iter().map(TextRow::from).collect(),
            least_retained: least.iter().map(TextRow::from).collect(),
            retained_categories: retained_categories(departures, features.seen, text_categories)
                .into_iter()
                .map(|found| RetainedRow {
                    category: found.category.as_str(),
                    tokens: found.tokens,
                    kept: found.kept,
                    mean_lifetime: found.mean_lifetime,
                })
                .collect(),
        }
    }
}

/// Rows as CSV: every field of [`Row`] that is a number or a name, lists flattened into columns of their own.
pub fn csv(rows: &[Row]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = cells(row);
        let line = |pick: fn(&(String, String)) -> &str| cells.iter().map(pick).collect::<Vec<_>>().join(",");
        if index == 0 {
            text.push_str(&line(|(name, _)| name));
            text.push('\n');
        }
        text.push_str(&line(|(_, value)| value));
        text.push('\n');
    }
    text
}

/// (column, value) in order.
fn cells(row: &Row) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    // The JSON of a row names its columns; serde keeps their order.
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(row) {
        let mut add = |name: String, value: &serde_json::Value| {
            cells.push((
                name,
                match value {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) if text.contains([',', '"', '\n']) => {
                        format!("\"{}\"", text.replace('"', "\"\""))
                    }
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                },
            ));
        };
        for name in COLUMNS {
            if let Some(value) = fields.get(name) {
                add(name.to_owned(), value);
            }
        }
        add("also".to_owned(), &serde_json::Value::String(row.also.join(" ")));
        for (index, name) in ["lifetime_q25", "lifetime_q50", "lifetime_q75"].into_iter().enumerate() {
            add(name.to_owned(), &fields["lifetime_quartiles"][index]);
        }
        for (index, at) in ["q10", "q25", "q50", "q75", "q90"].into_iter().enumerate() {
            add(format!("half_life_{at}"), &fields["half_life_quantiles"][index]);
        }
        for category in fields["categories"].as_array().into_iter().flatten() {
            let name = category["category"].as_str().unwrap_or_default();
            for key in ["share", "enrichment", "kept", "q"] {
                add(format!("{name}_{key}"), &category[key]);
            }
        }
        // By where it stands: the first is held longest.
        for (name, at) in [("most_retained_category", 0), ("least_retained_category", usize::MAX)] {
            let last = row.retained_categories.len().saturating_sub(1);
            add(name.to_owned(), &fields["retained_categories"][at.min(last)]["category"]);
        }
        if let Some(category) = fields["categories"].get(0) {
            add("old_tokens".to_owned(), &category["survivors"]);
        }
    }
    cells
}

/// The fields of [`Row`] that are one value, in the order of the CSV.
const COLUMNS: [&str; 35] = [
    "layer",
    "head",
    "kept",
    "evicted",
    "mean_lifetime",
    "mean_age_evicted",
    "median_half_life",
    "first_4_kept",
    "last_m_kept",
    "role",
    "evidence",
    "seen",
    "cuts",
    "occupancy",
    "sparsity",
    "turnover",
    "sink_survival",
    "sink_held",
    "sink_expected",
    "sink_rank",
    "sink_q",
    "window_purity",
    "window_purity_by_chance",
    "window_width",
    "window_crispness",
    "old_share",
    "sentence_coverage",
    "admission",
    "admission_tokens",
    "gate_split",
    "birth_percentile",
    "birth_entries",
    "birth_p",
    "frozen_since",
    "frozen_cuts",
];
