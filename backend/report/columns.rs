//! A trace as the columns of a report.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pack::{EXACT, Pack};
use crate::digest::finding::FindingRow;
use crate::digest::row::Row;
use crate::text::class::TokenClass;
use crate::trace::pool::pool;
use crate::trace::read::Trace;
use crate::trace::reader::LayerLifetimes;
use crate::trace::recording::{CutRow, StepRow};
use crate::trace::step::{Origin, Phase, TokenRecord};

/// Tokens of a run up to which every layer is told token by token; the front end's overview has the same limit.
const EXACT_OVERVIEW: u32 = 8192;
/// Entries of a head in the overview of a longer run.
const OVERVIEW_ENTRIES: u32 = 4096;
/// Code of a token without a role.
const NO_ROLE: u8 = u8::MAX;

/// Tokens to an entry of the overview.
pub fn overview_pool(seen: u32) -> u32 {
    if seen <= EXACT_OVERVIEW { 1 } else { seen.div_ceil(OVERVIEW_ENTRIES) }
}

/// The layers that a report tells token by token: all of a short run, those asked for of a long one.
pub fn full_layers(seen: u32, layers: usize, asked: &[u16]) -> BTreeSet<u16> {
    if overview_pool(seen) == 1 { (0..layers as u16).collect() } else { asked.iter().copied().collect() }
}

/// The report's data as one compressed block.
pub fn packed(trace: &Trace, title: &str, heads: &[Row], findings: &[FindingRow], asked: &[u16]) -> Vec<u8> {
    let Trace { manifest, recording, .. } = trace;
    let (shape, seen) = (manifest.shape(), manifest.seen);
    let overview = overview_pool(seen);
    let full = full_layers(seen, shape.layers, asked);
    let tokens = &recording.tokens;
    let mut pack = Pack::default();
    let exact = shape.heads() * seen.div_ceil(overview) as usize <= EXACT;
    let mut has_gates = false;
    for layer in 0..shape.layers as u16 {
        let lives = LayerLifetimes::of(recording, layer);
        has_gates |= lives.log_beta.iter().any(|value| !value.is_nan());
        let pools = BTreeSet::from([overview]).into_iter().chain(full.contains(&layer).then_some(1));
        for block in pools.collect::<BTreeSet<_>>() {
            let pooled = pool(&lives, block);
            pack.log_beta(&format!("log_beta/{layer}/{block}"), &pooled.log_beta, exact);
            pack.u32(&format!("evicted_at/{layer}/{block}"), &pooled.evicted_at);
            if block > 1 {
                pack.u32(&format!("position/{layer}/{block}"), &pooled.position);
            }
        }
        cuts(&mut pack, layer, &recording.cuts.iter().filter(|row| row.head.head.layer == layer).collect::<Vec<_>>());
    }
    steps(&mut pack, &recording.steps);
    let role_names = text(&mut pack, tokens);
    let mut described = serde_json::to_value(manifest).unwrap_or_default();
    described["seen"] = json!(seen);
    let header: Value = json!({
        "facts": {
            "key": manifest.id,
            "title": title,
            "source": "report",
            "manifest": described,
            "text_known": tokens.iter().any(|token| token.text.is_some()),
            "gates_known": has_gates,
        },
        "heads": heads,
        "findings": findings,
        "pool": overview,
        "full": full,
        "texts": tokens.iter().map(|token| token.text.as_deref().unwrap_or("")).collect::<Vec<_>>(),
        "role_names": role_names,
        "class_names": TokenClass::ALL.map(TokenClass::as_str),
    });
    pack.finish(header)
}

fn cuts(pack: &mut Pack, layer: u16, rows: &[&CutRow]) {
    let mut column = |name: &str, of: &dyn Fn(&CutRow) -> u32| {
        pack.u32(&format!("cuts.{name}/{layer}"), &rows.iter().map(|row| of(row)).collect::<Vec<_>>());
    };
    column("tokens_seen", &|row| row.tokens_seen);
    column("head", &|row| u32::from(row.head.head.head));
    column("cached_before", &|row| row.head.cached_before);
    column("kept", &|row| row.head.kept);
    column("ties", &|row| row.head.ties);
    let thresholds: Vec<f32> = rows.iter().map(|row| row.head.threshold.unwrap_or(f32::NAN)).collect();
    pack.f32(&format!("cuts.threshold/{layer}"), &thresholds);
}

fn steps(pack: &mut Pack, rows: &[StepRow]) {
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let phases: Vec<u8> = rows.iter().map(|row| u8::from(row.phase == Phase::Decode)).collect();
    pack.bytes("steps.phase", &phases);
    let mut column = |name: &str, of: &dyn Fn(&StepRow) -> u32| {
        pack.u32(&format!("steps.{name}"), &rows.iter().map(of).collect::<Vec<_>>());
    };
    column("tokens_seen", &|row| row.tokens_seen);
    column("elapsed_us", &|row| narrow(row.elapsed_us));
    column("cached", &|row| narrow(row.cached));
    column("evicted", &|row| narrow(row.evicted));
}

/// Adds what is known of each token but its text; returns the names of its roles' codes.
fn text(pack: &mut Pack, tokens: &[TokenRecord]) -> Vec<&'static str> {
    let roles: BTreeSet<&'static str> = tokens.iter().filter_map(|token| token.role).collect();
    let roles: Vec<&'static str> = roles.into_iter().collect();
    let code = |at: Option<usize>| at.and_then(|at| u8::try_from(at).ok()).unwrap_or(NO_ROLE);
    let bytes = |of: &dyn Fn(&TokenRecord) -> u8| tokens.iter().map(of).collect::<Vec<_>>();
    pack.u32("token_id", &tokens.iter().map(|token| token.id).collect::<Vec<_>>());
    pack.bytes("origin", &bytes(&|token| u8::from(token.origin == Origin::Generated)));
    pack.bytes("role", &bytes(&|token| code(roles.iter().position(|role| Some(*role) == token.role))));
    let class = |token: &TokenRecord| TokenClass::ALL.iter().position(|class| class.as_str() == token.class);
    pack.bytes("class", &bytes(&|token| code(class(token))));
    let known =
        |of: &dyn Fn(&TokenRecord) -> Option<f32>| tokens.iter().map(|t| of(t).unwrap_or(f32::NAN)).collect::<Vec<_>>();
    pack.f32("logprob", &known(&|token| token.logprob));
    pack.f32("entropy", &known(&|token| token.entropy));
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_told_whole_and_long_ones_where_asked() {
        assert_eq!(overview_pool(4207), 1);
        assert_eq!(full_layers(4207, 3, &[]), BTreeSet::from([0, 1, 2]));
        assert_eq!(overview_pool(32_768), 8);
        assert_eq!(full_layers(32_768, 36, &[4, 30]), BTreeSet::from([4, 30]));
    }
}
